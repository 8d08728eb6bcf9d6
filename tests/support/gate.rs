//! A gateway with one tunnel listener, the name server that it asks, and connections that say exactly what they are told.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::allow_attributes,
    reason = "each suite uses its own part of this"
)]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Running, Site, free_port};
use gatepost::lab::dns_server::DnsServer;

/// Longer than any deadline of the gateway in these tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Deadlines that a test can wait for.
pub const SHORT_LIMITS: &str = r#"
[tunnel.limits]
head_timeout = "2 s"
connect_timeout = "3 s"
hello_timeout = "2 s"
drain_timeout = "2 s"
"#;

/// A running gateway with tunnels.
pub struct Gate {
    pub site: Site,
    pub running: Running,
    pub dns: DnsServer,
    pub port: u16,
}

impl Gate {
    /// A gateway whose tunnel section is this TOML, with `{listen}` and `{dns}` filled in, in which every client of
    /// loopback may use every rule.
    pub async fn start(tunnel: &str) -> Self {
        Self::start_on(free_port(), DnsServer::start().await, tunnel).await
    }

    pub async fn start_on(port: u16, dns: DnsServer, tunnel: &str) -> Self {
        let site = Site::new("", &section(port, &dns, tunnel));
        let running = site.start().await;
        Self { site, running, dns, port }
    }

    /// A gateway whose one rule `a` allows `a.test` on the port of this canary, with these `[tunnel.limits]`.
    pub async fn to(canary: &Canary, limits: &str) -> Self {
        let gate = Self::start(&only_a_test(canary, limits)).await;
        gate.dns.addresses("a.test", 600, &["127.0.0.1"]);
        gate
    }

    /// A tunnel to the canary through which bytes have gone there and back.
    pub async fn proven(&self, canary: &Canary) -> TcpStream {
        let (answer, mut stream) = self.tunnel_to(&format!("a.test:{}", canary.port)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let hello = client_hello("a.test");
        stream.write_all(&hello).await.expect("sent");
        let mut echo = vec![0; hello.len()];
        timeout(PATIENCE, stream.read_exact(&mut echo)).await.expect("in time").expect("the tunnel stands");
        stream
    }

    /// Another tunnel section for the running gateway. Returns when it is in force.
    pub async fn reconfigure(&self, tunnel: &str) {
        let text = self.site.config().to_owned();
        let start = text.find("[tunnel]").expect("the section is there");
        let end = text.find("\n[admin]").expect("the section after it");
        let before = self.site.metric("gatepost_config_reloads_total{result=\"applied\"}").await;
        let text = format!("{}{}{}", &text[..start], section(self.port, &self.dns, tunnel), &text[end..]);
        self.site.configure(&text);
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.site.metric("gatepost_config_reloads_total{result=\"applied\"}").await <= before {
            assert!(tokio::time::Instant::now() < until, "the reload does not come:\n{}", self.site.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Says this on a new connection, reads to the end, and returns what came.
    pub async fn ask(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // A gateway that has hung up meanwhile is no failure here.
        stream.write_all(bytes).await.ok();
        read_to_end(&mut stream).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.expect("the gateway listens")
    }

    /// Asks for a tunnel and reads the head of the answer.
    pub async fn tunnel_to(&self, target: &str) -> (String, TcpStream) {
        let mut stream = self.connect().await;
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the gateway listens");
        (read_head(&mut stream).await, stream)
    }

    /// The address as curl and others want a proxy.
    pub fn proxy(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lines of the access log that are there.
    pub fn access_log(&self) -> Vec<serde_json::Value> {
        let lines = std::fs::read_to_string(self.site.dir.join("access.log")).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Waits for a line of the access log about this destination.
    pub async fn logged(&self, destination: &str) -> serde_json::Value {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let lines = self.access_log();
            if let Some(line) = lines.iter().rev().find(|line| line["destination"] == destination) {
                return line.clone();
            }
            assert!(tokio::time::Instant::now() < until, "nothing about {destination} in {lines:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The section of [`Gate::to`].
pub fn only_a_test(canary: &Canary, limits: &str) -> String {
    format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "a"
hosts = ["a.test"]
ports = [{}]
addresses = ["127.0.0.1/32"]
{limits}"#,
        canary.port
    )
}

pub fn section(port: u16, dns: &DnsServer, tunnel: &str) -> String {
    let (head, tables) = tunnel.split_at(tunnel.find('[').unwrap_or(tunnel.len()));
    format!(
        "[tunnel]\n{head}\n[tunnel.access_log]\nfile = \"access.log\"\n[tunnel.dns]\nservers = [\"{}\"]\ntimeout = \"1 s\"\n{}",
        dns.address,
        tables.replace("{listen}", &format!("127.0.0.1:{port}"))
    )
}

/// The head of an answer, its empty line included.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Everything until the other side closes or cuts.
pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("the connection ends in time").ok();
    String::from_utf8_lossy(&all).into_owned()
}

/// A destination that notes how many connections and bytes reached it, and answers each byte it gets with itself.
pub struct Canary {
    pub port: u16,
    reached: std::sync::Arc<parking_lot::Mutex<Vec<u8>>>,
    connections: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Canary {
    pub async fn start() -> Self {
        Self::on("127.0.0.1:0").await
    }

    pub async fn on(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let canary = Self {
            port: listener.local_addr().expect("it is bound").port(),
            reached: std::sync::Arc::default(),
            connections: std::sync::Arc::default(),
        };
        let (reached, connections) = (canary.reached.clone(), canary.connections.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let reached = reached.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 16 << 10];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        reached.lock().extend(&buffer[..read]);
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        canary
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.reached.lock().clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// A ClientHello for this name, as rustls writes it.
pub fn client_hello(name: &str) -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("memory takes it");
    hello
}
