//! The gateway as it is, second by second, for those who follow it: one stream of server-sent events for each.
//!
//! A follower gets what flowed before first, then each second the state and the lines of the log that are new. The state is worked
//! out once a second for all of them, and not at all while nobody follows. There are no more than [`LIVE_FOLLOWERS_MAX`]; whoever
//! comes then may ask `/status` now and then instead. A stream ends by itself before its connection grows too old, and at once when
//! the gateway stops; browsers come back by themselves.

use parking_lot::Mutex;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::status::StatusSource;
use crate::limits::{ADMIN_CONNECTION_MAX_AGE, LIVE_FOLLOWERS_MAX};
use crate::metrics;
use crate::telemetry::lines;

/// How often a follower hears.
const EVERY: Duration = Duration::from_secs(1);

/// How long before its connection is too old a stream ends by itself.
const MARGIN: Duration = Duration::from_secs(30);

/// Whoever finds no place may ask again after so many seconds.
const AGAIN: HeaderValue = HeaderValue::from_static("10");

struct Live {
    source: Arc<dyn StatusSource>,
    places: Arc<Semaphore>,
    last: Mutex<Option<(Instant, Bytes)>>,
    stopping: CancellationToken,
}

pub(super) fn routes(source: Arc<dyn StatusSource>, stopping: CancellationToken) -> Router {
    let places = Arc::new(Semaphore::new(LIVE_FOLLOWERS_MAX));
    let live = Live { source, places, last: Mutex::default(), stopping };
    Router::new().route("/live", get(follow)).with_state(Arc::new(live))
}

async fn follow(State(live): State<Arc<Live>>) -> Response {
    let Ok(place) = Arc::clone(&live.places).try_acquire_owned() else {
        let error = format!("{LIVE_FOLLOWERS_MAX} follow already; ask /status now and then instead");
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, AGAIN)], Json(json!({ "error": error })))
            .into_response();
    };
    let follower = Follower::new(live, place);
    let body = Body::from_stream(stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        let (text, goes_on) = follower.next().await;
        Some((Ok::<_, Infallible>(text), goes_on.then_some(follower)))
    }));
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let fresh = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ([kind, fresh], body).into_response()
}

/// One who follows.
struct Follower {
    live: Arc<Live>,
    tick: Interval,
    until: Instant,
    has_history: bool,
    /// The number of the last line of the log that it got.
    line: u64,
    _place: Counted,
}

impl Follower {
    fn new(live: Arc<Live>, place: OwnedSemaphorePermit) -> Self {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let until = Instant::now() + ADMIN_CONNECTION_MAX_AGE.saturating_sub(MARGIN);
        Self { live, tick, until, has_history: false, line: 0, _place: Counted::new(place) }
    }

    /// What it hears next, and whether that was not all.
    async fn next(&mut self) -> (Bytes, bool) {
        let stopping = self.live.stopping.clone();
        if stopping.run_until_cancelled(self.tick.tick()).await.is_none() || Instant::now() >= self.until {
            return (Bytes::from_static(b"event: end\ndata: {}\n\n"), false);
        }
        let mut text = Vec::new();
        if !std::mem::replace(&mut self.has_history, true) {
            text.extend_from_slice(event("history", &self.live.source.history()).as_bytes());
        }
        text.extend_from_slice(&self.live.state());
        let lines = lines::after(self.line);
        if let Some(last) = lines.last() {
            self.line = last.number;
            text.extend_from_slice(event("lines", &json!(lines)).as_bytes());
        }
        (text.into(), true)
    }
}

impl Live {
    /// The state, at most half a second old: those who follow at the same time share it.
    fn state(&self) -> Bytes {
        let mut last = self.last.lock();
        if let Some((at, text)) = &*last
            && at.elapsed() < EVERY / 2
        {
            return text.clone();
        }
        let state = json!({ "status": self.source.status(), "point": self.source.point() });
        let text = Bytes::from(event("state", &state));
        *last = Some((Instant::now(), text.clone()));
        text
    }
}

/// JSON has no line ends of its own, so an event is two lines and an empty one.
fn event(name: &str, data: &serde_json::Value) -> String {
    let mut text = format!("event: {name}\ndata: ");
    write!(text, "{data}\n\n").expect("writing to a String cannot fail");
    text
}

/// A place, counted for as long as it is taken.
struct Counted(#[expect(dead_code, reason = "dropping it frees the place")] OwnedSemaphorePermit);

impl Counted {
    fn new(place: OwnedSemaphorePermit) -> Self {
        metrics::LIVE_FOLLOWERS.shift(&[], 1.0);
        Self(place)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::LIVE_FOLLOWERS.shift(&[], -1.0);
    }
}
