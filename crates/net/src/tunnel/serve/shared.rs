//! What all listeners of the tunnel plane share, and what outlives a reload.

use parking_lot::Mutex;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Policy;
use crate::net::listen::{Admission, one_subscriber};
use crate::tunnel::access_log::AccessLog;
use crate::tunnel::refused::Refused;
use crate::tunnel::relay::Throttle;
use crate::tunnel::take_over::Inputs;

/// Descriptors that are not for tunnels: listeners, spool, connections of the other planes.
const DESCRIPTORS_RESERVED: u64 = 512;

/// What all listeners share.
#[derive(Debug)]
pub(in crate::tunnel) struct Shared {
    /// Connections, in all and from each client.
    pub(in crate::tunnel) admission: Admission,
    /// Connections above the limits that are being told so.
    pub(in crate::tunnel) shedding: Admission,
    /// Every connection and tunnel.
    pub(in crate::tunnel) tasks: TaskTracker,
    /// Cuts what is still open.
    pub(in crate::tunnel) cut: CancellationToken,
    /// Names that were asked for and refused.
    pub(in crate::tunnel) refused: Refused,
    /// Where lines of the access log go.
    pub(in crate::tunnel) log: AccessLog,
    draining: AtomicBool,
    /// The most tunnels that the system's limit of descriptors has room for, two for each.
    descriptors_max: usize,
    /// Where streams go that are taken over.
    pub(in crate::tunnel) inputs: Arc<dyn Inputs>,
    /// Tunnels that were taken over since the start, by the table that says so.
    taken: DashMap<String, u64>,
    throttle: Mutex<Option<Arc<Throttle>>>,
    client_throttles: DashMap<IpAddr, Weak<Throttle>>,
}

impl Shared {
    /// Nothing is open yet.
    pub(in crate::tunnel) fn new(log: AccessLog, inputs: Arc<dyn Inputs>) -> Self {
        Self {
            admission: Admission::default(),
            shedding: Admission::default(),
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            refused: Refused::default(),
            log,
            draining: AtomicBool::new(false),
            descriptors_max: tunnels_for_descriptors(),
            inputs,
            taken: DashMap::new(),
            throttle: Mutex::default(),
            client_throttles: DashMap::new(),
        }
    }

    /// Whether anybody gets a new tunnel from now on.
    pub(in crate::tunnel) fn drain(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether nobody gets a new tunnel.
    pub(in crate::tunnel) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// A tunnel was taken over because of this table of the configuration.
    pub(in crate::tunnel) fn taken_over(&self, table: &str) {
        *self.taken.entry(table.to_owned()).or_default() += 1;
    }

    /// How many were since the start.
    pub(in crate::tunnel) fn taken(&self, table: &str) -> u64 {
        self.taken.get(table).map_or(0, |count| *count)
    }

    /// The most connections at once.
    pub(in crate::tunnel) fn tunnels_max(&self, policy: &Policy) -> usize {
        policy.limits().max_tunnels.min(self.descriptors_max)
    }

    /// The bandwidth limit of all tunnels together: the same as before as long as its rate is.
    pub(in crate::tunnel) fn throttle(&self, bytes_per_second: Option<u64>) -> Option<Arc<Throttle>> {
        let mut throttle = self.throttle.lock();
        if throttle.as_ref().map(|throttle| throttle.bytes_per_second()) != bytes_per_second {
            *throttle = bytes_per_second.map(|rate| Arc::new(Throttle::new(rate)));
        }
        throttle.clone()
    }

    /// The bandwidth limit of a client: one for all its tunnels, made anew when none is open or its rate has changed.
    pub(in crate::tunnel) fn throttle_of(&self, client: IpAddr, bytes_per_second: u64) -> Arc<Throttle> {
        let mut entry = self.client_throttles.entry(one_subscriber(client)).or_default();
        if let Some(throttle) = entry.upgrade().filter(|throttle| throttle.bytes_per_second() == bytes_per_second) {
            return throttle;
        }
        let throttle = Arc::new(Throttle::new(bytes_per_second));
        *entry = Arc::downgrade(&throttle);
        throttle
    }

    /// Forgets the bandwidth limits of clients that have gone.
    pub(in crate::tunnel) fn tidy(&self) {
        self.client_throttles.retain(|_, throttle| throttle.strong_count() > 0);
    }
}

fn tunnels_for_descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = limit.unwrap_or(u64::MAX).saturating_sub(DESCRIPTORS_RESERVED);
    usize::try_from(descriptors / 2).unwrap_or(usize::MAX).max(1)
}
