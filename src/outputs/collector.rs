//! A scripted collector: an HTTP server on loopback that does to each request what the test tells it to.
//!
//! It is written against raw sockets and shares no code with the client, so that it can disagree with it.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What to do with one request.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// Answer with a status and further header lines (each ended with `\r\n`), and a short body.
    Answer(u16, &'static str),
    /// Send `100 Continue` before reading the body, then 204.
    Continue,
    /// Answer 204 a few bytes at a time.
    Slow,
    /// Answer 200 with so many bytes of body.
    Huge(usize),
    /// Answer 200, announce a body, and close before it is whole.
    CutAnswer,
    /// Answer 413 with the head alone read, and close: the client is still sending.
    EarlyTooLarge,
    /// Read everything and never answer.
    Hang,
    /// Reset the connection with the head alone read.
    ResetBeforeBody,
    /// Reset the connection after the whole request.
    ResetAfterBody,
    /// Close the connection after the whole request.
    Close,
    /// Answer with something that is not HTTP.
    Garbage,
}

/// One request as it came over the wire.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// Request line and headers.
    pub(super) head: String,
    /// The body, as sent.
    pub(super) body: Vec<u8>,
}

impl Received {
    /// The value of a header, if it is there.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A running collector; it ends with the test's runtime.
pub(super) struct Collector {
    /// Host and port.
    pub(super) authority: String,
    script: Arc<Mutex<VecDeque<Behaviour>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Collector {
    /// Starts a collector; it answers 204 when its script is empty.
    pub(super) async fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let collector = Self { authority, script: Arc::default(), received: Arc::default() };
        let (script, received) = (Arc::clone(&collector.script), Arc::clone(&collector.received));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let visit = Visit { script: Arc::clone(&script), received: Arc::clone(&received) };
                let tls = tls.clone();
                // A connection that ends in an error is what the script asked for.
                tokio::spawn(async move {
                    match tls {
                        None => visit.serve(socket, reset).await.ok(),
                        Some(config) => match TlsAcceptor::from(config).accept(socket).await {
                            Ok(stream) => visit.serve(stream, |stream| reset(stream.get_ref().0)).await.ok(),
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        collector
    }

    /// Appends to the script.
    pub(super) fn will(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.script.lock().extend(behaviours);
    }

    /// Takes what was received so far.
    pub(super) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock())
    }
}

/// Makes the socket send a reset when it is closed.
fn reset(socket: &TcpStream) {
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).unwrap();
}

struct Visit {
    script: Arc<Mutex<VecDeque<Behaviour>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Visit {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, reset: impl Fn(&S)) -> io::Result<()> {
        loop {
            let (head, early) = read_head(&mut stream).await?;
            let behaviour = self.script.lock().pop_front().unwrap_or(Behaviour::Answer(204, ""));
            match behaviour {
                Behaviour::ResetBeforeBody => {
                    reset(&stream);
                    return Ok(());
                }
                Behaviour::EarlyTooLarge => {
                    return stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
                }
                Behaviour::Continue => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?,
                _ => {}
            }
            let received = read_body(&mut stream, head, early).await?;
            self.received.lock().push(received);
            match behaviour {
                Behaviour::Hang => std::future::pending().await,
                Behaviour::ResetAfterBody => {
                    reset(&stream);
                    return Ok(());
                }
                Behaviour::Close => return Ok(()),
                behaviour => answer(&mut stream, behaviour).await?,
            }
        }
    }
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), behaviour: Behaviour) -> io::Result<()> {
    match behaviour {
        Behaviour::Answer(204, headers) => {
            stream.write_all(format!("HTTP/1.1 204 -\r\n{headers}\r\n").as_bytes()).await
        }
        Behaviour::Answer(status, headers) => {
            let answer = format!("HTTP/1.1 {status} -\r\n{headers}content-length: 5\r\n\r\nwhy: ");
            stream.write_all(answer.as_bytes()).await
        }
        Behaviour::Slow => {
            for piece in b"HTTP/1.1 204 -\r\n\r\n".chunks(6) {
                stream.write_all(piece).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
        Behaviour::Huge(bytes) => {
            stream.write_all(format!("HTTP/1.1 200 -\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).await?;
            stream.write_all(&vec![b'x'; bytes]).await
        }
        Behaviour::CutAnswer => {
            stream.write_all(b"HTTP/1.1 200 -\r\ncontent-length: 100\r\n\r\nonly this").await?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Behaviour::Garbage => stream.write_all(b"220 mail.example ESMTP ready\r\n").await,
        _ => stream.write_all(b"HTTP/1.1 204 -\r\n\r\n").await,
    }
}

/// The head, and what of the body came with it.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8(bytes).unwrap(), body));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn read_body(stream: &mut (impl AsyncRead + Unpin), head: String, early: Vec<u8>) -> io::Result<Received> {
    let mut received = Received { head, body: early };
    let length = received.header("content-length").map_or(0, |value| value.parse().unwrap());
    while received.body.len() < length {
        if stream.read_buf(&mut received.body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(received)
}
