//! One token, kept: when it is used, when another is asked for, and how long we wait after a failure.
//!
//! Callers hardly ever wait. A token is renewed in the background while the old one is still good, and a caller that
//! finds none shares the fetch of the first. The fetch is a task of its own, so that a caller who goes away takes nothing
//! from the others. Lives are measured on the monotonic clock from the moment of asking: a machine whose clock is
//! wrong, or set, keeps its tokens for the right time.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout};

use super::source::{Failure, Fetched, Mends, Source};
use super::{Token, TokenError, TokenStatus};
use crate::metrics;

/// A token is not handed out in its last seconds: a request takes a while. Shorter lives keep a tenth.
const SPARED: Duration = Duration::from_secs(30);
/// A token is renewed when less than this is left, or a fifth of its life if that is more: Azure's own libraries ask
/// five minutes before the end.
const RENEW_LEFT: Duration = Duration::from_secs(300);
/// The pauses after failures: doubling from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(60);
/// Longest wait that an answer may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Shortest time between two fetches because a token was refused.
const FORCED_EVERY: Duration = Duration::from_secs(30);
/// Longest fetch: a hung disk or name server must not hold all batches for good.
const FETCH_MAX: Duration = Duration::from_secs(90);

type Flight = Shared<BoxFuture<'static, Result<Token, TokenError>>>;

/// The kept token of one source.
pub(super) struct Cache {
    kind: &'static str,
    source: Box<dyn Source>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    flight: Option<Flight>,
    failed: Option<Failed>,
    /// Failures since the last success.
    failures: u32,
    fetched: u64,
    notice: Option<String>,
    forced: Option<Instant>,
}

struct Kept {
    token: Token,
    ends: Instant,
    life: Duration,
}

impl Kept {
    fn left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }

    fn is_good(&self, now: Instant) -> bool {
        self.left(now) > SPARED.min(self.life / 10)
    }

    /// Never before half of its life: one of a few minutes would be renewed with every call.
    fn wants_renewal(&self, now: Instant) -> bool {
        self.left(now) < RENEW_LEFT.max(self.life / 5).min(self.life / 2)
    }
}

struct Failed {
    error: TokenError,
    next_try: Instant,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty one.
    pub(super) fn new(kind: &'static str, source: Box<dyn Source>) -> Arc<Self> {
        Arc::new(Self { kind, source, state: Mutex::default() })
    }

    /// A good token: the kept one, or the one of the fetch that is under way or begins now. During the pause after a
    /// failure its error, at once.
    pub(super) async fn token(self: &Arc<Self>) -> Result<Token, TokenError> {
        let flight = {
            let mut state = self.state();
            let now = Instant::now();
            let good = state.kept.as_ref().filter(|kept| kept.is_good(now));
            let pause = state.failed.as_ref().filter(|failed| now < failed.next_try);
            match (good, pause) {
                (Some(kept), pause) => {
                    let token = kept.token.clone();
                    if kept.wants_renewal(now) && pause.is_none() && state.flight.is_none() {
                        // Nobody here waits for it; its task does.
                        drop(self.take_off(&mut state));
                    }
                    return Ok(token);
                }
                (None, Some(failed)) => return Err(failed.error.clone()),
                (None, None) => match &state.flight {
                    Some(flight) => flight.clone(),
                    None => self.take_off(&mut state),
                },
            }
        };
        flight.await
    }

    /// A token in the place of one that an endpoint did not take: the kept one if that is another by now, else a fetched one.
    /// `None` when that was tried a moment ago. The refused one is kept until another lands: an endpoint that does not take it
    /// must not stop those that do.
    pub(super) async fn instead_of(self: &Arc<Self>, refused: &Token) -> Result<Option<Token>, TokenError> {
        let flight = {
            let mut state = self.state();
            let now = Instant::now();
            let other = state.kept.as_ref().filter(|kept| kept.token != *refused && kept.is_good(now));
            if let Some(kept) = other {
                return Ok(Some(kept.token.clone()));
            }
            let forced = state.forced.is_some_and(|last| now < last + FORCED_EVERY);
            let pausing = state.failed.as_ref().is_some_and(|failed| now < failed.next_try);
            match &state.flight {
                Some(flight) => flight.clone(),
                None if forced || pausing => return Ok(None),
                None => {
                    state.forced = Some(now);
                    self.take_off(&mut state)
                }
            }
        };
        flight.await.map(Some)
    }

    pub(super) fn status(&self) -> TokenStatus {
        let state = self.state();
        let now = Instant::now();
        let good = state.kept.as_ref().filter(|kept| kept.is_good(now));
        let error = state.failed.as_ref().map(|failed| &failed.error);
        TokenStatus {
            kind: self.kind,
            has_token: good.is_some(),
            expires_in_seconds: good.map(|kept| kept.left(now).as_secs()),
            certificate_ends: self.source.certificate_ends(),
            fetched: state.fetched,
            last_error: error.map(|error| error.detail.clone()),
            advice: error.and_then(|error| error.advice.clone()).or_else(|| state.notice.clone()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn take_off(self: &Arc<Self>, state: &mut State) -> Flight {
        let cache = Arc::clone(self);
        let flight = async move {
            let asked = Instant::now();
            let result = timeout(FETCH_MAX, cache.source.fetch()).await;
            let result = result.unwrap_or_else(|_| Err(Failure::passing(format!("nothing came within {FETCH_MAX:?}"))));
            cache.land(asked, result)
        };
        let flight = flight.boxed().shared();
        state.flight = Some(flight.clone());
        tokio::spawn(flight.clone());
        flight
    }

    fn land(&self, asked: Instant, result: Result<Fetched, Failure>) -> Result<Token, TokenError> {
        let mut state = self.state();
        state.flight = None;
        match result {
            Ok(Fetched { token, life, notice }) => {
                self.count("fetched");
                if state.failures > 0 {
                    tracing::info!(identity = self.kind, failures = state.failures, "tokens are being issued again");
                }
                state.kept = Some(Kept { token: token.clone(), ends: asked + life, life });
                state.failed = None;
                state.failures = 0;
                state.fetched += 1;
                state.notice = notice;
                Ok(token)
            }
            Err(Failure { error, mends, retry_after }) => {
                self.count(if mends == Mends::ByHand { "refused" } else { "failed" });
                let pause = pause(state.failures, mends, retry_after);
                let advice = error.advice.as_deref().unwrap_or_default();
                let next_try_seconds = pause.as_secs_f64();
                tracing::warn!(identity = self.kind, error = %error, advice, next_try_seconds, "no token");
                state.failures = state.failures.saturating_add(1);
                state.failed = Some(Failed { error: error.clone(), next_try: Instant::now() + pause });
                Err(error)
            }
        }
    }

    fn count(&self, outcome: &str) {
        metrics::TOKEN_REQUESTS.add(&[self.kind, outcome], 1);
    }
}

/// How long to wait after a failure that `before` others preceded. What a person must mend is asked for seldom.
fn pause(before: u32, mends: Mends, retry_after: Option<Duration>) -> Duration {
    let longest = match mends {
        Mends::ByHand => PAUSE_LAST,
        Mends::ByItself => (PAUSE_FIRST * 2_u32.pow(before.min(6))).min(PAUSE_LAST),
    };
    // A fleet that lost its token service together must not come back together.
    let pause = longest.mul_f64(0.75 + fastrand::f64() / 4.0);
    pause.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
