//! Outputs that are configured and could not be started: why, and since when. Their events are kept, and they are tried again.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::wall_ms;

/// All of them, by name.
#[derive(Default)]
pub(super) struct LeftBehind(Mutex<BTreeMap<String, Why>>);

/// Why one of them does not run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Why {
    /// In words.
    reason: String,
    /// When it was tried first with this result, in milliseconds since 1970.
    since_ms: u64,
}

impl Why {
    /// In words.
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }
}

impl LeftBehind {
    /// Notes why an output did not start. Whether that is news.
    pub(super) fn note(&self, name: &str, reason: String) -> bool {
        let mut all = self.all();
        if all.get(name).is_some_and(|why| why.reason == reason) {
            return false;
        }
        all.insert(name.to_owned(), Why { reason, since_ms: wall_ms() });
        true
    }

    /// It runs now. Whether it was left behind.
    pub(super) fn has_started(&self, name: &str) -> bool {
        self.all().remove(name).is_some()
    }

    /// Only these are configured.
    pub(super) fn retain(&self, is_configured: impl Fn(&str) -> bool) {
        self.all().retain(|name, _| is_configured(name));
    }

    /// Each with the reason.
    pub(super) fn list(&self) -> Vec<(String, Why)> {
        self.all().iter().map(|(name, why)| (name.clone(), why.clone())).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Why>> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reason_is_news_once_and_again_after_a_start() {
        let left = LeftBehind::default();
        assert!(left.note("soc", "no".to_owned()));
        assert!(!left.note("soc", "no".to_owned()));
        assert!(left.note("soc", "another".to_owned()));
        assert_eq!(left.list()[0].1.reason, "another");
        assert!(left.has_started("soc") && !left.has_started("soc"));
        assert!(left.note("soc", "another".to_owned()));
        left.retain(|name| name != "soc");
        assert!(left.list().is_empty());
    }
}
