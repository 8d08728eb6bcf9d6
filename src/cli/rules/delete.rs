//! `gatepost rules delete`: takes away a rule that keeps a gateway from starting.
//!
//! A rule that is kept over the admin plane may name an output that the configuration no longer has. The gateway then does not
//! start, since the events of that rule would go nowhere, and without it the admin plane cannot be asked. A file that is damaged
//! together with its copy is deleted by its name, because nobody can say whose rule it was.

use std::process::ExitCode;

use anyhow::bail;

use super::super::{Global, json_line, print};
use crate::app::rules;

/// Delete a rule that came over the admin plane while no gateway runs.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The rule's resource id, `/subscriptions/…/dataCollectionRules/NAME`, or the name of a damaged file
    id: String,
}

pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    if !rules::delete(&global.load()?, &args.id)? {
        bail!("no rule {:?} is kept over the admin plane; rules of the configuration are deleted there", args.id);
    }
    print(&match global.json {
        true => json_line(&serde_json::json!({ "ok": true, "deleted": args.id }))?,
        false => "deleted, with its associations\n".to_owned(),
    })?;
    Ok(ExitCode::SUCCESS)
}
