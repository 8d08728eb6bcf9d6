//! Bookmarks that several gateways have together: in the engine, and in this gateway's own journal.
//!
//! What carries it:
//!
//! - A bookmark is told to the engine when the events before it are durable here, and before the host is answered. So whatever
//!   gateway gives it to a host, nothing that it passes over is missing.
//! - A host is answered only when the engine has a bookmark of it, this one or an earlier one. While nobody can be asked,
//!   hosts whose bookmark was there before go on over this gateway's journal; a host that is new gets 503 and keeps its events.
//!   So a gateway that finds none may say that there never was one, and is right.
//! - It says so only while that is certain. An engine that has forgotten, or fallen back to a replica, is another filling:
//!   whoever knew the one before says in it that bookmarks may be missing, before it believes it, and tells all that it has. Then,
//!   and while nobody can be asked, hosts without a bookmark begin with the oldest event that they have.
//! - Of two gateways that were given deliveries of one host, a bookmark does not take the place of one that was written since
//!   its delivery came. What is told later, to an engine that was away or has forgotten, does not take the place of one that was
//!   kept later. Bookmarks are the host's own and do not compare; what remains is that an older one is sometimes kept, which
//!   makes the host send again what is recognised as duplicates.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, try_join_all};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::together::Together;
use super::{Bookmarks, Journal, Known, NotKept, Owner, Seen};
use crate::clock::wall_s;
use crate::shared::entries::{Entries, Found, Place, Write};
use crate::shared::{Away, Document};

/// A longer bookmark is not shared: a gateway that does not have it lets the host begin at its oldest event.
const LENGTH_MAX: usize = 32 << 10;
/// Most bookmarks that are told later, because nobody could be asked.
const UNTOLD_MAX: usize = 1 << 17;
/// How many are told at once after the engine has forgotten.
const TOLD_AT_ONCE: usize = 256;
/// How often that is tried of one which another gateway tells at the same time.
const TRIES: u32 = 4;
/// How long a host that asks waits for it to be certain what an engine lacks that has just come.
const PATIENCE: Duration = Duration::from_secs(2);
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Bookmarks of several gateways.
pub struct SharedBookmarks(Arc<Inner>);

struct Inner {
    local: Journal,
    entries: Arc<dyn Entries>,
    together: Together,
    /// The filling in which it was said, if need be, that bookmarks may be missing.
    settled: watch::Sender<Option<u64>>,
    /// Whose bookmark could not be told: the journal has a later one than the engine.
    untold: Mutex<HashSet<Owner>>,
}

/// A bookmark as it is shared.
#[derive(Serialize, Deserialize)]
struct Shared {
    at: u64,
    /// None where it is too long.
    bookmark: Option<Arc<str>>,
}

impl SharedBookmarks {
    /// Over the journal of this gateway, within a runtime. Its tasks end with it.
    pub fn over(local: Journal, entries: Arc<dyn Entries>) -> Self {
        let together = Together::new(Arc::clone(&entries));
        let filling = entries.filling();
        let settled = watch::Sender::new(None);
        let inner = Inner { local, entries, together, settled, untold: Mutex::default() };
        let inner = Arc::new(inner);
        let weak = Arc::downgrade(&inner);
        tokio::spawn(async move {
            let mut filling = filling;
            while let Some(inner) = weak.upgrade() {
                inner.catch_up(&mut filling).await;
                drop(inner);
                // Looked at now and then, so that it ends with its owner.
                if let Ok(Err(_)) = tokio::time::timeout(AGAIN, filling.changed()).await {
                    return;
                }
            }
        });
        Self(inner)
    }

    /// Whether all that was known at the start is told.
    #[cfg(test)]
    pub(super) fn has_told(&self) -> bool {
        self.0.local.told().is_some()
    }
}

impl Inner {
    /// Makes sure of the filling that answers now, and tells it what it lacks.
    async fn catch_up(&self, filling: &mut watch::Receiver<Option<u64>>) {
        let Some(filling) = *filling.borrow_and_update() else { return };
        let caught_up = async {
            self.settle(filling).await?;
            self.tell_untold().await
        };
        // What fails is tried again; that the engine is away is told elsewhere.
        if let Err(away) = caught_up.await {
            tracing::debug!(%away, "bookmarks of forwarding hosts are told to the other gateways later");
        }
    }

    async fn settle(&self, filling: u64) -> Result<(), Away> {
        let told = self.local.told();
        if told == Some(filling) {
            self.settled.send_replace(Some(filling));
            return Ok(());
        }
        let all = self.local.all();
        if told.is_some() || !all.is_empty() {
            self.entries.doubt().await?;
        }
        self.settled.send_replace(Some(filling));
        for some in all.chunks(TOLD_AT_ONCE) {
            try_join_all(some.iter().map(|(owner, at, text)| self.tell_late(owner, *at, text))).await?;
        }
        if !all.is_empty() {
            tracing::info!(bookmarks = all.len(), "the other gateways know the bookmarks of this one");
        }
        self.local.note_told(filling).await.map_err(|error| Away(error.to_string()))
    }

    async fn tell_untold(&self) -> Result<(), Away> {
        let untold: Vec<Owner> = self.untold.lock().iter().cloned().collect();
        for some in untold.chunks(TOLD_AT_ONCE) {
            // One that comes meanwhile, and can be told no more than these, is noted again.
            some.iter().for_each(|owner| _ = self.untold.lock().remove(owner));
            let told = try_join_all(some.iter().map(|owner| self.tell_known(owner))).await;
            told.inspect_err(|_| self.untold.lock().extend(some.iter().cloned()))?;
        }
        Ok(())
    }

    async fn tell_known(&self, owner: &Owner) -> Result<(), Away> {
        match self.local.known(owner) {
            Known::At(text, at) => self.tell_late(owner, at, &text).await,
            Known::Never | Known::Lost => Ok(()),
        }
    }

    /// Tells a bookmark of before, unless one is there that was kept later.
    async fn tell_late(&self, owner: &Owner, at: u64, bookmark: &Arc<str>) -> Result<(), Away> {
        for _ in 0..TRIES {
            let (there, seen) = match self.together.read(place(owner)).await? {
                Found::Here(document) => (Shared::of(&document), Seen(Some(document.revision))),
                Found::Nothing | Found::Unclear => (None, Seen::default()),
            };
            if there.is_some_and(|there| there.at > at) || self.tell(owner, at, bookmark, seen).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells a bookmark; whether it is there now. It is not where somebody has written since, or where there is no room for it.
    async fn tell(&self, owner: &Owner, at: u64, bookmark: &Arc<str>, Seen(seen): Seen) -> Result<bool, Away> {
        let bookmark = Some(bookmark).filter(|bookmark| bookmark.len() <= LENGTH_MAX).cloned();
        let content = serde_json::to_vec(&Shared { at, bookmark }).map_err(|error| Away(error.to_string()))?;
        let document = Document { revision: format!("{:032x}", fastrand::u128(..)), content };
        self.together.write(Write { place: place(owner), seen, document }).await
    }

    /// What the engine knows; an error where that is not certain.
    async fn ask(&self, owner: &Owner) -> Result<Found, Away> {
        let now = || *self.entries.filling().borrow();
        let filling = now().ok_or_else(|| Away("it is away".to_owned()))?;
        let unsettled = || Away("it is not certain what is missing there".to_owned());
        let mut settled = self.settled.subscribe();
        let is_settled = settled.wait_for(|settled| *settled == Some(filling));
        tokio::time::timeout(PATIENCE, is_settled).await.map_err(|_| unsettled())?.map_err(|_| unsettled())?;
        let found = self.together.read(place(owner)).await?;
        if now() == Some(filling) { Ok(found) } else { Err(unsettled()) }
    }

    async fn look(&self, owner: &Owner) -> (Known, Seen) {
        let here = self.local.known(owner);
        let (there, seen) = match self.ask(owner).await {
            Ok(Found::Nothing) => return (here, Seen::default()),
            Ok(Found::Here(document)) => {
                let there = Shared::of(&document).and_then(|there| Some(Known::At(there.bookmark?, there.at)));
                (there.unwrap_or(Known::Lost), Seen(Some(document.revision)))
            }
            Ok(Found::Unclear) | Err(_) => (Known::Lost, Seen::default()),
        };
        let known = match (there, here) {
            (Known::At(_, there), Known::At(here, at)) if at >= there && self.untold.lock().contains(owner) => {
                Known::At(here, at)
            }
            (there @ Known::At(..), _) | (there, Known::Never) => there,
            (_, here) => here,
        };
        (known, seen)
    }

    async fn keep(&self, owner: Owner, bookmark: String, seen: Seen) -> Result<(), NotKept> {
        let mut bookmark: Arc<str> = bookmark.into();
        let told = self.tell(&owner, wall_s(), &bookmark, seen).await;
        match &told {
            Ok(true) => {}
            // Another gateway was later: with its bookmark this one is not taken for the later one when the engine has forgotten.
            Ok(false) => bookmark = self.written_since(&owner).await.unwrap_or(bookmark),
            Err(_) if self.local.told().is_some() && matches!(self.local.known(&owner), Known::At(..)) => {}
            Err(away) => return Err(NotKept(format!("the other gateways cannot be told of this host: {away}"))),
        }
        self.local.keep(owner.clone(), bookmark.to_string()).await?;
        let mut untold = self.untold.lock();
        if told.is_ok() {
            untold.remove(&owner);
        } else if untold.len() < UNTOLD_MAX {
            // Beyond that the engine keeps the one before: its host may send some events again.
            untold.insert(owner);
        }
        Ok(())
    }

    async fn written_since(&self, owner: &Owner) -> Option<Arc<str>> {
        match self.together.read(place(owner)).await {
            Ok(Found::Here(document)) => Shared::of(&document)?.bookmark,
            Ok(Found::Nothing | Found::Unclear) | Err(_) => None,
        }
    }
}

impl Shared {
    fn of(document: &Document) -> Option<Self> {
        serde_json::from_slice(&document.content).ok()
    }
}

impl Bookmarks for SharedBookmarks {
    fn look<'a>(&'a self, owner: &'a Owner) -> BoxFuture<'a, (Known, Seen)> {
        self.0.look(owner).boxed()
    }

    fn keep(&self, owner: Owner, bookmark: String, seen: Seen) -> BoxFuture<'static, Result<(), NotKept>> {
        let inner = Arc::clone(&self.0);
        async move { inner.keep(owner, bookmark, seen).await }.boxed()
    }
}

/// Bookmarks of one machine for one subscription are one group: by another client's it is known that there was one.
fn place(owner: &Owner) -> Place {
    let Owner { client, machine, subscription } = owner;
    Place { group: hash(&format!("{machine}\0{subscription}")), owner: hash(client) }
}

fn hash(text: &str) -> String {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hex::encode(&hash.as_ref()[..16])
}
