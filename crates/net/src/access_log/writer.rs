//! The thread that formats lines and writes them.
//!
//! Lines are gathered while there are some in the queue and written when it is empty. Then the thread rests for a
//! moment, so that under load it is woken a hundred times a second and not for every line.

use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use super::{Config, Format, Line, Message, drop_lines};

/// Bytes that are gathered before they are written, also while more lines wait.
const GATHER_BYTES: usize = 64 << 10;

const REST: Duration = Duration::from_millis(10);

/// Where lines go, and how they are written.
#[derive(Debug)]
pub(super) struct Target {
    format: Format,
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Nothing,
    File(File),
    StandardError,
}

impl Target {
    /// What `config` names; a file is made when there is none.
    pub(super) fn open(config: &Config) -> io::Result<Self> {
        let sink = match (&config.file, config.enabled) {
            (_, false) => Sink::Nothing,
            (None, true) => Sink::StandardError,
            (Some(path), true) => {
                let opened = OpenOptions::new().append(true).create(true).open(path);
                let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
                Sink::File(opened.map_err(named)?)
            }
        };
        Ok(Self { format: config.format, sink })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sink {
            Sink::Nothing => Ok(()),
            Sink::File(file) => file.write_all(bytes),
            Sink::StandardError => io::stderr().lock().write_all(bytes),
        }
    }
}

/// The state of the thread.
pub(super) struct Writer {
    target: Target,
    next: Arc<Mutex<Option<Target>>>,
    dropped: Arc<AtomicU64>,
    gathered: Vec<u8>,
    lines: u64,
    failing: bool,
}

impl Writer {
    pub(super) fn new(target: Target, next: Arc<Mutex<Option<Target>>>, dropped: Arc<AtomicU64>) -> Self {
        Self { target, next, dropped, gathered: Vec::new(), lines: 0, failing: false }
    }

    /// Writes until it is told to close, or everybody has gone.
    #[expect(clippy::needless_pass_by_value, reason = "whoever writes after the end must find the queue closed")]
    pub(super) fn run(mut self, messages: Receiver<Message>) {
        let mut closing = false;
        while !closing && let Ok(first) = messages.recv() {
            self.change_target();
            let mut message = Some(first);
            while let Some(one) = message {
                match one {
                    Message::Line(line) => self.gather(&*line),
                    Message::Reopen => {}
                    Message::Close => closing = true,
                }
                message = messages.try_recv().ok();
            }
            self.flush();
            thread::sleep(REST);
        }
    }

    fn change_target(&mut self) {
        if let Some(next) = self.next.lock().take() {
            self.target = next;
        }
    }

    fn gather(&mut self, line: &dyn Line) {
        line.append(self.target.format, &mut self.gathered);
        self.gathered.push(b'\n');
        self.lines += 1;
        if self.gathered.len() >= GATHER_BYTES {
            self.flush();
            self.change_target();
        }
    }

    fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        match self.target.write_all(&self.gathered) {
            Ok(()) => {
                self.failing = false;
                self.gathered.clear();
            }
            Err(error) => {
                drop_lines(&self.dropped, self.lines);
                if !self.failing {
                    tracing::warn!(%error, "the access log cannot be written; lines are dropped until it can");
                }
                self.failing = true;
                // A part of a line may be there: the next one must not become its end.
                self.gathered.clear();
                self.gathered.push(b'\n');
            }
        }
        self.lines = 0;
        self.gathered.shrink_to(2 * GATHER_BYTES);
    }
}
