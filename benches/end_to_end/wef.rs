//! Windows Event Forwarding over TLS: hosts with certificates of their own that deliver Raw Security events in UTF-16, as large as
//! Windows makes them. The CPU time is that of the gateway's process alone.
//!
//! A body is used again and again with other record ids in it, which makes its events new ones: so nothing is measured but
//! deliveries, and no long run needs a generator. What is compressed cannot be changed so; there each body goes once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use anyhow::Context as _;
use gatepost::lab::wef::{Authority, compressed, wide};

#[cfg(feature = "kerberos")]
#[path = "kerberos.rs"]
mod kerberos;

/// Events in an envelope: as many as fit into 512,000 bytes of UTF-16.
const BATCH: usize = 160;
/// Envelopes of each host in the compressed run.
const PACKED: usize = 2;
/// The first record id, so that all have as many digits.
const FIRST: u64 = 1_000_000_000;
const TAG: &str = "<EventRecordID>";
const WAIT: Duration = Duration::from_secs(60);

pub(super) async fn run(args: &Args, wanted: impl Fn(&str) -> bool) -> Result<()> {
    if wanted("wef") {
        closed_loop(args, None).await?;
    }
    if wanted("wef-rate") {
        closed_loop(args, Some(args.wef_rate)).await?;
    }
    if wanted("wef-sldc") {
        packed(args).await?;
    }
    #[cfg(feature = "kerberos")]
    for (name, compress) in [("wef-kerberos", false), ("wef-kerberos-sldc", true)] {
        // It needs Debian's krb5-kdc, so it runs when it is named.
        if args.scenarios.iter().any(|scenario| scenario == name) {
            kerberos::run(args, name, compress).await?;
        }
    }
    // It takes ten thousand handshakes, and files as many.
    if args.scenarios.iter().any(|name| name == "wef-idle") {
        idle(args).await?;
    }
    Ok(())
}

/// A gateway for hosts with certificates of this authority.
struct Site {
    gateway: Gateway,
    authority: Authority,
    collectors: Vec<Collector>,
}

impl Site {
    async fn start(args: &Args) -> Result<Self> {
        let (collectors, authority) = (collectors(args.collectors).await?, Authority::new("Bench hosts")?);
        let gateway = Gateway::with(args, |dir, port, admin| {
            let ca = dir.join("hosts-ca.pem");
            // The gateway tells it if that fails.
            std::fs::write(&ca, authority.pem()).ok();
            let text = configuration(dir, port, admin, &collectors, args);
            let more = format!(
                "tls.client_ca = \"{}\"\ntls.client_certificates = \"required\"\nwef.enabled = true\n\
                 limits.max_connections = 16384\nlimits.max_connections_per_address = 16384\n\
                 limits.keep_alive_idle = \"10 min\"\n[[outputs]]\n",
                ca.display()
            );
            // Ten thousand hosts come from one address here.
            text.replace("limits.max_connections_per_address = 2048\n", "").replacen("[[outputs]]\n", &more, 1)
        });
        Ok(Self { gateway: gateway.await?, authority, collectors })
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/wsman/{path}", self.gateway.port)
    }

    async fn hosts(&self, count: usize) -> Result<Vec<Forwarding>> {
        let ca = self.gateway.ca()?;
        let mut hosts = Vec::new();
        let mut id = None;
        for n in 0..count {
            let name = format!("pc{n}.plant.example");
            let client = Client::showing(Some(&ca), self.authority.issue(&name)?)?;
            if id.is_none() {
                id = Some(self.subscription(&client).await?);
            }
            let id = id.clone().context("it was just asked for")?;
            let url = self.url(&format!("subscriptions/{id}/1"));
            hosts.push(Forwarding { name, client, url, id });
        }
        Ok(hosts)
    }

    /// The id of the subscription from rules, as a host is told it.
    async fn subscription(&self, client: &Client) -> Result<String> {
        let answer = client.post(&self.url("SubscriptionManager/WEC"), &[], enumerate().into(), WAIT).await?;
        identifier(&answer.body)
    }

    /// What the gateway keeps when nobody has said anything for a while, in MiB.
    async fn rests(&self) -> Result<f64> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.gateway.rss()
    }

    fn held(&self) -> u64 {
        held(&self.collectors)
    }
}

/// A host asks for its subscriptions.
fn enumerate() -> String {
    envelope("http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate", "pc0.plant.example", "", "")
}

/// The id of the only subscription that a host is told of.
fn identifier(answer: &[u8]) -> Result<String> {
    let text = String::from_utf8(answer.to_vec())?;
    let (_, rest) = text.split_once("<e:Identifier>").with_context(|| text.clone())?;
    Ok(rest.split_once('<').context("no end of the id")?.0.to_owned())
}

/// A host that delivers.
struct Forwarding {
    name: String,
    client: Client,
    url: String,
    id: String,
}

/// An envelope whose record ids can be changed.
struct Body {
    wide: Vec<u8>,
    /// Where the digits of each record id begin.
    ids: Vec<usize>,
}

/// An envelope of Raw Security events of a host for a subscription.
fn body(name: &str, id: &str, seed: u64) -> Body {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or_default();
    let host = Host::new(name, seed).starting_at(now).with_system_share(0.0);
    let events: String = host
        .take(BATCH)
        .map(|event| {
            let xml = String::from_utf8(event.render(Shape::Xml)).expect("events are text");
            let own = format!("{TAG}{}<", event.record_id());
            let xml = xml.replacen(&own, &format!("{TAG}{FIRST}<"), 1);
            format!("<w:Event Action=\"http://schemas.dmtf.org/wbem/wsman/1/wsman/Event\"><![CDATA[{xml}]]></w:Event>")
        })
        .collect();
    let bookmark = format!(
        "<e:Identifier>{id}</e:Identifier><w:Bookmark><BookmarkList><Bookmark Channel=\"Security\" RecordId=\"1\" \
         IsCurrent=\"true\"/></BookmarkList></w:Bookmark><w:AckRequested/>"
    );
    let action = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Events";
    let text = envelope(action, name, &bookmark, &format!("<w:Events>{events}</w:Events>"));
    // Behind a mark, and not all of it is ASCII.
    let (mut units, mut from) = (1, 0);
    let mut place = |at: usize| {
        units += text[from..at].encode_utf16().count();
        from = at;
        2 * (units + TAG.len())
    };
    let ids = text.match_indices(TAG).map(|(at, _)| place(at)).collect();
    Body { wide: wide(&text), ids }
}

impl Forwarding {
    fn body(&self, seed: u64) -> Body {
        body(&self.name, &self.id, seed)
    }

    fn heartbeat(&self) -> Bytes {
        let identifier = format!("<e:Identifier>{}</e:Identifier><w:AckRequested/>", self.id);
        let action = "http://schemas.dmtf.org/wbem/wsman/1/wsman/Heartbeat";
        wide(&envelope(action, &self.name, &identifier, "<w:Events></w:Events>")).into()
    }

    async fn post(&self, body: Bytes, packed: bool) -> bool {
        let headers = [("content-type", "application/soap+xml;charset=UTF-16"), ("content-encoding", "SLDC")];
        let headers = if packed { &headers[..] } else { &headers[..1] };
        self.client.post(&self.url, headers, body, WAIT).await.is_ok_and(|answer| answer.status == 200)
    }
}

impl Body {
    /// The envelope with record ids from this one on.
    fn numbered(&self, first: u64) -> Bytes {
        let mut wide = self.wide.clone();
        for (n, at) in self.ids.iter().enumerate() {
            for (digit, byte) in (FIRST + first + n as u64).to_string().bytes().enumerate() {
                wide[at + 2 * digit] = byte;
            }
        }
        wide.into()
    }
}

fn envelope(action: &str, machine: &str, header: &str, body: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" xmlns:a=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:e=\"http://schemas.xmlsoap.org/ws/2004/08/eventing\" xmlns:w=\"http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd\">\
         <s:Header><a:Action>{action}</a:Action><a:MessageID>uuid:EC9F4CA0-2D5F-4BBA-8D4E-0DB0D0E3F1A5</a:MessageID>\
         <m:MachineID xmlns:m=\"http://schemas.microsoft.com/wbem/wsman/1/machineid\">{machine}</m:MachineID>{header}</s:Header>\
         <s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// What was acknowledged, and how long each delivery took.
#[derive(Default)]
struct Counted {
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

/// Every host delivers one envelope after the other; at a rate where there is one.
async fn closed_loop(args: &Args, rate: Option<u64>) -> Result<()> {
    let site = Site::start(args).await?;
    let hosts: Arc<Vec<(Forwarding, Body)>> = Arc::new(
        site.hosts(args.hosts).await?.into_iter().map(|host| (host.body(7), host)).map(|(b, h)| (h, b)).collect(),
    );
    let pace = rate.map(|rate| Duration::from_secs_f64((BATCH * args.hosts) as f64 / rate as f64));
    let counted = Arc::new(Counted::default());
    // Handshakes and the first bookmarks are not what is measured.
    deliver(&hosts, &counted, 0, pace, Duration::from_secs(3)).await?;
    let before = counted.acknowledged.load(Ordering::Relaxed);
    until_held(&site.collectors, before).await?;
    let (cpu, began) = (site.gateway.cpu()?, Instant::now());
    let latencies = deliver(&hosts, &counted, 1 << 20, pace, Duration::from_secs(args.seconds)).await?;
    let (intake, rss) = (began.elapsed().as_secs_f64(), site.gateway.rss()?);
    let events = counted.acknowledged.load(Ordering::Relaxed) - before;
    until_held(&site.collectors, before + events).await?;
    let (cpu, whole) = (site.gateway.cpu()? - cpu, began.elapsed().as_secs_f64());
    println!(
        "{}: {} hosts, {events} events, {:.0} events/s acknowledged, {:.0} events/s delivered, {:.2} CPU-s per million, \
         ack median {:.1} ms p99 {:.1} ms, RSS {rss:.0} MiB, {} refused",
        if rate.is_some() { "wef-rate" } else { "wef" },
        args.hosts,
        events as f64 / intake,
        events as f64 / whole,
        cpu / (events as f64 / 1e6),
        1e3 * percentile(&latencies, 0.5),
        1e3 * percentile(&latencies, 0.99),
        counted.refused.load(Ordering::Relaxed),
    );
    Ok(())
}

async fn deliver(
    hosts: &Arc<Vec<(Forwarding, Body)>>,
    counted: &Arc<Counted>,
    first: u64,
    pace: Option<Duration>,
    time: Duration,
) -> Result<Vec<f64>> {
    let until = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..hosts.len() {
        let (hosts, counted) = (Arc::clone(hosts), Arc::clone(counted));
        tasks.spawn(async move {
            let (host, body) = &hosts[at];
            let (mut latencies, mut next) = (Vec::new(), first);
            // Spread over the time of one delivery.
            let mut due =
                Instant::now() + pace.map_or(Duration::ZERO, |pace| pace.mul_f64(at as f64 / hosts.len() as f64));
            while Instant::now() < until {
                if let Some(pace) = pace {
                    tokio::time::sleep_until(due).await;
                    due += pace;
                }
                let (numbered, began) = (body.numbered(next), Instant::now());
                if host.post(numbered, false).await {
                    latencies.push(began.elapsed().as_secs_f64());
                    counted.acknowledged.fetch_add(BATCH as u64, Ordering::Relaxed);
                    next += BATCH as u64;
                } else {
                    counted.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            latencies
        });
    }
    let mut latencies = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        latencies.extend(ended?);
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// Compressed envelopes, each once: what compression costs the gateway.
async fn packed(args: &Args) -> Result<()> {
    let site = Site::start(args).await?;
    let hosts = site.hosts(args.hosts).await?;
    let (mut plain, mut wire, mut bodies) = (0, 0, Vec::new());
    for (n, host) in hosts.iter().enumerate() {
        let body = host.body(n as u64);
        let mut of_host = Vec::new();
        for round in 0..PACKED {
            let numbered = body.numbered((round * BATCH) as u64);
            let packed = Bytes::from(compressed(&numbered));
            (plain, wire) = (plain + numbered.len(), wire + packed.len());
            of_host.push(packed);
        }
        bodies.push(of_host);
        host.post(host.heartbeat(), false).await;
    }
    let (cpu, began) = (site.gateway.cpu()?, Instant::now());
    let deliver = async |host: &Forwarding, bodies: Vec<Bytes>| {
        for body in bodies {
            while !host.post(body.clone(), true).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    futures_util::future::join_all(hosts.iter().zip(bodies).map(|(host, bodies)| deliver(host, bodies))).await;
    let events = (args.hosts * PACKED * BATCH) as u64;
    until_held(&site.collectors, events).await?;
    let cpu = site.gateway.cpu()? - cpu;
    println!(
        "wef-sldc: {} hosts, {events} events, {:.1}:1 compressed, {:.0} events/s delivered, {:.2} CPU-s per million, {} held",
        args.hosts,
        plain as f64 / wire as f64,
        events as f64 / began.elapsed().as_secs_f64(),
        cpu / (events as f64 / 1e6),
        site.held(),
    );
    Ok(())
}

/// Hosts that are connected and say so: what they take of memory.
async fn idle(args: &Args) -> Result<()> {
    let site = Site::start(args).await?;
    let before = site.gateway.rss()?;
    let hosts = site.hosts(args.idle_hosts).await?;
    let mut alive = 0;
    for some in hosts.chunks(100) {
        let said = futures_util::future::join_all(some.iter().map(|host| host.post(host.heartbeat(), false))).await;
        alive += said.into_iter().filter(|answered| *answered).count();
    }
    let (cpu, began) = (site.gateway.cpu()?, Instant::now());
    for some in hosts.chunks(100) {
        futures_util::future::join_all(some.iter().map(|host| host.post(host.heartbeat(), false))).await;
    }
    let (cpu, took) = (site.gateway.cpu()? - cpu, began.elapsed().as_secs_f64());
    let (connected, resting) = (site.gateway.rss()?, site.rests().await?);
    // As on an ordinary day: everybody has delivered something before.
    let first = hosts.first().context("there are no hosts")?.body(7);
    for (n, some) in hosts.chunks(50).enumerate() {
        let numbered = |at: usize| first.numbered(((n * 50 + at) * BATCH) as u64);
        let posts = some.iter().enumerate().map(|(at, host)| host.post(numbered(at), false));
        futures_util::future::join_all(posts).await;
    }
    println!(
        "wef-idle: {alive} of {} hosts connected, RSS {before:.0} MiB before, {connected:.0} MiB right after the last has spoken, {resting:.0} \
         MiB when all are silent, {:.2} ms of CPU a heartbeat ({:.0} heartbeats/s); {:.0} MiB right after each has delivered an \
         envelope, {:.0} MiB when all are silent",
        args.idle_hosts,
        1e3 * cpu / hosts.len() as f64,
        hosts.len() as f64 / took,
        site.gateway.rss()?,
        site.rests().await?,
    );
    Ok(())
}
