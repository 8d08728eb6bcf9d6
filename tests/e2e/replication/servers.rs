//! Three real servers of NATS with JetStream, on ports of their own, and the ways between them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::way::{Carries, Way};
use crate::support::{PATIENCE, free_port};

fn program() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
    let path = home.join(".cache/gatepost/nats/bin/nats-server");
    assert!(path.is_file(), "{} is missing; run scripts/tools.sh nats", path.display());
    path
}

/// A server with a configuration of its own, for as long as it lives.
pub(super) struct Server(Child);

impl Server {
    /// In this folder, where its log is too.
    pub(super) fn start(dir: &Path, config: &str) -> Self {
        let path = dir.join("nats.conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program());
        command.arg("-c").arg(path).arg("-l").arg(dir.join("nats.log")).stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Servers whose processes come and go; what they hold is on disk, synced with each message.
pub(super) struct Servers {
    dir: tempfile::TempDir,
    pub(super) ports: [u16; 3],
    running: [Option<Child>; 3],
    /// From which server to which.
    ways: Vec<([usize; 2], Way)>,
}

impl Servers {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: [u16; 3] = std::array::from_fn(|_| free_port());
        let routes: [u16; 3] = std::array::from_fn(|_| free_port());
        let mut ways = Vec::new();
        for (from, to) in (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(from, to)| from != to) {
            ways.push(([from, to], Way::to(routes[to]).await));
        }
        // Servers tell each other where the others are; whoever believes that meets nobody, and has its own ways only.
        let nowhere = free_port();
        for (n, (port, route)) in ports.iter().zip(routes).enumerate() {
            let others = ways.iter().filter(|([from, _], _)| *from == n).map(|(_, way)| way.port);
            let others: Vec<String> = others.map(|port| format!("nats://127.0.0.1:{port}")).collect();
            let store = dir.path().join(format!("store-{n}"));
            let config = format!(
                "server_name: n{n}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 1GB }}\n\
                 cluster {{ name: gatepost, listen: 127.0.0.1:{route}, advertise: \"127.0.0.1:{nowhere}\", routes: [{}] }}\n",
                store.display(),
                others.join(", ")
            );
            std::fs::write(dir.path().join(format!("n{n}.conf")), config).unwrap();
        }
        let mut servers = Self { dir, ports, running: [None, None, None], ways };
        for n in 0..3 {
            servers.begin(n);
        }
        for n in 0..3 {
            servers.until_listening(n).await;
        }
        servers
    }

    /// Starts one again, with what it had on disk.
    pub(super) fn begin(&mut self, n: usize) {
        let child = Command::new(program())
            .arg("-c")
            .arg(self.dir.path().join(format!("n{n}.conf")))
            .arg("-l")
            .arg(self.dir.path().join(format!("n{n}.log")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running[n] = Some(child);
    }

    async fn until_listening(&self, n: usize) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.ports[n])).await.is_err() {
            let log = std::fs::read_to_string(self.dir.path().join(format!("n{n}.log"))).unwrap_or_default();
            assert!(Instant::now() < until, "{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How the ways between this one and the other two are; clients reach it as before.
    pub(super) fn others_are_reached_by(&self, n: usize, carries: Carries) {
        self.ways.iter().filter(|(between, _)| between.contains(&n)).for_each(|(_, way)| way.set(carries));
    }

    /// Asks it to end, as an upgrade does, and starts it again.
    pub(super) async fn restart(&mut self, n: usize) {
        let mut child = self.running[n].take().unwrap();
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(asked.success(), "SIGTERM could not be sent");
        tokio::task::block_in_place(|| child.wait()).unwrap();
        self.begin(n);
        self.until_listening(n).await;
    }

    /// kill -9.
    pub(super) fn kill(&mut self, n: usize) {
        if let Some(mut child) = self.running[n].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for n in 0..3 {
            self.kill(n);
        }
    }
}
