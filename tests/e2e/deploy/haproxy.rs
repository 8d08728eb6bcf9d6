//! Two gateways behind a real HAProxy with the configuration of deploy/: a gateway that drains or dies loses its traffic
//! to the other, and no event that was acknowledged is lost on the way. Uploads and tunnels keep their clients' addresses, and
//! tunnels that stand live through the drain.

use parking_lot::Mutex;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::balancer::{Balancer, Ports, haproxy};
use crate::support::{PATH, PATIENCE, Running, Site, free_port, workspace};
use crate::tools::{both, curl, run, tool};

#[test]
fn haproxy_understands_its_configuration() {
    const GATEWAY: Ports = Ports { uploads: 1, tunnels: 2, admin: 3 };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let assert_understood = |mut haproxy: Command| {
        let checked = run(haproxy.arg("-c"), b"");
        assert!(checked.status.success(), "{}", both(&checked));
        assert!(!both(&checked).contains("[WARNING]"), "{}", both(&checked));
    };
    assert_understood(haproxy(folder.path(), [18443, 18080], [GATEWAY; 2]));
    assert_understood(haproxy(folder.path(), [18443, 18080], [GATEWAY; 3]));
}

/// What agents were promised.
#[derive(Default)]
struct Oracle {
    owed: Mutex<HashSet<Identity>>,
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

/// Keeps each batch until it is acknowledged, through whatever the balancer does meanwhile.
async fn agent(number: u64, client: Client, url: String, oracle: Arc<Oracle>) {
    let mut host = Host::new(format!("LB-{number}.plant.example"), number).with_system_share(0.0);
    while !oracle.stop.load(Ordering::Relaxed) {
        let batch: Vec<SimulatedEvent> = (0..20).map(|_| host.next_event()).collect();
        let rows: Vec<Vec<u8>> = batch.iter().map(|event| event.render(Shape::Row)).collect();
        let body = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
        loop {
            let headers = [("content-type", "application/json")];
            let answer = client.post(&url, &headers, body.clone().into(), Duration::from_secs(5)).await;
            if answer.is_ok_and(|answer| answer.status == 204) {
                break;
            }
            // An agent's pause before it tries again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        oracle.owed.lock().extend(batch.iter().map(SimulatedEvent::identity));
        oracle.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keys of a listener for uploads that come through HAProxy, from hosts on this machine.
const BEHIND_HAPROXY: &str =
    "proxy_protocol_from = [\"127.0.0.1/32\"]\nauth = { networks = [\"127.0.0.1/32\", \"127.0.0.9/32\"] }\n";

async fn received(site: &Site) -> f64 {
    site.metric("gatepost_events_received_total").await
}

/// Waits until this site has taken more uploads than it had.
async fn until_it_takes_more(site: &Site, what: &str) {
    let before = received(site).await;
    let until = Instant::now() + PATIENCE;
    while received(site).await < before + 200.0 {
        assert!(Instant::now() < until, "{what}: no traffic comes\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until uploads flow, and tells which of the two takes them: an agent stays with one gateway.
async fn busy(sites: [&Site; 2], balancer: &mut Balancer, folder: &Path) -> usize {
    let before = [received(sites[0]).await, received(sites[1]).await];
    let until = Instant::now() + PATIENCE;
    loop {
        for (number, site) in sites.iter().enumerate() {
            if received(site).await > before[number] + 200.0 {
                return number;
            }
        }
        balancer.assert_runs(folder);
        assert!(Instant::now() < until, "no traffic comes through the balancer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_moves_when_a_gateway_drains_or_dies_and_nothing_is_lost() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let outputs = BEHIND_HAPROXY.to_owned() + &workspace("workspace", &[&collector]);
    let (one, two) = (Site::new(&outputs, ""), Site::new(&outputs, ""));
    let sites = [&one, &two];
    let mut running: [Option<Running>; 2] = [Some(one.start().await), Some(two.start().await)];
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut balancer = Balancer::start(folder.path(), sites.map(|site| Ports::of(site, free_port())));

    // TLS goes through: agents see the certificate of the gateway.
    let pem = sites.map(|site| std::fs::read(site.state().join("tls/cert.pem")).expect("it was started"));
    let client = Client::new(Some(&pem.concat())).expect("a client");
    let oracle = Arc::<Oracle>::default();
    let url = format!("https://127.0.0.1:{}{PATH}", balancer.port);
    let agents: Vec<_> =
        (0..3).map(|number| tokio::spawn(agent(number, client.clone(), url.clone(), Arc::clone(&oracle)))).collect();

    let first = busy(sites, &mut balancer, folder.path()).await;
    let second = 1 - first;
    assert_eq!(received(sites[second]).await, 0.0, "agents of one address stay with one gateway");

    let drain = format!("http://127.0.0.1:{}/drain", sites[first].admin);
    assert_eq!(curl(&["-X", "POST", &drain], b"").unwrap().status, 200);
    until_it_takes_more(sites[second], "after the drain of the other").await;
    sites[first].until_drained().await;
    assert!(running[first].take().is_some_and(|running| running.stop().success()), "{}", sites[first].log());

    // Back again; open connections stay where they are. Then the other dies in the middle of the traffic.
    running[first] = Some(sites[first].start().await);
    until_it_takes_more(sites[second], "beside the one that came back").await;
    running[second].take().expect("it runs").kill();
    until_it_takes_more(sites[first], "after the death of the other").await;

    oracle.stop.store(true, Ordering::Relaxed);
    for agent in agents {
        agent.await.unwrap();
    }
    running[second] = Some(sites[second].start().await);
    for (site, running) in sites.iter().zip(running) {
        site.until_drained().await;
        assert!(running.is_some_and(|running| running.stop().success()), "{}", site.log());
        site.assert_audit_balances();
    }
    let (owed, held) = (oracle.owed.lock(), collector.held());
    let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
    assert_eq!(lost, 0, "of {} acknowledged events", owed.len());
    // An upload that was cut off by the death may be with both: their dedup windows are not one yet. No other may.
    let twice = held.events.values().filter(|times| **times > 1).count();
    assert!(twice <= 3 * 20, "{twice} events came twice");
    println!("{} uploads, {} events owed, {twice} twice", oracle.acknowledged.load(Ordering::Relaxed), owed.len());
}

/// Uploads an event through the balancer from this address of the machine; the status of the answer.
fn upload_from(address: &str, balancer: &Balancer) -> String {
    let url = format!("https://127.0.0.1:{}{PATH}", balancer.port);
    let body = Host::new("LB-9.plant.example", 9).next_event().render(Shape::Row);
    let body = format!("[{}]", String::from_utf8_lossy(&body));
    let mut curl = Command::new(tool("curl", "curl"));
    curl.args(["-sk", "--max-time", "20", "--interface", address, "-o", "/dev/null", "-w", "%{http_code}"]);
    String::from_utf8_lossy(&run(curl.args(["--data-binary", &body, &url]), b"").stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_credentials_keeps_no_other_host_out() {
    const IDLE: usize = 300;
    let site = Site::new(BEHIND_HAPROXY, "");
    let running = site.start().await;
    let folder = tempfile::tempdir().expect("a temporary directory");
    // The other gateway is not there, so that all meet at one.
    let nobody = Ports { uploads: free_port(), tunnels: free_port(), admin: free_port() };
    let mut balancer = Balancer::start(folder.path(), [Ports::of(&site, free_port()), nobody]);
    balancer.until_it_listens(folder.path()).await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.66:0".parse().expect("an address")).expect("an address of this machine");
        idle.push(socket.connect(([127, 0, 0, 1], balancer.port).into()).await.expect("HAProxy listens"));
    }
    let shut_out = "gatepost_connections_refused_total{listener=\"uploads\",reason=\"too_many_from_address\"}";
    let until = Instant::now() + PATIENCE;
    while site.metric(shut_out).await < (IDLE - 256) as f64 {
        assert!(Instant::now() < until, "nobody counts the connections of 127.0.0.66\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(upload_from("127.0.0.9", &balancer), "204", "{}", site.log());
    assert_eq!(upload_from("127.0.0.8", &balancer), "403", "networks are those of hosts, not the balancer's");
    drop(idle);
    assert!(running.stop().success());
}

/// A site that takes tunnels from HAProxy on this port, to this destination only.
fn site_with_tunnels(port: u16, destination: u16) -> Site {
    let tunnel = format!(
        r#"
[[tunnel.listeners]]
listen = "127.0.0.1:{port}"
proxy_protocol_from = ["127.0.0.1/32"]
[[tunnel.groups]]
name = "agents"
networks = ["127.0.0.9/32"]
[[tunnel.allow]]
name = "here"
hosts = ["127.0.0.1:{destination}"]
addresses = ["127.0.0.1/32"]
require_tls = false
[tunnel.access_log]
file = "access.log"
"#
    );
    Site::new("", &tunnel)
}

/// A destination that says everything back.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    port
}

/// Asks the balancer for a tunnel, as an agent at this address; tells the first line of the answer.
async fn ask(balancer: u16, agent: &str, destination: u16) -> (String, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{agent}:0").parse().expect("an address")).expect("an address of this machine");
    let mut stream = socket.connect(([127, 0, 0, 1], balancer).into()).await.expect("HAProxy listens");
    let target = format!("127.0.0.1:{destination}");
    stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes()).await.ok();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read_u8()).await.expect("an answer in time") {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    (head.lines().next().unwrap_or_default().to_owned(), stream)
}

async fn says_back(stream: &mut TcpStream) -> bool {
    let mut said = [0; 5];
    stream.write_all(b"hello").await.is_ok()
        && timeout(PATIENCE, stream.read_exact(&mut said)).await.expect("in time").is_ok()
        && said == *b"hello"
}

async fn open_tunnels(site: &Site) -> f64 {
    site.metric("gatepost_tunnels_open").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_keep_their_clients_addresses_and_live_through_a_drain() {
    let (destination, ports) = (echo().await, [free_port(), free_port()]);
    let sites = ports.map(|port| site_with_tunnels(port, destination));
    let mut running = Vec::new();
    for site in &sites {
        running.push(site.start().await);
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut balancer = Balancer::start(folder.path(), [0, 1].map(|n| Ports::of(&sites[n], ports[n])));
    balancer.until_it_listens(folder.path()).await;

    // Who may connect is decided by the agent's address, not by the balancer's.
    let (answer, _) = ask(balancer.tunnels, "127.0.0.1", destination).await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let (answer, mut old) = ask(balancer.tunnels, "127.0.0.9", destination).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && says_back(&mut old).await, "{answer}");
    let agent = old.local_addr().expect("it is connected").to_string();
    let first = usize::from(open_tunnels(&sites[0]).await < 1.0);
    let second = 1 - first;

    // New tunnels go to the other gateway once the balancer has seen the drain; the old one stands.
    let drain = format!("http://127.0.0.1:{}/drain", sites[first].admin);
    assert_eq!(curl(&["-X", "POST", &drain], b"").expect("the admin plane answers").status, 200);
    let mut in_a_row = Vec::new();
    let until = Instant::now() + PATIENCE;
    while in_a_row.len() < 5 {
        let (answer, stream) = ask(balancer.tunnels, "127.0.0.9", destination).await;
        match answer.starts_with("HTTP/1.1 200 ") {
            true => in_a_row.push(stream),
            false => in_a_row.clear(),
        }
        assert!(Instant::now() < until, "new tunnels still go to the gateway that drains: {answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(open_tunnels(&sites[second]).await >= 5.0);
    assert!(says_back(&mut old).await, "the drain cut a tunnel that stood");

    drop((old, in_a_row));
    let log = || std::fs::read_to_string(sites[first].dir.join("access.log")).unwrap_or_default();
    let told = |text: &str| -> bool {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.into_iter().any(|line| line["client"] == agent.as_str() && line["reason"] == "closed")
    };
    let until = Instant::now() + PATIENCE;
    while !told(&log()) {
        assert!(Instant::now() < until, "no line about {agent}:\n{}", log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for running in running {
        assert!(running.stop().success());
    }
}
