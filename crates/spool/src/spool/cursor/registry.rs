//! Which outputs have ever had a position, and how old it is at least.
//!
//! A missing file alone cannot tell a new output from one whose position was lost, and the bytes of a position cannot
//! tell that a later one was put back from a backup. So both are noted beside the positions, in a file of its own:
//! its loss costs nothing while the positions are there, and theirs is noticed while it is there. It is replaced whole;
//! a line of text: the CRC-32 of a JSON object in hexadecimal, then the object.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{self, Fs, Readers};

/// Longer than the names and lives of all outputs that a configuration has room for.
const FILE_MAX: u64 = 64 << 20;

/// The outputs that have had a position.
#[derive(Debug)]
pub struct Registry {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    /// The life of each one's cursor; see [`super::Cursor::life`].
    lives: BTreeMap<String, u64>,
}

/// What was found of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// All of it.
    Whole,
    /// Nothing: it was lost, or a version wrote here that had none.
    Missing,
    /// Something that it did not write.
    Damaged,
}

impl Registry {
    /// Reads the registry in this directory; an empty one in place of one that is missing, damaged or cannot be read: then
    /// nobody knows which outputs it named, and it is written anew with the first note.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> (Self, Found) {
        let path = dir.join("outputs.registry");
        let (lives, found) = match fs::read(&*fs, &path, FILE_MAX) {
            Ok(bytes) => match decode(&bytes) {
                Some(lives) => (lives, Found::Whole),
                None => (BTreeMap::new(), Found::Damaged),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => (BTreeMap::new(), Found::Missing),
            Err(_) => (BTreeMap::new(), Found::Damaged),
        };
        (Self { fs, path, lives }, found)
    }

    /// How old the position of this output is at least; `None` when it never had one.
    pub fn life(&self, output: &str) -> Option<u64> {
        self.lives.get(output).copied()
    }

    /// The outputs that have had a position.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.lives.keys().map(String::as_str)
    }

    /// Notes that an output has a position of this life. Durable when it returns.
    pub fn note(&mut self, output: &str, life: u64) -> io::Result<()> {
        if self.life(output) == Some(life) {
            return Ok(());
        }
        let mut lives = self.lives.clone();
        lives.insert(output.to_owned(), life);
        self.save(&lives)?;
        self.lives = lives;
        Ok(())
    }

    fn save(&self, lives: &BTreeMap<String, u64>) -> io::Result<()> {
        fs::replace(&*self.fs, &self.path, &encode(lives), Readers::Owner)
    }
}

fn encode(lives: &BTreeMap<String, u64>) -> Vec<u8> {
    let json = serde_json::to_string(lives).expect("a map of numbers with text keys always serialises");
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<String, u64>> {
    let (crc, json) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
    (crc == format!("{:08x}", crc32fast::hash(json.as_bytes()))).then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;
    use crate::fs::trial::{self, Durable};

    /// The registry, as far as the life of one output tells what it holds.
    struct Lives;

    impl Durable for Lives {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            Registry::open(Arc::clone(fs), trial::folder()).0.note("siem", version.into())
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            match Registry::open(Arc::clone(fs), trial::folder()) {
                (_, Found::Damaged) => Err("damaged".to_owned()),
                (registry, _) => Ok(registry.life("siem").and_then(|life| u8::try_from(life).ok())),
            }
        }
    }

    #[test]
    fn the_registry_survives_a_failing_disk_and_a_power_cut() {
        trial::pass(&Lives);
    }

    fn open(dir: &Path) -> (Registry, Found) {
        Registry::open(Arc::new(RealFs), dir)
    }

    #[test]
    fn it_remembers_outputs_and_a_flipped_bit_anywhere_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut registry, found) = open(dir.path());
        assert_eq!((found, registry.life("siem")), (Found::Missing, None));
        registry.note("siem", 3).unwrap();
        registry.note("files", 1).unwrap();
        let (registry, found) = open(dir.path());
        assert_eq!((found, registry.life("siem"), registry.life("files")), (Found::Whole, Some(3), Some(1)));
        let path = dir.path().join("outputs.registry");
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(open(dir.path()).1, Found::Damaged, "byte {at}");
        }
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert_eq!(open(dir.path()).1, Found::Damaged, "{len} bytes");
        }
    }
}
