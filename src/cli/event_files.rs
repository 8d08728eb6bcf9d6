//! Events out of files, for commands that look at them without a gateway.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use tokio::sync::mpsc;

use super::send::reader::{self, Form, Piece, Source};
use crate::event::{Event, Syntax, Timestamp, decode};

/// Records that are read ahead.
const AHEAD: usize = 4;

/// Records in one step of the reader.
const STEP: usize = 256;

/// Hands out the events of these files (.evtx, folders of them, NDJSON, event XML, `-` for standard input) in order. Returns
/// what could not be read, in words: damage is stepped over.
///
/// # Errors
///
/// When a path does not exist, or when `each` fails.
pub(super) fn for_each(
    paths: &[PathBuf],
    form: Form,
    mut each: impl FnMut(&Source, &Event<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<String>> {
    let sources = reader::sources(paths)?;
    let (pieces, mut found) = mpsc::channel(AHEAD);
    let read = sources.clone();
    let thread = std::thread::spawn(move || reader::read(&read, form, STEP, &pieces));
    let mut damage = Vec::new();
    let mut result = Ok(());
    while let Some(piece) = found.blocking_recv() {
        match piece {
            Piece::End { .. } => {}
            Piece::Damaged { source, error } => damage.push(format!("{}: {error}", sources[source])),
            Piece::Records { source, records } => {
                for record in records {
                    let decoded = decode(Syntax::Lines, &record)?;
                    let unreadable = decoded.unreadable.iter();
                    damage.extend(unreadable.map(|record| format!("{}: {}", sources[source], record.reason)));
                    result = decoded.events.iter().try_for_each(|event| each(&sources[source], event));
                    if result.is_err() {
                        break;
                    }
                }
            }
        }
        if result.is_err() {
            break;
        }
    }
    drop(found);
    thread.join().map_err(|_| anyhow::anyhow!("reading the files ended badly"))?;
    result.map(|()| damage)
}

/// Says what could not be read, apart from the results. The exit code is 1 when there is anything to say.
pub(super) fn complain(damage: &[String]) -> ExitCode {
    for damage in damage {
        // Nothing can be done about a closed terminal.
        writeln!(io::stderr(), "gatepost: skipped: {damage}").ok();
    }
    if damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A time on the command line.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("{text:?} is no time; write it as 2026-01-31T12:00:00Z"))
}

/// This moment.
pub(super) fn now() -> Timestamp {
    Timestamp::of(SystemTime::now())
}
