//! A scripted token service: an HTTP server on loopback that answers each request as the test tells it to.
//!
//! It is written against raw sockets and shares no code with the client, so that it can disagree with it.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Request line and headers.
    pub(super) head: String,
    pub(super) body: String,
}

impl Asked {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// A field of the form in the body, decoded.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.body.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// A running token service; it ends with the test's runtime.
pub(super) struct Issuer {
    /// `http://host:port`.
    pub(super) url: String,
    script: Arc<Mutex<VecDeque<Vec<u8>>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Issuer {
    /// Starts a service that gives the token `spare` when its script is empty.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, script: Arc::default(), asked: Arc::default() };
        let (script, asked) = (Arc::clone(&issuer.script), Arc::clone(&issuer.asked));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // A client that goes away is none of the script's business.
                tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&asked)));
            }
        });
        issuer
    }

    /// Appends to the script.
    pub(super) fn will(&self, answers: impl IntoIterator<Item = Vec<u8>>) {
        self.script.lock().extend(answers);
    }

    /// Takes what was asked so far.
    pub(super) fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock())
    }
}

/// An answer with further header lines (each ended with `\r\n`).
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} -\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An answer with a token that lives an hour.
pub(super) fn gives(token: &str) -> Vec<u8> {
    answer(200, "", &format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"{token}"}}"#))
}

/// An answer of Entra with an error code.
pub(super) fn refuses(code: u32, headers: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"error":"invalid_client","error_description":"AADSTS{code}: It is wrong. Trace ID: 1 Correlation ID: 2","error_codes":[{code}]}}"#
    );
    answer(401, headers, &body)
}

async fn serve(mut socket: TcpStream, script: Arc<Mutex<VecDeque<Vec<u8>>>>, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Some(request) = read(&mut socket).await {
        asked.lock().push(request);
        let answer = script.lock().pop_front().unwrap_or_else(|| gives("spare"));
        // A little at a time, so that callers meet each other while it lasts.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if socket.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn read(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut asked = Asked { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: String::new() };
    let length = asked.header("content-length").map_or(0, |value| value.parse().unwrap());
    while bytes.len() < end + length {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    asked.body = String::from_utf8(bytes[end..].to_vec()).unwrap();
    Some(asked)
}
