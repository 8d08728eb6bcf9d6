//! An event in JSON as it was written: every number with its digits, and with a note on each value that has been used.
//!
//! What becomes of an event must not lose any of it, and a number that has gone through a float is another number. So values
//! keep their text. Whoever makes something of a value notes that; [`Json::unused`] tells what is left in the end.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Deref;

use crate::event::{MAX_JSON_DEPTH, from_json, sound};

/// Room for the members that flat records of a Security event have, and for those of objects in records.
const RECORD_MEMBERS: usize = 48;
const OBJECT_MEMBERS: usize = 16;

/// A JSON value.
#[derive(Debug)]
pub struct Json<'a> {
    /// Its text, without white space around it.
    raw: &'a str,
    pub(super) kind: Kind<'a>,
    used: Cell<bool>,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// A name and its value.
pub type Member<'a> = (Cow<'a, str>, Json<'a>);

impl<'a> Json<'a> {
    /// Reads a text that has been found to be JSON. Of equal keys the last counts. `None` for most texts that are no JSON, and
    /// for all that are nested deeper than [`MAX_JSON_DEPTH`].
    pub fn read(text: &'a str) -> Option<Self> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blank();
        (reader.at == text.len()).then_some(value)
    }

    /// Reads a text that may be anything.
    pub(super) fn read_unknown(text: &'a str) -> Option<Self> {
        let text = text.trim_ascii();
        let scanned = from_json::scan(text, 0).ok()?;
        let is_sound = scanned.end == text.len() && !scanned.unpaired_surrogate;
        if is_sound { Self::read(text) } else { None }
    }

    /// `null`.
    pub(super) fn null() -> Self {
        Self::new("null", Kind::Null)
    }

    /// A text that stands in no record.
    pub(super) fn text(text: &'a str) -> Self {
        Self::new("", Kind::String(Cow::Borrowed(text)))
    }

    fn new(raw: &'a str, kind: Kind<'a>) -> Self {
        Self { raw, kind, used: Cell::new(false) }
    }

    /// The value as it is written.
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a string, or of a number or truth value as it is written.
    pub fn scalar(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            Kind::Number(_) | Kind::Bool(_) => Some(self.raw),
            Kind::Null | Kind::Array(_) | Kind::Object(_) => None,
        }
    }

    /// Whether any reader of JSON understands the value as it is meant: its numbers fit the types that readers have.
    pub fn is_portable(&self) -> bool {
        match &self.kind {
            Kind::Null | Kind::Bool(_) | Kind::String(_) => true,
            // A float of 64 bits holds 15 digits, whatever they are.
            Kind::Number(digits) => {
                let is_float = digits.len() <= 16 && digits.parse().is_ok_and(f64::is_finite);
                digits.parse::<i64>().is_ok()
                    || (is_float && digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')))
            }
            Kind::Array(values) => values.iter().all(Self::is_portable),
            Kind::Object(members) => members.iter().all(|(_, value)| value.is_portable()),
        }
    }

    pub(super) fn as_object(&self) -> Option<&Members<'a>> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// The member of an object.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.named(name)
    }

    /// What stands at a path of names.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |at, name| at.get(name))
    }

    /// Notes that the value is told elsewhere.
    pub(super) fn set_used(&self) {
        self.used.set(true);
    }

    /// Notes values inside of an object, at any depth of objects, as told elsewhere that are written like this.
    pub(super) fn set_used_like(&self, written: &[u8]) {
        for (_, value) in self.as_object().into_iter().flatten() {
            if value.raw.as_bytes() == written {
                value.set_used();
            }
            value.set_used_like(written);
        }
    }

    /// Takes members out of an object.
    pub fn take(&mut self, mut wanted: impl FnMut(&str) -> bool) -> Vec<Member<'a>> {
        let Kind::Object(members) = &mut self.kind else { return Vec::new() };
        if !members.iter().any(|(name, _)| wanted(name)) {
            return Vec::new();
        }
        let (taken, kept) = std::mem::take(&mut members.list).into_iter().partition(|(name, _)| wanted(name));
        members.list = kept;
        taken
    }

    /// What of an object has not been used and tells anything, by the names on the way there with dots between them. An
    /// object of which nothing has been used stays one.
    pub fn unused(&self) -> Vec<(String, &Self)> {
        let mut found = Vec::new();
        self.find_unused("", &mut found);
        found
    }

    fn find_unused<'j>(&'j self, place: &str, found: &mut Vec<(String, &'j Self)>) {
        for (name, value) in self.as_object().into_iter().flatten() {
            if value.used.get() || value.is_empty() {
                continue;
            }
            let path = if place.is_empty() { name.clone().into_owned() } else { format!("{place}.{name}") };
            // Only places that shapes have hold what has been used, so that paths stay short.
            if value.has_used() {
                value.find_unused(&path, found);
            } else {
                found.push((path, value));
            }
        }
    }

    /// Whether some of an object has been used.
    pub(super) fn has_used(&self) -> bool {
        self.as_object().is_some_and(|members| members.iter().any(|(_, value)| value.used.get() || value.has_used()))
    }

    fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Bool(_) | Kind::Number(_) => false,
            Kind::String(text) => text.is_empty(),
            Kind::Array(values) => values.is_empty(),
            Kind::Object(members) => members.is_empty(),
        }
    }
}

/// The members of an object, each name once. A name that none of them has is mostly known as such without looking at them: most
/// names that are asked for are not there.
#[derive(Debug)]
pub(super) struct Members<'a> {
    list: Vec<Member<'a>>,
    seen: Seen,
}

impl<'a> Members<'a> {
    /// Of equal names the last counts, where the first stood.
    fn of(list: Vec<Member<'a>>) -> Self {
        let mut seen = Seen::default();
        if !has_equal(&list, &mut seen) {
            return Self { list, seen };
        }
        let list = last_of_equal(list);
        list.iter().for_each(|(name, _)| _ = seen.may_hold(name));
        Self { list, seen }
    }

    /// The member of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Json<'a>> {
        let mut members = if self.seen.holds(name) { self.list.iter() } else { [].iter() };
        members.find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl<'a> Deref for Members<'a> {
    type Target = [Member<'a>];

    fn deref(&self) -> &[Member<'a>] {
        &self.list
    }
}

impl<'m, 'a> IntoIterator for &'m Members<'a> {
    type Item = &'m Member<'a>;
    type IntoIter = std::slice::Iter<'m, Member<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Whether the next byte but white space is this one, which is passed.
    fn passes(&mut self, byte: u8) -> bool {
        self.blank();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<Json<'a>> {
        self.blank();
        let start = self.at;
        let kind = match self.peek()? {
            b'"' => Kind::String(self.string()?),
            b'{' if depth < MAX_JSON_DEPTH => self.object(depth)?,
            b'[' if depth < MAX_JSON_DEPTH => self.array(depth)?,
            _ => self.word()?,
        };
        Some(Json::new(self.text.get(start..self.at)?, kind))
    }

    fn object(&mut self, depth: usize) -> Option<Kind<'a>> {
        self.at += 1;
        let mut members = Vec::with_capacity(if depth == 0 { RECORD_MEMBERS } else { OBJECT_MEMBERS });
        if !self.passes(b'}') {
            loop {
                self.blank();
                let name = self.string()?;
                if !self.passes(b':') {
                    return None;
                }
                members.push((name, self.value(depth + 1)?));
                if self.passes(b'}') {
                    break;
                }
                if !self.passes(b',') {
                    return None;
                }
            }
        }
        Some(Kind::Object(Members::of(members)))
    }

    fn array(&mut self, depth: usize) -> Option<Kind<'a>> {
        self.at += 1;
        let mut values = Vec::new();
        if !self.passes(b']') {
            loop {
                values.push(self.value(depth + 1)?);
                if self.passes(b']') {
                    break;
                }
                if !self.passes(b',') {
                    return None;
                }
            }
        }
        Some(Kind::Array(values))
    }

    fn word(&mut self) -> Option<Kind<'a>> {
        let rest = self.text.get(self.at..)?;
        let is_end = |byte: u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
        let word = &rest[..rest.bytes().position(is_end).unwrap_or(rest.len())];
        self.at += word.len();
        match word {
            "null" => Some(Kind::Null),
            "true" => Some(Kind::Bool(true)),
            "false" => Some(Kind::Bool(false)),
            _ => word.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(Kind::Number(word)),
        }
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return None;
        }
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        self.at = start;
        let mut has_escapes = false;
        loop {
            self.at = from_json::special(bytes, self.at);
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => {
                    has_escapes = true;
                    self.at += 2;
                }
                _ => return None,
            }
        }
        let inner = self.text.get(start..self.at)?;
        self.at += 1;
        if has_escapes { sound::unescaped(inner).map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
    }
}

/// Each name once, where it stood first, with its last value.
fn last_of_equal(mut members: Vec<Member<'_>>) -> Vec<Member<'_>> {
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(members.len());
    let mut once: Vec<Member<'_>> = Vec::with_capacity(members.len());
    for (name, value) in members.drain(..) {
        match places.get(&name) {
            Some(place) => once[*place].1 = value,
            None => {
                places.insert(name.clone(), once.len());
                once.push((name, value));
            }
        }
    }
    once
}

/// Whether two members may have one name. Of so many that looking at pairs would take long, they always may.
fn has_equal(members: &[Member<'_>], seen: &mut Seen) -> bool {
    let mut is_repeated =
        |at: usize| seen.may_hold(&members[at].0) && members[..at].iter().any(|(earlier, _)| *earlier == members[at].0);
    members.len() > Seen::NAMES_MAX || (0..members.len()).any(&mut is_repeated)
}

/// The names that were seen, as far as that is told by a bit for some of them together.
#[derive(Debug, Default)]
pub(in crate::event) struct Seen(u128);

impl Seen {
    /// For more names than these it would tell too little.
    pub(in crate::event) const NAMES_MAX: usize = 128;

    /// Whether a name may have been seen before. It is now.
    pub(in crate::event) fn may_hold(&mut self, name: &str) -> bool {
        let was_seen = self.holds(name);
        self.0 |= Self::bit(name);
        was_seen
    }

    /// Whether a name may have been seen.
    fn holds(&self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }

    fn bit(name: &str) -> u128 {
        let byte = |at: usize| name.as_bytes().get(at).map_or(0, |byte| usize::from(*byte));
        let (first, middle, last) = (byte(0), byte(name.len() / 2), byte(name.len().wrapping_sub(1)));
        1 << ((first * 5 + middle * 11 + last * 7 + name.len() * 29) % 128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_text_and_of_equal_keys_the_last_counts() {
        let text =
            r#" {"a":1e400, "b" : [12345678901234567890123 ,true,null,"x\u0041\n"],"c":{},"a":-1.50,"\u0064":1} "#;
        let value = Json::read(text).expect("JSON");
        let names: Vec<&str> =
            value.as_object().expect("an object").into_iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(value.get("a").and_then(Json::scalar), Some("-1.50"));
        let Some(Kind::Array(values)) = value.get("b").map(|list| &list.kind) else { panic!("a list") };
        assert_eq!(values[0].raw(), "12345678901234567890123");
        assert_eq!(values[3].as_str(), Some("xA\n"));
        let many: String = (0..100).map(|n| format!("\"k{}\":{n},", n % 50)).collect();
        let many = format!("{{{many}\"last\":0}}");
        let many = Json::read(&many).expect("JSON");
        assert_eq!(many.as_object().map(|members| members.len()), Some(51));
        assert_eq!(many.at(&["k3"]).map(Json::raw), Some("53"));
    }

    #[test]
    fn what_is_no_json_is_none() {
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{a:1}",
            "[1",
            "[1 2]",
            "\"a",
            "\"\\",
            "x",
            "{} {}",
            "\"\\ud800\"",
            &deep,
        ] {
            assert!(Json::read(text).is_none(), "{text}");
        }
        assert!(Json::read_unknown("[1,]").is_none() && Json::read_unknown(" [-] ").is_none());
    }

    #[test]
    fn only_numbers_that_every_reader_knows_are_portable() {
        for text in ["0", "-9223372036854775808", "1.5", "1e3", r#"{"a":[1,"x",null,true]}"#] {
            assert!(Json::read(text).expect(text).is_portable(), "{text}");
        }
        for text in ["1e400", "9223372036854775808", "0.12345678901234567", r#"{"a":[{"b":1e999}]}"#] {
            assert!(!Json::read(text).expect(text).is_portable(), "{text}");
        }
    }
}
