//! A real HAProxy with the configuration of deploy/, in front of two gateways or three.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    reason = "each suite uses its own part of this"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{PATIENCE, Site, free_port};
use crate::tools::{of_checkout, tool};

/// The shipped configuration.
const CONFIG: &str = "deploy/haproxy/haproxy.cfg";

/// HAProxy in front of gateways.
pub struct Balancer {
    child: Child,
    pub port: u16,
    pub tunnels: u16,
}

/// Where a gateway is reached.
#[derive(Clone, Copy)]
pub struct Ports {
    pub uploads: u16,
    pub tunnels: u16,
    pub admin: u16,
}

impl Ports {
    /// Of a site whose tunnel listener has this port, or has none.
    pub fn of(site: &Site, tunnels: u16) -> Self {
        Self { uploads: site.uploads, tunnels, admin: site.admin }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// HAProxy with the shipped configuration, listening for uploads and tunnels on these ports. For two gateways it is changed as it
/// says itself: the lines of the third go.
pub fn haproxy<const N: usize>(folder: &Path, [uploads, tunnels]: [u16; 2], gateways: [Ports; N]) -> Command {
    let shipped = std::fs::read_to_string(of_checkout(CONFIG)).expect("it is there");
    let is_there = |line: &&str| N >= 3 || !line.trim_start().starts_with("server gateway3 ");
    let config: String = shipped.lines().filter(is_there).map(|line| format!("{line}\n")).collect();
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, config).expect("a temporary folder");
    let mut command = Command::new(tool("haproxy", "haproxy"));
    command
        .arg("-f")
        .arg(path)
        .env("GATEPOST_LB_SOCKET", folder.join("lb.sock"))
        .env("GATEPOST_LB_LISTEN", format!("127.0.0.1:{uploads}"))
        .env("GATEPOST_LB_TUNNELS", format!("127.0.0.1:{tunnels}"));
    for (number, ports) in (1..).zip(gateways) {
        command.env(format!("GATEPOST_{number}_UPLOADS"), format!("127.0.0.1:{}", ports.uploads));
        command.env(format!("GATEPOST_{number}_TUNNELS"), format!("127.0.0.1:{}", ports.tunnels));
        command.env(format!("GATEPOST_{number}_ADMIN_PORT"), ports.admin.to_string());
    }
    command
}

impl Balancer {
    /// Starts it; it takes connections soon after.
    pub fn start<const N: usize>(folder: &Path, gateways: [Ports; N]) -> Self {
        let (port, tunnels) = (free_port(), free_port());
        let log = std::fs::File::create(folder.join("lb.log")).expect("a temporary folder");
        let child = haproxy(folder, [port, tunnels], gateways)
            .arg("-db")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("haproxy starts");
        Self { child, port, tunnels }
    }

    /// Fails with its log when it has ended.
    pub fn assert_runs(&mut self, folder: &Path) {
        let ended = self.child.try_wait().expect("it was started here");
        let log = || std::fs::read_to_string(folder.join("lb.log")).unwrap_or_default();
        assert!(ended.is_none(), "haproxy has ended: {ended:?}\n{}", log());
    }

    /// Waits until it takes connections.
    pub async fn until_it_listens(&mut self, folder: &Path) {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.tunnels)).await.is_err() {
            self.assert_runs(folder);
            assert!(Instant::now() < until, "HAProxy does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
