//! How much may go into a request when the limit counts compressed bytes.
//!
//! Whether a batch fits is known only when it is compressed. So the last batches' ratio says how many plain bytes the next
//! may hold, with some room; one that comes out too large all the same is halved before it is sent.

use std::sync::atomic::{AtomicU64, Ordering};

/// Most bytes of a request on the wire. Azure refuses 1,048,577.
const WIRE_MAX: usize = 1_000_000;
/// How much of the limit a batch is planned to fill.
const ROOM: f64 = 0.85;
/// How much a new ratio counts against the ones before. A worse one counts whole.
const WEIGHT: f64 = 0.3;

/// Learns how well batches compress.
#[derive(Debug)]
pub(super) struct Wire {
    /// Plain bytes for each byte on the wire, as the bits of a float.
    ratio: AtomicU64,
}

impl Wire {
    /// Nothing learnt: the first batch is planned as if nothing compressed.
    pub(super) fn new() -> Self {
        Self { ratio: AtomicU64::new(1_f64.to_bits()) }
    }

    /// Most plain bytes of the next batch, if the configuration allows at most `most`.
    pub(super) fn plain_max(&self, most: usize) -> usize {
        let planned = WIRE_MAX as f64 * ROOM * f64::from_bits(self.ratio.load(Ordering::Relaxed));
        (planned.max(WIRE_MAX as f64) as usize).min(most)
    }

    /// A batch of so many bytes was compressed to so many.
    pub(super) fn learn(&self, plain: usize, wire: usize) {
        let new = plain as f64 / wire.max(1) as f64;
        let update = |bits| {
            let old = f64::from_bits(bits);
            Some(if new < old { new } else { old + (new - old) * WEIGHT }.max(1.0).to_bits())
        };
        self.ratio.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update).ok();
    }

    /// Whether Azure would refuse a body of so many bytes.
    pub(super) fn is_too_large(bytes: usize) -> bool {
        bytes > WIRE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_to_what_compression_allows_and_shrink_at_once() {
        let wire = Wire::new();
        assert_eq!(wire.plain_max(20 << 20), WIRE_MAX, "nothing is known yet");
        for _ in 0..30 {
            let plain = wire.plain_max(20 << 20);
            wire.learn(plain, plain / 10);
            assert!(!Wire::is_too_large(wire.plain_max(20 << 20) / 10), "what was planned fits");
        }
        assert!((8_000_000..=8_500_000).contains(&wire.plain_max(20 << 20)), "{}", wire.plain_max(20 << 20));
        assert_eq!(wire.plain_max(5 << 20), 5 << 20, "the configuration's limit holds");
        wire.learn(8_000_000, 4_000_000);
        assert!(wire.plain_max(20 << 20) <= 1_700_000, "worse data is believed at once");
    }
}
