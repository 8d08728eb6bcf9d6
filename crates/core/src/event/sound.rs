//! Passing over JSON that the scanner has found to be sound.
//!
//! Who needs a member or two of a record need not read it into a tree, and need not prove once more that it is JSON:
//! [`from_json::scan`] has. Of a text that is no JSON this one hands out something or nothing, and never panics.

use std::borrow::Cow;

use memchr::memchr;

use super::from_json;

/// A place in a text.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'e> {
    text: &'e str,
    at: usize,
}

/// A string as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted<'e> {
    /// What stands between the quotes.
    pub(super) inner: &'e str,
    has_escapes: bool,
}

/// A value as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'e> {
    /// A string.
    Text(Quoted<'e>),
    /// A number, `true`, `false` or `null`.
    Word(&'e str),
    /// An object or a list.
    Tree(&'e str),
}

impl<'e> Quoted<'e> {
    /// What it means.
    pub(super) fn text(self) -> Cow<'e, str> {
        if self.has_escapes { Cow::Owned(unescaped(self.inner).unwrap_or_default()) } else { Cow::Borrowed(self.inner) }
    }

    /// The same, where it is written as it is meant.
    pub(super) fn plain(self) -> Option<&'e str> {
        (!self.has_escapes).then_some(self.inner)
    }
}

impl<'e> Cursor<'e> {
    /// At the beginning of a text.
    pub(super) fn new(text: &'e str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte but white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(*byte),
            }
        }
    }

    /// Goes into the object or list that comes next, if it begins with this byte.
    pub(super) fn enter(&mut self, bracket: u8) -> bool {
        let is_next = self.peek() == Some(bracket);
        self.at += usize::from(is_next);
        is_next
    }

    /// The next key of the object that is open, whose value has to be passed then. `None` behind its end, and for what is no
    /// object.
    pub(super) fn key(&mut self) -> Option<Quoted<'e>> {
        if self.peek()? == b',' {
            self.at += 1;
            self.peek()?;
        }
        if self.text.as_bytes().get(self.at) == Some(&b'}') {
            self.at += 1;
            return None;
        }
        let key = self.string()?;
        (self.peek()? == b':').then_some(())?;
        self.at += 1;
        Some(key)
    }

    /// Passes the value that comes next.
    pub(super) fn value(&mut self) -> Option<Value<'e>> {
        match self.peek()? {
            b'"' => self.string().map(Value::Text),
            b'{' | b'[' => self.tree().map(Value::Tree),
            _ => self.word().map(Value::Word),
        }
    }

    /// The same, as it is written.
    pub(super) fn raw(&mut self) -> Option<&'e str> {
        self.peek()?;
        let start = self.at;
        self.value()?;
        self.text.get(start..self.at)
    }

    fn string(&mut self) -> Option<Quoted<'e>> {
        let bytes = self.text.as_bytes();
        (bytes.get(self.at) == Some(&b'"')).then_some(())?;
        let start = self.at + 1;
        let mut at = start;
        let mut has_escapes = false;
        loop {
            at = from_json::special(bytes, at);
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    at += 2;
                }
                _ => return None,
            }
        }
        self.at = at + 1;
        Some(Quoted { inner: self.text.get(start..at)?, has_escapes })
    }

    fn word(&mut self) -> Option<&'e str> {
        let start = self.at;
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let rest = self.text.as_bytes().get(start..)?;
        self.at += rest.iter().position(is_end).unwrap_or(rest.len());
        self.text.get(start..self.at)
    }

    fn tree(&mut self) -> Option<&'e str> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return self.text.get(start..self.at);
            }
        }
    }
}

/// The text that is written so between quotes; `None` where that is no text.
pub(super) fn unescaped(written: &str) -> Option<String> {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        let meant = match rest.as_bytes().get(at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            // Characters by their numbers are rare, and half of the rules.
            _ => return serde_json::from_str(&format!("\"{written}\"")).ok(),
        };
        text.push_str(&rest[..at]);
        text.push(meant);
        rest = &rest[at + 2..];
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
#[path = "sound_tests.rs"]
mod tests;
