//! The engine as sites run it: over TLS with a user of its own, behind Sentinel, with a replica that lacks the last writes, as a
//! Redis Cluster.

use std::process::Command;

use gatepost::lab::collector::Collector;
use gatepost::lab::events::SimulatedEvent;

use super::engine::Engine;
use super::relay::{Fault, Relay};
use super::scene::{Gateway, SECRET, collector, events, gateway_at, identities, site_at, until};
use crate::authority::Authority;
use crate::support::free_port;
use crate::tools::{run_well, tool};

async fn two(collector: &Collector, redis: &str) -> [Gateway; 2] {
    [gateway_at("one", collector, redis).await, gateway_at("two", collector, redis).await]
}

/// Both gateways take the same events, which arrive once.
async fn once(gateways: &[Gateway; 2], collector: &Collector, part: &[SimulatedEvent]) {
    let before = collector.held().records();
    for gateway in gateways {
        until(&gateway.site, "it is taken", async || gateway.upload(&gateway.site.client(), part).await).await;
        gateway.until_settled().await;
    }
    assert_eq!(collector.held().records(), before + part.len() as u64);
    let held = collector.held();
    assert!(identities(part).iter().all(|identity| held.events.contains_key(identity)), "these are the ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_is_reached_over_tls_with_an_authority_and_a_user_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    Authority::in_folder(folder.path()).issue("localhost");
    let port = free_port();
    let options = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("localhost.pem"),
        "--tls-key-file",
        &path("localhost.key"),
        "--tls-ca-cert-file",
        &path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]
    .map(str::to_owned);
    let engine = Engine::start(&options.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // As docs/several-gateways.md has it.
    let rights = "ACL SETUSER gatepost on >a-long-password ~gatepost:* +@hash +@string +@scripting +@connection +info +time +expire +pexpire";
    assert_eq!(engine.cli(&rights.split(' ').collect::<Vec<_>>()).trim(), "OK");
    std::fs::write(path("password"), "a-long-password\n").unwrap();
    let redis = |host: &str| {
        format!(
            "addresses = [\"{host}:{port}\"]\ntls = true\nca_file = \"{}\"\nuser = \"gatepost\"\npassword = \"${{file:{}}}\"\nwhen_unavailable = \"strict\"",
            path("ca.pem"),
            path("password")
        )
    };
    let collector = collector().await;
    let gateways = two(&collector, &redis("localhost")).await;
    once(&gateways, &collector, &events(1, 40)).await;
    assert!(gateways[0].site.status().await["sharing"]["gateways"][0]["name"] == "two");
    // Its certificate does not say this name.
    let other = site_at("other", &collector, SECRET, &redis("127.0.0.1"));
    let _running = other.launch();
    until(&other, "it is refused", async || other.log().contains("shared deduplication engine is unreachable")).await;
    assert!(!other.log().contains("is reachable again"));
}

/// A Sentinel that watches over this primary.
fn sentinel(primary: u16) -> (Engine, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sentinel.conf");
    let text = format!(
        "sentinel monitor events 127.0.0.1 {primary} 1\nsentinel down-after-milliseconds events 300\n\
         sentinel failover-timeout events 2000\n"
    );
    std::fs::write(&config, text).unwrap();
    (Engine::sentinel(&config), folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinel_is_asked_for_the_primary_and_followed_over_a_failover() {
    let mut primary = Engine::start(&["--repl-diskless-sync-delay", "0"]).await;
    let replica = Engine::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]).await;
    replica.until_info("master_link_status:up").await;
    let (watch, _folder) = sentinel(primary.port);
    watch.until_listening().await;
    until_sentinel_knows(&watch, &primary, &replica).await;
    let redis = format!(
        "sentinels = [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]\nsentinel_master = \"events\"\nwhen_unavailable = \"strict\"",
        free_port(),
        watch.port
    );
    let collector = collector().await;
    let gateways = two(&collector, &redis).await;
    once(&gateways, &collector, &events(1, 40)).await;
    primary.kill();
    for gateway in &gateways {
        gateway.until_connected_to(replica.port).await;
    }
    once(&gateways, &collector, &events(2, 40)).await;
    // What the one before knew is known here too.
    for gateway in &gateways {
        assert!(gateway.upload(&gateway.site.client(), &events(1, 40)).await);
        gateway.until_settled().await;
    }
    assert_eq!((collector.held().records(), collector.held().copies()), (80, 0));
}

async fn until_sentinel_knows(watch: &Engine, primary: &Engine, replica: &Engine) {
    let until = tokio::time::Instant::now() + crate::support::PATIENCE;
    while !watch.cli(&["SENTINEL", "REPLICAS", "events"]).contains(&replica.port.to_string()) {
        assert!(tokio::time::Instant::now() < until, "{} never sees {}", primary.port, replica.port);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lacks_the_last_writes_is_told_what_it_lacks() {
    let mut primary = Engine::start(&["--repl-diskless-sync-delay", "0"]).await;
    let relay = Relay::start(primary.port).await;
    let replica = Engine::start(&["--replicaof", "127.0.0.1", &relay.port.to_string()]).await;
    replica.until_info("master_link_status:up").await;
    let collector = collector().await;
    let redis = format!(
        "addresses = [\"127.0.0.1:{}\", \"127.0.0.1:{}\"]\nwhen_unavailable = \"strict\"",
        primary.port, replica.port
    );
    let gateways = two(&collector, &redis).await;
    once(&gateways, &collector, &events(1, 40)).await;
    relay.set(Fault::Cut);
    primary.cli(&["SET", "a-write", "that cuts the relay"]);
    replica.until_info("master_link_status:down").await;
    let lost = events(2, 40);
    assert!(gateways[0].upload(&gateways[0].site.client(), &lost).await);
    gateways[0].until_settled().await;
    primary.kill();
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    for gateway in &gateways {
        gateway.until_connected_to(replica.port).await;
    }
    let told = async || gateways[0].site.log().contains("knows again what this gateway remembers");
    until(&gateways[0].site, "it is told", told).await;
    assert!(gateways[1].upload(&gateways[1].site.client(), &lost).await);
    gateways[1].until_settled().await;
    assert_eq!((collector.held().records(), collector.held().copies()), (80, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_cluster_keeps_an_installation_on_one_of_its_servers_and_says_which() {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bus = free_port().to_string();
        nodes.push(Engine::start(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await);
    }
    let places: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    run_well(Command::new(tool("redis-cli", "redis-tools")).args(["--cluster", "create"]).args(&places).args([
        "--cluster-replicas",
        "0",
        "--cluster-yes",
    ]));
    for node in &nodes {
        node.until_cluster("cluster_state:ok").await;
    }
    let collector = collector().await;
    let seeds = |at: usize, prefix: &str| {
        format!("addresses = [\"{}\"]\nprefix = \"{prefix}\"\nwhen_unavailable = \"strict\"", places[at])
    };
    let gateways = [
        gateway_at("one", &collector, &seeds(0, "{gatepost}")).await,
        gateway_at("two", &collector, &seeds(2, "{gatepost}")).await,
    ];
    once(&gateways, &collector, &events(1, 40)).await;
    let mut at = Vec::new();
    for gateway in &gateways {
        at.push(gateway.site.status().await["sharing"]["engine"]["address"].clone());
    }
    assert_eq!(at[0], at[1], "both are at the server that has the keys");
    let other = site_at("other", &collector, SECRET, &seeds(1, "gatepost"));
    let _running = other.launch();
    until(&other, "it is told", async || other.log().contains("is a Redis Cluster: set dedup.redis.prefix")).await;
}
