//! From an accepted connection to a request: whom a balancer speaks for, TLS to the proxy, and the head.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::ledger::Refusal;
use super::policy::Policy;
use crate::net::certificate_names::certificate_names;
use crate::net::proxy_protocol::{self, HeaderError};
use crate::net::stream::Stream;
use crate::net::tls_choice::HandshakeFault;
use crate::tunnel::Reason;
use crate::tunnel::request::{self, EndOfHead, Request};

/// The buffer that a connection begins with: most heads, and the ClientHello after them, fit.
const BUFFER_BYTES: usize = 2 << 10;

/// A client on the line, with what it has sent and nobody has looked at.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stream: Stream,
    pub(super) buffer: BytesMut,
    /// The names in its verified certificate.
    pub(super) certificate: Vec<String>,
}

/// Whom the connection is from: the peer, or who a trusted balancer says it speaks for.
pub(super) async fn source(
    policy: &Policy,
    tcp: &mut TcpStream,
    peer: SocketAddr,
    deadline: Instant,
) -> Result<SocketAddr, Refusal> {
    if !policy.listener.proxy_protocol_from.iter().any(|network| network.contains(peer.ip())) {
        return Ok(peer);
    }
    match timeout_at(deadline, proxy_protocol::read(tcp)).await {
        Ok(Ok(source)) => Ok(source.unwrap_or(peer)),
        Ok(Err(HeaderError::Malformed(detail))) => Err(Refusal::new(Reason::PROXY_HEADER, detail)),
        Ok(Err(gone @ HeaderError::Gone(_))) => Err(Refusal::new(Reason::CLIENT_GONE, gone.to_string())),
        Err(_) => Err(Refusal::new(Reason::PROXY_HEADER, "it did not arrive in time")),
    }
}

/// Speaks TLS where the listener does.
pub(super) async fn greet(policy: &Policy, tcp: TcpStream, deadline: Instant) -> Result<Caller, Refusal> {
    let buffer = BytesMut::new();
    let Some(tls) = &policy.tls else {
        return Ok(Caller { stream: Stream::Plain(tcp), buffer, certificate: Vec::new() });
    };
    match timeout_at(deadline, TlsAcceptor::from(Arc::clone(&tls.current())).accept(tcp)).await {
        Err(_) => Err(Refusal::new(Reason::TLS_HANDSHAKE, "it did not end in time")),
        Ok(Err(error)) => Err(not_greeted(&error)),
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = chain.first().map(|der| certificate_names(der)).unwrap_or_default();
            Ok(Caller { stream: Stream::Tls(Box::new(stream.into())), buffer, certificate })
        }
    }
}

fn not_greeted(error: &std::io::Error) -> Refusal {
    let fault = HandshakeFault::of(error);
    let reason = match fault {
        HandshakeFault::NoCommonCipher => Reason::TLS_NO_COMMON_CIPHER,
        HandshakeFault::OldVersion => Reason::TLS_OLD_VERSION,
        HandshakeFault::ClientRevoked => Reason::TLS_CLIENT_REVOKED,
        HandshakeFault::RevocationListExpired => Reason::TLS_CLIENT_CRL_EXPIRED,
        HandshakeFault::RevocationListMissing => Reason::TLS_CLIENT_CRL_MISSING,
        HandshakeFault::RevocationListOfOtherKey => Reason::TLS_CLIENT_CRL_OTHER_KEY,
        HandshakeFault::ClientOutOfTime | HandshakeFault::ClientUnknown | HandshakeFault::Other => {
            Reason::TLS_HANDSHAKE
        }
    };
    Refusal::new(reason, fault.remedy().map_or_else(|| error.to_string(), str::to_owned))
}

impl Caller {
    /// Reads a request. What came after its head stays in the buffer.
    pub(super) async fn request(&mut self, rules: request::Rules, deadline: Instant) -> Result<Request, Refusal> {
        let mut end = EndOfHead::default();
        loop {
            let refused = |fault: request::Fault| Refusal::new(fault.reason, fault.detail);
            if let Some(length) = end.find(&self.buffer).map_err(refused)? {
                let head = self.buffer.split_to(length);
                return request::parse(&head, rules).map_err(refused);
            }
            match timeout_at(deadline, self.read()).await {
                Ok(read) => read?,
                Err(_) => return Err(Reason::HEAD_TIMEOUT.into()),
            }
        }
    }

    /// Reads more into the buffer.
    pub(super) async fn read(&mut self) -> Result<(), Refusal> {
        self.buffer.reserve(BUFFER_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Refusal::new(Reason::CLIENT_GONE, "it closed the connection")),
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::new(Reason::CLIENT_GONE, error.to_string())),
        }
    }
}
