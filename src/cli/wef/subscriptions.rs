//! What a host is asked for.

use std::process::ExitCode;
use std::sync::Arc;

use super::Global;
use crate::cli::print;
use crate::config::rule_files::Texts;
use crate::event::Client;
use crate::filter::rules::Managed;
use crate::inputs::wef;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The host, as it calls itself and as its certificate names it
    host: String,
    /// Its address, for rules that ask for networks
    #[arg(long, value_name = "ADDRESS")]
    address: Option<std::net::IpAddr>,
    /// Its agent group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// The listener, where several take forwarded events
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let listener = super::listener(&config.listeners, args.listener.as_deref())?;
    let rules = config.rules(&Texts::of(&config), &Managed::default());
    let rules = rules.map_err(|problems| anyhow::anyhow!("the rules cannot be used: {problems:?}"))?;
    let client = Client {
        name: args.host.as_str().into(),
        address: args.address,
        identities: [args.host.clone()].into(),
        group: args.group.as_deref().map(Arc::from),
        ..Client::default()
    };
    let subscriptions = listener.protocols.wef.subscriptions_of(&listener.name, &rules, &client, &args.host);
    let subscriptions = subscriptions.map_err(|reason| anyhow::anyhow!(reason))?;
    print(&if global.json {
        format!("{}\n", serde_json::to_string_pretty(&subscriptions)?)
    } else if subscriptions.is_empty() {
        format!("{} is asked for nothing\n", args.host)
    } else {
        subscriptions.iter().map(text).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(subscription: &wef::subscription::Subscription) -> String {
    let wef::subscription::Subscription { name, id, query_list, pace, .. } = subscription;
    let lines =
        query_list.replace("<Query ", "\n  <Query ").replace("<S", "\n    <S").replace("</Query>", "\n  </Query>");
    format!(
        "{name}  {id}\nwithin {} s, a heartbeat every {} s\n{}\n",
        pace.max_time_s,
        pace.heartbeat_s,
        lines.replace("</QueryList>", "\n</QueryList>")
    )
}
