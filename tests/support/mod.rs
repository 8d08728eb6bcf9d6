//! A real `gatepost run` process with its own state directory, and what tests do to it.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    reason = "each suite uses its own part of this"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::collector::Collector;
use gatepost::net::upload_client::{Answer, Client, SendError};
use serde_json::Value;
use tokio::time::Instant;

/// The data collection rule and stream of every test.
pub const PATH: &str =
    "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-SecurityEvent?api-version=2023-01-01";

/// How long a test waits for something that must happen. A batch that got no answer is kept a minute for the endpoint that may
/// have it: where that one does not come back, a minute is too short.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// How often it looks.
pub const LOOK: Duration = Duration::from_millis(20);

/// A gateway's directory, configuration and ports; its process comes and goes.
pub struct Site {
    pub dir: PathBuf,
    pub uploads: u16,
    pub admin: u16,
    config: String,
    _own: Option<tempfile::TempDir>,
}

/// A running process.
pub struct Running {
    child: Child,
}

/// What is started: this build's own, or another one, so that a campaign can run with optimised gateways.
fn program() -> PathBuf {
    std::env::var_os("GATEPOST_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_gatepost").into(), PathBuf::from)
}

impl Site {
    /// A site on free ports whose output is this TOML (`[[outputs]]` tables), with more TOML for the rest.
    pub fn new(outputs: &str, rest: &str) -> Self {
        let own = tempfile::tempdir().expect("a temporary directory");
        let dir = own.path().to_owned();
        Self { _own: Some(own), ..Self::at(&dir, outputs, rest) }
    }

    /// The same in a directory that is there already.
    pub fn at(dir: &Path, outputs: &str, rest: &str) -> Self {
        let (uploads, admin) = (free_port(), free_port());
        let config = format!(
            "state_dir = \"{}\"\ndrain_grace = \"0 s\"\n{rest}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n[[listeners]]\nname = \"uploads\"\nlisten = \"127.0.0.1:{uploads}\"\n{outputs}\n",
            dir.join("state").display()
        );
        let site = Self { dir: dir.to_owned(), uploads, admin, config, _own: None };
        site.configure(&site.config);
        site
    }

    /// Replaces the configuration file.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.config_path(), text).expect("the configuration can be written");
    }

    pub fn config(&self) -> &str {
        &self.config
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.join("gatepost.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self) -> Running {
        let running = self.launch();
        self.until_ready().await;
        running
    }

    /// Starts the process.
    pub fn launch(&self) -> Running {
        self.spawn(Command::new(program()))
    }

    /// Starts the process with a variable of its environment.
    pub fn launch_with(&self, name: &str, value: &std::ffi::OsStr) -> Running {
        let mut gatepost = Command::new(program());
        gatepost.env(name, value);
        self.spawn(gatepost)
    }

    /// Starts the process in a control group.
    pub fn launch_in(&self, group: &Path) -> Running {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""])
            .arg(group)
            .arg(env!("CARGO_BIN_EXE_gatepost"));
        self.spawn(shell)
    }

    /// Starts the process as a service manager does that holds its listening sockets.
    pub fn launch_handed(&self, [first, second]: [&std::net::TcpListener; 2], names: &str) -> Running {
        let own = |socket: &std::net::TcpListener| std::os::fd::OwnedFd::from(socket.try_clone().expect("a socket"));
        let mut shell = Command::new("sh");
        // Descriptors begin at 3, and the process that they are for is named; `exec` keeps its number.
        shell
            .args(["-c", "export LISTEN_PID=$$; exec \"$@\" 3<&0 4<&1 0</dev/null 1>/dev/null", "sh"])
            .arg(env!("CARGO_BIN_EXE_gatepost"))
            .envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", names)]);
        self.spawn_on(shell, own(first).into(), own(second).into())
    }

    fn spawn(&self, gatepost: Command) -> Running {
        self.spawn_on(gatepost, Stdio::null(), Stdio::null())
    }

    fn spawn_on(&self, mut gatepost: Command, input: Stdio, output: Stdio) -> Running {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.join("log")).expect("a log file");
        let child = gatepost
            .args(["run", "--config"])
            .arg(self.config_path())
            .current_dir(&self.dir)
            .stdin(input)
            .stdout(output)
            .stderr(log)
            .spawn()
            .expect("the binary is there");
        Running { child }
    }

    pub async fn until_ready(&self) {
        let client = Client::new(None).expect("a client");
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let until = Instant::now() + PATIENCE;
        while !client.get(&url, Duration::from_secs(2)).await.is_ok_and(|answer| answer.status == 200) {
            assert!(Instant::now() < until, "the gateway does not get ready:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// A client that trusts the gateway's self-signed certificate. Make it after the first start.
    pub fn client(&self) -> Client {
        let pem = std::fs::read(self.state().join("tls/cert.pem")).expect("the certificate of the first start");
        Client::new(Some(&pem)).expect("a client")
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.uploads)
    }

    /// Uploads a body to the Logs Ingestion door.
    pub async fn upload(&self, client: &Client, body: impl Into<Bytes>) -> Result<Answer, SendError> {
        let headers = [("content-type", "application/json")];
        client.post(&self.url(PATH), &headers, body.into(), Duration::from_secs(30)).await
    }

    /// What the admin plane says at this path.
    pub async fn admin_get(&self, path: &str) -> Answer {
        let client = Client::new(None).expect("a client");
        let url = format!("http://127.0.0.1:{}{path}", self.admin);
        client.get(&url, Duration::from_secs(10)).await.expect("the admin plane answers")
    }

    pub async fn status(&self) -> Value {
        serde_json::from_slice(&self.admin_get("/status").await.body).expect("the status is JSON")
    }

    /// The value of the first series of the metrics page that begins so; 0 without one.
    pub async fn metric(&self, series: &str) -> f64 {
        let page = self.admin_get("/metrics").await.body;
        let page = String::from_utf8_lossy(&page);
        let line = page.lines().find(|line| line.starts_with(series));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }

    /// Waits for something that must happen.
    pub async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let until = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < until, "never: {what}\n{:#}\n{}", self.status().await, self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until no output has anything to send.
    pub async fn until_drained(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            let mut outputs = status["outputs"].as_array().cloned().unwrap_or_default();
            outputs.retain(|output| output["state"] != "cannot start");
            let is_counted = status["account"]["end"].as_u64() >= status["spool"]["end"].as_u64();
            if is_counted && !outputs.is_empty() && outputs.iter().all(|output| output["pending"] == 0) {
                return;
            }
            assert!(Instant::now() < until, "the outputs do not drain: {status:#}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a command of the binary against this site's configuration.
    pub fn gatepost(&self, args: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(args)
            .arg("--config")
            .arg(self.config_path())
            .current_dir(&self.dir)
            .output()
            .expect("the binary is there")
    }

    /// `gatepost audit` must find that everything adds up.
    pub fn assert_audit_balances(&self) {
        let audit = self.gatepost(&["audit"]);
        assert!(
            audit.status.success(),
            "the account does not balance:\n{}{}",
            String::from_utf8_lossy(&audit.stdout),
            String::from_utf8_lossy(&audit.stderr)
        );
    }
}

impl Running {
    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
    }

    /// Asks it to stop and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let until = std::time::SystemTime::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it was started here") {
                return status;
            }
            assert!(std::time::SystemTime::now() < until, "the gateway does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill is there");
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it was started here").is_some()
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        self.memory_line("VmRSS:")
    }

    /// The most that it ever was.
    pub fn highest_memory(&self) -> u64 {
        self.memory_line("VmHWM:")
    }

    fn memory_line(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("the kernel tells it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An output of the Azure kind over these collectors.
pub fn workspace(name: &str, collectors: &[&Collector]) -> String {
    let endpoints: Vec<String> = collectors
        .iter()
        .enumerate()
        .map(|(at, collector)| format!("{{ name = \"c{at}\", url = \"{}\" }}", collector.url()))
        .collect();
    format!(
        r#"[[outputs]]
kind = "workspace"
name = "{name}"
dcr = "dcr-00000000000000000000000000000000"
stream = "Custom-SecurityEvent"
timeout = "3 s"
endpoints = [{}]
forward = {{ linger = "20 ms" }}
balancer = {{ retry_base = "20 ms", retry_cap = "500 ms", ejection_base = "200 ms", ejection_cap = "2 s", probe_interval = "200 ms" }}
"#,
        endpoints.join(", ")
    )
}

/// A port that nobody listens on.
///
/// Below those that the system gives to connections by itself, or one of these could take it before the gateway does. Each slot
/// of nextest has ports of its own, and a process does not begin where the one before began.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const OF_SLOT: u16 = 1_400;
    const SLOTS: u16 = 16;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|slot| slot.parse().ok()).unwrap_or(0);
    let begin = u16::try_from(std::process::id() * 37 % u32::from(OF_SLOT)).expect("it is below 1,400");
    loop {
        let nth = (begin + GIVEN.fetch_add(1, Ordering::Relaxed) % OF_SLOT) % OF_SLOT;
        let port = FIRST + slot % SLOTS * OF_SLOT + nth;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The folder of shared test data, if this checkout has one beside it.
pub fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("GATEPOST_SHARED").map_or(beside, PathBuf::from);
    path.is_dir().then_some(path)
}
