//! Many small values at the servers, each a place of one stream: `of.KIND.GROUP.OWNER`.
//!
//! What is there is read as it is, and replaced by comparing where it stood. The care goes into what is *not* there, since a server
//! that leads no more may say so, and so does a stream that was emptied. It is believed only like this:
//!
//! - First a barrier is written, whatever stands there: once a quorum has it, everything that was ever answered as put lies before.
//! - Then each answer must be of a leader that has the barrier, so that it knows all of that, and of a stream that is the one that was
//!   filled: made at the same time, and not begun behind what says which filling it is, as one is that was emptied. One whose servers
//!   lost the end of it counts from before again, and is called another filling.
//!
//! Which filling it is stands at a place of its own, as a random name. Whoever finds none puts one there, and so it is another filling
//! for everybody. It is written anew now and then, as else it would be forgotten with what nobody renews.
//!
//! How many values an owner or a group has is counted before a new one is put there. Gateways that put some at the same moment may
//! go beyond the bound by as many.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::connection::View;
use super::super::servers::{Refused, Stored};
use super::cells::{Cells, word};
use crate::shared::entries::{Entries, Found, Place, Write};
use crate::shared::{Away, Document};

/// Most values of one owner.
const OF_OWNER_MAX: usize = 4096;
/// Most values of one group.
const OF_GROUP_MAX: usize = 16;
/// For how many days what is not there is unclear after values were lost.
const DOUBT_DAYS: i64 = 30;
/// How old what says which filling it is may become before it is written anew.
const RENEWED_AFTER_S: i64 = 30 * DAY_S;
const DAY_S: i64 = 24 * 3600;
/// How many questions are on their way at once.
const AT_ONCE: usize = 32;
/// How often a leader is asked again that is not as far as the barrier, and how long is waited before.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Where it stands which filling it is.
const FILLING: &str = "filling";
/// What is written to learn who leads.
const BARRIER: &str = "barrier";

/// Values that gateways share. Cheap to clone.
#[derive(Clone)]
pub struct Values(Arc<Inner>);

struct Inner {
    cells: Arc<dyn Cells>,
    kind: &'static str,
    known: Mutex<Option<Known>>,
    filling: watch::Sender<Option<u64>>,
}

/// A filling of the stream.
#[derive(Debug, Clone)]
struct Known {
    /// When the stream was made.
    created: String,
    /// Where its name stands in it.
    at: u64,
    number: u64,
    seen: Arc<Seen>,
}

/// What was found out of a filling.
#[derive(Debug, Default)]
struct Seen {
    /// The last place that a quorum had.
    last: AtomicU64,
    /// Whether there was less afterwards.
    is_less: AtomicBool,
}

impl Values {
    pub(super) fn new(cells: Arc<dyn Cells>, kind: &'static str) -> Self {
        Self(Arc::new(Inner { cells, kind, known: Mutex::default(), filling: watch::Sender::new(None) }))
    }

    /// Looks which filling answers, and shows it.
    pub(super) async fn look(&self) -> Result<(), Away> {
        let looked = self.0.look().await;
        let found = looked.as_ref().ok();
        // Together: nobody may use a filling that is not shown yet, or be shown one that is not in use.
        let mut known = self.0.known.lock();
        *known = found.cloned();
        self.0.filling.send_if_modified(|shown| {
            let number = found.map(|found| found.number);
            std::mem::replace(shown, number) != number
        });
        drop(known);
        looked.map(drop)
    }
}

impl Inner {
    async fn look(&self) -> Result<Known, Away> {
        let before = self.known.lock().clone();
        let view = self.cells.look(FILLING).await?;
        let mut stored = match self.cells.get(FILLING).await? {
            Some(stored) => stored,
            None => self.fill(&view, 0, &new_name()).await?,
        };
        let (mut name, since_s) = parsed_filling(&stored)?;
        let is_old = view.at_s - since_s > RENEWED_AFTER_S;
        let is_less = |before: &Known| {
            before.number == number(&view.created, &name) && before.seen.is_less.load(Ordering::Acquire)
        };
        if before.as_ref().is_some_and(is_less) {
            stored = self.fill(&view, stored.at, &new_name()).await?;
            (name, _) = parsed_filling(&stored)?;
        } else if is_old {
            stored = self.fill(&view, stored.at, &name).await?;
        }
        let number = number(&view.created, &name);
        let seen = before.filter(|before| before.number == number).map(|before| before.seen).unwrap_or_default();
        seen.last.fetch_max(stored.at, Ordering::AcqRel);
        Ok(Known { created: view.created, at: stored.at, number, seen })
    }

    /// Says by this name which filling it is, in the place of what is at `after`; what says so then.
    async fn fill(&self, view: &View, after: u64, name: &str) -> Result<Stored, Away> {
        let bytes = Bytes::from(format!("{name} {}", view.at_s.max(0)));
        match self.cells.put(FILLING, Some(after), bytes.clone()).await {
            Ok(at) => Ok(Stored { at, bytes }),
            // Another gateway was faster.
            Err(Refused::Overtaken) => {
                self.cells.get(FILLING).await?.ok_or_else(|| Away("its servers do not agree".to_owned()))
            }
            Err(refused) => Err(refused.into()),
        }
    }

    fn known(&self) -> Result<Known, Away> {
        self.known.lock().clone().ok_or_else(|| Away("it is away".to_owned()))
    }

    fn place(&self, Place { group, owner }: &Place) -> String {
        format!("of.{}.{}.{}", self.kind, word(group), word(owner))
    }

    fn of_group(&self, group: &str) -> String {
        format!("of.{}.{}.*", self.kind, word(group))
    }

    fn of_owner(&self, owner: &str) -> String {
        format!("of.{}.*.{}", self.kind, word(owner))
    }

    fn doubts(&self) -> String {
        format!("doubt.{}.*", self.kind)
    }

    /// What a quorum has at the end of the stream.
    async fn barrier(&self, known: &Known) -> Result<u64, Away> {
        let before = known.seen.last.load(Ordering::Acquire).max(known.at);
        let at = self.cells.put(BARRIER, None, Bytes::new()).await?;
        if at <= before {
            known.seen.is_less.store(true, Ordering::Release);
            return Err(forgotten());
        }
        known.seen.last.fetch_max(at, Ordering::AcqRel);
        Ok(at)
    }

    /// Looks at places, for certain as they are after the barrier in this filling.
    async fn certain(&self, known: &Known, barrier: u64, places: &str) -> Result<View, Away> {
        for _ in 0..TRIES {
            let view = self.cells.look(places).await?;
            if view.created != known.created || view.first > known.at {
                return Err(forgotten());
            }
            if view.last >= barrier {
                return Ok(view);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Away("its servers do not agree".to_owned()))
    }

    async fn there(&self, places: &[&Place]) -> Result<Vec<Option<Stored>>, Away> {
        let ask = |place: String| async move { Ok(self.cells.get(&place).await?) };
        all(places.iter().map(|place| ask(self.place(place))).collect()).await
    }

    async fn read(&self, places: &[Place]) -> Result<Vec<Found>, Away> {
        let known = self.known()?;
        let there = self.there(&places.iter().collect::<Vec<_>>()).await?;
        let missing = places.iter().zip(&there).filter(|(_, there)| there.is_none());
        let missing: Vec<&Place> = missing.map(|(place, _)| place).collect();
        let never = if missing.is_empty() { BTreeSet::new() } else { self.never(&known, &missing).await? };
        let found = |(place, there): (&Place, Option<Stored>)| match there {
            Some(stored) => Document::from_line(&stored.bytes).map_or(Found::Unclear, Found::Here),
            None if never.contains(&self.place(place)) => Found::Nothing,
            None => Found::Unclear,
        };
        Ok(places.iter().zip(there).map(found).collect())
    }

    /// Those of these places at which there never was anything.
    async fn never(&self, known: &Known, places: &[&Place]) -> Result<BTreeSet<String>, Away> {
        let barrier = self.barrier(known).await?;
        let doubts = self.certain(known, barrier, &self.doubts()).await?;
        let counts = self.counts(places, Some((known, barrier))).await?;
        let count = |which: &str| counts.get(which).copied().unwrap_or(usize::MAX);
        let is_clear = |place: &&&Place| {
            count(&self.of_group(&place.group)) == 0 && count(&self.of_owner(&place.owner)) < OF_OWNER_MAX
        };
        let clear = places.iter().filter(is_clear).map(|place| self.place(place));
        Ok(if is_doubted(&doubts) { BTreeSet::new() } else { clear.collect() })
    }

    /// How many values the groups and owners of these places have; for certain, if that is asked for.
    async fn counts(&self, places: &[&Place], when: Option<(&Known, u64)>) -> Result<HashMap<String, usize>, Away> {
        let which = places.iter().flat_map(|place| [self.of_group(&place.group), self.of_owner(&place.owner)]);
        let which: BTreeSet<String> = which.collect();
        let count = |which: String| async move {
            let view = match when {
                Some((known, barrier)) => self.certain(known, barrier, &which).await?,
                None => self.cells.look(&which).await?,
            };
            Ok((which, view.subjects.len()))
        };
        Ok(all(which.into_iter().map(count).collect()).await?.into_iter().collect())
    }

    async fn write(&self, writes: &[Write]) -> Result<Vec<bool>, Away> {
        self.known()?;
        let places: Vec<&Place> = writes.iter().map(|write| &write.place).collect();
        let there = self.there(&places).await?;
        let room = self.room(&places, &there).await?;
        let puts = writes.iter().zip(there).zip(room).map(|((write, there), has_room)| {
            let after = match there {
                Some(stored) => was_seen(&stored, write).then_some(stored.at),
                None => has_room.then_some(0),
            };
            self.put(write, after)
        });
        all(puts.collect()).await
    }

    /// Puts something in the place of what is at `after`, unless that was found to be wrong already; whether it is there.
    async fn put(&self, write: &Write, after: Option<u64>) -> Result<bool, Away> {
        let Some(after) = after else { return Ok(false) };
        let bytes = Bytes::from(write.document.to_line());
        match self.cells.put(&self.place(&write.place), Some(after), bytes).await {
            Ok(_) => Ok(true),
            Err(Refused::Overtaken) => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    /// For which of these places there is room, where nothing is there.
    async fn room(&self, places: &[&Place], there: &[Option<Stored>]) -> Result<Vec<bool>, Away> {
        let new = places.iter().zip(there).filter(|(_, there)| there.is_none());
        let new: Vec<&Place> = new.map(|(place, _)| *place).collect();
        let mut counts = self.counts(&new, None).await?;
        let mut has_room = |place: &Place| {
            let (group, owner) = (self.of_group(&place.group), self.of_owner(&place.owner));
            let count = |which: &str| counts.get(which).copied().unwrap_or(0);
            let fits = count(&group) < OF_GROUP_MAX && count(&owner) < OF_OWNER_MAX;
            for which in [group, owner].into_iter().filter(|_| fits) {
                *counts.entry(which).or_default() += 1;
            }
            fits
        };
        Ok(places.iter().zip(there).map(|(place, there)| there.is_none() && has_room(place)).collect())
    }

    async fn doubt(&self) -> Result<(), Away> {
        let known = self.known()?;
        // Behind the barrier the stream tells the servers' time.
        let barrier = self.barrier(&known).await?;
        let view = self.certain(&known, barrier, BARRIER).await?;
        let place = format!("doubt.{}.{}", self.kind, view.at_s / DAY_S);
        self.cells.put(&place, None, Bytes::new()).await?;
        Ok(())
    }
}

/// Asks all of this, some at once. The questions are made before: a closure that borrows must not live over an answer.
async fn all<T>(asked: Vec<impl Future<Output = Result<T, Away>>>) -> Result<Vec<T>, Away> {
    stream::iter(asked).buffered(AT_ONCE).try_collect().await
}

fn was_seen(stored: &Stored, write: &Write) -> bool {
    let there = Document::from_line(&stored.bytes);
    there.is_some_and(|there| write.seen.as_ref() == Some(&there.revision))
}

/// Whether values were lost within the last month: the days on which that was told.
fn is_doubted(view: &View) -> bool {
    let days = view.subjects.iter().filter_map(|place| place.rsplit('.').next()?.parse::<i64>().ok());
    days.max().is_some_and(|day| view.at_s / DAY_S <= day + DOUBT_DAYS)
}

/// The name of a filling, and since when it stands there by the servers' clock.
fn parsed_filling(stored: &Stored) -> Result<(String, i64), Away> {
    let text = std::str::from_utf8(&stored.bytes).ok().and_then(|text| text.split_once(' '));
    let parsed = text.and_then(|(name, since)| Some((name.to_owned(), since.parse().ok()?)));
    parsed.ok_or_else(|| Away("what says which filling it is cannot be read".to_owned()))
}

fn new_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

fn number(created: &str, name: &str) -> u64 {
    let told = digest::digest(&digest::SHA256, format!("{created} {name}").as_bytes());
    told.as_ref()[..8].iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn forgotten() -> Away {
    Away("it has forgotten".to_owned())
}

impl Entries for Values {
    fn read(&self, places: Vec<Place>) -> BoxFuture<'static, Result<Vec<Found>, Away>> {
        let inner = Arc::clone(&self.0);
        async move { inner.read(&places).await }.boxed()
    }

    fn write(&self, writes: Vec<Write>) -> BoxFuture<'static, Result<Vec<bool>, Away>> {
        let inner = Arc::clone(&self.0);
        async move { inner.write(&writes).await }.boxed()
    }

    fn doubt(&self) -> BoxFuture<'static, Result<(), Away>> {
        let inner = Arc::clone(&self.0);
        async move { inner.doubt().await }.boxed()
    }

    fn filling(&self) -> watch::Receiver<Option<u64>> {
        self.0.filling.subscribe()
    }
}
