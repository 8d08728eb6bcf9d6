//! Host names to addresses.
//!
//! The caller gets every address of a name at once, so that it can judge all of them and connect to what it judged:
//! nothing is resolved twice. Names are absolute: search domains would let a wrong entry of the allow-list mean another
//! host. The hosts file decides alone about the names that it has, as operators expect of it.
//!
//! Answers are remembered here, above the DNS library, because thousands of tunnels a second ask for a handful of names:
//! a remembered answer costs one look into a map. Only "there is no such name" is remembered of what can go wrong, and
//! briefly; a failure never is. Who asks for a name that is being asked for waits for the same answer.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, lookup::Lookup, system_conf};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::values::Span;

/// Names that are remembered. Rules with wildcards let clients ask for any number of names, so there is an end to it.
const NAMES_MAX: usize = 4_096;

/// Addresses of one name. More than anybody dials, and a bound on what a hostile server can make us keep.
const ADDRESSES_MAX: usize = 64;

/// The longest that "there is no such name" is remembered: long enough for a storm of tries, short enough for the person
/// who has just made the name.
const ABSENT_MAX: Duration = Duration::from_secs(5);

/// How long the answer for one family waits for the other family's. Some networks drop one kind of query; all others
/// answer both within this.
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// Queries under way on one connection to a server. The library's own bound is low for a start with a cold memory.
const QUERIES_MAX: usize = 512;

/// How host names are resolved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// DNS servers, such as `"10.0.0.53:53"`. Default: those of the system. The system's hosts file counts either way.
    #[schemars(with = "Vec<String>")]
    pub servers: Vec<SocketAddr>,
    /// For one name, all servers and tries together. Default 5 s.
    pub timeout: Span,
    /// The longest that an answer is remembered, however long its own time to live. Default 5 min.
    pub cache_max: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self { servers: Vec::new(), timeout: Span::secs(5), cache_max: Span::secs(300) }
    }
}

/// Names cannot be resolved at all.
#[derive(Debug, thiserror::Error)]
#[error("the system names no usable DNS server ({reason}); repair /etc/resolv.conf or set servers")]
pub struct ResolverError {
    reason: String,
}

/// Why a name has no address now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is no such name, or it has no address.
    #[error("there is no such name, or it has no address")]
    NotFound,
    /// The servers answer with an error or cannot be asked.
    #[error("the DNS servers do not help: {0}")]
    Failed(String),
    /// No answer in time.
    #[error("no DNS server answers in time")]
    Timeout,
    /// This machine has no file descriptor left to ask with.
    #[error("no file descriptor is left to ask a DNS server with")]
    Descriptors,
}

/// Resolves names. Share it: what it remembers is its use.
pub struct Resolver {
    library: TokioResolver,
    hosts: Hosts,
    timeout: Duration,
    cache_max: Duration,
    remembered: Mutex<HashMap<Box<str>, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    until: Instant,
    /// None: there is no such name.
    addresses: Option<Arc<[IpAddr]>>,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver with the configured servers, or else the system's. Reads `/etc/hosts`, and `/etc/resolv.conf` if it
    /// needs to: call it at start-up.
    pub fn new(config: &Config) -> Result<Self, ResolverError> {
        let hosts = Hosts::from_system().unwrap_or_else(|error| {
            tracing::warn!(%error, "the hosts file cannot be read and is ignored");
            Hosts::default()
        });
        Self::with_hosts(config, hosts)
    }

    /// Why there would be nobody to ask; asks nobody.
    pub fn fault(config: &Config) -> Option<ResolverError> {
        let is_systems = config.servers.is_empty();
        is_systems.then(system_conf::read_system_conf)?.err().map(unusable)
    }

    /// A resolver that knows the hosts file and asks nobody: for gateways that leave all names to an upstream proxy, on
    /// machines without DNS.
    pub fn without_servers(config: &Config) -> Result<Self, ResolverError> {
        Self::build(config, Hosts::from_system().unwrap_or_default(), Vec::new())
    }

    fn with_hosts(config: &Config, hosts: Hosts) -> Result<Self, ResolverError> {
        let servers = if config.servers.is_empty() {
            system_conf::read_system_conf().map_err(unusable)?.0.name_servers().to_vec()
        } else {
            config.servers.iter().map(|server| name_server(*server)).collect()
        };
        Self::build(config, hosts, servers)
    }

    fn build(config: &Config, hosts: Hosts, servers: Vec<NameServerConfig>) -> Result<Self, ResolverError> {
        let mut options = ResolverOpts::default();
        // Two tries, which together take what one name may take.
        options.attempts = 1;
        options.timeout = config.timeout.get() / 2;
        options.try_tcp_on_error = true;
        options.use_hosts_file = ResolveHosts::Never;
        options.max_active_requests = QUERIES_MAX;
        options.cache_size = 0;
        options.positive_max_ttl = Some(config.cache_max.get());
        options.negative_max_ttl = Some(ABSENT_MAX);
        let servers = ResolverConfig::from_parts(None, Vec::new(), servers);
        let builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
        Ok(Self {
            library: builder.with_options(options).build().map_err(unusable)?,
            hosts,
            timeout: config.timeout.get(),
            cache_max: config.cache_max.get(),
            remembered: Mutex::default(),
        })
    }

    /// Every address of the name, IPv6 first; never empty.
    pub async fn lookup(&self, name: &str) -> Result<Arc<[IpAddr]>, LookupError> {
        if let Some(remembered) = self.recall(name) {
            return remembered.ok_or(LookupError::NotFound);
        }
        // In a box: few tunnels need it, and it is large.
        Box::pin(self.ask(name)).await
    }

    async fn ask(&self, name: &str) -> Result<Arc<[IpAddr]>, LookupError> {
        let mut absolute = Name::from_ascii(name).map_err(|error| LookupError::Failed(error.to_string()))?;
        absolute.set_fqdn(true);
        let found = match self.in_hosts(&absolute) {
            Some(found) => found,
            None => tokio::time::timeout(self.timeout, self.ask_servers(absolute))
                .await
                .unwrap_or(Err(Trouble::passing(LookupError::Timeout))),
        };
        match found {
            Ok((addresses, remember)) => {
                let addresses: Arc<[IpAddr]> = addresses.into();
                self.remember(name, Some(Arc::clone(&addresses)), remember);
                Ok(addresses)
            }
            Err(trouble) => {
                self.remember(name, None, trouble.remember);
                Err(trouble.error)
            }
        }
    }

    fn in_hosts(&self, name: &Name) -> Option<Found> {
        let lines = [RecordType::AAAA, RecordType::A]
            .map(|kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind)));
        let addresses = merged(lines.iter().flatten());
        (!addresses.is_empty()).then_some(Ok((addresses, self.cache_max)))
    }

    async fn ask_servers(&self, name: Name) -> Found {
        let mut six = pin!(self.library.lookup(name.clone(), RecordType::AAAA));
        let mut four = pin!(self.library.lookup(name, RecordType::A));
        let (six, four) = tokio::select! {
            six = &mut six => {
                let four = with_patience(has_address(&six), four).await;
                (Some(six), four)
            }
            four = &mut four => {
                let six = with_patience(has_address(&four), six).await;
                (six, Some(four))
            }
        };
        let (found, failed): (Vec<_>, Vec<_>) = [six, four].into_iter().flatten().partition(Result::is_ok);
        let found: Vec<Lookup> = found.into_iter().flatten().collect();
        let addresses = merged(found.iter());
        if addresses.is_empty() {
            return Err(Trouble::of(failed.into_iter().filter_map(Result::err)));
        }
        let lives = found.iter().flat_map(|lookup| lookup.answers()).map(|record| record.ttl);
        let remember = Duration::from_secs(lives.min().unwrap_or(0).into()).min(self.cache_max);
        Ok((addresses, remember))
    }

    fn recall(&self, name: &str) -> Option<Option<Arc<[IpAddr]>>> {
        let remembered = self.remembered.lock();
        let entry = remembered.get(name)?;
        (entry.until > Instant::now()).then(|| entry.addresses.clone())
    }

    fn remember(&self, name: &str, addresses: Option<Arc<[IpAddr]>>, time: Duration) {
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut remembered = self.remembered.lock();
        if remembered.len() >= NAMES_MAX && !remembered.contains_key(name) {
            remembered.retain(|_, entry| entry.until > now);
            if remembered.len() >= NAMES_MAX {
                // Somebody asks for names without end. To forget all costs one query for each name that matters.
                remembered.clear();
            }
        }
        remembered.insert(name.into(), Remembered { until: now + time, addresses });
    }
}

type Found = Result<(Vec<IpAddr>, Duration), Trouble>;

/// No address, and for how long that may be remembered.
struct Trouble {
    error: LookupError,
    remember: Duration,
}

impl Trouble {
    /// Not worth remembering.
    fn passing(error: LookupError) -> Self {
        Self { error, remember: Duration::ZERO }
    }

    /// What the answers for both families come to: only two times "no" is a no.
    fn of(errors: impl Iterator<Item = NetError>) -> Self {
        let mut remember = ABSENT_MAX;
        for error in errors {
            match error {
                NetError::Dns(DnsError::NoRecordsFound(none)) => {
                    let life = none.negative_ttl.map_or(ABSENT_MAX, |seconds| Duration::from_secs(seconds.into()));
                    remember = remember.min(life);
                }
                NetError::Timeout => return Self::passing(LookupError::Timeout),
                NetError::Io(error) if is_exhaustion(&error) => return Self::passing(LookupError::Descriptors),
                other => return Self::passing(LookupError::Failed(other.to_string())),
            }
        }
        Self { error: LookupError::NotFound, remember }
    }
}

fn unusable(error: NetError) -> ResolverError {
    ResolverError { reason: error.to_string() }
}

/// The answer for the other family; when there are addresses already, only for a moment.
async fn with_patience<F: Future>(have_addresses: bool, other: F) -> Option<F::Output> {
    if have_addresses { tokio::time::timeout(OTHER_FAMILY, other).await.ok() } else { Some(other.await) }
}

fn is_exhaustion(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn has_address(answer: &Result<Lookup, NetError>) -> bool {
    answer.as_ref().is_ok_and(|lookup| lookup.answers().iter().any(|record| record.data.ip_addr().is_some()))
}

fn merged<'a>(lookups: impl Iterator<Item = &'a Lookup>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for address in lookups.flat_map(|lookup| lookup.answers()).filter_map(|record| record.data.ip_addr()) {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
