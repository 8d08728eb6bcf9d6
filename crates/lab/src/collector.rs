//! A simulated collector: a Logs Ingestion endpoint on loopback that remembers what it accepted and misbehaves on
//! request.
//!
//! It takes JSON arrays, NDJSON and event XML on any path, gzip or plain, over HTTP/1.1 with keep-alive. It answers
//! 204 below `/dataCollectionRules/` and 200 with a receipt elsewhere, and only then counts the events as held.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::port::{self, OnPurpose, Socket};
use super::traffic::{BusiestSecond, Frozen, Gate, Pending};

/// The largest body that a collector inflates.
const INFLATE_LIMIT: usize = 256 << 20;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refuses connections and cuts those that are open.
    Down,
    /// Takes the request and answers this instead of accepting it.
    Answer {
        /// The status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
    },
    /// Keeps the events of the request and answers this all the same.
    KeepAndAnswer {
        /// The status.
        status: u16,
    },
    /// Takes the request and never answers.
    Hang,
    /// Takes the request, then resets the connection.
    Reset {
        /// Whether the events are held nevertheless.
        keep: bool,
    },
}

/// How a collector behaves. Can be changed at any time; requests that are under way keep what they met.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Behaviour {
    /// Waits so long before each answer.
    pub latency: Duration,
    /// Misbehaves with every request.
    pub fault: Option<Fault>,
    /// Answers 413 to bodies above this many bytes before compression.
    pub refuse_above: Option<usize>,
    /// Answers 400 to bodies that contain this text.
    pub refuse_marker: Option<String>,
    /// Answers unambiguously: takes the events of one `x-ms-client-request-id` only once, and says 204 to its repeats.
    pub recognise_repeats: bool,
}

/// What a collector remembers of the events it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Each event's identity.
    Identities,
    /// Only how many there were, counted by the key `EventRecordID` or `EventRecordId`; for benchmarks.
    Count,
}

/// What a collector has seen so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests read to their end.
    pub requests: u64,
    /// Events held, repeats included.
    pub events: u64,
    /// Bytes of bodies on the wire.
    pub wire_bytes: u64,
    /// Requests whose id was known already and whose events were not taken again.
    pub repeats: u64,
    /// The most events that were held within one second, wherever it begins.
    pub busiest_second: u64,
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
}

struct State {
    behaviour: Behaviour,
    fault_until: Option<(Fault, Instant)>,
    faults_next: Option<(Fault, u32)>,
    held: Held,
    tally: Served,
    second: BusiestSecond,
}

struct Shared {
    memory: Memory,
    /// Ids of accepted requests. Endpoints of one workspace share them; locked before `state`.
    known: Arc<Mutex<HashSet<String>>>,
    state: Mutex<State>,
    down: watch::Sender<bool>,
    /// What a request passes before it is taken, and before it is answered.
    gates: [Gate; 2],
    pending: Arc<Pending>,
}

/// A running collector; it stops when dropped.
pub struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Collector {
    /// Starts a collector that behaves, on a free port of 127.0.0.1.
    pub async fn start(memory: Memory) -> io::Result<Self> {
        Self::listening(memory, Arc::default()).await
    }

    /// Starts another endpoint of the same workspace: a repeat of a request is recognised at any of them.
    pub async fn start_beside(&self) -> io::Result<Self> {
        Self::listening(self.shared.memory, Arc::clone(&self.shared.known)).await
    }

    async fn listening(memory: Memory, known: Arc<Mutex<HashSet<String>>>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            memory,
            known,
            state: Mutex::new(State {
                behaviour: Behaviour::default(),
                fault_until: None,
                faults_next: None,
                held: Held::default(),
                tally: Served::default(),
                second: BusiestSecond::default(),
            }),
            down: watch::Sender::new(false),
            gates: Default::default(),
            pending: Arc::default(),
        });
        let stop = CancellationToken::new();
        let (down, each) = (shared.down.subscribe(), Arc::clone(&shared));
        let each = move |stream| serve(stream, Arc::clone(&each));
        tokio::spawn(stop.clone().run_until_cancelled_owned(port::listen(listener, address, down, each)));
        Ok(Self { address, shared, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Behaves like this from now on.
    pub fn set(&self, behaviour: Behaviour) {
        let mut state = self.shared.state();
        state.behaviour = behaviour;
        self.shared.tell(&state);
    }

    /// Misbehaves with every request until this much time has passed, then behaves as before by itself.
    pub fn fail_for(&self, fault: Fault, span: Duration) {
        let until = Instant::now() + span;
        let mut state = self.shared.state();
        state.fault_until = Some((fault, until));
        self.shared.tell(&state);
        if fault == Fault::Down {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(self.stop.clone().run_until_cancelled_owned(async move {
                tokio::time::sleep_until(until).await;
                shared.tell(&shared.state());
            }));
        }
    }

    /// Misbehaves with the next so many requests. [`Fault::Down`] has no requests: use [`Collector::fail_for`].
    pub fn fail_next(&self, fault: Fault, requests: u32) {
        self.shared.state().faults_next = Some((fault, requests));
    }

    /// Takes nothing more until what is returned is dropped; requests come in and wait.
    pub async fn freeze(&self) -> Frozen {
        Frozen { _gate: Arc::clone(&self.shared.gates[0]).write_owned().await }
    }

    /// Takes what comes, and answers nothing more until what is returned is dropped.
    pub async fn fall_silent(&self) -> Frozen {
        Frozen { _gate: Arc::clone(&self.shared.gates[1]).write_owned().await }
    }

    /// Requests that came in whole and have no answer yet.
    pub fn requests_in_flight(&self) -> usize {
        self.shared.pending.bodies().len()
    }

    /// What it would hold of requests that came in whole and have no answer yet.
    pub fn in_flight(&self) -> Held {
        let mut held = Held::default();
        for body in self.shared.pending.bodies() {
            // What it cannot read it would refuse.
            _ = held.take(&inflate(&body).unwrap_or_else(|_| body.to_vec()));
        }
        held
    }

    /// What it holds; empty when only counting.
    pub fn held(&self) -> Held {
        self.shared.state().held.clone()
    }

    /// What it has seen so far.
    pub fn tally(&self) -> Served {
        self.shared.state().tally.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl State {
    /// What a request with this body meets. A probe, which brings no events, uses up none of the faults that are counted.
    fn fault(&mut self, body: &[u8]) -> Option<Fault> {
        if body == b"[]" {
            return self.lasting_fault();
        }
        match self.faults_next.take() {
            Some((fault, left)) if left > 0 => {
                self.faults_next = Some((fault, left - 1));
                Some(fault)
            }
            _ => self.lasting_fault(),
        }
    }

    fn lasting_fault(&self) -> Option<Fault> {
        let timed = self.fault_until.filter(|(_, until)| Instant::now() < *until).map(|(fault, _)| fault);
        timed.or(self.behaviour.fault)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Tells the listener whether to be there.
    fn tell(&self, state: &State) {
        self.down.send_replace(state.lasting_fault() == Some(Fault::Down));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Some((stream, socket)) = Socket::beside(stream) else { return };
    let service = service_fn(move |request| answer(request, Arc::clone(&shared), socket.clone()));
    // An error here is the client's, or on purpose.
    _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    socket: Socket,
) -> Result<Response<Full<Bytes>>, OnPurpose> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(OnPurpose) };
    let body = body.to_bytes();
    // As it behaves when the request comes: one that is on its way when that changes is treated as before.
    let (latency, recognises, fault) = {
        let mut state = shared.state();
        state.tally.requests += 1;
        state.tally.wire_bytes += body.len() as u64;
        (state.behaviour.latency, state.behaviour.recognise_repeats, state.fault(&body))
    };
    let _place = shared.pending.keep(&body);
    tokio::time::sleep(latency).await;
    let open = shared.gates[0].read().await;
    let response = match fault {
        Some(Fault::Answer { status, retry_after }) => {
            let refusal = refusal(port::status(status), "OnPurpose", "this collector misbehaves on request");
            port::after(refusal, retry_after)
        }
        Some(Fault::KeepAndAnswer { status }) => {
            accept(&head, &body, recognises, &shared);
            refusal(port::status(status), "OnPurpose", "this collector keeps what it refuses")
        }
        Some(Fault::Hang) => {
            drop(open);
            match std::future::pending::<Infallible>().await {}
        }
        Some(fault @ (Fault::Reset { .. } | Fault::Down)) => {
            if fault == (Fault::Reset { keep: true }) {
                accept(&head, &body, recognises, &shared);
            }
            return Err(socket.reset());
        }
        None => accept(&head, &body, recognises, &shared),
    };
    drop(open);
    let _heard = shared.gates[1].read().await;
    *shared.state().tally.answers.entry(response.status().as_u16()).or_default() += 1;
    Ok(response)
}

/// Takes the events of a request, or refuses it whole. One that `recognises` takes no request twice.
fn accept(head: &http::request::Parts, body: &Bytes, recognises: bool, shared: &Shared) -> Response<Full<Bytes>> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let plain = match text("content-encoding") {
        None | Some("identity") => body.clone(),
        Some("gzip") => match inflate(body) {
            Ok(plain) => plain.into(),
            Err(message) => return refusal(StatusCode::BAD_REQUEST, "InvalidPayload", &message),
        },
        Some(other) => return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedEncoding", other),
    };
    let mut known = shared.known.lock();
    let mut state = shared.state();
    let state = &mut *state;
    if state.behaviour.refuse_above.is_some_and(|limit| plain.len() > limit) {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "ContentLengthLimitExceeded", "the body is too large");
    }
    if let Some(marker) = &state.behaviour.refuse_marker
        && memchr::memmem::find(&plain, marker.as_bytes()).is_some()
    {
        return refusal(StatusCode::BAD_REQUEST, "InvalidPayload", "the body holds what this collector refuses");
    }
    // Remembered always: one that was taken before the behaviour changed is recognised afterwards.
    let id = text("x-ms-client-request-id");
    if recognises && id.is_some_and(|id| known.contains(id)) {
        state.tally.repeats += 1;
        return acceptance(head, 0);
    }
    let taken = match shared.memory {
        Memory::Identities => state.held.take(&plain),
        // Both spellings of the key, each once an event.
        Memory::Count => Ok(memchr::memmem::find_iter(&plain, b"\"EventRecordI").count() as u64),
    };
    match taken {
        Ok(events) => {
            state.tally.events += events;
            state.second.add(events, Instant::now());
            state.tally.busiest_second = state.second.most();
            known.extend(id.map(str::to_owned));
            acceptance(head, events)
        }
        Err(message) => refusal(StatusCode::BAD_REQUEST, "InvalidPayload", &message),
    }
}

fn inflate(body: &[u8]) -> Result<Vec<u8>, String> {
    // The last four bytes of a gzip member are its plain size modulo 2^32: exact for everything we are sent.
    let size = body.last_chunk::<4>().map_or(0, |tail| u32::from_le_bytes(*tail) as usize);
    if size > INFLATE_LIMIT {
        return Err(format!("the body claims {size} bytes"));
    }
    let mut plain = vec![0; size];
    let written = libdeflater::Decompressor::new().gzip_decompress(body, &mut plain).map_err(|e| e.to_string())?;
    plain.truncate(written);
    Ok(plain)
}

fn acceptance(head: &http::request::Parts, events: u64) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if head.uri.path().to_ascii_lowercase().contains("/datacollectionrules/") {
        *response.status_mut() = StatusCode::NO_CONTENT;
    } else {
        let receipt = serde_json::json!({
            "received": events, "filtered": 0, "duplicate": 0, "set_aside": 0, "spooled": events
        });
        *response.body_mut() = Full::from(receipt.to_string());
    }
    response
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": { "code": code, "message": message } });
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response
}
