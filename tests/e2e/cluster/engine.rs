//! A real redis-server on a port of its own, or the server that `GATEPOST_ENGINE` names: a valkey-server.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{PATIENCE, free_port};
use crate::tools::{run_well, tool};

fn server() -> PathBuf {
    std::env::var_os("GATEPOST_ENGINE").map_or_else(|| tool("redis-server", "redis-server"), PathBuf::from)
}

/// A server whose process comes and goes; what it holds is on disk.
pub(super) struct Engine {
    dir: tempfile::TempDir,
    pub(super) port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Engine {
    /// A running server with these options besides.
    pub(super) async fn start(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut engine = Self { dir: tempfile::tempdir().unwrap(), port: free_port(), options, child: None };
        engine.begin().await;
        engine
    }

    /// Starts it again, with what it had on disk.
    pub(super) async fn begin(&mut self) {
        let child = Command::new(server())
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always", "--dir"])
            .arg(self.dir.path())
            .arg("--logfile")
            .arg(self.log())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        self.until_listening().await;
    }

    /// A Sentinel with this configuration, which it writes anew.
    pub(super) fn sentinel(config: &Path) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let child = Command::new(server())
            .arg(config)
            .args(["--sentinel", "--port", &port.to_string(), "--bind", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, port, options: Vec::new(), child: Some(child) }
    }

    pub(super) async fn until_listening(&self) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(Instant::now() < until, "{}", std::fs::read_to_string(self.log()).unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until it says this of itself.
    pub(super) async fn until_info(&self, line: &str) {
        self.until_said(&["INFO", "replication"], line).await;
    }

    /// Waits until it says this of its cluster.
    pub(super) async fn until_cluster(&self, line: &str) {
        self.until_said(&["CLUSTER", "INFO"], line).await;
    }

    async fn until_said(&self, question: &[&str], line: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.cli(question).contains(line) {
            assert!(Instant::now() < until, "never {line}: {}", self.cli(question));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("redis.log")
    }

    /// kill -9.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs redis-cli; what it printed.
    pub(super) fn cli(&self, args: &[&str]) -> String {
        run_well(Command::new(tool("redis-cli", "redis-tools")).args(["-p", &self.port.to_string()]).args(args))
    }

    /// Forgets everything.
    pub(super) fn empty(&self) {
        assert_eq!(self.cli(&["FLUSHALL"]).trim(), "OK");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kill();
    }
}
