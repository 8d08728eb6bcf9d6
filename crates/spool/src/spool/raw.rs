//! Records as they are stored, for a copy of the log elsewhere: nothing is unpacked, and each still carries its checksums.

use bytes::Bytes;

use super::Ordinal;
use super::frame::{RECORD_HEADER_LEN, RecordHeader};
use super::reader::Record;

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// The ordinal behind its last item.
    pub until: Ordinal,
    /// Header, note, index and payload, whole and padded. Where it stood in its segment is not in it.
    pub bytes: Bytes,
}

/// What [`super::Reader::next_raw`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawItem {
    /// A record.
    Raw(Raw),
    /// Items below this one cannot be read any more.
    Damaged {
        /// The ordinal behind the last lost item.
        until: Ordinal,
    },
}

impl Raw {
    pub(super) fn of(header: &RecordHeader, body: &[u8]) -> Self {
        let homeless = RecordHeader { epoch: 0, offset: 0, ..header.clone() };
        let mut bytes = Vec::with_capacity(header.len() as usize);
        bytes.extend_from_slice(&homeless.encode());
        bytes.extend_from_slice(body);
        bytes.resize(header.len() as usize, 0);
        Self { until: header.until(), bytes: bytes.into() }
    }
}

/// Reads the record that begins these bytes, and what follows it. The error says what is wrong.
///
/// # Errors
///
/// When the bytes do not begin with a whole record.
pub fn read_raw(bytes: &[u8]) -> Result<(Record, &[u8]), String> {
    let header = RecordHeader::decode(bytes, 0).ok_or_else(|| "no record begins here".to_owned())?;
    let body_end = (RECORD_HEADER_LEN as u64).saturating_add(header.body_len());
    let (body_end, end) = (usize::try_from(body_end), usize::try_from(header.len()));
    let (Ok(body_end), Ok(end)) = (body_end, end) else { return Err("a record is too large".to_owned()) };
    let body = bytes.get(RECORD_HEADER_LEN..body_end).ok_or_else(|| "a record is cut off".to_owned())?;
    if !header.body_is_whole(body) {
        return Err("a record's checksum is wrong".to_owned());
    }
    let (note, rest) = body.split_at(header.note_len as usize);
    let (index, stored) = rest.split_at(header.index_len as usize);
    let record = Record {
        first: header.first,
        items: header.items,
        appended_at_ms: header.appended_at_ms,
        note: Bytes::copy_from_slice(note),
        index: Bytes::copy_from_slice(index),
        payload: header.unpack(stored)?.into(),
    };
    Ok((record, bytes.get(end..).unwrap_or_default()))
}
