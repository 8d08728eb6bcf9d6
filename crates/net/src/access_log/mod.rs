//! Access logs: one line for each tunnel, or each request for an upload, beside the work.
//!
//! Writing never makes a client wait: a line goes into a bounded queue, and one thread writes. A line that finds the
//! queue full is dropped and counted. Nothing that a client sent can forge a line or a field: see [`escape`].
//! What a line tells is the business of whoever writes it.

mod escape;
pub mod text;
mod writer;

use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::faults::{self, Fault};
use crate::metrics;
use crate::values::PlaceToKeep;
use writer::{Target, Writer};

/// Lines that may wait to be written.
const QUEUE_MAX: usize = 8_192;

/// How long a stop waits for the last lines: the disk may hang.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// An access log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether lines are written. Default true.
    pub enabled: bool,
    /// The file that lines are appended to; opened anew on a reload, so that it can be rotated. Default: standard error.
    #[schemars(with = "Option<PlaceToKeep>")]
    pub file: Option<PathBuf>,
    /// How lines are written. Default `"json"`.
    pub format: Format,
}

impl Default for Config {
    fn default() -> Self {
        Self { enabled: true, file: None, format: Format::Json }
    }
}

impl Config {
    /// Why its file cannot be written; makes none.
    pub fn faults(&self) -> Vec<Fault> {
        let file = self.file.as_deref().filter(|_| self.enabled);
        file.and_then(faults::in_appended_file).map(|reason| Fault::stops("file", reason)).into_iter().collect()
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// For people: what every line has in fixed places, the rest with names.
    Human,
}

/// What stands in one line.
pub trait Line: std::fmt::Debug + Send + 'static {
    /// Appends it, without a line feed: printable ASCII only, on one line.
    fn append(&self, format: Format, out: &mut Vec<u8>);
}

/// The access log. Handles are cheap and share one file; the last one that is dropped closes it.
#[derive(Debug, Clone)]
pub struct AccessLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    enabled: AtomicBool,
    dropped: Arc<AtomicU64>,
    /// What a reload opened and the thread has not taken yet.
    next: Arc<Mutex<Option<Target>>>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// A file that is open and not yet written to.
#[derive(Debug)]
pub struct Prepared {
    target: Target,
    enabled: bool,
}

enum Message {
    /// In a box, so that an empty queue is small.
    Line(Box<dyn Line>),
    /// There is a new target.
    Reopen,
    Close,
}

impl AccessLog {
    /// Opens the file that `config` names and starts the thread that writes.
    pub fn open(config: &Config) -> io::Result<Self> {
        let target = Target::open(config)?;
        let (queue, messages) = mpsc::sync_channel(QUEUE_MAX);
        let (end, ended) = mpsc::sync_channel(0);
        let dropped = Arc::new(AtomicU64::new(0));
        let next = Arc::new(Mutex::new(None));
        let writer = Writer::new(target, Arc::clone(&next), Arc::clone(&dropped));
        thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer.run(messages);
            drop(end);
        })?;
        let enabled = AtomicBool::new(config.enabled);
        Ok(Self(Arc::new(Shared { queue, enabled, dropped, next, ended: Mutex::new(ended) })))
    }

    /// Puts a line in the queue; never waits.
    pub fn write(&self, line: impl Line) {
        if !self.0.enabled.load(Ordering::Relaxed) {
            return;
        }
        if self.0.queue.try_send(Message::Line(Box::new(line))).is_err() {
            drop_lines(&self.0.dropped, 1);
        }
    }

    /// Lines that were not written: the queue was full, or the file took none.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file anew, or another one, for [`AccessLog::change_to`].
    pub fn prepare(config: &Config) -> io::Result<Prepared> {
        Ok(Prepared { target: Target::open(config)?, enabled: config.enabled })
    }

    /// From now on lines go there, also those that wait.
    pub fn change_to(&self, prepared: Prepared) {
        *self.0.next.lock() = Some(prepared.target);
        self.0.enabled.store(prepared.enabled, Ordering::Relaxed);
        // With a full queue the thread is awake and looks by itself.
        self.0.queue.try_send(Message::Reopen).ok();
    }

    /// Writes what waits and ends, within two seconds; what comes after it is counted as dropped. It blocks.
    pub fn close(&self) {
        self.0.close();
    }
}

/// Counts lines that are not written.
fn drop_lines(dropped: &AtomicU64, lines: u64) {
    dropped.fetch_add(lines, Ordering::Relaxed);
    metrics::ACCESS_LOG_LOST.add(&[], lines);
}

impl Shared {
    fn close(&self) {
        const STEP: Duration = Duration::from_millis(10);
        let ended = self.ended.lock();
        let mut asked = false;
        let mut waited = Duration::ZERO;
        while waited < CLOSE_TIMEOUT {
            // A full queue takes the message when the thread has got on.
            asked = asked || !matches!(self.queue.try_send(Message::Close), Err(TrySendError::Full(_)));
            if let Err(mpsc::RecvTimeoutError::Disconnected) = ended.recv_timeout(STEP) {
                return;
            }
            waited += STEP;
        }
        tracing::warn!("the access log could not write its last lines in time");
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
