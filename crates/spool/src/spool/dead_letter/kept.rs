//! How many letters are kept at least, and how many were given up for newer ones, noted beside their directory.
//!
//! A line that is gone leaves no trace in the files themselves. The note is written now and then and not with every letter;
//! it is lowered before letters are removed, so it never promises more than there is. What is given up is noted, with the
//! files that hold it, before these go: a crash in between neither loses that count nor counts twice.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::FILE_MAX;
use crate::fs::sealed::{self, Seal};
use crate::fs::{self, Fs, Readers};

/// What is noted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// So many letters, or more.
    pub(super) letters: u64,
    /// This number has been given, and all below it.
    pub(super) last_id: u64,
    /// Letters that were given up for newer ones, by input.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) displaced: BTreeMap<String, u64>,
    /// The numbers of files whose letters are counted there, and which may be on the disk still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) dropping: Vec<u64>,
}

/// The note of one directory.
#[derive(Debug)]
pub(super) struct Note {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// As it stands on the disk.
    written: Kept,
}

impl Note {
    /// Reads the note of a directory. One that is missing or damaged promises nothing.
    pub(super) fn read(fs: &Arc<dyn Fs>, dir: &Path) -> Self {
        let path = dir.with_extension("kept");
        let bytes = fs::read(&**fs, &path, FILE_MAX).unwrap_or_default();
        let whole = sealed::check(&bytes) == Seal::Whole;
        let written = whole.then(|| serde_json::from_slice(&bytes).ok()).flatten().unwrap_or_default();
        Self { fs: Arc::clone(fs), path, written }
    }

    pub(super) fn written(&self) -> &Kept {
        &self.written
    }

    /// Makes another note durable, if it is another one.
    pub(super) fn write(&mut self, kept: Kept) -> io::Result<()> {
        if kept == self.written {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(&kept)?;
        sealed::seal(&mut bytes, 0);
        bytes.push(b'\n');
        fs::replace(&*self.fs, &self.path, &bytes, Readers::Owner)?;
        self.written = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::trial::{self, Durable};

    /// The note of a folder, as far as the number of letters tells what it holds.
    struct Letters;

    impl Durable for Letters {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            let mut note = Note::read(fs, &trial::path("letters"));
            note.write(Kept { letters: version.into(), ..Kept::default() })
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            // One that is damaged promises nothing, as one that is not there.
            let letters = Note::read(fs, &trial::path("letters")).written().letters;
            Ok(u8::try_from(letters).ok().filter(|letters| *letters > 0))
        }
    }

    #[test]
    fn the_note_survives_a_failing_disk_and_a_power_cut() {
        trial::pass(&Letters);
    }
}
