//! `gatepost demo`: a gateway between forty simulated hosts and three simulated collectors, and the account of it.
//!
//! Everything that happens to gateways happens here within twenty seconds: replies get lost, collectors are slow and
//! fail, two agents of one host upload the same events, in three shapes. Then what the collectors really hold is
//! compared with what the hosts wrote. `--cluster` does the same with several gateways that are killed.

use std::future::Future;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Global;
use super::send::uploader::UploadError;
use crate::lab::collector::{Behaviour, Collector, Fault, Memory};
use crate::lab::held::Held;
use crate::lab::lossy_relay::LossyRelay;
use crate::net::upload_client::Client;
use account::{Account, Books, CollectorPart};
use hosts::{Fleet, Progress, Written};

pub mod account;
mod cluster;
mod gateway;
mod hosts;

#[cfg(test)]
mod tests;

/// This share of the replies is lost.
const LOST_REPLIES: f64 = 0.1;

/// Events of one upload.
const BATCH: usize = 50;

/// How long collectors may take to get everything once all hosts are done.
const DRAIN: Duration = Duration::from_secs(60);

/// Shows the gateway at work, with simulated hosts and collectors.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// About how long it takes, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=86_400))]
    pub seconds: u32,
    /// Simulated hosts; every fourth has two agents
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub hosts: u32,
    /// Events that all hosts together write
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub events: u32,
    /// Keep the gateway's state directory
    #[arg(long)]
    pub keep: bool,
    /// Three gateways behind HAProxy over Redis with a replica and a Sentinel, each of which is killed in turn. They must be
    /// installed: the Debian packages haproxy and redis-server
    #[arg(long)]
    pub cluster: bool,
    /// With `--cluster`: where the log of each gateway is. With `jetstream` three servers of NATS stand in the place of Redis, and
    /// keep it a second time; nats-server 2.10 or later must be installed
    #[arg(long, value_enum, default_value_t = Spool::Segments, requires = "cluster")]
    pub spool: Spool,
}

/// Where what is acknowledged lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Spool {
    /// On the disk of the gateway that took it.
    Segments,
    /// There, and at servers of NATS JetStream.
    Jetstream,
}

/// What the demo wants of a gateway: one listener on loopback with both doors and no authentication, the event set
/// `All`, and one `workspace` output over these collectors.
#[derive(Debug, Clone)]
pub struct Plan {
    /// An empty directory for its state.
    pub state_dir: PathBuf,
    /// Name and base URL of each collector.
    pub collectors: Vec<(String, String)>,
}

/// The gateway under test.
pub trait UnderTest: Send + Sync {
    /// Where uploads go: scheme, 127.0.0.1 and port, nothing after.
    fn upload_url(&self) -> String;

    /// Where the admin plane is, without a slash at the end.
    fn admin_url(&self) -> String;

    /// The certificate authority of the upload address; `None` when it speaks plain HTTP.
    fn ca_pem(&self) -> Option<Vec<u8>>;

    /// Stops it, in order.
    fn stop(self: Box<Self>) -> BoxFuture<'static, anyhow::Result<()>>;
}

/// Runs the command with a gateway in this process.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    if args.cluster {
        return show(global, cluster::perform(&args));
    }
    run_with(&args, global, gateway::start)
}

/// Runs the demo with the gateway that `start` makes. Exit status 0 when every wanted event arrived exactly once and
/// the books balance.
pub fn run_with<F>(args: &Args, global: &Global, start: impl FnOnce(Plan) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<Box<dyn UnderTest>>>,
{
    show(global, perform(args, start))
}

fn show(global: &Global, performance: impl Future<Output = anyhow::Result<Account>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let account = runtime.block_on(performance)?;
    let text = if global.json { super::json_line(&account)? } else { account.describe() };
    super::print(&text)?;
    Ok(if account.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plays the script and draws up the account.
pub async fn perform<F>(args: &Args, start: impl FnOnce(Plan) -> F) -> anyhow::Result<Account>
where
    F: Future<Output = anyhow::Result<Box<dyn UnderTest>>>,
{
    let begin = Instant::now();
    let span = Duration::from_secs(args.seconds.into()).mul_f64(0.75);
    let hosts = args.hosts as usize;
    let fleet = Fleet { hosts, events_per_host: (args.events as usize).div_ceil(hosts), batch: BATCH, span };
    let state = StateDir::new(args.keep)?;
    let cast = Cast::new().await?;
    let gateway = start(Plan { state_dir: state.0.clone(), collectors: cast.addresses() }).await?;
    let relay = LossyRelay::start(authority(&gateway.upload_url())?, LOST_REPLIES, 1).await?;
    let scheme = if gateway.ca_pem().is_some() { "https" } else { "http" };
    let client = Client::new(gateway.ca_pem().as_deref())?;
    say(&format!("status page: {}/status", gateway.admin_url()));
    say(&format!("{hosts} hosts with {} agents upload to {}", fleet.agents(), gateway.upload_url()));

    let progress = Arc::new(Progress::default());
    let agents = fleet.start(&client, &format!("{scheme}://{}", relay.address()), &progress)?;
    let written = fleet.written();
    tokio::join!(cast.play(span), watch(agents, &fleet, &progress, &cast)).1?;
    let books = settle(&client, &gateway.admin_url(), &cast, &written).await?;

    let mut account = Account::new(&written, &cast.held(), progress.tally(), books);
    account.lost_replies = relay.lost();
    account.collectors = cast.parts();
    gateway.stop().await?;
    account.seconds = begin.elapsed().as_secs_f64();
    Ok(account)
}

/// The three collectors: endpoints of one workspace, which takes the events of one request id only once.
struct Cast {
    slow: Collector,
    flaky: Collector,
    steady: Collector,
}

impl Cast {
    async fn new() -> std::io::Result<Self> {
        let behave = |latency| Behaviour { latency, recognise_repeats: true, ..Behaviour::default() };
        let slow = Collector::start(Memory::Identities).await?;
        let (flaky, steady) = (slow.start_beside().await?, slow.start_beside().await?);
        slow.set(behave(Duration::from_millis(400)));
        flaky.set(behave(Duration::from_millis(5)));
        steady.set(behave(Duration::from_millis(5)));
        Ok(Self { slow, flaky, steady })
    }

    fn all(&self) -> [(&'static str, &'static str, &Collector); 3] {
        [
            ("slow", "answers after 400 ms", &self.slow),
            ("flaky", "fails, is down, recovers", &self.flaky),
            ("steady", "just works", &self.steady),
        ]
    }

    fn addresses(&self) -> Vec<(String, String)> {
        self.all().map(|(name, _, collector)| (name.to_owned(), collector.url())).into()
    }

    /// The one that fails: throttles, loses answers, is down, and comes back.
    async fn play(&self, span: Duration) {
        tokio::time::sleep(span.mul_f64(0.2)).await;
        self.flaky.fail_for(Fault::Answer { status: 503, retry_after: Some(1) }, span.mul_f64(0.15));
        tokio::time::sleep(span.mul_f64(0.15)).await;
        self.flaky.fail_next(Fault::Reset { keep: true }, 3);
        tokio::time::sleep(span.mul_f64(0.1)).await;
        self.flaky.fail_for(Fault::Down, span.mul_f64(0.2));
    }

    fn events(&self) -> u64 {
        self.all().iter().map(|(.., collector)| collector.tally().events).sum()
    }

    fn held(&self) -> Held {
        let mut all = Held::default();
        for (.., collector) in self.all() {
            all.merge(&collector.held());
        }
        all
    }

    /// Whether each event that was wanted has come. How many have is not enough: some may have come twice.
    fn has_all(&self, written: &Written) -> bool {
        account::missing(written, &self.held()) == 0
    }

    fn parts(&self) -> Vec<CollectorPart> {
        self.all().map(|(name, behaviour, collector)| CollectorPart::new(name, behaviour, &collector.tally())).into()
    }
}

/// Shows how far it is, until every agent is done.
async fn watch(
    mut agents: JoinSet<Result<(), UploadError>>,
    fleet: &Fleet,
    progress: &Progress,
    cast: &Cast,
) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let style = ProgressStyle::with_template("{bar:30} {elapsed}  {wide_msg}").expect("the template is valid");
    let bar = ProgressBar::new(fleet.workload()).with_style(style);
    let mut tick = tokio::time::interval(Duration::from_millis(if terminal { 200 } else { 1_000 }));
    loop {
        tokio::select! {
            done = agents.join_next() => match done {
                Some(agent) => agent?.context("an agent gave up")?,
                None => break,
            },
            _ = tick.tick() => {
                let tally = progress.tally();
                let text = format!(
                    "{} of {} acknowledged, {} requests sent again, collectors hold {}",
                    HumanCount(tally.acknowledged),
                    HumanCount(fleet.workload()),
                    HumanCount(tally.retries),
                    HumanCount(cast.events()),
                );
                if terminal {
                    bar.set_position(tally.acknowledged);
                    bar.set_message(text);
                } else {
                    say(&text);
                }
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Waits until the collectors have everything and the books are closed, or for as long as is fair.
async fn settle(client: &Client, admin: &str, cast: &Cast, written: &Written) -> anyhow::Result<Books> {
    let wanted = written.values().filter(|wanted| **wanted).count() as u64;
    let deadline = Instant::now() + DRAIN;
    loop {
        let page = client.get(&format!("{admin}/metrics"), Duration::from_secs(5)).await?;
        let books = Books::read(&String::from_utf8_lossy(&page.body));
        let settled = cast.has_all(written) && books.forwarded >= wanted && books.pending == 0;
        if settled || Instant::now() > deadline {
            return Ok(books);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A directory of its own for the gateway's state; goes with the demo unless it is to be kept.
struct StateDir(PathBuf, bool);

impl StateDir {
    fn new(keep: bool) -> std::io::Result<Self> {
        let name = format!("gatepost-demo-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        if keep {
            say(&format!("state directory: {}", path.display()));
        }
        Ok(Self(path, keep))
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        if !self.1 {
            // What cannot be removed is in the system's temporary directory.
            _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn authority(url: &str) -> anyhow::Result<SocketAddr> {
    let uri: http::Uri = url.parse()?;
    let authority = uri.authority().context("the upload address has no host")?;
    authority.as_str().parse().with_context(|| format!("{authority} is not an address and a port"))
}

/// A line for people; standard output is for the account.
fn say(text: &str) {
    // Nothing can be done about a closed terminal.
    _ = writeln!(std::io::stderr(), "{text}");
}
