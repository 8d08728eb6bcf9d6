//! The elements of arrays and the members of objects in JSON, one after the other, at the speed of a byte search.
//!
//! It finds where values begin and end and proves nothing else about them: whoever keeps what it found reads it once more, as JSON, and
//! refuses or sets aside what is none. It is for what is no JSON, and for records that were walked through before
//! ([`walk`](crate::event::from_json::walk)). Each byte is looked at once, nothing is allocated, and nesting takes neither stack nor memory.

use std::borrow::Cow;

use memchr::memchr2;

use crate::event::from_json::walk::{Name, Plain, Walk};
use crate::event::from_json::{JsonError, special};

/// Why there is no next value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct Broken {
    reason: &'static str,
    at: usize,
}

/// A position in a text.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    text: &'a str,
    pos: usize,
}

/// A member of an object, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, in quotes.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
}

/// Where a member stands, and what was seen of it on the way to its end.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    text: &'a str,
    /// Where its name begins, with its quote.
    pub at: usize,
    /// Behind its name.
    pub name_end: usize,
    /// Where its value begins.
    pub value_at: usize,
    /// Behind its value.
    pub end: usize,
    /// Whether its name is written without escapes.
    pub has_plain_name: bool,
    /// Whether its name holds nothing but the letters that were asked for.
    pub has_letters: bool,
    /// Whether its value is a string that is written without escapes.
    pub is_plain_text: bool,
}

impl<'a> Seen<'a> {
    /// What a walk sees of the member of this name, whose value is next: it keeps that under a name, or passes over it. Of what is
    /// kept nobody asks whether it is a plain text.
    #[inline]
    pub fn by(walk: &mut Walk<'a>, text: &'a str, name: &Name, kept: Option<&str>) -> Result<Self, JsonError> {
        let value_at = walk.pos();
        let is_plain_text = match kept {
            Some(kept) => walk.keep(kept).map(|()| false)?,
            None => walk.pass()?,
        };
        let Name { at, end: name_end, is_plain: has_plain_name, has_letters } = *name;
        Ok(Self { text, at, name_end, value_at, end: walk.pos(), has_plain_name, has_letters, is_plain_text })
    }

    /// A member that a walk passed over in one step.
    pub fn plain(text: &'a str, plain: &Plain) -> Self {
        let Plain { at, name_end, value_at, end, is_plain_text } = *plain;
        Self { text, at, name_end, value_at, end, has_plain_name: true, has_letters: true, is_plain_text }
    }

    /// What of it is written as nearly all are, where its name is.
    pub fn as_plain(&self) -> Option<Plain> {
        let Self { at, name_end, value_at, end, is_plain_text, .. } = *self;
        self.has_letters.then_some(Plain { at, name_end, value_at, end, is_plain_text })
    }

    /// The member as it is written.
    pub fn member(&self) -> Member<'a> {
        Member { name: &self.text[self.at..self.name_end], value: self.value() }
    }

    /// Its value as it is written.
    pub fn value(&self) -> &'a str {
        &self.text[self.value_at..self.end]
    }

    /// What its name means; `None` where that cannot be read.
    #[inline]
    pub fn name(&self) -> Option<Cow<'a, str>> {
        if self.has_plain_name {
            return self.text.get(self.at + 1..self.name_end - 1).map(Cow::Borrowed);
        }
        text(self.member().name)
    }

    /// The text that its value is, where that is written without escapes.
    #[inline]
    pub fn plain_text(&self) -> Option<&'a str> {
        if self.is_plain_text { self.text.get(self.value_at + 1..self.end - 1) } else { None }
    }
}

impl<'a> Members<'a> {
    /// The values of this text.
    pub fn of(text: &'a str) -> Self {
        Self { text, pos: 0 }
    }

    /// All of the text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Where reading goes on.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Goes on at another place.
    pub fn go_to(&mut self, pos: usize) {
        self.pos = pos;
    }

    /// Whether the next value begins so.
    pub fn begins_with(&mut self, bracket: u8) -> bool {
        self.blank();
        self.peek() == Some(bracket)
    }

    /// Goes into an array (`[`) or an object (`{`).
    pub fn enter(&mut self, bracket: u8) -> Result<(), Broken> {
        if !self.begins_with(bracket) {
            return self.broken(if bracket == b'[' { "an array was expected" } else { "an object was expected" });
        }
        self.pos += 1;
        Ok(())
    }

    /// Goes to the next element of the array that reading is in; false at its end, behind which reading goes on. `is_first` where
    /// nothing of it was read yet.
    pub fn has_element(&mut self, is_first: bool) -> Result<bool, Broken> {
        self.more(b']', is_first)
    }

    /// The next member of the object that reading is in; `None` at its end, behind which reading goes on.
    pub fn member(&mut self, is_first: bool) -> Result<Option<Member<'a>>, Broken> {
        Ok(self.seen(is_first)?.map(|seen| seen.member()))
    }

    /// The same, with what was seen of it.
    #[inline]
    pub fn seen(&mut self, is_first: bool) -> Result<Option<Seen<'a>>, Broken> {
        self.seen_with(is_first, |_| 0)
    }

    /// The same. `letters` tells how many letters a text begins with that are neither quotes nor backslashes: names of nothing else
    /// are known then.
    #[inline]
    pub fn seen_with(&mut self, is_first: bool, letters: impl Fn(&[u8]) -> usize) -> Result<Option<Seen<'a>>, Broken> {
        if !self.at_name(is_first)? {
            return Ok(None);
        }
        let at = self.pos;
        let letters = letters(self.rest(at + 1));
        let has_letters = self.rest(at + 1).get(letters) == Some(&b'"');
        let has_plain_name = if has_letters {
            self.pos = at + letters + 2;
            true
        } else {
            self.string()?
        };
        let name_end = self.pos;
        self.colon()?;
        self.blank();
        let value_at = self.pos;
        let is_plain_text = self.pass()?;
        let (text, end) = (self.text, self.pos);
        Ok(Some(Seen { text, at, name_end, value_at, end, has_plain_name, has_letters, is_plain_text }))
    }

    /// The name of that member alone: its value is next.
    pub fn name(&mut self, is_first: bool) -> Result<Option<&'a str>, Broken> {
        if !self.at_name(is_first)? {
            return Ok(None);
        }
        let from = self.pos;
        self.string()?;
        let name = &self.text[from..self.pos];
        self.colon()?;
        Ok(Some(name))
    }

    /// Goes to the name of the next member; false at the end of the object.
    #[inline]
    fn at_name(&mut self, is_first: bool) -> Result<bool, Broken> {
        if !self.more(b'}', is_first)? {
            return Ok(false);
        }
        if self.peek() == Some(b'"') { Ok(true) } else { self.broken("the name of a member was expected") }
    }

    /// Passes over what stands behind a name.
    #[inline]
    fn colon(&mut self) -> Result<(), Broken> {
        self.blank();
        if self.peek() != Some(b':') {
            return self.broken("\":\" was expected");
        }
        self.pos += 1;
        Ok(())
    }

    /// The next value, as it is written.
    pub fn value(&mut self) -> Result<&'a str, Broken> {
        self.blank();
        let from = self.pos;
        self.pass()?;
        Ok(&self.text[from..self.pos])
    }

    /// Passes over the value that begins here; whether it is a string without escapes.
    #[inline]
    fn pass(&mut self) -> Result<bool, Broken> {
        match self.peek() {
            Some(b'"') => return self.string(),
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(false)
    }

    /// Whether nothing follows any more.
    pub fn end(&mut self) -> Result<(), Broken> {
        self.blank();
        if self.peek().is_some() { self.broken("something follows") } else { Ok(()) }
    }

    #[inline]
    fn more(&mut self, end: u8, is_first: bool) -> Result<bool, Broken> {
        self.blank();
        match self.peek() {
            Some(found) if found == end => {
                self.pos += 1;
                return Ok(false);
            }
            Some(_) if is_first => return Ok(true),
            Some(b',') => self.pos += 1,
            _ => return self.broken("\",\" or an end was expected"),
        }
        self.blank();
        if self.peek().is_none_or(|found| found == end) { self.broken("a value was expected") } else { Ok(true) }
    }

    /// Passes over a string; whether it is written without escapes. A line break in it is none of JSON's, and would cut a record in
    /// two; what else is none of JSON's is for others to find.
    #[inline]
    fn string(&mut self) -> Result<bool, Broken> {
        let at = special(self.text.as_bytes(), self.pos + 1);
        if self.text.as_bytes().get(at) != Some(&b'"') {
            return self.string_with_more(at);
        }
        self.pos = at + 1;
        Ok(true)
    }

    /// The same from the first place on where something else than its end may stand.
    fn string_with_more(&mut self, mut at: usize) -> Result<bool, Broken> {
        let bytes = self.text.as_bytes();
        let mut is_plain = true;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') if !matches!(bytes.get(at + 1), Some(b'\n' | b'\r')) => {
                    is_plain = false;
                    at += 2;
                }
                None | Some(b'\\' | b'\n' | b'\r') => return self.broken_string(),
                Some(_) => at += 1,
            }
            at = special(bytes, at);
        }
        self.pos = at + 1;
        Ok(is_plain)
    }

    /// Why a string is none.
    #[cold]
    fn broken_string<T>(&self) -> Result<T, Broken> {
        let mut at = self.pos + 1;
        while let Some(found) = memchr2(b'"', b'\\', self.rest(at)) {
            at += found;
            if self.text.as_bytes()[at] == b'"' {
                return self.broken("a line break stands in a string");
            }
            at += 2;
        }
        self.broken("a string does not end")
    }

    /// Passes over an array or an object with all that is in it.
    fn nested(&mut self) -> Result<(), Broken> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return self.broken("an array or an object does not end"),
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                _ => {}
            }
            self.pos += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Passes over a number or a word.
    fn scalar(&mut self) -> Result<(), Broken> {
        let rest = self.rest(self.pos);
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'{' | b'[');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        if length == 0 || matches!(rest.get(length), Some(b'"' | b'{' | b'[')) {
            return self.broken("a value was expected");
        }
        self.pos += length;
        Ok(())
    }

    #[inline]
    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.pos += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    fn rest(&self, at: usize) -> &'a [u8] {
        self.text.as_bytes().get(at..).unwrap_or_default()
    }

    fn broken<T>(&self, reason: &'static str) -> Result<T, Broken> {
        Err(Broken { reason, at: self.pos })
    }
}

/// The text of a string in JSON, copied only where it is written with escapes. `None` when it is none.
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => Some(Cow::Borrowed(inner)),
        _ => serde_json::from_str(json).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
