//! A door: one address that serves one part of the fake Azure, over TLS or plain, and misbehaves on request.
//!
//! What is behind a door answers whole requests and knows nothing of connections. The door reads the request, plays the
//! fault that is due, and can close its port altogether.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AzureError;
use super::faults::{Fault, Script};
use crate::port::{self, OnPurpose, Socket};

/// The largest body that a door reads.
const BODY_LIMIT: usize = 128 << 20;

/// A request, read to its end.
pub(super) struct Call {
    pub(super) method: Method,
    /// The segments of the path; empty ones are left out.
    pub(super) path: Vec<String>,
    /// The parameters of the query, decoded.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query. Names are compared without case, as the JavaScript SDK needs them decoded first.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer.
pub(super) type Answer = Response<Full<Bytes>>;

/// What is behind a door.
pub(super) trait Behind: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, call: &Call) -> Answer;

    /// The answer of a fault to a request, in the shape of this part of Azure.
    fn refuse(&self, call: &Call, status: StatusCode) -> Answer;
}

/// An answer with a body of JSON.
pub(super) fn json(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

struct Shared {
    script: Mutex<Script>,
    counts: Mutex<Counts>,
    down: watch::Sender<bool>,
    behind: Arc<dyn Behind>,
}

#[derive(Default)]
struct Counts {
    requests: u64,
    answers: BTreeMap<u16, u64>,
}

/// One address of the fake Azure. It closes when dropped.
pub struct Door {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Door {
    /// Opens a door, with TLS or without.
    pub(super) async fn open(
        address: SocketAddr,
        tls: Option<Arc<rustls::ServerConfig>>,
        behind: Arc<dyn Behind>,
    ) -> Result<Self, AzureError> {
        let failed = |source| AzureError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            counts: Mutex::default(),
            down: watch::Sender::new(false),
            behind,
        });
        let stop = CancellationToken::new();
        let has_tls = tls.is_some();
        let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
        let (down, behind) = (shared.down.subscribe(), Arc::clone(&shared));
        let each = move |stream| serve(stream, acceptor.clone(), Arc::clone(&behind));
        tokio::spawn(stop.clone().run_until_cancelled_owned(port::listen(listener, address, down, each)));
        Ok(Self { address, tls: has_tls, shared, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Refuses connections and cuts those that are open, or listens again.
    pub fn set_down(&self, down: bool) {
        self.shared.down.send_replace(down);
    }

    /// Misbehaves with the request of this number; the first is 1.
    pub fn fail_at(&self, request: u64, fault: Fault) {
        self.shared.script().at(request, fault);
    }

    /// Misbehaves with the next so many requests, after those of earlier calls.
    pub fn fail_next(&self, fault: Fault, requests: u32) {
        self.shared.script().next(fault, requests);
    }

    /// Misbehaves with this share of the requests, from 0 to 1.
    pub fn fail_sometimes(&self, probability: f64, fault: Fault) {
        self.shared.script().sometimes(probability, fault);
    }

    /// Misbehaves with every request.
    pub fn fail_always(&self, fault: Fault) {
        self.shared.script().always(fault);
    }

    /// Behaves well again: forgets every fault that was asked for.
    pub fn behave(&self) {
        *self.shared.script() = Script::default();
        self.set_down(false);
    }

    /// Requests so far, those that met a fault included.
    pub fn requests(&self) -> u64 {
        self.shared.counts().requests
    }

    /// Answers so far by status; a request that got none is not in it.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        self.shared.counts().answers.clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

async fn serve(stream: TcpStream, tls: Option<tokio_rustls::TlsAcceptor>, shared: Arc<Shared>) {
    let Some((stream, socket)) = Socket::beside(stream) else { return };
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request| exchange(request, Arc::clone(&shared), socket.clone()));
    let http = hyper::server::conn::http1::Builder::new();
    // An error here is the client's, or on purpose.
    match tls {
        None => _ = http.serve_connection(TokioIo::new(stream), service).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        }
    }
}

async fn exchange(request: Request<Incoming>, shared: Arc<Shared>, socket: Socket) -> Result<Answer, OnPurpose> {
    let number = {
        let mut counts = shared.counts();
        counts.requests += 1;
        counts.requests
    };
    let fault = shared.script().fault(number);
    if fault == Some(Fault::ResetBeforeBody) {
        return Err(socket.reset());
    }
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else { return Err(socket.reset()) };
    let call = Call {
        method: head.method,
        path: head.uri.path().split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect(),
        query: form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
        headers: head.headers,
        body: body.to_bytes(),
    };
    let answer = match fault {
        None => shared.behind.answer(&call),
        Some(Fault::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            shared.behind.answer(&call)
        }
        Some(Fault::Answer { status, retry_after }) => {
            port::after(shared.behind.refuse(&call, port::status(status)), retry_after)
        }
        Some(Fault::Garbage) => Response::new(Full::from("<html><body>Please log in to this network.</body></html>")),
        Some(Fault::LostReply) => {
            shared.behind.answer(&call);
            return Err(OnPurpose);
        }
        Some(Fault::ResetBeforeBody | Fault::ResetAfterBody) => return Err(socket.reset()),
    };
    *shared.counts().answers.entry(answer.status().as_u16()).or_default() += 1;
    Ok(answer)
}
