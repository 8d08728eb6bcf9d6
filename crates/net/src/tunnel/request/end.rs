//! Finds the end of a head in bytes that come in piece by piece, and refuses at the first byte what can become none.
//!
//! Each byte is looked at once, however the network cuts them. A client that speaks another protocol is told from the
//! first byte on: it would otherwise wait in vain, and so would the operator who looks for the reason.

use super::Fault;
use crate::net::http1_guard::{HEAD_MAX, is_token_byte};
use crate::tunnel::Reason;

/// No method of HTTP is longer; without a blank within so many bytes it is no request.
const METHOD_MAX: usize = 32;

/// Where the search stands.
#[derive(Debug, Default, Clone)]
pub struct EndOfHead {
    scanned: usize,
    line_start: usize,
}

impl EndOfHead {
    /// The length of the head that `buffer` begins with, its final empty line included; `None` while it is not all
    /// there. Call it again with the same bytes and more. What follows the head is not looked at.
    pub fn find(&mut self, buffer: &[u8]) -> Result<Option<usize>, Fault> {
        if let Some(first) = buffer.first()
            && self.scanned == 0
        {
            first_byte(*first)?;
        }
        let window = &buffer[..buffer.len().min(HEAD_MAX)];
        if self.line_start == 0
            && let Some(start) = window.get(..=METHOD_MAX)
            && !start.iter().any(|byte| matches!(byte, b' ' | b'\r' | b'\n' | 0))
        {
            return Err(Fault::malformed("it does not begin with a method"));
        }
        while let Some(found) = window.get(self.scanned..).and_then(|new| memchr::memchr3(b'\r', b'\n', 0, new)) {
            let at = self.scanned + found;
            match (window[at], window.get(at + 1)) {
                (b'\r', Some(b'\n')) if at == self.line_start => return Ok(Some(at + 2)),
                (b'\r', Some(b'\n')) => {
                    self.line_start = at + 2;
                    self.scanned = at + 2;
                }
                (b'\r', None) => {
                    self.scanned = at;
                    break;
                }
                (b'\r', Some(_)) => return Err(Fault::malformed("a carriage return stands alone")),
                (b'\n', _) => return Err(Fault::malformed("a line ends with a bare line feed")),
                _ => return Err(Fault::malformed("the head holds a NUL")),
            }
        }
        if window.get(self.scanned) != Some(&b'\r') {
            self.scanned = window.len();
        }
        if window.len() == HEAD_MAX {
            return Err(Fault { reason: Reason::HEAD_TOO_LARGE, detail: "the head is longer than 16 KiB" });
        }
        Ok(None)
    }
}

/// What a request can never begin with.
fn first_byte(byte: u8) -> Result<(), Fault> {
    match byte {
        0x16 | 0x80..=0xff => Err(Fault::malformed("it begins like TLS; this listener is spoken to in plain HTTP")),
        0x04 | 0x05 => Err(Fault::malformed("it begins like SOCKS; this is an HTTP proxy")),
        b'\r' => Err(Fault::malformed("it begins with an empty line or a PROXY protocol header")),
        byte if is_token_byte(byte) => Ok(()),
        _ => Err(Fault::malformed("it does not begin with a method")),
    }
}
