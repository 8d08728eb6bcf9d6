//! Why TLS cannot be set up, and which file is to blame.

use std::io;
use std::path::{Path, PathBuf};

use crate::faults::unread;

/// Why a listener's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} {}", path.display(), unread(source))]
    Unread {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Certificate, key and authorities do not fit together.
    #[error("TLS: {0}")]
    Mismatch(String),
}

impl TlsError {
    /// The file that it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unread { path, .. } | Self::File { path, .. } | Self::Content { path, .. } => Some(path),
            Self::Mismatch(_) => None,
        }
    }
}
