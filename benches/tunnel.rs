//! The tunnel run: real proxy processes on loopback, Gatepost beside Squid and tinyproxy; clients and destination run in
//! this process, the same for each. Prints a table for each scenario; `docs/performance.md` tells what the figures mean.
//!
//! ```sh
//! cargo bench --bench tunnel -- tunnels --seconds 30
//! cargo bench --bench tunnel -- --peers-only
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints what it measured")]

#[path = "tunnel/generator.rs"]
mod generator;
#[path = "tunnel/proxy.rs"]
mod proxy;
#[path = "tunnel/scenario.rs"]
mod scenario;

use anyhow::{Result, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use generator::Destination;
use proxy::{Kind, Proxy};
use scenario::{Measured, SCENARIOS, Scenario};

/// The sizes of the scenarios.
#[derive(Parser)]
struct Args {
    /// Scenarios: tunnels, bulk, idle, sizing. All when none is named.
    scenarios: Vec<String>,
    /// How long tunnels are opened.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Clients that open tunnels at the same time.
    #[arg(long, default_value_t = 32)]
    clients: usize,
    /// Megabytes through four tunnels.
    #[arg(long, default_value_t = 2_000)]
    megabytes: u64,
    /// Tunnels that are held open.
    #[arg(long, default_value_t = 9_000)]
    idle: usize,
    /// Agents of the sizing profile.
    #[arg(long, default_value_t = 3_000)]
    agents: u32,
    /// How long agents upload.
    #[arg(long, default_value_t = 30)]
    sizing_seconds: u64,
    /// Only the peers, without Gatepost.
    #[arg(long)]
    peers_only: bool,
    /// Only Gatepost, without peers.
    #[arg(long, conflicts_with = "peers_only")]
    no_peers: bool,
    /// Given by `cargo bench`; means nothing here.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let unknown = args.scenarios.iter().find(|name| SCENARIOS.iter().all(|scenario| scenario.name() != *name));
    ensure!(unknown.is_none(), "there is no scenario {unknown:?}; there are tunnels, bulk, idle and sizing");
    let files = raise_open_files()?;
    eprintln!("open files: {files} for each process");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        for scenario in SCENARIOS {
            if args.scenarios.is_empty() || args.scenarios.iter().any(|name| name == scenario.name()) {
                compare(scenario, &args).await?;
            }
        }
        Ok(())
    })
}

/// One scenario with every proxy, each in a process that has done nothing before.
async fn compare(scenario: Scenario, args: &Args) -> Result<()> {
    let kinds = Kind::ALL.into_iter().filter(|kind| match kind {
        Kind::Gatepost => !args.peers_only,
        Kind::Squid | Kind::Tinyproxy => !args.no_peers,
    });
    let mut measured = Vec::new();
    for kind in kinds {
        let destination = Destination::start().await?;
        let proxy = match Proxy::start(kind, destination.port()).await {
            Ok(proxy) => proxy,
            // Whoever lacks a peer still sees the others.
            Err(error) if kind != Kind::Gatepost => {
                eprintln!("{}: left out: {error:#}", kind.name());
                continue;
            }
            Err(error) => return Err(error),
        };
        match scenario.run(&proxy, &destination, args).await {
            Ok(one) => measured.push((kind, one)),
            Err(error) if kind != Kind::Gatepost => eprintln!("{}: gave up: {error:#}", kind.name()),
            Err(error) => return Err(error),
        }
    }
    table(scenario, &measured);
    Ok(())
}

fn table(scenario: Scenario, measured: &[(Kind, Measured)]) {
    println!("\n{}: {}", scenario.name(), scenario.unit());
    let own = measured.iter().find(|(kind, _)| *kind == Kind::Gatepost).map(|(_, measured)| measured.figure);
    for (kind, Measured { figure, more }) in measured {
        let ratio = own.map_or_else(String::new, |own| format!("gatepost is {:.2} x this", own / figure));
        println!("  {:<10} {figure:>12.3}  {ratio:<24}  {more}", kind.name());
    }
}

/// A tunnel takes two files here and two in the proxy.
fn raise_open_files() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}
