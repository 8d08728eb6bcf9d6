//! `gatepost completions`: a completion script for a shell.

use std::process::ExitCode;

use super::{Global, command, print, text_or_json};

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "gatepost", &mut script);
    print(&text_or_json(String::from_utf8(script)?, global))?;
    Ok(ExitCode::SUCCESS)
}
