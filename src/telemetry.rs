//! What Gatepost writes to standard error while it runs: one line for each event, for people or for machines.
//!
//! Standard error is written directly, without a thread or a queue between: a log line that was not written before a
//! crash is the one that was needed.

use std::io::IsTerminal;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Crates that write lines of their own for each upload. What they find is told in the answer, or by the account.
const QUIET: &str = "evtx=off";

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which lines are written: `error`, `warn`, `info`, `debug`, `trace` or `off`, also for single parts of Gatepost,
    /// such as `info,gatepost::forward=debug`. `info` tells of changes of state, never of single uploads.
    pub level: String,
    /// How lines are written.
    pub format: Format,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people on a terminal, else JSON.
    #[default]
    Auto,
    /// For people: time, level, message, fields.
    Human,
    /// One JSON object on each line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto }
    }
}

impl Config {
    /// What is wrong beyond the types of the values: (key, what would be right).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        match self.filter() {
            Ok(_) => Vec::new(),
            Err(_) => vec![(
                "level",
                "is not a filter; write a level such as \"info\", or \"info,gatepost::forward=debug\"".to_owned(),
            )],
        }
    }

    fn filter(&self) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
        EnvFilter::builder().parse(format!("{QUIET},{}", self.level))
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// `level` is not a filter.
    #[error("telemetry.level is not a filter: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// Something in this process set up a log before.
    #[error("the log is set up already")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the log of this process. Call once, before anything runs.
pub fn init(config: &Config) -> Result<(), InitError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let lines = tracing_subscriber::fmt().with_env_filter(config.filter()?).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    match config.format {
        Format::Human => lines.with_ansi(terminal).finish().try_init()?,
        Format::Auto if terminal => lines.finish().try_init()?,
        Format::Auto | Format::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_uploads_writes_no_lines_unless_it_is_asked_to() {
        let filter = |level: &str| {
            let config = Config { level: level.to_owned(), ..Config::default() };
            config.filter().expect("a filter").to_string()
        };
        assert!(filter("info").contains("evtx=off"));
        assert!(filter("info,evtx=debug").contains("evtx=debug"));
    }

    #[test]
    fn a_level_that_is_no_filter_is_refused() {
        let config = |level: &str| Config { level: level.to_owned(), ..Config::default() };
        assert!(Config::default().problems().is_empty());
        assert!(config("info,gatepost::forward=debug").problems().is_empty());
        assert!(config("off").problems().is_empty());
        assert_eq!(config("gatepost=loud").problems()[0].0, "level");
    }
}
