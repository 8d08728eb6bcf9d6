//! Writing letters: each into a file of its owner, with room made before.
//!
//! An output's letters are events that were acknowledged: where its share is full they are not taken, and their events wait.
//! What an input could not understand was named to its sender when it came; where its sender's share is full, older ones go.

use std::collections::BTreeMap;
use std::io;

use super::kept::Kept;
use super::shares::{FILE_CHARGE, Held, Owner, Segment};
use super::{DeadLetters, Letter, NOT_UNDERSTOOD, lines};
use crate::fs::{Access, is_full};
use crate::metrics;

/// So many removed files are named in the note before their removal is made durable.
const DROPPING_MAX: usize = 64;

/// Why letters were not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// An output's share is full.
    #[error(
        "the dead letters of output {output} fill its share of {share} bytes; replay or purge some, or raise dead_letters.max_size"
    )]
    ShareFull {
        /// Which output.
        output: String,
        /// How much it may keep.
        share: u64,
    },
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The disk refused.
    #[error("the dead letters cannot be written: {0}")]
    Io(#[source] io::Error),
    /// Opened for reading only.
    #[error("the dead letters are open for reading only")]
    ReadOnly,
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full } else { Self::Io(error) }
    }
}

/// Letters of one owner on their way to the disk.
#[derive(Default)]
struct Pile {
    bytes: Vec<u8>,
    /// Where each line ends, and its id.
    ends: Vec<(usize, u64)>,
    kinds: BTreeMap<(String, String), u64>,
    /// Letters that do not fit into their sender's share together with those that came behind them.
    left_out: u64,
}

impl Pile {
    fn push(&mut self, letter: &Letter) {
        lines::push(&mut self.bytes, letter);
        self.ends.push((self.bytes.len(), letter.id));
        *self.kinds.entry(kind(letter)).or_default() += 1;
    }

    /// Leaves out the oldest lines as far as they do not fit into so many bytes. The last one always stays.
    fn shorten(&mut self, max: u64) {
        let len = self.bytes.len();
        let fits = |(end, _): &(usize, u64)| (len - end) as u64 <= max;
        let last = self.ends.len().saturating_sub(1);
        let gone = if len as u64 <= max { 0 } else { self.ends.partition_point(|end| !fits(end)) + 1 }.min(last);
        if gone > 0 {
            let cut = self.ends[gone - 1].0;
            self.bytes.drain(..cut);
            self.ends.drain(..gone);
            self.ends.iter_mut().for_each(|(end, _)| *end -= cut);
            self.left_out = gone as u64;
            // A sender's letters are of one kind.
            self.kinds.values_mut().for_each(|count| *count -= gone as u64);
        }
    }
}

impl DeadLetters {
    /// Keeps letters; durable when it returns their ids, one sync for each file. On an error none is kept for sure. Of more
    /// letters than the share of their sender holds, the last ones are kept; what goes for them is counted.
    pub fn put(&mut self, letters: Vec<Letter>) -> Result<Vec<u64>, PutError> {
        if self.read_only {
            return Err(PutError::ReadOnly);
        }
        let (ids, mut piles) = self.pile_up(letters);
        for (owner, pile) in &piles {
            self.check_share(owner, pile.bytes.len() as u64)?;
        }
        for (owner, pile) in &mut piles {
            self.make_room(owner, pile)?;
        }
        // Numbers of a write that failed are not used again: it may have reached the disk.
        self.next_id += ids.len() as u64;
        let mut before = Vec::new();
        for (owner, pile) in &piles {
            before.push((owner, self.shares.of(owner).cloned().unwrap_or_default()));
            if let Err(error) = self.write(owner, pile) {
                before.into_iter().for_each(|(owner, held)| self.take_back(owner, held));
                return Err(error.into());
            }
        }
        self.count_left_out(&piles);
        for (kind, count) in piles.into_values().flat_map(|pile| pile.kinds) {
            *self.waiting.entry(kind).or_default() += count;
        }
        Ok(ids)
    }

    fn pile_up(&self, letters: Vec<Letter>) -> (Vec<u64>, BTreeMap<Owner, Pile>) {
        let ids: Vec<u64> = (self.next_id..).take(letters.len()).collect();
        let mut piles: BTreeMap<Owner, Pile> = BTreeMap::new();
        for (mut letter, id) in letters.into_iter().zip(&ids) {
            letter.id = *id;
            if letter.last_seen_ms == letter.first_seen_ms {
                letter.last_seen_ms = 0;
            }
            letter.shorten(self.room.raw_max());
            piles.entry(owner(&letter)).or_default().push(&letter);
        }
        (ids, piles)
    }

    /// An empty share takes any letter, or one that is larger would never be kept.
    fn check_share(&self, owner: &Owner, bytes: u64) -> Result<(), PutError> {
        let Owner::Output(output) = owner else { return Ok(()) };
        let (share, held) = (self.share_of(output), self.shares.of(owner).map_or(0, Held::bytes));
        if held > 0 && held + bytes > share {
            return Err(PutError::ShareFull { output: output.clone(), share });
        }
        Ok(())
    }

    /// Gives up what is in the way of a sender's letters: their number is durable before they go. Only where the disk has no
    /// room for the note do they go first, and make it; after a crash in between they are missed.
    fn make_room(&mut self, owner: &Owner, pile: &mut Pile) -> Result<(), PutError> {
        if !owner.is_sender() {
            return Ok(());
        }
        pile.shorten(self.room.client.saturating_sub(FILE_CHARGE));
        let files = self.shares.in_the_way(owner, pile.bytes.len() as u64, &self.room);
        if files.is_empty() {
            return Ok(());
        }
        match self.note_displaced(&files) {
            Err(error) if is_full(&error) => {
                self.give_up(owner, files);
                // It is noted again with the next checkpoint.
                self.note().ok();
            }
            noted => {
                noted?;
                self.give_up(owner, files);
            }
        }
        Ok(())
    }

    /// Notes what was given up, and what is about to be.
    fn note_displaced(&mut self, files: &[(Owner, Segment)]) -> io::Result<()> {
        let mut displaced = self.displaced.clone();
        for (owner, file) in files {
            *displaced.entry(owner.source().unwrap_or_default().to_owned()).or_default() += file.count;
        }
        let mut dropping = self.still_named()?;
        dropping.extend(files.iter().map(|(_, file)| file.number));
        let fewer: u64 = files.iter().map(|(_, file)| file.count).sum();
        let letters = self.note.written().letters.min(self.totals().count - fewer);
        self.note.write(Kept { letters, last_id: self.last_id(), displaced, dropping })
    }

    /// Letters that no file ever had are given up when those behind them are kept: of a write that fails the sender comes
    /// again, and they with it.
    fn count_left_out(&mut self, piles: &BTreeMap<Owner, Pile>) {
        let mut any = false;
        for (owner, pile) in piles.iter().filter(|(_, pile)| pile.left_out > 0) {
            any = true;
            self.count_displaced(owner, pile.left_out);
            self.tell_of_sender(owner);
        }
        if any {
            // It is noted again with the next checkpoint.
            self.note_displaced(&[]).ok();
        }
    }

    /// The numbers that the note must go on to name: files whose removal a crash may undo.
    fn still_named(&mut self) -> io::Result<Vec<u64>> {
        if self.note.written().dropping.len() < DROPPING_MAX {
            return Ok(self.note.written().dropping.clone());
        }
        self.fs.sync_dir(&self.dir)?;
        Ok(self.dropping.clone())
    }

    /// They go, and are counted.
    fn give_up(&mut self, newer: &Owner, files: Vec<(Owner, Segment)>) {
        for (owner, file) in &files {
            self.shares.change(owner, |held| held.files.retain(|other| other.number != file.number));
            self.count_displaced(owner, file.count);
            let kind = (owner.source().unwrap_or_default().to_owned(), NOT_UNDERSTOOD.to_owned());
            let waiting = self.waiting.entry(kind).or_default();
            *waiting = waiting.saturating_sub(file.count);
            self.dropping.push(file.number);
        }
        self.drop_files();
        if files.iter().any(|(owner, _)| owner == newer) {
            self.tell_of_sender(newer);
        }
        if let Some((other, _)) = files.iter().find(|(owner, _)| owner != newer) {
            self.tell_of_inputs(other);
        }
    }

    fn count_displaced(&mut self, owner: &Owner, letters: u64) {
        let input = owner.source().unwrap_or_default();
        metrics::DEAD_LETTERS_DISPLACED.add(&[input, NOT_UNDERSTOOD], letters);
        *self.displaced.entry(input.to_owned()).or_default() += letters;
    }

    /// Said once, until the sender has less than half of its share.
    fn tell_of_sender(&mut self, owner: &Owner) {
        if self.displacing.contains(owner) {
            return;
        }
        self.displacing.retain(|other| self.shares.of(other).is_some());
        self.displacing.insert(owner.clone());
        tracing::warn!(
            input = owner.source(),
            client = owner.client(),
            "the dead-letter share of a sender is full; its oldest are discarded"
        );
    }

    /// Said once, until the inputs have less than half of their share.
    fn tell_of_inputs(&mut self, largest: &Owner) {
        if !std::mem::replace(&mut self.inputs_are_full, true) {
            tracing::warn!(
                input = largest.source(),
                client = largest.client(),
                "the dead-letter share of all inputs is full; the oldest of the sender with the most are discarded"
            );
        }
    }

    /// Removes files that were given up. What cannot be removed is tried again with the next note.
    pub(super) fn drop_files(&mut self) {
        let (fs, dir) = (&self.fs, &self.dir);
        self.dropping.retain(|number| {
            let removed = fs.remove(&super::path_of(dir, *number));
            removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
    }

    /// Writes a pile behind the letters of its owner, file by file.
    fn write(&mut self, owner: &Owner, pile: &Pile) -> io::Result<()> {
        let roll_at = self.room.roll_at(owner);
        let mut at = 0;
        while at < pile.ends.len() {
            let start = if at == 0 { 0 } else { pile.ends[at - 1].0 };
            let first = pile.ends[at].1;
            let segment = self.file_for(owner, first, roll_at)?;
            let room = usize::try_from(roll_at - segment.len).unwrap_or(usize::MAX);
            let count = pile.ends[at..].partition_point(|(end, _)| end - start <= room).max(1);
            let (end, last) = pile.ends[at + count - 1];
            let bytes = &pile.bytes[start..end];
            let file = self.fs.open(&segment.path, Access::ReadWrite)?;
            file.write_all_at(bytes, segment.len)?;
            file.sync_data()?;
            self.shares.change(owner, |held| {
                if let Some(file) = held.files.back_mut() {
                    file.len += bytes.len() as u64;
                    file.count += count as u64;
                    file.last = last;
                }
            });
            at += count;
        }
        if self.shares.charged_to(owner) < self.room.client / 2 && !self.displacing.is_empty() {
            self.displacing.remove(owner);
        }
        self.inputs_are_full &= self.shares.charged() >= self.room.inputs / 2;
        Ok(())
    }

    /// The last file of this owner, or a new one named after this letter.
    fn file_for(&mut self, owner: &Owner, first: u64, roll_at: u64) -> io::Result<Segment> {
        let held = self.shares.of(owner);
        if let Some(file) = held.filter(|held| !held.roll).and_then(|held| held.files.back())
            && file.len < roll_at
        {
            return Ok(file.clone());
        }
        let path = super::path_of(&self.dir, first);
        self.fs.create(&path, 0)?;
        self.fs.sync_dir(&self.dir)?;
        let segment = Segment { number: first, path, len: 0, count: 0, last: first - 1 };
        self.shares.change(owner, |held| {
            held.roll = false;
            held.files.push_back(segment.clone());
        });
        Ok(segment)
    }

    /// After a failed write an owner has what it had before. What was not acknowledged must not be listed; if this fails
    /// too, a listing shows more than was promised.
    fn take_back(&mut self, owner: &Owner, mut before: Held) {
        let files = self.shares.of(owner).map(|held| held.files.clone()).unwrap_or_default();
        for file in files {
            match before.files.iter().find(|former| former.number == file.number) {
                Some(former) => {
                    drop(self.fs.open(&file.path, Access::ReadWrite).and_then(|file| file.set_len(former.len)));
                }
                None => drop(self.fs.remove(&file.path)),
            }
        }
        before.roll = true;
        self.shares.change(owner, |held| *held = before);
    }
}

fn kind(letter: &Letter) -> (String, String) {
    (letter.source.name().to_owned(), letter.short_reason().to_owned())
}

fn owner(letter: &Letter) -> Owner {
    match &letter.source {
        super::Source::Input { name } => Owner::sender(name, &letter.detail),
        super::Source::Output { name } => Owner::Output(name.clone()),
    }
}
