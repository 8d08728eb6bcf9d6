//! `gatepost check`: is the configuration right, and what does it come to? With `--ready`: does the running gateway
//! take uploads?

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admin_plane::{AdminPlane, At};
use super::{EXIT_CONFIG, Global, print};
use crate::app::{self, memory, rules};
use crate::config::{Config, LoadError, reference};
use crate::filter::Rules;
use crate::memory::Shares;
use crate::outputs::{self, BuildError, Shared};

/// Shorter than the deadlines that health checks usually have.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// Check a configuration, print the effective one, or ask the running gateway whether it is ready.
#[derive(Debug, clap::Args)]
#[command(mut_arg("admin", |arg| arg.requires("ready")))]
pub struct Args {
    /// Print every effective value, defaults included, secrets as ***
    #[arg(long)]
    print: bool,
    /// Ask the running gateway whether it takes uploads; exit code 1, with the reasons, when it does not
    #[arg(long, conflicts_with = "print")]
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
    let config = match global.load() {
        Ok(config) => config,
        Err(error) if global.json => {
            print(&format!("{}\n", problems(&error)))?;
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        Err(error) => return Err(error.into()),
    };
    // What is kept over the admin plane is no part of the file, but has to fit it.
    let rules = match rules::look(&config) {
        Ok(rules) => rules,
        Err(error) if global.json => {
            print(&format!("{}\n", json!({ "ok": false, "error": format!("{error:#}") })))?;
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        Err(error) => {
            writeln!(std::io::stderr(), "gatepost: {error:#}").ok();
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    if let Err(error) = files(&config) {
        let error = error.to_string();
        if global.json {
            print(&format!("{}\n", json!({ "ok": false, "error": error })))?;
        } else {
            writeln!(std::io::stderr(), "gatepost: {error}").ok();
        }
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    let warnings = warnings(&config);
    if !global.json {
        for warning in &warnings {
            writeln!(std::io::stderr(), "gatepost: warning: {warning}").ok();
        }
    }
    let text = match (args.print, global.json) {
        (true, true) => format!("{}\n", serde_json::to_string_pretty(&config)?),
        (true, false) => reference::effective(&config),
        (false, true) if warnings.is_empty() => format!("{}\n", json!({ "ok": true })),
        (false, true) => format!("{}\n", json!({ "ok": true, "warnings": warnings })),
        (false, false) => summary(&config, &rules, global),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the files that outputs name (authorities, certificates, keys) can be used.
fn files(config: &Config) -> Result<(), BuildError> {
    let shared = Shared::new(&config.state_dir);
    config.outputs.iter().try_for_each(|output| outputs::build(&output.output, &shared).map(drop))
}

/// What works, and yet keeps clients out or does not fit into memory.
fn warnings(config: &Config) -> Vec<String> {
    let uploads = config.listeners.iter().map(|listener| ("listeners", &listener.name, &listener.tls));
    let tunnels = config.tunnel.listeners.iter().map(|listener| ("tunnel.listeners", &listener.name, &listener.tls));
    let warned = uploads.chain(tunnels).filter_map(|(section, name, tls)| Some((section, name, tls.warning()?)));
    let warned = warned.map(|(section, name, warning)| format!("{section} {name:?}: {warning}"));
    warned.chain(app::warnings::of(config)).chain(memory::warning(config, &Shares::here())).collect()
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
    let file = global.config.as_ref().map_or("defaults (no file given)".to_owned(), |file| file.display().to_string());
    let (listeners, outputs) = (config.listeners.len(), config.outputs.len());
    let warnings = match rules.warnings().count() {
        0 => String::new(),
        n => format!(" with {n} warnings, see gatepost rules check"),
    };
    format!(
        "{file}: right (listeners: {listeners}, outputs: {outputs}, rules: {}{warnings}, state in {})\n",
        rules.count(),
        config.state_dir.display()
    )
}

fn problems(error: &LoadError) -> serde_json::Value {
    match error {
        LoadError::Wrong(problems) => json!({ "ok": false, "file": problems.file, "problems": problems.problems }),
        LoadError::Unreadable { .. } => json!({ "ok": false, "error": error.to_string() }),
    }
}
