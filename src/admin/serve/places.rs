//! Who has a place on the admin plane, and who goes when there is none left.
//!
//! A connection costs its client nothing, so any number of places can be taken by somebody who asks for nothing. Therefore
//! nobody waits for a place: whoever comes gets one, and of those whom nobody works for, the one goes that has been quiet for
//! longest, of the address that has most. Load balancers, monitoring and this machine have places of their own.

use std::net::IpAddr;
use std::sync::Arc;

use super::visit::Visit;
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_CONNECTIONS_PER_ADDRESS_MAX, ADMIN_PROBE_CONNECTIONS_MAX};
use crate::net::places::{self, Admitted, Class, Limits};
use crate::values::Network;

/// The places of the admin plane.
#[derive(Debug, Default)]
pub(super) struct Places {
    probes_from: Vec<Network>,
    taken: Arc<places::Places>,
}

impl Places {
    pub(super) fn new(probes_from: &[Network]) -> Self {
        Self { probes_from: probes_from.to_vec(), taken: Arc::default() }
    }

    /// A place for a connection from this address; the reason when everybody who could go is being worked for.
    pub(super) fn admit(&self, address: IpAddr, visit: &Arc<Visit>) -> Result<Admitted, &'static str> {
        let is_probe = self.is_probe(address);
        let (class, of_class) =
            if is_probe { (Class::Probes, ADMIN_PROBE_CONNECTIONS_MAX) } else { (Class::All, ADMIN_CONNECTIONS_MAX) };
        let limits = Limits { of_address: ADMIN_CONNECTIONS_PER_ADDRESS_MAX, of_class };
        self.taken.admit(address, class, Arc::clone(visit) as _, limits)
    }

    fn is_probe(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.probes_from.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::net::places::Place;

    /// Places, and who has taken some so far.
    struct Hall {
        places: Places,
        here: Vec<(Place, Arc<Visit>)>,
    }

    impl Hall {
        fn new(probes_from: &[&str]) -> Self {
            let networks: Vec<Network> = probes_from.iter().map(|text| text.parse().expect("a network")).collect();
            Self { places: Places::new(&networks), here: Vec::new() }
        }

        fn enter(&mut self, address: impl Into<IpAddr>) -> Result<Arc<Visit>, &'static str> {
            let visit = Arc::new(Visit::default());
            let admitted = self.places.admit(address.into(), &visit)?;
            self.here.push((admitted.place, Arc::clone(&visit)));
            Ok(visit)
        }

        fn still_here(&self) -> usize {
            self.here.iter().filter(|(_, visit)| !visit.is_dismissed()).count()
        }
    }

    fn stranger(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0A00_0000 + n)
    }

    #[test]
    fn one_address_has_its_limit_and_its_oldest_goes_first() {
        let mut hall = Hall::new(&[]);
        let first = hall.enter(stranger(1)).expect("a place");
        let other = hall.enter(stranger(2)).expect("a place");
        let newest = (0..700).map(|_| hall.enter(stranger(1)).expect("a place")).last().expect("one");
        assert!(first.is_dismissed() && !other.is_dismissed() && !newest.is_dismissed());
        assert_eq!(hall.still_here(), ADMIN_CONNECTIONS_PER_ADDRESS_MAX + 1);
    }

    #[test]
    fn many_addresses_push_out_each_other_and_no_probe() {
        let mut hall = Hall::new(&["192.0.2.0/24"]);
        let balancer = hall.enter(Ipv4Addr::new(192, 0, 2, 7)).expect("a place");
        let here = hall.enter(Ipv4Addr::LOCALHOST).expect("a place");
        let greedy: Vec<_> = (0..3).map(|_| hall.enter(stranger(0)).expect("a place")).collect();
        (1..=700).for_each(|n| drop(hall.enter(stranger(n)).expect("a place")));
        assert!(!balancer.is_dismissed() && !here.is_dismissed());
        assert!(greedy.iter().all(|visit| visit.is_dismissed()), "who has most goes first");
        assert_eq!(hall.still_here(), ADMIN_CONNECTIONS_MAX + 2);
        (0..700).for_each(|_| drop(hall.enter(Ipv4Addr::LOCALHOST).expect("a place")));
        assert!(!balancer.is_dismissed(), "other probes go first");
    }

    #[test]
    fn whoever_is_being_worked_for_stays() {
        let mut hall = Hall::new(&[]);
        let busy: Vec<_> = (0..ADMIN_CONNECTIONS_PER_ADDRESS_MAX)
            .map(|_| {
                let visit = hall.enter(stranger(1)).expect("a place");
                let work = visit.session().begin().expect("a request");
                (visit, work)
            })
            .collect();
        assert_eq!(hall.enter(stranger(1)).expect_err("nobody can go"), "too_many_from_address");
        assert!(busy.iter().all(|(visit, _)| !visit.is_dismissed()));
        drop(busy);
        assert!(hall.enter(stranger(1)).is_ok());
        hall.here.clear();
        assert!(hall.places.taken.taken() == 0, "places are given back");
    }
}
