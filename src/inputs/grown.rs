//! Text that a protocol makes of a body: it grows within the limits and the memory of its listener, and is counted there before
//! it does.

use super::http::body::Share;
use super::reason::{Failure, Reason};

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
    /// What is in memory beside it.
    beside: u64,
    share: &'s mut Share,
}

impl<'s> Grown<'s> {
    /// Nothing yet; at most `limit` bytes, while `beside` bytes are in memory that `share` has counted already.
    pub fn new(limit: u64, beside: u64, share: &'s mut Share) -> Self {
        Self { text: Vec::new(), limit, beside, share }
    }

    /// What was made.
    pub fn into_text(self) -> Vec<u8> {
        self.text
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
    pub fn push(&mut self, more: &[u8]) -> Result<(), NoRoom> {
        let length = (self.text.len() + more.len()) as u64;
        if length > self.limit {
            return Err(NoRoom::TooLarge { limit: self.limit });
        }
        if length > self.text.capacity() as u64 {
            let room = (length + length / 2).next_multiple_of(STEP);
            let all = self.beside + room;
            if all > self.share.most() {
                return Err(NoRoom::TooLarge { limit: self.share.most().saturating_sub(self.beside) });
            }
            self.share.grow_to(all).map_err(|_| NoRoom::NoMemory)?;
            self.text.reserve_exact(room as usize - self.text.len());
        }
        self.text.extend_from_slice(more);
        Ok(())
    }

    /// Appends a text as a string in JSON.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn push_quoted(&mut self, text: &str) -> Result<(), NoRoom> {
        self.push(b"\"")?;
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.push(&text.as_bytes()[from..at])?;
            match byte {
                b'"' | b'\\' => self.push(&[b'\\', byte])?,
                control => self.push(format!("\\u{control:04x}").as_bytes())?,
            }
            from = at + 1;
        }
        self.push(&text.as_bytes()[from..])?;
        self.push(b"\"")
    }

    /// Appends a text as text or as an attribute in XML.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn push_escaped(&mut self, text: &str) -> Result<(), NoRoom> {
        let mut from = 0;
        for (at, byte) in text.bytes().enumerate() {
            let entity: &[u8] = match byte {
                b'&' => b"&amp;",
                b'<' => b"&lt;",
                b'>' => b"&gt;",
                b'"' => b"&quot;",
                _ => continue,
            };
            self.push(&text.as_bytes()[from..at])?;
            self.push(entity)?;
            from = at + 1;
        }
        self.push(&text.as_bytes()[from..])
    }
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
    use super::*;
    use crate::inputs::http::body::Memory;
    use crate::turns::Who;

    #[test]
    fn texts_are_escaped_and_never_larger_than_they_may_be() {
        let mut share = Memory::new(1 << 20).share(&Who::default());
        let mut out = Grown::new(100, 0, &mut share);
        out.push_quoted("a\"\\\n").expect("room");
        out.push_escaped("<&>\"x").expect("room");
        assert_eq!(out.push(&[b'x'; 100]), Err(NoRoom::TooLarge { limit: 100 }));
        assert_eq!(String::from_utf8(out.into_text()).expect("text"), "\"a\\\"\\\\\\u000a\"&lt;&amp;&gt;&quot;x");
    }

    #[test]
    fn what_the_memory_has_no_room_for_is_not_made() {
        let memory = Memory::new(1 << 20);
        let mut share = memory.share(&Who::default());
        let mut out = Grown::new(u64::MAX, 0, &mut share);
        assert!(matches!(out.push(&vec![b'x'; 1 << 21]), Err(NoRoom::TooLarge { .. })));
        assert_eq!(memory.held(), 0);
    }
}
