//! A restart fails no upload: of clients that keep their connections and try nothing twice, while one gateway of two restarts
//! behind a balancer, again and again.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use http::{Request, Version};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::balancer::{Balancer, Ports};
use crate::load::array;
use crate::relay::{PROBE, Relay};
use crate::support::{PATH, PATIENCE, Running, Site, free_port, workspace};

/// A gateway that takes uploads for so long after readiness has fallen.
fn site(collector: &Collector, listener: &str, grace: &str) -> Site {
    let outputs = format!("tls.mode = \"off\"\n{listener}\n{}", workspace("workspace", &[collector]));
    let site = Site::new(&outputs, "");
    site.configure(&site.config().replace("drain_grace = \"0 s\"", &format!("drain_grace = \"{grace}\"")));
    site
}

/// A host that uploads now and then, over a connection that it keeps as long as it is let.
struct Agent {
    address: Ipv4Addr,
    port: u16,
    host: Host,
    /// How long it waits between two uploads.
    pause: Duration,
    /// How long it takes to send one.
    sending: Duration,
    owed: HashSet<Identity>,
    failed: Vec<String>,
}

impl Agent {
    fn new(number: u8, port: u16) -> Self {
        let slow = number.is_multiple_of(4);
        Self {
            // Balancers go by address.
            address: Ipv4Addr::new(127, 0, 1, number),
            port,
            host: Host::new(format!("RESTART-{number}.plant.example"), u64::from(number)),
            pause: Duration::from_millis(if slow { 700 } else { 20 * u64::from(number) }),
            sending: Duration::from_millis(if slow { 400 } else { 0 }),
            owed: HashSet::new(),
            failed: Vec::new(),
        }
    }

    fn next(&mut self) -> (Vec<SimulatedEvent>, Vec<u8>) {
        let events: Vec<_> = self.host.by_ref().take(3).collect();
        let body = array(&events, Shape::Row);
        (events, body)
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((self.address, 0).into()).expect("an address of this machine");
        let connecting = socket.connect((Ipv4Addr::LOCALHOST, self.port).into());
        let stream =
            timeout(PATIENCE, connecting).await.expect("in time").map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).expect("a socket");
        Ok(stream)
    }

    fn note(&mut self, events: &[SimulatedEvent], result: Result<(), String>) {
        match result {
            Ok(()) => self.owed.extend(events.iter().map(SimulatedEvent::identity)),
            Err(error) => self.failed.push(error),
        }
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        let mut kept = None;
        while !stop.load(Ordering::Relaxed) {
            let (events, body) = self.next();
            let result = self.upload(&mut kept, &body).await;
            if result.is_err() {
                kept = None;
            }
            self.note(&events, result);
            tokio::time::sleep(self.pause).await;
        }
        self
    }

    /// One upload over HTTP/1.1, on the connection that was kept if the other side has not closed it.
    async fn upload(&self, kept: &mut Option<TcpStream>, body: &[u8]) -> Result<(), String> {
        if kept.as_ref().is_some_and(|stream| stream.try_read(&mut [0; 1]).is_ok()) {
            *kept = None;
        }
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let broken = |error: std::io::Error| format!("{}: {error}", self.address);
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: gate\r\nContent-Length: {}\r\n\r\n", body.len());
        let (first, rest) = body.split_at(body.len() / 2);
        stream.write_all(&[head.as_bytes(), first].concat()).await.map_err(broken)?;
        tokio::time::sleep(self.sending).await;
        stream.write_all(rest).await.map_err(broken)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.expect("in time").map_err(broken)?);
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if !answer.starts_with("HTTP/1.1 204 ") {
            return Err(answer);
        }
        *kept = Some(stream).filter(|_| !answer.contains("connection: close\r\n"));
        Ok(())
    }

    async fn run_http2(mut self, stop: Arc<AtomicBool>) -> Self {
        let mut kept: Option<http2::SendRequest<Full<Bytes>>> = None;
        while !stop.load(Ordering::Relaxed) {
            let (events, body) = self.next();
            let result = loop {
                let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
                    Some(sender) => sender,
                    None => match self.connect().await {
                        Ok(stream) => handshake(stream).await,
                        Err(error) => break Err(error),
                    },
                };
                let request = Request::post(format!("http://gate{PATH}")).version(Version::HTTP_2);
                let request = request.body(Full::new(body.clone().into())).expect("a request");
                match sender.send_request(request).await {
                    Ok(answer) if answer.status() == 204 => {
                        kept = Some(sender);
                        break Ok(());
                    }
                    Ok(answer) => break Err(format!("HTTP/2: {}", answer.status())),
                    // It was never sent: the connection had ended before.
                    Err(error) if error.is_canceled() => {}
                    Err(error) => break Err(format!("HTTP/2: {error:?}")),
                }
            };
            self.note(&events, result);
            tokio::time::sleep(self.pause).await;
        }
        self
    }
}

async fn handshake(stream: TcpStream) -> http2::SendRequest<Full<Bytes>> {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    sender
}

/// Agents at work.
struct Fleet {
    stop: Arc<AtomicBool>,
    agents: Vec<JoinHandle<Agent>>,
}

impl Fleet {
    fn start(port: u16) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let run = |number: u8| {
            let (agent, stop) = (Agent::new(number, port), Arc::clone(&stop));
            if number.is_multiple_of(5) { tokio::spawn(agent.run_http2(stop)) } else { tokio::spawn(agent.run(stop)) }
        };
        let agents = (1..=12).map(run).collect();
        Self { stop, agents }
    }

    /// Ends it. No upload failed, and the collector has what was acknowledged.
    async fn assert_none_failed(self, sites: [&Site; 2], collector: &Collector) {
        self.stop.store(true, Ordering::Relaxed);
        let mut owed = HashSet::new();
        for agent in self.agents {
            let agent = agent.await.unwrap();
            assert!(agent.failed.is_empty(), "{} of {} failed: {:#?}", agent.failed.len(), agent.address, agent.failed);
            owed.extend(agent.owed);
        }
        for site in sites {
            site.until_drained().await;
        }
        let held = collector.held();
        let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
        assert_eq!(lost, 0, "of {} acknowledged events", owed.len());
        println!("{} events acknowledged, none failed", owed.len());
    }
}

/// Waits until uploads come to this gateway.
async fn until_busy(site: &Site) {
    let received = async || site.metric("gatepost_events_received_total").await;
    let before = received().await;
    site.until("uploads come to the gateway that is about to restart", async || received().await > before + 20.0).await;
}

async fn is_not_ready(site: &Site) -> bool {
    site.admin_get("/readyz").await.status == 503
}

/// Restarts one gateway under load, then the other, when the one before is ready again and `is_back`; the first once more, with
/// a drain before.
async fn restart_each(sites: [&Site; 2], running: &mut [Option<Running>; 2], is_back: impl AsyncFn(usize)) {
    for (number, drain_first) in [(0, false), (1, false), (0, true), (1, false)] {
        let site = sites[number];
        until_busy(site).await;
        if drain_first {
            let client = gatepost::net::upload_client::Client::new(None).unwrap();
            let url = format!("http://127.0.0.1:{}/drain", site.admin);
            let answer = client.post(&url, &[], Bytes::new(), PATIENCE).await.expect("the admin plane answers");
            let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
            let grace = Duration::from_secs_f64(said["taken_for_seconds"].as_f64().expect("how long"));
            assert!(is_not_ready(site).await && grace > PROBE);
            tokio::time::sleep(grace).await;
            site.until("the door closes after the grace", async || {
                TcpStream::connect(("127.0.0.1", site.uploads)).await.is_err()
            })
            .await;
        }
        assert!(running[number].take().expect("it runs").stop().success(), "{}", site.log());
        running[number] = Some(site.start().await);
        is_back(number).await;
    }
}

async fn start(sites: [&Site; 2]) -> [Option<Running>; 2] {
    [Some(sites[0].start().await), Some(sites[1].start().await)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_a_restart_fails_no_upload() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let listener = "proxy_protocol_from = [\"127.0.0.1/32\"]\nauth = { networks = [\"127.0.1.0/24\"] }";
    // As long as by default, since the shipped configuration has to go with it.
    let (one, two) = (site(&collector, listener, "10 s"), site(&collector, listener, "10 s"));
    let sites = [&one, &two];
    let mut running = start(sites).await;
    let folder = tempfile::tempdir().unwrap();
    let mut balancer = Balancer::start(folder.path(), sites.map(|site| Ports::of(site, free_port())));
    balancer.until_it_listens(folder.path()).await;
    let fleet = Fleet::start(balancer.port);
    restart_each(sites, &mut running, async |_| ()).await;
    balancer.assert_runs(folder.path());
    fleet.assert_none_failed(sites, &collector).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_bare_relay_a_restart_fails_no_upload() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let (one, two) = (site(&collector, "", "3 s"), site(&collector, "", "3 s"));
    let sites = [&one, &two];
    let mut running = start(sites).await;
    let relay = Relay::start(sites).await;
    let fleet = Fleet::start(relay.port);
    restart_each(sites, &mut running, async |number| relay.until_it_sees(number).await).await;
    fleet.assert_none_failed(sites, &collector).await;
}

#[tokio::test]
async fn a_second_signal_and_a_person_at_the_terminal_need_not_wait_for_the_grace() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector, "", "10 min");
    let running = site.start().await;
    running.signal("TERM");
    site.until("readiness falls", async || is_not_ready(&site).await).await;
    let mut agent = Agent::new(1, site.uploads);
    let (events, body) = agent.next();
    let result = agent.upload(&mut None, &body).await;
    agent.note(&events, result);
    assert!(agent.failed.is_empty(), "uploads are taken during the grace: {:?}", agent.failed);
    assert!(running.stop().success(), "the second signal ends the grace, in good order\n{}", site.log());
    site.assert_audit_balances();

    let mut running = site.start().await;
    running.signal("INT");
    site.until("Ctrl-C waits for nobody", async || running.has_ended()).await;
}

#[tokio::test]
async fn a_listener_that_moves_with_a_reload_answers_on_the_connections_that_it_has() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = site(&collector, "", "10 min");
    let running = site.start().await;
    let mut agent = Agent::new(1, site.uploads);
    let mut kept = None;
    let (_, body) = agent.next();
    agent.upload(&mut kept, &body).await.unwrap();

    let config = std::fs::read_to_string(site.config_path()).unwrap();
    let (old, new) = (format!("127.0.0.1:{}", site.uploads), format!("127.0.0.1:{}", free_port()));
    site.configure(&config.replace(&old, &new));
    site.until("the old address is free", async || TcpStream::connect(&old).await.is_err()).await;
    let (_, body) = agent.next();
    agent.upload(&mut kept, &body).await.unwrap();
    assert!(kept.is_none(), "and its client is told to connect anew");
    running.kill();
}
