//! A real gateway, in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use gatepost::lab::collector::Collector;
use gatepost::net::upload_client::Client;
use tokio::time::Instant;

use super::{Args, configuration};

/// A gateway process with its own state directory.
pub(super) struct Gateway {
    pub(super) child: Child,
    pub(super) dir: tempfile::TempDir,
    pub(super) port: u16,
    pub(super) admin: u16,
}

impl Gateway {
    pub(super) async fn start(collectors: &[Collector], args: &Args) -> Result<Self> {
        Self::with(args, |dir, port, admin| configuration(dir, port, admin, collectors, args)).await
    }

    /// With the configuration for this directory, and these ports for uploads and for the admin plane.
    pub(super) async fn with(args: &Args, configuration: impl FnOnce(&Path, u16, u16) -> String) -> Result<Self> {
        let gateway = Self::launch(args, configuration)?;
        gateway.until_ready().await?;
        Ok(gateway)
    }

    /// The same, without waiting for anything.
    pub(super) fn launch(args: &Args, configuration: impl FnOnce(&Path, u16, u16) -> String) -> Result<Self> {
        let binary = args.binary.clone().map_or_else(binary, Ok)?;
        let dir =
            tempfile::Builder::new().prefix("gatepost-bench").tempdir_in(std::env::current_dir()?.join("target"))?;
        let (port, admin) = (free_port()?, free_port()?);
        let config = dir.path().join("gatepost.toml");
        std::fs::write(&config, configuration(dir.path(), port, admin))?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = Command::new(binary)
            .args(["run", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("the gateway cannot be started")?;
        Ok(Self { child, dir, port, admin })
    }

    pub(super) async fn until_ready(&self) -> Result<()> {
        self.until("readyz", Duration::from_millis(20)).await
    }

    /// Asks the admin plane so often until it says yes.
    pub(super) async fn until(&self, path: &str, every: Duration) -> Result<()> {
        let (client, began) = (Client::new(None)?, Instant::now());
        let url = format!("http://127.0.0.1:{}/{path}", self.admin);
        while began.elapsed() < Duration::from_secs(60) {
            if client.get(&url, Duration::from_secs(1)).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(every).await;
        }
        bail!("the gateway does not get ready: {}", std::fs::read_to_string(self.dir.path().join("log"))?)
    }

    /// CPU seconds used so far, user and system.
    pub(super) fn cpu(&self) -> Result<f64> {
        cpu_of(self.child.id())
    }

    /// A metric without labels.
    pub(super) async fn metric(&self, name: &str) -> Result<f64> {
        let (client, url) = (Client::new(None)?, format!("http://127.0.0.1:{}/metrics", self.admin));
        let page = String::from_utf8(client.get(&url, Duration::from_secs(5)).await?.body.to_vec())?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {name}"))?.parse()?)
    }

    /// Resident memory in MiB.
    pub(super) fn rss(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no value")?.parse::<f64>()? / 1024.0)
    }

    pub(super) fn ca(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(self.dir.path().join("state/tls/cert.pem"))?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// CPU seconds that a process has used so far, user and system.
pub(super) fn cpu_of(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

pub(super) fn binary() -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_gatepost"));
    ensure!(path.exists(), "{} is missing: cargo build --release", path.display());
    Ok(path.to_owned())
}

pub(super) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
