//! `gatepost check`: is the configuration right, and what does it come to? With `--ready`: does the running gateway
//! take uploads?

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admin_plane::{AdminPlane, At};
use super::{Global, Usage, counted, json_line, print};
use crate::app::rules;
use crate::config::{Config, LoadError, Loaded, Problems, reference};
use crate::filter::Rules;

/// Shorter than the deadlines that health checks usually have.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Check a configuration, print the effective one, or ask the running gateway whether it is ready.
#[derive(Debug, clap::Args)]
#[command(mut_arg("admin", |arg| arg.requires("ready")))]
pub struct Args {
    /// Print every effective value, defaults included, secrets as ***
    #[arg(long)]
    print: bool,
    /// Judge the text alone, and not the files, folders and addresses that it names: for a configuration of another machine.
    /// Rules that stand in files are left out; what is missing here of `${env:…}` and `${file:…}` is warned of
    #[arg(long)]
    only_text: bool,
    /// Ask the running gateway whether it takes uploads; exit code 1, with the reasons, when it does not
    #[arg(long, conflicts_with_all = ["print", "only_text"])]
    ready: bool,
    // Where a URL is given, no configuration is read.
    #[command(flatten)]
    at: At,
}

/// Runs the command. Exit code 78 when the configuration is wrong.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    if args.ready {
        if args.at.is_given() && global.config_is_written() {
            let error = "--admin says where to ask, and no configuration is read then; give either --config or --admin";
            return Err(Usage(error).into());
        }
        let config = if args.at.is_given() { Config::default() } else { global.load()? };
        return ready(&AdminPlane::at(&args.at, &config)?, global);
    }
    let loaded = match args.only_text {
        true => global.load_text(),
        false => global.load_and_check(),
    };
    let Loaded { config, mut faulty, mut warnings } = loaded?;
    if args.only_text && args.print {
        // What is missing cannot be printed.
        faulty.append(&mut warnings);
    }
    if !faulty.is_empty() {
        let wrong = LoadError::Wrong(Problems { file: global.config_name(), problems: faulty });
        return Err(wrong.into());
    }
    let warnings: Vec<String> = warnings.iter().map(|warning| format!("{}:{warning}", global.config_name())).collect();
    if !global.json {
        for warning in &warnings {
            writeln!(std::io::stderr(), "gatepost: warning: {warning}").ok();
        }
    }
    let text = match (args.print, global.json) {
        (true, true) => json_line(&reference::resolved(&config))?,
        (true, false) => reference::as_toml(reference::resolved(&config)),
        (false, true) if warnings.is_empty() => format!("{}\n", json!({ "ok": true })),
        (false, true) => format!("{}\n", json!({ "ok": true, "warnings": warnings })),
        (false, false) if args.only_text => summary(&config, None, global),
        (false, false) => summary(&config, Some(&rules::look(&config)?), global),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What `/readyz` says, or why it says nothing.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
    /// The same for machines; none of a gateway that could not be asked.
    #[serde(default)]
    codes: Vec<String>,
}

impl Readiness {
    fn unknown(reason: impl Into<String>) -> Self {
        Self { ready: false, reasons: vec![reason.into()], codes: Vec::new() }
    }
}

fn ready(admin: &AdminPlane, global: &Global) -> anyhow::Result<ExitCode> {
    let readiness = match admin.look("readyz", READY_TIMEOUT) {
        (url, Ok(answer)) => serde_json::from_slice(&answer.body)
            .unwrap_or_else(|_| Readiness::unknown(format!("{url} answers {}, but not as a gateway", answer.status))),
        (url, Err(error)) => Readiness::unknown(format!("{url}: {error:#}")),
    };
    print(&match (global.json, readiness.ready) {
        (true, _) => json_line(&readiness)?,
        (false, true) => "ready\n".to_owned(),
        (false, false) => format!("not ready: {}\n", readiness.reasons.join(", ")),
    })?;
    Ok(if readiness.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Without rules, where only the text was judged.
fn summary(config: &Config, rules: Option<&Rules>, global: &Global) -> String {
    let file = global.config_name();
    let state = std::path::absolute(&config.state_dir).unwrap_or_else(|_| config.state_dir.clone());
    let (listeners, outputs) = (config.listeners.len(), config.outputs.len());
    let warnings = |rules: &Rules| match rules.warnings().count() {
        0 => String::new(),
        n => format!(" with {}, see gatepost rules check", counted(n, "warning")),
    };
    let rules = match rules {
        Some(rules) => format!("rules: {}{}", rules.count(), warnings(rules)),
        None => "rules in files not judged".to_owned(),
    };
    format!("{file}: right (listeners: {listeners}, outputs: {outputs}, {rules}, state in {})\n", state.display())
}
