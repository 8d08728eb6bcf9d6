//! What an upstream proxy answers to CONNECT, byte by byte.
//!
//! The rule is narrow on purpose: a final answer of the 2xx class opens the tunnel, whatever its header fields say of a
//! body, and the tunnel begins with the byte after the empty line. Anything that two readers could understand
//! differently is no answer at all. It takes bytes as they come, looks at each of them once, and says "malformed" as
//! soon as that is certain, so that a port that speaks something else is not waited for.

/// The longest head, interim answers included.
pub const HEAD_MAX: usize = 16 << 10;

/// The most header fields of one head.
pub const FIELDS_MAX: usize = 64;

/// The most interim answers (1xx) before the final one.
const INTERIM_MAX: usize = 8;

const BEGIN: &[u8] = b"HTTP/1.";

/// A final answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The number of bytes that it takes, interim answers included. What comes after is the tunnel's.
    pub length: usize,
}

impl Answer {
    /// The tunnel stands.
    pub fn is_open(self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What an answer is not, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Reads one answer from a buffer that grows.
#[derive(Debug, Default)]
pub struct Reader {
    /// Where the first unread line begins.
    line: usize,
    /// Up to here no end of that line was found.
    seen: usize,
    /// The status of the head that is being read, once its first line is complete.
    status: Option<u16>,
    fields: usize,
    interim: usize,
}

impl Reader {
    /// Reads on. `bytes` is everything that came so far. `None` asks for more.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        let head = &bytes[..bytes.len().min(HEAD_MAX)];
        while let Some(found) = head.get(self.seen..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = self.seen + found;
            let line = head.get(self.line..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(Malformed("a line ends without a carriage return"))?;
            (self.line, self.seen) = (end + 1, end + 1);
            if let Some(status) = self.take(line)? {
                return Ok(Some(Answer { status, length: self.line }));
            }
        }
        self.seen = head.len();
        if self.status.is_none() {
            let begun = head.get(self.line..).unwrap_or_default();
            let compared = begun.len().min(BEGIN.len());
            if begun[..compared] != BEGIN[..compared] {
                return Err(Malformed("it does not begin with an HTTP/1 version"));
            }
        }
        if bytes.len() >= HEAD_MAX { Err(Malformed("its head is longer than 16 KiB")) } else { Ok(None) }
    }

    /// Takes a line without its end; gives the status when the line ends the final head.
    fn take(&mut self, line: &[u8]) -> Result<Option<u16>, Malformed> {
        let Some(status) = self.status else {
            self.status = Some(status(line)?);
            return Ok(None);
        };
        if !line.is_empty() {
            self.fields += 1;
            if self.fields > FIELDS_MAX {
                return Err(Malformed("it has more than 64 header fields"));
            }
            return field(line).map(|()| None);
        }
        match status {
            101 => Err(Malformed("it switches to another protocol, which nobody asked for")),
            100..200 => {
                self.interim += 1;
                if self.interim > INTERIM_MAX {
                    return Err(Malformed("it never comes to its final status"));
                }
                (self.status, self.fields) = (None, 0);
                Ok(None)
            }
            _ => Ok(Some(status)),
        }
    }
}

fn status(line: &[u8]) -> Result<u16, Malformed> {
    let wrong = Malformed("its first line is not a version and a status");
    let rest = line.strip_prefix(BEGIN).ok_or(wrong)?;
    let (Some(b'0'..=b'9'), Some(b' '), Some(digits)) = (rest.first(), rest.get(1), rest.get(2..5)) else {
        return Err(wrong);
    };
    let reason = &rest[5..];
    if !(reason.is_empty() || reason[0] == b' ') || !reason.iter().copied().all(is_text) {
        return Err(wrong);
    }
    let number = digits
        .iter()
        .try_fold(0u16, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0')));
    number.filter(|number| (100..600).contains(number)).ok_or(wrong)
}

fn field(line: &[u8]) -> Result<(), Malformed> {
    let colon = memchr::memchr(b':', line).ok_or(Malformed("a header line has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Malformed("the name of a header field is not a token"));
    }
    if value.iter().copied().all(is_text) { Ok(()) } else { Err(Malformed("a header field holds a control byte")) }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<Answer>, Malformed> {
        Reader::default().advance(bytes)
    }

    /// The verdict when bytes come in pieces of this size: the first that is final, or the last.
    fn pieces(bytes: &[u8], size: usize) -> Result<Option<Answer>, Malformed> {
        let mut reader = Reader::default();
        let mut verdict = Ok(None);
        for end in (0..bytes.len()).step_by(size).map(|at| (at + size).min(bytes.len())) {
            verdict = reader.advance(&bytes[..end]);
            if verdict != Ok(None) {
                break;
            }
        }
        verdict
    }

    #[test]
    fn any_2xx_opens_the_tunnel_and_what_follows_the_head_is_the_tunnels() {
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200\r\n\r\n",
            "HTTP/1.1 204 \r\nVia: 1.1 caf\u{e9}\r\nX-Empty:\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 \r\n\r\nHTTP/1.1 299 OK\r\n\r\n",
        ] {
            let bytes = [head.as_bytes(), b"hello\r\n\r\nHTTP/1.1 403 \n\r"].concat();
            let answer = whole(&bytes).unwrap().expect(head);
            assert_eq!(answer.length, head.len(), "{head}");
            assert!(answer.is_open(), "{head}");
            assert_eq!(pieces(&bytes, 1), Ok(Some(answer)), "{head}");
        }
    }

    #[test]
    fn other_statuses_are_told_as_they_are() {
        for status in [300, 403, 407, 502, 503, 504, 508, 599] {
            let bytes = format!("HTTP/1.1 {status} No\r\nConnection: close\r\n\r\nbody");
            let answer = whole(bytes.as_bytes()).unwrap().expect("an answer");
            assert_eq!((answer.status, answer.is_open()), (status, false));
        }
    }

    #[test]
    fn what_is_no_answer_is_malformed_at_once() {
        for bytes in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "\x15\x03\x01",
            "<html>",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 +20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "HTTP/1.1\t200 OK\r\n\r\n",
            "HTTP/1.x 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\x01\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        ] {
            assert!(whole(bytes.as_bytes()).is_err(), "{bytes:?}");
            assert!(pieces(bytes.as_bytes(), 1).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_in_it_is_without_an_end() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(64 << 10));
        assert_eq!(whole(long.as_bytes()), Err(Malformed("its head is longer than 16 KiB")));
        assert_eq!(pieces(long.as_bytes(), 1_000), whole(long.as_bytes()));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert!(whole(many.as_bytes()).is_err());
        assert!(whole(many.replacen("A: b\r\n", "", 1).as_bytes()).is_ok_and(|answer| answer.is_some()));
        assert!(whole("HTTP/1.1 100 Continue\r\n\r\n".repeat(9).as_bytes()).is_err());
    }

    #[test]
    fn half_an_answer_waits() {
        let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n";
        for end in 0..bytes.len() {
            assert_eq!(whole(&bytes[..end]), Ok(None), "{end}");
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_verdict_is_the_same(tail in "(\r\n|[ -~]|\n|\r|: |\u{e9}){0,80}", size in 1usize..9) {
            for bytes in [tail.clone(), format!("HTTP/1.1 200 OK\r\n{tail}"), format!("HTTP/1.1 100 \r\n\r\n{tail}")] {
                prop_assert_eq!(pieces(bytes.as_bytes(), size).ok(), whole(bytes.as_bytes()).ok());
            }
        }
    }
}
