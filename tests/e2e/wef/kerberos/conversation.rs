//! What a host of a domain says is answered under its seal, whichever service it asks for and however it shows its ticket.

use std::collections::HashSet;

use gatepost::lab::wef::Faults;
use gatepost::lab::wef::kerberos::{self as lab, Scheme, Wire};

use super::super::scene::{events, identities};
use super::kdc::{Kdc, SERVICES};
use super::{Domain, PATH, heartbeat, name, post, schemes};

const ENUMERATE: &str = "<s:Envelope xmlns:s=\"x\"><s:Header>\
    <a:Action>http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate</a:Action>\
    <a:MessageID>uuid:1</a:MessageID></s:Header><s:Body/></s:Envelope>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_subscribes_and_delivers_under_its_ticket_and_events_arrive_once() {
    let domain = Domain::new(4, "wef.read_existing_events = true").await;
    let running = domain.site().start().await;
    let mut owed = HashSet::new();
    for (n, (service, scheme)) in [
        (SERVICES[0], Scheme::Kerberos),
        (SERVICES[1], Scheme::Kerberos),
        (SERVICES[0], Scheme::Negotiate),
        (SERVICES[1], Scheme::Negotiate),
    ]
    .into_iter()
    .enumerate()
    {
        let mut host = domain.host(n, service, scheme, Faults::default());
        let own = events(&name(n), n as u64, 300, 0.0);
        own.iter().for_each(|event| host.log(event));
        host.enumerate().await.unwrap();
        let (told, thumbprint) = host.subscriptions().next().expect("a subscription");
        assert_eq!((told, thumbprint), ("Gatepost rules", ""), "no certificate is asked for");
        host.heartbeat().await.unwrap();
        // 170 events fill an envelope; they are compressed before they are sealed.
        assert_eq!(host.deliver(170).await.unwrap(), 300);
        host.give_up(15001).await.unwrap();
        owed.extend(identities(&own));
    }
    domain.scene.assert_arrived_once(&owed).await;
    let shown = domain.scene.shown().await.to_string();
    assert!(shown.contains("PC3$@EXAMPLE.TEST") && shown.contains("pc3.example.test"), "{shown}");
    assert!(running.stop().success());
    domain.site().assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_told_sealed_and_asks_for_kerberos_where_it_is_asked_at() {
    let domain = Domain::new(1, "wef.compression = false").await;
    let running = domain.site().start().await;
    let (mut wire, mut ticket) = domain.greeted(0).await;
    let text = ENUMERATE;
    let sealed = ticket.seal(text.as_bytes()).await.unwrap();
    let reply = post(&mut wire, &lab::framed(Scheme::Kerberos, text.len(), &sealed)).await.unwrap();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(&*lab::content_type(Scheme::Kerberos))));
    let sealed = lab::unframed(&reply.body).expect("it is framed");
    let told = String::from_utf8(ticket.open(sealed).await.unwrap()).unwrap();
    assert!(told.contains("secprofile/http/spnego-kerberos") && !told.contains("Thumbprint"), "{told}");
    assert!(told.contains(&format!("<a:Address>http://{}/wsman/subscriptions/", domain.address())), "{told}");
    assert!(!String::from_utf8_lossy(&reply.body).contains("Envelope"), "nothing of it can be read on the wire");
    assert!(running.stop().success());
}

/// No seal is on the head of a request: somebody between could write any name into it, and would get what hosts deliver there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_told_to_deliver_at_no_other_name_than_the_gateways() {
    let domain = Domain::new(1, "").await;
    let running = domain.site().start().await;
    for (asked_at, status) in [("gate.example.test:5985", 200), ("evil.example.test:5985", 400)] {
        let (mut wire, mut ticket) = domain.greeted(0).await;
        let text = ENUMERATE.as_bytes();
        let body = lab::framed(Scheme::Kerberos, text.len(), &ticket.seal(text).await.unwrap());
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {asked_at}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            lab::content_type(Scheme::Kerberos),
            body.len()
        );
        wire.write(&[head.as_bytes(), &body].concat()).await.unwrap();
        let reply = wire.reply().await.unwrap();
        assert_eq!(reply.status, status, "{asked_at}: {}", String::from_utf8_lossy(&reply.body));
        if status == 200 {
            let told = ticket.open(lab::unframed(&reply.body).expect("it is framed")).await.unwrap();
            assert!(String::from_utf8(told).unwrap().contains("<a:Address>http://gate.example.test:5985/wsman/"));
        }
    }
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_ticket_yet_is_asked_for_one_and_keeps_the_connection() {
    let domain = Domain::new(1, "").await;
    let running = domain.site().start().await;
    let mut wire = Wire::open(&domain.address()).await.unwrap();
    for _ in 0..2 {
        let reply = wire.post(PATH, &[], b"").await.unwrap();
        assert_eq!((reply.status, schemes(&reply)), (401, vec!["Kerberos", "Negotiate"]));
        assert_eq!(reply.header("connection"), None);
    }
    let (mut ticket, token) = domain.kdc.token("PC0$", Scheme::Kerberos).await;
    let reply = lab::greet(&mut wire, PATH, Scheme::Kerberos, &token).await.unwrap();
    assert_eq!(reply.status, 200);
    ticket.go_on(&super::answer_of(&reply)).await.unwrap();
    let message = heartbeat(0);
    let sealed = ticket.seal(&message).await.unwrap();
    let reply = post(&mut wire, &lab::framed(Scheme::Kerberos, message.len(), &sealed)).await.unwrap();
    assert_eq!(reply.status, 204);
    assert!(running.stop().success());
}

/// Tickets of users with many groups come to 48,000 bytes, in base64 to 64,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_with_a_large_ticket_is_read_and_a_larger_one_is_refused() {
    let domain = Domain::new(1, "").await;
    let running = domain.site().start().await;
    let (_ticket, token) = domain.kdc.token("PC0$", Scheme::Kerberos).await;
    for (padding, expected) in [(60 << 10, 200), (81 << 10, 431)] {
        let mut wire = Wire::open(&domain.address()).await.unwrap();
        let shown = {
            use base64::Engine as _;
            format!("Kerberos {}", base64::engine::general_purpose::STANDARD.encode(&token))
        };
        let headers = [("x-groups", "g".repeat(padding)), ("authorization", shown)];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(wire.post(PATH, &headers, b"").await.unwrap().status, expected, "{padding}");
    }
    let mut wire = Wire::open(&domain.address()).await.unwrap();
    let reply = lab::greet(&mut wire, PATH, Scheme::Kerberos, &vec![0x60; 48_000]).await.unwrap();
    assert_eq!(reply.status, 401, "it was read whole, and is no ticket");
    assert!(running.stop().success());
}

/// Windows Server 2025 can have such keys. Their signatures have other lengths, and seal what is encrypted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_with_a_key_of_sha2_is_taken_and_what_it_seals_is_read_and_answered() {
    for (kind, signature) in [("aes256-cts-hmac-sha384-192", 72), ("aes128-cts-hmac-sha256-128", 64)] {
        let domain = Domain::of(Kdc::with_keys(&[kind], 2), "wef.read_existing_events = true").await;
        let running = domain.site().start().await;
        let (mut wire, mut ticket) = domain.greeted(0).await;
        let message = heartbeat(0);
        let sealed = ticket.seal(&message).await.unwrap();
        assert_eq!(sealed[..4], u32::to_le_bytes(signature), "{kind}");
        let reply = post(&mut wire, &lab::framed(Scheme::Kerberos, message.len(), &sealed)).await.unwrap();
        assert_eq!(reply.status, 204, "{kind}");
        let mut owed = HashSet::new();
        for (n, scheme) in [Scheme::Kerberos, Scheme::Negotiate].into_iter().enumerate() {
            let mut host = domain.host(n, SERVICES[n], scheme, Faults::default());
            let own = events(&name(n), n as u64, 200, 0.0);
            own.iter().for_each(|event| host.log(event));
            host.enumerate().await.unwrap();
            assert_eq!(host.deliver(100).await.unwrap(), 200, "{kind}");
            owed.extend(identities(&own));
        }
        domain.scene.assert_arrived_once(&owed).await;
        assert!(running.stop().success());
        domain.site().assert_audit_balances();
    }
}
