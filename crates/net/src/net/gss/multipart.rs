//! A sealed body as Windows frames it (MS-WSMV 2.2.9.1):
//!
//! ```text
//! --Encrypted Boundary
//! Content-Type: application/HTTP-Kerberos-session-encrypted
//! OriginalContent: type=application/soap+xml;charset=UTF-16;Length=3240
//! --Encrypted Boundary
//! Content-Type: application/octet-stream
//! <sealed bytes>--Encrypted Boundary--
//! ```
//!
//! No empty line stands behind the fields. Some writers begin each of them with a tab, or leave a space before the boundary; both
//! are read, none is written. The sealed bytes reach to the last boundary, whose place is known from the end: they are never
//! searched.

use std::ops::Range;

/// How a host shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A ticket of Kerberos.
    Kerberos,
    /// The same in SPNEGO.
    Negotiate,
}

impl Scheme {
    /// Both, as a host is told of them.
    pub const ALL: [Self; 2] = [Self::Kerberos, Self::Negotiate];

    /// Its name in HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kerberos => "Kerberos",
            Self::Negotiate => "Negotiate",
        }
    }

    /// What a body sealed with it is called.
    fn protocol(self) -> &'static str {
        match self {
            Self::Kerberos => "application/HTTP-Kerberos-session-encrypted",
            Self::Negotiate => "application/HTTP-SPNEGO-session-encrypted",
        }
    }
}

const MEDIA_TYPE: &str = "multipart/encrypted";
const BOUNDARY: &str = "Encrypted Boundary";
const OCTETS: &str = "application/octet-stream";
/// Longer than any line that a host writes.
const LINE_MAX: usize = 512;
const LAST: &[u8] = b"--Encrypted Boundary--\r\n";

/// Why a body is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed body is not framed as Windows does it: {0}")]
pub struct FramingError(&'static str);

/// A sealed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// Where in it the sealed bytes stand.
    pub sealed: Range<usize>,
    /// How long its sender says that the message is.
    pub length: Option<u64>,
}

/// Whether a Content-Type says that a body is sealed.
pub fn is_sealed(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(MEDIA_TYPE.as_bytes())
}

/// The Content-Type of a body sealed with a scheme.
pub fn content_type(scheme: Scheme) -> String {
    format!("{MEDIA_TYPE};protocol=\"{}\";boundary=\"{BOUNDARY}\"", scheme.protocol())
}

/// Finds the sealed bytes of a body.
///
/// # Errors
///
/// When it is not framed as it has to be.
pub fn read(body: &[u8], scheme: Scheme) -> Result<Framed, FramingError> {
    let mut lines = Lines { body, at: 0 };
    lines.boundary()?;
    let protocol = lines.field("content-type")?.ok_or(FramingError("the first part has no Content-Type"))?;
    if !protocol.eq_ignore_ascii_case(scheme.protocol()) {
        return Err(FramingError("it is sealed in another way than the host showed who it is"));
    }
    let original = lines.field("originalcontent")?.ok_or(FramingError("there is no OriginalContent"))?;
    lines.boundary()?;
    let octets = lines.field("content-type")?.ok_or(FramingError("the second part has no Content-Type"))?;
    if !octets.eq_ignore_ascii_case(OCTETS) {
        return Err(FramingError("the second part is not application/octet-stream"));
    }
    let rest = &body[lines.at..];
    let last = rest.strip_suffix(LAST).or_else(|| rest.strip_suffix(LAST.trim_ascii_end()));
    let sealed = last.ok_or(FramingError("it does not end with the last boundary"))?;
    Ok(Framed { sealed: lines.at..lines.at + sealed.len(), length: length(original) })
}

/// Frames sealed bytes whose message had this length.
pub fn written(scheme: Scheme, kind: &str, length: usize, sealed: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Type: {}\r\nOriginalContent: type={kind};Length={length}\r\n--{BOUNDARY}\r\nContent-Type: {OCTETS}\r\n",
        scheme.protocol()
    );
    [head.as_bytes(), sealed, LAST].concat()
}

fn length(original: &str) -> Option<u64> {
    let mut parameters = original.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, length) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("length"))?;
    length.trim().parse().ok()
}

struct Lines<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn line(&mut self) -> Result<&'a str, FramingError> {
        let rest = &self.body[self.at..];
        let searched = &rest[..rest.len().min(LINE_MAX)];
        let end = memchr::memmem::find(searched, b"\r\n").ok_or(FramingError("a line does not end"))?;
        self.at += end + 2;
        std::str::from_utf8(&rest[..end]).map_err(|_| FramingError("a line is no text"))
    }

    fn boundary(&mut self) -> Result<(), FramingError> {
        let line = self.line()?;
        let is_one = line.strip_prefix("--").is_some_and(|name| name.strip_prefix(' ').unwrap_or(name) == BOUNDARY);
        if is_one { Ok(()) } else { Err(FramingError("a part does not begin with the boundary")) }
    }

    /// The value of the next line if it is this field.
    fn field(&mut self, name: &str) -> Result<Option<&'a str>, FramingError> {
        let line = self.line()?;
        let (given, value) = line.split_once(':').ok_or(FramingError("a field has no colon"))?;
        Ok(given.trim_start_matches('\t').eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "application/soap+xml;charset=UTF-16";

    /// The lengths of an annotated capture of Windows: what is sealed has 64 bytes more than the message.
    #[test]
    fn a_body_has_the_length_that_windows_bodies_have() {
        for (message, body) in [(3240, 3542), (8672, 8974), (1434, 1736)] {
            assert_eq!(written(Scheme::Kerberos, KIND, message, &vec![0; message + 64]).len(), body);
        }
        assert_eq!(written(Scheme::Negotiate, KIND, 3240, &[0; 3240 + 64]).len(), 3540);
    }

    #[test]
    fn what_is_written_is_read_with_tabs_and_spaces_too() {
        for scheme in Scheme::ALL {
            let plain = written(scheme, KIND, 5, b"--Encrypted Boundary\r\nsealed");
            let framed = read(&plain, scheme).expect("it is framed");
            assert_eq!((&plain[framed.sealed], framed.length), (&b"--Encrypted Boundary\r\nsealed"[..], Some(5)));
            let text = String::from_utf8(written(scheme, KIND, 5, b"sealed")).expect("text");
            let tabs = text.replace("Content-Type", "\tContent-Type").replace("Original", "\tOriginal");
            let spaces = text.replacen("--Encrypted Boundary\r\n", "-- Encrypted Boundary\r\n", 2);
            for body in [tabs, spaces, text.trim_end().to_owned()] {
                let framed = read(body.as_bytes(), scheme).expect("it is framed");
                assert_eq!(&body[framed.sealed], "sealed", "{body}");
            }
        }
        assert!(read(&written(Scheme::Kerberos, KIND, 1, b"s"), Scheme::Negotiate).is_err());
        assert!(is_sealed(content_type(Scheme::Kerberos).as_bytes()) && !is_sealed(KIND.as_bytes()));
    }

    #[test]
    fn a_body_that_is_cut_anywhere_is_refused() {
        let whole = written(Scheme::Kerberos, KIND, 5, b"sealed");
        // Without its last line end it is whole.
        for end in (0..whole.len()).filter(|end| *end != whole.len() - 2) {
            assert!(read(&whole[..end], Scheme::Kerberos).is_err(), "{end}");
        }
        assert!(read(&vec![b'-'; 1 << 20], Scheme::Kerberos).is_err());
        let long = written(Scheme::Kerberos, &"x".repeat(LINE_MAX), 5, b"sealed");
        assert!(read(&long, Scheme::Kerberos).is_err());
    }
}
