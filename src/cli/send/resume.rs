//! Remembers which files were sent whole, so that a run that was cut short can go on.
//!
//! A line of JSON for each file, written when the last of its events was acknowledged. A file is only skipped while
//! its size and its time of change are what they were.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// What tells a file from its later self.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    path: String,
    size: u64,
    modified_ns: u128,
}

impl Stamp {
    /// The stamp of a file as it is now.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = std::path::absolute(path)?.to_string_lossy().into_owned();
        Ok(Self { path, size: metadata.len(), modified_ns: modified.as_nanos() })
    }
}

/// The files that were sent whole.
#[derive(Debug)]
pub struct Finished {
    known: HashSet<Stamp>,
    file: File,
}

impl Finished {
    /// Opens the list, or begins it. A line that was cut short by a crash is left out: its file is sent again.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut known = HashSet::new();
        for line in BufReader::new(&file).lines() {
            known.extend(serde_json::from_str(&line?).ok());
        }
        // Ends a line that was cut short; an empty line does no harm.
        file.write_all(b"\n")?;
        Ok(Self { known, file })
    }

    /// Whether this very file was sent whole.
    pub fn contains(&self, stamp: &Stamp) -> bool {
        self.known.contains(stamp)
    }

    /// Adds a file.
    pub fn add(&mut self, stamp: Stamp) -> io::Result<()> {
        let line = serde_json::to_string(&stamp)? + "\n";
        self.file.write_all(line.as_bytes())?;
        self.known.insert(stamp);
        Ok(())
    }
}
