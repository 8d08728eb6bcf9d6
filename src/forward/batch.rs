//! A batch: events of one output that go out in one request.

use std::fmt::Write as _;
use std::ops::Range;

use aws_lc_rs::digest;

use crate::outputs::output::{OutgoingEvent, Row};
use crate::spool::{LogId, Ordinal};

/// Events with their positions, already in the form in which the output sends them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The events, in the order of the log.
    pub events: Vec<Positioned>,
    /// When the first of them was spooled, in milliseconds since 1970.
    pub spooled_at_ms: u64,
    /// Whether other outputs may have a batch of the same events.
    pub for_several: bool,
    /// Whether it may have been sent before, by a process that did not live to hear the answer.
    pub resent: bool,
}

/// One event of a batch.
#[derive(Debug, Clone)]
pub struct Positioned {
    /// Its position in the spool.
    pub ordinal: Ordinal,
    /// As it was uploaded, for the dead letter that it may become.
    pub event: OutgoingEvent,
    /// As the output sends it.
    pub row: Row,
    /// What it was before, if it was a dead letter.
    pub earlier: Earlier,
}

/// What is known of an event that was a dead letter and was replayed; zeros for any other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Earlier {
    /// When it was first set aside, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// How often it was set aside.
    pub tries: u32,
}

impl Batch {
    /// From its first event's position to just after its last's.
    pub fn range(&self) -> Range<Ordinal> {
        match (self.events.first(), self.events.last()) {
            (Some(first), Some(last)) => first.ordinal..last.ordinal + 1,
            _ => 0..0,
        }
    }

    /// The positions of its events, as ranges without gaps.
    pub fn runs(&self) -> Vec<Range<Ordinal>> {
        let mut runs: Vec<Range<Ordinal>> = Vec::new();
        for event in &self.events {
            match runs.last_mut() {
                Some(run) if run.end == event.ordinal => run.end += 1,
                _ => runs.push(event.ordinal..event.ordinal + 1),
            }
        }
        runs
    }

    /// Both halves; of an odd number the first is the smaller. Call it only with two events or more. No former process
    /// sent them as they are.
    pub fn halves(mut self) -> (Self, Self) {
        let second = self.events.split_off(self.events.len() / 2);
        let second = Self { events: second, resent: false, ..self };
        (Self { events: self.events, ..second }, second)
    }

    /// Its events as the output sends them.
    pub fn rows(&self) -> Vec<Row> {
        self.events.iter().map(|event| event.row.clone()).collect()
    }
}

/// What makes batch ids: the same events of the same output and installation always get the same id, so that an
/// endpoint that remembers ids can tell a repetition, even one after a crash. Other events get another one, also when
/// the log is lost and its ordinals begin anew: the log's own id goes in. One that is not known leaves the ids as they
/// were before logs had any.
#[derive(Debug, Clone)]
pub struct Identity {
    seed: Vec<u8>,
}

impl Identity {
    /// Ids for one output of one installation, for events of one log.
    pub fn new(installation: &[u8], log: LogId, output: &str) -> Self {
        let mut seed = [installation, b"\0batch\0", output.as_bytes()].concat();
        if log != LogId::UNKNOWN {
            seed.extend_from_slice(b"\0log\0");
            seed.extend_from_slice(&log.number().to_le_bytes());
        }
        Self { seed }
    }

    /// A UUID (version 8: custom) for a range of events.
    pub fn batch_id(&self, range: &Range<Ordinal>) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.seed);
        context.update(&range.start.to_le_bytes());
        context.update(&range.end.to_le_bytes());
        let hash = context.finish();
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&hash.as_ref()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut id = String::with_capacity(36);
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                id.push('-');
            }
            write!(id, "{byte:02x}").expect("writing to a String cannot fail");
        }
        id
    }
}
