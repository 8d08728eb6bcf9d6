//! The records that were read last, for the readers that come to them next.
//!
//! Each output reads the log for itself, and outputs that keep up are all near its end. So that ten of them do not check and
//! unpack each record ten times, what one has read is kept for the others, within a bound. A single reader keeps nothing.
//! A record is known by its whole header, in which the life of its segment and the checksums of what follows stand.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::frame::RecordHeader;
use super::lock;
use super::reader::Record;

/// Bytes of the records that are kept.
const BYTES_MAX: usize = 4 << 20;
/// How many are kept: each is looked at in turn.
const RECORDS_MAX: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Recent {
    readers: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<(RecordHeader, Record)>,
    bytes: usize,
}

impl Recent {
    pub(super) fn reader_begins(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// The last one but one leaves nobody to keep records for.
    pub(super) fn reader_ends(&self) {
        if self.readers.fetch_sub(1, Ordering::Relaxed) <= 2 {
            *lock(&self.kept) = Kept::default();
        }
    }

    /// The record of this header.
    pub(super) fn find(&self, header: &RecordHeader) -> Option<Record> {
        if self.readers.load(Ordering::Relaxed) < 2 {
            return None;
        }
        let kept = lock(&self.kept);
        kept.records.iter().rev().find(|(known, _)| known == header).map(|(_, record)| record.clone())
    }

    /// Keeps a record that was found to be whole.
    pub(super) fn keep(&self, header: &RecordHeader, record: &Record) {
        let size = |record: &Record| record.payload.len() + record.index.len() + record.note.len();
        if self.readers.load(Ordering::Relaxed) < 2 || size(record) > BYTES_MAX / 2 {
            return;
        }
        let mut kept = lock(&self.kept);
        kept.bytes += size(record);
        kept.records.push_back((header.clone(), record.clone()));
        while kept.bytes > BYTES_MAX || kept.records.len() > RECORDS_MAX {
            let Some((_, oldest)) = kept.records.pop_front() else { break };
            kept.bytes -= size(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::spool::codec::Codec;

    fn record(first: u64, bytes: usize) -> (RecordHeader, Record) {
        let header = RecordHeader {
            codec: Codec::Raw,
            epoch: 1,
            first,
            items: 1,
            note_len: 0,
            index_len: 0,
            stored_len: 0,
            plain_len: 0,
            head_crc: 0,
            payload_crc: 0,
            offset: 0,
            appended_at_ms: 0,
        };
        let payload = Bytes::from(vec![0; bytes]);
        let record = Record { first, items: 1, appended_at_ms: 0, note: Bytes::new(), index: Bytes::new(), payload };
        (header, record)
    }

    #[test]
    fn what_is_kept_for_other_readers_is_bounded_and_a_single_reader_keeps_nothing() {
        let recent = Recent::default();
        recent.reader_begins();
        let (header, first) = record(0, 10);
        recent.keep(&header, &first);
        recent.reader_begins();
        assert_eq!(recent.find(&header), None, "it was alone");
        recent.keep(&header, &first);
        assert_eq!(recent.find(&header), Some(first));
        assert_eq!(recent.find(&RecordHeader { epoch: 2, ..header.clone() }), None, "another life of the file");
        for (at, bytes) in (1..200).zip([1 << 20, 10, BYTES_MAX / 2 + 1].into_iter().cycle()) {
            let (header, record) = record(at, bytes);
            recent.keep(&header, &record);
            let kept = lock(&recent.kept);
            assert!(kept.bytes <= BYTES_MAX && kept.records.len() <= RECORDS_MAX);
            assert_eq!(kept.bytes, kept.records.iter().map(|(_, record)| record.payload.len()).sum::<usize>());
        }
        assert_eq!(recent.find(&header), None, "newer ones took its place");
        assert!(recent.find(&record(197, 0).0).is_some());
        recent.reader_ends();
        assert_eq!(lock(&recent.kept).records.len(), 0);
    }
}
