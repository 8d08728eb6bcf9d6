//! Opening the letters: what is in the directory, and what is not there any more.
//!
//! No file keeps the others from being read. Lines that are damaged are put aside, so that they are told once; what is
//! missing of the noted number is told, too.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::super::fs::{DirEntry, Fs};
use super::kept::Note;
use super::{DeadLetters, Segment, Waiting, kind, lines, read_file, replace};

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
        Self::without_files(fs, dir, 0, true)
    }

    fn without_files(fs: Arc<dyn Fs>, dir: &Path, max_bytes: u64, read_only: bool) -> Self {
        let note = Note::read(&fs, dir);
        Self {
            fs,
            dir: dir.to_owned(),
            max_bytes,
            segments: Vec::new(),
            next_id: note.written().last_id + 1,
            read_only,
            waiting: Waiting::new(),
            roll: false,
            damage: Damage::default(),
            note,
        }
    }

    pub(super) fn load(fs: Arc<dyn Fs>, dir: &Path, max_bytes: u64, read_only: bool) -> io::Result<Self> {
        let mut entries = fs.list(dir)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut letters = Self::without_files(fs, dir, max_bytes, read_only);
        for entry in entries {
            let Some(number) = entry.name.strip_suffix(".ndjson").and_then(|stem| stem.parse().ok()) else { continue };
            match letters.load_file(&entry, number) {
                Err(error) if read_only => return Err(error),
                Err(error) => letters.pass_over(&entry, number, &error),
                Ok(()) => {}
            }
        }
        letters.miss();
        Ok(letters)
    }

    fn load_file(&mut self, entry: &DirEntry, number: u64) -> io::Result<()> {
        let path = self.dir.join(&entry.name);
        let mut bytes = read_file(&*self.fs, &path)?;
        let damaged = lines::damaged(&bytes);
        if damaged > 0 {
            self.damage.letters += damaged;
            self.damage.files.push(format!("{}: {damaged} letters cannot be read", entry.name));
            if !self.read_only {
                bytes = self.put_aside(&path, bytes);
            }
        }
        let mut segment = Segment { path, len: lines::whole_len(&bytes), count: 0, last: number.saturating_sub(1) };
        for letter in lines::letters(&bytes) {
            segment.count += 1;
            *self.waiting.entry(kind(&letter)).or_default() += 1;
            segment.last = segment.last.max(letter.id);
        }
        self.roll = !bytes.is_empty() && bytes.last() != Some(&b'\n');
        // A torn first line leaves a file without letters, whose name must not be taken again.
        self.next_id = self.next_id.max(segment.last + 1).max(number + u64::from(self.roll));
        self.segments.push(segment);
        Ok(())
    }

    /// Moves damaged lines to a file beside this one; what is left. They stay when that fails, and are told again.
    fn put_aside(&self, path: &Path, bytes: Vec<u8>) -> Vec<u8> {
        let (whole, damaged) = lines::sift(&bytes);
        let aside = path.with_extension("damaged");
        let before = read_file(&*self.fs, &aside).unwrap_or_default();
        let moved =
            replace(&*self.fs, &aside, &[before, damaged].concat()).and_then(|()| replace(&*self.fs, path, &whole));
        if moved.is_ok() { whole } else { bytes }
    }

    /// A file that the disk does not give is left alone; its numbers are not given again.
    fn pass_over(&mut self, entry: &DirEntry, number: u64, error: &io::Error) {
        self.damage.files.push(format!("{}: {error}", entry.name));
        self.next_id = self.next_id.max(number + entry.len / LETTER_MIN + 1);
        self.roll = true;
    }

    /// Counts the letters of which the note tells and no file.
    fn miss(&mut self) {
        let missing = self.note.written().letters.saturating_sub(self.totals().count + self.damage.letters);
        if missing > 0 {
            self.damage.letters += missing;
            self.damage.files.push(format!("{missing} letters are gone"));
        }
    }
}
