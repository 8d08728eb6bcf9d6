use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use super::*;
use crate::fs::RealFs;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// 2026.
const START_NS: i64 = 1_770_000_000_000_000_000;

/// A machine whose clocks a test sets.
struct Machine {
    wall_ns: AtomicI64,
    boot_ns: AtomicI64,
    boot: AtomicU8,
}

fn nanos(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap()
}

impl Machine {
    fn new() -> Arc<Self> {
        Arc::new(Self { wall_ns: START_NS.into(), boot_ns: 50.into(), boot: 1.into() })
    }

    fn clock(self: &Arc<Self>) -> Clock {
        Clock::unkept(Arc::clone(self) as Arc<dyn Source>)
    }

    fn open(self: &Arc<Self>, dir: &tempfile::TempDir) -> Clock {
        Clock::open(Arc::new(RealFs), &dir.path().join("clock"), Arc::clone(self) as Arc<dyn Source>, None)
    }

    /// Time passes, as everybody sees it.
    fn pass(&self, span: Duration) {
        self.wall_ns.fetch_add(nanos(span), Ordering::Relaxed);
        self.boot_ns.fetch_add(nanos(span), Ordering::Relaxed);
    }

    fn jump(&self, ns: i64) {
        self.wall_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Off for so long; then another boot.
    fn off(&self, span: Duration) {
        self.jump(nanos(span));
        self.boot_ns.store(7, Ordering::Relaxed);
        self.boot.fetch_add(1, Ordering::Relaxed);
    }
}

impl Source for Machine {
    fn read(&self) -> Reading {
        Reading { wall_ns: self.wall_ns.load(Ordering::Relaxed), boot_ns: self.boot_ns.load(Ordering::Relaxed) }
    }

    fn boot_id(&self) -> Option<BootId> {
        Some(BootId([self.boot.load(Ordering::Relaxed); 16]))
    }
}

/// How far the clock went while this was done.
fn passed(clock: &Clock, work: impl FnOnce()) -> Duration {
    let before = clock.now_ms();
    work();
    Duration::from_millis(clock.now_ms() - before)
}

#[test]
fn a_jump_is_held_and_is_over_when_the_wall_clock_comes_back() {
    for jump in [nanos(30 * HOUR), -nanos(30 * HOUR), nanos(YEARS), -nanos(YEARS)] {
        let machine = Machine::new();
        let clock = machine.clock();
        machine.jump(jump);
        assert_eq!(passed(&clock, || machine.pass(MINUTE)), MINUTE);
        let held = clock.standing();
        assert!(held.held && held.jumps == 1, "{held:?}");
        assert_eq!(held.difference_seconds, jump as f64 / 1e9);
        machine.jump(-jump);
        assert_eq!(passed(&clock, || machine.pass(MINUTE)), MINUTE);
        assert_eq!(clock.standing(), Standing { held: false, difference_seconds: 0.0, ..held });
    }
}

#[test]
fn small_corrections_are_followed_slowly_and_time_never_runs_back() {
    let machine = Machine::new();
    let clock = machine.clock();
    machine.jump(nanos(4 * MINUTE));
    assert_eq!(passed(&clock, || machine.pass(10 * MINUTE)), 11 * MINUTE);
    machine.pass(60 * MINUTE);
    assert_eq!(clock.standing().difference_seconds, 0.0);
    machine.jump(-nanos(4 * MINUTE));
    assert_eq!(passed(&clock, || ()), Duration::ZERO);
    assert_eq!(passed(&clock, || machine.pass(10 * MINUTE)), 9 * MINUTE);
    assert!(!clock.standing().held);
}

#[test]
fn many_quick_looks_follow_as_well_as_few() {
    let machine = Machine::new();
    let clock = machine.clock();
    machine.jump(nanos(MINUTE));
    for _ in 0..60_000 {
        machine.pass(Duration::from_millis(10));
        clock.now_ms();
    }
    assert_eq!(clock.standing().difference_seconds, 0.0);
}

#[test]
fn accepting_a_jump_changes_what_is_shown_and_no_age() {
    let machine = Machine::new();
    let clock = machine.clock();
    machine.jump(nanos(YEARS));
    let (stamp, shown) = (clock.now_ms(), clock.shown_ms(clock.now_ms()));
    assert_eq!(stamp, shown);
    assert_eq!(passed(&clock, || assert!(!clock.accept().held)), Duration::ZERO);
    assert!(!clock.standing().held && clock.horizon_ms(DAY) == 0);
    assert_eq!(clock.shown_ms(stamp), stamp + YEARS.as_millis() as u64);
    machine.pass(DAY);
    assert_eq!(clock.now_ms(), stamp + DAY.as_millis() as u64);
    // And the way back is a jump again.
    machine.jump(-nanos(YEARS));
    assert!(clock.standing().held);
}

#[test]
fn a_restart_goes_on_whatever_the_wall_clock_shows() {
    for jump in [0, nanos(30 * HOUR), -nanos(YEARS)] {
        let (machine, dir) = (Machine::new(), tempfile::tempdir().unwrap());
        let before = machine.open(&dir);
        before.keep().unwrap();
        let stamp = before.now_ms();
        machine.jump(jump);
        machine.pass(DAY);
        let after = machine.open(&dir);
        assert_eq!(after.now_ms(), stamp + DAY.as_millis() as u64);
        assert_eq!(after.standing().held, jump != 0);
    }
}

#[test]
fn another_boot_believes_the_wall_clock_about_an_hour_and_holds_what_is_more_or_less() {
    let hour_back = -nanos(HOUR);
    for (off, wrong, counted, held) in [
        (10 * MINUTE, 0, 10 * MINUTE, false),
        (HOUR, 0, HOUR, false),
        (30 * HOUR, 0, Duration::ZERO, true),
        (10 * MINUTE, -nanos(YEARS), Duration::ZERO, true),
        (10 * MINUTE, hour_back, Duration::ZERO, true),
    ] {
        let (machine, dir) = (Machine::new(), tempfile::tempdir().unwrap());
        let before = machine.open(&dir);
        before.keep().unwrap();
        let stamp = before.now_ms();
        machine.off(off);
        machine.jump(wrong);
        let after = machine.open(&dir);
        assert_eq!(Duration::from_millis(after.now_ms() - stamp), counted, "{off:?} {wrong}");
        assert_eq!(after.standing().held, held, "{off:?} {wrong}");
        // The right time comes with NTP, a minute later.
        machine.pass(MINUTE);
        machine.jump(-wrong);
        let believed = off <= HOUR;
        assert_eq!(after.standing().held, !believed, "{off:?} {wrong}");
        let expected = if believed { off + MINUTE } else { MINUTE };
        assert_eq!(Duration::from_millis(after.now_ms() - stamp), expected, "{off:?} {wrong}");
    }
}

#[test]
fn an_accepted_jump_outlives_a_restart() {
    let (machine, dir) = (Machine::new(), tempfile::tempdir().unwrap());
    let clock = machine.open(&dir);
    clock.keep().unwrap();
    machine.jump(nanos(YEARS));
    let accepted = clock.accept();
    clock.keep().unwrap();
    assert_eq!(machine.open(&dir).standing(), Standing { jumps: 0, ..accepted });
}

#[test]
fn what_was_stamped_before_the_beginning_counts_from_the_beginning() {
    let (machine, dir) = (Machine::new(), tempfile::tempdir().unwrap());
    let long_ago = (START_NS / NS_PER_MS) as u64 - YEARS.as_millis() as u64;
    let path = dir.path().join("clock");
    let clock = Clock::open(Arc::new(RealFs), &path, Arc::clone(&machine) as Arc<dyn Source>, Some(long_ago));
    assert_eq!(clock.now_ms(), long_ago, "it begins where the stamps end");
    assert_eq!(clock.shown_ms(long_ago), (START_NS / NS_PER_MS) as u64);
    assert!(!clock.standing().held);
    assert_eq!((clock.believed_ms(5), clock.believed_ms(u64::MAX)), (long_ago, long_ago));
    assert_eq!(clock.horizon_ms(DAY), 0);
    machine.pass(DAY);
    assert_eq!(clock.horizon_ms(DAY), 0);
    machine.pass(MINUTE);
    assert_eq!(clock.horizon_ms(DAY), long_ago + MINUTE.as_millis() as u64);

    // A stamp from the future moves nothing.
    let future = Machine::new();
    let clock = Clock::open(
        Arc::new(RealFs),
        &dir.path().join("other"),
        Arc::clone(&future) as Arc<dyn Source>,
        Some(u64::MAX),
    );
    assert_eq!(clock.now_ms(), (START_NS / NS_PER_MS) as u64);
}

#[test]
fn a_damaged_or_lost_file_is_a_new_beginning() {
    let (machine, dir) = (Machine::new(), tempfile::tempdir().unwrap());
    let path = dir.path().join("clock");
    machine.open(&dir).keep().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        machine.pass(DAY);
        assert_eq!(machine.open(&dir).horizon_ms(MINUTE), 0, "byte {at}");
        std::fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(machine.open(&dir).horizon_ms(MINUTE), 0, "{at} bytes");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(machine.open(&dir).horizon_ms(MINUTE) > 0);
}

#[test]
fn it_is_written_when_it_would_lead_elsewhere_and_every_ten_seconds() {
    let (machine, dir) = (Machine::new(), tempfile::tempdir().unwrap());
    let (clock, path) = (machine.open(&dir), dir.path().join("clock"));
    let written = || {
        drop(std::fs::remove_file(&path));
        clock.keep().unwrap();
        path.exists()
    };
    assert!(written());
    machine.pass(Duration::from_secs(1));
    assert!(!written());
    machine.pass(Duration::from_secs(9));
    assert!(written());
    machine.jump(nanos(YEARS));
    assert!(!written(), "a jump changes no time");
    clock.accept();
    assert!(written());
}
