//! Redis or Valkey for the demo: a primary, its replica, and a Sentinel that puts the one in the place of the other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::program::{LOOK, PATIENCE, Program, found, free_port};

/// What the Sentinel calls them.
const MASTER: &str = "events";

/// The two servers and the Sentinel.
pub(super) struct Engine {
    /// The primary at first.
    pub(super) first: Program,
    /// Its replica at first.
    second: Program,
    pub(super) sentinel: Program,
}

impl Engine {
    /// Starts them, and waits until the replica has what the primary has.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let path = found(&["redis-server", "valkey-server"], "redis-server")?;
        let primary = free_port()?;
        let server = |name: &str, port: u16, more: &[String]| -> anyhow::Result<Program> {
            let data = folder.join(name);
            std::fs::create_dir(&data)?;
            let mut arguments =
                ["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"].map(str::to_owned).to_vec();
            arguments.extend(["--port".to_owned(), port.to_string(), "--dir".to_owned(), data.display().to_string()]);
            arguments.extend_from_slice(more);
            Ok(Program::new(name, path.clone(), arguments, folder, port))
        };
        let of = ["--replicaof".to_owned(), format!("127.0.0.1 {primary}")];
        let mut first = server("redis-1", primary, &[])?;
        let mut second = server("redis-2", free_port()?, &of)?;
        first.start().await?;
        second.start().await?;
        until_it_says(second.port(), "master_link_status:up").await?;
        let (port, file) = (free_port()?, folder.join("sentinel.conf"));
        std::fs::write(&file, sentinel(folder, port, primary))?;
        let arguments = vec![file.display().to_string(), "--sentinel".to_owned()];
        let mut sentinel = Program::new("sentinel", path, arguments, folder, port);
        sentinel.start().await?;
        Ok(Self { first, second, sentinel })
    }

    /// How a gateway of this name finds it. Strict: while the engine is away uploads are refused, and agents wait, so that nothing goes
    /// twice for it.
    pub(super) fn configuration(&self, name: &str) -> String {
        format!(
            "[dedup]\nkind = \"redis\"\nsecret = \"all gateways of the demo have this one\"\n\n[dedup.redis]\nname = \"{name}\"\n\
             sentinels = [\"127.0.0.1:{}\"]\nsentinel_master = \"{MASTER}\"\nwhen_unavailable = \"strict\"\nlease = \"2 s\"\n\
             timeout = \"1 s\"\n",
            self.sentinel.port()
        )
    }

    /// Kills the primary; the replica takes its place. It comes back, and the Sentinel makes a replica of it.
    pub(super) async fn fail_over(&mut self) -> anyhow::Result<()> {
        self.first.kill();
        until_it_says(self.second.port(), "role:master").await?;
        self.first.start().await
    }
}

/// One Sentinel is enough to show it; a site has three.
fn sentinel(folder: &Path, port: u16, primary: u16) -> String {
    format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {primary} 1\n\
         sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 5000\n",
        folder.display()
    )
}

/// Waits until a server says this of its replication.
async fn until_it_says(port: u16, line: &str) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = timeout(Duration::from_secs(1), replication(port)).await;
        if said.is_ok_and(|said| said.is_ok_and(|said| said.contains(line))) {
            return Ok(());
        }
        if Instant::now() > until {
            bail!("the server on port {port} never says {line}");
        }
        sleep(LOOK).await;
    }
}

async fn replication(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"INFO replication\r\n").await?;
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    // Its last line but one; an answer that is another has none, and takes its time.
    while !String::from_utf8_lossy(&said).contains("repl_backlog_histlen") {
        let len = stream.read(&mut part).await?;
        let more = part.get(..len).filter(|more| !more.is_empty()).context("it hung up")?;
        said.extend_from_slice(more);
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
