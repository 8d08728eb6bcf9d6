//! Places for connections, where nobody waits for one.
//!
//! A connection costs its client nothing, so a limit alone lets a few idle clients take all places. Here whoever comes gets
//! one, and of those whom nobody works for, the one goes that has been quiet for longest, of the address that has most.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::listen::one_subscriber;

/// Who has a place.
pub trait Guest: Debug + Send + Sync {
    /// Since when nobody works for it; `None` while somebody does.
    fn quiet_since(&self) -> Option<Instant>;

    /// Asks it to go.
    fn dismiss(&self);
}

/// The places of one listener.
#[derive(Debug, Default)]
pub struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, Holder>,
    of_address: HashMap<IpAddr, usize>,
    of_class: HashMap<Class, usize>,
}

/// Who makes room for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Whoever comes.
    All,
    /// Load balancers and monitoring, where they have places of their own.
    Probes,
}

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For one address (IPv6: one /64).
    pub of_address: usize,
    /// For its class.
    pub of_class: usize,
}

#[derive(Debug)]
struct Holder {
    address: IpAddr,
    class: Class,
    guest: Arc<dyn Guest>,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    places: Arc<Places>,
}

/// What became of those who wanted a place.
#[derive(Debug)]
pub struct Admitted {
    /// The place that it has now.
    pub place: Place,
    /// Whether another one had to go.
    pub made_room: bool,
}

impl Places {
    /// A place for a connection from this address.
    ///
    /// # Errors
    ///
    /// The reason, when everybody who could go is being worked for.
    pub fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        class: Class,
        guest: Arc<dyn Guest>,
        limits: Limits,
    ) -> Result<Admitted, &'static str> {
        let address = one_subscriber(address);
        let mut taken = self.lock();
        let made_room = taken.make_room_for(address, limits.of_address).map_err(|()| "too_many_from_address")?
            | taken.make_room_among(class, limits.of_class).map_err(|()| "too_many_connections")?;
        let number = taken.insert(Holder { address, class, guest });
        Ok(Admitted { place: Place { number, places: Arc::clone(self) }, made_room })
    }

    /// Places that are taken now.
    pub fn taken(&self) -> usize {
        self.lock().by.len()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock()
    }
}

impl Place {
    /// Counts it as of another address: that of whom a balancer speaks for.
    pub fn is_of(&self, address: IpAddr) {
        let mut taken = self.places.lock();
        if let Some(holder) = taken.remove(self.number) {
            taken.put(self.number, Holder { address: one_subscriber(address), ..holder });
        }
    }
}

impl Taken {
    fn insert(&mut self, holder: Holder) -> u64 {
        let number = self.next;
        self.next += 1;
        self.put(number, holder);
        number
    }

    fn put(&mut self, number: u64, holder: Holder) {
        *self.of_address.entry(holder.address).or_default() += 1;
        *self.of_class.entry(holder.class).or_default() += 1;
        self.by.insert(number, holder);
    }

    fn remove(&mut self, number: u64) -> Option<Holder> {
        let holder = self.by.remove(&number)?;
        one_less(&mut self.of_address, holder.address);
        one_less(&mut self.of_class, holder.class);
        Some(holder)
    }

    /// Whether somebody had to go, so that this address has fewer than it may.
    fn make_room_for(&mut self, address: IpAddr, max: usize) -> Result<bool, ()> {
        let is_full = self.of_address.get(&address).is_some_and(|count| *count >= max);
        if is_full { self.make_room(|holder| holder.address == address) } else { Ok(false) }
    }

    /// The same among all of a class.
    fn make_room_among(&mut self, class: Class, max: usize) -> Result<bool, ()> {
        let is_full = self.of_class.get(&class).is_some_and(|count| *count >= max);
        if is_full { self.make_room(|holder| holder.class == class) } else { Ok(false) }
    }

    fn make_room(&mut self, among: impl Fn(&Holder) -> bool) -> Result<bool, ()> {
        let quiet = self.by.iter().filter(|(_, holder)| among(holder)).filter_map(|(number, holder)| {
            let since = holder.guest.quiet_since()?;
            Some((std::cmp::Reverse(self.of_address.get(&holder.address)), since, *number))
        });
        let (.., number) = quiet.min().ok_or(())?;
        if let Some(holder) = self.remove(number) {
            holder.guest.dismiss();
        }
        Ok(true)
    }
}

fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let std::collections::hash_map::Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().remove(self.number);
    }
}
