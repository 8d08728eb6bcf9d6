//! Simulated Windows hosts: endless, deterministic streams of realistic events.
//!
//! One event can be written in three shapes and stays the same event in all of them: its [`Identity`] is what a
//! collector finds in any of the shapes. Same seed, same bytes, on every machine and in every release: benchmarks
//! compare, and a failing test can be repeated.

use std::borrow::Cow;
use std::sync::Arc;

use super::catalogue::{self, Template};
use super::render;

/// A tick is 100 ns, as Windows counts.
pub const TICKS_PER_SECOND: i64 = 10_000_000;

/// 2026-01-01T00:00:00Z: where the clock of a host starts unless told otherwise.
const DEFAULT_START: i64 = 1_767_225_600;

/// How one event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One `<Event>` element, as Windows renders it.
    Xml,
    /// The nested JSON of evtx tools.
    EvtxJson,
    /// A flat row: SecurityEvent columns for the Security channel, WindowsEvent columns for the rest.
    Row,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 3] = [Self::Xml, Self::EvtxJson, Self::Row];
}

/// What makes an event the same event, whatever shape it is written in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The host's name in lower case.
    pub computer: String,
    /// The channel's name in lower case.
    pub channel: String,
    /// The record id within that channel of that host.
    pub record_id: u64,
}

impl Identity {
    /// An identity from names in any letter case.
    pub fn new(computer: &str, channel: &str, record_id: u64) -> Self {
        Self { computer: computer.to_lowercase(), channel: channel.to_lowercase(), record_id }
    }
}

/// A named value of `EventData` (or of the element inside `UserData`).
pub(super) type Datum = (&'static str, Cow<'static, str>);

/// One event of a simulated host.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedEvent {
    pub(super) template: &'static Template,
    pub(super) computer: Arc<str>,
    pub(super) record_id: u64,
    pub(super) ticks: i64,
    pub(super) process_id: u32,
    pub(super) thread_id: u32,
    pub(super) activity: Option<u128>,
    pub(super) long_times: bool,
    pub(super) data: Vec<Datum>,
}

impl SimulatedEvent {
    /// What makes it the same event in every shape.
    pub fn identity(&self) -> Identity {
        Identity::new(&self.computer, self.channel(), self.record_id)
    }

    /// `System/Channel`.
    pub fn channel(&self) -> &'static str {
        self.template.channel
    }

    /// `System/EventID`.
    pub fn event_id(&self) -> u32 {
        self.template.id
    }

    /// `System/EventRecordID`.
    pub fn record_id(&self) -> u64 {
        self.record_id
    }

    /// `System/TimeCreated` in 100 ns ticks since 1970.
    pub fn ticks(&self) -> i64 {
        self.ticks
    }

    /// Appends the event to `out` in this shape; never with a line feed.
    pub fn write(&self, shape: Shape, out: &mut Vec<u8>) {
        match shape {
            Shape::Xml => render::xml(self, out),
            Shape::EvtxJson => render::evtx_json(self, out),
            Shape::Row => render::row(self, out),
        }
    }

    /// The event in this shape.
    pub fn render(&self, shape: Shape) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        self.write(shape, &mut out);
        out
    }
}

/// A simulated host: an endless iterator over its events.
///
/// Record ids rise by one within each channel, times rise by up to two seconds from event to event.
#[derive(Debug, Clone)]
pub struct Host {
    computer: Arc<str>,
    rng: fastrand::Rng,
    ticks: i64,
    pace: i64,
    security_records: u64,
    system_records: u64,
    system_share: f64,
    long_times: bool,
}

impl Host {
    /// A host of this name. Equal names and seeds give equal events.
    pub fn new(computer: impl Into<Arc<str>>, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            computer: computer.into(),
            ticks: DEFAULT_START * TICKS_PER_SECOND + rng.i64(0..TICKS_PER_SECOND),
            pace: 2 * TICKS_PER_SECOND,
            security_records: rng.u64(1_000..5_000_000),
            system_records: rng.u64(100..90_000),
            system_share: 0.0,
            // About one host in four is an older build, which writes nine digits of which the last two are zero.
            long_times: rng.u8(0..4) == 0,
            rng,
        }
    }

    /// Lets the host's clock start at this Unix time.
    #[must_use]
    pub fn starting_at(mut self, unix_seconds: i64) -> Self {
        self.ticks = unix_seconds * TICKS_PER_SECOND + self.ticks % TICKS_PER_SECOND;
        self
    }

    /// Lets this share of the events (0 to 1) come from the System channel, which is in no event set.
    #[must_use]
    pub fn with_system_share(mut self, share: f64) -> Self {
        self.system_share = share;
        self
    }

    /// The host's name.
    pub fn computer(&self) -> &Arc<str> {
        &self.computer
    }

    /// The next event.
    pub fn next_event(&mut self) -> SimulatedEvent {
        let system = self.system_share > 0.0 && self.rng.f64() < self.system_share;
        let template = catalogue::pick(&mut self.rng, system);
        let records = if system { &mut self.system_records } else { &mut self.security_records };
        *records += 1;
        let record_id = *records;
        self.ticks += self.rng.i64(1..self.pace);
        let rng = &mut self.rng;
        SimulatedEvent {
            template,
            computer: Arc::clone(&self.computer),
            record_id,
            ticks: self.ticks,
            process_id: if template.id == 5156 { 4 } else { 712 },
            thread_id: rng.u32(10..2_000) * 4,
            activity: (template.id == 4624).then(|| rng.u128(..)),
            long_times: self.long_times,
            data: (template.data)(rng, &self.computer),
        }
    }
}

impl Iterator for Host {
    type Item = SimulatedEvent;

    fn next(&mut self) -> Option<SimulatedEvent> {
        Some(self.next_event())
    }
}
