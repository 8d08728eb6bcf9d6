use super::*;
use gatepost_lab::dns_server::{A, AAAA, Answer, DnsServer};

fn resolver(server: &DnsServer) -> Resolver {
    let config = Config { servers: vec![server.address], timeout: Span::millis(1_000), cache_max: Span::secs(300) };
    Resolver::with_hosts(&config, Hosts::default()).unwrap()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn both_families_are_asked_once_and_the_answer_is_remembered_for_its_life() {
    let server = DnsServer::start().await;
    server.addresses("both.test", 60, &["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    server.addresses("now.test", 0, &["192.0.2.3"]);
    let resolver = resolver(&server);
    for _ in 0..3 {
        let found = resolver.lookup("both.test").await.unwrap();
        assert_eq!(*found, addresses(&["2001:db8::1", "192.0.2.1", "192.0.2.2"]));
    }
    assert_eq!((server.asked("both.test", A), server.asked("both.test", AAAA)), (1, 1));
    for asked in 1..4 {
        assert_eq!(*resolver.lookup("now.test").await.unwrap(), addresses(&["192.0.2.3"]));
        assert_eq!((server.asked("now.test", A), server.asked("now.test", AAAA)), (asked, asked));
    }
}

#[tokio::test]
async fn a_name_that_is_absent_is_remembered_briefly_and_a_failure_is_not() {
    let server = DnsServer::start().await;
    let resolver = resolver(&server);
    for _ in 0..3 {
        assert_eq!(resolver.lookup("absent.test").await, Err(LookupError::NotFound));
    }
    assert_eq!(server.asked("absent.test", A), 1);
    server.script("moody.test", [Answer::Code(2), Answer::Code(2), Answer::Addresses(addresses(&["192.0.2.9"]), 9)]);
    assert!(matches!(resolver.lookup("moody.test").await, Err(LookupError::Failed(_))));
    assert_eq!(*resolver.lookup("moody.test").await.unwrap(), addresses(&["192.0.2.9"]));
}

#[tokio::test]
async fn silence_ends_in_time_and_half_an_answer_is_enough() {
    let server = DnsServer::start().await;
    server.script("silent.test", [Answer::Silence]);
    server.script("half.test", [Answer::Half(addresses(&["192.0.2.4"]), 60)]);
    let resolver = resolver(&server);
    let began = Instant::now();
    assert_eq!(resolver.lookup("silent.test").await, Err(LookupError::Timeout));
    assert!(began.elapsed() < Duration::from_millis(1_500));
    let began = Instant::now();
    assert_eq!(*resolver.lookup("half.test").await.unwrap(), addresses(&["192.0.2.4"]));
    assert!(began.elapsed() < Duration::from_millis(700));
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_answer() {
    let server = DnsServer::start().await;
    server.script("slow.test", [Answer::Late(Duration::from_millis(100), addresses(&["192.0.2.5"]), 60)]);
    let resolver = resolver(&server);
    let answers = futures_util::future::join_all((0..50).map(|_| resolver.lookup("slow.test"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(server.asked("slow.test", A), 1);
}

#[tokio::test]
async fn the_hosts_file_decides_alone_about_its_names() {
    let server = DnsServer::start().await;
    server.addresses("pinned.test", 60, &["192.0.2.6", "2001:db8::6"]);
    let mut hosts = Hosts::default();
    hosts.read_hosts_conf(&b"192.0.2.77 pinned.test\n"[..]).unwrap();
    let config = Config { servers: vec![server.address], ..Config::default() };
    let resolver = Resolver::with_hosts(&config, hosts).unwrap();
    assert_eq!(*resolver.lookup("pinned.test").await.unwrap(), addresses(&["192.0.2.77"]));
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn without_servers_only_the_hosts_file_counts() {
    let resolver = Resolver::without_servers(&Config::default()).unwrap();
    assert!(matches!(resolver.lookup("any.test").await, Err(LookupError::Failed(_))));
}

#[tokio::test]
async fn names_without_end_do_not_fill_the_memory() {
    let server = DnsServer::start().await;
    let resolver = resolver(&server);
    for n in 0..NAMES_MAX + 10 {
        resolver.remember(&format!("{n}.test"), None, ABSENT_MAX);
    }
    assert!(resolver.remembered.lock().len() <= NAMES_MAX);
}
