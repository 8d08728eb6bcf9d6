//! `gatepost check`: is the configuration right, and what does it come to? With `--ready`: does the running gateway
//! take uploads?

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admin_plane::{AdminPlane, At};
use super::{EXIT_CONFIG, Global, counted, print};
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
    /// Judge the text alone, and not the files, folders and addresses that it names: for a configuration of another machine
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
        let config = if args.at.is_given() { Config::default() } else { global.load()? };
        return ready(&AdminPlane::at(&args.at, &config)?, global);
    }
    let loaded = match args.only_text {
        true => global.load().map(|config| Loaded { config, faulty: Vec::new(), warnings: Vec::new() }),
        false => global.load_and_look(),
    };
    let Loaded { config, faulty, warnings } = match loaded {
        Ok(loaded) => loaded,
        Err(error) if global.json => {
            print(&format!("{}\n", problems(&error)))?;
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        Err(error) => return Err(error.into()),
    };
    if !faulty.is_empty() {
        let wrong = LoadError::Wrong(Problems { file: global.config_name(), problems: faulty });
        let text = if global.json { problems(&wrong).to_string() } else { wrong.to_string() };
        if global.json {
            print(&format!("{text}\n"))?
        } else {
            writeln!(std::io::stderr(), "{text}")?
        }
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    let warnings: Vec<String> = warnings.iter().map(|warning| format!("{}:{warning}", global.config_name())).collect();
    if !global.json {
        for warning in &warnings {
            writeln!(std::io::stderr(), "gatepost: warning: {warning}").ok();
        }
    }
    let text = match (args.print, global.json) {
        (true, true) => format!("{}\n", serde_json::to_string_pretty(&reference::resolved(&config))?),
        (true, false) => reference::as_toml(reference::resolved(&config)),
        (false, true) if warnings.is_empty() => format!("{}\n", json!({ "ok": true })),
        (false, true) => format!("{}\n", json!({ "ok": true, "warnings": warnings })),
        (false, false) => summary(&config, &rules::look(&config)?, global),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What `/readyz` says, or why it says nothing.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

impl Readiness {
    fn unknown(reason: impl Into<String>) -> Self {
        Self { ready: false, reasons: vec![reason.into()] }
    }
}

fn ready(admin: &AdminPlane, global: &Global) -> anyhow::Result<ExitCode> {
    let readiness = match admin.look("readyz", READY_TIMEOUT) {
        (url, Ok(answer)) => serde_json::from_slice(&answer.body)
            .unwrap_or_else(|_| Readiness::unknown(format!("{url} answers {}, but not as a gateway", answer.status))),
        (url, Err(error)) => Readiness::unknown(format!("{url}: {error:#}")),
    };
    print(&match (global.json, readiness.ready) {
        (true, _) => format!("{}\n", serde_json::to_string(&readiness)?),
        (false, true) => "ready\n".to_owned(),
        (false, false) => format!("not ready: {}\n", readiness.reasons.join(", ")),
    })?;
    Ok(if readiness.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(config: &Config, rules: &Rules, global: &Global) -> String {
    let file = global.config_name();
    let state = std::path::absolute(&config.state_dir).unwrap_or_else(|_| config.state_dir.clone());
    let (listeners, outputs) = (config.listeners.len(), config.outputs.len());
    let warnings = match rules.warnings().count() {
        0 => String::new(),
        n => format!(" with {}, see gatepost rules check", counted(n, "warning")),
    };
    format!(
        "{file}: right (listeners: {listeners}, outputs: {outputs}, rules: {}{warnings}, state in {})\n",
        rules.count(),
        state.display()
    )
}

fn problems(error: &LoadError) -> serde_json::Value {
    match error {
        LoadError::Wrong(problems) => json!({ "ok": false, "file": problems.file, "problems": problems.problems }),
        LoadError::Unreadable { .. } => json!({ "ok": false, "error": error.to_string() }),
    }
}
