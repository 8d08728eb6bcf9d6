//! Reading records in order, from any ordinal up to the durable end.
//!
//! Takes one bounded stretch of a segment at a time, so that memory does not depend on the backlog. Damage is an item
//! like any other: it says which ordinals are lost, and reading goes on behind it. It is told as soon as it can be known:
//! a file that is gone reads as an empty one, and what is missing at the end of the log does not wait for what comes next.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::RecordHeader;
use super::raw::{Raw, RawItem};
use super::recent::Recent;
use super::segment::{NARROW, Segment, Step, WIDE, Walk};
use super::shared::Shared;
use super::{Ordinal, ReadError};
use crate::fs::{File, Fs};

/// What [`Reader::next`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Record),
    /// Items `first..until` cannot be read any more. The range is empty when only a note is lost.
    Damaged {
        /// The first lost item.
        first: Ordinal,
        /// The ordinal behind the last lost item.
        until: Ordinal,
        /// What is wrong.
        reason: String,
    },
}

/// A record as it was appended. One that holds the item asked for may begin before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The ordinal of its first item.
    pub first: Ordinal,
    /// How many items it holds.
    pub items: u32,
    /// When it was appended, in milliseconds since 1970 by the spool's clock.
    pub appended_at_ms: u64,
    /// As in [`super::Entry`].
    pub note: Bytes,
    /// As in [`super::Entry`].
    pub index: Bytes,
    /// As in [`super::Entry`].
    pub payload: Bytes,
}

/// What [`Reader::next_head`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadItem {
    /// A record without its payload. Whether the payload is whole was not looked at.
    Head(Head),
    /// As [`Item::Damaged`].
    Damaged {
        /// The first lost item.
        first: Ordinal,
        /// The ordinal behind the last lost item.
        until: Ordinal,
        /// What is wrong.
        reason: String,
    },
}

/// A record without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The ordinal of its first item.
    pub first: Ordinal,
    /// How many items it holds.
    pub items: u32,
    /// When it was appended, in milliseconds since 1970 by the spool's clock.
    pub appended_at_ms: u64,
    /// As in [`super::Entry`].
    pub note: Bytes,
    /// As in [`super::Entry`].
    pub index: Bytes,
    /// Bytes of the payload on disk.
    pub stored_bytes: u64,
    /// Bytes of the payload unpacked.
    pub plain_bytes: u64,
}

impl Head {
    /// The ordinals of its items.
    pub fn ordinals(&self) -> Range<Ordinal> {
        self.first..self.first + Ordinal::from(self.items)
    }
}

/// Where a reader stands: a segment and a walk over its records.
#[derive(Debug)]
struct Place {
    segment: Arc<Segment>,
    walk: Walk,
}

/// Reads records in order.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    fs: Arc<dyn Fs>,
    /// The ordinal it was asked to start from; what lies below is passed over.
    from: Ordinal,
    place: Option<Place>,
}

/// What a look at a record's bytes gives, or why they are damaged.
type Look<T> = fn(&RecordHeader, &mut Walk, u64, &Recent) -> io::Result<Result<T, String>>;

enum Seen<T> {
    Whole(T),
    Damaged { first: Ordinal, until: Ordinal, reason: String },
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, fs: Arc<dyn Fs>, from: Ordinal) -> Self {
        shared.recent.reader_begins();
        Self { shared, fs, from, place: None }
    }

    /// The next record or damage; `None` at the durable end, where a later call may find more.
    #[expect(clippy::should_implement_trait, reason = "it can fail, and `None` is not the end for ever")]
    pub fn next(&mut self) -> Result<Option<Item>, ReadError> {
        Ok(self.advance(WIDE, whole_record)?.map(|seen| match seen {
            Seen::Whole(record) => Item::Record(record),
            Seen::Damaged { first, until, reason } => Item::Damaged { first, until, reason },
        }))
    }

    /// The same without reading or unpacking the payload.
    pub fn next_head(&mut self) -> Result<Option<HeadItem>, ReadError> {
        Ok(self.advance(NARROW, head_only)?.map(|seen| match seen {
            Seen::Whole(head) => HeadItem::Head(head),
            Seen::Damaged { first, until, reason } => HeadItem::Damaged { first, until, reason },
        }))
    }

    /// The same without unpacking anything.
    pub fn next_raw(&mut self) -> Result<Option<RawItem>, ReadError> {
        Ok(self.advance(WIDE, as_stored)?.map(|seen| match seen {
            Seen::Whole(raw) => RawItem::Raw(raw),
            Seen::Damaged { until, .. } => RawItem::Damaged { until },
        }))
    }

    fn advance<T>(&mut self, chunk: usize, look: Look<T>) -> Result<Option<Seen<T>>, ReadError> {
        loop {
            // Before the look for a segment: one that is begun in between has later items.
            let end = self.shared.next();
            if self.place.is_none() && !self.find_place()? {
                return Ok(self.pass_to(end));
            }
            let Some(place) = &mut self.place else { return Ok(None) };
            let result = place.look(self.from, chunk, look, &self.shared.recent);
            if place.segment.is_released() {
                // Whatever was read may belong to the file's next life. Only who had read all of it may go on.
                let (extent, expected) = (place.segment.extent(), place.walk.expected);
                if !extent.sealed || expected < extent.until {
                    return Err(ReadError::Released);
                }
                let Some(next) = self.shared.segment_after(place.segment.number) else { return Ok(None) };
                self.enter(next, expected)?;
                continue;
            }
            match result? {
                Looked::Seen(Seen::Damaged { first, until, reason }) => {
                    if until > self.from || (first == until && first == self.from) {
                        return Ok(Some(Seen::Damaged { first: first.max(self.from), until, reason }));
                    }
                }
                Looked::Seen(whole) => return Ok(Some(whole)),
                Looked::Passed => {}
                Looked::End { sealed: false } => return Ok(None),
                Looked::End { sealed: true } => {
                    let (number, expected) = (place.segment.number, place.walk.expected);
                    let Some(next) = self.shared.segment_after(number) else { return Ok(None) };
                    self.enter(next, expected)?;
                }
            }
        }
    }

    /// There is no segment: all up to here is lost.
    fn pass_to<T>(&mut self, end: Ordinal) -> Option<Seen<T>> {
        let first = self.from;
        self.from = end.max(first);
        (first < end).then(|| Seen::Damaged { first, until: end, reason: "the segments are gone".to_owned() })
    }

    /// Goes to the segment that holds the start; `false` when there is no segment yet.
    fn find_place(&mut self) -> Result<bool, ReadError> {
        let Some(segment) = self.shared.segment_for(self.from) else { return Ok(false) };
        let expected = segment.first.min(self.from);
        self.enter(segment, expected)?;
        Ok(true)
    }

    fn enter(&mut self, segment: Arc<Segment>, expected: Ordinal) -> Result<(), ReadError> {
        let file = match segment.file(&*self.fs) {
            Ok(file) => file,
            Err(_) if segment.is_released() => return Err(ReadError::Released),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Arc::new(Gone),
            Err(e) => return Err(ReadError::Io(e)),
        };
        let walk = Walk::new(file, segment.epoch, expected, NARROW);
        self.place = Some(Place { segment, walk });
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.recent.reader_ends();
    }
}

/// The file of a segment that nobody released and that is not there.
#[derive(Debug)]
struct Gone;

impl File for Gone {
    fn pread(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn pwrite(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(0)
    }
}

enum Looked<T> {
    Seen(Seen<T>),
    /// A record below the start.
    Passed,
    End {
        sealed: bool,
    },
}

impl Place {
    fn look<T>(&mut self, from: Ordinal, chunk: usize, look: Look<T>, recent: &Recent) -> Result<Looked<T>, ReadError> {
        let extent = self.segment.extent();
        self.walk.chunk = if self.walk.expected < from { NARROW } else { chunk };
        let lost = |walk: &mut Walk, reason: &str| {
            let first = std::mem::replace(&mut walk.expected, extent.until);
            walk.offset = extent.end;
            Looked::Seen(Seen::Damaged { first, until: extent.until, reason: self.segment.told(reason) })
        };
        Ok(match self.walk.step(extent.end, extent.until)? {
            Step::Head(header) if passes(&header, from) => {
                self.walk.pass(&header);
                Looked::Passed
            }
            Step::Head(header) => {
                let seen = match look(&header, &mut self.walk, extent.end, recent)? {
                    Ok(whole) => Seen::Whole(whole),
                    Err(reason) => {
                        Seen::Damaged { first: header.first, until: header.until(), reason: self.segment.told(&reason) }
                    }
                };
                self.walk.pass(&header);
                Looked::Seen(seen)
            }
            Step::Damage { first, until, reason } => {
                Looked::Seen(Seen::Damaged { first, until, reason: self.segment.told(reason) })
            }
            Step::Lost => lost(&mut self.walk, "the rest of the segment is damaged"),
            Step::End if self.walk.expected < extent.until => {
                lost(&mut self.walk, "records are missing at the end of the segment")
            }
            Step::End => Looked::End { sealed: extent.sealed },
        })
    }
}

/// Whether a record lies below the start. A note without items belongs to the ordinal it stands at.
fn passes(header: &RecordHeader, from: Ordinal) -> bool {
    header.until() < from || (header.items > 0 && header.until() == from)
}

const WRONG_SUM: &str = "a record's checksum is wrong";

fn whole_record(
    header: &RecordHeader,
    walk: &mut Walk,
    end: u64,
    recent: &Recent,
) -> io::Result<Result<Record, String>> {
    if let Some(record) = recent.find(header) {
        return Ok(Ok(record));
    }
    let body = walk.body(header, end)?;
    if !header.body_is_whole(body) {
        return Ok(Err(WRONG_SUM.to_owned()));
    }
    let (note, rest) = body.split_at(header.note_len as usize);
    let (index, stored) = rest.split_at(header.index_len as usize);
    let record = header.unpack(stored).map(|payload| Record {
        first: header.first,
        items: header.items,
        appended_at_ms: header.appended_at_ms,
        note: Bytes::copy_from_slice(note),
        index: Bytes::copy_from_slice(index),
        payload: payload.into(),
    });
    record.iter().for_each(|record| recent.keep(header, record));
    Ok(record)
}

fn as_stored(header: &RecordHeader, walk: &mut Walk, end: u64, _: &Recent) -> io::Result<Result<Raw, String>> {
    let body = walk.body(header, end)?;
    Ok(if header.body_is_whole(body) { Ok(Raw::of(header, body)) } else { Err(WRONG_SUM.to_owned()) })
}

fn head_only(header: &RecordHeader, walk: &mut Walk, end: u64, _: &Recent) -> io::Result<Result<Head, String>> {
    let head = walk.head(header, end)?;
    if head.len() as u64 != header.head_len() || crc32fast::hash(head) != header.head_crc {
        return Ok(Err(WRONG_SUM.to_owned()));
    }
    let (note, index) = head.split_at(header.note_len as usize);
    Ok(Ok(Head {
        first: header.first,
        items: header.items,
        appended_at_ms: header.appended_at_ms,
        note: Bytes::copy_from_slice(note),
        index: Bytes::copy_from_slice(index),
        stored_bytes: header.stored_len.into(),
        plain_bytes: header.plain_len.into(),
    }))
}
