//! A front between clients and the gateway, as load balancers and bad networks are: it ends TLS, passes requests on over
//! TLS of its own, and does to some of them what a script says.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::world::World;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is passed on, and its answer back.
    Pass,
    /// 429 with Retry-After: 1, and not passed on.
    Throttle,
    /// 503, and not passed on.
    Unavailable,
    /// The connection ends; it is not passed on.
    Reset,
    /// It is passed on and done; the connection ends instead of its answer.
    LostReply,
}

/// A running front.
pub(crate) struct Front {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: u16,
    connector: TlsConnector,
    /// What happens to the next uploads; then they pass.
    uploads: Mutex<VecDeque<Fate>>,
    /// The same for requests for tokens.
    tokens: Mutex<VecDeque<Fate>>,
    lost: AtomicUsize,
    met: AtomicUsize,
}

impl Front {
    pub(crate) async fn start(world: &World, tokens: &[Fate], uploads: &[Fate]) -> Self {
        let read = |name: &str| std::fs::read(world.path(name)).expect("it was made");
        let chain = CertificateDer::pem_slice_iter(&read("server.pem")).collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("PEM");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            upstream: world.site.uploads,
            connector: connector(&read("ca.pem")),
            uploads: Mutex::new(uploads.iter().copied().collect()),
            tokens: Mutex::new(tokens.iter().copied().collect()),
            lost: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
        });
        let of_connections = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&of_connections));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| Arc::clone(&shared).meet(request));
                    // It ends with an error whenever the script says so.
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self { port, shared }
    }

    /// How many answers were thrown away.
    pub(crate) fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// How many requests met anything but a pass.
    pub(crate) fn met(&self) -> usize {
        self.shared.met.load(Ordering::SeqCst)
    }
}

impl Shared {
    async fn meet(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let script = if request.uri().path().ends_with("/token") { &self.tokens } else { &self.uploads };
        // Only what is posted counts: libraries look at metadata first.
        let posted = request.method() == hyper::Method::POST;
        let fate = posted.then(|| script.lock().pop_front()).flatten().unwrap_or(Fate::Pass);
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        if fate != Fate::Pass {
            self.met.fetch_add(1, Ordering::SeqCst);
        }
        let answer = |status: u16| Response::builder().status(status);
        match fate {
            Fate::Throttle => Ok(answer(429).header("retry-after", "1").body(Full::default()).expect("it is whole")),
            Fate::Unavailable => Ok(answer(503).body(Full::default()).expect("it is whole")),
            Fate::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            Fate::Pass => self.pass(Request::from_parts(parts, Full::new(body))).await,
            Fate::LostReply => {
                let answer = self.pass(Request::from_parts(parts, Full::new(body))).await?;
                assert!(answer.status().is_success(), "an answer that is lost was a good one: {answer:?}");
                self.lost.fetch_add(1, Ordering::SeqCst);
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }

    async fn pass(&self, request: Request<Full<Bytes>>) -> io::Result<Response<Full<Bytes>>> {
        let stream = TcpStream::connect(("127.0.0.1", self.upstream)).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = self.connector.connect(name, stream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let (mut parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        parts.headers.remove("transfer-encoding");
        Ok(Response::from_parts(parts, Full::new(body)))
    }
}

/// TLS that trusts this authority and speaks HTTP/1.1.
pub(crate) fn connector(ca: &[u8]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}
