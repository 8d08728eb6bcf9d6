//! Request targets: path segments and query parameters, percent-decoded.
//!
//! The crates `percent-encoding` and `form_urlencoded` leave a broken encoding as it stands, so that one target could be read in two
//! ways. Here it is refused.

use std::borrow::Cow;

/// The segments of a path, still encoded; empty ones (`//`) do not count.
pub fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

/// The decoded value of the first query parameter of that name, in any letter case.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(key).is_some_and(|key| key.eq_ignore_ascii_case(name)).then(|| decode(value)).flatten()
    })
}

/// Undoes percent-encoding, once. `None` when it is broken or what comes out is not UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
