//! How steady time goes on. Pure: it is told what the clocks show.

use super::kept::Mark;
use super::source::{BootId, Reading};
use super::{NS_PER_MS, Standing};

const SECOND: i64 = 1_000_000_000;

/// A larger difference between the wall clock and what is believed is a jump. NTP steps less than this on a machine that is
/// well, and no window is measured in minutes.
const BOUND_NS: i64 = 5 * 60 * SECOND;

/// After another boot nothing tells how long the machine was off but the wall clock. It is believed about so long: a restart
/// of the machine is no jump, and no window is shorter.
const ABSENCE_NS: i64 = 3600 * SECOND;

/// Small differences are followed by one part of so many of the time that passes: no window is off by more.
const SLOWNESS: i64 = 10;

#[derive(Debug, Clone)]
pub(super) struct Steady {
    now_ns: i64,
    /// What the clock since boot showed at the last look.
    boot_ns: i64,
    /// How far the wall clock is ahead, as far as that is believed.
    accepted_ns: i64,
    /// The beginning: no stamp of this clock is older.
    since_ns: i64,
    /// How far the wall clock is ahead beyond that.
    difference_ns: i64,
    /// How far ahead it may be at the next look without being held. Not zero only after another boot, until both agree.
    absence_ns: i64,
    held: bool,
    jumps: u64,
}

impl Steady {
    /// A new clock: the wall clock is taken for right.
    pub(super) fn beginning_at(reading: Reading) -> Self {
        Self::at(reading.wall_ns, reading)
    }

    /// A new clock where an earlier one is known to have stamped. It begins no later than that, since what was stamped is
    /// judged by it; the time in between is not counted. The wall clock is taken for right.
    pub(super) fn beginning_before(stamped_ms: Option<u64>, reading: Reading) -> Self {
        let stamped_ns = stamped_ms.map_or(i64::MAX, ns);
        Self::at(reading.wall_ns.min(stamped_ns), reading)
    }

    fn at(now_ns: i64, reading: Reading) -> Self {
        Self {
            now_ns,
            boot_ns: reading.boot_ns,
            accepted_ns: reading.wall_ns.saturating_sub(now_ns),
            since_ns: now_ns,
            difference_ns: 0,
            absence_ns: 0,
            held: false,
            jumps: 0,
        }
    }

    /// Goes on from what is kept. In the same boot the clock since boot tells how much time has passed, to the nanosecond.
    pub(super) fn going_on(mark: &Mark, same_boot: bool, reading: Reading) -> Self {
        let exact = same_boot && reading.boot_ns >= mark.boot_ns;
        let passed = if exact { reading.boot_ns - mark.boot_ns } else { 0 };
        let mut steady = Self {
            now_ns: mark.now_ns.saturating_add(passed),
            accepted_ns: mark.accepted_ns,
            since_ns: mark.since_ns,
            absence_ns: if exact { 0 } else { ABSENCE_NS },
            ..Self::at(0, reading)
        };
        steady.look(reading);
        steady
    }

    /// Goes on by the time since boot, and by a part of what the wall clock is away, unless that is a jump.
    pub(super) fn look(&mut self, reading: Reading) {
        let passed = reading.boot_ns.saturating_sub(self.boot_ns).max(0);
        self.boot_ns = reading.boot_ns;
        self.now_ns = self.now_ns.saturating_add(passed);
        let ahead = reading.wall_ns.saturating_sub(self.accepted_ns).saturating_sub(self.now_ns);
        let returned = ahead > 0 && ahead <= self.absence_ns;
        if returned || ahead.saturating_abs() <= BOUND_NS {
            let step = if returned { ahead } else { ahead.clamp(-passed / SLOWNESS, passed / SLOWNESS) };
            self.now_ns = self.now_ns.saturating_add(step);
            self.difference_ns = ahead.saturating_sub(step);
            self.absence_ns = 0;
            self.held = false;
        } else {
            self.difference_ns = ahead;
            self.jumps += u64::from(!self.held);
            self.held = true;
        }
    }

    pub(super) fn accept(&mut self) {
        self.accepted_ns = self.accepted_ns.saturating_add(std::mem::take(&mut self.difference_ns));
        self.absence_ns = 0;
        self.held = false;
    }

    pub(super) fn now_ms(&self) -> u64 {
        ms(self.now_ns)
    }

    pub(super) fn shown_ms(&self, stamp_ms: u64) -> u64 {
        ms(ns(stamp_ms).saturating_add(self.accepted_ns))
    }

    pub(super) fn horizon_ms(&self, span_ms: u64) -> u64 {
        let horizon = self.now_ms().saturating_sub(span_ms);
        if horizon <= ms(self.since_ns) { 0 } else { horizon }
    }

    pub(super) fn believed_ms(&self, stamp_ms: u64) -> u64 {
        stamp_ms.max(ms(self.since_ns)).min(self.now_ms())
    }

    pub(super) fn standing(&self) -> Standing {
        let seconds = |ns: i64| (ns / NS_PER_MS) as f64 / 1e3;
        Standing {
            held: self.held,
            difference_seconds: seconds(self.difference_ns),
            accepted_seconds: seconds(self.accepted_ns),
            jumps: self.jumps,
        }
    }

    /// What leads back to this moment.
    pub(super) fn mark(&self, boot: Option<BootId>) -> Mark {
        Mark {
            now_ns: self.now_ns,
            boot_ns: self.boot_ns,
            accepted_ns: self.accepted_ns,
            since_ns: self.since_ns,
            boot: boot.unwrap_or(BootId([0; 16])),
        }
    }
}

fn ms(ns: i64) -> u64 {
    u64::try_from(ns / NS_PER_MS).unwrap_or(0)
}

fn ns(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(NS_PER_MS)
}
