//! Which subscriptions a host gets, and why it gets others not.

use std::process::ExitCode;

use serde::Serialize;

use super::{Global, Named, in_lines};
use crate::app::rules;
use crate::cli::{json_line, print};
use crate::event::{Client, IdentityPolicy};
use crate::inputs;
use crate::inputs::wef::Explained;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    host: Named,
}

/// What there is to say of a host.
#[derive(Debug, Serialize)]
struct Report<'a> {
    host: &'a str,
    listener: &'a str,
    /// Why it would not be let in.
    refused_because: Option<String>,
    group: Option<String>,
    subscriptions: Vec<Explained>,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let listener = super::listener(&config.listeners, args.host.listener.as_deref())?;
    let (client, denied) = args.host.at(listener);
    let host = &args.host.host;
    let wef = &listener.protocols.wef;
    let subscriptions = wef.explained(&listener.name, &rules::look(&config)?, &client, host);
    let report = Report {
        host,
        listener: &listener.name,
        refused_because: denied.or_else(|| foreign(listener, &client, host)),
        group: client.group.as_deref().map(str::to_owned),
        subscriptions: subscriptions.map_err(|reason| anyhow::anyhow!(reason))?,
    };
    let gets_any = report.refused_because.is_none() && report.subscriptions.iter().any(|one| one.gets);
    print(&if global.json { json_line(&report)? } else { report.text() })?;
    Ok(if gets_any { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why a host may not call itself so.
fn foreign(listener: &inputs::Config, client: &Client, host: &str) -> Option<String> {
    let may = client.binding.speaks_for(host) || listener.identity.policy != IdentityPolicy::Enforce;
    (!may).then(|| format!("the certificate or ticket of {:?} may not speak for it (identity.policy)", client.name))
}

impl Report<'_> {
    fn text(&self) -> String {
        let group = self.group.as_ref().map_or_else(String::new, |group| format!(", of group {group}"));
        let mut text = format!("{} on listener {}{group}\n", self.host, self.listener);
        if let Some(because) = &self.refused_because {
            text.push_str(&format!("  REFUSED: {because}\n"));
        }
        if self.subscriptions.is_empty() {
            text.push_str("  there is no subscription for it: no rule wants anything of it, and none is listed\n");
        }
        self.subscriptions.iter().for_each(|one| one_of(one, &mut text));
        text
    }
}

fn one_of(one: &Explained, text: &mut String) {
    let verdict = if one.gets { "gets" } else { "does not get" };
    text.push_str(&format!("\n{verdict} {:?}: {}\n", one.subscription.name, one.because));
    if one.gets {
        text.push_str(&format!("{}\n", in_lines(&one.subscription.query_list)));
    }
}
