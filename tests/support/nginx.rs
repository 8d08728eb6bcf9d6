//! A real nginx with the configuration of deploy/, in front of gateways for uploads.

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

use crate::support::{PATIENCE, free_port};
use crate::tools::{both, of_checkout, run, tool};

/// The shipped configuration, and the module that it needs.
const CONFIG: &str = "deploy/nginx/gatepost.conf";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// nginx in front of these ports of this machine. It ends when dropped.
pub struct Nginx {
    child: Child,
    pub port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Nginx {
    /// Starts it and waits until it takes connections.
    pub async fn start<const N: usize>(uploads: [u16; N]) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a temporary directory"), free_port());
        write(folder.path(), port, &uploads);
        let child = nginx(folder.path()).stdin(Stdio::null()).spawn().expect("nginx starts");
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let log = || std::fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
            assert!(Instant::now() < until, "nginx does not listen: {}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, port, _folder: folder }
    }
}

/// Has nginx judge the shipped configuration; what it says.
pub fn judged() -> (bool, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    write(folder.path(), free_port(), &[1, 2, 3]);
    let said = run(nginx(folder.path()).arg("-t"), b"");
    (said.status.success(), both(&said))
}

fn nginx(folder: &Path) -> Command {
    let mut command = Command::new(tool("nginx", "nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
    command
}

/// The shipped configuration for these gateways, and a file around it, as an installation has one. One process: a killed parent
/// would leave its workers.
fn write(folder: &Path, port: u16, uploads: &[u16]) {
    assert!(Path::new(MODULE).is_file(), "install the Debian package libnginx-mod-stream (scripts/tools.sh test)");
    let shipped = std::fs::read_to_string(of_checkout(CONFIG)).expect("it is there");
    let gateway = |line: &str| -> Option<String> {
        let (before, rest) = line.split_once("server 10.0.0.1")?;
        let number: usize = rest[..1].parse().expect("the number of a gateway");
        // Nobody asks for tunnels here.
        let at = if rest[1..].starts_with(":8443") { *uploads.get(number - 1)? } else { 9 };
        let after = rest.split_once(' ').map(|(_, after)| after)?;
        Some(format!("{before}server 127.0.0.1:{at} {after}\n"))
    };
    let lines = shipped.lines().filter_map(|line| match line.contains("server 10.0.0.1") {
        true => gateway(line),
        false => Some(format!("{line}\n")),
    });
    let ours = lines.collect::<String>();
    let ours = ours.replace("listen 8443", &format!("listen 127.0.0.1:{port}"));
    let ours = ours.replace("listen 8080", &format!("listen 127.0.0.1:{}", free_port()));
    std::fs::write(folder.join("gatepost.conf"), ours).expect("a temporary file");
    let around = format!(
        "load_module {MODULE};\ndaemon off;\nmaster_process off;\npid nginx.pid;\nevents {{}}\ninclude gatepost.conf;\n"
    );
    std::fs::write(folder.join("nginx.conf"), around).expect("a temporary file");
}
