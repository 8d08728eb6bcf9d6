//! A letter, and which letters are meant.

use serde::{Deserialize, Serialize};

use super::{NOT_UNDERSTOOD, lines};

/// What the detail of an input's letter begins with, before the client's name.
pub const SENT_BY: &str = "sent by ";

/// Where a letter comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An input could not read it.
    Input {
        /// The input's name.
        name: String,
    },
    /// An output's endpoint refused it.
    Output {
        /// The output's name.
        name: String,
    },
}

impl Source {
    /// The name of the input or output.
    pub fn name(&self) -> &str {
        match self {
            Self::Input { name } | Self::Output { name } => name,
        }
    }
}

/// One event that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its number; given by [`DeadLetters::put`](super::DeadLetters::put), whatever it was before.
    pub id: u64,
    /// When it was first set aside, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// Where it comes from.
    pub source: Source,
    /// When it was last set aside: later than first when it was replayed and refused again. On the disk 0, and left out,
    /// where it is the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_seen_ms: u64,
    /// How often it was set aside.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub tries: u32,
    /// Why: of an output a short word for metrics, of an input a sentence.
    pub reason: String,
    /// The status of the endpoint's answer, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What was said, for a person. Of an input: who sent it, and by that whose share it is kept in.
    pub detail: String,
    /// The body of the endpoint's answer, at most 4 KiB of it, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Who uploaded it, where the input's policy wanted that kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// How `raw` is written, as a number of the caller's.
    pub format: u8,
    /// The stream it was uploaded to; may be empty.
    pub stream: String,
    /// The event as it was uploaded. Of a long record that an input could not understand, the beginning; its reason says so.
    #[serde(with = "lines::base64_text")]
    pub raw: Vec<u8>,
}

impl Letter {
    /// The reason in one word of a closed set.
    pub fn short_reason(&self) -> &str {
        match self.source {
            Source::Input { .. } => NOT_UNDERSTOOD,
            Source::Output { .. } => &self.reason,
        }
    }

    /// Keeps the beginning of a record that an input could not understand, and says so.
    pub(super) fn shorten(&mut self, max: usize) {
        let len = self.raw.len();
        if len > max && matches!(self.source, Source::Input { .. }) {
            self.raw.truncate(max);
            self.raw.shrink_to_fit();
            self.reason += &format!(" (of its {len} bytes the first {max} are kept)");
        }
    }
}

/// Which letters are wanted: all that match every field that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// From the input or output of this name.
    pub source: Option<String>,
    /// For this reason; those of inputs have one name, [`NOT_UNDERSTOOD`].
    pub reason: Option<String>,
    /// First set aside at this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// First set aside before this time.
    pub before_ms: Option<u64>,
    /// With this id or a lower one.
    pub until: Option<u64>,
}

impl Filter {
    pub(super) fn matches(&self, head: &lines::Head<'_>) -> bool {
        self.source.as_ref().is_none_or(|name| name == head.source.name())
            && self.reason.as_ref().is_none_or(|reason| reason == head.short_reason())
            && self.since_ms.is_none_or(|since| head.first_seen_ms >= since)
            && self.before_ms.is_none_or(|before| head.first_seen_ms < before)
            && self.until.is_none_or(|until| head.id <= until)
    }
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Letters with higher ids only; 0 for the beginning.
    pub after: u64,
    /// Most letters.
    pub limit: usize,
}

fn once() -> u32 {
    1
}

fn is_once(tries: &u32) -> bool {
    *tries == once()
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}
