//! `gatepost wef`: what to configure on Windows for this gateway, what it asks its hosts for and why, and how far they are.
//! Only the last asks the running gateway; the rest comes from the configuration and the rules that are kept.

mod explain;
mod hosts;
mod policy;
mod subscriptions;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;

use super::Global;
use crate::event::Client;
use crate::inputs::{self, Peer, wef};

/// Show what hosts need to forward events here, what they are asked for and why, and how far they are.
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
    /// Say which subscriptions a host gets, and why it gets others not. Exit code 1 when it gets none
    Explain(explain::Args),
    /// List the hosts that forward to the running gateway, those with trouble first
    Hosts(hosts::Args),
}

/// Runs the command.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Policy(args) => policy::run(&args, global),
        Command::Subscriptions(args) => subscriptions::run(&args, global),
        Command::Explain(args) => explain::run(&args, global),
        Command::Hosts(args) => hosts::run(&args, global),
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

/// A host, as a command names it.
#[derive(Debug, clap::Args)]
struct Named {
    /// The host, as it calls itself and as its certificate names it
    host: String,
    /// The name in its certificate, where that is another; with Kerberos its principal, such as `PC1$@EXAMPLE.COM`
    #[arg(long, value_name = "NAME")]
    certificate: Option<String>,
    /// Its address, for rules and listeners that ask for networks
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Its agent group, instead of that of its certificate on the listener
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The listener, where several take forwarded events
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

impl Named {
    /// Who it is to a listener, and why it would not be let in there, if that is so.
    fn at(&self, listener: &inputs::Config) -> (Client, Option<String>) {
        let wef = &listener.protocols.wef;
        let (mut client, denied) = if wef.kerberos.is_enabled() {
            wef.kerberos.client(&self.host, self.certificate.as_deref())
        } else {
            self.with_certificate(listener)
        };
        client.address = self.address;
        client.group = self.group.as_deref().map(Arc::from).or(client.group);
        wef::bind(&wef.relays, &mut client);
        (client, denied)
    }

    fn with_certificate(&self, listener: &inputs::Config) -> (Client, Option<String>) {
        let name = self.certificate.as_ref().unwrap_or(&self.host);
        let certificate: Arc<[String]> = [name.clone()].into();
        let address = self.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let peer = Peer { address, certificate: Arc::clone(&certificate), leaf: None };
        let admitted = listener.gate().admit(&peer, &http::HeaderMap::new());
        match admitted {
            Ok(admitted) => (admitted.client, None),
            Err(denied) => {
                let client = Client { name: name.as_str().into(), identities: certificate, ..Client::default() };
                (client, Some(denied.to_string()))
            }
        }
    }
}

/// A query list with a line for each of its parts.
fn in_lines(query_list: &str) -> String {
    let lines =
        query_list.replace("<Query ", "\n  <Query ").replace("<S", "\n    <S").replace("</Query>", "\n  </Query>");
    lines.replace("</QueryList>", "\n</QueryList>")
}
