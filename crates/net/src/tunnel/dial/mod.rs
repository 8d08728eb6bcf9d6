//! From a destination that a rule allows to a connection with it, direct or through an upstream proxy.
//!
//! What is promised: a name is resolved once; every address of it is judged, and one that is forbidden condemns the name;
//! only addresses that were judged are dialled. Everything together ends within `limits.connect_timeout`, and each
//! failure says why with one [`Reason`]. Through an upstream proxy the name is resolved there, so only addresses that the
//! client wrote itself are judged here; of the client's request nothing goes out but the destination and the gateways
//! it came through.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Reason;
use super::allow_list::Rule;
use super::config::Config;
use super::request::{Authority, Host};
use crate::balancer::EndpointState;
use crate::net::dns::{LookupError, Resolver, ResolverError};
use crate::net::stream::Stream;
use crate::net::tls_client::TrustError;

mod guard;
mod hops;
mod proxy;
mod race;
#[cfg(test)]
mod tests;
mod upstream;
pub mod upstream_answer;
#[cfg(test)]
mod upstream_tests;

pub use guard::Guard;

use hops::Hops;
use upstream::{Errand, Upstream};

/// The far end of a tunnel.
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub stream: Stream,
    /// The address at its other end: the destination's, or the upstream proxy's.
    pub address: Option<SocketAddr>,
    /// The upstream proxies, by their name in the configuration; none for direct.
    pub via: Option<Arc<str>>,
    /// What the far end sent right behind the upstream proxy's answer; the client gets it first.
    pub early: Bytes,
    /// How long the name took to resolve.
    pub dns: Duration,
    /// How long the rest took.
    pub connect: Duration,
}

impl Connected {
    /// Waits for the first bytes of the far end and keeps them in `early`. Fails when it closes instead.
    pub async fn begins_to_answer(&mut self) -> std::io::Result<()> {
        if !self.early.is_empty() {
            return Ok(());
        }
        let mut first = bytes::BytesMut::with_capacity(4 << 10);
        if self.stream.read_buf(&mut first).await? == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it closed without an answer"));
        }
        self.early = first.freeze();
        Ok(())
    }
}

/// There is no tunnel.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {detail}", reason.text)]
pub struct Failure {
    /// Why, for the answer, the log and the metrics.
    pub reason: Reason,
    /// More for the log; nothing of it comes from the client or the far end.
    pub detail: String,
    /// The address that it is about.
    pub address: Option<SocketAddr>,
}

impl Failure {
    fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), address: None }
    }
}

/// The configuration does not make a dialer.
#[derive(Debug, thiserror::Error)]
pub enum DialerError {
    /// Names cannot be resolved.
    #[error("tunnel.dns: {0}")]
    Dns(#[from] ResolverError),
    /// The authorities for `https` proxies cannot be loaded.
    #[error("upstream_proxies {table:?}: {error}")]
    Trust {
        /// The name of the table.
        table: String,
        /// What is wrong.
        error: TrustError,
    },
    /// The URL of a proxy is none.
    #[error("upstream_proxies {table:?}: url of proxy {number}: {problem}")]
    Url {
        /// The name of the table.
        table: String,
        /// Which of its proxies, from 1.
        number: usize,
        /// What would be right.
        problem: &'static str,
    },
}

/// Makes connections for tunnels. Share it: it remembers names and how upstream proxies do.
pub struct Dialer {
    resolver: Resolver,
    guard: Arc<dyn Guard>,
    upstreams: Vec<Upstream>,
    hops: Hops,
    connect_timeout: Duration,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer").field("upstreams", &self.upstreams.len()).finish_non_exhaustive()
    }
}

impl Dialer {
    /// A dialer for this configuration. `instance` tells this gateway from all others, so that loops are noticed. Reads
    /// files: call it at start-up.
    pub fn new(config: &Config, guard: Arc<dyn Guard>, instance: &str) -> Result<Self, DialerError> {
        let upstreams = config.upstream_proxies.iter().map(|table| Upstream::new(table, config.limits.max_tunnels));
        let upstreams: Vec<Upstream> = upstreams.collect::<Result<_, _>>()?;
        let needs_names = config.goes_direct() || upstreams.iter().any(Upstream::needs_names);
        let resolver = match Resolver::new(&config.dns) {
            Err(_) if !needs_names => Resolver::without_servers(&config.dns),
            resolver => resolver,
        };
        Ok(Self {
            resolver: resolver?,
            guard,
            upstreams,
            hops: Hops::new(instance),
            connect_timeout: config.limits.connect_timeout.get(),
        })
    }

    /// The `Via` to send on when the client's was this; none when the request has been through too many gateways.
    pub fn via(&self, came_with: &str) -> Option<String> {
        self.hops.with_us(came_with)
    }

    /// Whether a request with this `Via` header has been through this gateway.
    pub fn is_loop(&self, via: &str) -> bool {
        self.hops.include_us(via)
    }

    /// Connects to what `rule` has allowed, in the way that it says. `via` is the client's `Via` header, or empty.
    pub async fn dial(&self, authority: &Authority, rule: &Rule, via: &str) -> Result<Connected, Failure> {
        let deadline = Instant::now() + self.connect_timeout;
        match rule.via.as_deref() {
            None | Some(Config::DIRECT) => self.direct(authority, rule, deadline).await,
            // In a box: those who go direct need not carry its size.
            Some(name) => Box::pin(self.through(name, authority, rule, via, deadline)).await,
        }
    }

    async fn direct(&self, authority: &Authority, rule: &Rule, deadline: Instant) -> Result<Connected, Failure> {
        let began = Instant::now();
        let addresses: Vec<SocketAddr> = match &authority.host {
            Host::Address(address) => vec![self.check(*address, authority.port, rule)?],
            Host::Name(name) => {
                let found = lookup(&self.resolver, name.as_str(), deadline).await?;
                found.iter().map(|address| self.check(*address, authority.port, rule)).collect::<Result<_, _>>()?
            }
        };
        let dns = began.elapsed();
        let (stream, address) = race::connect(addresses, deadline).await?;
        let connect = began.elapsed().saturating_sub(dns);
        let stream = Stream::Plain(stream);
        Ok(Connected { stream, address: Some(address), via: None, early: Bytes::new(), dns, connect })
    }

    async fn through(
        &self,
        name: &str,
        authority: &Authority,
        rule: &Rule,
        via: &str,
        deadline: Instant,
    ) -> Result<Connected, Failure> {
        if let Host::Address(address) = authority.host {
            self.check(address, authority.port, rule)?;
        }
        let Some(upstream) = self.upstreams.iter().find(|upstream| *upstream.name == *name) else {
            return Err(Failure::new(Reason::UPSTREAM_UNREACHABLE, "no table in upstream_proxies has this name"));
        };
        let Some(via) = self.hops.with_us(via) else {
            return Err(Failure::new(Reason::LOOP, "it came through too many gateways"));
        };
        let errand =
            Errand { resolver: &self.resolver, guard: &*self.guard, target: authority.to_string(), via, deadline };
        upstream.open(&errand).await
    }

    fn check(&self, address: IpAddr, port: u16, rule: &Rule) -> Result<SocketAddr, Failure> {
        let address = SocketAddr::new(address, port);
        let forbidden = |(reason, what): (Reason, &'static str)| Failure {
            reason,
            detail: what.to_owned(),
            address: Some(address),
        };
        self.guard.check(address, rule).map_err(forbidden)
    }

    /// Asks upstream proxies that are out of use or idle whether they are there, until `stop`. Run it beside the tunnels.
    pub async fn probes(&self, stop: CancellationToken) {
        upstream::probes(&self.upstreams, &self.resolver, stop).await;
    }

    /// How the upstream proxies do, for each table of them.
    pub fn snapshot(&self) -> Vec<(Arc<str>, Vec<EndpointState>)> {
        self.upstreams.iter().map(|upstream| (Arc::clone(&upstream.name), upstream.snapshot())).collect()
    }
}

async fn lookup(resolver: &Resolver, name: &str, deadline: Instant) -> Result<Arc<[IpAddr]>, Failure> {
    let found = tokio::time::timeout_at(deadline, resolver.lookup(name)).await.unwrap_or(Err(LookupError::Timeout));
    found.map_err(|error| match error {
        LookupError::Timeout => Failure::new(Reason::DNS_TIMEOUT, error.to_string()),
        LookupError::Descriptors => Failure::new(Reason::DESCRIPTORS, error.to_string()),
        LookupError::NotFound | LookupError::Failed(_) => Failure::new(Reason::DNS, error.to_string()),
    })
}
