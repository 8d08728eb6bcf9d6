//! What gateways of one process share in its memory: it keeps the promises of the traits, can be away, and can forget. For tests.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::entries::{Entries, Found, Place, Write};
use super::{Away, Document, Revisions, Store};

/// It.
#[derive(Debug)]
pub struct InMemory {
    kept: Mutex<Kept>,
    is_away: AtomicBool,
    calls: AtomicUsize,
    revisions: watch::Sender<Revisions>,
    filling: watch::Sender<Option<u64>>,
}

#[derive(Debug, Default)]
struct Kept {
    documents: BTreeMap<String, Document>,
    entries: HashMap<Place, Document>,
    is_doubted: bool,
    filling: u64,
}

impl Default for InMemory {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            is_away: AtomicBool::default(),
            calls: AtomicUsize::default(),
            revisions: watch::Sender::new(Some(BTreeMap::new())),
            filling: watch::Sender::new(Some(0)),
        }
    }
}

impl InMemory {
    /// Cannot be asked from now on, or can again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
        self.show();
    }

    /// Forgets everything.
    pub fn empty(&self) {
        let mut kept = self.kept.lock();
        let filling = kept.filling + 1;
        *kept = Kept { filling, ..Kept::default() };
        drop(kept);
        self.show();
    }

    /// The revision of a document.
    pub fn revision(&self, name: &str) -> Option<String> {
        self.kept.lock().documents.get(name).map(|document| document.revision.clone())
    }

    /// How often entries were asked for or written.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn show(&self) {
        let there = self.check().is_ok();
        let kept = self.kept.lock();
        let revisions = kept.documents.iter().map(|(name, document)| (name.clone(), document.revision.clone()));
        self.revisions.send_replace(there.then(|| revisions.collect()));
        self.filling.send_replace(there.then_some(kept.filling));
    }

    fn check(&self) -> Result<(), Away> {
        if self.is_away.load(Ordering::SeqCst) { Err(Away("the test took it away".to_owned())) } else { Ok(()) }
    }

    fn look(&self, place: &Place) -> Found {
        let kept = self.kept.lock();
        match kept.entries.get(place) {
            Some(document) => Found::Here(document.clone()),
            None if kept.is_doubted || kept.entries.keys().any(|other| other.group == place.group) => Found::Unclear,
            None => Found::Nothing,
        }
    }

    fn put(&self, write: Write) -> bool {
        let mut kept = self.kept.lock();
        let there = kept.entries.get(&write.place).map(|document| &document.revision);
        let fits = there.is_none() || there == write.seen.as_ref();
        if fits {
            kept.entries.insert(write.place, write.document);
        }
        fits
    }
}

impl Store for InMemory {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>, Away>> {
        ready(self.check().map(|()| self.kept.lock().documents.get(name).cloned())).boxed()
    }

    fn compare_and_set<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a str>,
        document: &'a Document,
    ) -> BoxFuture<'a, Result<bool, Away>> {
        async move {
            self.check()?;
            {
                let mut kept = self.kept.lock();
                if kept.documents.get(name).map(|there| &*there.revision) != expected {
                    return Ok(false);
                }
                kept.documents.insert(name.to_owned(), document.clone());
            }
            self.show();
            Ok(true)
        }
        .boxed()
    }

    fn watch(&self) -> watch::Receiver<Revisions> {
        self.revisions.subscribe()
    }
}

impl Entries for InMemory {
    fn read(&self, places: Vec<Place>) -> BoxFuture<'static, Result<Vec<Found>, Away>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(self.check().map(|()| places.iter().map(|place| self.look(place)).collect())).boxed()
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'static, Result<Vec<bool>, Away>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(self.check().map(|()| writes.into_iter().map(|write| self.put(write)).collect())).boxed()
    }

    fn doubt(&self) -> BoxFuture<'static, Result<(), Away>> {
        ready(self.check().map(|()| self.kept.lock().is_doubted = true)).boxed()
    }

    fn filling(&self) -> watch::Receiver<Option<u64>> {
        self.filling.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_promises_of_the_traits() {
        conformance::documents(&InMemory::default(), async || {}, 5_000).await;
        conformance::entries(&InMemory::default()).await;
    }
}
