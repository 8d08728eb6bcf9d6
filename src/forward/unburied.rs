//! Whether an output waits until its dead letters can be kept: said once when it begins, and once when it is over.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// Why an output waits.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unburied {
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// What keeps its dead letters from being kept, and what to do.
    pub why: String,
}

/// The deliveries of an output that wait.
#[derive(Debug, Default)]
pub(super) struct Waits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    deliveries: usize,
    unburied: Option<Unburied>,
}

/// A delivery that waits until this is dropped.
pub(super) struct Waiting<'a> {
    waits: &'a Waits,
    output: Arc<str>,
}

impl Waits {
    pub(super) fn wait(&self, output: &Arc<str>) -> Waiting<'_> {
        self.lock().deliveries += 1;
        Waiting { waits: self, output: Arc::clone(output) }
    }

    pub(super) fn get(&self) -> Option<Unburied> {
        self.lock().unburied.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Waiting<'_> {
    /// Says why, unless that was said.
    pub(super) fn because(&self, why: String, now_ms: u64) {
        let mut state = self.waits.lock();
        let said = state.unburied.as_ref();
        if said.is_none_or(|said| said.why != why) {
            tracing::error!(output = &*self.output, why, "events cannot be stored as dead letters; their output waits");
            let since_ms = said.map_or(now_ms, |said| said.since_ms);
            state.unburied = Some(Unburied { since_ms, why });
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.waits.lock();
        state.deliveries -= 1;
        if state.deliveries == 0 && state.unburied.take().is_some() {
            tracing::info!(output = &*self.output, "no event waits for the dead-letter store any more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_waits_until_its_last_delivery_does_not() {
        let (waits, output) = (Waits::default(), Arc::from("out"));
        let (one, other) = (waits.wait(&output), waits.wait(&output));
        one.because("full".to_owned(), 5);
        other.because("full".to_owned(), 7);
        drop(one);
        assert_eq!(waits.get(), Some(Unburied { since_ms: 5, why: "full".to_owned() }));
        drop(other);
        assert_eq!(waits.get(), None);
    }
}
