//! The end-to-end load run: a real `gatepost run` process, real HTTPS, real disk; its generator and its collectors run in
//! this process. Prints one line a scenario; `docs/performance.md` tells what the figures mean.
//!
//! `make bench` runs every scenario for a short time. For longer or other runs:
//!
//! ```sh
//! cargo bench --bench end_to_end -- throughput --seconds 600 --collectors 3
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints what it measured")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Shape};
use gatepost::net::upload_client::Client;
use gateway::Gateway;
use libdeflater::{CompressionLvl, Compressor};
use load::{Load, Stop};
use tokio::time::Instant;

#[path = "end_to_end/backlog.rs"]
mod backlog;
#[path = "end_to_end/engines.rs"]
mod engines;
#[path = "end_to_end/gateway.rs"]
mod gateway;
#[path = "end_to_end/load.rs"]
mod load;
#[path = "end_to_end/restart.rs"]
mod restart;
#[path = "end_to_end/rows.rs"]
mod rows;
#[path = "end_to_end/small.rs"]
mod small;
#[path = "end_to_end/wef.rs"]
mod wef;

/// Different scopes: the same bodies are new events again under another token, so that a long run needs no generator.
const SCOPES: usize = 256;

#[derive(Clone, Copy, clap::ValueEnum)]
enum RulesKind {
    Lookup,
    Body,
}

impl RulesKind {
    fn toml(self) -> &'static str {
        match self {
            Self::Lookup => {
                "[[filter.rules]]\nname = \"common\"\nevent_set = \"Common\"\noutputs = [\"workspace\"]\n\
                 [[filter.rules]]\nname = \"rest\"\nqueries = [\"Security!*\", \"System!*\"]\noutputs = [\"workspace\"]\n"
            }
            Self::Body => {
                "[[filter.rules]]\nname = \"body\"\nqueries = [\"Security!*[EventData[Data[@Name='none'] or Data] or UserData or System]\", \
                 \"System!*[EventData[Data[@Name='none'] or Data] or UserData or System]\"]\noutputs = [\"workspace\"]\n"
            }
        }
    }
}

#[derive(Clone, Parser)]
struct Args {
    /// Scenarios: throughput, rate, small, restart, backlog, rows (or one of them: rows-json-security, rows-json-windows, rows-xml-security,
    /// rows-xml-http, rows-json-http, rows-pass), outputs (outputs-one, outputs-all, outputs-tenth), shared, replicated, seen, wef, wef-rate, wef-sldc;
    /// wef-idle, wef-kerberos, wef-kerberos-sldc. All but the last three when none is named.
    scenarios: Vec<String>,
    /// How long throughput and rate run.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Uploading connections.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Local collectors.
    #[arg(long, default_value_t = 1)]
    collectors: usize,
    /// Events in an upload.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Events of the rate scenario, per second.
    #[arg(long, default_value_t = 8500)]
    rate: u64,
    /// Events of the backlog scenario.
    #[arg(long, default_value_t = 1_000_000)]
    backlog: u64,
    /// Rules that keep every event: by channel and id, or by looking into it.
    #[arg(long)]
    rules: Option<RulesKind>,
    /// Hosts that forward, in the wef scenarios.
    #[arg(long, default_value_t = 200)]
    hosts: usize,
    /// Events of the wef-rate scenario, per second: half of what the wef scenario has to reach.
    #[arg(long, default_value_t = 30_000)]
    wef_rate: u64,
    /// Hosts of the wef-idle scenario, which only say that they are there.
    #[arg(long, default_value_t = 10_000)]
    idle_hosts: usize,
    /// How long each row of the small scenario runs.
    #[arg(long, default_value_t = 5)]
    small_seconds: u64,
    /// Events in an upload of the small scenario; 1, 10 and 100 when not given.
    #[arg(long)]
    events: Option<usize>,
    /// Clients of the small scenario; 1, 64 and 1000 when not given.
    #[arg(long)]
    senders: Option<usize>,
    /// Millions of remembered events of the restart scenario.
    #[arg(long, default_value = "20,100")]
    keys: String,
    /// Another binary than this build's: for pairs of before and after in one run.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let wanted = |name: &str| args.scenarios.is_empty() || args.scenarios.iter().any(|s| s == name);
        if ["throughput", "rate", "backlog"].into_iter().any(wanted) {
            let bodies = Arc::new(Bodies::make(&args, Shape::Row));
            eprintln!("{} bodies of {} events, {} bytes an event", bodies.gz.len(), args.batch, bodies.bytes_per_event);
            if wanted("throughput") {
                throughput(&args, &bodies).await?;
            }
            if wanted("rate") {
                rate(&args, &bodies).await?;
            }
            if wanted("backlog") {
                backlog::run(&args, &bodies).await?;
            }
        }
        rows::run(&args, &wanted).await?;
        if wanted("small") {
            small::run(&args).await?;
        }
        if wanted("restart") {
            restart::run(&args).await?;
        }
        if wanted("shared") {
            engines::shared(&args).await?;
        }
        if wanted("replicated") {
            engines::replicated(&args).await?;
        }
        if wanted("seen") {
            engines::seen(&args).await?;
        }
        wef::run(&args, wanted).await
    })
}

/// Uploads, made before the clock starts.
struct Bodies {
    gz: Vec<Bytes>,
    bytes_per_event: usize,
}

impl Bodies {
    fn make(args: &Args, shape: Shape) -> Self {
        let count = 40 * args.clients.max(1);
        Self::of(count, count, args.batch, shape)
    }

    /// So many bodies of these hosts in turn, each with so many events: an array of JSON, or events in XML one after the other.
    fn of(hosts: usize, count: usize, batch: usize, shape: Shape) -> Self {
        let mut gzip = Compressor::new(CompressionLvl::default());
        let mut plain_bytes = 0;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        // Events of now: old ones get their time into a column of its own, which is not what an ordinary day costs.
        let host = |at: usize| {
            Host::new(format!("SRV-{at:04}.plant.example"), at as u64).starting_at(now).with_system_share(0.0)
        };
        let mut hosts: Vec<Host> = (0..hosts).map(host).collect();
        let gz = (0..count).map(|at| {
            let of = at % hosts.len();
            let host = &mut hosts[of];
            let (open, between, close) = if shape == Shape::Xml { ("", b'\n', "") } else { ("[", b',', "]") };
            let mut plain = open.as_bytes().to_vec();
            for event in 0..batch {
                if event > 0 {
                    plain.push(between);
                }
                host.next_event().write(shape, &mut plain);
            }
            plain.extend_from_slice(close.as_bytes());
            plain_bytes += plain.len();
            let mut out = vec![0; gzip.gzip_compress_bound(plain.len())];
            let len = gzip.gzip_compress(&plain, &mut out).expect("the buffer is as large as it can get");
            out.truncate(len);
            Bytes::from(out)
        });
        let gz: Vec<Bytes> = gz.collect();
        Self { bytes_per_event: plain_bytes / (gz.len() * batch), gz }
    }
}

fn configuration(dir: &Path, port: u16, admin: u16, collectors: &[Collector], args: &Args) -> String {
    let endpoints: Vec<String> = collectors
        .iter()
        .enumerate()
        .map(|(at, collector)| format!("{{ name = \"c{at}\", url = \"{}\", max_in_flight = 4 }}", collector.url()))
        .collect();
    let tokens: Vec<String> = (0..SCOPES)
        .map(|at| format!("{{ name = \"t{at}\", sha256 = \"{}\" }}", sha256(&format!("token-{at}"))))
        .collect();
    format!(
        r#"state_dir = "{state}"
[admin]
listen = "127.0.0.1:{admin}"
[[listeners]]
name = "uploads"
listen = "127.0.0.1:{port}"
auth.tokens = [{tokens}]
limits.max_connections_per_address = 2048
[[outputs]]
kind = "workspace"
name = "workspace"
dcr = "dcr-00000000000000000000000000000000"
stream = "Custom-SecurityEvent"
endpoints = [{endpoints}]
{rules}"#,
        state = dir.join("state").display(),
        tokens = tokens.join(", "),
        endpoints = endpoints.join(", "),
        rules = args.rules.map_or("", RulesKind::toml),
    )
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hex::encode(digest)
}

fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn held(collectors: &[Collector]) -> u64 {
    collectors.iter().map(|collector| collector.tally().events).sum()
}

async fn until_held(collectors: &[Collector], events: u64) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(600);
    while held(collectors) < events {
        ensure!(Instant::now() < until, "{} of {events} events arrived", held(collectors));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn collectors(count: usize) -> Result<Vec<Collector>> {
    let mut collectors = Vec::new();
    for _ in 0..count {
        collectors.push(Collector::start(Memory::Count).await?);
    }
    Ok(collectors)
}

async fn throughput(args: &Args, bodies: &Arc<Bodies>) -> Result<()> {
    let collectors = collectors(args.collectors).await?;
    let gateway = Gateway::start(&collectors, args).await?;
    let load = Load::new(bodies, args);
    let clients = load.clients(&gateway, args.clients)?;
    load.run(&clients, Stop::after(2)).await?;
    until_held(&collectors, load.acknowledged.load(Ordering::Relaxed)).await?;

    let (cpu, before, began) = (gateway.cpu()?, load.acknowledged.load(Ordering::Relaxed), Instant::now());
    let run = load.run(&clients, Stop::after(args.seconds));
    let sampled = sample_rss(&gateway);
    let (latencies, rss) = tokio::select! {
        latencies = run => (latencies?, gateway.rss()?),
        rss = sampled => bail!("sampling ended: {rss:?}"),
    };
    let intake = began.elapsed().as_secs_f64();
    let events = load.acknowledged.load(Ordering::Relaxed) - before;
    until_held(&collectors, before + events).await?;
    let whole = began.elapsed().as_secs_f64();
    let cpu = gateway.cpu()? - cpu;
    println!(
        "throughput: {events} events, {:.0} events/s acknowledged, {:.0} events/s delivered, {:.2} CPU-s per million, \
         {:.0} % of a core, ack median {:.1} ms p99 {:.1} ms, RSS {rss:.0} MiB, {} collectors, {} refused",
        events as f64 / intake,
        events as f64 / whole,
        cpu / (events as f64 / 1e6),
        100.0 * cpu / whole,
        1e3 * percentile(&latencies, 0.5),
        1e3 * percentile(&latencies, 0.99),
        collectors.len(),
        load.refused.load(Ordering::Relaxed),
    );
    Ok(())
}

/// Prints the resident memory every 30 s; never ends.
async fn sample_rss(gateway: &Gateway) -> Result<f64> {
    loop {
        tokio::time::sleep(Duration::from_secs(30)).await;
        eprintln!("  RSS {:.0} MiB", gateway.rss()?);
    }
}

async fn rate(args: &Args, bodies: &Arc<Bodies>) -> Result<()> {
    let collectors = collectors(args.collectors).await?;
    let gateway = Gateway::start(&collectors, args).await?;
    let load = Load::new(bodies, args);
    let pace = Duration::from_secs_f64(args.batch as f64 / args.rate as f64);
    let fsync = fsync(gateway.dir.path(), 64 << 10)?;
    let clients = load.clients(&gateway, args.clients)?;
    // Handshakes are not what is measured here.
    load.run(&clients, Stop { pace: Some(pace), ..Stop::after(3) }).await?;
    let before = load.acknowledged.load(Ordering::Relaxed);
    let (cpu, began) = (gateway.cpu()?, Instant::now());
    let latencies = load.run(&clients, Stop { pace: Some(pace), ..Stop::after(args.seconds) }).await?;
    let took = began.elapsed().as_secs_f64();
    let cpu = gateway.cpu()? - cpu;
    println!(
        "rate: {:.0} events/s, {:.1} % of a core, ack median {:.2} ms p99 {:.2} ms; the disk's own fsync of 64 KiB: \
         median {:.2} ms p99 {:.2} ms; RSS {:.0} MiB",
        (load.acknowledged.load(Ordering::Relaxed) - before) as f64 / took,
        100.0 * cpu / took,
        1e3 * percentile(&latencies, 0.5),
        1e3 * percentile(&latencies, 0.99),
        1e3 * fsync.0,
        1e3 * fsync.1,
        gateway.rss()?,
    );
    Ok(())
}

/// Median and 99th percentile of writing so many bytes and flushing them, in seconds.
fn fsync(dir: &Path, bytes: usize) -> Result<(f64, f64)> {
    use std::io::{Seek, Write};
    let mut file = std::fs::File::create(dir.join("fsync"))?;
    let block = vec![7_u8; bytes];
    file.write_all(&vec![0; 32 << 20])?;
    file.sync_all()?;
    file.rewind()?;
    let mut took: Vec<f64> = (0..500)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            Ok(began.elapsed().as_secs_f64())
        })
        .collect::<Result<_>>()?;
    took.sort_by(f64::total_cmp);
    Ok((percentile(&took, 0.5), percentile(&took, 0.99)))
}
