//! `gatepost azure check`: would the workspace outputs of the configuration be taken by Azure, and whole?
//!
//! Each output goes the way that its events would go, with its own client, proxy and identity, and uploads an empty array.
//! With the resource id of the rule, and where the identity may read it, the rule is compared with what Gatepost sends: a
//! column that is not declared is dropped by Azure in silence. What could not be seen is said to be unknown, never guessed.

use std::process::ExitCode;

use anyhow::{bail, ensure};
use serde::Serialize;

use super::super::{Global, counted, json_lines, print};
use crate::config::Config;
use crate::event::columns::{Column, columns};
use crate::outputs::workspace::{self, reach::Reach};
use crate::outputs::{self, BuildError};

mod resource;
mod rule;
#[cfg(test)]
mod tests;
mod token;
mod upload;

/// Check the workspace outputs of the configuration against Azure.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this output
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// The data collection rule, to be compared with what Gatepost sends. The identity then needs the role Reader on it
    #[arg(long, value_name = "RESOURCE-ID")]
    rule: Option<String>,
}

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Problem,
    /// It could not be seen from here.
    Unknown,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Problem => "problem",
            Self::Unknown => "unknown",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    output: String,
    /// What was looked at: `token`, `upload to NAME`, `columns`.
    check: String,
    verdict: Verdict,
    detail: String,
    /// What to do, unless all is well.
    advice: Option<String>,
}

/// The checks of one output, in the order in which they were made.
struct Findings {
    output: String,
    found: Vec<Finding>,
}

impl Findings {
    fn ok(&mut self, check: &str, detail: impl Into<String>) {
        self.add(check, Verdict::Ok, detail.into(), None);
    }

    fn problem(&mut self, check: &str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(check, Verdict::Problem, detail.into(), Some(advice.into()));
    }

    fn unknown(&mut self, check: &str, detail: impl Into<String>, advice: impl Into<String>) {
        self.add(check, Verdict::Unknown, detail.into(), Some(advice.into()));
    }

    fn add(&mut self, check: &str, verdict: Verdict, detail: String, advice: Option<String>) {
        self.found.push(Finding { output: self.output.clone(), check: check.to_owned(), verdict, detail, advice });
    }
}

/// Where the rule is asked for.
struct Rule<'a> {
    /// The address of Azure Resource Manager.
    management: &'a str,
    /// With a leading slash.
    id: String,
    /// The columns that rows may have.
    columns: &'a [Column],
}

/// Runs the command. Exit code 1 when there is a problem.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let outputs = chosen(&config, args)?;
    let rule = args.rule.as_deref().map(rule_id).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = Vec::new();
    for output in outputs {
        let rule = rule.as_ref().map(|id| Rule {
            management: output.cloud.resource_manager(),
            id: id.clone(),
            columns: columns(output.table.unwrap_or_default()),
        });
        findings.extend(runtime.block_on(examine(output, rule.as_ref()))?);
    }
    print(&if global.json { json_lines(&findings)? } else { lines(&findings) })?;
    let wrong = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn chosen<'c>(config: &'c Config, args: &Args) -> anyhow::Result<Vec<&'c workspace::Config>> {
    let workspaces = config.outputs.iter().filter_map(|output| match &output.output {
        outputs::Config::Workspace(workspace) => Some(&**workspace),
        _ => None,
    });
    let chosen: Vec<_> =
        workspaces.filter(|output| args.output.as_ref().is_none_or(|name| *name == output.name)).collect();
    match (&args.output, chosen.first()) {
        (Some(name), None) => bail!("the configuration has no workspace output {name:?}"),
        (None, None) => bail!("the configuration has no workspace output; see `gatepost azure template`"),
        (_, Some(first)) => ensure!(
            args.rule.is_none() || chosen.iter().all(|output| output.dcr.eq_ignore_ascii_case(&first.dcr)),
            "--rule is one rule, and the outputs go to several; say which with --output"
        ),
    }
    Ok(chosen)
}

/// The id as it goes into a URL: a resource id and nothing else.
fn rule_id(text: &str) -> anyhow::Result<String> {
    let id = format!("/{}", text.trim_matches('/'));
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.()".contains(&byte));
    let lower = id.to_ascii_lowercase();
    ensure!(
        plain
            && lower.starts_with("/subscriptions/")
            && lower.contains("/providers/microsoft.insights/datacollectionrules/"),
        "--rule: {text:?} is no resource id of a rule \
         (/subscriptions/…/resourceGroups/…/providers/Microsoft.Insights/dataCollectionRules/…)"
    );
    Ok(id)
}

/// Every check of one output.
async fn examine(output: &workspace::Config, rule: Option<&Rule<'_>>) -> Result<Vec<Finding>, BuildError> {
    let mut findings = Findings { output: output.name.clone(), found: Vec::new() };
    let reach = Reach::new(output)?;
    let token = token::check(output, &reach, &mut findings).await;
    for (name, url) in &reach.endpoints {
        upload::check(output, &reach, (name, url), &token, &mut findings).await;
    }
    match rule {
        Some(rule) => resource::check(output, &reach, rule, &token, &mut findings).await,
        None => findings.unknown(
            "rule",
            "was not looked at",
            "name it with --rule RESOURCE-ID to compare its columns: what it does not declare is dropped in silence",
        ),
    }
    Ok(findings.found)
}

fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { output, check, verdict, detail, advice } = finding;
        let advice = advice.as_ref().map(|advice| format!("; {advice}")).unwrap_or_default();
        format!("{:<8} {output}: {check}: {detail}{advice}\n", verdict.as_str())
    };
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (problems, unknown) = (count(Verdict::Problem), count(Verdict::Unknown));
    let text: String = findings.iter().map(line).collect();
    format!("{text}{}, {}, {unknown} unknown\n", counted(findings.len(), "check"), counted(problems, "problem"))
}
