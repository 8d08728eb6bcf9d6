//! A real Prometheus beside a gateway.

#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each suite uses its own part of this")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::{PATIENCE, free_port};
use crate::tools::{curl, of_checkout, tool};

/// A real Prometheus with the configuration of deploy/, this target instead of its own, and no patience.
pub struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    /// Starts it over files in this folder.
    pub fn start(folder: &Path, target: u16) -> Self {
        Self::start_with(folder, target, str::to_owned)
    }

    /// The same, with its rules changed.
    pub fn start_with(folder: &Path, target: u16, adapt: impl Fn(&str) -> String) -> Self {
        let config = std::fs::read_to_string(of_checkout("deploy/prometheus/prometheus.yml")).expect("it is there");
        assert!(config.contains("localhost:8449") && config.contains("15s"), "the test adapts target and interval");
        let config = config.replace("localhost:8449", &format!("127.0.0.1:{target}")).replace("15s", "1s");
        std::fs::write(folder.join("prometheus.yml"), config).expect("a temporary folder");
        for file in ["alerts.yml", "recording.yml"] {
            let rules =
                std::fs::read_to_string(of_checkout(&format!("deploy/prometheus/{file}"))).expect("it is there");
            std::fs::write(folder.join(file), adapt(&rules)).expect("a temporary folder");
        }
        let port = free_port();
        let child = Command::new(tool("prometheus", "prometheus"))
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("prometheus.log")).expect("a temporary folder"))
            .spawn()
            .expect("prometheus starts");
        Self { child, port }
    }

    /// The value of a query that gives one; nothing while there is none.
    pub fn ask(&self, query: &str) -> Option<f64> {
        let data = self.api("query", &[("query", query)]).ok()?;
        data["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// What its API answers; `Err` is what it says is wrong.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let parameters: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut args = vec!["-G"];
        for parameter in &parameters {
            args.extend(["--data-urlencode", parameter]);
        }
        args.push(&url);
        let answer = curl(&args, b"").map_err(|(_, complaint)| complaint)?;
        let answer: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(answer["error"].to_string()) }
    }

    /// Waits until a query has this value.
    pub async fn until(&self, query: &str, wanted: f64, folder: &Path) {
        let until = Instant::now() + PATIENCE;
        loop {
            let value = self.ask(query);
            if value == Some(wanted) {
                return;
            }
            let log = || std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
            assert!(Instant::now() < until, "{query} is {value:?}, not {wanted}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
