//! Which events were seen, at the servers that replicate the logs: an event that reaches several gateways is forwarded by one of them,
//! without Redis or Valkey.

use gatepost::lab::collector::Collector;

use super::servers::Servers;
use super::shared_state::{addresses, ask};
use crate::cluster::once::each_event_is_forwarded_once;
use crate::cluster::scene::{Gateway, SECRET, body, collector, events, identities, until};
use crate::support::{Site, workspace};
use crate::tools::both;

fn site(name: &str, collector: &Collector, servers: &Servers, secret: &str) -> Site {
    let rest = format!(
        "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"64 MiB\"\n[dedup]\nkind = \"jetstream\"\nsecret = \"{secret}\"\n\
         [replication]\nkind = \"jetstream\"\nname = \"{name}\"\nservers = {:?}\nmax_size = \"256 MiB\"\n\
         takeover_after = \"10 s\"\nwait_max = \"20 s\"\ntimeout = \"3 s\"\n",
        addresses(servers)
    );
    Site::new(&workspace("workspace", &[collector]), &rest)
}

async fn gateway(name: &str, collector: &Collector, servers: &Servers) -> Gateway {
    let mut gateway = Gateway { site: site(name, collector, servers, SECRET), running: None };
    gateway.start().await;
    gateway.until_connected().await;
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_gateways_over_servers_each_event_is_forwarded_by_one_though_every_upload_goes_to_two() {
    let servers = Servers::start().await;
    let collector = collector().await;
    let mut gateways = Vec::new();
    for name in ["one", "two", "three"] {
        gateways.push(gateway(name, &collector, &servers).await);
    }
    each_event_is_forwarded_once(&collector, gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_comes_later_knows_what_was_seen_and_servers_that_forgot_are_told_again() {
    let mut servers = Servers::start().await;
    let collector = collector().await;
    let mut one = gateway("one", &collector, &servers).await;
    let all = events(1, 300);
    let client = one.site.client();
    assert!(one.upload(&client, &all).await, "{}", one.site.log());
    one.until_settled().await;

    // One that is new, and one that was killed, both after a server that may have led was killed.
    servers.kill(0);
    let two = gateway("two", &collector, &servers).await;
    one.kill();
    one.start().await;
    servers.begin(0);
    for gateway in [&one, &two] {
        gateway.until_connected().await;
        let client = gateway.site.client();
        until(&gateway.site, "it is taken", async || gateway.upload(&client, &all).await).await;
        gateway.until_settled().await;
    }
    assert_eq!(collector.held().copies(), 0);
    assert_eq!(two.site.metric("gatepost_events_duplicate_total").await, 300.0, "known without storing them");

    // What was removed is told again, also what has left the spool, and nothing goes twice.
    for what in ["STREAM.DELETE.gatepost_seen", "STREAM.PURGE.gatepost_seen"] {
        let changes = async |gateway: &Gateway| gateway.site.metric("gatepost_dedup_engine_changes_total").await;
        let before = changes(&one).await;
        ask(&servers, what).await;
        until(&one.site, "it is noticed", async || changes(&one).await > before).await;
        until(&one.site, "it is told again", async || one.site.log().matches("knows again").count() > before as usize)
            .await;
        let late = gateway(&format!("after {what}").replace('.', "-"), &collector, &servers).await;
        let client = late.site.client();
        until(&late.site, "it is taken", async || late.upload(&client, &all).await).await;
        late.until_settled().await;
        assert_eq!(late.site.metric("gatepost_events_duplicate_total").await, 300.0, "{what}\n{}", late.site.log());
    }
    assert_eq!(collector.held().copies(), 0);
    assert_eq!(collector.held().events.len(), identities(&all).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_another_secret_takes_nothing_and_says_why() {
    let servers = Servers::start().await;
    let collector = collector().await;
    let one = gateway("one", &collector, &servers).await;
    let other = site("two", &collector, &servers, "another secret that is long enough to be one");
    let running = other.launch();
    let because = async || other.status().await["sharing"]["engine"]["because"].as_str().map(str::to_owned);
    until(&other, "it is refused", async || {
        tokio::net::TcpStream::connect(("127.0.0.1", other.admin)).await.is_ok()
            && because().await.is_some_and(|because| because.contains("dedup.secret"))
    })
    .await;
    let client = other.client();
    let answer = other.upload(&client, body(&events(1, 1))).await.unwrap();
    assert_eq!(answer.status, 503, "{}", other.log());
    drop(running);
    assert!(one.upload(&one.site.client(), &events(1, 1)).await);
}

#[test]
fn it_is_refused_where_nothing_is_replicated() {
    let dedup = format!("[dedup]\nkind = \"jetstream\"\nsecret = \"{SECRET}\"\n");
    let site = Site::new("", &dedup);
    let checked = site.gatepost(&["check"]);
    assert!(!checked.status.success());
    assert!(both(&checked).contains("dedup.kind = \"jetstream\": needs servers of replication"), "{}", both(&checked));
}
