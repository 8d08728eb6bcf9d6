//! Letters as lines of JSON.
//!
//! What only counts or chooses letters reads their heads, which costs neither the decoding nor the memory of their events.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Letter, NOT_UNDERSTOOD, Owner};
use crate::fs::sealed::{self, Seal};

/// What a letter is counted and chosen by.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    pub(super) id: u64,
    pub(super) first_seen_ms: u64,
    #[serde(borrow)]
    pub(super) source: HeadSource<'a>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

/// Where it comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HeadSource<'a> {
    Input {
        #[serde(borrow)]
        name: Cow<'a, str>,
    },
    Output {
        #[serde(borrow)]
        name: Cow<'a, str>,
    },
}

impl HeadSource<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Input { name } | Self::Output { name } => name,
        }
    }
}

impl Head<'_> {
    pub(super) fn short_reason(&self) -> &str {
        match self.source {
            HeadSource::Input { .. } => NOT_UNDERSTOOD,
            HeadSource::Output { .. } => &self.reason,
        }
    }

    /// In whose share it is kept.
    pub(super) fn owner(&self) -> Owner {
        match &self.source {
            HeadSource::Input { name } => Owner::sender(name, &self.detail),
            HeadSource::Output { name } => Owner::Output(name.clone().into_owned()),
        }
    }

    fn is_of(&self, owner: &Owner) -> bool {
        match (&self.source, owner) {
            (HeadSource::Input { name }, Owner::Sender { input, client }) => name == input && self.detail == *client,
            (HeadSource::Output { name }, Owner::Output(output)) => name == output,
            _ => false,
        }
    }
}

/// What stands in some lines.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) count: u64,
    /// Letters that cannot be read although they were written to their end.
    pub(super) damaged: u64,
    /// The highest id.
    pub(super) last: u64,
    /// Whose letters they are; none without a letter.
    pub(super) owner: Option<Owner>,
    /// Letters by the name of their source and their reason.
    pub(super) kinds: BTreeMap<(String, String), u64>,
}

/// Adds a letter as one line.
pub(super) fn push(out: &mut Vec<u8>, letter: &Letter) {
    let start = out.len();
    serde_json::to_writer(&mut *out, letter).expect("a letter has only text and numbers, and memory takes all bytes");
    sealed::seal(out, start);
    out.push(b'\n');
}

/// Bytes of lines that were written to their end: up to the last line feed, or to a seal behind it.
pub(super) fn whole_len(bytes: &[u8]) -> u64 {
    let lines = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    let end = if sealed::check(&bytes[lines..]) == Seal::Whole { bytes.len() } else { lines };
    end as u64
}

/// Lines with what ends them.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

/// How many letters ended in a line that cannot be read; none in one that was not written to its end.
fn damaged(line: &[u8]) -> u64 {
    let torn = !line.ends_with(b"\n");
    let at_least = usize::from(!torn && !line.trim_ascii().is_empty());
    sealed::count(line).max(at_least) as u64
}

/// The lines that are whole or torn, and those that are damaged.
pub(super) fn sift(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut kept, mut broken) = (Vec::new(), Vec::new());
    for line in lines(bytes) {
        let to = if head(line).is_none() && damaged(line) > 0 { &mut broken } else { &mut kept };
        to.extend_from_slice(line);
    }
    (kept, broken)
}

/// Counts the letters, those that can be read and those that cannot.
pub(super) fn summary(bytes: &[u8]) -> Summary {
    let mut sum = Summary::default();
    let mut kinds: BTreeMap<(Cow<'_, str>, Cow<'_, str>), u64> = BTreeMap::new();
    for line in lines(bytes) {
        let Some(head) = head(line) else {
            sum.damaged += damaged(line);
            continue;
        };
        sum.count += 1;
        sum.last = sum.last.max(head.id);
        match &sum.owner {
            None => sum.owner = Some(head.owner()),
            Some(owner) if *owner != Owner::Several && !head.is_of(owner) => sum.owner = Some(Owner::Several),
            Some(_) => {}
        }
        let (name, reason) = match head.source {
            HeadSource::Input { name } => (name, Cow::Borrowed(NOT_UNDERSTOOD)),
            HeadSource::Output { name } => (name, head.reason),
        };
        *kinds.entry((name, reason)).or_default() += 1;
    }
    let owned = |((name, reason), count): ((Cow<'_, str>, Cow<'_, str>), u64)| {
        ((name.into_owned(), reason.into_owned()), count)
    };
    sum.kinds = kinds.into_iter().map(owned).collect();
    sum
}

/// The letters of the lines that can be read and whose head is wanted.
pub(super) fn letters<'b>(
    bytes: &'b [u8],
    mut wanted: impl FnMut(&Head<'_>) -> bool + 'b,
) -> impl Iterator<Item = Letter> + 'b {
    lines(bytes).filter(move |line| head(line).is_some_and(|head| wanted(&head))).filter_map(letter)
}

/// The head of a line. What has no checksum, or is not sure to be what we wrote, is read whole.
pub(super) fn head(line: &[u8]) -> Option<Head<'_>> {
    match sealed::check(line) {
        Seal::Broken => return None,
        Seal::Absent => drop(serde_json::from_slice::<Letter>(line).ok()?),
        Seal::Whole => {}
    }
    serde_json::from_slice(line).ok()
}

/// Where it does not stand when a letter was set aside last, it was so once.
fn letter(line: &[u8]) -> Option<Letter> {
    let mut letter: Letter = serde_json::from_slice(line).ok()?;
    letter.last_seen_ms = letter.last_seen_ms.max(letter.first_seen_ms);
    Some(letter)
}

/// The whole lines but those that are unwanted, and how many went, by kind.
pub(super) fn without(
    bytes: &[u8],
    mut unwanted: impl FnMut(&Head<'_>) -> bool,
) -> (Vec<u8>, BTreeMap<(String, String), u64>) {
    let mut kept = Vec::new();
    let mut gone = BTreeMap::new();
    for line in lines(&bytes[..whole_len(bytes) as usize]) {
        match head(line) {
            Some(head) if unwanted(&head) => {
                *gone.entry((head.source.name().to_owned(), head.short_reason().to_owned())).or_default() += 1;
            }
            _ => kept.extend_from_slice(line),
        }
    }
    (kept, gone)
}

/// Bytes as base64 text.
pub(super) mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
