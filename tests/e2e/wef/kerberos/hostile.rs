//! Bodies that lie about their lengths, their seal or their order: each ends its own connection, and nobody else's.

use gatepost::lab::wef::kerberos::{self as lab, Scheme, Wire};

use super::{Domain, PATH, heartbeat, post};

/// A sealed body of a host, to be spoilt.
struct Body {
    framed: Vec<u8>,
    sealed: Vec<u8>,
    /// Where the sealed bytes begin.
    at: usize,
}

async fn body(ticket: &mut lab::Ticket) -> Body {
    let message = heartbeat(0);
    let sealed = ticket.seal(&message).await.unwrap();
    let framed = lab::framed(Scheme::Kerberos, message.len(), &sealed);
    let at = framed.windows(sealed.len()).position(|window| window == sealed).unwrap();
    Body { framed, sealed, at }
}

fn with(body: &Body, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut framed = body.framed.clone();
    framed[body.at + at..body.at + at + bytes.len()].copy_from_slice(bytes);
    framed
}

fn sealed_as(sealed: &[u8]) -> Vec<u8> {
    lab::framed(Scheme::Kerberos, 100, sealed)
}

type Spoil = fn(&Body) -> Vec<u8>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_lie_are_refused_and_end_their_connection_alone() {
    let domain = Domain::new(1, "").await;
    let running = domain.site().start().await;
    let (mut honest, mut honest_ticket) = domain.greeted(0).await;
    let spoilt: &[(&str, Spoil)] = &[
        ("a signature that is longer than the body", |body| with(body, 0, &u32::MAX.to_le_bytes())),
        ("a signature of no length", |body| with(body, 0, &[0; 4])),
        ("a signature of another length", |body| with(body, 0, &64_u32.to_le_bytes())),
        ("a token of an old kind", |body| with(body, 4, &[1, 1, 0, 0])),
        ("a token of another old kind", |body| with(body, 4, &[2, 1, 0x11, 0])),
        ("a token without encryption", |body| with(body, 6, &[4])),
        ("a token of the other side", |body| with(body, 6, &[7])),
        ("a filler", |body| with(body, 8, &[0, 12])),
        ("another turn", |body| with(body, 10, &[0xff, 0xff])),
        ("a number that is not its turn", |body| with(body, 19, &[0xee])),
        ("a changed code", |body| with(body, 44, &[0, 0, 0, 0])),
        ("a changed message", |body| with(body, 70, &[0, 0, 0, 0])),
        ("nothing sealed", |_| sealed_as(b"")),
        ("less than a length", |_| sealed_as(&[60, 0])),
        ("a length alone", |_| sealed_as(&60_u32.to_le_bytes())),
        ("half a signature", |body| sealed_as(&body.sealed[..30])),
        ("half a message", |body| sealed_as(&body.sealed[..body.sealed.len() - 100])),
        ("no last boundary", |body| body.framed[..body.framed.len() - 24].to_vec()),
        ("a frame that is cut", |body| body.framed[..100].to_vec()),
        ("no frame", |body| body.sealed.clone()),
        ("the frame of the other scheme", |body| lab::framed(Scheme::Negotiate, 100, &body.sealed)),
        ("a line without an end", |_| vec![b'-'; 100_000]),
    ];
    for (what, spoil) in spoilt {
        let (mut wire, mut ticket) = domain.greeted(0).await;
        let body = body(&mut ticket).await;
        let reply = post(&mut wire, &spoil(&body)).await.unwrap();
        assert_eq!((reply.status, reply.header("connection")), (400, Some("close")), "{what}");
        assert!(post(&mut wire, &body.framed).await.is_err(), "{what}: the connection is at its end");
    }
    let honest_body = body(&mut honest_ticket).await;
    assert_eq!(post(&mut honest, &honest_body.framed).await.unwrap().status, 204);
    let refused = "gatepost_input_refused_total{input=\"uploads\",reason=\"seal_broken\"}";
    assert_eq!(domain.site().metric(refused).await, spoilt.len() as f64);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_message_is_refused_on_its_own_connection_and_on_another() {
    let domain = Domain::new(1, "").await;
    let running = domain.site().start().await;
    let (mut wire, mut ticket) = domain.greeted(0).await;
    let recorded = body(&mut ticket).await.framed;
    assert_eq!(post(&mut wire, &recorded).await.unwrap().status, 204);
    assert_eq!(post(&mut wire, &recorded).await.unwrap().status, 400);
    let (mut other, _) = domain.greeted(0).await;
    assert_eq!(post(&mut other, &recorded).await.unwrap().status, 400);
    let (mut wire, mut ticket) = domain.greeted(0).await;
    let skipped = body(&mut ticket).await;
    let next = body(&mut ticket).await;
    assert_eq!(post(&mut wire, &next.framed).await.unwrap().status, 400, "one is missing before it");
    drop(skipped);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_on_a_ticket_alone() {
    let domain = Domain::new(1, "").await;
    let running = domain.site().start().await;
    let message = heartbeat(0);
    let (mut wire, _ticket) = domain.greeted(0).await;
    let kind = "application/soap+xml;charset=UTF-16";
    let plain = wire.post(PATH, &[("content-type", kind)], &message).await.unwrap();
    assert_eq!(plain.status, 400, "what is not sealed may be anybody's");
    let (mut ticket, token) = domain.kdc.token("PC0$", Scheme::Kerberos).await;
    let shown = {
        use base64::Engine as _;
        format!("Kerberos {}", base64::engine::general_purpose::STANDARD.encode(&token))
    };
    let mut wire = Wire::open(&domain.address()).await.unwrap();
    let both = wire.post(PATH, &[("content-type", kind), ("authorization", &shown)], &message).await.unwrap();
    assert_eq!(both.status, 400, "a ticket comes with an empty body");
    let mut wire = Wire::open(&domain.address()).await.unwrap();
    let reply = lab::greet(&mut wire, PATH, Scheme::Kerberos, &token).await.unwrap();
    assert_eq!(reply.status, 200, "it was not looked at before");
    ticket.go_on(&super::answer_of(&reply)).await.unwrap();
    let sealed = body(&mut ticket).await.framed;
    let mut other = Wire::open(&domain.address()).await.unwrap();
    assert_eq!(post(&mut other, &sealed).await.unwrap().status, 401, "a context belongs to its connection");
    assert_eq!(post(&mut wire, &sealed).await.unwrap().status, 204);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_cannot_take_over_a_connection() {
    let domain = Domain::new(2, "").await;
    let running = domain.site().start().await;
    let (mut wire, _first) = domain.greeted(0).await;
    let (_, again) = domain.kdc.token("PC0$", Scheme::Kerberos).await;
    assert_eq!(
        lab::greet(&mut wire, PATH, Scheme::Kerberos, &again).await.unwrap().status,
        200,
        "it may show a new one"
    );
    let (_, other) = domain.kdc.token("PC1$", Scheme::Kerberos).await;
    assert_eq!(lab::greet(&mut wire, PATH, Scheme::Kerberos, &other).await.unwrap().status, 403);
    assert!(running.stop().success());
}
