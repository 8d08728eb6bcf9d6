//! Removing letters for a person: a few files at a time, so that whoever sets events aside meanwhile waits for no more.
//!
//! A file of which nothing is left goes, and one that loses its last lines is cut: neither needs room, so that a full disk can
//! be freed. Any other is written anew beside the old one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::kept::Kept;
use super::lines;
use super::shares::{Owner, Segment};
use super::{Chosen, DeadLetters, FILE_MAX, Filter};
use crate::fs::{self, Access, Readers, is_full};

/// Files that are done at a time, for one note.
const FILES: usize = 16;

/// No further file is begun after so long.
const LONG: Duration = Duration::from_millis(50);

/// Letters that are to go.
#[derive(Debug)]
pub struct Removal {
    chosen: Chosen,
    /// What is left to do.
    files: VecDeque<(Owner, u64)>,
    removed: u64,
}

impl Removal {
    /// How many letters have gone.
    pub fn removed(&self) -> u64 {
        self.removed
    }
}

impl DeadLetters {
    /// Removes letters; how many there were.
    pub fn remove(&mut self, ids: &[u64]) -> io::Result<u64> {
        self.remove_chosen(Chosen::Ids(ids.iter().copied().collect()))
    }

    /// Removes all letters that match; how many there were. Each file is read once, however many letters it has.
    pub fn purge(&mut self, filter: &Filter) -> io::Result<u64> {
        self.remove_chosen(Chosen::Matching(filter.clone()))
    }

    /// Takes back letters of an input whose upload is refused after all. What had gone of them for want of room was given up by
    /// nobody: its sender still has it.
    pub fn withdraw(&mut self, input: &str, ids: &[u64]) -> io::Result<()> {
        let gone = ids.len() as u64 - self.remove(ids)?;
        if let Some(displaced) = self.displaced.get_mut(input) {
            *displaced = displaced.saturating_sub(gone);
        }
        Ok(())
    }

    fn remove_chosen(&mut self, chosen: Chosen) -> io::Result<u64> {
        let mut removal = self.removal(chosen)?;
        while !self.remove_some(&mut removal)? {}
        Ok(removal.removed)
    }

    /// What removing these letters takes; to be done with [`DeadLetters::remove_some`].
    pub fn removal(&self, chosen: Chosen) -> io::Result<Removal> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let files = self.shares.files().into_iter().filter(|(owner, file)| chosen.may_be_in(owner, file));
        let files = files.map(|(owner, file)| (owner.clone(), file.number)).collect();
        Ok(Removal { chosen, files, removed: 0 })
    }

    /// Removes letters of a few files; whether those were the last.
    pub fn remove_some(&mut self, removal: &mut Removal) -> io::Result<bool> {
        let began = Instant::now();
        let next: u64 = removal.files.iter().take(FILES).filter_map(|of| self.file_of(of)).map(|file| file.count).sum();
        self.promise_fewer(next.min(removal.chosen.at_most()))?;
        for _ in 0..FILES {
            let Some(of) = removal.files.pop_front() else { break };
            if let Some(file) = self.file_of(&of).cloned() {
                removal.removed += self.remove_in(&of.0, &file, &removal.chosen)?;
            }
            if began.elapsed() > LONG {
                break;
            }
        }
        if removal.files.is_empty() {
            self.drop_empty()?;
        }
        self.fs.sync_dir(&self.dir)?;
        Ok(removal.files.is_empty())
    }

    fn file_of(&self, (owner, number): &(Owner, u64)) -> Option<&Segment> {
        self.shares.of(owner)?.files.iter().find(|file| file.number == *number)
    }

    /// Without room for a note they go all the same, or a full disk could not be freed: after a crash before the next note
    /// they would be missed.
    fn promise_fewer(&mut self, fewer: u64) -> io::Result<()> {
        if fewer == 0 {
            return Ok(());
        }
        let written = self.note.written();
        let letters = written.letters.min(self.totals().count.saturating_sub(fewer));
        match self.note.write(Kept { letters, last_id: self.last_id(), ..written.clone() }) {
            Err(error) if is_full(&error) => Ok(()),
            noted => noted,
        }
    }

    /// How many letters of a file went.
    fn remove_in(&mut self, owner: &Owner, file: &Segment, chosen: &Chosen) -> io::Result<u64> {
        let bytes = fs::read(&*self.fs, &file.path, FILE_MAX)?;
        let (kept, gone) = lines::without(&bytes, |head| chosen.has(head));
        if gone.is_empty() {
            return Ok(0);
        }
        let goes = kept.is_empty() && file.number != self.shares.last_number();
        if let Err(error) = if goes { self.fs.remove(&file.path) } else { self.shrink(file, &bytes, &kept) } {
            // Nobody knows how long it is now.
            self.shares.change(owner, |held| held.roll = true);
            return Err(error);
        }
        let count: u64 = gone.values().sum();
        self.shares.change(owner, |held| {
            if goes {
                held.files.retain(|other| other.number != file.number);
            } else if let Some(file) = held.files.iter_mut().find(|other| other.number == file.number) {
                file.len = kept.len() as u64;
                file.count -= count.min(file.count);
            }
        });
        self.wait_no_more(gone);
        Ok(count)
    }

    /// Leaves of a file what is kept.
    fn shrink(&self, file: &Segment, bytes: &[u8], kept: &[u8]) -> io::Result<()> {
        if !bytes.starts_with(kept) {
            return fs::replace(&*self.fs, &file.path, kept, Readers::Owner);
        }
        let file = self.fs.open(&file.path, Access::ReadWrite)?;
        file.set_len(kept.len() as u64)?;
        file.sync_data()
    }

    fn wait_no_more(&mut self, gone: BTreeMap<(String, String), u64>) {
        for (kind, count) in gone {
            let waiting = self.waiting.entry(kind).or_default();
            *waiting -= count.min(*waiting);
        }
    }

    /// Removes files without letters, but not the last one: its name keeps the numbering going.
    fn drop_empty(&mut self) -> io::Result<()> {
        let last = self.shares.last_number();
        let empty = self.shares.files().into_iter().filter(|(_, file)| file.len == 0);
        let empty: Vec<(Owner, Segment)> = empty.map(|(owner, file)| (owner.clone(), file.clone())).collect();
        for (owner, file) in empty {
            if file.number == last {
                // Its name is no letter's any more.
                self.shares.change(&owner, |held| held.roll = true);
                continue;
            }
            self.fs.remove(&file.path)?;
            self.shares.change(&owner, |held| held.files.retain(|other| other.number != file.number));
        }
        Ok(())
    }
}
