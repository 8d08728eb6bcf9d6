//! A host is who its certificate says.

use std::net::SocketAddr;

use gatepost::lab::wef::{Faults, Forwarder, Setting};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::scene::{Scene, events, identities};

/// A host that shows one certificate and calls itself by another name.
fn impostor(scene: &Scene, certificate: &str, name: &str) -> Forwarder {
    let setting = Setting { host: name.to_owned(), manager: scene.manager(), client: scene.client(certificate) };
    Forwarder::new(setting, Faults::default(), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_speaks_for_another_is_refused_and_others_are_not() {
    let scene = Scene::new("identity.policy = \"enforce\"\nwef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let refused = impostor(&scene, "pc1.plant.test", "pc2.plant.test").enumerate().await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");

    // One that says its own name and sends another's events.
    let mut forger = scene.host("pc1.plant.test", Faults::default(), 1);
    events("pc2.plant.test", 2, 5, 0.0).iter().for_each(|event| forger.log(event));
    forger.enumerate().await.unwrap();
    assert!(forger.deliver(10).await.unwrap_err().to_string().contains("403"));

    let mut honest = scene.host("pc3.plant.test", Faults::default(), 1);
    let own = events("pc3.plant.test", 3, 5, 0.0);
    own.iter().for_each(|event| honest.log(event));
    honest.enumerate().await.unwrap();
    assert_eq!(honest.deliver(10).await.unwrap(), 5);
    scene.assert_arrived_once(&identities(&own)).await;
    let shown = scene.shown().await.to_string();
    assert!(shown.contains("may not speak"), "{shown}");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_with_one_certificate_have_a_bookmark_each() {
    let scene = Scene::new("wef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let mut owed = std::collections::HashSet::new();
    for round in 0..2 {
        for (n, name) in ["a.plant.test", "b.plant.test"].into_iter().enumerate() {
            let all = events(name, n as u64, 40, 0.0);
            // Each starts anew and knows only what the gateway tells of its place.
            let mut host = impostor(&scene, "shared.plant.test", name);
            all[..20 + round * 20].iter().for_each(|event| host.log(event));
            host.enumerate().await.unwrap();
            assert_eq!(host.deliver(100).await.unwrap(), 20, "{name} in round {round}");
            owed.extend(identities(&all[..20 + round * 20]));
        }
    }
    scene.assert_arrived_once(&owed).await;
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_speaks_for_another_is_tagged_or_left_alone_as_configured() {
    let foreign = "gatepost_wef_foreign_machines_total{input=\"uploads\",action=\"tagged\"}";
    for (policy, counted) in [("tag", true), ("off", false)] {
        let scene = Scene::new(&format!("identity.policy = \"{policy}\"\nwef.read_existing_events = true"), "").await;
        let running = scene.site.start().await;
        let mut host = impostor(&scene, "pc1.plant.test", "pc2.plant.test");
        let all = events("pc2.plant.test", 2, 10, 0.0);
        all.iter().for_each(|event| host.log(event));
        host.enumerate().await.unwrap();
        assert_eq!(host.deliver(10).await.unwrap(), 10, "{policy}");
        scene.assert_arrived_once(&identities(&all)).await;
        assert_eq!(scene.site.metric(foreign).await > 0.0, counted, "{policy}");
        assert!(running.stop().success());
        scene.site.assert_audit_balances();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_listed_delivers_for_its_hosts_and_no_other_host_may() {
    let relays = "identity.policy = \"enforce\"\nwef.read_existing_events = true\n\
                  wef.relays = [{ certificate = \"wec.plant.test\", hosts = [\"pc*.plant.test\"] }]";
    let scene = Scene::new(relays, "").await;
    let running = scene.site.start().await;
    for (certificate, of) in [("wec.plant.test", "dc1.plant.test"), ("pc1.plant.test", "pc2.plant.test")] {
        let mut host = scene.host(certificate, Faults::default(), 1);
        events(of, 5, 5, 0.0).iter().for_each(|event| host.log(event));
        host.enumerate().await.unwrap();
        let refused = host.deliver(100).await.unwrap_err();
        assert!(refused.to_string().contains("403"), "{certificate} for {of}: {refused}");
    }
    let mut relay = scene.host("wec.plant.test", Faults::default(), 1);
    let mut owed = std::collections::HashSet::new();
    for name in ["pc1.plant.test", "pc2.plant.test", "wec.plant.test"] {
        let all = events(name, 1, 10, 0.0);
        all.iter().for_each(|event| relay.log(event));
        owed.extend(identities(&all));
    }
    relay.enumerate().await.unwrap();
    assert_eq!(relay.deliver(100).await.unwrap(), 30);
    scene.assert_arrived_once(&owed).await;
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

/// A balancer in front of a gateway, which begins each connection with this header; its port.
async fn balancer(gateway: u16, header: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut host, _)) = listener.accept().await {
            let header = header.clone();
            tokio::spawn(async move {
                let mut onward = TcpStream::connect(("127.0.0.1", gateway)).await.unwrap();
                onward.write_all(&header).await.unwrap();
                // Either side may go first.
                tokio::io::copy_bidirectional(&mut host, &mut onward).await.ok();
            });
        }
    });
    port
}

/// The binary form of the header, version 2.
fn version_2(source: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (SocketAddr::V4(source), SocketAddr::V4(to)) = (source, to) else { panic!("IPv4 only") };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source.ip().octets());
    header.extend(to.ip().octets());
    header.extend(source.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_balancer_hosts_are_known_by_their_certificates_and_their_own_addresses() {
    let behind = "proxy_protocol_from = [\"127.0.0.1/32\"]\nwef.read_existing_events = true";
    let scene = Scene::new(behind, "").await;
    let running = scene.site.start().await;
    let source: SocketAddr = "10.9.8.7:50000".parse().unwrap();
    let to: SocketAddr = "10.9.8.1:5986".parse().unwrap();
    let version_1 = format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), to.ip(), source.port(), to.port());
    for (name, header) in [("v1.plant.test", version_1.into_bytes()), ("v2.plant.test", version_2(source, to))] {
        let port = balancer(scene.site.uploads, header).await;
        let manager = format!("https://127.0.0.1:{port}/wsman/SubscriptionManager/WEC");
        let setting = Setting { host: name.to_owned(), manager, client: scene.client(name) };
        let mut host = Forwarder::new(setting, Faults::default(), 1);
        events(name, 1, 20, 0.0).iter().for_each(|event| host.log(event));
        // It delivers where it asked: at the balancer.
        host.enumerate().await.unwrap();
        assert_eq!(host.deliver(10).await.unwrap(), 20);
        let shown = scene.shown().await;
        let of_host =
            shown["hosts"].as_array().unwrap().iter().find(|host| host["machine"] == name).expect("it is shown");
        assert_eq!(of_host["address"], "10.9.8.7", "{of_host:#}");
    }
    assert!(scene.host("pc3.plant.test", Faults::default(), 1).enumerate().await.is_err(), "without a header");
    assert!(running.stop().success());
}
