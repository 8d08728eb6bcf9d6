//! An upgrade on one host, where the service manager holds the listening sockets: whoever connects while there is no gateway
//! waits for the next one, and no upload fails.

use std::net::TcpListener;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::lab::collector::{Collector, Memory};
use gatepost::net::upload_client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fleet::{Agent, Fleet};
use crate::restart_fails_no_upload::site;
use crate::support::{PATIENCE, Running, Site, free_port};

/// A gateway whose sockets are held by this process, as by a service manager.
struct Host {
    site: Site,
    uploads: TcpListener,
    tunnels: TcpListener,
}

impl Host {
    fn new(collector: &Collector, grace: &str) -> Self {
        let tunnels = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = tunnels.local_addr().unwrap();
        let site = site(collector, "auth = { networks = [\"127.0.1.0/24\"] }", grace);
        let with_tunnels = format!(
            "{}\n[tunnel]\n[[tunnel.listeners]]\nlisten = \"{at}\"\n[[tunnel.allow]]\nname = \"a\"\nhosts = [\"a.test\"]\n",
            std::fs::read_to_string(site.config_path()).unwrap()
        );
        site.configure(&with_tunnels);
        let uploads = TcpListener::bind(("127.0.0.1", site.uploads)).unwrap();
        Self { site, uploads, tunnels }
    }

    fn launch(&self) -> Running {
        self.site.launch_handed([&self.uploads, &self.tunnels], "uploads:tunnels")
    }

    async fn start(&self) -> Running {
        let running = self.launch();
        self.site.until_ready().await;
        running
    }
}

/// Asks for a tunnel to a name that is not on the list; the beginning of the answer.
async fn refused_tunnel(stream: &mut TcpStream) -> String {
    stream.write_all(b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_on_one_host_fails_no_upload() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let host = Host::new(&collector, "2 s");
    let mut running = host.start().await;
    let fleet = Fleet::start(host.site.uploads);
    for _ in 0..4 {
        let received = async || host.site.metric("gatepost_events_received_total").await;
        let before = received().await;
        host.site.until("uploads come", async || received().await > before + 20.0).await;
        assert!(running.stop().success(), "{}", host.site.log());
        running = host.start().await;
    }
    fleet.assert_none_failed(&[&host.site], &collector).await;
    assert!(running.stop().success());
    host.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_between_two_gateways_is_served_by_the_second() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let host = Host::new(&collector, "0 s");
    assert!(host.start().await.stop().success());
    let mut agent = Agent::new(1, host.site.uploads);
    let (_, body) = agent.next();
    // The kernel takes both, and there is nobody else.
    let mut kept = Some(agent.connect().await.unwrap());
    let mut tunnel = TcpStream::connect(host.tunnels.local_addr().unwrap()).await.unwrap();
    let running = host.start().await;
    agent.upload(&mut kept, &body).await.expect("it waited and is taken");
    assert_eq!(refused_tunnel(&mut tunnel).await, "HTTP/1.1 403", "b.test is not on the list");
    assert!(running.stop().success());
}

#[tokio::test]
async fn who_waits_at_a_socket_is_let_in_when_the_start_is_over_and_told_to_come_back_when_that_takes_long() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let host = Host::new(&collector, "0 s");
    assert!(host.start().await.stop().success());
    // A file of remembered events that takes minutes to read: holes without end, which take no room.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let slow = host.site.state().join(format!("dedup/{}.keys", (now - 7_200) / 1_800 * 1_800));
    std::fs::File::create(&slow).unwrap().set_len(1 << 40).unwrap();

    let running = host.launch();
    let mut agent = Agent::new(1, host.site.uploads);
    let (_, body) = agent.next();
    let mut kept = None;
    let upload = agent.upload(&mut kept, &body);
    let client = Client::new(None).unwrap();
    let ready = format!("http://127.0.0.1:{}/readyz", host.site.admin);
    let is_loading = async {
        let asked = async || client.get(&ready, Duration::from_secs(2)).await.map(|answer| answer.body);
        while !asked().await.is_ok_and(|body| String::from_utf8_lossy(&body).contains("\"loading\"")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::OpenOptions::new().write(true).open(&slow).unwrap().set_len(0).unwrap();
    };
    let (uploaded, loaded) = tokio::join!(upload, timeout(PATIENCE, is_loading));
    loaded.expect("it says that it is loading");
    uploaded.expect("it waited for the end of the start, and was taken");
    host.site.until_ready().await;
    running.kill();

    std::fs::File::create(&slow).unwrap().set_len(1 << 40).unwrap();
    let running = host.launch();
    let (_, body) = agent.next();
    let refused = agent.upload(&mut None, &body).await.expect_err("nobody waits for minutes");
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 2\r\n"), "{refused}");
    running.kill();
}

#[tokio::test]
async fn a_listener_that_goes_and_comes_back_with_reloads_finds_its_socket_again() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let host = Host::new(&collector, "0 s");
    let running = host.start().await;
    let here = std::fs::read_to_string(host.site.config_path()).unwrap();
    let (own, other) = (format!("127.0.0.1:{}", host.site.uploads), free_port());
    host.site.configure(&here.replace(&own, &format!("127.0.0.1:{other}")));
    host.site.until("it listens elsewhere", async || TcpStream::connect(("127.0.0.1", other)).await.is_ok()).await;
    host.site.configure(&here);
    host.site.until("it is back", async || TcpStream::connect(("127.0.0.1", other)).await.is_err()).await;
    let mut agent = Agent::new(1, host.site.uploads);
    let (_, body) = agent.next();
    agent.upload(&mut None, &body).await.unwrap();
    assert!(running.stop().success());
}

#[tokio::test]
async fn a_socket_that_no_listener_uses_is_named() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let host = Host::new(&collector, "0 s");
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stray.local_addr().unwrap();
    let running = host.site.launch_handed([&host.uploads, &stray], "uploads:stray");
    let ended = std::cell::RefCell::new(running);
    // Its tunnels are to listen where this process does, and that was not handed over.
    let wait = async {
        while !ended.borrow_mut().has_ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it says that the port is taken, and ends");
    assert!(host.site.log().contains("cannot listen on"), "{}", host.site.log());

    drop(host.tunnels);
    let running = host.site.launch_handed([&host.uploads, &stray], "uploads:stray");
    host.site.until_ready().await;
    let log = host.site.log();
    let line = log.lines().find(|line| line.contains("no listener has its address")).expect("a warning");
    assert!(line.contains("stray") && line.contains(&address.to_string()), "{line}");
    assert!(running.stop().success());
}
