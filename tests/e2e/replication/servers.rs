//! Three real servers of NATS with JetStream, on ports of their own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{PATIENCE, free_port};

fn program() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from);
    let path = home.join(".cache/gatepost/nats/bin/nats-server");
    assert!(path.is_file(), "{} is missing; run scripts/tools.sh nats", path.display());
    path
}

/// Servers whose processes come and go; what they hold is on disk, synced with each message.
pub(super) struct Servers {
    dir: tempfile::TempDir,
    pub(super) ports: [u16; 3],
    running: [Option<Child>; 3],
}

impl Servers {
    pub(super) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports: [u16; 3] = std::array::from_fn(|_| free_port());
        let routes: [u16; 3] = std::array::from_fn(|_| free_port());
        let all = routes.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        for (n, (port, route)) in ports.iter().zip(routes).enumerate() {
            let store = dir.path().join(format!("store-{n}"));
            let config = format!(
                "server_name: n{n}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 1GB }}\n\
                 cluster {{ name: gatepost, listen: 127.0.0.1:{route}, routes: [{all}] }}\n",
                store.display()
            );
            std::fs::write(dir.path().join(format!("n{n}.conf")), config).unwrap();
        }
        let mut servers = Self { dir, ports, running: [None, None, None] };
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
