//! Who has a place on the admin plane, and who goes when there is none left.
//!
//! A connection costs its client nothing, so any number of places can be taken by somebody who asks for nothing. Therefore
//! nobody waits for a place: whoever comes gets one, and of those whom nobody works for, the one goes that has been quiet for
//! longest, of the address that has most. Load balancers, monitoring and this machine have places of their own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::visit::Visit;
use crate::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_CONNECTIONS_PER_ADDRESS_MAX, ADMIN_PROBE_CONNECTIONS_MAX};
use crate::net::listen::one_subscriber;
use crate::values::Network;

/// The places of one listener.
#[derive(Debug, Default)]
pub(super) struct Places {
    probes_from: Vec<Network>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    address: IpAddr,
    is_probe: bool,
    visit: Arc<Visit>,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    places: Arc<Places>,
}

/// What became of those who wanted a place.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) place: Place,
    /// Whether another one had to go.
    pub(super) made_room: bool,
}

impl Places {
    pub(super) fn new(probes_from: &[Network]) -> Arc<Self> {
        Arc::new(Self { probes_from: probes_from.to_vec(), taken: Mutex::default() })
    }

    /// A place for a connection from this address; the reason when everybody who could go is being worked for.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, visit: &Arc<Visit>) -> Result<Admitted, &'static str> {
        let is_probe = self.is_probe(address);
        let address = one_subscriber(address);
        let mut taken = self.lock();
        let made_room = taken.make_room_for(address).map_err(|()| "too_many_from_address")?
            | taken.make_room_among(is_probe).map_err(|()| "too_many_connections")?;
        let number = taken.next;
        taken.next += 1;
        taken.by.insert(number, Holder { address, is_probe, visit: Arc::clone(visit) });
        Ok(Admitted { place: Place { number, places: Arc::clone(self) }, made_room })
    }

    fn is_probe(&self, address: IpAddr) -> bool {
        address.to_canonical().is_loopback() || self.probes_from.iter().any(|network| network.contains(address))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Whether somebody had to go, so that this address has fewer than it may.
    fn make_room_for(&mut self, address: IpAddr) -> Result<bool, ()> {
        self.make_room(ADMIN_CONNECTIONS_PER_ADDRESS_MAX, |holder| holder.address == address)
    }

    /// The same among the probes, or among all others.
    fn make_room_among(&mut self, probes: bool) -> Result<bool, ()> {
        let max = if probes { ADMIN_PROBE_CONNECTIONS_MAX } else { ADMIN_CONNECTIONS_MAX };
        self.make_room(max, |holder| holder.is_probe == probes)
    }

    fn make_room(&mut self, max: usize, among: impl Fn(&Holder) -> bool) -> Result<bool, ()> {
        let mut of_address: HashMap<IpAddr, usize> = HashMap::new();
        self.by.values().filter(|holder| among(holder)).for_each(|h| *of_address.entry(h.address).or_default() += 1);
        if of_address.values().sum::<usize>() < max {
            return Ok(false);
        }
        let quiet = self.by.iter().filter(|(_, holder)| among(holder)).filter_map(|(number, holder)| {
            let since = holder.visit.quiet_since()?;
            Some((std::cmp::Reverse(of_address[&holder.address]), since, *number))
        });
        let (.., number) = quiet.min().ok_or(())?;
        if let Some(holder) = self.by.remove(&number) {
            holder.visit.dismiss();
        }
        Ok(true)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().by.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Places, and who has taken some so far.
    struct Hall {
        places: Arc<Places>,
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
        assert!(hall.places.lock().by.is_empty(), "places are given back");
    }
}
