//! The proxies of the tunnel run, each a process of its own with a configuration for one destination: no cache, no log
//! for the peers; every check and the access log for Gatepost.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Gatepost,
    Squid,
    Tinyproxy,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Gatepost, Self::Squid, Self::Tinyproxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gatepost => "gatepost",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    fn binary(self) -> Result<PathBuf> {
        let places: &[&str] = match self {
            Self::Gatepost => &[env!("CARGO_BIN_EXE_gatepost")],
            Self::Squid => &["/usr/sbin/squid", "/usr/local/sbin/squid"],
            Self::Tinyproxy => &["/usr/bin/tinyproxy", "/usr/sbin/tinyproxy", "/usr/local/bin/tinyproxy"],
        };
        let found = places.iter().map(Path::new).find(|path| path.exists());
        Ok(found.with_context(|| format!("{} is missing: scripts/tools.sh bench", self.name()))?.to_owned())
    }

    fn arguments(self, config: &Path) -> Vec<std::ffi::OsString> {
        let before: &[&str] = match self {
            Self::Gatepost => &["run", "--config"],
            Self::Squid => &["-N", "-f"],
            Self::Tinyproxy => &["-d", "-c"],
        };
        before.iter().map(Into::into).chain([config.into()]).collect()
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Proxy {
    /// Starts one that lets tunnels to `destination` through, and waits until it listens.
    pub(crate) async fn start(kind: Kind, destination: u16) -> Result<Self> {
        let binary = kind.binary()?;
        let dir = tempfile::Builder::new().prefix("tunnel-bench").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let port = free_port()?;
        let config = dir.path().join("config");
        std::fs::write(&config, configuration(kind, dir.path(), port, destination)?)?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = Command::new(binary)
            .args(kind.arguments(&config))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} cannot be started", kind.name()))?;
        let mut proxy = Self { child, port, dir };
        proxy.until_ready().await?;
        Ok(proxy)
    }

    async fn until_ready(&mut self) -> Result<()> {
        for _ in 0..200 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the proxy does not listen: {}", std::fs::read_to_string(self.dir.path().join("log"))?)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// CPU seconds used so far, user and system, to 10 ms.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(ticks as f64 / 100.0)
    }

    /// Resident memory in KiB.
    pub(crate) fn rss(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no value")?.parse()?)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn configuration(kind: Kind, dir: &Path, port: u16, destination: u16) -> Result<String> {
    let dir = dir.display();
    Ok(match kind {
        // One client address stands for thousands of hosts here.
        Kind::Gatepost => format!(
            r#"state_dir = "{dir}/state"
[admin]
listen = "127.0.0.1:{admin}"
[[tunnel.listeners]]
listen = "127.0.0.1:{port}"
[[tunnel.allow]]
name = "bench"
hosts = ["localhost"]
ports = [{destination}]
addresses = ["127.0.0.0/8", "::1/128"]
[tunnel.limits]
max_tunnels = 9900
max_tunnels_per_client = 9900
# The peers write none either.
[tunnel.access_log]
enabled = false
"#,
            admin = free_port()?,
        ),
        Kind::Squid => format!(
            "http_port 127.0.0.1:{port}\nacl bench port {destination}\nhttp_access allow CONNECT bench\n\
             http_access deny all\ncache deny all\ncache_mem 0 MB\naccess_log none\ncache_store_log none\n\
             cache_log /dev/null\npid_filename none\ncoredump_dir none\nvisible_hostname bench\npinger_enable off\n\
             shutdown_lifetime 0 seconds\nmax_filedescriptors {}\n",
            rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(20_000),
        ),
        Kind::Tinyproxy => format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 9900\nAllow 127.0.0.1\n\
             ConnectPort {destination}\nLogFile \"/dev/null\"\nLogLevel Critical\n"
        ),
    })
}
