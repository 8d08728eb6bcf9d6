//! `gatepost rules list` and `show`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use comfy_table::Table;

use super::super::{Global, json_line, json_lines, print};
use crate::app::rules;
use crate::filter::rules::Shown;

/// List the rules: where they come from, to whom they apply, what they feed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Show one rule whole.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The rule's name, as `gatepost rules list` shows it
    name: String,
}

pub(super) fn run(_: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let rules = rules::look(&config)?.list();
    print(&if global.json { json_lines(&rules)? } else { table(&rules) })?;
    Ok(ExitCode::SUCCESS)
}

fn table(rules: &[Shown]) -> String {
    if rules.is_empty() {
        return "no rules: filter.event_set decides for every host; add [[filter.rules]]\n".to_owned();
    }
    let mut table = Table::new();
    table.set_header(["rule", "applies to", "outputs", "queries", "warnings", "from"]);
    for rule in rules {
        table.add_row([
            &rule.name,
            &rule.applies_to,
            &rule.outputs.join(", "),
            &rule.queries.len().to_string(),
            &rule.warnings.len().to_string(),
            &rule.origin,
        ]);
    }
    format!("{table}\nrules: {}\n", rules.len())
}

pub(super) fn show(args: &ShowArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let rules = rules::look(&global.load()?)?.list();
    let Some(rule) = rules.iter().find(|rule| rule.name.eq_ignore_ascii_case(&args.name)) else {
        let names: Vec<String> = rules.iter().map(|rule| format!("{:?}", rule.name)).collect();
        bail!("there is no rule {:?}; there are: {}", args.name, names.join(", "));
    };
    print(&if global.json { json_line(rule)? } else { whole(rule)? })?;
    Ok(ExitCode::SUCCESS)
}

fn whole(rule: &Shown) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "{}", rule.name)?;
    writeln!(text, "  from        {}", rule.origin)?;
    writeln!(text, "  applies to  {}", rule.applies_to)?;
    writeln!(text, "  outputs     {}", rule.outputs.join(", "))?;
    for query in &rule.queries {
        let suppressed = match query.suppressed_by {
            0 => String::new(),
            n => format!("   (less {n} Suppress)"),
        };
        writeln!(text, "  takes       {}{suppressed}", query.query)?;
    }
    for warning in &rule.warnings {
        writeln!(text, "  warning     {warning}")?;
    }
    Ok(text)
}
