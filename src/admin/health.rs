//! Is it alive; does it want uploads?
//!
//! Alive: the runtime turns and can answer. Ready: nobody objects. Whoever has something to finish first (start, recovery), or
//! has begun to stop, holds a [`Latch`]. Everything else is a fact of some part, and facts are asked for when somebody wants to
//! know: a copy would be as old as its last renewal. Every objection is shown, with a code for machines and words for people.
//!
//! What objects goes on to object for [`SETTLES`] after it was seen last. A balancer that took a gateway back at the first good
//! moment of a disk that fails every other second would send it uploads to refuse.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use crate::metrics;

/// For so long after it was seen last an objection stands: longer than balancers leave between two questions.
pub const SETTLES: Duration = Duration::from_secs(5);

/// Why uploads are not welcome, or what a person should know although they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// Stable, in snake case, for machines.
    pub code: &'static str,
    /// The same in words, which may be mended.
    pub text: &'static str,
}

/// How it stands at one moment, in a stable order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why uploads are not welcome; none when it is ready.
    pub objections: Vec<Reason>,
    /// What goes on although it should not.
    pub warnings: Vec<Reason>,
    /// How far it is with what it has to finish first.
    pub progress: Option<String>,
}

impl Standing {
    /// Whether nobody objects.
    pub fn is_ready(&self) -> bool {
        self.objections.is_empty()
    }

    fn tidy(mut self) -> Self {
        for reasons in [&mut self.objections, &mut self.warnings] {
            reasons.sort_unstable();
            reasons.dedup();
        }
        self
    }
}

/// Tells what the parts have to say now. Must not wait for the disk.
pub type Facts = Box<dyn Fn() -> Standing + Send + Sync>;

/// Whether uploads are welcome. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    latches: Mutex<BTreeMap<Reason, usize>>,
    facts: OnceLock<Facts>,
    /// When each objection of the facts was seen last.
    seen: Mutex<BTreeMap<Reason, Instant>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Ready, as nobody objects yet.
    pub fn new() -> Self {
        let readiness =
            Self(Arc::new(Inner { latches: Mutex::default(), facts: OnceLock::new(), seen: Mutex::default() }));
        readiness.standing();
        readiness
    }

    /// From now on the facts have a say too. Only the first ones count.
    pub fn ask(&self, facts: Facts) {
        self.0.facts.set(facts).ok();
    }

    /// Objects until the latch is dropped.
    pub fn hold(&self, reason: Reason) -> Latch {
        *self.latches().entry(reason).or_default() += 1;
        self.standing();
        Latch { readiness: self.clone(), reason }
    }

    /// Objects for good.
    pub fn fall(&self, reason: Reason) {
        self.latches().insert(reason, 1);
        self.standing();
    }

    /// Takes back what [`Readiness::fall`] said for good.
    pub fn rise(&self, reason: Reason) {
        self.latches().remove(&reason);
        self.standing();
    }

    /// How it stands now. The metric then says the same.
    pub fn standing(&self) -> Standing {
        let mut standing = self.0.facts.get().map(|facts| facts()).unwrap_or_default();
        standing.objections = self.settled(&standing.objections, Instant::now());
        standing.objections.extend(self.latches().keys());
        metrics::READY.set(&[], f64::from(u8::from(standing.is_ready())));
        standing.tidy()
    }

    /// Whether nobody objects.
    pub fn is_ready(&self) -> bool {
        self.standing().is_ready()
    }

    /// What objects now, or did a moment ago.
    fn settled(&self, objections: &[Reason], now: Instant) -> Vec<Reason> {
        let mut seen = self.0.seen.lock();
        seen.extend(objections.iter().map(|reason| (*reason, now)));
        seen.retain(|_, at| now.saturating_duration_since(*at) < SETTLES);
        seen.keys().copied().collect()
    }

    fn latches(&self) -> MutexGuard<'_, BTreeMap<Reason, usize>> {
        self.0.latches.lock()
    }
}

/// An objection that ends when this is dropped.
#[must_use = "dropping the latch ends the objection"]
pub struct Latch {
    readiness: Readiness,
    reason: Reason,
}

impl Drop for Latch {
    fn drop(&mut self) {
        {
            let mut latches = self.readiness.latches();
            if let Some(held) = latches.get_mut(&self.reason) {
                *held -= 1;
                if *held == 0 {
                    latches.remove(&self.reason);
                }
            }
        }
        self.readiness.standing();
    }
}

pub(super) fn routes(readiness: Readiness) -> Router {
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(readiness)
}

async fn live() -> Json<serde_json::Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let Standing { objections, warnings, progress } = readiness.standing();
    let status = if objections.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut said =
        json!({ "ready": objections.is_empty(), "reasons": texts(&objections), "codes": codes(&objections) });
    if let Some(progress) = progress {
        said["progress"] = json!(progress);
    }
    if !warnings.is_empty() {
        said["warnings"] = json!(texts(&warnings));
        said["warning_codes"] = json!(codes(&warnings));
    }
    (status, Json(said)).into_response()
}

/// The words of these reasons.
pub fn texts(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(|reason| reason.text).collect()
}

/// The codes of these reasons.
pub fn codes(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(|reason| reason.code).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const STARTING: Reason = Reason { code: "starting", text: "starting" };
    const FULL: Reason = Reason { code: "spool_full", text: "the spool is full" };
    const LOOK: Reason = Reason { code: "look", text: "look at it" };

    fn is_full(readiness: &Readiness) -> Arc<AtomicBool> {
        let full = Arc::new(AtomicBool::new(false));
        let fact = Arc::clone(&full);
        readiness.ask(Box::new(move || {
            let objections = fact.load(Ordering::Relaxed).then_some(FULL).into_iter().collect();
            Standing { objections, warnings: vec![LOOK, LOOK], progress: None }
        }));
        full
    }

    #[tokio::test(start_paused = true)]
    async fn ready_again_only_when_the_last_objection_ends() {
        let readiness = Readiness::new();
        let full = is_full(&readiness);
        let first = readiness.hold(STARTING);
        let second = readiness.hold(STARTING);
        full.store(true, Ordering::Relaxed);
        let standing = readiness.standing();
        assert_eq!((standing.objections, standing.warnings), (vec![FULL, STARTING], vec![LOOK]));
        drop(first);
        full.store(false, Ordering::Relaxed);
        tokio::time::advance(SETTLES).await;
        assert_eq!(readiness.standing().objections, [STARTING]);
        drop(second);
        assert!(readiness.is_ready(), "a warning is no objection");
        readiness.fall(STARTING);
        drop(readiness.hold(FULL));
        assert_eq!(codes(&readiness.standing().objections), ["starting"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fact_that_comes_and_goes_does_not_make_readiness_flap() {
        let readiness = Readiness::new();
        let full = is_full(&readiness);
        let mut changes = 0;
        let mut before = readiness.is_ready();
        for second in 0..60 {
            full.store(second % 2 == 0, Ordering::Relaxed);
            changes += u32::from(readiness.is_ready() != before);
            before = readiness.is_ready();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(changes, 1, "it fell once, at the first objection");
        full.store(false, Ordering::Relaxed);
        tokio::time::advance(SETTLES).await;
        assert!(readiness.is_ready());
    }
}
