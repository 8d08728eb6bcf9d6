//! Agents that keep their connections and try nothing twice, and what is owed to them.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "each suite uses its own part of this"
)]

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::collector::Collector;
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use http::{Request, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::support::{PATH, PATIENCE, Site};

/// A host that uploads now and then, over a connection that it keeps as long as it is let.
pub struct Agent {
    address: Ipv4Addr,
    port: u16,
    host: Host,
    /// Events of an upload.
    batch: usize,
    /// How long it waits between two uploads.
    pause: Duration,
    /// How long it takes to send one.
    sending: Duration,
    owed: HashSet<Identity>,
    pub failed: Vec<String>,
    /// How long the slowest upload took, beside what its host takes to send it.
    slowest: Duration,
}

impl Agent {
    pub fn new(number: u8, port: u16) -> Self {
        Self::at(number, port, Pace::default())
    }

    fn at(number: u8, port: u16, pace: Pace) -> Self {
        let slow = number.is_multiple_of(4);
        Self {
            // Balancers go by address.
            address: Ipv4Addr::new(127, 0, 1, number),
            port,
            host: Host::new(format!("RESTART-{number}.plant.example"), u64::from(number)),
            batch: pace.batch,
            pause: if slow { SLOW } else { pace.pause * u32::from(number) },
            sending: if slow { SENDING } else { Duration::ZERO },
            owed: HashSet::new(),
            failed: Vec::new(),
            slowest: Duration::ZERO,
        }
    }

    pub fn next(&mut self) -> (Vec<SimulatedEvent>, Vec<u8>) {
        let events: Vec<_> = self.host.by_ref().take(self.batch).collect();
        let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
        (events, [b"[", &*rows.join(&b","[..]), b"]"].concat())
    }

    pub async fn connect(&self) -> Result<TcpStream, String> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((self.address, 0).into()).expect("an address of this machine");
        let connecting = socket.connect((Ipv4Addr::LOCALHOST, self.port).into());
        let stream =
            timeout(PATIENCE, connecting).await.expect("in time").map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).expect("a socket");
        Ok(stream)
    }

    pub fn note(&mut self, events: &[SimulatedEvent], result: Result<(), String>) {
        match result {
            Ok(()) => self.owed.extend(events.iter().map(SimulatedEvent::identity)),
            Err(error) => self.failed.push(error),
        }
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        let mut kept = None;
        while !stop.load(Ordering::Relaxed) {
            let (events, body) = self.next();
            let began = Instant::now();
            let result = self.upload(&mut kept, &body).await;
            self.slowest = self.slowest.max(began.elapsed().saturating_sub(self.sending));
            if result.is_err() {
                kept = None;
            }
            self.note(&events, result);
            tokio::time::sleep(self.pause).await;
        }
        self
    }

    /// One upload over HTTP/1.1, on the connection that was kept if the other side has not closed it.
    pub async fn upload(&self, kept: &mut Option<TcpStream>, body: &[u8]) -> Result<(), String> {
        if kept.as_ref().is_some_and(|stream| stream.try_read(&mut [0; 1]).is_ok()) {
            *kept = None;
        }
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let broken = |error: std::io::Error| format!("{}: {error}", self.address);
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n", body.len());
        let (first, rest) = body.split_at(body.len() / 2);
        stream.write_all(&[head.as_bytes(), first].concat()).await.map_err(broken)?;
        tokio::time::sleep(self.sending).await;
        stream.write_all(rest).await.map_err(broken)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").map_err(broken)?);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if !answer.starts_with("HTTP/1.1 204 ") {
            return Err(answer);
        }
        *kept = Some(stream).filter(|_| !answer.contains("connection: close\r\n"));
        Ok(())
    }

    async fn run_http2(mut self, stop: Arc<AtomicBool>) -> Self {
        let mut kept: Option<http2::SendRequest<Full<Bytes>>> = None;
        while !stop.load(Ordering::Relaxed) {
            let (events, body) = self.next();
            let result = loop {
                let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
                    Some(sender) => sender,
                    None => match self.connect().await {
                        Ok(stream) => handshake(stream).await,
                        Err(error) => break Err(error),
                    },
                };
                let request = Request::post(format!("http://gate{PATH}")).version(Version::HTTP_2);
                let request = request.body(Full::new(body.clone().into())).expect("a request");
                match sender.send_request(request).await {
                    Ok(answer) if answer.status() == 204 => {
                        kept = Some(sender);
                        break Ok(());
                    }
                    Ok(answer) => break Err(format!("HTTP/2: {}", answer.status())),
                    // It was never sent: the connection had ended before.
                    Err(error) if error.is_canceled() || was_not_taken(&error) => {}
                    Err(error) => break Err(format!("HTTP/2: {error:?}")),
                }
            };
            self.note(&events, result);
            tokio::time::sleep(self.pause).await;
        }
        self
    }
}

/// Whether the gateway had said before that it takes no stream so new: not a try that failed, as every client of HTTP/2 knows
/// (RFC 9113, 6.8), but one that was not made. Streams that it had taken fail in other ways.
fn was_not_taken(error: &hyper::Error) -> bool {
    format!("{error:?}").contains("GoAway(b\"\", NO_ERROR, Remote)")
}

async fn handshake(stream: TcpStream) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

/// How much agents send.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub agents: u8,
    /// Events of an upload.
    pub batch: usize,
    /// How long the first agent waits between two uploads; the second waits twice as long, and so on.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { agents: 12, batch: 3, pause: Duration::from_millis(20) }
    }
}

/// How long every fourth agent waits between two uploads, and takes for one.
const SLOW: Duration = Duration::from_millis(700);
const SENDING: Duration = Duration::from_millis(400);

/// Agents at work.
pub struct Fleet {
    begin: Instant,
    stop: Arc<AtomicBool>,
    agents: Vec<JoinHandle<Agent>>,
}

impl Fleet {
    pub fn start(port: u16) -> Self {
        Self::at(port, Pace::default())
    }

    /// At a pace of its own.
    pub fn at(port: u16, pace: Pace) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let run = |number: u8| {
            let (agent, stop) = (Agent::at(number, port, pace), Arc::clone(&stop));
            if number.is_multiple_of(5) { tokio::spawn(agent.run_http2(stop)) } else { tokio::spawn(agent.run(stop)) }
        };
        let agents = (1..=pace.agents).map(run).collect();
        Self { begin: Instant::now(), stop, agents }
    }

    /// Ends it. No upload failed, and the collector has what was acknowledged.
    pub async fn assert_none_failed(self, sites: &[&Site], collector: &Collector) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut owed, mut slowest) = (HashSet::new(), Duration::ZERO);
        for agent in self.agents {
            let agent = agent.await.unwrap();
            assert!(agent.failed.is_empty(), "{} of {} failed: {:#?}", agent.failed.len(), agent.address, agent.failed);
            owed.extend(agent.owed);
            slowest = slowest.max(agent.slowest);
        }
        for site in sites {
            site.until_drained().await;
        }
        let held = collector.held();
        let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
        assert_eq!(lost, 0, "of {} acknowledged events", owed.len());
        let seconds = self.begin.elapsed().as_secs_f64();
        println!(
            "{} events acknowledged in {seconds:.0} s ({:.0}/s), no upload failed, the slowest took {slowest:.1?}",
            owed.len(),
            owed.len() as f64 / seconds
        );
    }
}
