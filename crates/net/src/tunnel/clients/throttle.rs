//! Who guesses passwords has to wait: by source, never by user, so that nobody can lock somebody else out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// So many wrong passwords within [`WINDOW`] close a source for [`CLOSED_FOR`].
const WRONG_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const CLOSED_FOR: Duration = Duration::from_secs(30);

/// Sources that are remembered at one time.
const SOURCES_MAX: usize = 4_096;

/// Wrong passwords by source.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    sources: HashMap<IpAddr, Source>,
}

#[derive(Debug)]
struct Source {
    wrong: u32,
    since: Instant,
    closed_until: Option<Instant>,
}

impl Source {
    fn closed(&self, now: Instant) -> bool {
        self.closed_until.is_some_and(|until| now < until)
    }

    fn matters(&self, now: Instant) -> bool {
        self.closed(now) || now < self.since + WINDOW
    }
}

impl Throttle {
    /// No password from this source is looked at now.
    pub(super) fn closed(&self, address: IpAddr, now: Instant) -> bool {
        self.sources.get(&source(address)).is_some_and(|source| source.closed(now))
    }

    /// A password from this source was wrong.
    pub(super) fn wrong(&mut self, address: IpAddr, now: Instant) {
        let key = source(address);
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&key) {
            self.make_room(now);
        }
        let source = self.sources.entry(key).or_insert(Source { wrong: 0, since: now, closed_until: None });
        if now >= source.since + WINDOW {
            (source.wrong, source.since) = (0, now);
        }
        source.wrong += 1;
        if source.wrong >= WRONG_MAX {
            *source = Source { wrong: 0, since: now, closed_until: Some(now + CLOSED_FOR) };
        }
    }

    /// Each call follows the computation of a hash, so that a walk through the table costs nothing beside it.
    fn make_room(&mut self, now: Instant) {
        self.sources.retain(|_, source| source.matters(now));
        if self.sources.len() >= SOURCES_MAX {
            let least = self.sources.iter().min_by_key(|(_, source)| (source.closed_until, source.wrong));
            if let Some(key) = least.map(|(key, _)| *key) {
                self.sources.remove(&key);
            }
        }
    }
}

/// One host: an IPv4 address, or the /64 that a host with IPv6 can choose its addresses from.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ten_wrong_within_a_minute_close_a_source_for_half_a_minute() {
        let (mut throttle, here, now) = (Throttle::default(), address("192.0.2.1"), Instant::now());
        for _ in 0..9 {
            throttle.wrong(here, now);
        }
        assert!(!throttle.closed(here, now));
        throttle.wrong(here, now + WINDOW - Duration::from_millis(1));
        let closed_at = now + WINDOW;
        assert!(throttle.closed(here, closed_at) && throttle.closed(address("::ffff:192.0.2.1"), closed_at));
        assert!(!throttle.closed(address("192.0.2.2"), closed_at));
        assert!(!throttle.closed(here, closed_at + CLOSED_FOR));
    }

    #[test]
    fn slow_mistakes_close_nothing() {
        let (mut throttle, here, mut now) = (Throttle::default(), address("192.0.2.1"), Instant::now());
        for _ in 0..100 {
            throttle.wrong(here, now);
            now += Duration::from_secs(7);
            assert!(!throttle.closed(here, now));
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for host in 1..=10 {
            throttle.wrong(address(&format!("2001:db8::{host:x}")), now);
        }
        assert!(throttle.closed(address("2001:db8::ffff"), now));
        assert!(!throttle.closed(address("2001:db8:0:1::1"), now));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_harmless_first() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let guesser = address("192.0.2.1");
        (0..10).for_each(|_| throttle.wrong(guesser, now));
        for host in 0..SOURCES_MAX + 200 {
            throttle.wrong(IpAddr::from((0x0a00_0000 + host as u32).to_be_bytes()), now);
        }
        assert!(throttle.sources.len() <= SOURCES_MAX);
        assert!(throttle.closed(guesser, now));
    }
}
