//! A tunnel through one of several upstream proxies.
//!
//! The balancer picks a proxy. One that cannot be reached, breaks off or does not know our credentials is marked as
//! failed, and another one is asked within what is left of the time. What a sound proxy says of the destination is final,
//! and no fault of the proxy. Silence is no fault either: the destination may be what is silent. A proxy that answers
//! nobody is taken out of use by the balancer, which compares.

use parking_lot::Mutex;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::proxy::{Place, Proxy, Url};
use super::upstream_answer::{Answer, Reader};
use super::{Connected, DialerError, Failure, Guard, lookup, race};
use crate::balancer::{Balancer, EndpointState, Lease, SharedRate, Spec, Verdict};
use crate::net::dns::Resolver;
use crate::net::stream::Stream;
use crate::net::tls_client::client_config;
use crate::tunnel::Reason;
use crate::tunnel::config::UpstreamProxies;

/// The longest that a proxy may take for its whole answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The longest wait for a proxy while none may be used: a trial of one that comes back takes less.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// For a probe.
const PROBE_MAX: Duration = Duration::from_secs(3);

/// How often the balancer is asked whether a probe is due.
const PROBE_TICK: Duration = Duration::from_millis(250);

/// One table of proxies.
pub(super) struct Upstream {
    pub(super) name: Arc<str>,
    balancer: Balancer,
    proxies: Vec<Proxy>,
    /// What last took a proxy out of use, to tell while all of them are.
    trouble: Mutex<Option<Failure>>,
}

/// What one tunnel wants of a proxy.
pub(super) struct Errand<'a> {
    pub(super) resolver: &'a Resolver,
    pub(super) guard: &'a dyn Guard,
    /// Host and port of the destination.
    pub(super) target: String,
    /// The whole value of our `Via` header.
    pub(super) via: String,
    pub(super) deadline: Instant,
}

/// A try that came to nothing.
struct Setback {
    failure: Failure,
    verdict: Verdict,
    /// Another proxy may do better.
    elsewhere: bool,
}

impl Setback {
    /// The proxy is to blame.
    fn blame(failure: Failure) -> Self {
        Self { failure, verdict: Verdict::Failure, elsewhere: true }
    }

    /// It says nothing about the proxy, and another one would not do better.
    fn end(failure: Failure) -> Self {
        Self { failure, verdict: Verdict::Neutral, elsewhere: false }
    }
}

impl Upstream {
    pub(super) fn new(table: &UpstreamProxies, max_tunnels: usize) -> Result<Self, DialerError> {
        let wrong_url =
            |index: usize| move |problem| DialerError::Url { table: table.name.clone(), number: index + 1, problem };
        let urls =
            table.proxies.iter().enumerate().map(|(index, proxy)| Url::parse(&proxy.url).map_err(wrong_url(index)));
        let urls: Vec<Url> = urls.collect::<Result<_, _>>()?;
        let tls = table.trust().map(|trust| client_config(&trust)).transpose();
        let tls = tls.map_err(|error| DialerError::Trust { table: table.name.clone(), error })?.map(Arc::new);
        let proxies = table.proxies.iter().zip(urls).enumerate();
        let proxies: Vec<Proxy> = proxies
            .map(|(index, (proxy, url))| Proxy::new(proxy, url, tls.as_ref()).map_err(wrong_url(index)))
            .collect::<Result<_, _>>()?;
        let specs = table.proxies.iter().zip(&proxies).map(|(configured, proxy)| Spec {
            name: proxy.to_string(),
            weight: configured.weight,
            priority: configured.priority,
            events_per_second: None,
            rate: SharedRate::default(),
            max_in_flight: max_tunnels,
        });
        let balancer = Balancer::new(specs.collect(), &table.balancer, fastrand::Rng::new());
        Ok(Self { name: table.name.as_str().into(), balancer, proxies, trouble: Mutex::default() })
    }

    /// Whether one of its proxies is known by name only.
    pub(super) fn needs_names(&self) -> bool {
        self.proxies.iter().any(|proxy| matches!(proxy.place, Place::Name(_)))
    }

    pub(super) fn snapshot(&self) -> Vec<EndpointState> {
        self.balancer.snapshot()
    }

    /// Opens the tunnel.
    pub(super) async fn open(&self, errand: &Errand<'_>) -> Result<Connected, Failure> {
        let mut untried: Vec<usize> = (0..self.proxies.len()).collect();
        let wait = errand.deadline.min(Instant::now() + WAIT_MAX);
        let Ok(mut lease) = tokio::time::timeout_at(wait, self.balancer.acquire(1, None)).await else {
            return Err(self.nobody());
        };
        loop {
            untried.retain(|index| *index != lease.endpoint);
            let setback = match self.attempt(&self.proxies[lease.endpoint], errand, !untried.is_empty()).await {
                Ok(connected) => {
                    lease.finish(Verdict::Success);
                    return Ok(connected);
                }
                Err(setback) => setback,
            };
            lease.finish(setback.verdict);
            if setback.verdict == Verdict::Failure {
                *self.trouble.lock() = Some(setback.failure.clone());
            }
            match self.another(&untried).filter(|_| setback.elsewhere && Instant::now() < errand.deadline) {
                Some(next) => lease = next,
                None => return Err(setback.failure),
            }
        }
    }

    /// Another proxy that may be used, of those with the lowest priority number.
    fn another(&self, untried: &[usize]) -> Option<Lease> {
        let mut candidates = untried.to_vec();
        candidates.sort_by_key(|index| self.proxies[*index].priority);
        candidates.into_iter().find_map(|index| match self.balancer.pick_at(index, 1) {
            crate::balancer::Pick::Lease(lease) => Some(lease),
            crate::balancer::Pick::Wait(_) => None,
        })
    }

    /// Every proxy is out of use: for the reason that took the last one out of it.
    fn nobody(&self) -> Failure {
        let trouble = self.trouble.lock().clone();
        let mut failure = trouble.unwrap_or_else(|| Failure::new(Reason::UPSTREAM_UNREACHABLE, "none may be used now"));
        failure.detail = format!("every proxy is left alone for a while; the last trouble was: {}", failure.detail);
        failure
    }

    async fn attempt(&self, proxy: &Proxy, errand: &Errand<'_>, others: bool) -> Result<Connected, Setback> {
        let began = Instant::now();
        let left = errand.deadline.saturating_duration_since(began);
        // A proxy that swallows everything must leave time for the next.
        let reach_by = began + if others { left / 2 } else { left };
        let found = resolve(proxy, errand.resolver, reach_by).await;
        let (addresses, dns) = found.map_err(|failure| unreachable(proxy, failure))?;
        if let Some(ours) = addresses.iter().find(|address| errand.guard.is_ours(**address)) {
            let detail = format!("the upstream proxy {proxy} is this gateway");
            return Err(Setback::end(Failure { reason: Reason::LOOP, detail, address: Some(*ours) }));
        }
        let (tcp, address) = race::connect(addresses, reach_by).await.map_err(|failure| unreachable(proxy, failure))?;
        let failure =
            |reason, detail: String| Failure { reason, detail: format!("{proxy}: {detail}"), address: Some(address) };
        let late = |what: &str| failure(Reason::UPSTREAM_TIMEOUT, what.to_owned());
        let mut stream = match &proxy.tls {
            None => Stream::Plain(tcp),
            Some((tls, name)) => match within(reach_by, tls.connect(name.clone(), tcp)).await {
                Some(Ok(tls)) => Stream::Tls(Box::new(tls.into())),
                Some(Err(error)) => return Err(Setback::blame(failure(Reason::UPSTREAM_TLS, error.to_string()))),
                None => return Err(Setback::blame(late("no TLS handshake in time"))),
            },
        };
        let request = proxy.request(&errand.target, &errand.via);
        let left = errand.deadline.saturating_duration_since(Instant::now());
        let answer_by = Instant::now() + ANSWER_MAX.min(if others { left / 2 } else { left });
        let answered = match within(answer_by, ask(&mut stream, request.as_bytes())).await {
            Some(answered) => answered,
            None => return Err(Setback { elsewhere: true, ..Setback::end(late("no answer in time")) }),
        };
        let (answer, early) =
            answered.map_err(|detail| Setback::blame(failure(Reason::UPSTREAM_GARBAGE, detail.to_owned())))?;
        if answer.is_open() {
            let (via, connect) = (Some(Arc::clone(&self.name)), began.elapsed().saturating_sub(dns));
            return Ok(Connected { stream, address: Some(address), via, early, dns, connect });
        }
        let says = format!("it answers with status {}", answer.status);
        Err(match answer.status {
            407 => Setback::blame(failure(Reason::UPSTREAM_CREDENTIALS, says)),
            508 => Setback::end(failure(Reason::LOOP, says)),
            // It has too much to do, or is about to stop: nothing about the destination.
            429 | 503 => Setback { elsewhere: true, ..Setback::end(failure(Reason::UPSTREAM_REFUSED, says)) },
            _ => Setback { verdict: Verdict::Success, ..Setback::end(failure(Reason::UPSTREAM_REFUSED, says)) },
        })
    }
}

async fn within<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    tokio::time::timeout_at(deadline, future).await.ok()
}

async fn resolve(proxy: &Proxy, resolver: &Resolver, by: Instant) -> Result<(Vec<SocketAddr>, Duration), Failure> {
    let began = Instant::now();
    let found = match &proxy.place {
        Place::Address(address) => vec![SocketAddr::new(*address, proxy.port)],
        Place::Name(name) => {
            let found = lookup(resolver, name, by).await?;
            found.iter().map(|address| SocketAddr::new(*address, proxy.port)).collect()
        }
    };
    Ok((found, began.elapsed()))
}

fn unreachable(proxy: &Proxy, failure: Failure) -> Setback {
    if failure.reason == Reason::DESCRIPTORS {
        return Setback::end(failure);
    }
    let detail = format!("{proxy}: {}", failure.detail);
    Setback::blame(Failure { reason: Reason::UPSTREAM_UNREACHABLE, detail, ..failure })
}

/// Sends the request and reads the answer. The error says what is wrong with it.
async fn ask(stream: &mut Stream, request: &[u8]) -> Result<(Answer, Bytes), &'static str> {
    const BROKEN: &str = "it breaks the connection off without an answer";
    stream.write_all(request).await.map_err(|_| BROKEN)?;
    stream.flush().await.map_err(|_| BROKEN)?;
    let mut received = BytesMut::with_capacity(1024);
    let mut reader = Reader::default();
    loop {
        if stream.read_buf(&mut received).await.map_err(|_| BROKEN)? == 0 {
            return Err(BROKEN);
        }
        if let Some(answer) = reader.advance(&received).map_err(|malformed| malformed.0)? {
            let early = received.split_off(answer.length).freeze();
            return Ok((answer, early));
        }
    }
}

/// Probes what is due, until `stop`.
pub(super) async fn probes(upstreams: &[Upstream], resolver: &Resolver, stop: CancellationToken) {
    if upstreams.is_empty() {
        return;
    }
    let forever = async {
        let mut tick = tokio::time::interval(PROBE_TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Each at its own pace: one that hangs must not keep the others from being asked.
        let mut asked = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    let due = upstreams.iter().flat_map(|upstream| {
                        let due = upstream.balancer.probe_due(Instant::now());
                        due.into_iter().map(move |index| probe(upstream, index, resolver))
                    });
                    asked.extend(due);
                }
                Some(()) = asked.next() => {}
            }
        }
    };
    stop.run_until_cancelled(forever).await;
}

async fn probe(upstream: &Upstream, index: usize, resolver: &Resolver) {
    let (proxy, by) = (&upstream.proxies[index], Instant::now() + PROBE_MAX);
    let there = match resolve(proxy, resolver, by).await {
        Ok((addresses, _)) => race::connect(addresses, by).await.is_ok(),
        Err(_) => false,
    };
    upstream.balancer.probed(index, there);
}
