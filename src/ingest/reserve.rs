//! Disk space put by, for the books to go on when the disk is full.
//!
//! Segments are given back only behind the books, and these need a little space to move on: without a reserve, a disk
//! that the spool has filled would stay full for ever.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::Fs;

/// Enough for the keys of some hundred thousand events and for a ledger.
const BYTES: u64 = 4 << 20;

/// A file that takes space until it is needed.
#[derive(Debug)]
pub(super) struct Reserve {
    fs: Arc<dyn Fs>,
    path: PathBuf,
}

impl Reserve {
    /// The reserve of a state directory; takes nothing yet.
    pub(super) fn new(fs: Arc<dyn Fs>, state_dir: &Path) -> Self {
        Self { fs, path: state_dir.join("reserve") }
    }

    /// Takes the space if it is not taken and can be had.
    pub(super) fn keep(&self) {
        // Where it is there, this changes nothing. On a full disk it is tried again with the next checkpoint.
        drop(self.fs.create(&self.path, BYTES));
    }

    /// Gives the space back. False when there was none.
    pub(super) fn give_up(&self) -> bool {
        self.fs.remove(&self.path).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    #[test]
    fn it_takes_space_once_and_gives_it_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(Arc::new(RealFs), dir.path());
        assert!(!reserve.give_up());
        reserve.keep();
        reserve.keep();
        assert_eq!(std::fs::metadata(dir.path().join("reserve")).unwrap().len(), BYTES);
        assert!(reserve.give_up() && !reserve.give_up());
    }
}
