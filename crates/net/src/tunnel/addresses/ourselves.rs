//! The gateway's own listeners and addresses: what no tunnel may lead back to.
//!
//! A tunnel to the admin plane would make every client an administrator, and one to a tunnel listener a loop. No rule can
//! lift that. Other ports of this machine are a rule's business, but only by naming the address.

use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Forbidden, OWN, reached};
use crate::values::Network;

/// Addresses of interfaces change rarely, and asking the system costs a few system calls for each tunnel.
const REMEMBERED: Duration = Duration::from_secs(10);

/// This gateway, as seen from the network.
#[derive(Debug)]
pub struct Ourselves {
    listeners: Vec<SocketAddr>,
    interfaces: Interfaces,
}

impl Ourselves {
    /// With all listeners of the gateway: uploads, admin plane, tunnels, as they are bound.
    pub fn new(listeners: Vec<SocketAddr>) -> Self {
        let interfaces = Interfaces::default();
        // Known from the start, so that a later failure to ask leaves the last answer.
        interfaces.current(Instant::now());
        Self { listeners, interfaces }
    }

    /// Whether a connection to there would end at one of our listeners.
    pub fn is_ours(&self, destination: SocketAddr) -> bool {
        let here = self.listeners.iter().filter(|listener| listener.port() == destination.port());
        let listeners: Vec<IpAddr> = here.map(|listener| listener.ip().to_canonical()).collect();
        !listeners.is_empty() && reached(destination.ip()).any(|address| self.ends_at(address, &listeners))
    }

    /// Refuses the addresses of this machine's interfaces, on any port, unless `allowed` names them.
    pub fn check(&self, address: IpAddr, allowed: &[Network]) -> Result<(), Forbidden> {
        // A network of private endpoints must not open this machine along the way: it has to be named itself.
        let names = |network: &&Network, address: IpAddr| network.is_single() || address.is_loopback();
        let named = |address: IpAddr| {
            allowed.iter().filter(|network| names(network, address)).any(|network| network.contains(address))
        };
        let own = self.interfaces.current(Instant::now());
        // Without knowing our addresses every one may be ours.
        let is_own = |address: &IpAddr| own.as_ref().is_none_or(|own| own.contains(address));
        match reached(address).find(|address| is_own(address) && !named(*address)) {
            Some(_) => Err(OWN),
            None => Ok(()),
        }
    }

    fn ends_at(&self, address: IpAddr, listeners: &[IpAddr]) -> bool {
        // The system takes a connection to "unspecified" as one to loopback.
        if listeners.contains(&address) || address.is_unspecified() {
            return true;
        }
        if !listeners.iter().any(IpAddr::is_unspecified) {
            return false;
        }
        address.is_loopback()
            // Without knowing our addresses every one may be ours: no descriptor left is no reason to let one through.
            || self.interfaces.current(Instant::now()).is_none_or(|own| own.contains(&address))
    }
}

/// The addresses of our interfaces, remembered for a while. The clock is the caller's.
#[derive(Debug)]
struct Interfaces {
    ask: fn() -> Option<Vec<IpAddr>>,
    known: Mutex<Option<(Instant, Arc<[IpAddr]>)>>,
}

impl Default for Interfaces {
    fn default() -> Self {
        Self { ask: ask_system, known: Mutex::new(None) }
    }
}

impl Interfaces {
    /// What was known last, when the system does not say; nothing if it never did.
    fn current(&self, now: Instant) -> Option<Arc<[IpAddr]>> {
        let mut known = self.known.lock();
        let fresh = known.as_ref().is_some_and(|(when, _)| now.saturating_duration_since(*when) < REMEMBERED);
        if !fresh && let Some(addresses) = (self.ask)() {
            *known = Some((now, addresses.into()));
        }
        known.as_ref().map(|(_, addresses)| Arc::clone(addresses))
    }
}

fn ask_system() -> Option<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs().ok()?;
    Some(interfaces.iter().map(|interface| interface.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn machine(listeners: &[&str], ask: fn() -> Option<Vec<IpAddr>>) -> Ourselves {
        let listeners = listeners.iter().map(|text| text.parse().expect(text)).collect();
        Ourselves { listeners, interfaces: Interfaces { ask, known: Mutex::new(None) } }
    }

    fn with_addresses() -> Option<Vec<IpAddr>> {
        Some(["127.0.0.1", "::1", "198.41.0.4", "2600::7"].map(|text| text.parse().expect(text)).to_vec())
    }

    #[test]
    fn our_listeners_are_ours_by_every_address_that_leads_to_them() {
        let gateway = machine(&["0.0.0.0:8080", "127.0.0.1:9090", "[::]:8443", "10.0.0.5:9000"], with_addresses);
        for (destination, ours) in [
            ("198.41.0.4:8080", true),
            ("127.0.0.1:8080", true),
            ("127.8.8.8:8080", true),
            ("[::ffff:198.41.0.4]:8080", true),
            ("[64:ff9b::198.41.0.4]:8080", true),
            ("[2002:c629:4::1]:8080", true),
            ("[::1]:8080", true),
            ("0.0.0.0:9090", true),
            ("[::]:9090", true),
            ("127.0.0.1:9090", true),
            ("[::ffff:127.0.0.1]:9090", true),
            ("127.0.0.2:9090", false),
            ("198.41.0.4:9090", false),
            ("[2600::7]:8443", true),
            ("198.41.0.4:8443", true),
            ("[2600::8]:8443", false),
            ("10.0.0.5:9000", true),
            ("10.0.0.6:9000", false),
            ("198.41.0.4:443", false),
        ] {
            assert_eq!(gateway.is_ours(destination.parse().expect(destination)), ours, "{destination}");
        }
    }

    #[test]
    fn our_addresses_are_refused_on_any_port_unless_named() {
        let gateway = machine(&[], with_addresses);
        let check = |address: &str, allowed: &[Network]| gateway.check(address.parse().expect(address), allowed);
        assert_eq!(check("198.41.0.4", &[]), Err(OWN));
        assert_eq!(check("::ffff:198.41.0.4", &[]), Err(OWN));
        assert_eq!(check("64:ff9b::198.41.0.4", &[]), Err(OWN));
        assert_eq!(check("198.41.0.5", &[]), Ok(()));
        assert_eq!(check("198.41.0.4", &["198.41.0.4".parse().expect("a network")]), Ok(()));
    }

    #[test]
    fn a_machine_that_does_not_know_its_addresses_trusts_none() {
        let gateway = machine(&["0.0.0.0:8080", "127.0.0.1:9090"], || None);
        assert!(gateway.is_ours("198.41.0.4:8080".parse().expect("an address")));
        assert!(!gateway.is_ours("198.41.0.4:9090".parse().expect("an address")));
        assert!(!gateway.is_ours("198.41.0.4:443".parse().expect("an address")));
    }

    #[test]
    fn the_system_is_asked_once_in_ten_seconds() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let interfaces =
            Interfaces { ask: || (ASKED.fetch_add(1, Ordering::Relaxed) != 2).then(Vec::new), known: Mutex::new(None) };
        let start = Instant::now();
        for (second, asked) in [(0, 1), (9, 1), (10, 2), (19, 2), (20, 3), (21, 4), (22, 4)] {
            assert!(interfaces.current(start + Duration::from_secs(second)).is_some());
            assert_eq!(ASKED.load(Ordering::Relaxed), asked, "after {second} s");
        }
    }

    #[test]
    fn the_system_knows_its_loopback() {
        let addresses = ask_system().expect("addresses");
        assert!(addresses.iter().any(IpAddr::is_loopback), "{addresses:?}");
    }
}
