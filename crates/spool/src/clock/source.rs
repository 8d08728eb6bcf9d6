//! Where time comes from. A trait, so that a test can make it jump.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Tells the time.
pub trait Source: Send + Sync + 'static {
    /// Both clocks at this moment.
    fn read(&self) -> Reading;
    /// Which boot the machine is in; `None` when the system does not tell.
    fn boot_id(&self) -> Option<BootId>;
}

/// Two clocks at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock, since 1970. Anybody may set it.
    pub wall_ns: i64,
    /// Since the boot of the machine, sleep included. Nobody sets it.
    pub boot_ns: i64,
}

/// One boot of one machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootId(pub [u8; 16]);

/// The clocks of this machine.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl Source for System {
    fn read(&self) -> Reading {
        let boot = clock_gettime(ClockId::Boottime);
        Reading {
            wall_ns: wall_ns(SystemTime::now()),
            boot_ns: boot.tv_sec.saturating_mul(1_000_000_000).saturating_add(boot.tv_nsec),
        }
    }

    fn boot_id(&self) -> Option<BootId> {
        BootId::current()
    }
}

impl BootId {
    /// The boot that this machine is in, as the kernel names it; `None` when it does not.
    pub fn current() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
    }

    /// Reads a UUID.
    fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.trim().bytes().filter(|byte| *byte != b'-').collect();
        let text = std::str::from_utf8(&digits).ok().filter(|text| text.len() == 32)?;
        u128::from_str_radix(text, 16).ok().map(|id| Self(id.to_be_bytes()))
    }
}

fn wall_ns(time: SystemTime) -> i64 {
    let bounded = |ns: u128| i64::try_from(ns).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => bounded(since.as_nanos()),
        Err(before) => -bounded(before.duration().as_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_both_clocks_and_its_boot() {
        let (first, second) = (System.read(), System.read());
        assert!(second.boot_ns >= first.boot_ns && first.boot_ns > 0);
        assert!(first.wall_ns > 1_700_000_000_000_000_000);
        assert!(System.boot_id().is_some() && System.boot_id() == BootId::current());
    }

    #[test]
    fn a_boot_is_named_by_a_uuid() {
        let id = BootId::parse("00010203-0405-0607-0809-0a0b0c0d0e0f\n").expect("a UUID");
        assert_eq!(id.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(BootId::parse(""), None);
        assert_eq!(BootId::parse("0001020304050607"), None);
    }
}
