//! Where the outputs stand in the log: their positions as files, and what is said when one of them was lost.
//!
//! A new output begins with what comes from now on: what is in the spool was acknowledged before it existed. One that
//! has had a position, and whose file is missing, begins with the oldest event that is kept: sent twice is better than
//! lost. The registry tells the two apart. It stands outside of the folder of the positions, so that the loss of the
//! folder does not look like many new outputs. Where the registry itself is lost, no output is new.

use parking_lot::{Mutex, MutexGuard};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config;
use crate::fs::{Access, Fs};
use crate::metrics;
use crate::spool::cursor::registry::{self, Registry};
use crate::spool::cursor::{Boot, Cursor, Surroundings};
use crate::spool::{Ordinal, Spool};

/// The positions of all outputs.
pub(super) struct Positions {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    spool: Spool,
    boot: Boot,
    known: Mutex<Known>,
}

struct Known {
    registry: Registry,
    /// Whether an output that the registry does not name is new.
    is_complete: bool,
}

impl Positions {
    /// Those in the folder `dir` of the state directory `state`.
    pub(super) fn open(fs: Arc<dyn Fs>, state: &Path, dir: PathBuf, spool: Spool) -> anyhow::Result<Self> {
        let (registry, found) = Registry::open(Arc::clone(&fs), state);
        let status = spool.status();
        let is_complete = found == registry::Found::Whole || status.first == status.end;
        match found {
            registry::Found::Damaged => {
                tracing::error!("the registry of outputs was damaged and rebuilt; no output is treated as new");
            }
            registry::Found::Missing if !is_complete => {
                tracing::warn!("the registry of outputs is missing; no output is treated as new");
            }
            registry::Found::Missing | registry::Found::Whole => {}
        }
        let known = Mutex::new(Known { registry, is_complete });
        Ok(Self { fs, dir, spool, boot: Boot::current(), known })
    }

    /// The position of an output: its own, or the one that it left when it was removed from the configuration, or a
    /// new one.
    pub(super) fn of(&self, name: &str) -> anyhow::Result<Cursor> {
        let returns = self.bring_back(name)?;
        let status = self.spool.status();
        let life = {
            let known = self.known();
            known.registry.life(name).or((!known.is_complete).then_some(0))
        };
        // What is missing between the floor and the oldest record was not given back: it is lost, and must not look settled.
        let first = match self.spool.damage().floor() {
            0 => status.first,
            floor => floor.min(status.first),
        };
        let kept = first..status.end;
        let around = Surroundings { log: self.spool.log(), kept, boot: self.boot, life };
        let mut cursor = Cursor::open(Arc::clone(&self.fs), &self.path(name), &around)?;
        if returns {
            // What went while it was away was given up, not lost.
            cursor.pass_over(status.first)?;
        }
        self.note(name, cursor.life());
        tell(name, &cursor);
        Ok(cursor)
    }

    /// These outputs are configured. While nobody knows which outputs have had a position, all of them may have: noted
    /// before the first is opened, lest one that cannot be opened now is taken for a new one later.
    pub(super) fn expect(&self, sections: &[config::Output]) {
        if !self.known().is_complete {
            sections.iter().for_each(|section| self.keep_for(section.output.name()));
        }
    }

    /// This output has something to send, although its position cannot be opened: it is not new when it can.
    pub(super) fn keep_for(&self, name: &str) {
        let life = self.known().registry.life(name);
        if life.is_none() {
            self.note(name, 0);
        }
    }

    /// From now on an output without a position is new.
    pub(super) fn are_known(&self) {
        self.known().is_complete = true;
    }

    /// Notes how old a position is. Without the note a loss or an older file may not be noticed; with one that is ahead
    /// of the position it would be noticed where there is none. So it follows the position.
    pub(super) fn note(&self, name: &str, life: u64) {
        if !self.spool.is_in_place() {
            // What stands at the path now may be another gateway's.
            return;
        }
        if let Err(error) = self.known().registry.note(name, life) {
            tracing::error!(output = name, %error, "the registry of outputs cannot be written");
        }
    }

    /// Puts the positions of outputs that are not configured aside: the spool keeps nothing for them from now on. What
    /// they did not send is said. One that comes back goes on where it was, as far as the spool still has it.
    pub(super) fn retire_others(&self, sections: &[config::Output]) {
        if !self.spool.is_in_place() {
            return;
        }
        let entries = self.fs.list(&self.dir).unwrap_or_default();
        let names = entries.iter().filter_map(|entry| entry.name.strip_suffix(".cursor"));
        let others = names.filter(|name| !sections.iter().any(|section| section.output.name() == *name));
        others.for_each(|name| self.retire(name));
    }

    fn retire(&self, name: &str) {
        let (path, retired) = (self.path(name), self.retired(name));
        let end: Ordinal = *self.spool.durable_end().borrow();
        let pending = Cursor::look(Arc::clone(&self.fs), &path).map(|cursor| cursor.pending(end));
        let put_aside = self.fs.rename(&path, &retired).and_then(|()| self.fs.sync_dir(&self.dir));
        match (pending, put_aside) {
            (Ok(0), Ok(())) => tracing::info!(output = name, "an output is no longer configured"),
            (Ok(pending), Ok(())) => tracing::warn!(
                output = name,
                pending,
                "an output was removed from the configuration; its unsent events are discarded"
            ),
            (Err(error), _) => {
                tracing::error!(output = name, %error, "the read position of a removed output is unusable")
            }
            (_, Err(error)) => {
                tracing::error!(output = name, %error, "the read position of a removed output is unusable")
            }
        }
    }

    /// Takes the position out again that an output left when it was removed. False when there is none.
    fn bring_back(&self, name: &str) -> std::io::Result<bool> {
        let (path, retired) = (self.path(name), self.retired(name));
        let is_there = |path| self.fs.open(path, Access::Read).is_ok();
        if is_there(&path) || !is_there(&retired) {
            return Ok(false);
        }
        self.fs.rename(&retired, &path)?;
        self.fs.sync_dir(&self.dir)?;
        Ok(true)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.cursor"))
    }

    fn retired(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.retired"))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }
}

/// Says what opening found, where the operator looks.
fn tell(output: &str, cursor: &Cursor) {
    let (found, may_go_twice) = (cursor.found(), cursor.in_doubt());
    if let Some(cause) = found.loss {
        let cause = cause.as_str();
        metrics::OUTPUT_POSITIONS_LOST.add(&[output, cause], 1);
        tracing::error!(
            output,
            cause,
            from = cursor.low(),
            may_go_twice,
            "the read position of an output was lost; events that it may have sent already are sent again and counted as ambiguous"
        );
    } else if found.power_cut && may_go_twice > 0 {
        tracing::warn!(
            output,
            may_go_twice,
            "the machine went down while events were being sent; those that may have arrived are counted as ambiguous"
        );
    }
}
