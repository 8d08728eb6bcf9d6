//! `gatepost azure`: what has to stand in Azure for a workspace output, and whether it does.

use std::process::ExitCode;

use super::Global;

mod check;
mod template;

/// The role Monitoring Metrics Publisher: who has it on a rule may upload to it.
const ROLE: &str = "3913510d-42f4-4e42-8a64-420c390055eb";
/// Its name.
const ROLE_NAME: &str = "Monitoring Metrics Publisher";

/// Make what a workspace output needs in Azure, or check whether it is there and right.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what a workspace output needs in Azure: a data collection rule, columns, a role; and the output itself
    Template(template::Args),
    /// Check the workspace outputs of the configuration against Azure. Exit code 1 when something is wrong
    Check(check::Args),
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Template(args) => template::run(&args, global),
        Command::Check(args) => check::run(&args, global),
    }
}
