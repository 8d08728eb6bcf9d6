//! A cap in events a second, as a collector counts: by what arrives within any second, from whomever it comes.
//!
//! Two conditions let a request pass. Nothing is owed: each request is paid for with time, which keeps the mean. And what
//! is on its way, together with what was answered within the last second, leaves room: a request arrives at some time
//! between its start and its answer, so whatever second the collector looks at holds no more than the cap and one
//! [`share`] of it. The share lets the mean be reached although answers take their time. A request larger than a share,
//! cut before there was this cap, passes where a share would, and everybody waits until it is paid for.
//!
//! Endpoints with one address are one collector: of whichever output, they have one cap between them, the lowest that
//! anyone names. A new one begins as if a whole second's worth had just been sent: a process before it may have done so.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// A collector counts by this.
const WINDOW: Duration = Duration::from_secs(1);
/// The part of a cap that a request may hold. Collectors that are capped at 8,500 drop above 10,000.
const PARTS: u32 = 8;
/// Credit that may be saved up while nothing is sent, in seconds: as much as timers are late.
const SAVED_SECONDS: f64 = 0.1;
/// How long to wait for the answer to a request of somebody else.
const OTHERS_ANSWER: Duration = Duration::from_millis(50);
/// Answers that come within this time are kept as one, as if all had come at its end.
const SAME_TIME: Duration = Duration::from_millis(5);

/// The most events that a request to an endpoint with this cap should hold.
pub(super) fn share(cap: u32) -> u32 {
    (cap / PARTS).max(1)
}

/// The most events that a second may bring.
fn most(cap: u32) -> u64 {
    u64::from(cap) + u64::from(share(cap))
}

/// The caps of all addresses, for everybody who sends to them.
#[derive(Debug, Default)]
pub struct EventRates(Mutex<Vec<(String, Weak<Mutex<Rate>>)>>);

impl EventRates {
    /// What endpoints of this address share; of an empty one, nothing is shared.
    pub fn of(&self, address: &str) -> SharedRate {
        let mut rates = self.0.lock();
        rates.retain(|(_, rate)| rate.strong_count() > 0);
        let known = rates.iter().find(|(known, _)| known == address && !address.is_empty());
        if let Some(rate) = known.and_then(|(_, rate)| rate.upgrade()) {
            return SharedRate(rate);
        }
        let rate = SharedRate::default();
        rates.push((address.to_owned(), Arc::downgrade(&rate.0)));
        rate
    }
}

/// The cap of one address. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct SharedRate(Arc<Mutex<Rate>>);

impl SharedRate {
    fn lock(&self) -> MutexGuard<'_, Rate> {
        self.0.lock()
    }
}

/// One endpoint's part in a cap; it ends with this.
#[derive(Debug)]
pub(super) struct Member {
    rate: SharedRate,
    number: u64,
}

impl Member {
    /// An endpoint that names this cap, or none.
    pub(super) fn new(rate: SharedRate, cap: Option<u32>, now: Instant) -> Self {
        let number = rate.lock().join(cap.map(|cap| cap.max(1)), now);
        Self { rate, number }
    }

    /// The cap that is in force.
    pub(super) fn cap(&self) -> Option<u32> {
        self.rate.lock().cap()
    }

    /// Time until a request of so many events may pass; zero when it may now.
    pub(super) fn wait(&self, events: u32, now: Instant) -> Duration {
        self.rate.lock().wait(events, now)
    }

    /// A request starts, if it still may: another endpoint of the address may have been faster. Else the time until then.
    pub(super) fn take(&self, events: u32, now: Instant) -> Result<(), Duration> {
        let mut rate = self.rate.lock();
        let wait = rate.wait(events, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        rate.take(events, now);
        Ok(())
    }

    /// It ended, however.
    pub(super) fn end(&self, events: u32, now: Instant) {
        self.rate.lock().end(events, now);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.rate.lock().caps.remove(&self.number);
    }
}

#[derive(Debug, Default)]
struct Rate {
    /// What each member says.
    caps: BTreeMap<u64, Option<u32>>,
    joined: u64,
    credit: f64,
    paid: Option<Instant>,
    under_way: u64,
    /// What ended within the window, oldest first.
    ended: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn join(&mut self, cap: Option<u32>, now: Instant) -> u64 {
        let before = self.cap();
        self.joined += 1;
        self.caps.insert(self.joined, cap);
        if let (None, Some(cap)) = (before, self.cap()) {
            self.ended = [(now, most(cap))].into();
        }
        self.joined
    }

    fn cap(&self) -> Option<u32> {
        self.caps.values().flatten().min().copied()
    }

    fn wait(&self, events: u32, now: Instant) -> Duration {
        let Some(cap) = self.cap() else { return Duration::ZERO };
        let owed = Duration::from_secs_f64((-self.credit_at(cap, now) / f64::from(cap)).max(0.0));
        owed.max(self.until_room(cap, events, now))
    }

    /// Time until so many events have room. A request larger than a share needs no more room than a share: others, who send
    /// shares, would always be there first.
    fn until_room(&self, cap: u32, events: u32, now: Instant) -> Duration {
        let room = most(cap) - u64::from(events.min(share(cap)));
        let recent = self.ended.iter().filter(|(at, _)| *at + WINDOW > now);
        let mut sum = self.under_way + recent.clone().map(|(_, events)| events).sum::<u64>();
        let mut wait = Duration::ZERO;
        for (at, events) in recent {
            if sum <= room {
                return wait;
            }
            sum -= events;
            wait = *at + WINDOW - now;
        }
        if sum <= room { wait } else { wait.max(OTHERS_ANSWER) }
    }

    fn take(&mut self, events: u32, now: Instant) {
        if let Some(cap) = self.cap() {
            self.credit = self.credit_at(cap, now) - f64::from(events);
            self.paid = Some(now);
        }
        self.under_way += u64::from(events);
    }

    fn end(&mut self, events: u32, now: Instant) {
        self.under_way = self.under_way.saturating_sub(u64::from(events));
        while self.ended.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.ended.pop_front();
        }
        match self.ended.back_mut() {
            Some((at, sum)) if now <= *at => *sum += u64::from(events),
            _ => self.ended.push_back((now + SAME_TIME, u64::from(events))),
        }
    }

    fn credit_at(&self, cap: u32, now: Instant) -> f64 {
        let passed = self.paid.map_or(0.0, |paid| now.saturating_duration_since(paid).as_secs_f64());
        (self.credit + f64::from(cap) * passed).min(f64::from(cap) * SAVED_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn new(cap: u32) -> (Member, Instant) {
        let began = Instant::now();
        (Member::new(SharedRate::default(), Some(cap), began), began + WINDOW)
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_larger_than_the_cap_passes_and_is_paid_back() {
        let (rate, now) = new(100);
        assert_eq!(rate.wait(1_000, now - millis(1)), millis(1), "as if a second had been sent before");
        assert_eq!(rate.wait(1_000, now), Duration::ZERO);
        assert_eq!(rate.take(1_000, now), Ok(()));
        rate.end(1_000, now);
        assert_eq!(rate.wait(1, now), Duration::from_secs(10));
        assert_eq!(rate.wait(1, now + Duration::from_secs(10)), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_counts_until_a_second_after_its_answer() {
        let (rate, now) = new(80);
        // Nine shares of ten are the cap and one; each is paid for, and none is answered.
        for part in 0..9 {
            let now = now + millis(125 * part);
            assert_eq!(rate.wait(10, now), Duration::ZERO, "{part}");
            assert_eq!(rate.take(10, now), Ok(()));
        }
        let later = now + Duration::from_secs(7);
        assert_eq!(rate.take(10, later), Err(OTHERS_ANSWER));
        rate.end(10, later);
        assert_eq!(rate.wait(10, later), WINDOW + SAME_TIME);
        assert_eq!(rate.wait(10, later + WINDOW + SAME_TIME), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_one_cap_the_lowest_and_who_leaves_takes_his_along() {
        let rates = EventRates::default();
        let now = Instant::now();
        let all = Member::new(rates.of("http://a:80"), None, now);
        assert_eq!(all.cap(), None);
        let high = Member::new(rates.of("http://a:80"), Some(500), now);
        let low = Member::new(rates.of("http://a:80"), Some(80), now);
        let elsewhere = Member::new(rates.of("http://b:80"), None, now);
        assert_eq!((all.cap(), high.cap(), elsewhere.cap()), (Some(80), Some(80), None));
        drop(low);
        assert_eq!(all.cap(), Some(500));
        let (own, other) = (rates.of(""), rates.of(""));
        assert!(!Arc::ptr_eq(&own.0, &other.0), "without an address nothing is shared");
    }
}
