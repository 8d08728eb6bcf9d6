//! Text that a protocol makes of a body: it grows within the limits and the memory of its listener, and is counted there before
//! it does.
//!
//! Beside it stands what is known of its records, so that they need not be read again. That is a help and no more: it is given up
//! where it is not certain, and before the text would lack memory for it.

use std::ops::Range;
use std::sync::Arc;

use super::http::body::Share;
use super::reason::{Failure, Reason};
use crate::event::from_json::special;
use crate::event::near::markup;
use crate::event::{Fields, Format, Known, Syntax, decode};

/// The text grows by no less.
const STEP: u64 = 64 << 10;

/// Why no more text is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// It would be larger than it may be.
    #[error("the body is larger than {limit} bytes as rows")]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
    /// No memory for it now.
    #[error("the memory for uploads is used up")]
    NoMemory,
}

/// Text that grows within its limits.
#[derive(Debug)]
pub struct Grown<'s> {
    text: Vec<u8>,
    limit: u64,
    /// So many bytes need nobody's leave: neither the limit nor what is counted is in the way.
    room: usize,
    /// How large it will be, as far as one can tell.
    expected: u64,
    /// What is in memory beside it.
    beside: u64,
    /// What is known of its records, unless that was given up; and what of the memory is counted for it.
    known: Option<Known>,
    noted: u64,
    share: &'s mut Share,
}

impl<'s> Grown<'s> {
    /// Nothing yet; at most `limit` bytes, while `beside` bytes are in memory that `share` has counted already.
    pub fn new(limit: u64, beside: u64, share: &'s mut Share) -> Self {
        Self { text: Vec::new(), limit, room: 0, expected: 0, beside, known: Some(Known::default()), noted: 0, share }
    }

    /// The same, when it will be about so large: it is made so at once where there is room, instead of being moved as it grows.
    pub fn expecting(self, bytes: u64) -> Self {
        Self { expected: bytes, ..self }
    }

    /// What was made, and what is known of its records where each was noted.
    pub fn into_records(self) -> (Vec<u8>, Option<Arc<Known>>) {
        (self.text, self.known.map(Arc::new))
    }

    /// Whether something is known of its records so far.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.known.is_some()
    }

    /// A record is in the text of which nothing is known.
    pub fn give_up(&mut self) {
        self.known = None;
        self.noted = 0;
    }

    /// Notes the record that begins there and ends `behind` bytes before the end.
    pub fn note(&mut self, format: Format, from: usize, behind: usize, fields: &Fields<'_>) {
        let span = from..self.text.len() - behind;
        let Some(known) = &mut self.known else { return };
        let bytes = known.bytes_with(span.len()) as u64;
        if bytes > self.noted {
            let room = (bytes + bytes / 2).next_multiple_of(STEP);
            if self.share.grow_to(self.beside + self.text.capacity() as u64 + room).is_err() {
                return self.give_up();
            }
            self.noted = room;
        }
        if !known.note(format, span, fields) {
            self.give_up();
        }
    }

    /// The same of a record that somebody has to read for it.
    pub fn note_read(&mut self, from: usize, behind: usize) {
        if !self.is_known() {
            return;
        }
        let record = self.text[from..self.text.len() - behind].to_vec();
        match decode(Syntax::Enveloped, &record).map(|decoded| (decoded.events, decoded.unreadable.len())) {
            Ok((events, 0)) if events.len() == 1 && events[0].raw.len() == record.len() => {
                self.note(events[0].format, from, behind, &events[0].fields);
            }
            _ => self.give_up(),
        }
    }

    /// What was made from there on.
    pub fn since(&self, from: usize) -> &[u8] {
        &self.text[from..]
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether what was made ends so.
    pub fn ends_with(&self, end: &[u8]) -> bool {
        self.text.ends_with(end)
    }

    /// Takes back what was made behind this place.
    pub fn cut(&mut self, at: usize) {
        self.text.truncate(at);
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// When there is no room for them.
    #[inline]
    pub fn push(&mut self, more: &[u8]) -> Result<(), NoRoom> {
        self.make_room(more.len())?;
        self.text.extend_from_slice(more);
        Ok(())
    }

    /// Appends some bytes one behind the other.
    ///
    /// # Errors
    ///
    /// When there is no room for all of them. Nothing is appended then.
    #[inline]
    pub fn push_all<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<(), NoRoom> {
        self.make_room(parts.iter().map(|part| part.len()).sum())?;
        parts.iter().for_each(|part| self.text.extend_from_slice(part));
        Ok(())
    }

    /// Appends what was made there once more.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn repeat(&mut self, made: Range<usize>) -> Result<(), NoRoom> {
        self.make_room(made.len())?;
        self.text.extend_from_within(made);
        Ok(())
    }

    /// Appends bytes, and a few of which is known how many they are.
    ///
    /// # Errors
    ///
    /// When there is no room for all of them. Nothing is appended then.
    #[inline]
    pub fn push_with<const N: usize>(&mut self, more: &[u8], end: [u8; N]) -> Result<(), NoRoom> {
        self.make_room(more.len() + N)?;
        self.text.extend_from_slice(more);
        self.text.extend_from_slice(&end);
        Ok(())
    }

    #[inline]
    fn make_room(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if self.text.len() + bytes > self.room { self.grow(bytes) } else { Ok(()) }
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let length = (self.text.len() + bytes) as u64;
        if length > self.limit {
            return Err(NoRoom::TooLarge { limit: self.limit });
        }
        if length > self.text.capacity() as u64 {
            let room = self.counted(length)?;
            self.text.reserve_exact(room as usize - self.text.len());
        }
        self.room = usize::try_from(self.limit).unwrap_or(usize::MAX).min(self.text.capacity());
        Ok(())
    }

    /// Has room counted for so many bytes, and some to come. What is known is no reason to have none.
    fn counted(&mut self, length: u64) -> Result<u64, NoRoom> {
        match self.counted_beside(self.beside + self.noted, length) {
            Err(_) if self.noted > 0 => {
                self.give_up();
                self.counted_beside(self.beside, length)
            }
            counted => counted,
        }
    }

    fn counted_beside(&mut self, beside: u64, length: u64) -> Result<u64, NoRoom> {
        let most = self.share.most().saturating_sub(beside);
        let expected = std::mem::take(&mut self.expected).next_multiple_of(STEP);
        if (length..=most.min(self.limit)).contains(&expected) && self.share.grow_to(beside + expected).is_ok() {
            return Ok(expected);
        }
        let room = (length + length / 2).next_multiple_of(STEP);
        if room > most {
            return Err(NoRoom::TooLarge { limit: most });
        }
        self.share.grow_to(beside + room).map_err(|_| NoRoom::NoMemory)?;
        Ok(room)
    }

    /// Appends a text as a string in JSON.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn push_quoted(&mut self, text: &str) -> Result<(), NoRoom> {
        let (bytes, mut from) = (text.as_bytes(), 0);
        self.push(b"\"")?;
        loop {
            let at = special(bytes, from);
            let plain = &bytes[from..at];
            match bytes.get(at) {
                None => return self.push_all([plain, b"\""]),
                Some(byte @ (b'"' | b'\\')) => self.push_all([plain, &[b'\\', *byte]])?,
                Some(control) => self.push_all([plain, format!("\\u{control:04x}").as_bytes()])?,
            }
            from = at + 1;
        }
    }

    /// Appends a text as text or as an attribute in XML, between these.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn push_escaped(&mut self, [before, behind]: [&[u8]; 2], text: &str) -> Result<(), NoRoom> {
        let (bytes, mut from) = (text.as_bytes(), 0);
        let mut at = markup(bytes, 0);
        if at == bytes.len() {
            return self.push_all([before, bytes, behind]);
        }
        self.push(before)?;
        while let Some(byte) = bytes.get(at) {
            let entity: &[u8] = match byte {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                _ => b"&quot;",
            };
            self.push_all([&bytes[from..at], entity])?;
            from = at + 1;
            at = markup(bytes, from);
        }
        self.push_all([&bytes[from..], behind])
    }
}

/// How much memory a text has, with what is known of its records.
pub fn memory_of(text: &Vec<u8>, known: Option<&Known>) -> u64 {
    (text.capacity() + known.map_or(0, Known::bytes)) as u64
}

impl From<NoRoom> for Failure {
    fn from(no_room: NoRoom) -> Self {
        let reason = match no_room {
            NoRoom::TooLarge { .. } => Reason::BODY_TOO_LARGE,
            NoRoom::NoMemory => Reason::BODY_MEMORY,
        };
        Self::new(reason, no_room.to_string())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inputs::http::body::Memory;
    use crate::turns::Who;

    #[test]
    fn texts_are_escaped_and_never_larger_than_they_may_be() {
        let mut share = Memory::new(1 << 20).share(&Who::default());
        let mut out = Grown::new(100, 0, &mut share);
        out.push_quoted("a\"\\\n").expect("room");
        out.push_escaped([b"(", b")"], "<&>\"x").expect("room");
        assert_eq!(out.push(&[b'x'; 100]), Err(NoRoom::TooLarge { limit: 100 }));
        assert_eq!(
            String::from_utf8(out.into_records().0).expect("text"),
            "\"a\\\"\\\\\\u000a\"(&lt;&amp;&gt;&quot;x)"
        );
    }

    #[test]
    fn what_the_memory_has_no_room_for_is_not_made() {
        let memory = Memory::new(1 << 20);
        let mut share = memory.share(&Who::default());
        let mut out = Grown::new(u64::MAX, 0, &mut share);
        assert!(matches!(out.push(&vec![b'x'; 1 << 21]), Err(NoRoom::TooLarge { .. })));
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn what_is_expected_takes_its_memory_at_once_and_only_where_there_is_room() {
        let memory = Memory::new(1 << 20);
        let mut share = memory.share(&Who::default());
        let mut out = Grown::new(u64::MAX, 0, &mut share).expecting(300 << 10);
        out.push(b"x").expect("room");
        assert_eq!((memory.held(), out.text.capacity()), (320 << 10, 320 << 10));
        out.push(&vec![b'x'; 330 << 10]).expect("it grows beyond");
        drop(share);
        for (limit, expected) in [(100, 300 << 10), (u64::MAX, 1 << 40)] {
            let mut share = memory.share(&Who::default());
            let mut out = Grown::new(limit, 0, &mut share).expecting(expected);
            out.push(b"x").expect("room for that");
            assert_eq!(memory.held(), STEP);
        }
    }

    proptest! {
        #[test]
        fn readers_find_the_texts_that_were_written(texts: Vec<String>, hostile in "[\"\\\\&<>\n\u{1}a]{0,20}") {
            let mut share = Memory::new(1 << 20).share(&Who::default());
            for text in texts.iter().chain([&hostile]) {
                let mut out = Grown::new(u64::MAX, 0, &mut share);
                out.push_quoted(text).expect("room");
                prop_assert_eq!(&serde_json::from_slice::<String>(&out.into_records().0).expect("JSON"), text);
                let mut out = Grown::new(u64::MAX, 0, &mut share);
                out.push_escaped([b"", b""], text).expect("room");
                let escaped = String::from_utf8(out.into_records().0).expect("text");
                prop_assert_eq!(&*quick_xml::escape::unescape(&escaped).expect("XML"), text);
                prop_assert!(!escaped.contains(['<', '>', '"']));
            }
        }

        #[test]
        fn parts_are_appended_together_as_they_are_one_by_one(parts: [Vec<u8>; 3], limit in 0u64..200) {
            let mut share = Memory::new(1 << 20).share(&Who::default());
            let mut one_by_one = Grown::new(limit, 0, &mut share);
            let fits = parts.iter().try_for_each(|part| one_by_one.push(part));
            let expected = one_by_one.into_records().0;
            let mut together = Grown::new(limit, 0, &mut share);
            prop_assert_eq!(together.push_all([&parts[0], &parts[1], &parts[2]]), fits);
            if fits.is_ok() { prop_assert_eq!(together.into_records().0, expected) } else { prop_assert!(together.is_empty()) }
        }
    }
}
