//! The gateways of the demo, each a process of this binary, and the HAProxy in front of them with the configuration that is shipped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::{Instant, sleep};

use super::program::{LOOK, PATIENCE, Program, found, free_port};
use crate::app::audit::{Report, audit};
use crate::config;
use crate::metrics::{self, Metric};
use crate::net::upload_client::Client;

/// The shipped configuration.
const HAPROXY: &str = include_str!("../../../../deploy/haproxy/haproxy.cfg");

/// One gateway.
pub(super) struct Gateway {
    pub(super) name: String,
    pub(super) program: Program,
    uploads: u16,
    text: String,
    state: PathBuf,
}

impl Gateway {
    /// Starts the one of this name, with this TOML about what it shares with the others.
    pub(super) async fn start(name: String, folder: &Path, shares: &str, endpoints: &str) -> anyhow::Result<Self> {
        let (uploads, admin) = (free_port()?, free_port()?);
        let state = folder.join(&name);
        let text = configuration(&state, uploads, admin, shares, endpoints);
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, &text)?;
        let arguments =
            ["run", "--config"].map(str::to_owned).into_iter().chain([file.display().to_string()]).collect();
        let binary = std::env::current_exe().context("this binary cannot be found")?;
        let program = Program::new(&name, binary, arguments, folder, admin);
        let mut gateway = Self { name, program, uploads, text, state };
        gateway.program.start().await?;
        gateway.until_ready().await?;
        Ok(gateway)
    }

    /// Waits until it is ready.
    pub(super) async fn until_ready(&self) -> anyhow::Result<()> {
        let client = Client::new(None)?;
        let url = format!("{}/readyz", self.admin_url());
        let until = Instant::now() + PATIENCE;
        while !client.get(&url, Duration::from_secs(2)).await.is_ok_and(|answer| answer.status == 200) {
            if Instant::now() > until {
                bail!("{} does not get ready", self.name);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    pub(super) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.program.port())
    }

    /// The sum over the series of a metric.
    pub(super) async fn sum(&self, client: &Client, metric: &Metric) -> anyhow::Result<u64> {
        let page = client.get(&format!("{}/metrics", self.admin_url()), Duration::from_secs(5)).await?;
        Ok(super::super::account::sum(&String::from_utf8_lossy(&page.body), metric))
    }

    /// Whether nothing of it is undecided or unsent.
    pub(super) async fn is_settled(&self, client: &Client) -> anyhow::Result<bool> {
        let pending = self.sum(client, &metrics::EVENTS_PENDING).await?;
        Ok(pending == 0 && self.sum(client, &metrics::DEDUP_UNDECIDED).await? == 0)
    }

    /// Its certificate, which it made itself.
    pub(super) fn certificate(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(self.state.join("tls/cert.pem")).with_context(|| format!("the certificate of {}", self.name))
    }

    /// Stops it in order, and reads its account from its disk.
    pub(super) async fn stop(mut self) -> anyhow::Result<(String, Report)> {
        use rustix::process::{Pid, Signal, kill_process};
        let id = self.program.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        kill_process(id.context("it does not run")?, Signal::TERM)?;
        let until = Instant::now() + PATIENCE;
        while !self.program.has_ended()? {
            if Instant::now() > until {
                bail!("{} does not stop", self.name);
            }
            sleep(LOOK).await;
        }
        let config = config::parse("demo.toml", &self.text, Path::new("."), &|_| None)?;
        Ok((self.name, audit(&config)?))
    }
}

fn configuration(state: &Path, uploads: u16, admin: u16, shares: &str, endpoints: &str) -> String {
    format!(
        r#"
state_dir = "{state}"
filter.event_set = "All"
admin.listen = "127.0.0.1:{admin}"
access_log.enabled = false
drain_grace = "0 s"

{shares}
[[listeners]]
name = "agents"
listen = "127.0.0.1:{uploads}"
proxy_protocol_from = ["127.0.0.1/32"]
auth = {{ networks = ["127.0.0.0/8"] }}

[[outputs]]
kind = "workspace"
name = "workspace"
dcr = "dcr-00000000000000000000000000000000"
stream = "Custom-SecurityEvent"
endpoints = [{endpoints}]
forward.linger = "200 ms"
balancer = {{ ejection_base = "500 ms", ejection_cap = "2 s", probe_interval = "500 ms", retry_base = "100 ms", retry_cap = "2 s" }}
"#,
        state = state.display(),
    )
}

/// HAProxy in front of them. All hosts of the demo have one address, so it goes without affinity, as its comments say.
pub(super) async fn balancer(gateways: &[Gateway], folder: &Path) -> anyhow::Result<Program> {
    let config = HAPROXY.replace("balance source", "balance leastconn").replace("    hash-type consistent\n", "");
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config)?;
    let (port, tunnels) = (free_port()?, free_port()?);
    let mut variables = vec![
        ("GATEPOST_LB_SOCKET".to_owned(), folder.join("haproxy.sock").display().to_string()),
        ("GATEPOST_LB_LISTEN".to_owned(), format!("127.0.0.1:{port}")),
        ("GATEPOST_LB_TUNNELS".to_owned(), format!("127.0.0.1:{tunnels}")),
    ];
    for (number, gateway) in (1..).zip(gateways) {
        let uploads = format!("127.0.0.1:{}", gateway.uploads);
        variables.push((format!("GATEPOST_{number}_UPLOADS"), uploads.clone()));
        // Nobody asks for tunnels here.
        variables.push((format!("GATEPOST_{number}_TUNNELS"), uploads));
        variables.push((format!("GATEPOST_{number}_ADMIN_PORT"), gateway.program.port().to_string()));
    }
    let arguments = vec!["-f".to_owned(), file.display().to_string(), "-db".to_owned()];
    let haproxy = Program::new("haproxy", found(&["haproxy"], "haproxy")?, arguments, folder, port);
    let mut haproxy = haproxy.with_variables(variables);
    haproxy.start().await?;
    Ok(haproxy)
}
