//! One request head, checked without mercy.
//!
//! Wherever two HTTP implementations are known to read a head differently, this one refuses it. What is left is read
//! alike by everybody, so nothing can be smuggled past whoever stands in front of or behind the gateway.

use super::Refusal;

/// The longest request head, in bytes with its final empty line.
pub const HEAD_MAX: usize = 16 << 10;
/// The most header fields of a request.
pub const FIELDS_MAX: usize = 64;

/// How the body that follows a head is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; 0 when the request has no body.
    Exact(u64),
    /// By chunks, to the last chunk and its trailers.
    Chunked,
}

/// Checks a whole head, final empty line included, and says how long its body is.
pub fn check(head: &[u8]) -> Result<BodyLength, Refusal> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let version = request_line(lines.next().unwrap_or_default())?;
    let mut seen = Seen::default();
    for (index, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if index >= FIELDS_MAX {
            return Err(Refusal::too_large(format!("more than {FIELDS_MAX} header fields")));
        }
        let (name, value) = field(line)?;
        seen.note(name, value)?;
    }
    seen.body_length(version)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn request_line(line: &[u8]) -> Result<Version, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::bad("the request line is not a method, a target and a version with one space between"));
    };
    if method.is_empty() || method.len() > 32 || !method.iter().copied().all(is_token_byte) {
        return Err(Refusal::bad("the method is not a token"));
    }
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(Refusal::bad("the version is neither HTTP/1.1 nor HTTP/1.0")),
    };
    target_form(target)?;
    Ok(version)
}

fn target_form(target: &[u8]) -> Result<(), Refusal> {
    if !target.iter().all(|byte| (0x21..=0x7e).contains(byte)) || target.contains(&b'#') {
        return Err(Refusal::bad("the request target holds a byte that must be percent-encoded"));
    }
    if target.starts_with(b"/") || target == b"*" {
        return Ok(());
    }
    let after_scheme = ["http://", "https://"].iter().find_map(|scheme| {
        let start = target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme.as_bytes()).then(|| &target[scheme.len()..])
    });
    let Some(rest) = after_scheme else {
        return Err(Refusal::bad("the request target is neither a path nor an absolute http or https URL"));
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if is_host(&rest[..end]) { Ok(()) } else { Err(Refusal::bad("the host of the request target is malformed")) }
}

/// Splits a header line into name and trimmed value. Refuses folded lines, white space before the colon, control bytes.
pub fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = memchr::memchr(b':', line).ok_or_else(|| Refusal::bad("a header line has no colon"))?;
    let (name, value) = (&line[..colon], trim_blanks(&line[colon + 1..]));
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err(Refusal::bad("a header name is empty, folded, or holds a byte that names may not have"));
    }
    if value.iter().any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f) {
        return Err(Refusal::bad("a header value holds a control byte"));
    }
    Ok((name, value))
}

/// Only blanks and tabs may stand around a value; a form feed there is a control byte, not white space.
fn trim_blanks(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// The header fields that decide where a request ends and whom it is for.
#[derive(Default)]
struct Seen {
    host: bool,
    content_length: Option<u64>,
    chunked: bool,
}

impl Seen {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case(b"host") {
            if self.host || !is_host(value) {
                return Err(Refusal::bad("Host is repeated or malformed"));
            }
            self.host = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.content_length.is_some() {
                return Err(Refusal::bad("Content-Length is repeated"));
            }
            self.content_length = Some(content_length(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::bad("Transfer-Encoding is not exactly one chunked"));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::bad("Expect asks for something other than 100-continue"));
        }
        Ok(())
    }

    fn body_length(&self, version: Version) -> Result<BodyLength, Refusal> {
        if version == Version::Http11 && !self.host {
            return Err(Refusal::bad("Host is missing"));
        }
        match (self.chunked, self.content_length) {
            (true, Some(_)) => Err(Refusal::bad("Content-Length and Transfer-Encoding contradict each other")),
            (true, None) if version == Version::Http10 => Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding")),
            (true, None) => Ok(BodyLength::Chunked),
            (false, length) => Ok(BodyLength::Exact(length.unwrap_or(0))),
        }
    }
}

fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let wrong = || Refusal::bad("Content-Length is not a plain decimal number");
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).ok_or_else(wrong)
}

/// `name`, `name:port`, `address:port` or `[address]:port`; never user information, lists or white space.
fn is_host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port_is_sound = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok(),
    };
    let name_is_sound = !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%'));
    port_is_sound && name_is_sound
}

/// The bytes of a token in RFC 9110.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
