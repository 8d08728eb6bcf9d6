//! Text that a client sent, made harmless: one quoted JSON string of printable ASCII, short.
//!
//! JSON alone would let through what a terminal or an editor obeys: DEL, C1 controls, characters that turn the writing
//! direction. So whatever is not printable ASCII is written as its number; a JSON reader gets the original back.

/// Bytes of a string in a line, without its quotes.
const TEXT_MAX_BYTES: usize = 256;

/// What a string that was cut ends with.
const CUT: &[u8] = b"...";

/// As much of a text as a line can show, and a character more: it tells that there was more. For lines that wait.
pub fn beginning(text: &str) -> &str {
    &text[..text.ceil_char_boundary(TEXT_MAX_BYTES + 1)]
}

/// Appends `text` in quotes.
pub fn quoted(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let harmless = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    if text.len() <= TEXT_MAX_BYTES && text.bytes().all(harmless) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let start = out.len();
    // The longest beginning that leaves room for the mark of a cut.
    let mut cut_at = start;
    for character in text.chars() {
        if out.len() - start + CUT.len() <= TEXT_MAX_BYTES {
            cut_at = out.len();
        }
        escaped(character, out);
        if out.len() - start > TEXT_MAX_BYTES {
            out.truncate(cut_at);
            out.extend_from_slice(CUT);
            break;
        }
    }
    out.push(b'"');
}

/// Appends `text` as it is when it cannot be mistaken for anything else, else in quotes.
pub fn word(text: &str, out: &mut Vec<u8>) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]/@+*".contains(&b);
    if !text.is_empty() && text != "-" && text.len() <= TEXT_MAX_BYTES && text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        quoted(text, out);
    }
}

fn escaped(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        ' '..='~' => out.push(character as u8),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(b"0123456789abcdef"[usize::from(*unit >> shift & 15)]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escape(text: &str) -> String {
        let mut out = Vec::new();
        quoted(text, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn controls_quotes_and_directions_become_numbers() {
        for (text, expected) in [
            ("\u{1b}[31mevil.test:443", r#""\u001b[31mevil.test:443""#),
            ("a%0d%0ab", r#""a%0d%0ab""#),
            ("a\r\nb\0\t", r#""a\u000d\u000ab\u0000\u0009""#),
            ("\u{202e}txt", r#""\u202etxt""#),
            ("\u{2066}\u{200b}\u{feff}\u{7f}\u{9b}", r#""\u2066\u200b\ufeff\u007f\u009b""#),
            (r#"" \ ","status":"200"#, r#""\" \\ \",\"status\":\"200""#),
            ("ü😀", r#""\u00fc\ud83d\ude00""#),
            ("", r#""""#),
        ] {
            assert_eq!(escape(text), expected);
            assert_eq!(serde_json::from_str::<String>(expected).expect("JSON"), text);
        }
    }

    #[test]
    fn strings_are_short_and_cut_between_characters() {
        for text in ["x".repeat(10_000), "\u{1b}".repeat(10_000), "😀".repeat(10_000), "\"".repeat(257)] {
            let escaped = escape(&text);
            assert!((TEXT_MAX_BYTES - 12..=TEXT_MAX_BYTES).contains(&(escaped.len() - 2)), "{}", escaped.len());
            let back: String = serde_json::from_str(&escaped).expect("JSON");
            assert!(text.starts_with(back.strip_suffix("...").expect("a mark")));
        }
        for text in ["x", "\u{1b}", "ü", "x😀"].map(|part| part.repeat(300)) {
            assert!(beginning(&text).len() <= TEXT_MAX_BYTES + 4);
            assert_eq!(escape(beginning(&text)), escape(&text), "a beginning shows the same");
        }
        assert_eq!(beginning("all of it"), "all of it");
        let just = "x".repeat(TEXT_MAX_BYTES);
        assert_eq!(escape(&just), format!("\"{just}\""));
    }

    #[test]
    fn a_word_stands_alone_only_when_it_is_one() {
        let word = |text: &str| {
            let mut out = Vec::new();
            word(text, &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(word("[2001:db8::1]:443"), "[2001:db8::1]:443");
        for text in ["two words", "", "-", "a=b", "a\nb", "ü"] {
            assert!(word(text).starts_with('"'), "{text:?}");
        }
    }
}
