//! The identity of an event.
//!
//! Record ids restart when a log is cleared, host names are shared, record ids are per channel: so all of computer,
//! channel, event id, record id and time make the identity. The time counts in whole seconds, because some agents cut it
//! there; the record id tells apart what happens within one. Of an event id the lower 16 bits count, which are the id: the
//! upper ones are qualifiers, and not every agent sends them. Everything else is known by its content, or, where
//! an upload has a mark, by that and its place in the upload. Places follow each other as record ids do: those of an upload of
//! many records are kept as a run, at a byte for some of them instead of 16 bytes each.
//!
//! Hashes are keyed with a secret of the installation: without it nobody can construct two events that collide.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use super::{Event, Fields, Format, quoted};

pub(super) mod codec;
mod mark;

pub use codec::{KeyError, decode_keys, encode_keys};
pub use mark::UploadMark;

/// An upload of fewer records keeps their places as hashes: a run of its own would take more than those.
const RUN_MIN: usize = 8;

/// What makes an event the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKey {
    /// A Windows event with a record id; or a record of an upload with a mark, by its place there.
    Record {
        /// Keyed hash of the scope, the computer and the channel; or of the upload's mark.
        stream: u128,
        /// `EventRecordID`, or the place.
        record_id: u64,
        /// `TimeCreated`, cut to whole Unix seconds; 0 of a place.
        second: i64,
        /// `EventID` without qualifiers; `None` when the event has none, and of a place.
        event_id: Option<u16>,
    },
    /// A record as older versions kept it, without its event id: it stands for every id. Read, but never made.
    OldRecord {
        /// As in [`EventKey::Record`].
        stream: u128,
        /// `EventRecordID`.
        record_id: u64,
        /// `TimeCreated`, cut to whole Unix seconds.
        second: i64,
    },
    /// Anything else: keyed hash of the scope, the upload stream and the canonical record; or, instead of that, of the mark of an
    /// upload of a few records and the place there.
    Content(u128),
}

/// Makes keys with the secret of the installation.
#[derive(Clone)]
pub struct KeyMaker {
    stream_key: [u8; 16],
    content_key: [u8; 16],
}

impl std::fmt::Debug for KeyMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaker(***)")
    }
}

impl KeyMaker {
    /// Takes the secret of the installation; keys made with another secret never compare equal.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut maker = Self { stream_key: [0; 16], content_key: [0; 16] };
        maker.stream_key.copy_from_slice(&secret[..16]);
        maker.content_key.copy_from_slice(&secret[16..]);
        maker
    }

    /// What an upload is known by, of which nothing is told yet.
    pub fn upload_mark(&self) -> UploadMark {
        UploadMark::new(&self.content_key)
    }

    /// Keys for the events of one upload: only equal within `scope`, and, for events known by their content, within `stream`.
    pub fn for_scope<'a>(&'a self, scope: &str, stream: &str) -> ScopedKeys<'a> {
        let mut streams = SipHasher13::new_with_key(&self.stream_key);
        write(&mut streams, scope.as_bytes());
        let mut contents = SipHasher13::new_with_key(&self.content_key);
        write(&mut contents, scope.as_bytes());
        write(&mut contents, stream.as_bytes());
        let maker = std::marker::PhantomData;
        ScopedKeys {
            maker,
            streams,
            contents,
            marked: contents,
            run: None,
            last: None,
            place: None,
            exact_by_content: false,
        }
    }
}

/// Makes the keys of one upload. Remembers the last computer and channel: a run of one host's events hashes once.
#[derive(Debug)]
pub struct ScopedKeys<'a> {
    /// Keys are of no use beyond their maker.
    maker: std::marker::PhantomData<&'a KeyMaker>,
    streams: SipHasher13,
    contents: SipHasher13,
    /// The same with the mark of the upload, where it has one.
    marked: SipHasher13,
    /// The stream of its places, where it has many records.
    run: Option<u128>,
    last: Option<LastStream>,
    /// The place in its upload of the record whose key is made next, where those count instead of contents.
    place: Option<u64>,
    /// Whether contents count all the same of records that tell their time to a fraction of a second.
    exact_by_content: bool,
}

#[derive(Debug)]
struct LastStream {
    computer: String,
    channel: String,
    hash: u128,
}

impl ScopedKeys<'_> {
    /// Records without an identity of their own are known by this upload and their place in it, not by their content: two that
    /// are equal are two. So many records were understood in it.
    pub fn within_upload(mut self, mark: &[u8; 32], records: usize) -> Self {
        write(&mut self.marked, mark);
        let run = (records >= RUN_MIN).then(|| hashed(self.marked, b's', &[]));
        Self { place: Some(0), run, ..self }
    }

    /// The same, but for records that tell their time to a fraction of a second: they are known by their content, in whatever
    /// upload they come.
    pub fn within_upload_unless_exact(self, mark: &[u8; 32], records: usize) -> Self {
        Self { exact_by_content: true, ..self.within_upload(mark, records) }
    }

    /// Whether an event is known by its upload and its place there, and by nothing else.
    pub fn is_known_by_place(&self, event: &Event<'_>) -> bool {
        self.place.is_some() && !event.fields.has_identity() && !self.is_exact(event)
    }

    fn is_exact(&self, event: &Event<'_>) -> bool {
        self.exact_by_content && event.fields.time.is_some_and(|time| !time.is_whole_second())
    }

    /// The next key is that of the record at this place of the upload: of those that were understood, or of those that were not.
    pub fn at(&mut self, place: usize) -> &mut Self {
        self.place = self.place.map(|_| place as u64);
        self
    }

    /// The identity of an event.
    pub fn key(&mut self, event: &Event<'_>) -> EventKey {
        let Fields { computer: Some(computer), record_id: Some(record_id), time: Some(time), .. } = &event.fields
        else {
            return self.content_key(event);
        };
        if computer.is_empty() {
            return self.content_key(event);
        }
        let channel = event.fields.channel.as_deref().unwrap_or_default();
        EventKey::Record {
            stream: self.stream(computer, channel),
            record_id: *record_id,
            second: time.unix_seconds(),
            event_id: event.fields.event_id.map(|event_id| event_id as u16),
        }
    }

    /// The identity of a record that could not be understood: its bytes.
    pub fn unreadable_key(&mut self, raw: &[u8]) -> EventKey {
        match self.place {
            Some(place) => hash(self.marked, b'q', &place.to_le_bytes()),
            None => hash(self.contents, b'u', raw),
        }
    }

    fn content_key(&self, event: &Event<'_>) -> EventKey {
        if let Some(place) = self.place.filter(|_| !self.is_exact(event)) {
            return match self.run {
                Some(stream) => EventKey::Record { stream, record_id: place, second: 0, event_id: None },
                None => hash(self.marked, b'p', &place.to_le_bytes()),
            };
        }
        quoted::within(event, |event| self.content_of(event))
    }

    fn content_of(&self, event: &Event<'_>) -> EventKey {
        match event.format {
            Format::Xml => hash(self.contents, b'x', event.raw.trim_ascii()),
            Format::Json => match canonical(event.raw) {
                Some(text) => hash(self.contents, b'j', text.as_bytes()),
                None => hash(self.contents, b'r', event.raw.trim_ascii()),
            },
        }
    }

    fn stream(&mut self, computer: &str, channel: &str) -> u128 {
        if let Some(last) = self.last.as_ref().filter(|last| last.computer == computer && last.channel == channel) {
            return last.hash;
        }
        let mut hasher = self.streams;
        write(&mut hasher, lower(computer).as_bytes());
        write(&mut hasher, lower(channel).as_bytes());
        let hash = hasher.finish128().as_u128();
        self.last = Some(LastStream { computer: computer.to_owned(), channel: channel.to_owned(), hash });
        hash
    }
}

fn hash(hasher: SipHasher13, kind: u8, content: &[u8]) -> EventKey {
    EventKey::Content(hashed(hasher, kind, content))
}

fn hashed(mut hasher: SipHasher13, kind: u8, content: &[u8]) -> u128 {
    hasher.write(&[kind]);
    hasher.write(content);
    hasher.finish128().as_u128()
}

/// Writes a part with its length, so that no two lists of parts hash the same bytes.
fn write(hasher: &mut SipHasher13, part: &[u8]) {
    hasher.write(&(part.len() as u64).to_le_bytes());
    hasher.write(part);
}

pub(super) fn lower(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Cow::Owned(text.to_ascii_lowercase());
        }
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.to_lowercase())
}

/// JSON with its keys sorted, without white space, strings escaped in one way. Numbers stay as they are written: read
/// as floats, two different ones could become equal, and an event would be taken for a duplicate.
pub(super) fn canonical(raw: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    append_canonical(std::str::from_utf8(raw).ok()?.trim_ascii(), &mut text)?;
    Some(text)
}

fn append_canonical(value: &str, text: &mut String) -> Option<()> {
    let quoted = |key: &str| serde_json::to_string(key).ok();
    match value.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(value).ok()?;
            text.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&quoted(&key)?);
                text.push(':');
                append_canonical(member.get(), text)?;
            }
            text.push('}');
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            text.push('[');
            for (index, item) in items.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                append_canonical(item.get(), text)?;
            }
            text.push(']');
        }
        b'"' => text.push_str(&quoted(&serde_json::from_str::<String>(value).ok()?)?),
        _ => text.push_str(value),
    }
    Some(())
}

#[cfg(test)]
mod tests;
