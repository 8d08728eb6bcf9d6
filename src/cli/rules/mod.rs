//! `gatepost rules`: what the rules are, which events they would take, and what a change of them would do.
//!
//! Nothing here needs a running gateway: rules are made of the configuration, the files that it names and what the state
//! folder keeps, exactly as the gateway makes them.

mod check;
mod delete;
mod diff;
mod list;
mod test;

use std::process::ExitCode;

use super::Global;

/// Check, list and try rules, or say what a change of them would do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check the rules of the configuration, or files with data collection rules or structured queries. Exit code 1 when
    /// something is wrong
    Check(check::Args),
    /// List the rules: where they come from, to whom they apply, what they feed
    List(list::Args),
    /// Show one rule whole
    Show(list::ShowArgs),
    /// Delete a rule that came over the admin plane while no gateway runs; one that runs is asked with DELETE
    Delete(delete::Args),
    /// Say which rule would take the events of some files, and where they would go
    Test(test::Args),
    /// Say what a change of rules would add and remove, in events and bytes a day
    Diff(diff::Args),
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Check(args) => check::run(&args, global),
        Command::List(args) => list::run(&args, global),
        Command::Show(args) => list::show(&args, global),
        Command::Delete(args) => delete::run(&args, global),
        Command::Test(args) => test::run(&args, global),
        Command::Diff(args) => diff::run(&args, global),
    }
}
