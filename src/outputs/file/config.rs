//! The configuration of a file output.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::outputs::config::Problems;
use crate::values::{ByteSize, PlaceToKeep, Span};

/// Files of NDJSON, `events-00000001.ndjson` and so on, in a directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The output's name, in metrics and logs. Letters, digits, `-` and `_`. Required. A new name starts a new read
    /// position: it gets the events that are spooled from then on.
    pub name: String,
    /// Where the files are. Created when missing. One output each. Default: `out` in `state_dir`.
    #[schemars(with = "Option<PlaceToKeep>")]
    pub directory: Option<PathBuf>,
    /// A file that has reached this size is closed and the next one begun. Default 256 MiB: small enough to move around.
    pub rotate_at: ByteSize,
    /// How many files to keep, the current one included; the oldest are deleted, and the events in them are gone.
    /// Default 0: all are kept, and somebody else must make room.
    pub keep_files: usize,
    /// Most bytes written at once. Default 4 MiB: two flushes to disk serve so many events.
    pub max_batch: ByteSize,
    /// Most events written at once. Default 20000.
    pub max_batch_events: usize,
    /// Longest wait for the disk. Default 30 s. A write that takes longer goes on; the batch is asked for again.
    pub timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: String::new(),
            directory: None,
            rotate_at: ByteSize::mib(256),
            keep_files: 0,
            max_batch: ByteSize::mib(4),
            max_batch_events: 20_000,
            timeout: Span::secs(30),
        }
    }
}

impl Config {
    /// Where the files are, for a gateway that keeps its state there.
    pub(in crate::outputs) fn directory(&self, state_dir: &Path) -> PathBuf {
        self.directory.clone().unwrap_or_else(|| state_dir.join("out"))
    }

    pub(in crate::outputs) fn find_problems(&self, problems: &mut Problems) {
        let is_named = self.directory.as_ref().is_none_or(|directory| !directory.as_os_str().is_empty());
        problems.check("directory", is_named, || "must be a directory, such as \"/srv/events\"".to_owned());
        problems.check("rotate_at", self.rotate_at.as_u64() > 0, || "must be above 0".to_owned());
        problems.check_batch(self.max_batch.as_usize(), self.max_batch_events);
    }
}
