//! The one thread that writes: it takes all appends that wait, writes them in one piece, makes them durable with one
//! sync, and only then tells who waits.
//!
//! A write or sync that fails is final for its segment. Nobody of that group is acknowledged, the segment ends at its
//! last durable offset, and its file is never synced again: after a failed sync the system may have forgotten which
//! pages were dirty, and a second sync would lie. The next append goes to a new segment, whose header, durable before
//! any acknowledgement, says where the old one ends. So the bytes behind that offset never come back.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::frame::{Packed, SEGMENT_HEADER_LEN, SegmentHeader, new_epoch};
use super::recovery::{Layout, segment_name};
use super::segment::{Extent, Segment, no_handle};
use super::shared::{Shared, Work};
use super::{AppendError, Appended, CommitReport, Config, Health, LogId, Ordinal, lock};
use crate::clock::{self, Clock};
use crate::fs::{Access, File, Fs, is_full};

/// An append that waits for its commit.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) packed: Packed,
    pub(super) reply: oneshot::Sender<Result<Appended, AppendError>>,
}

pub(super) struct Committer {
    shared: Arc<Shared>,
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    config: Config,
    rng: fastrand::Rng,
    /// The segment being written and its file; `None` before the first append and after a failure.
    active: Option<(Arc<Segment>, Arc<dyn File>)>,
    last_number: u64,
    log: LogId,
    spares: Vec<PathBuf>,
    buffer: Vec<u8>,
    /// Stamps records: their age must not depend on what the wall clock is set to.
    clock: Clock,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: &Config,
        layout: Layout,
        clock: Clock,
    ) -> Self {
        let last = layout.segments.last().cloned();
        if let (Some(segment), Some(file)) = (&last, &layout.active) {
            *lock(&segment.handle) = Arc::downgrade(file);
        }
        Self {
            shared,
            fs,
            dir: dir.to_owned(),
            config: config.clone(),
            rng: fastrand::Rng::new(),
            active: last.zip(layout.active),
            last_number: layout.last_number,
            log: layout.log,
            spares: layout.spares,
            buffer: Vec::new(),
            clock,
        }
    }

    /// Works until the spool is closed and nothing waits.
    pub(super) fn run(mut self) {
        // However this thread ends, nobody may wait for it any longer.
        let _end = EndOfService(Arc::clone(&self.shared));
        while let Some(Work { group, release }) = self.shared.take_work(self.config.commit_max.as_u64()) {
            self.release(release);
            if group.is_empty() {
                self.idle();
            } else {
                self.commit(group);
            }
            self.shared.with_counts(|counts| counts.spares = self.spares.len());
        }
    }

    fn commit(&mut self, mut group: VecDeque<Waiting>) {
        while !group.is_empty() {
            let started = Instant::now();
            let room = match self.room_for(&group[0].packed) {
                Ok(room) => room,
                Err(e) => return self.refuse(group, &e),
            };
            let mut bytes = 0;
            let fitting = group.iter().take_while(|w| {
                bytes += w.packed.stored_len();
                bytes <= room
            });
            let fitting = fitting.count();
            let rest = group.split_off(fitting);
            match self.write(&group) {
                Ok(firsts) => self.acknowledge(group, &firsts, started),
                Err(e) => {
                    self.poison();
                    self.refuse(group, &e);
                }
            }
            group = rest;
        }
    }

    /// Bytes that the active segment can take, after opening the next one if this record does not fit.
    fn room_for(&mut self, packed: &Packed) -> io::Result<u64> {
        let room = |committer: &Self| {
            committer.active.as_ref().map_or(0, |(segment, _)| segment.size - segment.extent().end.min(segment.size))
        };
        if room(self) < packed.stored_len() {
            self.open_next()?;
        }
        Ok(room(self))
    }

    /// Writes and syncs; the ordinals that the records got.
    fn write(&mut self, group: &VecDeque<Waiting>) -> io::Result<Vec<Ordinal>> {
        let (segment, file) = self.active.as_ref().expect("room was found in it");
        let start = segment.extent().end;
        let now = self.clock.now_ms();
        let mut next = self.shared.next();
        let mut firsts = Vec::with_capacity(group.len());
        self.buffer.clear();
        for waiting in group {
            let mut header = waiting.packed.header.clone();
            header.epoch = segment.epoch;
            header.first = next;
            header.offset = (start + self.buffer.len() as u64) as u32;
            header.appended_at_ms = now;
            self.buffer.extend_from_slice(&header.encode());
            self.buffer.extend_from_slice(&waiting.packed.body);
            self.buffer.resize((u64::from(header.offset) - start + header.len()) as usize, 0);
            firsts.push(next);
            next = header.until();
        }
        file.write_all_at(&self.buffer, start)?;
        file.sync_data()?;
        self.shared.anchors.check_with(&segment.path, &**file)?;
        if start == SEGMENT_HEADER_LEN {
            segment.oldest_ms.store(now, Ordering::Relaxed);
            self.shared
                .with_counts(|counts| counts.oldest_ms = if counts.oldest_ms == 0 { now } else { counts.oldest_ms });
        }
        *lock(&segment.extent) = Extent { end: start + self.buffer.len() as u64, until: next, sealed: false };
        self.shared.publish(next);
        Ok(firsts)
    }

    fn acknowledge(&self, group: VecDeque<Waiting>, firsts: &[Ordinal], started: Instant) {
        let commit = CommitReport {
            bytes: self.buffer.len() as u64,
            records: group.len() as u64,
            seconds: started.elapsed().as_secs_f64(),
        };
        self.shared.with_counts(|counts| {
            counts.commits += 1;
            counts.appends += commit.records;
            counts.health = Health::Ok;
        });
        for (waiting, first) in group.into_iter().zip(firsts) {
            let appended = Appended { first: *first, items: waiting.packed.header.items, commit };
            // Whoever no longer waits finds its events in the spool all the same.
            drop(waiting.reply.send(Ok(appended)));
        }
    }

    fn refuse(&self, group: VecDeque<Waiting>, error: &io::Error) {
        let answer = self.fall_ill(error);
        for waiting in group {
            drop(waiting.reply.send(Err(answer.clone())));
        }
    }

    fn fall_ill(&self, error: &io::Error) -> AppendError {
        self.shared.with_counts(|counts| {
            if let Some(path) = self.shared.anchors.gone() {
                counts.health = Health::Removed { path: path.to_owned() };
                AppendError::Failed { reason: error.to_string() }
            } else if is_full(error) {
                if !matches!(counts.health, Health::Full { .. }) {
                    counts.health = Health::Full { since_ms: clock::wall_ms() };
                }
                AppendError::Full
            } else {
                counts.health = Health::Failing { reason: error.to_string() };
                AppendError::Failed { reason: error.to_string() }
            }
        })
    }

    /// Gives the active segment up. What is durable in it stays readable.
    fn poison(&mut self) {
        if let Some((segment, _)) = self.active.take() {
            segment.poisoned.store(true, Ordering::Release);
        }
    }

    /// Begins a new segment: header, sync, name, sync of the directory; only then records. A crash in between leaves
    /// either nothing or an empty segment that knows where the one before it ends.
    fn open_next(&mut self) -> io::Result<()> {
        // A directory that was made anew is not ours to fill.
        self.shared.anchors.check()?;
        if self.shared.live_bytes() + self.config.segment_size.as_u64() > self.config.max_size.as_u64() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the spool has reached max_size"));
        }
        self.ensure_spare()?;
        let spare = self.spares.pop().expect("there is one now");
        self.last_number += 1;
        let number = self.last_number;
        let path = self.dir.join(segment_name(number));
        let last = self.shared.last_segment();
        let header = SegmentHeader {
            number,
            epoch: new_epoch(number, &mut self.rng),
            first: self.shared.next(),
            predecessor: last.as_ref().map_or(0, |segment| segment.number),
            predecessor_end: last.as_ref().map_or(0, |segment| segment.extent().end),
            created_ms: self.clock.now_ms(),
            log: self.log,
        };
        let file = self.begin(&spare, &path, &header).inspect_err(|_| {
            // A file that failed once is not used again; the number is not used again either.
            drop(self.fs.remove(&spare));
            drop(self.fs.remove(&path));
        })?;
        let segment = Arc::new(Segment {
            number,
            epoch: header.epoch,
            first: header.first,
            size: self.config.segment_size.as_u64(),
            path,
            extent: Mutex::new(Extent { end: SEGMENT_HEADER_LEN, until: header.first, sealed: false }),
            released: AtomicBool::new(false),
            poisoned: AtomicBool::new(false),
            oldest_ms: AtomicU64::new(0),
            handle: no_handle(),
        });
        *lock(&segment.handle) = Arc::downgrade(&file);
        self.shared.add_segment(Arc::clone(&segment));
        self.active = Some((segment, file));
        Ok(())
    }

    fn begin(&self, spare: &Path, path: &Path, header: &SegmentHeader) -> io::Result<Arc<dyn File>> {
        let file = self.fs.open(spare, Access::ReadWrite)?;
        file.write_all_at(&header.encode(), 0)?;
        file.sync_data()?;
        self.fs.rename(spare, path)?;
        self.fs.sync_dir(&self.dir)?;
        Ok(file)
    }

    fn ensure_spare(&mut self) -> io::Result<()> {
        if self.spares.is_empty() {
            let path = self.spare_path();
            self.fs.create(&path, self.config.segment_size.as_u64())?;
            self.spares.push(path);
        }
        Ok(())
    }

    fn spare_path(&mut self) -> PathBuf {
        self.dir.join(format!("{:016x}.spare", self.rng.u64(..)))
    }

    /// Nothing waits: recover from a failure, or prepare the next segment ahead of need.
    fn idle(&mut self) {
        if self.shared.anchors.gone().is_some() {
            return;
        }
        let size = self.config.segment_size.as_u64();
        let within_quota = self.shared.live_bytes() + size <= self.config.max_size.as_u64();
        if !self.shared.is_well() {
            let healed = match (within_quota, &self.active) {
                (false, _) => return,
                (true, Some(_)) => self.ensure_spare(),
                (true, None) => self.open_next(),
            };
            match healed {
                Ok(()) => self.shared.with_counts(|counts| counts.health = Health::Ok),
                Err(e) => drop(self.fall_ill(&e)),
            }
            return;
        }
        let nearly_full = self.active.as_ref().is_some_and(|(s, _)| s.extent().end > s.size / 4 * 3);
        if nearly_full && within_quota {
            // A failure shows, if it lasts, when the segment is needed.
            drop(self.ensure_spare());
        }
    }

    /// Takes the segments below the ordinal out of the log and keeps their files for reuse, or removes them.
    fn release(&mut self, before: Ordinal) {
        let size = self.config.segment_size.as_u64();
        let released = self.shared.take_released(before);
        if released.is_empty() {
            return;
        }
        for segment in released {
            let spares_bytes = (self.spares.len() as u64 + 1) * size;
            let wanted = self.spares.len() < self.config.recycle
                && segment.size == size
                && !segment.poisoned.load(Ordering::Acquire)
                && self.shared.live_bytes() + spares_bytes <= self.config.max_size.as_u64()
                // On a nearly full disk others, the books above all, need the space more.
                && self.fs.free_space(&self.dir).is_ok_and(|free| free >= size);
            let spare = self.spare_path();
            if wanted && self.fs.rename(&segment.path, &spare).is_ok() {
                self.spares.push(spare);
            } else {
                // If it stays, the next start finds it again, below every read position.
                drop(self.fs.remove(&segment.path));
            }
        }
        self.shared.note_oldest(&*self.fs);
    }
}

struct EndOfService(Arc<Shared>);

impl Drop for EndOfService {
    fn drop(&mut self) {
        self.0.end_service();
    }
}
