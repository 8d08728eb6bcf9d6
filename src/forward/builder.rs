//! Builds batches from the log, in order, within the output's limits.
//!
//! Blocking: it reads the disk and decompresses, so it runs off the async runtime and is handed back and forth. What a
//! crash left unsettled comes first, in exactly the batches in which it was sent, so that a repetition has the id of
//! the first try. Events that are settled already, that are meant for another output, that the output can never send,
//! or that are too old never reach a batch: they are reported as [`Aside`] and settled by the caller.
//!
//! With several workspaces most events are for another one, so these must cost little: neighbours are one range, however
//! many records they fill, and a record is asked once where each of its route sets leads.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::ahead;
use super::alike::{Member, Place};
use super::aside::{Aside, put_aside};
use super::batch::{Batch, Earlier, Positioned};
use super::waiting::{Queued, Waiting};
use crate::event::stored::{self, StoredError, StoredUploadOwned};
use crate::metrics;
use crate::outputs::output::{BatchLimits, OutgoingEvent, Output, Row};
use crate::spool::decided::Decided;
use crate::spool::{Item, Ordinal, ReadError, Reader, Record};

/// Why an output cannot go on from where it stands. Nothing is settled by it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stuck {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A later Gatepost wrote what comes next. It is whole, and must wait for that one.
    #[error("{0}; start the gateway that wrote it, or a later one")]
    Newer(StoredError),
}

/// Label value: the event waited longer than `max_age`.
pub(super) const EXPIRED: &str = "expired";
/// Label value: the output can never send it (it has no form for it, or it is larger than a request may be).
pub(super) const UNSENDABLE: &str = "unsendable";

/// One call finds at most so many events that do not go into a batch, and so many bytes of them: after a long outage
/// a whole spool may have expired.
const ASIDE_MAX: usize = 2_000;
const ASIDE_MAX_BYTES: usize = 4 << 20;
/// One call begins no further record after so many bytes of them: a whole spool for other outputs is one range, and what
/// was found must be settled, and a stop be heard, on the way through it.
const UNPACK_MAX_BYTES: usize = 16 << 20;

/// What one call of [`Builder::build`] found.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// A batch, unless there was nothing to send.
    pub(super) batch: Option<Batch>,
    /// Events to be settled without being sent.
    pub(super) aside: Vec<Aside>,
    /// Whether the batch ended because the log did: it may still grow.
    pub(super) unfilled: bool,
}

/// Builds the batches of one output.
pub(super) struct Builder {
    output: Arc<dyn Output>,
    name: Arc<str>,
    reader: Reader,
    /// Where gateways share events, which of them are this one's.
    decided: Option<Arc<Decided>>,
    /// What outputs of its form share with it.
    alike: Option<Arc<Member>>,
    /// A record that was read before it was decided.
    held: Option<Record>,
    limits: BatchLimits,
    /// Most events of a batch, whatever the output takes.
    most: usize,
    /// Batches that a former process began and did not settle, oldest first.
    again: VecDeque<Range<Ordinal>>,
    /// Ranges above the start that are settled already, oldest first.
    settled: VecDeque<Range<Ordinal>>,
    /// Events that were read and are not in a batch yet.
    queue: VecDeque<Queued>,
    /// What comes before them, with the rows that were made ahead.
    ready: VecDeque<Queued>,
    /// Bytes of the records that this call has unpacked.
    unpacked: usize,
    /// An unfilled batch that may still grow.
    growing: Growing,
}

#[derive(Default)]
struct Growing {
    events: Vec<Positioned>,
    bytes: usize,
    spooled_at_ms: u64,
    /// Whether an event in it goes to other outputs too.
    for_several: bool,
    /// Set while the batch of a former process is being rebuilt: its range.
    again: Option<Range<Ordinal>>,
}

impl Builder {
    /// A builder that reads from `reader` on, where `settled` tells what above its start needs nothing and `again` what
    /// a former process began.
    pub(super) fn new(
        name: Arc<str>,
        output: Arc<dyn Output>,
        reader: Reader,
        settled: Vec<Range<Ordinal>>,
        again: Vec<Range<Ordinal>>,
    ) -> Self {
        let limits = output.limits();
        Self {
            output,
            name,
            reader,
            decided: None,
            alike: None,
            held: None,
            limits,
            most: usize::MAX,
            again: again.into(),
            settled: settled.into(),
            queue: VecDeque::new(),
            ready: VecDeque::new(),
            unpacked: 0,
            growing: Growing::default(),
        }
    }

    /// Reads no further than it is decided which events are this gateway's, and passes over those of others.
    pub(super) fn heeding(self, decided: Option<Arc<Decided>>) -> Self {
        Self { decided, ..self }
    }

    /// Makes only the rows that no output of the same form has made.
    pub(super) fn sharing(self, alike: Option<Arc<Member>>) -> Self {
        Self { alike, ..self }
    }

    /// Cuts the batches that are begun from now on to so many events, so that they can be paced.
    pub(super) fn cut_to(&mut self, events: Option<u32>) {
        self.most = events.map_or(usize::MAX, |events| events as usize);
    }

    /// Reads on until a batch is full or the log ends. An unfilled batch is kept and grows with the next call, unless
    /// `flush` says that it has waited long enough. Without a batch and not `unfilled`, it is to be called again at once.
    /// Events spooled before `oldest_ms` have expired.
    pub(super) fn build(&mut self, flush: bool, oldest_ms: u64) -> Result<Built, Stuck> {
        let built = self.read_on(flush, oldest_ms)?;
        let skipped: u64 = built.aside.iter().map(Aside::skipped).sum();
        if skipped > 0 {
            metrics::EVENTS_SKIPPED.add(&[&self.name], skipped);
        }
        Ok(built)
    }

    fn read_on(&mut self, flush: bool, oldest_ms: u64) -> Result<Built, Stuck> {
        let mut built = Built::default();
        if self.growing.events.is_empty() {
            self.limits = self.output.limits();
            self.limits.max_events = self.limits.max_events.min(self.most);
        }
        let mut aside_bytes = 0;
        self.unpacked = 0;
        loop {
            if built.aside.len() >= ASIDE_MAX || aside_bytes >= ASIDE_MAX_BYTES || self.has_unpacked_enough() {
                // A batch of a former process keeps its bounds, however long they take to be read.
                if flush && self.growing.again.is_none() {
                    built.batch = self.take();
                }
                return Ok(built);
            }
            let queued = match self.next_queued(oldest_ms) {
                Ok(Some(queued)) => queued,
                Ok(None) => break,
                Err(error) if built.aside.is_empty() => return Err(error),
                // What was found is settled first; the next call meets the error again.
                Err(_) => return Ok(built),
            };
            match queued {
                Queued::Aside(aside) => put_aside(&mut built.aside, aside),
                Queued::Event(waiting) => {
                    if self.ends_before(waiting.ordinal) {
                        self.ready.push_front(Queued::Event(waiting));
                        built.batch = self.take();
                        return Ok(built);
                    }
                    let (spooled_at_ms, for_several) = (waiting.spooled_at_ms, waiting.place.is_some());
                    match self.prepare(waiting, oldest_ms) {
                        Err(aside) => {
                            if let Aside::DeadLetter { event, .. } = &*aside {
                                aside_bytes += event.event.raw.len();
                            }
                            built.aside.push(*aside);
                        }
                        Ok(event) => {
                            if !self.fits(&event) {
                                let Positioned { ordinal, event, earlier, row } = event;
                                // The next batch may have other limits, within which less need be cut.
                                let row = (!row.is_shortened).then_some(Ok(row));
                                let waiting = Waiting { ordinal, event, spooled_at_ms, earlier, row, place: None };
                                self.ready.push_front(Queued::Event(waiting));
                                built.batch = self.take();
                                return Ok(built);
                            }
                            self.add(event, spooled_at_ms);
                            self.growing.for_several |= for_several;
                        }
                    }
                }
            }
        }
        built.unfilled = true;
        if flush {
            built.batch = self.take();
        }
        Ok(built)
    }

    /// Whether an unfilled batch waits.
    pub(super) fn is_growing(&self) -> bool {
        !self.growing.events.is_empty()
    }

    fn has_unpacked_enough(&self) -> bool {
        self.ready.is_empty() && self.queue.is_empty() && self.unpacked >= UNPACK_MAX_BYTES
    }

    fn next_queued(&mut self, oldest_ms: u64) -> Result<Option<Queued>, Stuck> {
        loop {
            if self.ready.is_empty() && self.queue.front().is_some_and(|queued| queued.wants_row(oldest_ms)) {
                self.make_rows_ahead(oldest_ms);
            }
            if let Some(queued) = self.ready.pop_front().or_else(|| self.queue.pop_front()) {
                return Ok(Some(queued));
            }
            let item = self.held.take().map(Item::Record);
            match item.map_or_else(|| self.reader.next(), |item| Ok(Some(item)))? {
                None => return Ok(None),
                Some(Item::Damaged { first, until, reason }) => {
                    return Ok(Some(Queued::Aside(Aside::Damaged(first..until, reason))));
                }
                Some(Item::Record(record)) => match self.dropped_of(&record) {
                    Some(dropped) => self.unpack(record, &dropped)?,
                    None => {
                        self.held = Some(record);
                        return Ok(None);
                    }
                },
            }
        }
    }

    /// Makes the rows of the next events of the queue.
    fn make_rows_ahead(&mut self, oldest_ms: u64) {
        let (mut taken, mut events, mut bytes) = (0, 0, 0);
        for queued in &self.queue {
            if let Queued::Event(waiting) = queued {
                bytes += waiting.event.raw.len();
                if events >= ahead::EVENTS_MAX || (bytes > ahead::BYTES_MAX && events > 0) {
                    break;
                }
                events += 1;
            }
            taken += 1;
        }
        let mut taken: Vec<Queued> = self.queue.drain(..taken).collect();
        taken.iter_mut().for_each(|queued| queued.find_row(oldest_ms));
        if taken.iter().any(|queued| queued.wants_row(oldest_ms)) {
            let output = Arc::clone(&self.output);
            let make = move |queued: &mut Queued| {
                if let Queued::Event(waiting) = queued
                    && waiting.wants_row(oldest_ms)
                {
                    waiting.row = Some(waiting.take_row(&*output));
                }
            };
            taken = ahead::each(taken, make);
        }
        self.ready = taken.into();
    }

    /// What of a record is another gateway's; `None` while that is not known. What has no keys was never claimed.
    fn dropped_of(&self, record: &Record) -> Option<Vec<Range<Ordinal>>> {
        let Some(decided) = self.decided.as_ref().filter(|_| !record.index.is_empty()) else { return Some(Vec::new()) };
        decided.dropped_of(record.first..record.first + Ordinal::from(record.items))
    }

    fn unpack(&mut self, record: Record, dropped: &[Range<Ordinal>]) -> Result<(), Stuck> {
        let range = record.first..record.first + Ordinal::from(record.items);
        if range.is_empty() {
            return Ok(());
        }
        self.unpacked += record.payload.len();
        match stored::decode_for(&self.name, record.payload.clone()) {
            Ok(upload) if upload.events.len() == record.items as usize => self.enqueue(upload, &record, dropped),
            Err(error @ StoredError::Version(_)) => return Err(Stuck::Newer(error)),
            decoded => {
                let detail = match decoded {
                    Err(error) => error.to_string(),
                    Ok(upload) => format!("{} events where {} were announced", upload.events.len(), record.items),
                };
                let reason = format!("a record cannot be decoded: {detail}");
                self.queue.push_back(Queued::Aside(Aside::Damaged(range, reason)));
            }
        }
        Ok(())
    }

    fn enqueue(&mut self, mut upload: StoredUploadOwned, record: &Record, dropped: &[Range<Ordinal>]) {
        let streams = upload.streams_to(&self.name);
        let events = std::mem::take(&mut upload.events);
        let earlier = Earlier { first_seen_ms: upload.first_seen_ms, tries: upload.tries };
        let is_mine = |at: usize| streams[upload.set_of(at)].is_some();
        let mine: usize = (0..).zip(&events).filter(|(at, _)| is_mine(*at)).map(|(_, (_, raw))| raw.len()).sum();
        // A slice keeps its whole record in memory. Where little of many records is for this output, a batch would keep
        // all of them.
        let copied = mine < record.payload.len() / 2;
        let for_several = (0..events.len()).any(|at| is_mine(at) && upload.is_for_several(upload.set_of(at)));
        let rows = self.alike.as_ref().filter(|_| !copied && for_several);
        let rows = rows.and_then(|alike| alike.rows_of(record.first, &record.payload, events.len()));
        for ((at, (format, raw)), ordinal) in events.into_iter().enumerate().zip(record.first..) {
            if self.is_settled(ordinal) {
                continue;
            }
            if dropped.iter().any(|range| range.contains(&ordinal)) {
                self.skip(ordinal);
                continue;
            }
            match &streams[upload.set_of(at)] {
                Some(stream) => {
                    let raw = if copied { Bytes::copy_from_slice(&raw) } else { raw };
                    let event =
                        OutgoingEvent { format, stream: Arc::clone(stream), client: upload.client.clone(), raw };
                    let spooled_at_ms = record.appended_at_ms;
                    let place = rows.as_ref().map(|rows| Place::of(rows, at));
                    let waiting = Waiting { ordinal, event, spooled_at_ms, earlier, row: None, place };
                    self.queue.push_back(Queued::Event(waiting));
                }
                None => self.skip(ordinal),
            }
        }
    }

    /// Queues an event of other outputs: as one with its neighbour before it, if that is another one.
    fn skip(&mut self, ordinal: Ordinal) {
        match self.queue.back_mut() {
            Some(Queued::Aside(Aside::Skipped(range))) if range.end == ordinal => range.end += 1,
            _ => self.queue.push_back(Queued::Aside(Aside::Skipped(ordinal..ordinal + 1))),
        }
    }

    /// Ordinals come in rising order, so ranges that end below can be forgotten.
    fn is_settled(&mut self, ordinal: Ordinal) -> bool {
        while self.settled.front().is_some_and(|range| range.end <= ordinal) {
            self.settled.pop_front();
        }
        self.settled.front().is_some_and(|range| range.contains(&ordinal))
    }

    /// Whether the batch must end before this event so that a former process's batch keeps its bounds, or so that outputs of one
    /// form make the same batches.
    fn ends_before(&mut self, ordinal: Ordinal) -> bool {
        if self.growing.again.as_ref().is_some_and(|range| ordinal >= range.end) {
            return true;
        }
        // Nothing of these is left to send.
        while self.again.front().is_some_and(|range| range.end <= ordinal) {
            self.again.pop_front();
        }
        let again = self.again.front().filter(|range| ordinal >= range.start).cloned();
        let Some(range) = again else { return self.growing.again.is_none() && self.is_behind_a_mark(ordinal) };
        if !self.growing.events.is_empty() && self.growing.again.is_none() {
            return true;
        }
        self.again.pop_front();
        self.growing.again = Some(range);
        false
    }

    /// Whether a batch that others may have as well must end before this event.
    fn is_behind_a_mark(&self, ordinal: Ordinal) -> bool {
        let first = self.growing.events.first().filter(|_| self.growing.for_several);
        self.alike.as_ref().zip(first).is_some_and(|(alike, first)| alike.have_mark_between(first.ordinal, ordinal))
    }

    fn prepare(&self, mut waiting: Waiting, oldest_ms: u64) -> Result<Positioned, Box<Aside>> {
        let is_expired = waiting.spooled_at_ms < oldest_ms;
        let made = (!is_expired).then(|| waiting.take_row(&*self.output));
        let Waiting { ordinal, event, spooled_at_ms, earlier, .. } = waiting;
        let dead = |event, row, reason, detail| {
            let event = Positioned { ordinal, event, row, earlier };
            Err(Box::new(Aside::DeadLetter { event, reason, detail, spooled_at_ms }))
        };
        match made {
            None => dead(event, Row::default(), EXPIRED, "it waited longer than max_age".to_owned()),
            Some(Err(detail)) => dead(event, Row::default(), UNSENDABLE, detail),
            Some(Ok(row)) => match self.fitting(row) {
                Ok(row) => Ok(Positioned { ordinal, event, row, earlier }),
                Err(row) => {
                    let detail =
                        format!("{} bytes; a request holds at most {}", row.bytes.len(), self.limits.max_bytes);
                    dead(event, row, UNSENDABLE, detail)
                }
            },
        }
    }

    /// The row if it fits into a request alone, or what the output can make of it so that it does.
    fn fitting(&self, row: Row) -> Result<Row, Row> {
        let fits = |row: &Row| row.bytes.len() + self.limits.frame_bytes <= self.limits.max_bytes;
        if fits(&row) {
            return Ok(row);
        }
        self.output.shorten(&row).filter(fits).ok_or(row)
    }

    fn fits(&self, event: &Positioned) -> bool {
        // A former process's batch was within the limits of its time; its bounds are kept.
        if self.growing.again.is_some() || self.growing.events.is_empty() {
            return true;
        }
        let bytes = self.growing.bytes + self.limits.separator_bytes + event.row.bytes.len() + self.limits.frame_bytes;
        bytes <= self.limits.max_bytes && self.growing.events.len() < self.limits.max_events
    }

    fn add(&mut self, event: Positioned, spooled_at_ms: u64) {
        if self.growing.events.is_empty() {
            self.growing.spooled_at_ms = spooled_at_ms;
        } else {
            self.growing.bytes += self.limits.separator_bytes;
        }
        self.growing.bytes += event.row.bytes.len();
        self.growing.events.push(event);
    }

    fn take(&mut self) -> Option<Batch> {
        let Growing { events, spooled_at_ms, for_several, again, .. } = std::mem::take(&mut self.growing);
        (!events.is_empty()).then_some(Batch { events, spooled_at_ms, for_several, resent: again.is_some() })
    }
}

#[cfg(test)]
#[path = "builder_tests.rs"]
mod tests;
