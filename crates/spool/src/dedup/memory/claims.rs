//! The claims in flight: who holds which pending key, and the news of its end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::dedup::store::Settled;
use crate::event::EventKey;

/// The end of one claim. A watch keeps the news, so a waiter that comes late still learns it.
#[derive(Debug)]
pub(super) struct Ending(watch::Sender<bool>);

impl Ending {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(false)))
    }

    pub(super) fn announce(&self) {
        self.0.send_replace(true);
    }
}

impl Settled for Ending {
    fn wait(&self) -> BoxFuture<'_, ()> {
        let mut ended = self.0.subscribe();
        Box::pin(async move {
            // An error would mean that the sender is gone, but `self` is the sender.
            ended.wait_for(|ended| *ended).await.ok();
        })
    }
}

/// The keys that one claim inserted. The set is built at the first question, which most claims never hear.
#[derive(Debug, Default)]
pub(super) struct Held {
    keys: Vec<EventKey>,
    set: Option<HashSet<EventKey>>,
}

impl Held {
    pub(super) fn add(&mut self, key: EventKey) {
        self.keys.push(key);
        if let Some(set) = &mut self.set {
            set.insert(key);
        }
    }

    pub(super) fn contains(&mut self, key: &EventKey) -> bool {
        !self.keys.is_empty() && self.set.get_or_insert_with(|| self.keys.iter().copied().collect()).contains(key)
    }

    pub(super) fn keys(&self) -> &[EventKey] {
        &self.keys
    }
}

/// All claims in flight that hold keys.
#[derive(Debug, Default)]
pub(super) struct Claims {
    next: u64,
    by_number: HashMap<u64, (Held, Arc<Ending>)>,
}

impl Claims {
    /// Notes what a claim holds; returns its number.
    pub(super) fn add(&mut self, held: Held, ending: Arc<Ending>) -> u64 {
        self.next += 1;
        self.by_number.insert(self.next, (held, ending));
        self.next
    }

    /// Some keys of a claim are its no more.
    pub(super) fn give_back(&mut self, number: u64, gone: &HashSet<EventKey>) {
        if let Some((held, _)) = self.by_number.get_mut(&number) {
            held.keys.retain(|key| !gone.contains(key));
            held.set = None;
        }
    }

    pub(super) fn take(&mut self, number: u64) -> Option<(Held, Arc<Ending>)> {
        self.by_number.remove(&number)
    }

    /// The end of the claim that holds the key, if any does.
    pub(super) fn holder(&mut self, key: &EventKey) -> Option<Arc<Ending>> {
        self.by_number.values_mut().find_map(|(held, ending)| held.contains(key).then(|| Arc::clone(ending)))
    }
}
