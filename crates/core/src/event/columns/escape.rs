//! Texts and numbers as JSON, byte for byte as serde_json writes them.
//!
//! Nearly all texts of events need no escape, and paths of Windows need one in ten bytes. So eight bytes are looked at in one
//! step, and what lies between two escapes is copied whole.

/// Appends a text in quotes.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = special.split_first() else { break };
        escaped(*byte, out);
        rest = after;
    }
    out.push(b'"');
}

/// Appends a text as XML writes it inside of elements and attributes, as a part of a text in quotes.
pub(super) fn xml(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| IN_XML[usize::from(*byte)]) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\r' => out.extend_from_slice(b"&#13;"),
            b'\n' => out.extend_from_slice(b"&#10;"),
            b'\t' => out.extend_from_slice(b"&#9;"),
            byte => escaped(byte, out),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The bytes that are written otherwise in XML, or in JSON.
static IN_XML: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'&' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special
};

/// Appends a number.
pub(super) fn number(number: i32, out: &mut Vec<u8>) {
    let mut digits = [0; 11];
    let mut at = digits.len();
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

fn escaped(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes stand before the first that needs an escape.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let found = needing_escapes(u64::from_le_bytes(*word));
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let needs = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    words.len() * 8 + tail.iter().position(needs).unwrap_or(tail.len())
}

/// The top bit of each byte that needs an escape, at least up to the lowest such byte.
fn needing_escapes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let below = |limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
    let equal = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    };
    (below(0x20) | equal(b'"') | equal(b'\\')) & TOPS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::columns::data_xml::Escaped;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        string(text, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_byte_at_every_place_is_written_as_serde_json_writes_it() {
        for byte in 0..=0x7F_u8 {
            for before in 0..17 {
                let text = format!("{}{}ü\u{7f}", "x".repeat(before), char::from(byte));
                assert_eq!(written(&text), serde_json::to_string(&text).expect("text"), "{text:?}");
            }
        }
    }

    #[test]
    fn numbers_are_written_with_their_digits() {
        for given in [0, 7, 10, -1, 4624, i32::MAX, i32::MIN] {
            let mut out = Vec::new();
            number(given, &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), given.to_string());
        }
    }

    proptest! {
        #[test]
        fn text_in_xml_is_written_as_the_text_of_a_tree_is(text in "\\PC{0,20}[\\x00-\\x7f]{0,40}[&<>\"\\\\]{0,4}") {
            let mut out = vec![b'"'];
            xml(&text, &mut out);
            out.push(b'"');
            let expected = written(&Escaped(&text).to_string());
            prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        }

        #[test]
        fn any_text_is_written_as_serde_json_writes_it(text in "\\PC{0,40}[\\x00-\\x7f]{0,40}\\PC{0,10}") {
            prop_assert_eq!(written(&text), serde_json::to_string(&text).expect("text"));
        }
    }
}
