//! The elements of arrays and the members of objects in JSON, one after the other, at the speed of a byte search.
//!
//! It finds where values begin and end and proves nothing else about them: whoever keeps what it found reads it once more, as JSON, and
//! refuses or sets aside what is none. Generic readers prove on the way what is proven again there, which costs more than all else
//! that is done to an upload. Each byte is looked at once, nothing is allocated, and nesting takes neither stack nor memory.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

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

impl<'a> Members<'a> {
    /// The values of this text.
    pub fn of(text: &'a str) -> Self {
        Self { text, pos: 0 }
    }

    /// Where reading goes on.
    pub fn pos(&self) -> usize {
        self.pos
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
        let Some(name) = self.name(is_first)? else { return Ok(None) };
        Ok(Some(Member { name, value: self.value()? }))
    }

    /// The name of that member alone: its value is next.
    pub fn name(&mut self, is_first: bool) -> Result<Option<&'a str>, Broken> {
        if !self.more(b'}', is_first)? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return self.broken("the name of a member was expected");
        }
        let from = self.pos;
        self.string()?;
        let name = &self.text[from..self.pos];
        self.blank();
        if self.peek() != Some(b':') {
            return self.broken("\":\" was expected");
        }
        self.pos += 1;
        Ok(Some(name))
    }

    /// The next value, as it is written.
    pub fn value(&mut self) -> Result<&'a str, Broken> {
        self.blank();
        let from = self.pos;
        match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        }
        Ok(&self.text[from..self.pos])
    }

    /// Whether nothing follows any more.
    pub fn end(&mut self) -> Result<(), Broken> {
        self.blank();
        if self.peek().is_some() { self.broken("something follows") } else { Ok(()) }
    }

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

    /// Passes over a string. A line break in it is none of JSON's, and would cut a record in two.
    fn string(&mut self) -> Result<(), Broken> {
        let from = self.pos + 1;
        let mut at = from;
        loop {
            let Some(found) = memchr2(b'"', b'\\', self.rest(at)) else {
                return self.broken("a string does not end");
            };
            at += found;
            if self.text.as_bytes()[at] == b'"' {
                break;
            }
            at += 2;
        }
        if memchr2(b'\n', b'\r', &self.text.as_bytes()[from..at]).is_some() {
            return self.broken("a line break stands in a string");
        }
        self.pos = at + 1;
        Ok(())
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
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let rest = self.rest(self.pos);
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        if length == 0 || memchr3(b'"', b'{', b'[', &rest[..length]).is_some() {
            return self.broken("a value was expected");
        }
        self.pos += length;
        Ok(())
    }

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
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn elements(text: &str) -> Result<Vec<&str>, Broken> {
        let (mut members, mut found) = (Members::of(text), Vec::new());
        members.enter(b'[')?;
        while members.has_element(found.is_empty())? {
            found.push(members.value()?);
        }
        members.end()?;
        Ok(found)
    }

    fn members(text: &str) -> Result<Vec<(&str, &str)>, Broken> {
        let (mut members, mut found) = (Members::of(text), Vec::new());
        members.enter(b'{')?;
        while let Some(Member { name, value }) = members.member(found.is_empty())? {
            found.push((name, value));
        }
        members.end()?;
        Ok(found)
    }

    #[test]
    fn values_are_found_as_they_are_written() {
        assert_eq!(elements(" [ ] "), Ok(vec![]));
        let text = r#"[1, "a]\"b" ,{"x":[{}]},[[]],null ]"#;
        assert_eq!(elements(text), Ok(vec!["1", r#""a]\"b""#, r#"{"x":[{}]}"#, "[[]]", "null"]));
        assert_eq!(members("{}"), Ok(vec![]));
        let text = "{ \"a\" : 1.5e3,\n\"b\\\"\":{\"c\":\"}\"} }";
        assert_eq!(members(text), Ok(vec![("\"a\"", "1.5e3"), ("\"b\\\"\"", "{\"c\":\"}\"}")]));
        assert_eq!(text_of(r#""a\u0062c""#), Some("abc".to_owned()));
        assert_eq!([text_of("\"a\""), text_of("\""), text_of("5")], [Some("a".to_owned()), None, None]);
    }

    fn text_of(json: &str) -> Option<String> {
        super::text(json).map(Cow::into_owned)
    }

    #[test]
    fn frames_that_break_off_or_do_not_fit_are_broken() {
        for text in
            ["", "5", "[", "[1", "[1,]", "[,1]", "[1 2]", "[\"a]", "[\"a\\", "[{]", "[] x", "[1\"a\"]", "[\"a\nb\"]"]
        {
            assert!(elements(text).is_err(), "{text}");
        }
        for text in ["{", "{1:2}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "[]"] {
            assert!(members(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_takes_neither_stack_nor_memory() {
        let deep = format!("[{}{}]", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(elements(&deep).map(|found| found.len()), Ok(1));
    }

    proptest! {
        #[test]
        fn of_json_it_finds_what_every_reader_finds(texts in prop::collection::vec(any::<String>(), 0..4), numbers: [i64; 2]) {
            let object: serde_json::Map<String, Value> =
                texts.iter().enumerate().map(|(n, text)| (format!("{n}{text}"), Value::from(text.as_str()))).collect();
            let all = vec![Value::from(object.clone()), Value::from(numbers.to_vec()), Value::from(texts)];
            let pretty = serde_json::to_string_pretty(&all).expect("it can be written");
            for text in [Value::from(all.clone()).to_string(), pretty] {
                let found = elements(&text).expect("it is JSON");
                let read: Vec<Value> = found.iter().map(|raw| serde_json::from_str(raw).expect("a value")).collect();
                prop_assert_eq!(&read, &all);
                let names: Vec<_> = members(found[0]).expect("an object").into_iter().map(|(name, _)| super::text(name)).collect();
                let want: Vec<_> = object.keys().map(|name| Some(Cow::Borrowed(name.as_str()))).collect();
                prop_assert_eq!(names, want);
            }
        }

        #[test]
        fn of_anything_it_says_something(text: String) {
            _ = (elements(&text), members(&text));
        }
    }
}
