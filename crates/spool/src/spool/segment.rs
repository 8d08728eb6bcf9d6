//! One segment file: what is known of it without reading it, and the walk over its records.

use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use super::frame::{ALIGN, RECORD_HEADER_LEN, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER_LEN};
use super::{Ordinal, lock};
use crate::fs::{Access, File, Fs};

/// Bytes read at once where records are read whole.
pub(super) const WIDE: usize = 256 << 10;
/// Bytes read at once where only headers are wanted.
pub(super) const NARROW: usize = 4 << 10;

/// How far a segment may be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The offset behind its last durable record.
    pub(super) end: u64,
    /// The ordinal behind its last durable item.
    pub(super) until: Ordinal,
    /// Whether another segment follows: nothing will be added.
    pub(super) sealed: bool,
}

/// A live segment, shared by the committer and the readers.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) first: Ordinal,
    pub(super) size: u64,
    pub(super) path: PathBuf,
    pub(super) extent: Mutex<Extent>,
    /// Its file was recycled or removed: what is read from now on means nothing.
    pub(super) released: AtomicBool,
    /// A write or sync of it failed: its file is never used again.
    pub(super) poisoned: AtomicBool,
    /// When its first record was appended; 0 when not known.
    pub(super) oldest_ms: AtomicU64,
    /// Open as long as somebody uses it, so that the backlog does not take one descriptor per segment.
    pub(super) handle: Mutex<Weak<dyn File>>,
}

impl Segment {
    pub(super) fn extent(&self) -> Extent {
        *lock(&self.extent)
    }

    pub(super) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// What is wrong, and in which file.
    pub(super) fn told(&self, reason: &str) -> String {
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        format!("{reason} ({file})")
    }

    /// The file, for reading.
    pub(super) fn file(&self, fs: &dyn Fs) -> io::Result<Arc<dyn File>> {
        let mut handle = lock(&self.handle);
        if let Some(file) = handle.upgrade() {
            return Ok(file);
        }
        let file = fs.open(&self.path, Access::Read)?;
        *handle = Arc::downgrade(&file);
        Ok(file)
    }

    /// The file, if somebody has it open.
    pub(super) fn open_file(&self) -> Option<Arc<dyn File>> {
        lock(&self.handle).upgrade()
    }

    /// When the first record was appended, read from the file when it is not known yet; 0 when there is none.
    pub(super) fn oldest_ms(&self, fs: &dyn Fs) -> u64 {
        let known = self.oldest_ms.load(Ordering::Relaxed);
        let extent = self.extent();
        if known != 0 || extent.end <= SEGMENT_HEADER_LEN {
            return known;
        }
        let Ok(file) = self.file(fs) else { return 0 };
        let mut walk = Walk::new(file, self.epoch, self.first, NARROW);
        while let Ok(step) = walk.step(extent.end, extent.until) {
            match step {
                Step::Head(header) => {
                    self.oldest_ms.store(header.appended_at_ms, Ordering::Relaxed);
                    return header.appended_at_ms;
                }
                Step::Damage { .. } => {}
                Step::End | Step::Lost => break,
            }
        }
        0
    }
}

/// A handle that refers to no file yet.
pub(super) fn no_handle() -> Mutex<Weak<dyn File>> {
    let none: Weak<std::fs::File> = Weak::new();
    Mutex::new(none)
}

/// What stands at the walk's position.
#[derive(Debug)]
pub(super) enum Step {
    /// A record with a whole header; its body is not checked.
    Head(RecordHeader),
    /// Items that cannot be read. The walk has moved behind them.
    Damage { first: Ordinal, until: Ordinal, reason: &'static str },
    /// Bytes that are no record, and no record behind them. The walk stays.
    Lost,
    /// The end.
    End,
}

/// A walk over the records of one segment, in order. Finds the next whole header behind damage.
#[derive(Debug)]
pub(super) struct Walk {
    file: Arc<dyn File>,
    epoch: u64,
    /// Where it stands.
    pub(super) offset: u64,
    /// The ordinal that the next record should start with.
    pub(super) expected: Ordinal,
    /// The end of the last broken header of this epoch that was seen while looking for a whole one; 0 for none.
    pub(super) remnants_end: u64,
    window: Vec<u8>,
    window_start: u64,
    /// Bytes to read at once.
    pub(super) chunk: usize,
}

impl Walk {
    pub(super) fn new(file: Arc<dyn File>, epoch: u64, first: Ordinal, chunk: usize) -> Self {
        Self {
            file,
            epoch,
            offset: SEGMENT_HEADER_LEN,
            expected: first,
            remnants_end: 0,
            window: Vec::new(),
            window_start: 0,
            chunk,
        }
    }

    /// Looks at the next record. `end` and `limit` are the offset and the ordinal that bound the segment.
    pub(super) fn step(&mut self, end: u64, limit: Ordinal) -> io::Result<Step> {
        if self.offset + RECORD_HEADER_LEN as u64 > end {
            return Ok(Step::End);
        }
        let offset = self.offset;
        let bytes = self.read(offset, RECORD_HEADER_LEN, end)?;
        let found = RecordHeader::decode(bytes, offset);
        match found.filter(|header| self.fits(header, end, limit)) {
            Some(header) if header.first > self.expected => {
                let first = std::mem::replace(&mut self.expected, header.first);
                Ok(Step::Damage { first, until: header.first, reason: "records are missing" })
            }
            Some(header) => Ok(Step::Head(header)),
            None => match self.find(self.offset, end, limit)? {
                Some(header) => {
                    // It was read anew: what is held is older.
                    self.look_again();
                    self.offset = header.offset.into();
                    let first = std::mem::replace(&mut self.expected, header.first);
                    if self.offset == offset && first == header.first {
                        return Ok(Step::Head(header));
                    }
                    Ok(Step::Damage { first, until: header.first, reason: "a record header is damaged" })
                }
                None => Ok(Step::Lost),
            },
        }
    }

    /// Moves behind a record.
    pub(super) fn pass(&mut self, header: &RecordHeader) {
        self.offset += header.len();
        self.expected = header.until();
    }

    /// Reads the file again from here on: somebody may have been writing to it.
    pub(super) fn look_again(&mut self) {
        self.window.clear();
    }

    /// Bytes of the file; fewer than asked for when it ends before `end`.
    pub(super) fn read(&mut self, offset: u64, len: usize, end: u64) -> io::Result<&[u8]> {
        let held = offset.checked_sub(self.window_start).map(|skip| skip as usize);
        if let Some(skip) = held.filter(|skip| skip + len <= self.window.len()) {
            return Ok(&self.window[skip..skip + len]);
        }
        let room = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.window.resize(self.chunk.max(len).min(room), 0);
        self.window_start = offset;
        match self.file.read_at(&mut self.window, offset) {
            Ok(got) => self.window.truncate(got),
            Err(e) => {
                self.window.clear();
                return Err(e);
            }
        }
        Ok(&self.window[..len.min(self.window.len())])
    }

    /// The body of a record that [`Walk::step`] has shown.
    pub(super) fn body(&mut self, header: &RecordHeader, end: u64) -> io::Result<&[u8]> {
        self.read(self.offset + RECORD_HEADER_LEN as u64, header.body_len() as usize, end)
    }

    /// Note and index of a record that [`Walk::step`] has shown.
    pub(super) fn head(&mut self, header: &RecordHeader, end: u64) -> io::Result<&[u8]> {
        self.read(self.offset + RECORD_HEADER_LEN as u64, header.head_len() as usize, end)
    }

    fn fits(&self, header: &RecordHeader, end: u64, limit: Ordinal) -> bool {
        header.epoch == self.epoch
            && header.first >= self.expected
            && header.until() <= limit
            && u64::from(header.offset) + header.len() <= end
    }

    /// The next whole header behind the position.
    fn find(&mut self, from: u64, end: u64, limit: Ordinal) -> io::Result<Option<RecordHeader>> {
        let mut remnants_end = self.remnants_end;
        let epoch = self.epoch.to_le_bytes();
        let file = Arc::clone(&self.file);
        let found = find_header(&*file, from, end, |bytes, offset| {
            let header = RecordHeader::decode(bytes, offset);
            if bytes.get(8..16) == Some(&epoch[..]) {
                remnants_end = remnants_end.max(offset + RECORD_HEADER_LEN as u64);
            }
            header.filter(|header| self.fits(header, end, limit))
        });
        self.remnants_end = remnants_end;
        found
    }
}

/// Looks through a stretch of a file for a record header that is accepted. `accept` sees whatever starts with the
/// record magic on a multiple of 8, and its offset.
pub(super) fn find_header(
    file: &dyn File,
    from: u64,
    end: u64,
    mut accept: impl FnMut(&[u8], u64) -> Option<RecordHeader>,
) -> io::Result<Option<RecordHeader>> {
    let mut window = vec![0; WIDE];
    let mut start = from.next_multiple_of(ALIGN);
    while start + RECORD_HEADER_LEN as u64 <= end {
        let room = WIDE.min((end - start) as usize);
        let got = file.read_at(&mut window[..room], start)?;
        for (i, word) in window[..got].chunks_exact(ALIGN as usize).enumerate() {
            if word[..4] == RECORD_MAGIC {
                let at = i * ALIGN as usize;
                let found = accept(&window[at..got], start + at as u64);
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        if got < WIDE {
            break;
        }
        // The last header's length again: one may stand across the border.
        start += (WIDE - RECORD_HEADER_LEN) as u64;
    }
    Ok(None)
}
