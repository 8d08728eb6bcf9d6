//! What one line tells.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::tunnel::config::TlsVersion;
use crate::tunnel::reason::Reason;

/// One tunnel that ended, or one connection that became none. What is not known is left out of the line.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it ended.
    pub time: SystemTime,
    /// The name of the listener.
    pub listener: Arc<str>,
    /// Where the client connected from; behind a balancer what the balancer says.
    pub client: SocketAddr,
    /// The user, or the name in the client certificate.
    pub identity: Option<Arc<str>>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// Host and port that the client asked for.
    pub destination: Option<String>,
    /// The address that was dialled.
    pub address: Option<SocketAddr>,
    /// The upstream proxy that was gone through.
    pub via: Option<Arc<str>>,
    /// The server name in the ClientHello.
    pub sni: Option<String>,
    /// The highest TLS version that the client offered.
    pub tls_version: Option<TlsVersion>,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// Bytes from the client to the destination.
    pub bytes_up: u64,
    /// Bytes from the destination to the client.
    pub bytes_down: u64,
    /// From the accepted connection to the end.
    pub duration: Duration,
    /// How long the connection to the destination took.
    pub dial: Option<Duration>,
    /// The HTTP status that the client got.
    pub status: Option<u16>,
    /// Why it ended, or was refused.
    pub reason: Reason,
    /// More about the reason.
    pub detail: Option<String>,
}

impl Record {
    /// With what every line has.
    pub fn new(listener: Arc<str>, client: SocketAddr, reason: Reason) -> Self {
        Self {
            time: SystemTime::now(),
            listener,
            client,
            identity: None,
            user_agent: None,
            destination: None,
            address: None,
            via: None,
            sni: None,
            tls_version: None,
            rule: None,
            bytes_up: 0,
            bytes_down: 0,
            duration: Duration::ZERO,
            dial: None,
            status: None,
            reason,
            detail: None,
        }
    }
}
