//! What stands in the directory when the spool is opened.
//!
//! Reads one page of every segment and the records of the last one only, so that opening takes as long for ten
//! gigabytes as for one segment. Each header names the segment before it and where that one ends; the names are
//! followed backwards. What was begun but never came to be part of that chain is removed: nothing in it was ever
//! acknowledged. A segment whose header is damaged is kept, and known by its records. Where a segment is missing, the one
//! before it is walked through, so that what is lost is known now and not when somebody comes there.

use parking_lot::Mutex;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::frame::{HeaderError, RecordHeader, SEGMENT_HEADER_LEN, SegmentHeader, epoch_is_of};
use super::segment::{Extent, NARROW, Segment, Step, WIDE, Walk, find_header, no_handle};
use super::{Config, LogId, Ordinal};
use crate::fs::{Access, File, Fs};

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration contradicts itself.
    #[error("spool: {0}")]
    Config(String),
    /// The directory cannot be made or listed.
    #[error("the spool directory {} cannot be used: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment was written by another version of Gatepost.
    #[error("{} has format {found}, and this version reads format {}", path.display(), super::frame::FORMAT_VERSION)]
    Version {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// What the last segment holds cannot be made durable: the disk fails.
    #[error("what {} holds cannot be made durable: {source}", path.display())]
    Sync {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The committer thread could not be started.
    #[error("the spool's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// What was found at opening.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Segments that hold records or may.
    pub segments: usize,
    /// The ordinal of the first item.
    pub first: Ordinal,
    /// The ordinal behind the last item.
    pub end: Ordinal,
    /// Bytes of a torn tail that were cut: a write that a crash cut short, so never acknowledged.
    pub torn_bytes: u64,
    /// Damage found while opening, in the last segment and where a segment is missing: ordinals and what is wrong.
    pub damaged: Vec<(std::ops::Range<Ordinal>, String)>,
    /// Files that could not be used, and why.
    pub set_aside: Vec<(String, String)>,
}

/// A segment as found by its header.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    pub(super) header: SegmentHeader,
    /// Whether the header was whole; else its epoch and first ordinal are taken from a record.
    pub(super) whole: bool,
}

/// The live segments and everything else in the directory.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) live: Vec<Found>,
    /// Files ready to be used: path and bytes.
    pub(super) spares: Vec<(PathBuf, u64)>,
    /// Begun, but never part of the log.
    pub(super) abandoned: Vec<PathBuf>,
    /// Could not be made sense of: path and why.
    pub(super) unusable: Vec<(PathBuf, String)>,
    /// The highest number that any file name or header has.
    pub(super) last_number: u64,
}

/// The name of a segment file.
pub(super) fn segment_name(number: u64) -> String {
    format!("{number:020}.seg")
}

/// Looks at all files of the directory; changes nothing.
pub(super) fn survey(fs: &dyn Fs, dir: &Path) -> Result<Survey, OpenError> {
    let mut entries = fs.list(dir).map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut survey = Survey::default();
    for entry in entries {
        let path = dir.join(&entry.name);
        if entry.name.ends_with(".spare") {
            survey.spares.push((path, entry.len));
            continue;
        }
        let Some(number) = entry.name.strip_suffix(".seg").and_then(|stem| stem.parse::<u64>().ok()) else { continue };
        survey.last_number = survey.last_number.max(number);
        match identify(fs, &path, number) {
            Ok(Identity::Whole(header)) if header.number == number => {
                survey.live.push(Found { path, len: entry.len, header, whole: true });
            }
            Ok(Identity::Whole(_)) => survey.abandoned.push(path),
            Ok(Identity::ByRecord(header)) => survey.live.push(Found { path, len: entry.len, header, whole: false }),
            Ok(Identity::Version(found)) => return Err(OpenError::Version { path, found }),
            Ok(Identity::Nothing) => {
                survey.unusable.push((path, "its header is damaged and it has no whole record".to_owned()));
            }
            Err(e) => survey.unusable.push((path, e.to_string())),
        }
    }
    follow_chain(&mut survey);
    Ok(survey)
}

/// Takes out the segments that their successors jump over: their making failed half-way, so they hold nothing.
fn follow_chain(survey: &mut Survey) {
    let mut chain = Vec::new();
    let mut predecessor = None;
    for found in survey.live.drain(..).rev() {
        if predecessor.is_some_and(|number| found.header.number > number) {
            survey.abandoned.push(found.path);
            continue;
        }
        predecessor = found.whole.then_some(found.header.predecessor);
        chain.push(found);
    }
    chain.reverse();
    survey.live = chain;
}

enum Identity {
    Whole(SegmentHeader),
    ByRecord(SegmentHeader),
    Version(u32),
    Nothing,
}

fn identify(fs: &dyn Fs, path: &Path, number: u64) -> io::Result<Identity> {
    let file = fs.open(path, Access::Read)?;
    let mut page = vec![0; SEGMENT_HEADER_LEN as usize];
    let got = file.read_at(&mut page, 0)?;
    match SegmentHeader::decode(&page[..got]) {
        Ok(header) => return Ok(Identity::Whole(header)),
        Err(HeaderError::Version(found)) => return Ok(Identity::Version(found)),
        Err(HeaderError::Damaged) => {}
    }
    let first_record = find_header(&*file, SEGMENT_HEADER_LEN, file.len()?, |bytes, offset| {
        RecordHeader::decode(bytes, offset).filter(|header| epoch_is_of(header.epoch, number))
    })?;
    Ok(match first_record {
        Some(record) => Identity::ByRecord(SegmentHeader {
            number,
            epoch: record.epoch,
            first: record.first,
            predecessor: 0,
            predecessor_end: 0,
            created_ms: record.appended_at_ms,
            log: LogId::UNKNOWN,
        }),
        None => Identity::Nothing,
    })
}

impl Survey {
    /// Which log this is, as its latest segment that knows it says; a new one where there is no segment.
    fn log(&self) -> LogId {
        if self.live.is_empty() {
            return LogId::new();
        }
        let known = self.live.iter().rev().map(|found| found.header.log).find(|log| log.is_known());
        known.unwrap_or(LogId::UNKNOWN)
    }

    /// Whether the segment after this one, which is not the last, says that it follows upon it.
    fn is_followed(&self, index: usize) -> bool {
        let next = &self.live[index + 1];
        next.whole && next.header.predecessor == self.live[index].header.number
    }

    /// How far each live segment may be read, as its successor says; the last one up to the end of its file.
    pub(super) fn extent(&self, index: usize) -> Extent {
        let found = &self.live[index];
        let Some(next) = self.live.get(index + 1) else {
            return Extent { end: found.len, until: Ordinal::MAX, sealed: false };
        };
        let end = if self.is_followed(index) { next.header.predecessor_end.min(found.len) } else { found.len };
        Extent { end, until: next.header.first, sealed: true }
    }
}

/// What the last segment holds.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) end: u64,
    pub(super) until: Ordinal,
    pub(super) torn_bytes: u64,
    pub(super) damaged: Vec<(std::ops::Range<Ordinal>, String)>,
    /// Whether the whole segment could be read.
    readable: bool,
}

/// Reads the last segment whole. Its end is behind the last whole record; damage before that is reported, not cut.
pub(super) fn read_tail(file: &Arc<dyn File>, found: &Found) -> Tail {
    let mut walk = Walk::new(Arc::clone(file), found.header.epoch, found.header.first, WIDE);
    let mut tail = Tail { end: walk.offset, until: walk.expected, ..Tail::default() };
    let mut suspects = Vec::new();
    let mut torn_end = 0;
    let outcome = loop {
        let step = match walk.step(found.len, Ordinal::MAX) {
            Ok(step) => step,
            Err(e) => break Err(e),
        };
        match step {
            Step::Head(header) => {
                let whole = match body_is_whole(&mut walk, &header, found.len) {
                    Ok(whole) => whole,
                    Err(e) => break Err(e),
                };
                walk.pass(&header);
                if whole {
                    tail.damaged.append(&mut suspects);
                    (tail.end, tail.until) = (walk.offset, walk.expected);
                } else {
                    torn_end = walk.offset;
                    suspects.push((header.first..header.until(), "a record's checksum is wrong".to_owned()));
                }
            }
            Step::Damage { first, until, reason } => suspects.push((first..until, reason.to_owned())),
            Step::Lost | Step::End => break Ok(()),
        }
    };
    tail.readable = outcome.is_ok();
    torn_end = torn_end.max(walk.remnants_end);
    tail.torn_bytes = torn_end.saturating_sub(tail.end);
    tail
}

/// Whether the body under the walk is whole: what was half written when its bytes were read may be there by now.
fn body_is_whole(walk: &mut Walk, header: &RecordHeader, end: u64) -> io::Result<bool> {
    if header.body_is_whole(walk.body(header, end)?) {
        return Ok(true);
    }
    walk.look_again();
    Ok(header.body_is_whole(walk.body(header, end)?))
}

/// What is lost between the last record of a segment and the next segment, which does not follow upon it.
fn missing_behind(fs: &dyn Fs, found: &Found, extent: Extent) -> Option<(std::ops::Range<Ordinal>, String)> {
    let file = fs.open(&found.path, Access::Read).ok()?;
    let mut walk = Walk::new(file, found.header.epoch, found.header.first, NARROW);
    loop {
        match walk.step(extent.end, extent.until).ok()? {
            Step::Head(header) => walk.pass(&header),
            Step::Damage { .. } => {}
            Step::Lost | Step::End => break,
        }
    }
    let range = walk.expected..extent.until;
    (!range.is_empty()).then(|| (range, format!("the segment after {} is missing or damaged", found.header.number)))
}

/// Everything the committer starts from.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) segments: Vec<Arc<Segment>>,
    /// The file to go on writing to; `None` when the last segment cannot take more.
    pub(super) active: Option<Arc<dyn File>>,
    pub(super) spares: Vec<PathBuf>,
    pub(super) next: Ordinal,
    pub(super) last_number: u64,
    pub(super) log: LogId,
}

/// Opens the directory: finds the segments, cuts a torn tail, removes what was never part of the log.
pub(super) fn recover(fs: &dyn Fs, dir: &Path, config: &Config) -> Result<(Layout, Recovered), OpenError> {
    fs.create_dir(dir).map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
    let mut survey = survey(fs, dir)?;
    let mut recovered = Recovered::default();
    set_aside(fs, &mut survey, &mut recovered);
    // A killed process may have named its last segment and not lived to make the name durable.
    fs.sync_dir(dir).map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
    let spares = keep_spares(fs, &survey, config);
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(survey.live.len());
    let mut layout_active = None;
    let mut next = 0;
    for (index, found) in survey.live.iter().enumerate() {
        let mut extent = survey.extent(index);
        if !extent.sealed {
            let (tail, active) = recover_last(fs, found, config)?;
            (extent.end, extent.until) = (tail.end, tail.until);
            next = tail.until;
            layout_active = active;
            recovered.torn_bytes = tail.torn_bytes;
            recovered.damaged.extend(tail.damaged);
        } else if !survey.is_followed(index) {
            recovered.damaged.extend(missing_behind(fs, found, extent));
        }
        segments.push(Arc::new(live_segment(found, extent)));
    }
    recovered.segments = segments.len();
    recovered.first = segments.first().map_or(next, |segment| segment.first);
    recovered.end = next;
    let log = survey.log();
    let layout = Layout { segments, active: layout_active, spares, next, last_number: survey.last_number, log };
    Ok((layout, recovered))
}

pub(super) fn live_segment(found: &Found, extent: Extent) -> Segment {
    Segment {
        number: found.header.number,
        epoch: found.header.epoch,
        first: found.header.first,
        size: found.len,
        path: found.path.clone(),
        extent: Mutex::new(extent),
        released: AtomicBool::new(false),
        poisoned: AtomicBool::new(!found.whole),
        oldest_ms: AtomicU64::new(0),
        handle: no_handle(),
    }
}

/// Reads the last segment, makes what it holds durable, and makes it ready for more, if it can be.
fn recover_last(fs: &dyn Fs, found: &Found, config: &Config) -> Result<(Tail, Option<Arc<dyn File>>), OpenError> {
    let unread = Tail { end: SEGMENT_HEADER_LEN, until: found.header.first, ..Tail::default() };
    let Ok(file) = fs.open(&found.path, Access::ReadWrite).or_else(|_| fs.open(&found.path, Access::Read)) else {
        return Ok((unread, None));
    };
    let tail = read_tail(&file, found);
    let most = config.commit_max.as_u64().max(config.max_record.as_u64());
    settle_tail(&*file, tail.end, most).map_err(|source| OpenError::Sync { path: found.path.clone(), source })?;
    let fits = found.whole && tail.readable && found.len == config.segment_size.as_u64();
    let clean = fits && (tail.torn_bytes == 0 || clear(&*file, tail.end, found.len).is_ok());
    Ok((tail, clean.then_some(file)))
}

/// Makes the last records durable. A killed process may have left its last group in the system's cache only: written
/// and not synced, or with a sync that failed, after which the system takes pages for clean that never reached the
/// disk. Both look whole. Their events are about to be remembered as seen, and an upload that repeats them will be
/// acknowledged, so they must not go with the power. Hence they are written again, over themselves, and synced.
fn settle_tail(file: &dyn File, end: u64, most: u64) -> io::Result<()> {
    let from = end.saturating_sub(most).max(SEGMENT_HEADER_LEN.min(end));
    let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(0)];
    let got = file.read_at(&mut bytes, from)?;
    // A full disk, or a file that may only be read, leaves the sync.
    drop(file.write_all_at(&bytes[..got], from));
    file.sync_data()
}

/// Turns everything behind the end into zeros, durably: a leftover must not become whole by what is written before it.
fn clear(file: &dyn File, end: u64, len: u64) -> io::Result<()> {
    file.set_len(end)?;
    file.set_len(len)?;
    file.sync_data()
}

fn set_aside(fs: &dyn Fs, survey: &mut Survey, recovered: &mut Recovered) {
    for path in survey.abandoned.drain(..) {
        // A file that stays is found, and tried again, at the next start.
        drop(fs.remove(&path));
    }
    for (path, reason) in survey.unusable.drain(..) {
        drop(fs.rename(&path, &path.with_extension("damaged")));
        recovered.set_aside.push((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), reason));
    }
}

/// Keeps the spare files that have the right size, as many as wanted.
fn keep_spares(fs: &dyn Fs, survey: &Survey, config: &Config) -> Vec<PathBuf> {
    let mut kept = Vec::new();
    for (path, len) in &survey.spares {
        if *len == config.segment_size.as_u64() && kept.len() < config.recycle {
            kept.push(path.clone());
        } else {
            drop(fs.remove(path));
        }
    }
    kept
}
