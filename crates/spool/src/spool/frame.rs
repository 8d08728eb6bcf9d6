//! How a segment and its records are written: the bytes, their checksums, and nothing about files.
//!
//! A segment is a header page, then records, each on a multiple of 8. The epoch stands in the segment header and in
//! every record header: a record that an earlier life of a reused file left behind carries another epoch and counts
//! as nothing. A record header also carries its own offset, so that a copy of it elsewhere counts as nothing too.
//! Note and index have a checksum of their own: whoever wants only them need not read the payload.

use super::codec::{self, Codec};
use super::{LogId, Ordinal};

/// The format this build reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of a segment header: one page.
pub const SEGMENT_HEADER_LEN: u64 = 4096;
/// Bytes of a record header.
pub const RECORD_HEADER_LEN: usize = 72;
/// Most bytes a payload may have when it is unpacked, whatever its header says.
pub const PLAIN_MAX: u64 = 256 << 20;

const SEGMENT_MAGIC: [u8; 8] = *b"GATEPOST";
pub(super) const RECORD_MAGIC: [u8; 4] = *b"GpRc";
const RECORD_VERSION: u8 = 1;
/// Every record starts on a multiple of this, which is what makes finding the next one behind damage cheap.
pub(super) const ALIGN: u64 = 8;

/// What the first page of a segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number, as in its file name.
    pub number: u64,
    /// Marks this life of the file; the upper half is the number, the lower half is random.
    pub epoch: u64,
    /// The ordinal of the first item that it may hold.
    pub first: Ordinal,
    /// The number of the segment before it; 0 for none.
    pub predecessor: u64,
    /// Where that one ends: bytes behind this offset were never acknowledged.
    pub predecessor_end: u64,
    /// When it was begun, in milliseconds since 1970.
    pub created_ms: u64,
    /// The log that it is a part of; see [`super::LogId`].
    pub log: LogId,
}

/// Why a segment header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// It does not check out.
    Damaged,
    /// It is whole, but of another format.
    Version(u32),
}

impl SegmentHeader {
    /// The header as one page.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; SEGMENT_HEADER_LEN as usize];
        page[..8].copy_from_slice(&SEGMENT_MAGIC);
        page[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let fields = [
            self.number,
            self.epoch,
            self.first,
            self.predecessor,
            self.predecessor_end,
            self.created_ms,
            self.log.number(),
        ];
        for (slot, field) in page[16..].chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(&page[12..]);
        page[8..12].copy_from_slice(&crc.to_le_bytes());
        page
    }

    /// Reads a header page.
    pub fn decode(page: &[u8]) -> Result<Self, HeaderError> {
        if page.len() != SEGMENT_HEADER_LEN as usize
            || page[..8] != SEGMENT_MAGIC
            || u32_at(page, 8) != crc32fast::hash(&page[12..])
        {
            return Err(HeaderError::Damaged);
        }
        match u32_at(page, 12) {
            FORMAT_VERSION => Ok(Self {
                number: u64_at(page, 16),
                epoch: u64_at(page, 24),
                first: u64_at(page, 32),
                predecessor: u64_at(page, 40),
                predecessor_end: u64_at(page, 48),
                created_ms: u64_at(page, 56),
                log: LogId::of(u64_at(page, 64)),
            }),
            other => Err(HeaderError::Version(other)),
        }
    }
}

/// The epoch of a new life: its upper half tells the number even when the segment header is lost.
pub(super) fn new_epoch(number: u64, rng: &mut fastrand::Rng) -> u64 {
    number << 32 | u64::from(rng.u32(..))
}

/// Whether an epoch was made for the segment of this number.
pub(super) fn epoch_is_of(epoch: u64, number: u64) -> bool {
    epoch >> 32 == number & 0xffff_ffff
}

/// What stands before a record's note, index and payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    /// How the payload is stored.
    pub codec: Codec,
    /// The life of the segment it was written in.
    pub epoch: u64,
    /// The ordinal of its first item.
    pub first: Ordinal,
    /// How many items it holds.
    pub items: u32,
    /// Bytes of the note.
    pub note_len: u32,
    /// Bytes of the index.
    pub index_len: u32,
    /// Bytes of the payload as stored.
    pub stored_len: u32,
    /// Bytes of the payload when unpacked.
    pub plain_len: u32,
    /// Checksum of note and index.
    pub head_crc: u32,
    /// Checksum of the payload as stored.
    pub payload_crc: u32,
    /// Where in the segment it stands.
    pub offset: u32,
    /// When it was appended, in milliseconds since 1970.
    pub appended_at_ms: u64,
}

impl RecordHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut out = [0; RECORD_HEADER_LEN];
        out[..4].copy_from_slice(&RECORD_MAGIC);
        out[4] = RECORD_VERSION;
        out[5] = self.codec as u8;
        out[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        let words = [
            self.items,
            self.note_len,
            self.index_len,
            self.stored_len,
            self.plain_len,
            self.head_crc,
            self.payload_crc,
            self.offset,
        ];
        for (slot, word) in out[24..56].chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        out[56..64].copy_from_slice(&self.appended_at_ms.to_le_bytes());
        let crc = crc32fast::hash(&out[..64]);
        out[64..68].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the header that starts these bytes and was written at this offset of a segment; `None` when it is not a
    /// whole header.
    pub fn decode(bytes: &[u8], offset: u64) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_LEN)?;
        if bytes[..4] != RECORD_MAGIC
            || u32_at(bytes, 64) != crc32fast::hash(&bytes[..64])
            || bytes[4] != RECORD_VERSION
        {
            return None;
        }
        let header = Self {
            codec: match bytes[5] {
                0 => Codec::Raw,
                1 => Codec::Zstd,
                _ => return None,
            },
            epoch: u64_at(bytes, 8),
            first: u64_at(bytes, 16),
            items: u32_at(bytes, 24),
            note_len: u32_at(bytes, 28),
            index_len: u32_at(bytes, 32),
            stored_len: u32_at(bytes, 36),
            plain_len: u32_at(bytes, 40),
            head_crc: u32_at(bytes, 44),
            payload_crc: u32_at(bytes, 48),
            offset: u32_at(bytes, 52),
            appended_at_ms: u64_at(bytes, 56),
        };
        (u64::from(header.offset) == offset && header.first.checked_add(header.items.into()).is_some())
            .then_some(header)
    }

    /// The ordinal behind its last item.
    pub fn until(&self) -> Ordinal {
        self.first + u64::from(self.items)
    }

    /// Bytes of note and index together.
    pub fn head_len(&self) -> u64 {
        u64::from(self.note_len) + u64::from(self.index_len)
    }

    /// Bytes of note, index and payload as stored.
    pub fn body_len(&self) -> u64 {
        self.head_len() + u64::from(self.stored_len)
    }

    /// Bytes the record takes in the segment, padding included.
    pub fn len(&self) -> u64 {
        record_len(self.body_len())
    }

    /// Never: a record has at least its header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Checks a whole body (note, index, payload as stored).
    pub fn body_is_whole(&self, body: &[u8]) -> bool {
        let Ok(head) = usize::try_from(self.head_len()) else { return false };
        body.len() as u64 == self.body_len()
            && crc32fast::hash(&body[..head]) == self.head_crc
            && crc32fast::hash(&body[head..]) == self.payload_crc
    }

    /// Unpacks a stored payload; never more than the header and [`PLAIN_MAX`] allow. The error says why it cannot.
    pub fn unpack(&self, stored: &[u8]) -> Result<Vec<u8>, String> {
        if u64::from(self.plain_len) > PLAIN_MAX {
            return Err(format!("a payload of {} bytes is above the bound", self.plain_len));
        }
        let plain = match self.codec {
            Codec::Raw => stored.to_vec(),
            Codec::Zstd => codec::decompress(stored, self.plain_len as usize).map_err(|e| e.to_string())?,
        };
        if plain.len() == self.plain_len as usize {
            Ok(plain)
        } else {
            Err("the payload has another length".to_owned())
        }
    }
}

/// Bytes that a record with such a body takes.
pub(super) fn record_len(body: u64) -> u64 {
    (RECORD_HEADER_LEN as u64 + body).next_multiple_of(ALIGN)
}

/// What is appended as one record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// How many items it holds; 0 for a note only.
    pub items: u32,
    /// Bytes that are stored as they are and can be read without the payload.
    pub note: Vec<u8>,
    /// The same, for whatever makes finding things in the payload quick.
    pub index: Vec<u8>,
    /// The items, in one piece; stored compressed.
    pub payload: Vec<u8>,
}

/// An [`Entry`] with all the CPU work done: compressed and summed.
#[derive(Debug, Clone)]
pub struct Packed {
    pub(super) body: Vec<u8>,
    /// Everything but epoch, ordinal, offset and time, which are known at the commit.
    pub(super) header: RecordHeader,
    /// Whether the entry was above the bound; then the body is empty.
    pub(super) too_large: bool,
}

impl Packed {
    /// Packs an entry; one of more than `max` bytes is only marked, and refused when it is appended.
    pub(super) fn new(entry: Entry, level: i32, max: u64) -> Self {
        let plain = entry.payload.len();
        let too_large = (entry.note.len() + entry.index.len() + plain) as u64 > max.min(PLAIN_MAX);
        let entry = if too_large { Entry::default() } else { entry };
        let (codec, payload) = codec::compress(entry.payload, level);
        let mut body = Vec::with_capacity(entry.note.len() + entry.index.len() + payload.len());
        body.extend_from_slice(&entry.note);
        body.extend_from_slice(&entry.index);
        let head_crc = crc32fast::hash(&body);
        body.extend_from_slice(&payload);
        let header = RecordHeader {
            codec,
            epoch: 0,
            first: 0,
            items: entry.items,
            note_len: entry.note.len() as u32,
            index_len: entry.index.len() as u32,
            stored_len: payload.len() as u32,
            plain_len: if too_large { 0 } else { plain as u32 },
            head_crc,
            payload_crc: crc32fast::hash(&payload),
            offset: 0,
            appended_at_ms: 0,
        };
        Self { body, header, too_large }
    }

    /// Bytes it will take in a segment.
    pub fn stored_len(&self) -> u64 {
        self.header.len()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}
