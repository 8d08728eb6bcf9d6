//! What keeps events, opened as a whole, or stood in for where the state cannot be used.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use super::build::Machine;
use super::positions::Positions;
use super::replicating::Replicating;
use super::sharing::{self, Sharing};
use super::state::{Folder, Secret, StateDir};
use crate::clock::Clock;
use crate::config::Config;
use crate::dedup::journal::Journal;
use crate::dedup::memory::MemoryStore;
use crate::faults::with_causes;
use crate::fs::Fs;
use crate::ingest::bookkeeper::Bookkeeper;
use crate::ingest::ledger::Waiting;
use crate::metrics;
use crate::spool::Spool;
use crate::spool::dead_letter::{DeadLetters, SharedLetters};

/// The folder that stands in for a state that cannot be used.
const STAND_IN: &str = "stand-in";

/// The clock that is kept. Where none is, the newest keys tell how far an earlier version had come.
fn open_clock(state: &Folder, machine: &Machine, journal: &Journal) -> anyhow::Result<Clock> {
    let newest_s = journal.newest_s().context("the dedup journal")?.and_then(|newest| u64::try_from(newest).ok());
    let (fs, time) = (Arc::clone(&machine.fs), Arc::clone(&machine.time));
    let clock = Clock::open(fs, &state.path().join("clock"), time, newest_s.map(|newest| newest * 1000));
    if let Err(error) = clock.keep() {
        // A full disk must not keep the gateway from starting.
        tracing::error!(%error, "the clock file cannot be written yet");
    }
    Ok(clock)
}

/// What keeps events.
pub(super) struct Kept {
    pub(super) secret: Secret,
    pub(super) clock: Clock,
    pub(super) spool: Spool,
    pub(super) dead_letters: SharedLetters,
    pub(super) dedup: Arc<MemoryStore>,
    pub(super) sharing: Option<Sharing>,
    pub(super) replicating: Option<Replicating>,
    pub(super) waiting: Arc<Waiting>,
    pub(super) books: Bookkeeper,
    pub(super) positions: Positions,
}

/// Opens what keeps events.
pub(super) fn keep(config: &Config, state: &Folder, machine: &Machine, secret: Secret) -> anyhow::Result<Kept> {
    let fs = &machine.fs;
    let journal = Journal::open(Arc::clone(fs), &state.dir(&**fs, sharing::JOURNAL)?, config.dedup.window.get())
        .context("the dedup journal")?;
    let clock = open_clock(state, machine, &journal)?;
    let spool_dir = state.dir(&**fs, "spool")?;
    let (spool, recovered) = Spool::open_with(&config.spool, &spool_dir, Arc::clone(fs), clock.clone())
        .with_context(|| format!("the spool in {} cannot be opened", spool_dir.display()))?;
    let damaged = recovered.damaged.len();
    let (segments, first, end, torn_bytes) = (recovered.segments, recovered.first, recovered.end, recovered.torn_bytes);
    tracing::info!(segments, first, end, torn_bytes, damaged, "spool opened");
    for (file, reason) in &recovered.set_aside {
        tracing::error!(file, reason, "a spool file is unusable and was set aside as *.damaged");
    }
    let dead_letters_dir = state.dir(&**fs, "dead-letters")?;
    let dead_letters = SharedLetters::from(open_letters(config, &dead_letters_dir, fs));

    let dedup = Arc::new(MemoryStore::following(&config.dedup, clock.clone()));
    let waiting = Arc::new(Waiting::default());
    let books = Bookkeeper::open(
        Arc::clone(fs),
        state.path(),
        spool.clone(),
        Arc::clone(&waiting),
        journal,
        Arc::clone(&dedup),
    )?;
    let positions = Positions::open(Arc::clone(fs), state.path(), state.dir(&**fs, "outputs")?, spool.clone())?;
    let sharing = Sharing::open(config, state.path(), fs, &spool, &dedup)?;
    let replicating = Replicating::open(config, &spool, sharing.as_ref());
    Ok(Kept { secret, clock, spool, dead_letters, dedup, sharing, replicating, waiting, books, positions })
}

/// Letters that cannot be opened keep nothing else from its work: what would become one waits.
fn open_letters(config: &Config, dir: &Path, fs: &Arc<dyn Fs>) -> DeadLetters {
    let letters = match DeadLetters::open_with(Arc::clone(fs), dir, config.dead_letters.room()) {
        Ok(letters) => letters,
        Err(error) => {
            tracing::error!(folder = %dir.display(), %error, "the dead-letter store cannot be opened; rejected events wait until it can");
            metrics::STATE_DAMAGED.add(&["dead_letters"], 1);
            return DeadLetters::unusable(Arc::clone(fs), dir);
        }
    };
    for file in &letters.damage().files {
        tracing::error!(folder = %dir.display(), file, "dead letters are damaged or lost");
    }
    metrics::STATE_DAMAGED.add(&["dead_letters"], letters.damage().files.len() as u64);
    metrics::DEAD_LETTERS_LOST.add(&[], letters.damage().letters);
    letters
}

/// Tunnels and the admin plane need nothing that keeps events. They go on over an empty folder in its place, in which nothing
/// is kept: uploads are refused, no output runs, and what could not be opened is left as it is.
pub(super) fn stand_in(
    config: &Config,
    state: &StateDir,
    machine: &Machine,
    why: &anyhow::Error,
) -> anyhow::Result<Kept> {
    tracing::error!(
        error = with_causes(why.as_ref()),
        "the state directory is unusable: uploads are refused and nothing is forwarded until it is repaired and the gateway restarted; tunnels are served"
    );
    metrics::STATE_DAMAGED.add(&["spool"], 1);
    keep(config, &state.folder().emptied(&*machine.fs, STAND_IN)?, machine, [0; 32])
}
