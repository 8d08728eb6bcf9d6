//! `gatepost wef`: what to configure on Windows for this gateway, and what it asks its hosts for. Both come from the
//! configuration alone.

mod policy;
mod subscriptions;

use std::process::ExitCode;

use anyhow::bail;

use super::Global;
use crate::inputs;

/// Show what hosts need to forward events here, or what they are asked for.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what to set on Windows: the policy, the commands, and what the certificates must have
    Policy(policy::Args),
    /// Print the subscriptions of a host, as it is told of them
    Subscriptions(subscriptions::Args),
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Policy(args) => policy::run(&args, global),
        Command::Subscriptions(args) => subscriptions::run(&args, global),
    }
}

/// The listener of this name that takes forwarded events; the only one where none is named.
fn listener<'c>(listeners: &'c [inputs::Config], name: Option<&str>) -> anyhow::Result<&'c inputs::Config> {
    let mut those = listeners.iter().filter(|listener| listener.protocols.wef.enabled);
    match name {
        Some(name) => match those.find(|listener| listener.name == name) {
            Some(listener) => Ok(listener),
            None => bail!("no listener {name:?} takes forwarded events; set wef.enabled = true at one"),
        },
        None => match (those.next(), those.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => bail!("no listener takes forwarded events; set wef.enabled = true at one"),
            (Some(_), Some(_)) => bail!("several listeners take forwarded events; name one with --listener"),
        },
    }
}
