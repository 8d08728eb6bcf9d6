//! A record in JSON, member by member, for whoever writes it anew: it is proven on the way as [`scan`](super::scan) proves it, and
//! what its fields will be follows from the names under which its members are kept. Nobody has to read it again then.
//!
//! Who walks has to say of each member what becomes of it: [`Walk::keep`] under a name, or [`Walk::pass`] where it is left out or
//! gets a name that [`is_field`] of none.

use std::borrow::Cow;

use super::keys::{Field, Place, Target, target};
use super::{JsonError, Scan, Scanner, is_field, replace, special};
use crate::event::near::word;
use crate::event::{Fields, Timestamp, quoted};

/// Where reading is in a record.
pub struct Walk<'a> {
    scanner: Scanner<'a>,
    is_first: bool,
}

/// The name of a member, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// Where it begins, with its quote.
    pub at: usize,
    /// Behind its last quote.
    pub end: usize,
    /// Whether it is written without escapes.
    pub is_plain: bool,
    /// Whether it holds nothing but the letters that were asked for.
    pub has_letters: bool,
}

/// A member that is written as nearly all are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Where its name begins, with its quote.
    pub at: usize,
    /// Behind the last quote of its name.
    pub name_end: usize,
    /// Where its value begins.
    pub value_at: usize,
    /// Behind its value.
    pub end: usize,
    /// Whether its value is a string that is written without escapes.
    pub is_plain_text: bool,
}

impl<'a> Walk<'a> {
    /// Goes into the object that begins at `at`.
    ///
    /// # Errors
    ///
    /// When none begins there.
    pub fn open(text: &'a str, at: usize) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text, at);
        if scanner.peek() != Some(b'{') {
            return scanner.fail("expected an object");
        }
        scanner.enter()?;
        Ok(Self { scanner, is_first: true })
    }

    /// Where reading goes on: at the value, once its name was read.
    #[inline]
    pub fn pos(&self) -> usize {
        self.scanner.pos
    }

    /// The name of the next member, whose value is to be kept or passed then; `None` behind the object. `letters` tells how
    /// many letters a text begins with that need no escapes: names of nothing else are known then.
    ///
    /// # Errors
    ///
    /// When this is no JSON.
    #[inline]
    pub fn name(&mut self, letters: impl Fn(&[u8]) -> usize) -> Result<Option<Name>, JsonError> {
        if !self.has_more()? {
            return Ok(None);
        }
        let scanner = &mut self.scanner;
        let at = scanner.pos;
        if scanner.peek() != Some(b'"') {
            return scanner.fail("expected a key in double quotes");
        }
        let rest = &scanner.bytes[at + 1..];
        let letters = letters(rest);
        let has_letters = rest.get(letters) == Some(&b'"');
        let is_plain = if has_letters {
            scanner.pos = at + letters + 2;
            true
        } else {
            !scanner.pass_string()?.has_escapes
        };
        let end = scanner.pos;
        scanner.blank();
        scanner.take(b':', "expected \":\" after a key")?;
        scanner.blank();
        Ok(Some(Name { at, end, is_plain, has_letters }))
    }

    #[inline]
    fn has_more(&mut self) -> Scan<bool> {
        let scanner = &mut self.scanner;
        let is_first = std::mem::take(&mut self.is_first);
        if !is_first {
            scanner.blank();
        }
        match scanner.peek() {
            Some(b'}') => {
                scanner.pos += 1;
                return Ok(false);
            }
            _ if is_first => return Ok(true),
            Some(b',') => scanner.pos += 1,
            _ => return scanner.fail("expected \",\" or \"}\" in an object"),
        }
        scanner.blank();
        Ok(true)
    }

    /// Passes over the next member where it is written without white space, its name holds nothing but letters, digits and
    /// underscores, and its value is a flag, a whole number, or a string that cannot be an event and escapes nothing but quotes and
    /// backslashes. `None`, and nothing is passed, where the next member is anything else, is broken, or there is none.
    ///
    /// It finds what [`Walk::name`] and [`Walk::pass`] find, in one step, for they see little else.
    #[inline(always)]
    pub fn plain(&mut self) -> Option<Plain> {
        let scanner = &mut self.scanner;
        let at = scanner.pos + usize::from(!self.is_first);
        if !self.is_first && scanner.peek() != Some(b',') {
            return None;
        }
        let name = scanner.bytes.get(at..)?.strip_prefix(b"\"")?;
        let length = word(name);
        let value = name.get(length..)?.strip_prefix(b"\":")?;
        let (mut behind, mut is_plain_text) = (1, false);
        match value.first()? {
            b'"' => {
                is_plain_text = true;
                loop {
                    behind = special(value, behind);
                    match value.get(behind..)? {
                        [b'"', ..] => break,
                        [b'\\', b'\\' | b'"', ..] => (is_plain_text, behind) = (false, behind + 2),
                        _ => return None,
                    }
                }
                if quoted::may_begin(&value[1..behind]) {
                    return None;
                }
                behind += 1;
            }
            b'1'..=b'9' => behind += value[1..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
            b'0' => {}
            b't' if value.starts_with(b"true") => behind = 4,
            b'f' if value.starts_with(b"false") => behind = 5,
            _ => return None,
        }
        // A number might go on.
        if !matches!(value.get(behind), Some(b',' | b'}')) {
            return None;
        }
        let name_end = at + length + 2;
        let value_at = name_end + 1;
        (scanner.pos, self.is_first) = (value_at + behind, false);
        Some(Plain { at, name_end, value_at, end: value_at + behind, is_plain_text })
    }

    /// What a name means.
    #[inline]
    pub fn text_of(&self, name: &Name) -> Cow<'a, str> {
        // Both ends are ASCII quotes, so the slice begins and ends between characters.
        match name.is_plain {
            true => Cow::Borrowed(&self.scanner.text[name.at + 1..name.end - 1]),
            // What cannot be read ends in no fields: see `end`.
            false => Cow::Owned(serde_json::from_str(&self.scanner.text[name.at..name.end]).unwrap_or_default()),
        }
    }

    /// Passes over the value that is next, which is kept as it is written, under this name.
    ///
    /// # Errors
    ///
    /// When this is no JSON.
    #[inline]
    pub fn keep(&mut self, name: &str) -> Result<(), JsonError> {
        self.scanner.member(Place::Root, name)
    }

    /// Keeps a value, which was passed over, under this name after all. It begins at `at`, and is the last that was read.
    ///
    /// # Errors
    ///
    /// None that were not told when it was passed over.
    pub fn keep_after_all(&mut self, at: usize, name: &str) -> Result<(), JsonError> {
        self.scanner.pos = at;
        self.keep(name)
    }

    /// Keeps a member that was passed over [in one step](Walk::plain) under this name after all. It is the last that was read.
    ///
    /// # Errors
    ///
    /// None: what it holds was read.
    #[inline]
    pub fn keep_plain(&mut self, plain: &Plain, name: &str) -> Result<(), JsonError> {
        // Nothing else makes a difference for a flag, a number or a text.
        if is_field(name) { self.keep_after_all(plain.value_at, name) } else { Ok(()) }
    }

    /// Passes over the value that is next; whether it is a string without escapes.
    ///
    /// # Errors
    ///
    /// When this is no JSON.
    #[inline]
    pub fn pass(&mut self) -> Result<bool, JsonError> {
        if self.scanner.peek() == Some(b'"') {
            return self.scanner.pass_text();
        }
        self.scanner.skip()?;
        Ok(false)
    }

    /// Adds a member that the record does not have: a text, behind what was kept.
    pub fn add(&mut self, name: &str, text: Cow<'a, str>) {
        if let Target::Value(field, rank) = target(Place::Root, name) {
            self.scanner.found_text(field, rank, text);
        }
    }

    /// The same, of a text that is read as this time.
    pub fn add_time(&mut self, name: &str, time: Option<Timestamp>) {
        let scanner = &mut self.scanner;
        if let Target::Value(Field::Time, rank) = target(Place::Root, name)
            && !scanner.outranked(Field::Time, rank)
            && replace(&mut scanner.fields.time, time)
        {
            scanner.ranks[Field::Time as usize] = rank;
        }
    }

    /// Whether a string that was read so far holds half of a surrogate pair: it has no text.
    pub fn is_unreadable(&self) -> bool {
        self.scanner.unpaired
    }

    /// The fields of what was kept, behind the end of the object; `None` where they do not follow from its members alone: a string
    /// holds half of a surrogate pair, or the record may quote the event that it is.
    pub fn end(self) -> Option<Fields<'a>> {
        let Scanner { mut fields, level_word, unpaired, quotes, .. } = self.scanner;
        fields.level = fields.level.or(level_word.map(|word| word.level));
        let may_quote = !quotes.is_empty() && !fields.is_windows_event();
        (!unpaired && !may_quote).then_some(fields)
    }
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
