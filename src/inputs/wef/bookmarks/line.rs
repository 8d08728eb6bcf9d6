//! One line of the journal: JSON with a checksum. The first line tells which journal it is, every other a bookmark.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Owner;
use crate::fs::sealed::{self, Seal};

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// The journal itself.
    Head {
        /// A random name, which the witness outside of the folder knows.
        journal: String,
        /// When bookmarks were last found lost, in Unix seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_s: Option<u64>,
        /// To which filling of what gateways share every bookmark was told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<u64>,
    },
    /// A bookmark.
    Bookmark {
        client: Arc<str>,
        machine: Arc<str>,
        subscription: Arc<str>,
        /// When it was kept, in Unix seconds.
        at: u64,
        bookmark: Arc<str>,
    },
}

impl Line {
    pub(super) fn bookmark(owner: &Owner, at: u64, bookmark: &Arc<str>) -> Self {
        let Owner { client, machine, subscription } = owner.clone();
        Self::Bookmark { client, machine, subscription, at, bookmark: Arc::clone(bookmark) }
    }

    /// Appends it, with its end.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        serde_json::to_writer(&mut *out, self).expect("texts and numbers always serialise");
        sealed::seal(out, start);
        out.push(b'\n');
    }

    /// Reads one; `None` when it is damaged.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        (sealed::check(line) == Seal::Whole).then(|| serde_json::from_slice(line).ok()).flatten()
    }
}

/// What a journal holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) lines: Vec<Line>,
    /// Lines that cannot be read.
    pub(super) damaged: u64,
    /// Where the last line that ends does so. What follows was never answered for: it is written before it is synced.
    pub(super) end: usize,
}

/// Reads a whole journal.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") {
            break;
        }
        scan.end += line.len();
        match Line::read(line) {
            Some(line) => scan.lines.push(line),
            None => scan.damaged += 1,
        }
    }
    scan
}
