//! Is it alive; does it want uploads?
//!
//! Alive: the runtime turns and can answer. Ready: nobody objects. Parts object in two ways: a [`Latch`] is held by
//! whoever has something to finish first (start, recovery) or has begun to stop, and goes away when dropped; a named
//! condition is switched on and off (spool full, disk failing). Every objection is shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;

use crate::metrics;

/// Whether uploads are welcome. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<Objections>>);

#[derive(Debug, Default)]
struct Objections {
    latches: BTreeMap<String, usize>,
    conditions: BTreeSet<&'static str>,
    /// No objections: what a person should know although uploads are welcome.
    warnings: BTreeSet<&'static str>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready, as nobody objects yet.
    pub fn new() -> Self {
        let readiness = Self(Arc::default());
        readiness.count(&readiness.lock());
        readiness
    }

    /// Objects until the latch is dropped.
    pub fn hold(&self, reason: impl Into<String>) -> Latch {
        let reason = reason.into();
        self.change(|objections| *objections.latches.entry(reason.clone()).or_default() += 1);
        Latch { readiness: self.clone(), reason }
    }

    /// Switches the objection of this name on or off.
    pub fn set(&self, reason: &'static str, objects: bool) {
        self.change(|objections| {
            if objects {
                objections.conditions.insert(reason);
            } else {
                objections.conditions.remove(reason);
            }
        });
    }

    /// Switches the warning of this name on or off. It stands beside the answer and does not change it.
    pub fn warn(&self, warning: &'static str, holds: bool) {
        let warnings = &mut self.lock().warnings;
        if holds {
            warnings.insert(warning);
        } else {
            warnings.remove(warning);
        }
    }

    /// Every warning, in a stable order.
    pub fn warnings(&self) -> Vec<&'static str> {
        self.lock().warnings.iter().copied().collect()
    }

    /// Every objection, each once, in a stable order; empty when ready.
    pub fn reasons(&self) -> Vec<String> {
        let objections = self.lock();
        let mut reasons: Vec<String> = objections.latches.keys().cloned().collect();
        reasons.extend(objections.conditions.iter().map(|reason| (*reason).to_owned()));
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// Whether nobody objects.
    pub fn is_ready(&self) -> bool {
        self.lock().none()
    }

    fn change(&self, change: impl FnOnce(&mut Objections)) {
        let mut objections = self.lock();
        change(&mut objections);
        self.count(&objections);
    }

    // Under the lock, so that the metric never stays behind the last change.
    fn count(&self, objections: &Objections) {
        metrics::READY.set(&[], if objections.none() { 1.0 } else { 0.0 });
    }

    fn lock(&self) -> MutexGuard<'_, Objections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objections {
    fn none(&self) -> bool {
        self.latches.is_empty() && self.conditions.is_empty()
    }
}

/// An objection that ends when this is dropped.
#[derive(Debug)]
#[must_use = "dropping the latch ends the objection"]
pub struct Latch {
    readiness: Readiness,
    reason: String,
}

impl Drop for Latch {
    fn drop(&mut self) {
        self.readiness.change(|objections| {
            if let Some(held) = objections.latches.get_mut(&self.reason) {
                *held -= 1;
                if *held == 0 {
                    objections.latches.remove(&self.reason);
                }
            }
        });
    }
}

pub(super) fn routes(readiness: Readiness) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(readiness)
}

async fn live() -> Json<serde_json::Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut said = json!({ "ready": ready, "reasons": reasons });
    let warnings = readiness.warnings();
    if !warnings.is_empty() {
        said["warnings"] = json!(warnings);
    }
    (status, Json(said)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_again_only_when_the_last_objection_ends() {
        let readiness = Readiness::new();
        let first = readiness.hold("starting");
        let second = readiness.hold("starting");
        readiness.set("spool_full", true);
        readiness.set("spool_full", true);
        assert_eq!(readiness.reasons(), ["spool_full", "starting"]);
        drop(first);
        readiness.set("spool_full", false);
        assert_eq!(readiness.reasons(), ["starting"]);
        drop(second);
        assert!(readiness.is_ready());
        readiness.warn("a warning", true);
        assert!(readiness.is_ready());
        assert_eq!(readiness.warnings(), ["a warning"]);
        readiness.warn("a warning", false);
        assert!(readiness.warnings().is_empty());
    }
}
