//! What a host is asked for.

use std::process::ExitCode;

use super::{Global, Named, in_lines};
use crate::app::rules;
use crate::cli::{json_lines, print};
use crate::inputs::wef::subscription::Subscription;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    host: Named,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let listener = super::listener(&config.listeners, args.host.listener.as_deref())?;
    let (client, _) = args.host.at(listener);
    let (rules, host) = (rules::look(&config)?, &args.host.host);
    let subscriptions = listener.protocols.wef.subscriptions_of(&listener.name, &rules, &client, host);
    let subscriptions = subscriptions.map_err(|reason| anyhow::anyhow!(reason))?;
    print(&if global.json {
        json_lines(&subscriptions)?
    } else if subscriptions.is_empty() {
        format!("{host} is asked for nothing; gatepost wef explain {host} says why\n")
    } else {
        subscriptions.iter().map(text).collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(subscription: &Subscription) -> String {
    let Subscription { name, id, query_list, pace, .. } = subscription;
    format!(
        "{name}  {id}\nwithin {} s, a heartbeat every {} s\n{}\n",
        pace.max_time_s,
        pace.heartbeat_s,
        in_lines(query_list)
    )
}
