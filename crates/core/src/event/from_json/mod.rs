//! The fields of an event in JSON, in one pass that also proves the bytes to be JSON.
//!
//! Raw bytes are forwarded inside an array, so one record that is no JSON would poison a batch: every byte is checked
//! against RFC 8259. On the way the fields are taken from the shapes in which agents write Windows events. A shape is
//! not recognised as such: each known key has a rank, and for each field the usable value of the highest rank counts.
//! Of equal keys the last usable value counts. A level in words counts only where none stands as a number: Windows shows
//! level 0 as "Information" as well. A record whose own keys make no event is the one that it quotes in XML, if it does
//! ([`quoted`](super::quoted)).

use std::borrow::Cow;

use super::computers::Computers;
use super::{Fields, MAX_JSON_DEPTH, Timestamp, numbers, trimmed};
use keys::Field::{self, Channel, Computer, EventId, Level, Provider, RecordId, Time};
use keys::{Place, Target, level_of_word, target};

pub(super) mod keys;
mod naming;
mod quoting;
pub mod walk;

pub(super) use naming::computers;

/// Why bytes are no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at byte {offset}")]
pub struct JsonError {
    /// What was expected.
    pub reason: &'static str,
    /// Where, in bytes from the start of the text.
    pub offset: usize,
}

/// One JSON value that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned<'a> {
    /// What was found in it; nothing when it is no object.
    pub fields: Fields<'a>,
    /// The position after it.
    pub end: usize,
    /// Whether it is an object.
    pub is_object: bool,
    /// Whether a string holds half of a surrogate pair: the grammar allows that, most receivers do not.
    pub unpaired_surrogate: bool,
}

/// Reads the JSON value that begins at `at`; what follows it is not looked at.
///
/// # Errors
///
/// When there is no JSON value at `at`, or it is nested deeper than [`MAX_JSON_DEPTH`].
pub fn scan(text: &str, at: usize) -> Result<Scanned<'_>, JsonError> {
    let mut scanner = Scanner::new(text, at);
    let is_object = scanner.peek() == Some(b'{');
    if is_object {
        scanner.object(Place::Root)?;
    } else {
        scanner.skip()?;
    }
    scanner.fields.level = scanner.fields.level.or(scanner.level_word.take().map(|word| word.level));
    scanner.take_quoted(at);
    Ok(Scanned { fields: scanner.fields, end: scanner.pos, is_object, unpaired_surrogate: scanner.unpaired })
}

/// Whether a value under this key of a flat record is a field, or holds fields.
pub fn is_field(key: &str) -> bool {
    matches!(target(Place::Root, key), Target::Value(..) | Target::System | Target::Body)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pos: usize,
    depth: usize,
    unpaired: bool,
    fields: Fields<'a>,
    /// The rank of each field's present value; 0 when it has none.
    ranks: [u8; 7],
    level_word: Option<LevelWord>,
    /// The texts that may be the event, in XML.
    quotes: Vec<Quoted>,
    /// Every computer that is named, where somebody asks for them.
    computers: Option<Computers<'a>>,
}

/// A level that was told in words.
struct LevelWord {
    rank: u8,
    level: u8,
}

type Scan<T = ()> = Result<T, JsonError>;

impl<'a> Scanner<'a> {
    fn new(text: &'a str, at: usize) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            pos: at,
            depth: 0,
            unpaired: false,
            fields: Fields::default(),
            ranks: [0; 7],
            level_word: None,
            quotes: Vec::new(),
            computers: None,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    fn fail<T>(&self, reason: &'static str) -> Scan<T> {
        Err(JsonError { reason, offset: self.pos })
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.pos += 1;
        }
    }

    fn take(&mut self, byte: u8, reason: &'static str) -> Scan {
        if self.peek() != Some(byte) {
            return self.fail(reason);
        }
        self.pos += 1;
        Ok(())
    }

    fn enter(&mut self) -> Scan {
        self.depth += 1;
        if self.depth > MAX_JSON_DEPTH {
            return self.fail("the record is nested deeper than 64 levels");
        }
        self.pos += 1;
        self.blank();
        Ok(())
    }

    fn object(&mut self, place: Place) -> Scan {
        self.enter()?;
        if self.peek() != Some(b'}') {
            loop {
                let key = self.key()?;
                self.blank();
                self.take(b':', "expected \":\" after a key")?;
                self.blank();
                match place {
                    Place::Elsewhere => self.skip()?,
                    _ => self.member(place, &key)?,
                }
                self.blank();
                match self.peek() {
                    Some(b',') => self.pos += 1,
                    Some(b'}') => break,
                    _ => return self.fail("expected \",\" or \"}\" in an object"),
                }
                self.blank();
            }
        }
        self.pos += 1;
        self.depth -= 1;
        Ok(())
    }

    fn key(&mut self) -> Scan<Cow<'a, str>> {
        if self.peek() != Some(b'"') {
            return self.fail("expected a key in double quotes");
        }
        self.string()
    }

    fn member(&mut self, place: Place, key: &str) -> Scan {
        if self.computers.is_some() {
            self.note(place, key)?;
        }
        match (target(place, key), self.peek()) {
            (Target::Value(field, rank), Some(b'{')) => self.object(Place::Inside(field, rank)),
            (Target::Value(field, rank), _) => self.value(field, rank),
            (Target::Object(place), Some(b'{')) => self.object(place),
            (Target::System, Some(b'{')) => self.object(Place::System),
            (Target::Body, Some(b'{')) => self.object(Place::Root),
            (Target::RawTime(rank), _) => self.raw_time(rank),
            (_, Some(b'"')) => self.pass_text().map(drop),
            _ => self.skip(),
        }
    }

    fn value(&mut self, field: Field, rank: u8) -> Scan {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                self.found_text(field, rank, text);
            }
            Some(b'-' | b'0'..=b'9') => {
                let start = self.pos;
                self.number()?;
                self.found_number(field, rank, &self.text[start..self.pos]);
            }
            Some(b'n') if field == Channel => {
                self.skip()?;
                self.found_text(field, rank, Cow::Borrowed(""));
            }
            _ => self.skip()?,
        }
        Ok(())
    }

    /// The time of a provider that had none in words, as a number or as text.
    fn raw_time(&mut self, rank: u8) -> Scan {
        let start = self.pos;
        self.skip()?;
        let time = Timestamp::from_raw(self.text[start..self.pos].trim_matches('"'));
        if !self.outranked(Time, rank) && replace(&mut self.fields.time, time) {
            self.ranks[Time as usize] = rank;
        }
        Ok(())
    }

    fn outranked(&self, field: Field, rank: u8) -> bool {
        rank < self.ranks[field as usize]
    }

    fn found_text(&mut self, field: Field, rank: u8, text: Cow<'a, str>) {
        if self.outranked(field, rank) {
            return;
        }
        let text = trimmed(text);
        let usable = match field {
            Computer => !text.is_empty() && replace(&mut self.fields.computer, Some(text)),
            Channel => replace(&mut self.fields.channel, Some(text)),
            Provider => replace(&mut self.fields.provider, Some(text)),
            Time => replace(&mut self.fields.time, Timestamp::parse(&text)),
            EventId | RecordId => return self.found_number(field, rank, &text),
            Level => return self.found_level(rank, &text),
        };
        if usable {
            self.ranks[field as usize] = rank;
        }
    }

    fn found_level(&mut self, rank: u8, text: &str) {
        let Some(level) = level_of_word(text) else { return self.found_number(Level, rank, text) };
        if self.level_word.as_ref().is_none_or(|known| known.rank <= rank) {
            self.level_word = Some(LevelWord { rank, level });
        }
    }

    fn found_number(&mut self, field: Field, rank: u8, number: &str) {
        if self.outranked(field, rank) {
            return;
        }
        let usable = match field {
            EventId => replace(&mut self.fields.event_id, numbers::EventId::read(number).map(|read| read.id.into())),
            RecordId => replace(&mut self.fields.record_id, numbers::whole(number)),
            Level => replace(&mut self.fields.level, numbers::whole(number)),
            Time => replace(&mut self.fields.time, Timestamp::from_number(number)),
            Computer | Channel | Provider => false,
        };
        if usable {
            self.ranks[field as usize] = rank;
        }
    }

    fn skip(&mut self) -> Scan {
        match self.peek() {
            Some(b'"') => self.pass_string().map(drop),
            Some(b'{') => self.skip_object(),
            Some(b'[') => self.skip_array(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(_) => self.fail("expected a JSON value"),
            None => self.fail("the text ends where a JSON value should be"),
        }
    }

    fn skip_object(&mut self) -> Scan {
        self.object(Place::Elsewhere)
    }

    fn skip_array(&mut self) -> Scan {
        self.enter()?;
        if self.peek() != Some(b']') {
            loop {
                self.skip()?;
                self.blank();
                match self.peek() {
                    Some(b',') => self.pos += 1,
                    Some(b']') => break,
                    _ => return self.fail("expected \",\" or \"]\" in an array"),
                }
                self.blank();
            }
        }
        self.pos += 1;
        self.depth -= 1;
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Scan {
        if !self.bytes[self.pos..].starts_with(word) {
            return self.fail("expected true, false or null");
        }
        self.pos += word.len();
        Ok(())
    }

    fn digits(&mut self) -> Scan {
        let start = self.pos;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
        if self.pos == start { self.fail("expected a digit in a number") } else { Ok(()) }
    }

    fn number(&mut self) -> Scan {
        self.pos += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.pos += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.pos += 1;
            self.pos += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Scan<Cow<'a, str>> {
        let escaped = self.pass_string()?;
        // Both ends are ASCII quotes, so the slice begins and ends between characters.
        let quoted = escaped.start - 1..escaped.end + 1;
        if !escaped.has_escapes {
            return Ok(Cow::Borrowed(&self.text[escaped.start..escaped.end]));
        }
        // Half a surrogate pair makes the record unreadable as a whole; what the field would hold does not matter.
        Ok(Cow::Owned(serde_json::from_str(&self.text[quoted]).unwrap_or_default()))
    }

    /// Half of what reading takes is this, and a call for each string an eighth of it.
    #[inline(always)]
    fn pass_string(&mut self) -> Scan<Quoted> {
        let start = self.pos + 1;
        self.pos = start;
        let mut has_escapes = false;
        loop {
            self.pos = special(self.bytes, self.pos);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("a control character in a string must be escaped"),
                None => return self.fail("a string does not end"),
            }
        }
        self.pos += 1;
        Ok(Quoted { start, end: self.pos - 1, has_escapes })
    }

    fn escape(&mut self) -> Scan {
        match self.bytes.get(self.pos + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.pos += 2;
                Ok(())
            }
            Some(b'u') => match self.unit(self.pos)? {
                0xD800..=0xDBFF => {
                    self.pos += 6;
                    let follows = self.bytes[self.pos..].starts_with(b"\\u");
                    if follows && (0xDC00..=0xDFFF).contains(&self.unit(self.pos)?) {
                        self.pos += 6;
                    } else {
                        self.unpaired = true;
                    }
                    Ok(())
                }
                unit => {
                    self.unpaired |= (0xDC00..=0xDFFF).contains(&unit);
                    self.pos += 6;
                    Ok(())
                }
            },
            _ => self.fail("an escape in a string is unknown"),
        }
    }

    /// The number in `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Scan<u32> {
        let digits = self.bytes.get(at + 2..at + 6).unwrap_or_default();
        let number = digits.iter().try_fold(0, |n, digit| Some(n * 16 + char::from(*digit).to_digit(16)?));
        match number.filter(|_| digits.len() == 4) {
            Some(number) => Ok(number),
            None => self.fail("expected four hexadecimal digits after \\u"),
        }
    }
}

/// Where a string's text stands, without its quotes.
struct Quoted {
    start: usize,
    end: usize,
    has_escapes: bool,
}

/// Takes a value if it is one, and tells whether it did.
fn replace<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let usable = value.is_some();
    if usable {
        *slot = value;
    }
    usable
}

/// The position of the next byte that ends or breaks a string: a quote, a backslash or a control character.
///
/// Eight bytes at a time: most strings are too short for a vector search to pay, and no vector search in `memchr` looks for
/// a range.
#[inline]
pub fn special(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let hits = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5C), 1);
        if hits != 0 {
            // A borrow can only mark bytes above a true hit, so the lowest mark is right.
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let stops = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    bytes[at.min(bytes.len())..].iter().position(stops).map_or(bytes.len(), |found| at + found)
}

#[cfg(test)]
mod tests;
