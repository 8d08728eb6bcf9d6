//! Tells what the spool has lost, once, and lets it be sent again.
//!
//! An agent whose event was acknowledged and then lost may still have it. So that its repetition is not taken for a
//! duplicate, the keys of lost events are forgotten: on disk first, lest a restart remembers them. They stand in the
//! heads of the events' records; where a head is gone too, the dedup journal knows them by their ordinals.
//!
//! Lost is what at least one output still had to send. If another one has it already, it gets it a second time when it
//! is sent again: a duplicate is better than a loss. What nobody lost stays remembered.

use std::ops::Range;

use super::bookkeeper::BookError;
use super::window::signed;
use crate::dedup::journal::{Journal, JournalError};
use crate::dedup::store::Store;
use crate::event::{EventKey, key};
use crate::metrics;
use crate::spool::damage::Found;
use crate::spool::{HeadItem, Ordinal, Spool};

/// Keys of so many events at a time: a bound on memory, however much is lost.
const AT_ONCE: u64 = 1 << 18;
/// At most so many ranges of one telling have a line of their own in the log.
const LINES_MAX: usize = 50;

/// Makes the counter known before anything is lost, so that what is lost first is seen as a change.
pub(super) fn begin() {
    metrics::SPOOL_DAMAGED_EVENTS.add(&[], 0);
}

/// Tells what is noted as lost and lies below the position of the books: from there on their keys are in the journal.
pub(super) fn tell(
    spool: &Spool,
    journal: &mut Journal,
    dedup: &dyn Store,
    position: Ordinal,
) -> Result<(), BookError> {
    let mut untold = spool.damage().untold();
    untold.retain(|found| found.range.end <= position);
    if untold.is_empty() {
        return Ok(());
    }
    let ranges: Vec<Range<Ordinal>> = untold.iter().map(|found| found.range.clone()).collect();
    let mut keys = 0;
    for piece in ranges.iter().flat_map(pieces) {
        keys += release(spool, journal, dedup, piece)?;
    }
    if let Err(error) = spool.damage().told(&ranges) {
        tracing::error!(%error, "the report of damage cannot be recorded; a restart would repeat it");
    }
    count(&untold, keys);
    Ok(())
}

fn count(untold: &[Found], keys: u64) {
    let events = |found: &[Found]| found.iter().map(|found| found.range.end - found.range.start).sum::<u64>();
    for Found { range, reason } in untold.iter().take(LINES_MAX) {
        let events = range.end - range.start;
        tracing::error!(
            first = range.start,
            until = range.end,
            events,
            reason,
            "the spool is damaged; these events are lost"
        );
    }
    if let Some(more) = untold.get(LINES_MAX..).filter(|more| !more.is_empty()) {
        tracing::error!(ranges = more.len(), events = events(more), "the spool is damaged; these events are lost too");
    }
    tracing::warn!(
        events = events(untold),
        keys,
        "lost events are accepted again when they are resent, as far as their keys are known"
    );
    metrics::SPOOL_DAMAGED_EVENTS.add(&[], events(untold));
}

fn pieces(range: &Range<Ordinal>) -> impl Iterator<Item = Range<Ordinal>> + use<> {
    let Range { start, end } = *range;
    let starts = std::iter::successors(Some(start), |at| at.checked_add(AT_ONCE));
    starts.take_while(move |at| *at < end).map(move |at| at..end.min(at.saturating_add(AT_ONCE)))
}

/// Lets these events be taken again; returns how many keys were forgotten.
fn release(spool: &Spool, journal: &mut Journal, dedup: &dyn Store, lost: Range<Ordinal>) -> Result<u64, JournalError> {
    let (mut keys, headless) = keys_in_heads(spool, &lost);
    keys.extend(journal.keys_of(&headless)?);
    // Not before the keys themselves, whatever the clock says: entries are read in the order of their time.
    let now_s = signed(spool.clock().now_s()).max(journal.newest_s()?.unwrap_or(i64::MIN));
    journal.forget(now_s, &keys)?;
    journal.sync()?;
    Ok(dedup.forget(&keys))
}

/// The keys that stand in heads, and the events that have no head any more, or none that can be read.
fn keys_in_heads(spool: &Spool, lost: &Range<Ordinal>) -> (Vec<EventKey>, Vec<Range<Ordinal>>) {
    let (mut keys, mut headless, mut at) = (Vec::new(), Vec::new(), lost.start);
    let mut reader = spool.reader(lost.start).ok();
    while let Some(Ok(Some(item))) = reader.as_mut().map(|reader| reader.next_head()) {
        let HeadItem::Head(head) = item else { continue };
        let ordinals = head.ordinals();
        if ordinals.start >= lost.end {
            break;
        }
        let Ok(of_head) = key::decode_keys(&head.index) else { continue };
        headless.push(at..ordinals.start);
        at = ordinals.end.max(at);
        let lost_here = |(ordinal, _): &(Ordinal, EventKey)| ordinals.contains(ordinal) && lost.contains(ordinal);
        keys.extend(ordinals.clone().zip(of_head).filter(lost_here).map(|(_, key)| key));
    }
    headless.push(at..lost.end);
    headless.retain(|range| !range.is_empty());
    (keys, headless)
}
