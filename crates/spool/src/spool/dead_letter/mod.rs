//! Dead letters: events that no endpoint will take and records that no input understood, kept apart for a person to list,
//! replay and purge.
//!
//! Files of one JSON object a line, so that they can be read without Gatepost; each has letters of one owner, and what an
//! owner may keep is its share ([`Room`]): nobody fills what others need. [`DeadLetters::put`] returns when its letters are
//! durable. What is left of a file is written beside the old one and renamed, unless it is its beginning. Each line has a checksum; what cannot be read, and
//! what is gone, is counted ([`DeadLetters::damage`]) and keeps nothing else from being read. A torn last line is what a crash
//! left of a write that was not acknowledged. Memory holds what there is of files and owners, and nothing of a letter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::Fs;

mod chosen;
mod config;
mod kept;
mod letter;
mod lines;
mod load;
mod put;
mod read;
mod remove;
#[cfg(test)]
mod share_tests;
mod shared;
#[cfg(test)]
mod shared_tests;
mod shares;
#[cfg(test)]
mod tests;

pub use chosen::Chosen;
pub use config::Config;
pub use letter::{Filter, Letter, Page, SENT_BY, Source};
pub use load::Damage;
pub use put::PutError;
pub use read::Listing;
pub use remove::Removal;
pub use shared::SharedLetters;
pub use shares::Room;

use kept::{Kept, Note};
use shares::{Owner, Shares};

/// The reason of a letter of an input, whose own is a whole sentence, among the reasons of outputs.
pub const NOT_UNDERSTOOD: &str = "not_understood";

/// How many letters are kept, by the name of their source and their reason in one word.
pub type Waiting = BTreeMap<(String, String), u64>;

/// A longer file is none of ours: even the letters of a whole upload take less.
const FILE_MAX: u64 = 1 << 30;

/// How much is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Letters.
    pub count: u64,
    /// Bytes of disk.
    pub bytes: u64,
}

/// The kept letters of one directory.
#[derive(Debug)]
pub struct DeadLetters {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    room: Room,
    /// The outputs that are configured: each has its share, also without a letter.
    outputs: BTreeSet<String>,
    shares: Shares,
    next_id: u64,
    read_only: bool,
    waiting: Waiting,
    /// Letters that were given up for newer ones, by input.
    displaced: BTreeMap<String, u64>,
    /// Files that were given up and may be there still.
    dropping: Vec<u64>,
    /// The senders of which it was said that their own oldest letters go.
    displacing: BTreeSet<Owner>,
    /// Whether it was said that the inputs' share is full.
    inputs_are_full: bool,
    damage: Damage,
    note: Note,
}

impl DeadLetters {
    /// Opens the letters of a directory, which is made if need be. About `max_bytes` are kept, shared out as usual.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, max_bytes: u64) -> io::Result<Self> {
        Self::open_with(fs, dir, Room::within(max_bytes))
    }

    /// Opens the letters of a directory, which is made if need be, with room for so many.
    pub fn open_with(fs: Arc<dyn Fs>, dir: &Path, room: Room) -> io::Result<Self> {
        fs.create_dir(dir)?;
        // A killed process may have named its last file and not lived to make the name durable.
        fs.sync_dir(dir)?;
        Self::load(fs, dir, room)
    }

    /// Opens them for reading only, also while Gatepost runs.
    pub fn open_read_only(fs: Arc<dyn Fs>, dir: &Path) -> io::Result<Self> {
        let mut letters = Self::look(fs, dir, Room::within(u64::MAX), true)?;
        letters.miss();
        Ok(letters)
    }

    /// Says which outputs there are: they divide their part between them, with those that are gone and have letters.
    pub fn share_among(&mut self, outputs: impl IntoIterator<Item = String>) {
        self.outputs = outputs.into_iter().collect();
    }

    /// How many bytes an output may keep.
    pub fn share_of(&self, output: &str) -> u64 {
        let gone = self.shares.outputs().filter(|(name, _)| *name != output && !self.outputs.contains(*name)).count();
        let others = self.outputs.iter().filter(|name| *name != output).count();
        self.room.outputs / (others + gone + 1) as u64
    }

    /// How many bytes an output keeps.
    pub fn kept_of(&self, output: &str) -> u64 {
        self.shares.of(&Owner::Output(output.to_owned())).map_or(0, shares::Held::bytes)
    }

    /// Notes how many are kept, so that a later opening misses those that have gone meanwhile. Blocks on the disk.
    pub fn note(&mut self) -> io::Result<()> {
        if self.read_only {
            return Ok(());
        }
        if !self.note.written().dropping.is_empty() {
            self.drop_files();
            // As long as their names may come back, the note has them.
            self.fs.sync_dir(&self.dir)?;
        }
        let (displaced, dropping) = (self.displaced.clone(), self.dropping.clone());
        self.note.write(Kept { letters: self.totals().count, last_id: self.last_id(), displaced, dropping })
    }

    /// What opening them found wrong.
    pub fn damage(&self) -> &Damage {
        &self.damage
    }

    /// How much is kept.
    pub fn totals(&self) -> Totals {
        self.shares.totals()
    }

    /// How many are kept, by kind. What there was since this was opened and is no more stands there with 0.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// How many were ever given up for newer ones of the inputs, by input, as far as the note beside the directory is there.
    pub fn displaced(&self) -> &BTreeMap<String, u64> {
        &self.displaced
    }

    /// The highest number that was ever given; 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.next_id - 1
    }
}

/// How many letters of a directory were ever given up for newer ones, by input, as its note tells.
pub fn displaced(fs: &Arc<dyn Fs>, dir: &Path) -> BTreeMap<String, u64> {
    Note::read(fs, dir).written().displaced.clone()
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.ndjson"))
}
