//! Bandwidth limits: a bucket of bytes that fills at a steady rate, for all tunnels together and for each client.
//!
//! Bytes are taken after they have moved, so a bucket can go into debt, and while it is, nobody moves more. So a debt is
//! at most one turn of each worker thread, the rate holds on average, and no bytes are held back in memory for it.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Bytes that a bucket holds when full, as the time that it takes to fill: short bursts pass at full speed.
const BURST: Duration = Duration::from_millis(250);

/// A limit in bytes a second.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: f64,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    bytes: f64,
    at: Instant,
}

impl Throttle {
    /// A full bucket that fills with so many bytes a second.
    pub fn new(bytes_per_second: u64) -> Self {
        let bytes_per_second = bytes_per_second.max(1) as f64;
        let level = Level { bytes: bytes_per_second * BURST.as_secs_f64(), at: Instant::now() };
        Self { bytes_per_second, level: Mutex::new(level) }
    }

    /// The limit.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second as u64
    }

    /// Takes bytes that have moved. How long to wait before moving more.
    fn charge(&self, bytes: u64) -> Duration {
        let now = Instant::now();
        let mut level = self.level.lock();
        let gained = now.saturating_duration_since(level.at).as_secs_f64() * self.bytes_per_second;
        level.bytes = (level.bytes + gained).min(self.bytes_per_second * BURST.as_secs_f64()) - bytes as f64;
        level.at = now;
        if level.bytes >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64((-level.bytes / self.bytes_per_second).min(60.0))
        }
    }
}

/// The limits that one tunnel is under.
#[derive(Debug, Clone, Default)]
pub struct Throttles {
    /// That of all tunnels together.
    pub all: Option<Arc<Throttle>>,
    /// That of the tunnel's client.
    pub client: Option<Arc<Throttle>>,
}

impl Throttles {
    /// Takes bytes that have moved from every limit. How long to wait before moving more.
    pub(super) fn charge(&self, bytes: u64) -> Duration {
        let charge = |throttle: &Option<Arc<Throttle>>| throttle.as_ref().map_or(Duration::ZERO, |t| t.charge(bytes));
        charge(&self.all).max(charge(&self.client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_on_average_and_bursts_pass() {
        let throttle = Throttle::new(1_000_000);
        assert_eq!(throttle.charge(200_000), Duration::ZERO);
        let start = Instant::now();
        let mut moved = 0;
        while start.elapsed() < Duration::from_secs(10) {
            let wait = throttle.charge(64_000);
            moved += 64_000;
            tokio::time::sleep(wait).await;
        }
        assert!((9_500_000..=10_500_000).contains(&moved), "{moved} bytes in 10 s at 1 MB/s");
    }
}
