//! Three servers of NATS for the demo, which keep the logs of the gateways and what these have seen.

use std::path::Path;

use super::program::{Program, found, free_port};

/// They.
pub(super) struct Servers(Vec<Program>);

impl Servers {
    /// Starts them. Gateways wait until they have found each other.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let path = found(&["nats-server"], "nats-server, version 2.10 or later, or run scripts/tools.sh nats")?;
        let (mut ports, mut routes) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            ports.push(free_port()?);
            routes.push(free_port()?);
        }
        let others: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut servers = Vec::new();
        for (number, (port, route)) in (1..).zip(ports.into_iter().zip(&routes)) {
            let name = format!("nats-{number}");
            let file = folder.join(format!("{name}.conf"));
            let text = format!(
                "server_name: {name}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 1GB }}\n\
                 cluster {{ name: demo, listen: 127.0.0.1:{route}, routes: [{}] }}\n",
                folder.join(&name).display(),
                others.join(", ")
            );
            std::fs::write(&file, text)?;
            let arguments = vec!["-c".to_owned(), file.display().to_string()];
            let mut server = Program::new(&name, path.clone(), arguments, folder, port);
            server.start().await?;
            servers.push(server);
        }
        Ok(Self(servers))
    }

    /// How a gateway of this name finds them.
    pub(super) fn configuration(&self, name: &str) -> String {
        let addresses: Vec<String> = self.0.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!(
            "[dedup]\nkind = \"jetstream\"\nsecret = \"all gateways of the demo have this one\"\n\n[replication]\nkind = \"jetstream\"\n\
             name = \"{name}\"\nservers = {addresses:?}\nmax_size = \"256 MiB\"\nshare_state = true\ntimeout = \"2 s\"\n"
        )
    }

    pub(super) fn one(&mut self, at: usize) -> &mut Program {
        &mut self.0[at]
    }
}
