//! What short texts begin with, and what stands in them, eight bytes at a time.
//!
//! Names and values of events are too short for a vector search to pay, and long enough that looking at each byte by itself was a
//! large part of what it took to rewrite an event.

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// How many letters of ASCII a text begins with.
#[inline]
pub fn letters(text: &[u8]) -> usize {
    leading(text, letters_of, |byte| byte.is_ascii_alphabetic())
}

/// How many letters, digits and underscores of ASCII a text begins with.
#[inline]
pub fn word(text: &[u8]) -> usize {
    let of_words = |word: u64| {
        let low = word & !HIGH;
        let digits = (low + ONES * (0x80 - 0x30)) & !(low + ONES * (0x80 - 0x3A));
        let underscores = HIGH - (low ^ (ONES * 0x5F));
        letters_of(word) | (digits | underscores) & !word & HIGH
    };
    leading(text, of_words, |byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Marks the letters in eight bytes. No sum of two bytes without their high bits carries into the next.
#[inline]
fn letters_of(word: u64) -> u64 {
    let small = (word & !HIGH) | (ONES * 0x20);
    (small + ONES * (0x80 - 0x61)) & !(small + ONES * (0x80 - 0x7B)) & !word & HIGH
}

#[inline]
fn leading(text: &[u8], marked: impl Fn(u64) -> u64, is_one: impl Fn(u8) -> bool) -> usize {
    let (chunks, rest) = text.as_chunks::<8>();
    for (at, chunk) in chunks.iter().enumerate() {
        let others = !marked(u64::from_le_bytes(*chunk)) & HIGH;
        if others != 0 {
            return at * 8 + others.trailing_zeros() as usize / 8;
        }
    }
    let found = rest.iter().position(|byte| !is_one(*byte));
    text.len() - rest.len() + found.unwrap_or(rest.len())
}

/// The position of the next byte that a text or an attribute in XML writes as an entity: `&`, `<`, `>` or a double quote; behind the
/// text where there is none.
#[inline]
pub fn markup(text: &[u8], mut at: usize) -> usize {
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // Each two of them differ in one bit.
        let hits = zeros((word | (ONES * 0x02)) ^ (ONES * 0x3E)) | zeros((word | (ONES * 0x04)) ^ (ONES * 0x26));
        if hits != 0 {
            // A borrow can only mark bytes above a true hit, so the lowest mark is right.
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_markup = |byte: &u8| matches!(byte, b'&' | b'<' | b'>' | b'"');
    text[at.min(text.len())..].iter().position(is_markup).map_or(text.len(), |found| at + found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leading_by_bytes(text: &[u8], is_one: impl Fn(u8) -> bool) -> usize {
        text.iter().take_while(|byte| is_one(**byte)).count()
    }

    #[test]
    fn each_byte_is_told_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..16 {
                let mut text = [b'a'; 16];
                text[at] = byte;
                assert_eq!(letters(&text), leading_by_bytes(&text, |byte| byte.is_ascii_alphabetic()));
                let is_of_words = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                assert_eq!(word(&text), leading_by_bytes(&text, is_of_words));
                assert_eq!(markup(&text, 0), if b"&<>\"".contains(&byte) { at } else { 16 });
            }
        }
    }

    proptest! {
        #[test]
        fn eight_bytes_at_a_time_find_what_one_at_a_time_does(text: Vec<u8>, like in "[ -z]{0,40}", from in 0usize..8) {
            for text in [&text[..], like.as_bytes()] {
                prop_assert_eq!(letters(text), leading_by_bytes(text, |byte| byte.is_ascii_alphabetic()));
                prop_assert_eq!(word(text), leading_by_bytes(text, |byte| byte.is_ascii_alphanumeric() || byte == b'_'));
                let from = from.min(text.len());
                let found = leading_by_bytes(&text[from..], |byte| !b"&<>\"".contains(&byte));
                prop_assert_eq!(markup(text, from), from + found);
            }
        }
    }
}
