//! A real redis-server, for what a gateway keeps about others.

use std::process::{Child, Command, Stdio};

use crate::support::free_port;

pub(super) struct Engine {
    child: Child,
    port: u16,
}

impl Engine {
    pub(super) fn start() -> Self {
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing; install the Debian package redis-server (scripts/tools.sh test)");
        Self { child, port }
    }

    /// What makes a gateway use it.
    pub(super) fn config(&self) -> String {
        let (port, secret) = (self.port, "0".repeat(32));
        format!("[dedup]\nkind = \"redis\"\nsecret = \"{secret}\"\nredis.addresses = [\"127.0.0.1:{port}\"]\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}
