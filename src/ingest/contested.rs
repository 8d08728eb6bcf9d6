//! One record whose keys are contested, and what comes of it.
//!
//! What another gateway has is dropped here only where this gateway had not won it, had not taken it alone, and had not stored
//! it under an engine that has forgotten since. Everything else is this gateway's, and what another one has as well counts as a
//! possible duplicate.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::dedup::several::{SharedStore, WhenUnavailable};
use crate::event::{EventKey, key};
use crate::metrics;
use crate::spool::decided::{Decided, Decision};
use crate::spool::{HeadItem, Ordinal, ReadError, Spool};
use crate::telemetry::Repeats;

/// Why a record is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// It is undecided. `old`: the engine may have forgotten the claim that it was taken under.
    Unsure { old: bool },
    /// It was taken alone, and others may not know.
    Tell,
    /// It is this gateway's, and the engine may have forgotten that.
    Retell,
}

/// So many records are remembered of which possible duplicates were counted.
const COUNTED_MAX: usize = 1 << 16;

/// An engine that was away for long leaves a hundred thousand records to ask about; metrics have the sum.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Records of which possible duplicates were counted.
type Counted = Mutex<HashSet<Ordinal>>;

/// A record, with the keys that are asked about and the place of each among its items.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) record: Range<Ordinal>,
    pub(super) keys: Vec<EventKey>,
    pub(super) places: Vec<usize>,
    /// The spool has it no more.
    pub(super) is_gone: bool,
}

/// What came of asking.
pub(super) struct Asked {
    pub(super) record: Range<Ordinal>,
    pub(super) why: Why,
    pub(super) is_gone: bool,
    pub(super) answered: bool,
}

/// Asks, and acts upon the answer. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asker {
    decided: Arc<Decided>,
    store: SharedStore,
    counted: Arc<Counted>,
    /// What was told of records that others have, by whether they are dropped here.
    told: Arc<Repeats<bool>>,
}

impl Asker {
    pub(super) fn new(decided: Arc<Decided>, store: SharedStore) -> Self {
        Self { decided, store, counted: Arc::default(), told: Arc::new(Repeats::new(TOLD_AGAIN_AFTER)) }
    }

    pub(super) fn may_go_alone(&self) -> bool {
        self.store.when_unavailable() == WhenUnavailable::Available
    }

    /// Where there is much, lets go what is about records below this one, which the spool no longer has.
    pub(super) fn forget(&self, first: Ordinal) {
        let mut counted = self.counted();
        if counted.len() > COUNTED_MAX {
            counted.retain(|record| *record >= first);
        }
    }

    fn counted(&self) -> MutexGuard<'_, HashSet<Ordinal>> {
        self.counted.lock()
    }

    /// A record without what is known to be another gateway's of it; none where nothing is left.
    pub(super) fn keyed(&self, record: Range<Ordinal>, keys: Vec<EventKey>, is_gone: bool) -> Option<Keyed> {
        let theirs = self.decided.dropped_of(record.clone()).unwrap_or_default();
        let is_ours = |place: &usize| {
            let ordinal = record.start + *place as Ordinal;
            !theirs
                .get(theirs.partition_point(|range| range.end <= ordinal))
                .is_some_and(|range| range.contains(&ordinal))
        };
        let places: Vec<usize> = (0..keys.len()).filter(is_ours).collect();
        let keys: Vec<EventKey> = places.iter().map(|place| keys[*place]).collect();
        (!keys.is_empty()).then_some(Keyed { record, keys, places, is_gone })
    }

    pub(super) fn ask(&self, keyed: Keyed, why: Why) -> impl Future<Output = Asked> + use<> {
        let (asker, alone) = (self.clone(), self.may_go_alone());
        async move {
            let contested = asker.store.contest(&keyed.keys).await;
            let (record, decided) = (keyed.record.clone(), &asker.decided);
            // Only now: the engine that answered may be another than the one that was asked.
            let (_, since) = decided.engine();
            let why = match why {
                Why::Unsure { old } => Why::Unsure { old: old || record.start < since },
                Why::Tell | Why::Retell if decided.dropped_of(record.clone()).is_none() => {
                    Why::Unsure { old: record.start < since }
                }
                Why::Tell | Why::Retell => why,
            };
            let answered = match contested {
                Ok(lost) => {
                    asker.settle(&keyed, &lost, why);
                    true
                }
                Err(_) if alone && matches!(why, Why::Unsure { .. }) => {
                    decided.decide(Decision::Alone, record.clone());
                    true
                }
                Err(_) => false,
            };
            Asked { record, why, is_gone: keyed.is_gone, answered }
        }
    }

    /// Acts upon which keys of a record another gateway has.
    fn settle(&self, keyed: &Keyed, lost: &[usize], why: Why) {
        let record = keyed.record.clone();
        // Behind the keys of its items a record has those of what was set aside of the upload, which nobody forwards.
        let ordinals =
            lost.iter().map(|at| record.start + keyed.places[*at] as Ordinal).filter(|at| record.contains(at));
        let theirs: Vec<Range<Ordinal>> = ordinals.map(|ordinal| ordinal..ordinal + 1).collect();
        let events = theirs.len() as u64;
        let drops = why == (Why::Unsure { old: false });
        if events > 0 && drops {
            metrics::DEDUP_DROPPED.add(&[], events);
            if let Some(left_out) = self.told.pass(drops) {
                tracing::info!(
                    first = record.start,
                    events,
                    left_out,
                    "another gateway forwards these events; they are not forwarded here"
                );
            }
        } else if events > 0 && self.counted().insert(record.start) {
            // Told again after each change of the engine, it is still the same event.
            metrics::DEDUP_POSSIBLE_DUPLICATES.add(&[], events);
            if let Some(left_out) = self.told.pass(drops) {
                tracing::warn!(
                    first = record.start,
                    events,
                    left_out,
                    "another gateway holds these events as well, taken while the engine was unreachable or emptied; they may be forwarded twice"
                );
            }
        }
        self.decided.settle(record, if drops { &theirs } else { &[] });
    }
}

/// A record, and its keys.
pub(super) type Keys = (Range<Ordinal>, Vec<EventKey>);

/// The records of a range, with their keys.
pub(super) fn heads(spool: &Spool, range: Range<Ordinal>) -> Result<Vec<Keys>, ReadError> {
    let mut records = Vec::new();
    let mut reader = spool.reader(range.start)?;
    while let Some(item) = reader.next_head()? {
        let HeadItem::Head(head) = item else { continue };
        if head.first >= range.end {
            break;
        }
        let keys = key::decode_keys(&head.index).unwrap_or_default();
        if head.items > 0 {
            records.push((head.ordinals(), keys));
        }
    }
    Ok(records)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges that happens to hold one")]
mod tests {
    use super::*;
    use crate::dedup;
    use crate::dedup::memory::MemoryStore;
    use crate::dedup::redis;
    use crate::dedup::several::{Decisions, Gateway, Outcome};
    use crate::fs::RealFs;
    use crate::spool::LogId;

    struct Nobody;

    impl Decisions for Nobody {
        fn decide(&self, _: Range<u64>, _: Outcome) {}
    }

    fn asker(dir: &std::path::Path) -> (Arc<Decided>, Asker) {
        let decided = Decided::open(Arc::new(RealFs), &dir.join("decided"), LogId::UNKNOWN, 0..0).unwrap().0;
        let (decided, config) = (Arc::new(decided), dedup::Config::default());
        let local = Arc::new(MemoryStore::new(&config));
        let (store, ..) = redis::open(&config, local, Gateway::of(1), Arc::new(Nobody));
        (Arc::clone(&decided), Asker::new(decided, store))
    }

    fn keys(count: u64) -> Vec<EventKey> {
        (0..count).map(|key| EventKey::Content(key.into())).collect()
    }

    #[test]
    fn what_was_set_aside_of_an_upload_drops_nothing_of_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (decided, asker) = asker(dir.path());
        // Two events, and three records that were set aside: another gateway has all five.
        let keyed = asker.keyed(0..2, keys(5), false).unwrap();
        asker.settle(&keyed, &[0, 1, 2, 3, 4], Why::Unsure { old: false });
        assert_eq!(decided.dropped_of(0..2), Some(vec![0..2]));
        assert_eq!(decided.undecided(5), vec![2..5], "the next upload's events are nobody else's");
    }

    #[test]
    fn of_a_record_that_is_partly_another_gateways_the_rest_is_told_again() {
        let dir = tempfile::tempdir().unwrap();
        let (decided, asker) = asker(dir.path());
        decided.settle(10..16, &[12..14]);
        let keyed = asker.keyed(10..16, keys(6), false).unwrap();
        assert_eq!((&*keyed.places, keyed.keys.len()), (&[0, 1, 4, 5][..], 4));
        asker.settle(&keyed, &[2], Why::Retell);
        assert_eq!(decided.dropped_of(10..16), Some(vec![12..14]), "what was won stays won");
        decided.settle(20..22, &[20..22]);
        assert!(asker.keyed(20..22, keys(2), false).is_none());
    }
}
