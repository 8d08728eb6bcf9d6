//! `gatepost demo --cluster`: three gateways that share what they have seen, behind HAProxy, over Redis with a replica and a Sentinel, or
//! over three servers of NATS that keep their logs as well.
//!
//! All are real programs of this machine. Under the load of the demo's hosts one after the other is killed with -9: each gateway, the
//! primary of Redis, its replica, the Sentinel, or each server, and HAProxy. In the end what the collectors hold is compared with what the hosts
//! wrote, and with the accounts of the three gateways, read from their disks.

mod engine;
mod gateways;
mod program;
mod servers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use super::account::{Account, Books, GatewayPart};
use super::hosts::{Fleet, Progress, Written};
use super::{Args, BATCH, Cast, DRAIN, LOST_REPLIES, Spool, StateDir, say, watch};
use crate::app::audit::Report;
use crate::lab::lossy_relay::LossyRelay;
use crate::metrics;
use crate::net::upload_client::Client;
use engine::Engine;
use gateways::Gateway;
use program::Program;
use servers::Servers;

/// How long what was killed stays dead.
const DEAD: Duration = Duration::from_millis(500);

/// What is killed, in this order.
#[derive(Debug, Clone, Copy)]
enum Kill {
    Gateway(usize),
    Primary,
    Replica,
    Sentinel,
    Server(usize),
    Balancer,
}

const OVER_REDIS: [Kill; 7] = [
    Kill::Gateway(0),
    Kill::Primary,
    Kill::Gateway(1),
    Kill::Replica,
    Kill::Sentinel,
    Kill::Balancer,
    Kill::Gateway(2),
];

const OVER_SERVERS: [Kill; 7] = [
    Kill::Gateway(0),
    Kill::Server(0),
    Kill::Gateway(1),
    Kill::Server(1),
    Kill::Server(2),
    Kill::Balancer,
    Kill::Gateway(2),
];

/// What gateways share what they have seen in.
enum Behind {
    Redis(Box<Engine>),
    Nats(Servers),
}

impl Behind {
    fn configuration(&self, name: &str) -> String {
        match self {
            Self::Redis(engine) => engine.configuration(name),
            Self::Nats(servers) => servers.configuration(name),
        }
    }

    const fn kills(&self) -> [Kill; 7] {
        match self {
            Self::Redis(_) => OVER_REDIS,
            Self::Nats(_) => OVER_SERVERS,
        }
    }
}

/// Everything that runs beside the hosts and the collectors.
struct Stage {
    behind: Behind,
    gateways: Vec<Gateway>,
    balancer: Program,
    client: Client,
    /// Counters of a process end with it: what gateways had counted that were killed.
    counted: u64,
}

/// Plays the script and draws up the account.
pub(super) async fn perform(args: &Args) -> anyhow::Result<Account> {
    let begin = Instant::now();
    let span = Duration::from_secs(args.seconds.into()).mul_f64(0.75);
    let hosts = args.hosts as usize;
    let fleet = Fleet { hosts, events_per_host: (args.events as usize).div_ceil(hosts), batch: BATCH, span };
    let state = StateDir::new(args.keep)?;
    let cast = Cast::new().await?;
    let mut stage = Stage::set(args.spool, &state.0, &cast.addresses()).await?;
    let relay = LossyRelay::start(([127, 0, 0, 1], stage.balancer.port()).into(), LOST_REPLIES, 1).await?;
    let certificates: Vec<Vec<u8>> = stage.gateways.iter().map(Gateway::certificate).collect::<anyhow::Result<_>>()?;
    let client = Client::new(Some(&certificates.concat()))?;
    for gateway in &stage.gateways {
        say(&format!("{}: {}/status", gateway.name, gateway.admin_url()));
    }
    say(&format!("{hosts} hosts with {} agents upload through HAProxy", fleet.agents()));

    let progress = Arc::new(Progress::default());
    let agents = fleet.start(&client, &format!("https://{}", relay.address()), &progress)?;
    let written = fleet.written();
    let ((), watched, killed) =
        tokio::join!(cast.play(span), watch(agents, &fleet, &progress, &cast), stage.play(span));
    watched?;
    let killed = killed?;
    stage.settle(&cast, &written).await?;
    let counted = stage.counted + stage.sum(&metrics::DEDUP_POSSIBLE_DUPLICATES).await?;
    let reports = stage.stop().await?;

    let parts: Vec<GatewayPart> = reports.iter().map(|(name, report)| part(name, report)).collect();
    let mut books = Books { possible_duplicates: counted, ..Books::default() };
    parts.iter().for_each(|part| books.add(&part.books));
    let mut account = Account::of_several(&written, &cast.held(), progress.tally(), books, parts, killed);
    account.problems.extend(
        reports.iter().flat_map(|(name, report)| {
            report.differences.iter().map(move |difference| format!("{name}: {difference}"))
        }),
    );
    account.lost_replies = relay.lost();
    account.collectors = cast.parts();
    account.seconds = begin.elapsed().as_secs_f64();
    Ok(account)
}

/// What a gateway's disk says.
fn part(name: &str, report: &Report) -> GatewayPart {
    let mut books = Books::default();
    for input in &report.inputs {
        books.received += input.tally.received;
        books.filtered += input.tally.filtered;
        books.duplicate += input.tally.duplicate;
        books.set_aside += input.tally.set_aside;
        books.spooled += input.tally.spooled;
    }
    for output in &report.outputs {
        books.forwarded += output.forwarded;
        books.dead_lettered += output.dead_lettered;
        books.of_others += output.skipped;
        books.pending += output.pending;
    }
    GatewayPart { name: name.to_owned(), books }
}

impl Stage {
    async fn set(spool: Spool, folder: &Path, collectors: &[(String, String)]) -> anyhow::Result<Self> {
        let behind = match spool {
            Spool::Segments => Behind::Redis(Box::new(Engine::start(folder).await?)),
            Spool::Jetstream => Behind::Nats(Servers::start(folder).await?),
        };
        let endpoint = |(name, url): &(String, String)| format!("{{ name = \"{name}\", url = \"{url}\" }}");
        let endpoints = collectors.iter().map(endpoint).collect::<Vec<_>>().join(", ");
        let mut gateways = Vec::new();
        for name in (1..=3).map(|number| format!("gatepost-{number}")) {
            let shares = behind.configuration(&name);
            gateways.push(Gateway::start(name, folder, &shares, &endpoints).await?);
        }
        let balancer = gateways::balancer(&gateways, folder).await?;
        Ok(Self { behind, gateways, balancer, client: Client::new(None)?, counted: 0 })
    }

    /// Kills one after the other while hosts upload, each when the one before runs again. Tells what it did.
    async fn play(&mut self, span: Duration) -> anyhow::Result<Vec<String>> {
        let kills = self.behind.kills();
        let (begin, pause) = (Instant::now(), span / (kills.len() as u32 + 2));
        let mut told = Vec::new();
        for (number, kill) in (1..).zip(kills) {
            tokio::time::sleep_until(begin + pause * number).await;
            let at = Instant::now();
            let what = self.kill(kill).await.with_context(|| format!("after {kill:?} was killed"))?;
            let line = format!("killed {what} after {:.1} s", at.elapsed().as_secs_f64());
            say(&line);
            told.push(line);
        }
        Ok(told)
    }

    async fn kill(&mut self, kill: Kill) -> anyhow::Result<String> {
        match (kill, &mut self.behind) {
            (Kill::Gateway(at), _) => {
                let gateway = &mut self.gateways[at];
                self.counted += gateway.sum(&self.client, &metrics::DEDUP_POSSIBLE_DUPLICATES).await?;
                let name = gateway.name.clone();
                again(&mut gateway.program, &name).await
            }
            (Kill::Primary, Behind::Redis(engine)) => {
                engine.fail_over().await?;
                Ok("the primary of Redis; the replica had taken its place and it ran again".to_owned())
            }
            (Kill::Replica, Behind::Redis(engine)) => again(&mut engine.first, "the replica of Redis").await,
            (Kill::Sentinel, Behind::Redis(engine)) => again(&mut engine.sentinel, "the Sentinel").await,
            (Kill::Server(at), Behind::Nats(servers)) => {
                again(servers.one(at), &format!("server {} of NATS", at + 1)).await
            }
            (Kill::Balancer, _) => again(&mut self.balancer, "HAProxy").await,
            (kill, _) => bail!("there is no {kill:?} here"),
        }
    }

    async fn sum(&self, metric: &metrics::Metric) -> anyhow::Result<u64> {
        let mut sum = 0;
        for gateway in &self.gateways {
            sum += gateway.sum(&self.client, metric).await?;
        }
        Ok(sum)
    }

    /// Waits until the collectors have all that was wanted and nothing is undecided or unsent, or for as long as is fair. Gauges of a
    /// busy machine may be a second old, so they alone do not tell.
    async fn settle(&self, cast: &Cast, written: &Written) -> anyhow::Result<()> {
        let deadline = Instant::now() + DRAIN;
        for gateway in &self.gateways {
            gateway.until_ready().await?;
        }
        while !(cast.has_all(written) && self.is_settled().await?) && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn is_settled(&self) -> anyhow::Result<bool> {
        for gateway in &self.gateways {
            if !gateway.is_settled(&self.client).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stops the gateways in order; their accounts.
    async fn stop(self) -> anyhow::Result<Vec<(String, Report)>> {
        let mut reports = Vec::new();
        for gateway in self.gateways {
            reports.push(gateway.stop().await?);
        }
        Ok(reports)
    }
}

async fn again(program: &mut Program, name: &str) -> anyhow::Result<String> {
    program.kill();
    sleep(DEAD).await;
    program.start().await?;
    Ok(format!("{name}; it ran again"))
}
