//! Literals, the types that their spelling gives them, and how the text of a node compares with them.
//!
//! Windows takes a value's type from the manifest of the event's provider. A gateway has no manifests, so it goes by spelling,
//! on both sides: what looks like a number, a GUID, a SID or a time is one, in quotes or not. A literal has exactly one
//! [`Reading`], because no spelling belongs to two types, and it is decided once, when the query is read.
//!
//! - `=` holds when the texts are equal to the letter, or when both read as the same type with the same value:
//!   - numbers: decimal or `0x…`, whole ones compared exactly, so `0x1f4` is `500` and `4624.0` is `4624`;
//!   - GUIDs: without regard to braces and letter case;
//!   - SIDs: without regard to letter case;
//!   - times: as points in time, however many digits follow the second.
//! - `!=` holds of a node exactly when `=` does not. A query asks for *some* node, so of a missing one neither holds.
//! - `<`, `<=`, `>`, `>=` compare numbers with numbers and times with times. Against quoted text that is neither, texts are
//!   compared byte by byte, which for UTF-8 is the order of code points. Anything else does not hold.
//!
//! White space around a typed value does not count; in text every character does. Nothing here allocates.

use std::cmp::Ordering;

use crate::event::Timestamp;

/// How a value compares with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A literal of a query, with the reading that its spelling allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    /// As written, without quotes.
    pub text: Box<str>,
    /// Whether it stood in quotes.
    pub quoted: bool,
    reading: Reading,
}

/// What a spelling says, beside its letters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// A number.
    Number(Number),
    /// `{8-4-4-4-12}` hexadecimal digits, with or without braces.
    Guid(u128),
    /// `S-1-…`.
    Sid,
    /// A point in time.
    Time(Timestamp),
    /// Nothing but its letters.
    Text,
}

/// A number: whole ones keep every digit, for record ids and keywords need more than a float has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number, decimal or hexadecimal.
    Whole(i128),
    /// A number with a fraction, or with more digits than any whole number of an event.
    Fraction(f64),
}

impl Literal {
    /// What stood in quotes.
    pub fn quoted(text: &str) -> Self {
        Self { text: text.into(), quoted: true, reading: Reading::of(text) }
    }

    /// A number that stood without quotes (decimal or `0x…`); `None` when it is none.
    pub fn number(text: &str) -> Option<Self> {
        let number = Number::parse(text)?;
        Some(Self { text: text.into(), quoted: false, reading: Reading::Number(number) })
    }

    /// What its spelling says.
    pub fn reading(&self) -> Reading {
        self.reading
    }

    /// The number that it is, if it is one.
    pub fn as_number(&self) -> Option<Number> {
        match self.reading {
            Reading::Number(number) => Some(number),
            _ => None,
        }
    }

    /// The time that it is, if it is one.
    pub fn as_time(&self) -> Option<Timestamp> {
        match self.reading {
            Reading::Time(time) => Some(time),
            _ => None,
        }
    }

    /// Whether the text of a node compares so with this literal.
    pub fn compares(&self, text: &str, op: Op) -> bool {
        match op {
            Op::Eq => self.equals(text),
            Op::Ne => !self.equals(text),
            _ => self.order(text).is_some_and(|order| holds(order, op)),
        }
    }

    /// Whether a number, such as what `timediff` tells, compares so with this literal.
    pub fn compares_number(&self, number: Number, op: Op) -> bool {
        match self.as_number().and_then(|own| number.order(own)) {
            Some(order) => holds(order, op),
            None => op == Op::Ne,
        }
    }

    /// Whether a time compares so with this literal, which has to be one.
    pub fn compares_time(&self, time: Timestamp, op: Op) -> bool {
        self.as_time().map_or(op == Op::Ne, |own| holds(time.cmp(&own), op))
    }

    fn equals(&self, text: &str) -> bool {
        if *self.text == *text {
            return true;
        }
        match self.reading {
            Reading::Text => false,
            Reading::Sid => self.text.trim().eq_ignore_ascii_case(text.trim()),
            Reading::Guid(own) => guid(text.trim()) == Some(own),
            Reading::Number(_) | Reading::Time(_) => self.typed_order(text) == Some(Ordering::Equal),
        }
    }

    fn order(&self, text: &str) -> Option<Ordering> {
        match self.reading {
            Reading::Number(_) | Reading::Time(_) => self.typed_order(text),
            _ => self.quoted.then(|| text.cmp(&self.text)),
        }
    }

    fn typed_order(&self, text: &str) -> Option<Ordering> {
        match self.reading {
            Reading::Number(own) => Number::parse(text)?.order(own),
            Reading::Time(own) => Some(Timestamp::parse(text)?.cmp(&own)),
            _ => None,
        }
    }
}

impl Reading {
    fn of(text: &str) -> Self {
        let trimmed = text.trim();
        Number::parse(trimmed)
            .map(Self::Number)
            .or_else(|| guid(trimmed).map(Self::Guid))
            .or_else(|| is_sid(trimmed).then_some(Self::Sid))
            .or_else(|| Timestamp::parse(trimmed).map(Self::Time))
            .unwrap_or(Self::Text)
    }
}

impl Number {
    /// Reads a decimal number (no exponent: `1e5` is rather part of a hash) or a `0x…` of up to 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            return u64::from_str_radix(hex, 16).ok().filter(|_| digits).map(|bits| Self::Whole(bits.into()));
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        if !unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return None;
        }
        text.parse().ok().map(Self::Whole).or_else(|| text.parse().ok().map(Self::Fraction))
    }

    /// The number as bits, if it is a whole one of 64 bits.
    pub fn bits(self) -> Option<u64> {
        match self {
            Self::Whole(whole) => u64::try_from(whole).ok(),
            Self::Fraction(_) => None,
        }
    }

    /// The whole numbers next to it, below and above; twice the same when it is whole itself.
    pub(super) fn neighbours(self) -> (i128, i128) {
        match self {
            Self::Whole(whole) => (whole, whole),
            Self::Fraction(fraction) => (fraction.floor() as i128, fraction.ceil() as i128),
        }
    }

    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(own), Self::Whole(other)) => Some(own.cmp(&other)),
            _ => self.float().partial_cmp(&other.float()),
        }
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Fraction(fraction) => fraction,
        }
    }
}

fn holds(order: Ordering, op: Op) -> bool {
    match op {
        Op::Eq => order.is_eq(),
        Op::Ne => order.is_ne(),
        Op::Lt => order.is_lt(),
        Op::Le => order.is_le(),
        Op::Gt => order.is_gt(),
        Op::Ge => order.is_ge(),
    }
}

fn guid(text: &str) -> Option<u128> {
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    // Of this length only the form with dashes is.
    let is_long = bare.len() == 36;
    is_long.then(|| uuid::Uuid::try_parse(bare).ok()).flatten().map(|guid| guid.as_u128())
}

fn is_sid(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("S-").or_else(|| text.strip_prefix("s-")) else { return false };
    rest.contains('-') && rest.split('-').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[path = "literal_tests.rs"]
mod tests;
