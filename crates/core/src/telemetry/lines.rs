//! The last lines of the log, in memory, for those who look at the gateway and have no way to its log.
//!
//! Errors and warnings have room of their own, so that no number of other lines pushes them out. What a line may take is bounded,
//! and there are as many as there are places.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Debug, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};

/// Places for errors and warnings, and as many for the rest.
pub const PLACES: usize = 100;

/// Most bytes of a message, and of a field.
const TEXT_MAX: usize = 512;

/// Most fields of a line.
const FIELDS_MAX: usize = 16;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counted from 1 since the start, whatever the level.
    pub number: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// `error`, `warn` or `info`.
    pub level: String,
    /// What happened.
    pub message: String,
    /// The rest of the line.
    pub fields: BTreeMap<String, String>,
}

/// The log belongs to the process, and so does this.
static RECENT: Mutex<Recent> = Mutex::new(Recent::new());

/// The lines that are kept and have a greater number, in their order.
pub fn after(number: u64) -> Vec<Line> {
    recent().after(number)
}

/// Keeps a line.
pub(super) fn keep(event: &tracing::Event<'_>) {
    let mut texts = Texts::default();
    event.record(&mut texts);
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    recent().keep(Line {
        number: 0,
        at_ms: u64::try_from(at_ms).unwrap_or(u64::MAX),
        level: event.metadata().level().as_str().to_ascii_lowercase(),
        message: texts.message,
        fields: texts.fields,
    });
}

fn recent() -> MutexGuard<'static, Recent> {
    RECENT.lock()
}

struct Recent {
    last: u64,
    notable: VecDeque<Line>,
    others: VecDeque<Line>,
}

impl Recent {
    const fn new() -> Self {
        Self { last: 0, notable: VecDeque::new(), others: VecDeque::new() }
    }

    fn keep(&mut self, line: Line) {
        self.last += 1;
        let lines = if line.level == "info" { &mut self.others } else { &mut self.notable };
        if lines.len() >= PLACES {
            lines.pop_front();
        }
        lines.push_back(Line { number: self.last, ..line });
    }

    fn after(&self, number: u64) -> Vec<Line> {
        let all = self.notable.iter().chain(&self.others);
        let mut lines: Vec<Line> = all.filter(|line| line.number > number).cloned().collect();
        lines.sort_by_key(|line| line.number);
        lines
    }
}

/// The texts of a line, cut.
#[derive(Default)]
struct Texts {
    message: String,
    fields: BTreeMap<String, String>,
}

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Cut(String::new());
        // Fails when there is no more room, and what is there then is what is kept.
        write!(text, "{value:?}").ok();
        self.take(field, text.0);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let mut text = Cut(String::new());
        text.write_str(value).ok();
        self.take(field, text.0);
    }
}

impl Texts {
    fn take(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else if self.fields.len() < FIELDS_MAX {
            self.fields.insert(field.name().to_owned(), text);
        }
    }
}

/// A text that takes no more than it may.
struct Cut(String);

impl std::fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = TEXT_MAX.saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(std::fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: &str, message: &str) -> Line {
        let (level, message) = (level.to_owned(), message.to_owned());
        Line { number: 0, at_ms: 1, level, message, fields: BTreeMap::new() }
    }

    #[test]
    fn an_error_outlives_any_number_of_other_lines_and_memory_is_bounded() {
        let mut recent = Recent::new();
        recent.keep(line("error", "the disk"));
        (0..10_000).for_each(|_| recent.keep(line("info", "an upload")));
        let lines = recent.after(0);
        assert_eq!((lines.len(), lines[0].message.as_str(), lines[0].number), (PLACES + 1, "the disk", 1));
        assert_eq!(recent.after(10_000).len(), 1, "whoever has seen the others gets what is new");
        (0..10_000).for_each(|_| recent.keep(line("warn", "a stranger")));
        assert_eq!(recent.after(0).len(), 2 * PLACES);
    }

    #[test]
    fn a_line_is_kept_as_it_was_written_and_cut() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let subscriber = tracing_subscriber::registry().with(super::super::Counter { count: |_| {} });
        let before = recent().last;
        tracing::subscriber::with_default(subscriber, || {
            let why = "ö".repeat(TEXT_MAX);
            tracing::warn!(output = "soc", tries = 3, why, error = %"no \"room\"", "a line for a test of {}", "lines");
        });
        let lines = after(before);
        let line = lines.iter().find(|line| line.message == "a line for a test of lines").expect("it is kept");
        let field = |name: &str| line.fields[name].as_str();
        assert_eq!((line.level.as_str(), field("output"), field("tries")), ("warn", "soc", "3"));
        assert_eq!(field("error"), "no \"room\"");
        assert_eq!(field("why").len(), TEXT_MAX);
    }
}
