//! The rules in force: made of the configuration and of what is kept over the admin plane.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::rule_store::{Activate, Commit, RuleStore, Snapshot};
use super::state::StateDir;
use crate::config::Config;
use crate::config::rule_files::Texts;
use crate::faults::{Fault, with_causes};
use crate::filter::Rules;
use crate::filter::dcr::{Finding, Severity};
use crate::filter::rules::{Managed, Place, Problem};
use crate::fs::RealFs;

/// Where the rules that came over the admin plane are kept, within the state folder.
pub(super) const FOLDER: &str = "rules";

/// How long a reload waits for uploads that were judged by the former rules: longer than any takes on a disk that works.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

/// The rules of a configuration and its state folder, without a gateway; may be called beside one.
///
/// # Errors
///
/// With everything that is wrong with them.
pub fn look(config: &Config) -> anyhow::Result<Rules> {
    let folder = config.state_dir.join(FOLDER);
    let kept = if folder.is_dir() { RuleStore::look(Arc::new(RealFs), folder)? } else { Snapshot::default() };
    config.rules(&Texts::of(config), &managed(&kept)).map_err(|problems| told(&problems))
}

/// What keeps the rules that came over the admin plane from being used with this configuration. Makes nothing.
pub(super) fn faults(config: &Config) -> Vec<Fault> {
    let folder = config.state_dir.join(FOLDER);
    if !folder.is_dir() {
        return Vec::new();
    }
    let kept = match RuleStore::look(Arc::new(RealFs), folder) {
        Ok(kept) => kept,
        Err(error) => {
            return vec![Fault::fails(
                "",
                format!("{}; uploads are refused until the rules are whole again", with_causes(error.as_ref())),
            )];
        }
    };
    let problems = config.rules(&Texts::of(config), &managed(&kept)).err().unwrap_or_default();
    // What is wrong with those of the configuration is told at their keys.
    let of_kept: Vec<Problem> =
        problems.into_iter().filter(|problem| matches!(problem.place, Place::Resource { .. })).collect();
    if of_kept.is_empty() { Vec::new() } else { vec![Fault::stops("", told(&of_kept).to_string())] }
}

/// Deletes a rule that is kept over the admin plane, with its associations, while no gateway runs. Whether there was one.
///
/// # Errors
///
/// When a gateway uses the state folder, or the disk fails.
pub fn delete(config: &Config, id: &str) -> anyhow::Result<bool> {
    let state = StateDir::open(&config.state_dir)?;
    RuleStore::delete_kept(Arc::new(RealFs), state.folder().dir(&RealFs, FOLDER)?, id)
}

/// Makes the rules, and says in the log what differs from what their authors may expect.
pub(super) fn build(config: &Config, texts: &Texts, kept: &Snapshot) -> anyhow::Result<Rules> {
    let rules = config.rules(texts, &managed(kept)).map_err(|problems| told(&problems))?;
    say_warnings(&rules);
    Ok(rules)
}

fn say_warnings(rules: &Rules) {
    for (rule, warning) in rules.warnings() {
        tracing::warn!(rule, warning, "a rule is in force with a warning");
    }
}

/// Resolves when no upload is judged by these rules any more; after a while also when one hangs.
pub(super) async fn unused(former: Arc<Rules>) {
    let until = Instant::now() + PATIENCE;
    while Arc::strong_count(&former) > 1 && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
}

/// Puts what is kept over the admin plane in force, together with the configuration.
pub(super) struct Activation {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) texts: Arc<ArcSwap<Texts>>,
    pub(super) rules: Arc<ArcSwap<Rules>>,
}

impl Activate for Activation {
    fn prepare(&self, kept: &Snapshot) -> Result<Commit, Vec<Finding>> {
        let config = self.config.load();
        let rules = config
            .rules(&self.texts.load(), &managed(kept))
            .map_err(|problems| problems.into_iter().map(finding).collect::<Vec<_>>())?;
        let cell = Arc::clone(&self.rules);
        Ok(Box::new(move || cell.store(Arc::new(rules))))
    }
}

fn managed(kept: &Snapshot) -> Managed {
    let associations = kept.associations.iter().map(|of| (of.host.clone(), of.rule_id.clone()));
    Managed { rules: kept.rules.clone(), associations: associations.collect() }
}

fn finding(problem: Problem) -> Finding {
    let Problem { place, code, message } = problem;
    let target = match place {
        Place::Resource { target, .. } => target,
        Place::Key(key) => format!("filter.{key}"),
    };
    Finding { severity: Severity::Error, code, target, message }
}

fn told(problems: &[Problem]) -> anyhow::Error {
    let mut lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    if problems.iter().any(|problem| matches!(problem.place, Place::Resource { .. })) {
        lines.push("rules that came over the admin plane are deleted there, or with `gatepost rules delete ID` while no gateway runs".to_owned());
    }
    anyhow!("the rules cannot be used:\n{}", lines.join("\n"))
}
