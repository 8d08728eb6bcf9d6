//! What Gatepost writes to standard error while it runs: one line for each event, for people or for machines.
//!
//! Standard error is written directly, without a thread or a queue between: a log line that was not written before a
//! crash is the one that was needed.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::Hash;
use std::io::IsTerminal;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing_subscriber::EnvFilter;

pub mod lines;
pub mod traces;

pub use lines::Line;

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
    /// Where traces go: the URL of a collector that takes OTLP over HTTP in JSON, such as `http://127.0.0.1:4318/v1/traces`. Each
    /// request to a listener and each request to an endpoint is then a span. Default: nowhere, and nothing is kept.
    #[schemars(extend("examples" = ["http://127.0.0.1:4318/v1/traces"]))]
    pub traces_to: Option<String>,
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

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

const RIGHT: &str = "write one of \"off\", \"error\", \"warn\", \"info\", \"debug\" and \"trace\", and parts with levels of \
                     their own behind it: \"info,gatepost::forward=debug\"";

/// Whether this is a level, or a part with its level.
fn is_directive(text: &str) -> bool {
    let level = match text.rsplit_once('=') {
        // Within `[span{field=value}]` an equals sign is no end.
        Some((_, level)) if !level.contains(['}', ']']) => level,
        Some(_) => return false,
        None => text,
    };
    LEVELS.iter().any(|known| level.trim().eq_ignore_ascii_case(known))
}

impl Default for Config {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto, traces_to: None }
    }
}

impl Config {
    /// What is wrong beyond the types of the values: (key, what would be right).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        // To the parser a word that is no level is the name of a part: with `inof` nothing would ever be written.
        let wrong = self.level.split(',').find(|directive| !is_directive(directive));
        let level = match wrong {
            Some(directive) => Some(format!("holds {:?}, which is no level; {RIGHT}", directive.trim())),
            None if self.filter().is_err() => Some(format!("is not a filter; {RIGHT}")),
            None => None,
        };
        let is_url = |text: &String| {
            let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
            rest.is_some_and(|rest| !rest.starts_with('/') && !rest.is_empty())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let wrong_url = self.traces_to.as_ref().filter(|text| !is_url(text));
        let traces = wrong_url.map(|_| "is no URL; write one such as \"http://127.0.0.1:4318/v1/traces\"".to_owned());
        let told = [("level", level), ("traces_to", traces)];
        told.into_iter().filter_map(|(key, told)| Some((key, told?))).collect()
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

/// Sets up the log of this process. Call once, before anything runs. `count` is told the level of each line, such as
/// `"error"`.
pub fn init(config: &Config, count: fn(&'static str)) -> Result<(), InitError> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let lines = tracing_subscriber::fmt().with_env_filter(config.filter()?).with_writer(std::io::stderr);
    let terminal = std::io::stderr().is_terminal();
    let counter = Counter { count };
    match config.format {
        Format::Human => lines.with_ansi(terminal).finish().with(counter).try_init()?,
        Format::Auto if terminal => lines.finish().with(counter).try_init()?,
        Format::Auto | Format::Json => lines.json().flatten_event(true).finish().with(counter).try_init()?,
    }
    Ok(())
}

/// Counts the lines that are written, and keeps the last of them for the status page: a log that nobody reads still raises an
/// alarm.
struct Counter {
    count: fn(&'static str),
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Counter {
    fn on_event(&self, event: &tracing::Event<'_>, _context: tracing_subscriber::layer::Context<'_, S>) {
        match *event.metadata().level() {
            tracing::Level::ERROR => (self.count)("error"),
            tracing::Level::WARN => (self.count)("warn"),
            tracing::Level::INFO => (self.count)("info"),
            _ => return,
        }
        lines::keep(event);
    }
}

/// Kinds of lines that are remembered at a time.
const KINDS_MAX: usize = 1_024;

/// Lines that strangers can cause: of each kind one in a while, which tells how many were left out.
#[derive(Debug)]
pub struct Repeats<K> {
    every: Duration,
    kinds: Mutex<HashMap<K, Told>>,
    forgotten: Mutex<Forgotten>,
}

/// What made room for others, since it was told.
#[derive(Debug, Default)]
struct Forgotten {
    kinds: u64,
    left_out: u64,
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    left_out: u64,
}

impl<K: Eq + Hash + Clone> Repeats<K> {
    /// One line of a kind in so long.
    pub fn new(every: Duration) -> Self {
        Self { every, kinds: Mutex::default(), forgotten: Mutex::default() }
    }

    /// How many lines of this kind were left out since the last one, if it is time for another one. With too many kinds at a
    /// time the oldest is forgotten, so that whoever makes up kinds hides nobody else's line.
    pub fn pass(&self, kind: K) -> Option<u64> {
        self.pass_at(kind, Instant::now())
    }

    fn pass_at(&self, kind: K, now: Instant) -> Option<u64> {
        let is_over = |told: &Told| now.saturating_duration_since(told.at) >= self.every;
        let mut kinds = self.kinds.lock();
        if let Some(told) = kinds.get_mut(&kind) {
            if !is_over(told) {
                told.left_out += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.left_out));
        }
        if kinds.len() >= KINDS_MAX {
            kinds.retain(|_, told| !is_over(told));
        }
        if kinds.len() >= KINDS_MAX {
            self.forget_oldest(&mut kinds, now);
        }
        kinds.insert(kind, Told { at: now, left_out: 0 });
        Some(0)
    }

    /// What was left out of it is told in one line for all that are forgotten, once in a while.
    fn forget_oldest(&self, kinds: &mut HashMap<K, Told>, now: Instant) {
        let oldest = kinds.iter().min_by_key(|(_, told)| told.at).map(|(kind, _)| kind.clone());
        let left_out = oldest.and_then(|kind| kinds.remove(&kind)).map_or(0, |told| told.left_out);
        let mut forgotten = self.forgotten.lock();
        forgotten.kinds += 1;
        forgotten.left_out += left_out;
        if forgotten.told_at.is_none_or(|at| now.saturating_duration_since(at) >= self.every) {
            tracing::warn!(
                kinds = forgotten.kinds,
                left_out = forgotten.left_out,
                "too many refused clients to limit repeated lines for each; some lines repeat"
            );
            *forgotten = Forgotten { told_at: Some(now), ..Forgotten::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_line_comes_once_in_a_while_and_tells_what_was_left_out() {
        let (repeats, start) = (Repeats::new(Duration::from_secs(60)), Instant::now());
        let at = |kind: u32, second: u64| repeats.pass_at(kind, start + Duration::from_secs(second));
        assert_eq!([at(1, 0), at(1, 1), at(2, 2), at(1, 59)], [Some(0), None, Some(0), None]);
        assert_eq!([at(1, 60), at(1, 61), at(1, 120)], [Some(2), None, Some(1)]);
    }

    #[test]
    fn whoever_makes_up_kinds_hides_no_line_of_others() {
        let (repeats, start) = (Repeats::new(Duration::from_secs(60)), Instant::now());
        let at = |kind: u32, second: u64| repeats.pass_at(kind, start + Duration::from_secs(second));
        assert_eq!([at(0, 0), at(0, 1)], [Some(0), None]);
        (10..3_000).for_each(|kind| assert_eq!(at(kind, 2), Some(0)));
        assert_eq!(repeats.kinds.lock().len(), KINDS_MAX, "memory is bounded");
        assert_eq!([at(1, 3), at(1, 4)], [Some(0), None], "one that comes is told, and told once");
        let forgotten = repeats.forgotten.lock();
        assert!(forgotten.told_at.is_some() && forgotten.kinds > 1_000, "what was forgotten is counted: {forgotten:?}");
    }

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
        for level in ["inof", "gatepost=loud", "info,gatepost::forward", "", "info,", "2", "info;debug"] {
            let found = config(level).problems();
            assert!(found.len() == 1 && found[0].1.contains("\"warn\""), "{level}: {found:?}");
        }
        for (to, right) in
            [("http://localhost:4318/v1/traces", true), ("localhost:4318", false), ("https:///v1", false)]
        {
            let found = Config { traces_to: Some(to.to_owned()), ..Config::default() }.problems();
            assert_eq!(found.is_empty(), right, "{to}: {found:?}");
        }
        for level in ["INFO", "warn,gatepost::net=trace", "off,gatepost=info", "info,gatepost[span]=debug"] {
            assert_eq!(config(level).problems(), [], "{level}");
        }
    }
}
