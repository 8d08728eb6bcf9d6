//! Opening the letters: what is in the directory, and what is not there any more.
//!
//! No file keeps the others from being read. Lines that are damaged are put aside, so that they are told once; what is
//! missing of the noted number is told, too. Files of the version before have letters of several owners: they are divided.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::kept::Note;
use super::shares::{Owner, Segment, Shares};
use super::{DeadLetters, FILE_MAX, Room, Waiting, lines};
use crate::fs::{self, DirEntry, Fs, Readers};

/// No letter takes less.
const LETTER_MIN: u64 = 64;

/// What opening the letters found wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// Letters that cannot be read, or are gone.
    pub letters: u64,
    /// Files, and what is wrong with each.
    pub files: Vec<String>,
}

impl DeadLetters {
    /// No letters, in place of a directory that cannot be used: none is kept until a new start can use it.
    pub fn unusable(fs: Arc<dyn Fs>, dir: &Path) -> Self {
        Self::without_files(fs, dir, Room::within(0), true)
    }

    fn without_files(fs: Arc<dyn Fs>, dir: &Path, room: Room, read_only: bool) -> Self {
        let note = Note::read(&fs, dir);
        let noted = note.written().clone();
        Self {
            fs,
            dir: dir.to_owned(),
            room,
            outputs: Default::default(),
            shares: Shares::default(),
            next_id: noted.last_id + 1,
            read_only,
            waiting: Waiting::new(),
            displaced: noted.displaced,
            dropping: noted.dropping,
            displacing: Default::default(),
            inputs_are_full: false,
            damage: Damage::default(),
            note,
        }
    }

    /// Opens them for writing: what a crash left to do is done, and files of several owners are divided.
    pub(super) fn load(fs: Arc<dyn Fs>, dir: &Path, room: Room) -> io::Result<Self> {
        let mut letters = Self::look(Arc::clone(&fs), dir, room, false)?;
        if letters.divide() {
            let damage = std::mem::take(&mut letters.damage);
            letters = Self::look(fs, dir, room, false)?;
            letters.damage.letters += damage.letters;
            letters.damage.files.splice(0..0, damage.files);
        }
        letters.miss();
        Ok(letters)
    }

    /// Opens them as they are.
    pub(super) fn look(fs: Arc<dyn Fs>, dir: &Path, room: Room, read_only: bool) -> io::Result<Self> {
        let mut entries = fs.list(dir)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut letters = Self::without_files(fs, dir, room, read_only);
        if !read_only {
            letters.drop_files();
        }
        for entry in entries {
            let Some(number) = entry.name.strip_suffix(".ndjson").and_then(|stem| stem.parse().ok()) else { continue };
            if letters.note.written().dropping.contains(&number) {
                continue;
            }
            match letters.load_file(&entry, number) {
                Err(error) if read_only => return Err(error),
                Err(error) => letters.pass_over(&entry, number, &error),
                Ok(()) => {}
            }
        }
        Ok(letters)
    }

    fn load_file(&mut self, entry: &DirEntry, number: u64) -> io::Result<()> {
        let path = self.dir.join(&entry.name);
        let mut bytes = fs::read(&*self.fs, &path, FILE_MAX)?;
        let sum = lines::summary(&bytes);
        if sum.damaged > 0 {
            self.damage.letters += sum.damaged;
            self.damage.files.push(format!("{}: {} letters cannot be read", entry.name, sum.damaged));
            if !self.read_only {
                bytes = self.put_aside(&path, bytes);
            }
        }
        let last = sum.last.max(number.saturating_sub(1));
        let segment = Segment { number, path, len: lines::whole_len(&bytes), count: sum.count, last };
        for (kind, count) in sum.kinds {
            *self.waiting.entry(kind).or_default() += count;
        }
        // A torn line must not be written after; one that is the first leaves a file without letters, whose name must not
        // be taken again.
        let roll = bytes.is_empty() || bytes.last() != Some(&b'\n');
        self.next_id = self.next_id.max(last + 1).max(number + u64::from(roll));
        self.shares.change(&sum.owner.unwrap_or(Owner::Several), |held| {
            held.files.push_back(segment);
            held.roll = roll;
        });
        Ok(())
    }

    /// Moves damaged lines to a file beside this one; what is left. They stay when that fails, and are told again.
    fn put_aside(&self, path: &Path, bytes: Vec<u8>) -> Vec<u8> {
        let (whole, damaged) = lines::sift(&bytes);
        let aside = path.with_extension("damaged");
        let before = fs::read(&*self.fs, &aside, FILE_MAX).unwrap_or_default();
        let moved = fs::replace(&*self.fs, &aside, &[before, damaged].concat(), Readers::Owner)
            .and_then(|()| fs::replace(&*self.fs, path, &whole, Readers::Owner));
        if moved.is_ok() { whole } else { bytes }
    }

    /// A file that the disk does not give is left alone; its numbers are not given again.
    fn pass_over(&mut self, entry: &DirEntry, number: u64, error: &io::Error) {
        self.damage.files.push(format!("{}: {error}", entry.name));
        self.next_id = self.next_id.max(number + entry.len / LETTER_MIN + 1);
    }

    /// Counts the letters of which the note tells and no file.
    pub(super) fn miss(&mut self) {
        let missing = self.note.written().letters.saturating_sub(self.totals().count + self.damage.letters);
        if missing > 0 {
            self.damage.letters += missing;
            self.damage.files.push(format!("{missing} letters are gone"));
        }
    }

    /// Divides the files that have letters of several owners; whether there were any. One that cannot be divided (a full
    /// disk) stays as it is until the next start.
    fn divide(&self) -> bool {
        let Some(held) = self.shares.of(&Owner::Several) else { return false };
        let files: Vec<&Segment> = held.files.iter().filter(|file| file.count > 0).collect();
        for file in &files {
            if let Err(error) = self.divide_file(file) {
                tracing::warn!(file = %file.path.display(), %error, "dead letters of an earlier version cannot be assigned to their owners yet");
            }
        }
        !files.is_empty()
    }

    /// Each owner's letters go to a file named after the first; the first owner's stay where they are. That one is written
    /// last: a crash before it leaves everything there, and the next start does the same again. What fails leaves no part
    /// behind: its owner would go on writing to it, and its letters would be there twice.
    fn divide_file(&self, file: &Segment) -> io::Result<()> {
        let bytes = fs::read(&*self.fs, &file.path, FILE_MAX)?;
        let mut parts = parts_of(&bytes[..file.len as usize])?.into_iter();
        let Some((_, first)) = parts.next() else { return Ok(()) };
        let mut written = Vec::new();
        let divided = parts
            .try_for_each(|(number, part)| self.write_part(&super::path_of(&self.dir, number), part, &mut written))
            .and_then(|()| fs::replace(&*self.fs, &file.path, &first, Readers::Owner));
        // After a rename that could not be made durable the parts have what the file lacks.
        if divided.is_err() && fs::read(&*self.fs, &file.path, FILE_MAX).is_ok_and(|there| there == bytes) {
            written.iter().for_each(|path| drop(self.fs.remove(path)));
            self.fs.sync_dir(&self.dir).ok();
        }
        divided
    }

    /// Writes a part, with the letters that a start before wrote behind it. One that has such stays whatever happens.
    fn write_part(&self, path: &Path, mut part: Vec<u8>, written: &mut Vec<PathBuf>) -> io::Result<()> {
        let there = match fs::read(&*self.fs, path, FILE_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            there => there?,
        };
        let ids: BTreeSet<u64> = lines::lines(&part).filter_map(lines::head).map(|head| head.id).collect();
        let (newer, _) = lines::without(&there, |head| ids.contains(&head.id));
        if newer.is_empty() {
            written.push(path.to_owned());
        }
        part.extend_from_slice(&newer);
        fs::replace(&*self.fs, path, &part, Readers::Owner)
    }
}

/// The lines of each owner with the id of the first, that of the first of all first.
fn parts_of(bytes: &[u8]) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut parts: BTreeMap<Owner, (u64, Vec<u8>)> = BTreeMap::new();
    for line in lines::lines(bytes) {
        let Some(head) = lines::head(line) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has lines that cannot be read"));
        };
        let part = parts.entry(head.owner()).or_insert((head.id, Vec::new()));
        part.1.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            part.1.push(b'\n');
        }
    }
    let mut parts: Vec<(u64, Vec<u8>)> = parts.into_values().collect();
    parts.sort_unstable_by_key(|(first, _)| *first);
    Ok(parts)
}
