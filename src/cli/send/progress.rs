//! How far `gatepost send` has come: a bar for a person, now and then a line for a log.

use parking_lot::Mutex;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::cli::counted;

/// The least time between two lines.
const EVERY: Duration = Duration::from_secs(5);

/// Shows progress. Where no terminal is, in lines on standard error: whoever reads a log must not take waiting for hanging.
pub(super) struct Progress {
    bar: ProgressBar,
    told: Mutex<Told>,
}

struct Told {
    at: Instant,
    has_trouble: bool,
}

impl Progress {
    /// Of so many sources.
    pub(super) fn of(sources: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} files  {elapsed}  {wide_msg}");
        let bar = ProgressBar::new(sources as u64).with_style(style.expect("the template is valid"));
        Self { bar, told: Mutex::new(Told { at: Instant::now(), has_trouble: false }) }
    }

    /// One source more was sent whole.
    pub(super) fn finished_one(&self) {
        self.bar.inc(1);
    }

    /// Shows what is going on.
    pub(super) fn tell(&self, text: String) {
        self.show(text, false);
    }

    /// Shows what is waited for; the first time at once.
    pub(super) fn tell_trouble(&self, text: String) {
        self.show(text, true);
    }

    fn show(&self, text: String, is_trouble: bool) {
        if self.bar.is_hidden() && self.is_due(is_trouble, Instant::now()) {
            let done = self.bar.position();
            let all = counted(self.bar.length().unwrap_or_default(), "file");
            // Nobody may read it.
            writeln!(std::io::stderr(), "gatepost: {done} of {all} sent; {text}").ok();
        }
        self.bar.set_message(text);
    }

    /// Whether a line may be written.
    fn is_due(&self, is_trouble: bool, now: Instant) -> bool {
        let mut told = self.told.lock();
        let is_due = is_trouble && !told.has_trouble || now.duration_since(told.at) >= EVERY;
        if is_due {
            *told = Told { at: now, has_trouble: told.has_trouble || is_trouble };
        }
        is_due
    }

    /// The end.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_at_once_and_everything_now_and_then() {
        let (progress, start) = (Progress::of(2), Instant::now());
        let due = |is_trouble: bool, second: u64| progress.is_due(is_trouble, start + Duration::from_secs(second));
        assert_eq!([due(false, 1), due(true, 2), due(true, 3), due(false, 4)], [false, true, false, false]);
        assert_eq!([due(false, 8), due(true, 9), due(true, 14)], [true, false, true]);
    }
}
