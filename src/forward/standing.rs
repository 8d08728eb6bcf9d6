//! How an output stands, for whoever looks at it: what waits, for how long, and what went wrong last.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::{Forwarder, LastError, Shapeless, Unburied};
use crate::balancer::Balancer;
use crate::outputs::identity::TokenStatus;
use crate::spool::Ordinal;
use crate::spool::cursor::Totals;

impl Forwarder {
    /// The output's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What this output did with its events since its cursor began.
    pub fn totals(&self) -> Totals {
        self.cursor().totals()
    }

    /// How many events of the spool it still has to send.
    pub fn pending(&self) -> u64 {
        let end = *self.spool.durable_end().borrow();
        self.cursor().pending(end)
    }

    /// How many of the events below this position it still has to send.
    pub fn pending_below(&self, end: Ordinal) -> u64 {
        self.cursor().pending(end)
    }

    /// What of a range it still has to send.
    pub fn unsettled(&self, range: &Range<Ordinal>) -> Vec<Range<Ordinal>> {
        self.cursor().unsettled(range.start, range.end).collect()
    }

    /// How long the oldest of them has waited; zero when there is none on its way.
    pub fn oldest_pending(&self) -> Duration {
        let on_the_way = self.on_the_way.lock();
        let oldest = on_the_way.values().next();
        oldest.map_or(Duration::ZERO, |at| Duration::from_millis(self.spool.clock().now_ms().saturating_sub(*at)))
    }

    /// For how long it has had events to send and settled none, as seen by whoever asks now and then; zero when it makes
    /// progress or has nothing to do. Silence must show, whatever its cause.
    pub fn stalled_for(&self) -> Duration {
        let end = *self.spool.durable_end().borrow();
        let (settled, pending) = {
            let cursor = self.cursor();
            (cursor.totals().sum(), cursor.pending(end))
        };
        let mut progress = self.progress.lock();
        if pending == 0 || settled != progress.0 {
            *progress = (settled, Instant::now());
            return Duration::ZERO;
        }
        progress.1.elapsed()
    }

    /// What went wrong last, unless a batch was accepted since; else what an endpoint says that is out of use for refusing
    /// what others take.
    pub fn last_error(&self) -> Option<LastError> {
        let last = self.last_error.lock().clone();
        last.or_else(|| self.last_contradicted())
    }

    /// What its destination took since the start of records whose shape it did not know.
    pub fn shapeless(&self) -> Option<Shapeless> {
        self.shapeless.get()
    }

    /// Why it waits, when events cannot be kept as dead letters: it goes on when they can.
    pub fn unburied(&self) -> Option<Unburied> {
        self.unburied.get()
    }

    /// Its balancer, to look at.
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// What its destination shows of itself on the status page, beyond its endpoints.
    pub fn output_status(&self) -> Option<serde_json::Value> {
        self.output.status()
    }

    /// How it stands with the tokens of its destination; none where it wants none.
    pub fn token(&self) -> Option<TokenStatus> {
        self.output.token()
    }

    /// Its destination's kind, for the status page.
    pub fn kind(&self) -> &'static str {
        self.output.kind()
    }
}
