//! What the engines of several gateways cost: the same load to gateways that know only themselves and to gateways over an engine,
//! one after the other in one run. The engines are real ones, on the same cores.

use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::net::TcpStream;

use super::gateway::{cpu_of, free_port};
use super::*;

/// Hosts that upload, each again and again.
const HOSTS: usize = 64;
/// Events a second of the rows that tell how long an acknowledgement takes.
const PACED: u64 = 20_000;
/// Events in an upload whose records are messages of some 5, 40 and 200 KB.
const REPLICATED: [usize; 3] = [40, 320, 1600];

/// A server of an engine, in a process of its own.
struct Engine {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Engine {
    fn cpu(&self) -> Result<f64> {
        cpu_of(self.child.id())
    }

    async fn start(command: &mut Command, dir: tempfile::TempDir, port: u16) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child =
            child.with_context(|| format!("{:?} cannot be started: scripts/tools.sh bench", command.get_program()))?;
        let (engine, began) = (Self { child, port, _dir: dir }, Instant::now());
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            ensure!(began.elapsed() < Duration::from_secs(20), "an engine does not come up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(engine)
    }

    /// A redis-server as docs/several-gateways.md wants it.
    async fn redis() -> Result<Self> {
        let (dir, port) = (folder()?, free_port()?);
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--port",
        ]);
        command.arg(port.to_string()).arg("--dir").arg(dir.path());
        Self::start(&mut command, dir, port).await
    }

    /// What redis-cli says of its memory.
    fn memory(&self) -> Result<u64> {
        let said = Command::new("redis-cli").args(["-p", &self.port.to_string(), "INFO", "memory"]).output()?;
        let said = String::from_utf8(said.stdout)?;
        let line = said.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.context("no used_memory")?.trim().parse()?)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Beside the state of the gateways: both are on the disk that is measured.
fn folder() -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("gatepost-engine").tempdir_in(std::env::current_dir()?.join("target"))?)
}

/// Three servers of NATS as docs/replication.md wants them.
async fn nats() -> Result<Vec<Engine>> {
    let program = Path::new(&std::env::var_os("HOME").unwrap_or_default()).join(".cache/gatepost/nats/bin/nats-server");
    let places = (0..3).map(|_| Ok((free_port()?, free_port()?))).collect::<Result<Vec<_>>>()?;
    let routes: Vec<String> = places.iter().map(|(_, route)| format!("nats://127.0.0.1:{route}")).collect();
    let mut servers = Vec::new();
    for (n, (port, route)) in places.iter().enumerate() {
        let dir = folder()?;
        let config = dir.path().join("nats.conf");
        let text = format!(
            "server_name: n{n}\nlisten: 127.0.0.1:{port}\n\
             jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 4GB }}\n\
             cluster {{ name: gatepost, listen: 127.0.0.1:{route}, routes: [{}] }}\n",
            dir.path().join("store").display(),
            routes.join(", ")
        );
        std::fs::write(&config, text)?;
        servers.push(Engine::start(Command::new(&program).arg("-c").arg(config), dir, *port).await?);
    }
    Ok(servers)
}

/// A load, and the clients that bring it to gateways.
type Loaded = (Arc<Load>, Vec<(Client, String)>);

/// What is measured together: gateways, and the engines below them.
struct Scene<'s> {
    name: String,
    gateways: &'s [Gateway],
    engines: &'s [Engine],
    collectors: &'s [Collector],
    /// Who uploads what, to which gateways.
    loads: Vec<Loaded>,
}

impl Scene<'_> {
    fn acknowledged(&self) -> u64 {
        self.loads.iter().map(|(load, _)| load.acknowledged.load(Ordering::Relaxed)).sum()
    }

    fn cpu(&self) -> Result<(f64, f64)> {
        let gateways = self.gateways.iter().map(Gateway::cpu).sum::<Result<f64>>()?;
        Ok((gateways, self.engines.iter().map(Engine::cpu).sum::<Result<f64>>()?))
    }

    async fn load(&self, stop: Stop) -> Result<Vec<f64>> {
        // Each load has its part of the pace.
        let stop = Stop { pace: stop.pace.map(|pace| pace * self.loads.len() as u32), ..stop };
        let runs = self.loads.iter().map(|(load, clients)| load.run(clients, stop));
        let mut latencies = futures_util::future::try_join_all(runs).await?.concat();
        latencies.sort_by(f64::total_cmp);
        Ok(latencies)
    }

    /// As fast as it goes, then at a pace; one line.
    async fn measure(&self, args: &Args, batch: usize) -> Result<()> {
        self.load(Stop::after(2)).await?;
        until_held(self.collectors, self.acknowledged()).await?;
        let ((cpu, engines), before, began) = (self.cpu()?, self.acknowledged(), Instant::now());
        let flat_out = self.load(Stop::after(args.seconds)).await?;
        let intake = began.elapsed().as_secs_f64();
        let events = self.acknowledged() - before;
        until_held(self.collectors, self.acknowledged()).await?;
        let whole = began.elapsed().as_secs_f64();
        let (cpu_after, engines_after) = self.cpu()?;
        let pace = Duration::from_secs_f64(batch as f64 / PACED as f64);
        let paced = self.load(Stop { pace: Some(pace), ..Stop::after(args.seconds) }).await?;
        let millions = events as f64 / 1e6;
        println!(
            "{}: {:.0} events/s acknowledged, {:.0} events/s to the end, {:.2} CPU-s per million of the gateways and {:.2} of the \
             engines; ack median {:.1} ms p99 {:.1} ms, at {PACED} events/s {:.1} and {:.1} ms; {} refused",
            self.name,
            events as f64 / intake,
            events as f64 / whole,
            (cpu_after - cpu) / millions,
            (engines_after - engines) / millions,
            1e3 * percentile(&flat_out, 0.5),
            1e3 * percentile(&flat_out, 0.99),
            1e3 * percentile(&paced, 0.5),
            1e3 * percentile(&paced, 0.99),
            self.loads.iter().map(|(load, _)| load.refused.load(Ordering::Relaxed)).sum::<u64>(),
        );
        Ok(())
    }
}

/// Two gateways: each for itself, over one Redis with each host at one of them, and with each host's uploads at either.
pub(super) async fn shared(args: &Args) -> Result<()> {
    for (name, is_shared, is_affine) in
        [("shared-alone", false, true), ("shared-affinity", true, true), ("shared-spread", true, false)]
    {
        let redis = Engine::redis().await?;
        let empty = redis.memory()?;
        let more = |n| if is_shared { over_redis(&redis, n) } else { String::new() };
        let keys = two(args, name, more, std::slice::from_ref(&redis), is_affine).await?;
        if is_shared {
            let bytes = redis.memory()?.saturating_sub(empty);
            println!("{name}: {:.2} bytes of Redis' memory a remembered event, of {keys}", bytes as f64 / keys as f64);
        }
    }
    Ok(())
}

/// Two gateways with replicated logs: each remembers for itself, both in one Redis, and both at the servers of replication.
pub(super) async fn seen(args: &Args) -> Result<()> {
    for name in ["seen-alone", "seen-redis", "seen-servers"] {
        let mut engines = nats().await?;
        let replication = replicated_at(&engines);
        if name == "seen-redis" {
            engines.push(Engine::redis().await?);
        }
        let dedup = |n| match (name, engines.last()) {
            ("seen-redis", Some(redis)) => over_redis(redis, n),
            ("seen-servers", _) => format!("[dedup]\nkind = \"jetstream\"\nsecret = \"{SECRET}\"\n"),
            _ => String::new(),
        };
        two(args, name, |n| replication.clone() + &dedup(n), &engines, true).await?;
    }
    Ok(())
}

const SECRET: &str = "one secret of all gateways of this run";

fn over_redis(redis: &Engine, n: usize) -> String {
    format!(
        "[dedup]\nkind = \"redis\"\nsecret = \"{SECRET}\"\n[dedup.redis]\nname = \"g{n}\"\n\
         addresses = [\"127.0.0.1:{}\"]\n",
        redis.port
    )
}

fn replicated_at(servers: &[Engine]) -> String {
    let addresses: Vec<String> = servers.iter().map(|server| format!("\"127.0.0.1:{}\"", server.port)).collect();
    format!("[replication]\nkind = \"jetstream\"\nmax_size = \"2 GiB\"\nservers = [{}]\n", addresses.join(", "))
}

/// Measures two gateways, each with more TOML, over engines; how many events they took.
async fn two(
    args: &Args,
    name: &str,
    more: impl Fn(usize) -> String,
    engines: &[Engine],
    is_affine: bool,
) -> Result<u64> {
    let collectors = collectors(args.collectors).await?;
    let mut gateways = Vec::new();
    for n in 0..2 {
        let gateway = Gateway::with(args, |dir, port, admin| {
            format!("{}{}", configuration(dir, port, admin, &collectors, args), more(n))
        });
        gateways.push(gateway.await?);
    }
    let bodies = |hosts| Arc::new(Bodies::of(hosts, 40 * args.clients.max(1) / 2, args.batch, Shape::Row));
    let half = args.clients.div_ceil(2);
    let loads = if is_affine {
        let each = |(n, gateway)| {
            let bodies = bodies(HOSTS / 2);
            let load = Load::new(&bodies, args);
            // The hosts have the same names, so each half of them has tokens of its own.
            load.next.store(n * SCOPES / 2 * bodies.gz.len(), Ordering::Relaxed);
            let clients = load.clients(gateway, half)?;
            Ok((load, clients))
        };
        gateways.iter().enumerate().map(each).collect::<Result<Vec<_>>>()?
    } else {
        let load = Load::new(&bodies(HOSTS), args);
        let mut clients = Vec::new();
        for gateway in &gateways {
            clients.extend(load.clients(gateway, half)?);
        }
        vec![(load, clients)]
    };
    let scene = Scene { name: name.to_owned(), gateways: &gateways, engines, collectors: &collectors, loads };
    scene.measure(args, args.batch).await?;
    Ok(scene.acknowledged())
}

/// One gateway, with its log on its disk alone and at three servers of NATS as well, by the size of messages.
pub(super) async fn replicated(args: &Args) -> Result<()> {
    for batch in REPLICATED {
        let args = Args { batch, ..args.clone() };
        let bodies = Arc::new(Bodies::of(HOSTS, 10 * args.clients.max(1), batch, Shape::Row));
        for is_replicated in [false, true] {
            let servers = if is_replicated { nats().await? } else { Vec::new() };
            let collectors = collectors(args.collectors).await?;
            let more = if is_replicated { replicated_at(&servers) } else { String::new() };
            let gateway = Gateway::with(&args, |dir, port, admin| {
                format!("{}{more}", configuration(dir, port, admin, &collectors, &args))
            });
            let gateway = gateway.await?;
            let load = Load::new(&bodies, &args);
            let clients = load.clients(&gateway, args.clients)?;
            let name = format!("replicated-{}-{batch}", if is_replicated { "jetstream" } else { "local" });
            let gateways = std::slice::from_ref(&gateway);
            let scene =
                Scene { name, gateways, engines: &servers, collectors: &collectors, loads: vec![(load, clients)] };
            scene.measure(&args, batch).await?;
            if is_replicated {
                let messages = gateway.metric("gatepost_replication_messages_total").await?;
                let bytes = gateway.metric("gatepost_replication_bytes_total").await?;
                println!("{}: {:.1} KB a message, {messages} messages", scene.name, bytes / messages / 1e3);
            }
        }
    }
    Ok(())
}
