//! What several gateways have together beside their memory of events: small named documents, and many small values ([`entries`]).
//! The traits, and what keeps a document from the eyes of whoever runs the engine ([`sealed`]).
//!
//! Each gateway keeps what it shares on its own disk, as it would alone, and goes on with that while nobody can be asked. The
//! document is where they agree: it is changed by comparing its revision, so that of two changes at the same time one is refused,
//! and whoever finds a later revision there than its own takes it over. Revisions compare as text: a later one is greater.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

#[cfg(any(test, feature = "faulty"))]
pub mod conformance;
pub mod entries;
#[cfg(any(test, feature = "faulty"))]
pub mod in_memory;
pub mod sealed;

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which version it is.
    pub revision: String,
    /// What stands in it.
    pub content: Vec<u8>,
}

/// Nobody can be asked now. What was to be set may have been set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what gateways share cannot be reached: {0}")]
pub struct Away(pub String);

/// The revisions of documents by their names; none while nobody can be asked.
pub type Revisions = Option<BTreeMap<String, String>>;

/// Where documents are.
pub trait Store: Send + Sync + 'static {
    /// What a document holds; `None` where there is none.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>, Away>>;

    /// Puts this document in the place of the one with this revision (none: of none). `false` where another one stands there:
    /// then nothing was changed.
    fn compare_and_set<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a str>,
        document: &'a Document,
    ) -> BoxFuture<'a, Result<bool, Away>>;

    /// Which revisions there are, as of a second ago.
    fn watch(&self) -> watch::Receiver<Revisions>;
}

impl Document {
    /// This content, as the version after the one with this revision (none: the empty text).
    pub fn after(revision: &str, content: Vec<u8>) -> Self {
        let number = revision.get(..16).and_then(|number| u64::from_str_radix(number, 16).ok()).unwrap_or(0);
        let revision = format!("{:016x}-{}", number.saturating_add(1), hash(&content));
        Self { revision, content }
    }

    /// As one text: its revision, the end of a line, its content.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        [self.revision.as_bytes(), b"\n", &self.content].concat()
    }

    /// From such a text; `None` where it is none.
    pub(crate) fn from_line(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let revision = std::str::from_utf8(&bytes[..end]).ok()?.to_owned();
        Some(Self { revision, content: bytes[end + 1..].to_vec() })
    }

    /// Whether a revision was made of this content.
    pub fn is_of(revision: &str, content: &[u8]) -> bool {
        revision.ends_with(&hash(content))
    }
}

fn hash(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    hex::encode(&hash.as_ref()[..8])
}
