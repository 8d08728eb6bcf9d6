//! The answer to a request that gets no tunnel: status, reason code, one line for a person.
//!
//! Nothing that the client sent is in it, and the connection is closed after it; a client that has still more to say is
//! listened to for a moment, or the answer would be lost with the connection.

use std::fmt::Write as _;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::net::stream::Stream;
use crate::tunnel::Reason;

/// How long a client that was refused is listened to before the connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes of such a client that are read and thrown away.
const LINGER_BYTES: usize = 64 << 10;

/// Seconds after which a client that was shed should come again.
const RETRY_AFTER: u32 = 5;

/// Whether the connection is closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It is.
    Close,
    /// The client may ask once more: with credentials, after a 407.
    Again,
}

/// The answer, whole.
pub(super) fn answer(reason: Reason, then: Then) -> Vec<u8> {
    let phrase = StatusCode::from_u16(reason.status).ok().and_then(|status| status.canonical_reason());
    let body = format!("{}: {}\n", reason.code, reason.text);
    let mut head = format!("HTTP/1.1 {} {}\r\n", reason.status, phrase.unwrap_or("Refused"));
    match reason.status {
        405 => head += "Allow: CONNECT\r\n",
        407 => head += "Proxy-Authenticate: Basic realm=\"gatepost\", charset=\"UTF-8\"\r\n",
        // Writing to a String cannot fail.
        429 | 503 => drop(write!(head, "Retry-After: {RETRY_AFTER}\r\n")),
        _ => {}
    }
    if then == Then::Close {
        head += "Connection: close\r\nProxy-Connection: close\r\n";
    }
    let length = body.len();
    head += "Content-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n";
    format!("{head}X-Gatepost-Reason: {}\r\nContent-Length: {length}\r\n\r\n{body}", reason.code).into_bytes()
}

/// Sends the answer and closes the connection.
pub(super) async fn refuse(stream: &mut Stream, reason: Reason) {
    let farewell = async {
        stream.write_all(&answer(reason, Then::Close)).await?;
        close(stream).await
    };
    // Who does not take the answer in time has none.
    drop(timeout(LINGER, farewell).await);
}

/// Sends last bytes, such as a TLS alert, and closes the connection.
pub(super) async fn hang_up(stream: &mut Stream, last: &[u8]) {
    let farewell = async {
        stream.write_all(last).await?;
        close(stream).await
    };
    drop(timeout(LINGER, farewell).await);
}

async fn close(stream: &mut Stream) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 512];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_one_whole_answer() {
        for reason in Reason::ALL.iter().filter(|reason| reason.status != 0) {
            let text = String::from_utf8(answer(*reason, Then::Close)).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", reason.status)), "{head}");
            assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
            assert!(head.contains("\r\nConnection: close\r\n") && !head.contains("Refused"), "{head}");
            assert_eq!(body, format!("{}: {}\n", reason.code, reason.text));
        }
    }

    #[test]
    fn each_status_comes_with_what_its_reader_needs() {
        let text = |reason, then| String::from_utf8(answer(reason, then)).expect("text");
        assert!(text(Reason::NOT_CONNECT, Then::Close).contains("\r\nAllow: CONNECT\r\n"));
        assert!(text(Reason::TUNNELS, Then::Close).contains("\r\nRetry-After: 5\r\n"));
        let challenge = text(Reason::AUTHENTICATION, Then::Again);
        assert!(challenge.contains("\r\nProxy-Authenticate: Basic realm=\"gatepost\"") && !challenge.contains("close"));
    }
}
