//! The sidecar of a directory: which batch was begun where, so that none is written twice.
//!
//! Before a batch is written, its id, place, length and checksum are made durable here. Whether it was then written
//! whole is not noted: the file itself tells, because the bytes at that place match the checksum or do not. So a crash
//! at any moment leaves one of two clear states, and no second note has to be flushed.
//!
//! `.position` has two slots of fixed size, written in turn: a torn write spoils one, and the other still holds the
//! batch before. Overwriting in place needs no space on a full disk. A slot is a line of text: the CRC-32 of a JSON
//! object in hexadecimal, then the object.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::writer::WriteError;

const SLOT_BYTES: usize = 512;

/// A batch that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Grows by 1 with each batch.
    pub(super) turn: u64,
    /// The batch's id.
    pub(super) id: String,
    /// The number of the file it was written to.
    pub(super) file: u64,
    /// Where in the file, in bytes.
    pub(super) start: u64,
    /// Its length in bytes.
    pub(super) length: u64,
    /// CRC-32 of its bytes.
    pub(super) crc: u32,
}

/// The open, locked sidecar of a directory.
#[derive(Debug)]
pub(super) struct Sidecar {
    file: File,
}

impl Sidecar {
    /// Opens and locks it; a new one is made durable. Gives the last batch that was begun, if there was any.
    pub(super) fn open(directory: &Path) -> Result<(Self, Option<Position>), WriteError> {
        let path = directory.join(".position");
        let io = |doing| WriteError::io(doing, &path);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WriteError::Locked { directory: directory.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io("lock")(error)),
        }
        let mut sidecar = Self { file };
        let mut text = Vec::new();
        sidecar.file.read_to_end(&mut text).map_err(io("read"))?;
        if text.len() < 2 * SLOT_BYTES {
            sidecar.put(0, &[b' '; 2 * SLOT_BYTES]).map_err(io("write"))?;
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(io("flush"))?;
        }
        let last = text.chunks(SLOT_BYTES).filter_map(read_slot).max_by_key(|position| position.turn);
        Ok((sidecar, last))
    }

    /// Makes a position durable.
    pub(super) fn write(&mut self, position: &Position) -> io::Result<()> {
        let json = serde_json::to_string(position)?;
        let line = format!("{:08x} {json}", crc32fast::hash(json.as_bytes()));
        let slot = format!("{line:width$}\n", width = SLOT_BYTES - 1);
        if slot.len() != SLOT_BYTES {
            return Err(io::Error::other("the batch id is too long"));
        }
        self.put((position.turn % 2) * SLOT_BYTES as u64, slot.as_bytes())
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }
}

fn read_slot(slot: &[u8]) -> Option<Position> {
    let (crc, json) = std::str::from_utf8(slot).ok()?.trim_end().split_once(' ')?;
    (u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(json.as_bytes()))
        .then(|| serde_json::from_str(json).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(turn: u64) -> Position {
        Position { turn, id: format!("id-{turn}"), file: 1, start: 10 * turn, length: 10, crc: 7 }
    }

    #[test]
    fn the_last_position_survives_and_a_torn_one_gives_way_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sidecar, last) = Sidecar::open(dir.path()).unwrap();
        assert_eq!(last, None);
        assert!(matches!(Sidecar::open(dir.path()), Err(WriteError::Locked { .. })));
        sidecar.write(&position(1)).unwrap();
        sidecar.write(&position(2)).unwrap();
        drop(sidecar);
        let path = dir.path().join(".position");
        let whole = std::fs::read(&path).unwrap();
        let (sidecar, last) = Sidecar::open(dir.path()).unwrap();
        assert_eq!(last, Some(position(2)));
        drop(sidecar);
        // Turn 2 stands in the first slot.
        for at in 0..80 {
            let mut torn = whole.clone();
            torn[at] ^= 1;
            std::fs::write(&path, torn).unwrap();
            assert_eq!(Sidecar::open(dir.path()).unwrap().1, Some(position(1)), "byte {at}");
        }
    }
}
