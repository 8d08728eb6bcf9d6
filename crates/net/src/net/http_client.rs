//! The HTTP/1.1 client of the outputs: one request, one answer, and the truth about what was sent.
//!
//! A batch that may have reached its collector must not be taken for one that surely did not. So a failure says which
//! it was: [`SendError::Connect`] when no byte of the body left this client, [`SendError::NoAnswer`] otherwise. The
//! line is drawn where hyper takes the body out of our hands, not by the kind of its errors: hyper sends a request
//! again by itself when a pooled connection turns out to be closed, but only while the body is still untouched.
//!
//! Redirects are not followed, and nothing is retried: that is the balancer's and the forwarder's work.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use http::{Method, Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use httpdate::parse_http_date;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::http_proxy::{self, Proxy};
use super::tls_client::{Trust, TrustError, client_config};
use crate::faults::with_causes;

/// Most bytes kept of an answer's body; the rest is not read. Enough for any error text.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Longest wait that an answer may ask for. A collector with a broken clock must not stop an output for a day.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A connection that the far side closes just as we send on it gives an ambiguous answer, so idle connections go
/// before the shortest keep-alive of common servers (5 s).
const POOL_IDLE: Duration = Duration::from_secs(4);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Way = BoxCloneSyncService<Uri, TokioIo<TcpStream>, io::Error>;
type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, BoxError>;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The wait that `Retry-After` asks for, from seconds or a date; at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
    /// All headers; hyper takes no more than 100.
    pub headers: HeaderMap,
    /// The body, cut to [`ANSWER_BYTES_MAX`]. Shorter than announced when the connection broke after the head.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing of the body was sent: refused, no such name, TLS failed, or no connection in time.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The request may have been sent, whole or in part: reset, closed, not HTTP, or no answer in time.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// A client with its pool of connections. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// How a connection comes about: directly, or as a tunnel through the proxy.
    way: Way,
    client: Client<Connector, Outgoing>,
}

impl HttpClient {
    /// A client that believes `trust` and gives up on a connection (name, TCP and TLS together) after `connect_timeout`.
    ///
    /// Reads certificate files; call it at start-up.
    pub fn new(trust: &Trust, connect_timeout: Duration) -> Result<Self, TrustError> {
        Self::through(None, trust, connect_timeout)
    }

    /// The same through an HTTP proxy, if there is one: each connection is a tunnel (CONNECT), also for `http` URLs, and
    /// TLS is with the endpoint, not with the proxy. A tunnel that does not come about is a [`SendError::Connect`].
    pub fn through(
        proxy: Option<&http_proxy::Config>,
        trust: &Trust,
        connect_timeout: Duration,
    ) -> Result<Self, TrustError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let proxy = proxy.map(|config| Arc::new(Proxy::new(config)));
        let by = proxy.clone();
        let way = Way::new(tower::service_fn(move |uri: Uri| {
            let (tcp, proxy) = (tcp.clone(), by.clone());
            async move {
                match proxy {
                    Some(proxy) => proxy.tunnel(tcp, &uri).await.map_err(io::Error::other),
                    None => tcp.oneshot(uri).await.map_err(io::Error::other),
                }
            }
        }));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(client_config(trust)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(way.clone());
        let late = match &proxy {
            Some(proxy) => format!("no connection within {connect_timeout:?} through the proxy {}", proxy.url()),
            None => format!("no connection within {connect_timeout:?}"),
        };
        let connector = tower::service_fn(move |uri: Uri| {
            let connecting = tls.clone().oneshot(uri);
            let late = late.clone();
            async move { timeout(connect_timeout, connecting).await.unwrap_or_else(|_| Err(late.into())) }
        });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(BoxCloneSyncService::new(connector));
        Ok(Self { way, client })
    }

    /// Posts `body` to `url` (absolute) and waits for the whole answer until `within` has passed.
    ///
    /// An answer whose head came but whose body did not is an answer: the status has spoken.
    pub async fn post(
        &self,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        within: Duration,
    ) -> Result<Answer, SendError> {
        self.request(Method::POST, url, headers, Some(body), within).await
    }

    /// Asks for `url` (absolute), as [`HttpClient::post`] does.
    pub async fn get(&self, url: &Uri, headers: HeaderMap, within: Duration) -> Result<Answer, SendError> {
        self.request(Method::GET, url, headers, None, within).await
    }

    /// Opens a connection to the host and port of `url`, by the way that requests go, and closes it without sending a byte
    /// there. Behind a proxy this is a tunnel that nothing is sent through.
    pub async fn reach(&self, url: &Uri, within: Duration) -> Result<(), SendError> {
        match timeout(within, self.way.clone().oneshot(url.clone())).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SendError::Connect(with_causes(&error))),
            Err(_) => Err(SendError::Connect(format!("no connection within {within:?}"))),
        }
    }

    async fn request(
        &self,
        method: Method,
        url: &Uri,
        headers: HeaderMap,
        body: Option<Bytes>,
        within: Duration,
    ) -> Result<Answer, SendError> {
        let deadline = Instant::now() + within;
        let taken = Arc::new(AtomicBool::new(false));
        let mut request = Request::new(Outgoing { body, taken: Arc::clone(&taken) });
        *request.method_mut() = method;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers;
        let failure = |what: String| match taken.load(Ordering::Acquire) {
            true => SendError::NoAnswer(what),
            false => SendError::Connect(what),
        };
        match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(read(response, deadline).await),
            Ok(Err(error)) => Err(failure(with_causes(&error))),
            Err(_) => Err(failure(format!("nothing came within {within:?}"))),
        }
    }
}

/// A request body that remembers whether it left our hands.
struct Outgoing {
    body: Option<Bytes>,
    taken: Arc<AtomicBool>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.store(true, Ordering::Release);
        Poll::Ready(self.body.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.body.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

async fn read(response: Response<Incoming>, deadline: Instant) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut kept = BytesMut::new();
    while kept.len() < ANSWER_BYTES_MAX {
        let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await else { break };
        if let Some(data) = frame.data_ref() {
            kept.extend_from_slice(&data[..data.len().min(ANSWER_BYTES_MAX - kept.len())]);
        }
    }
    Answer {
        status: head.status.as_u16(),
        retry_after: retry_after(&head.headers, SystemTime::now()),
        headers: head.headers,
        body: kept.freeze(),
    }
}

/// `Retry-After` as a span. A date is measured against the answer's own `Date`, so that clocks need not agree; against
/// `now` when it has none. A date in the past is no wait at all; what cannot be read is `None`.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let wait = parse_http_date(text).ok()?.duration_since(date(headers).unwrap_or(now)).unwrap_or_default();
    Some(wait.min(RETRY_AFTER_MAX))
}

/// When an answer was made, by the clock of who made it.
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
    }

    #[test]
    fn retry_after_is_read_from_seconds_and_dates() {
        assert_eq!(wait("120", None), Some(Duration::from_secs(120)));
        assert_eq!(wait("0", None), Some(Duration::ZERO));
        // 784111777 is the date of RFC 9110's own example.
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", None), Some(Duration::from_secs(60)));
        let skewed = Some("Sun, 06 Nov 1994 08:50:30 GMT");
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", skewed), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(Duration::ZERO));
        // The forms of former times, which a recipient has to know.
        assert_eq!(wait("Sunday, 06-Nov-94 08:50:37 GMT", None), Some(Duration::from_secs(60)));
        assert_eq!(wait("Sun Nov  6 08:50:37 1994", None), Some(Duration::from_secs(60)));
        assert_eq!(wait("soon", None), None);
        assert_eq!(wait("99999999999999999999999", None), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("Sat, 06 Nov 2094 08:50:37 GMT", None), Some(RETRY_AFTER_MAX));
    }
}
