//! How long an endpoint takes to answer: an average that believes bad news at once and good news slowly.
//!
//! A peak is taken over as it is; lower latencies pull the estimate down over the decay time. Without answers the
//! estimate sinks by itself, so an endpoint that was slow once is tried again instead of starving for ever.

use std::time::Duration;

use tokio::time::Instant;

/// Latency below this is noise; it also keeps requests in flight counting when nothing was measured yet.
pub(super) const FLOOR: f64 = 0.001;

/// The estimate, in seconds.
#[derive(Debug)]
pub(super) struct PeakEwma {
    seconds: f64,
    at: Option<Instant>,
    decay: f64,
}

impl PeakEwma {
    pub(super) fn new(decay: Duration) -> Self {
        Self { seconds: 0.0, at: None, decay: decay.as_secs_f64() }
    }

    /// The estimate now, at least [`FLOOR`].
    pub(super) fn get(&self, now: Instant) -> f64 {
        (self.seconds * self.kept(now)).max(FLOOR)
    }

    /// The estimate when it was last fed; `None` before the first answer.
    pub(super) fn last(&self) -> Option<f64> {
        self.at.map(|_| self.seconds.max(FLOOR))
    }

    /// An answer took this long.
    pub(super) fn observe(&mut self, took: Duration, now: Instant) {
        let took = took.as_secs_f64();
        let kept = self.kept(now);
        self.seconds = if took > self.seconds * kept { took } else { self.seconds * kept + took * (1.0 - kept) };
        self.at = Some(now);
    }

    /// A failure took this long: one that is quick must not make the endpoint look fast.
    pub(super) fn observe_failure(&mut self, took: Duration, now: Instant) {
        if took.as_secs_f64() > self.get(now) {
            self.observe(took, now);
        }
    }

    /// Forgets the past: a recovered endpoint is judged by how it answers now.
    pub(super) fn reset(&mut self, took: Duration, now: Instant) {
        self.seconds = took.as_secs_f64();
        self.at = Some(now);
    }

    fn kept(&self, now: Instant) -> f64 {
        self.at.map_or(0.0, |at| (-now.saturating_duration_since(at).as_secs_f64() / self.decay).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn peaks_count_at_once_and_fade_over_the_decay_time() {
        let mut ewma = PeakEwma::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(ewma.get(start), FLOOR);
        ewma.observe(Duration::from_millis(50), start);
        ewma.observe(Duration::from_secs(2), start);
        assert_eq!(ewma.get(start), 2.0);
        ewma.observe(Duration::from_millis(50), start + Duration::from_secs(1));
        let later = ewma.get(start + Duration::from_secs(1));
        assert!((1.7..1.9).contains(&later), "{later}");
        assert!(ewma.get(start + Duration::from_secs(60)) < 0.01);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_failure_does_not_look_fast() {
        let mut ewma = PeakEwma::new(Duration::from_secs(10));
        let now = Instant::now();
        ewma.observe(Duration::from_millis(200), now);
        ewma.observe_failure(Duration::from_millis(1), now);
        assert_eq!(ewma.get(now), 0.2);
        ewma.observe_failure(Duration::from_secs(5), now);
        assert_eq!(ewma.get(now), 5.0);
    }
}
