//! `Keywords` of an event in JSON, as Windows writes them in XML.
//!
//! In XML they are 64 bits in hexadecimal, and queries ask for bits. Agents write them in decimal too, signed when the
//! highest bit makes them negative, or write the words that Windows shows instead.

use std::ops::BitOr;

use super::record::{Json, Kind};

/// The words that Windows shows, with the bits of the events that it shows them for.
const WORDS: [(&str, u64); 3] = [
    ("Audit Success", 0x8020_0000_0000_0000),
    ("Audit Failure", 0x8010_0000_0000_0000),
    ("Classic", 0x0080_0000_0000_0000),
];

/// The form in XML; `None` for what is neither a whole number (a float has lost bits) nor has a known word. Unknown words
/// beside known ones do not count.
pub(super) fn hexadecimal(value: &Json<'_>) -> Option<String> {
    bits(value).map(|bits| format!("{bits:#x}"))
}

fn bits(value: &Json<'_>) -> Option<u64> {
    match &value.kind {
        Kind::Number(digits) => digits.parse().ok().and_then(bits_of),
        Kind::String(text) => bits_of_text(text.trim()),
        Kind::Array(values) => values.iter().filter_map(bits).reduce(BitOr::bitor),
        Kind::Object(_) => ["#text", "_text", "$t"].iter().find_map(|name| bits(value.get(name)?)),
        Kind::Null | Kind::Bool(_) => None,
    }
}

/// The same of the digits of a number, or of a text.
pub(in crate::event) fn hexadecimal_of(text: &str, is_number: bool) -> Option<String> {
    let bits = if is_number { text.parse().ok().and_then(bits_of) } else { bits_of_text(text.trim()) };
    bits.map(|bits| format!("{bits:#x}"))
}

/// A number as 64 bits, a negative one in two's complement.
fn bits_of(whole: i128) -> Option<u64> {
    u64::try_from(whole).ok().or_else(|| i64::try_from(whole).ok().map(i64::cast_unsigned))
}

fn bits_of_text(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        return u64::from_str_radix(digits, 16).ok().filter(|_| are_digits);
    }
    text.parse().ok().and_then(bits_of).or_else(|| text.split(',').filter_map(bits_of_word).reduce(BitOr::bitor))
}

fn bits_of_word(word: &str) -> Option<u64> {
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word.trim())).map(|(_, bits)| *bits)
}
