//! One entry of the journal: `mark u32, payload length u32, crc u32, unix seconds i64, payload`, little-endian.
//!
//! The checksum covers the kind, the length, the time and the payload. The mark lets a reader find the next frame behind a damaged
//! stretch, whatever was damaged; its last byte tells the [`Kind`]. The first kind, which its checksum does not cover, is
//! no longer written, but read.

use std::io::{self, Read};

/// What every mark begins with.
const MARK: [u8; 3] = *b"GPk";
const HEAD: usize = 20;
/// A longer payload is damage. The keys of the largest upload take far less.
pub(super) const PAYLOAD_MAX: usize = 64 << 20;
const READ: usize = 256 << 10;

/// What the payload of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Keys, as the versions before ordinals wrote them.
    Keys = b'1',
    /// Two numbers of 64 bits, the ordinal of the first event and how many there are, and keys: first those of the events.
    NumberedKeys = b'2',
    /// Keys that are forgotten: their events were lost.
    Forgotten = b'3',
}

/// One intact frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: Kind,
    /// When the keys became durable, or were forgotten.
    pub unix_s: i64,
    /// The payload.
    pub payload: &'a [u8],
}

/// What a reading found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scan {
    /// Intact frames.
    pub frames: u64,
    /// Damaged stretches with an intact frame behind them.
    pub corrupt: u64,
    /// Where the last intact frame ends, in bytes from the start.
    pub good_end: u64,
    /// Bytes behind the last intact frame.
    pub torn_bytes: u64,
}

/// Appends one frame to `out`. A payload of more than 64 MiB would not be read back.
pub fn write(out: &mut Vec<u8>, kind: Kind, unix_s: i64, payload: &[u8]) {
    let len = (payload.len() as u32).to_le_bytes();
    let time = unix_s.to_le_bytes();
    out.extend_from_slice(&MARK);
    out.push(kind as u8);
    out.extend_from_slice(&len);
    out.extend_from_slice(&checksum(kind, &len, &time, payload).to_le_bytes());
    out.extend_from_slice(&time);
    out.extend_from_slice(payload);
}

/// Reads all frames and hands them out. Fails only when the source fails. Memory stays within the longest frame and one
/// read.
pub fn scan(source: impl Read, mut each: impl FnMut(Frame<'_>)) -> io::Result<Scan> {
    let mut window = Window { source, bytes: Vec::new(), from: 0, passed: 0, ended: false };
    let mut scan = Scan::default();
    let mut damaged = false;
    loop {
        match window.frame()? {
            Some((kind, unix_s, len)) => {
                each(Frame { kind, unix_s, payload: &window.ahead()[HEAD..HEAD + len] });
                window.pass(HEAD + len);
                scan.frames += 1;
                scan.corrupt += u64::from(std::mem::take(&mut damaged));
                scan.good_end = window.passed;
            }
            None if window.ahead().is_empty() => break,
            None => {
                damaged = true;
                window.pass_to_next_mark();
            }
        }
    }
    scan.torn_bytes = window.passed - scan.good_end;
    Ok(scan)
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Keys, Self::NumberedKeys, Self::Forgotten].into_iter().find(|kind| *kind as u8 == byte)
    }
}

fn checksum(kind: Kind, len: &[u8], time: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    if kind != Kind::Keys {
        hasher.update(&[kind as u8]);
    }
    [len, time, payload].into_iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// The part of the source that is looked at.
struct Window<R> {
    source: R,
    bytes: Vec<u8>,
    /// Where in `bytes` the look begins.
    from: usize,
    /// Bytes of the source before that place.
    passed: u64,
    ended: bool,
}

impl<R: Read> Window<R> {
    fn ahead(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn pass(&mut self, count: usize) {
        self.from += count;
        self.passed += count as u64;
    }

    /// The kind, time and payload length of the frame that begins here, if an intact one does.
    fn frame(&mut self) -> io::Result<Option<(Kind, i64, usize)>> {
        self.fill(HEAD)?;
        let Some((head, _)) = self.ahead().split_first_chunk::<HEAD>() else { return Ok(None) };
        let [m0, m1, m2, kind, l0, l1, l2, l3, c0, c1, c2, c3, time @ ..] = *head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some(kind) = Kind::of(kind).filter(|_| [m0, m1, m2] == MARK && len <= PAYLOAD_MAX) else {
            return Ok(None);
        };
        self.fill(HEAD + len)?;
        let Some(payload) = self.ahead().get(HEAD..HEAD + len) else { return Ok(None) };
        let intact = checksum(kind, &[l0, l1, l2, l3], &time, payload) == u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(intact.then(|| (kind, i64::from_le_bytes(time), len)))
    }

    /// Leaves at least one byte and goes to the next mark, or to where the start of one may stand.
    fn pass_to_next_mark(&mut self) {
        let ahead = &self.ahead()[1..];
        let next = memchr::memmem::find(ahead, &MARK);
        let rest = if self.ended { ahead.len() } else { ahead.len().saturating_sub(MARK.len() - 1) };
        self.pass(1 + next.unwrap_or(rest));
    }

    /// Reads until `count` bytes are ahead or the source ends.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        if self.ended || self.bytes.len() - self.from >= count {
            return Ok(());
        }
        self.bytes.drain(..self.from);
        self.from = 0;
        while self.bytes.len() < count && !self.ended {
            let missing = (count - self.bytes.len()).max(READ) as u64;
            self.ended = self.source.by_ref().take(missing).read_to_end(&mut self.bytes)? < missing as usize;
        }
        Ok(())
    }
}
