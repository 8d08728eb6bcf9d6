//! `gatepost ca`: the authority in whose name hosts are taken over: made, shown, and given to the machines that are to trust it.
//!
//! What is taken over, and for whom, stands in the configuration (`[[tunnel.take_over]]`). Nothing here puts anything in force.

mod init;
mod show;
mod trust;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::Global;
use crate::tunnel::config::Config;

/// Make, show or hand out the authority for hosts that are taken over.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an authority that may sign for a few hosts only, and say what to write into the configuration
    Init(init::Args),
    /// Show who the authority is, what it may sign for, and when it ends
    Show(show::Args),
    /// Print how to let machines trust the authority
    Trust(trust::Args),
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Init(args) => init::run(&args, global),
        Command::Show(args) => show::run(&args, global),
        Command::Trust(args) => trust::run(&args, global),
    }
}

/// The certificate files that are named, or those of the configuration.
fn files(named: &[PathBuf], global: &Global) -> anyhow::Result<Vec<PathBuf>> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let tunnel: Config = global.load()?.tunnel;
    let configured: Vec<PathBuf> = tunnel.ca.pairs().map(|pair| pair.certificate.clone()).collect();
    match configured.is_empty() {
        true => bail!("the configuration has no [tunnel.ca]; name the file with the authority's certificate"),
        false => Ok(configured),
    }
}
