use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

const LONG: Timeouts = Timeouts {
    idle: Duration::from_secs(60),
    half_closed: Duration::from_secs(60),
    stalled: Duration::from_secs(60),
    lifetime: Duration::from_secs(60),
};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connected"), far.expect("accepted").0)
}

/// A client, a destination, and the tunnel between them.
async fn tunnel(timeouts: Timeouts, throttles: Throttles) -> (TcpStream, TcpStream, JoinHandle<(Reason, (u64, u64))>) {
    let (client, near) = pair().await;
    let (far, destination) = pair().await;
    let mut relay = Relay::new(Stream::Plain(near), Stream::Plain(far), timeouts, throttles);
    let task = tokio::spawn(async move {
        let reason = (&mut relay).await;
        (reason, relay.moved())
    });
    (client, destination, task)
}

/// Sends this both ways at once and closes each way; every byte must arrive, in order.
async fn exchange(client: impl AsyncRead + AsyncWrite, destination: TcpStream, content: &[u8]) {
    let (mut client_reads, mut client_writes) = tokio::io::split(client);
    let (mut destination_reads, mut destination_writes) = destination.into_split();
    let send_up = async {
        client_writes.write_all(content).await?;
        client_writes.shutdown().await
    };
    let send_down = async {
        destination_writes.write_all(content).await?;
        destination_writes.shutdown().await
    };
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let (sent_up, sent_down, got_up, got_down) =
        tokio::join!(send_up, send_down, destination_reads.read_to_end(&mut up), client_reads.read_to_end(&mut down));
    assert!(sent_up.is_ok() && sent_down.is_ok() && got_up.is_ok() && got_down.is_ok());
    assert!(up == content && down == content, "{} bytes arrive as {} and {}", content.len(), up.len(), down.len());
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[tokio::test]
async fn every_byte_arrives_in_order_both_ways_whatever_the_sizes() {
    for length in [1, 100, 65_535, 65_536, 65_537, 5 << 20] {
        let (client, destination, task) = tunnel(LONG, Throttles::default()).await;
        let content = pattern(length);
        exchange(client, destination, &content).await;
        assert_eq!(task.await.expect("ends"), (Reason::CLOSED, (length as u64, length as u64)));
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_the_whole_answer() {
    let (mut client, mut destination, task) = tunnel(LONG, Throttles::default()).await;
    client.shutdown().await.expect("half-closed");
    let mut nothing = Vec::new();
    destination.read_to_end(&mut nothing).await.expect("the end of stream is passed on");
    let content = pattern(1 << 20);
    let answer = async {
        destination.write_all(&content).await?;
        destination.shutdown().await
    };
    let mut got = Vec::new();
    let (sent, read) = tokio::join!(answer, client.read_to_end(&mut got));
    assert!(sent.is_ok() && read.is_ok() && got == content);
    assert_eq!(task.await.expect("ends").0, Reason::CLOSED);
}

#[tokio::test]
async fn early_bytes_come_first() {
    let (mut client, near) = pair().await;
    let (far, mut destination) = pair().await;
    let relay = Relay::new(Stream::Plain(near), Stream::Plain(far), LONG, Throttles::default());
    let task = tokio::spawn(relay.with_early(b"hello ", b"welcome "));
    client.write_all(b"world").await.expect("sent");
    client.shutdown().await.expect("closed");
    destination.write_all(b"back").await.expect("sent");
    destination.shutdown().await.expect("closed");
    let (mut up, mut down) = (String::new(), String::new());
    destination.read_to_string(&mut up).await.expect("read");
    client.read_to_string(&mut down).await.expect("read");
    assert_eq!((up.as_str(), down.as_str()), ("hello world", "welcome back"));
    assert_eq!(task.await.expect("ends"), Reason::CLOSED);
}

#[tokio::test]
async fn a_silent_pair_is_closed_after_its_idle_limit_and_bytes_postpone_that() {
    let timeouts = Timeouts { idle: Duration::from_millis(1_500), ..LONG };
    let (mut client, mut destination, task) = tunnel(timeouts, Throttles::default()).await;
    let start = Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        client.write_all(b"x").await.expect("the tunnel stands");
        destination.read_u8().await.expect("it arrives");
    }
    assert_eq!(task.await.expect("ends"), (Reason::IDLE, (4, 0)));
    assert!(start.elapsed() >= Duration::from_millis(3_500), "closed while bytes moved");
    assert_reset(client.read_u8().await);
    assert_reset(destination.read_u8().await);
}

#[tokio::test]
async fn a_half_closed_pair_has_a_limit_of_its_own() {
    let timeouts = Timeouts { half_closed: Duration::from_millis(200), ..LONG };
    let (mut client, _destination, task) = tunnel(timeouts, Throttles::default()).await;
    client.shutdown().await.expect("half-closed");
    assert_eq!(task.await.expect("ends").0, Reason::HALF_CLOSED);
}

#[tokio::test]
async fn a_side_that_stops_reading_holds_a_bounded_amount_and_is_closed() {
    let timeouts = Timeouts { stalled: Duration::from_millis(500), ..LONG };
    let (mut client, destination, task) = tunnel(timeouts, Throttles::default()).await;
    let content = pattern(1 << 20);
    let mut sent = 0_usize;
    while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(200), client.write(&content)).await {
        sent += n;
        assert!(sent < 64 << 20, "the bytes must be somewhere");
    }
    assert_eq!(task.await.expect("ends").0, Reason::STALLED);
    drop(destination);
}

#[tokio::test]
async fn life_is_limited_however_busy() {
    let timeouts = Timeouts { lifetime: Duration::from_millis(300), ..LONG };
    let (mut client, mut destination, task) = tunnel(timeouts, Throttles::default()).await;
    let chatter = async { while client.write_all(b"x").await.is_ok() && destination.read_u8().await.is_ok() {} };
    let (ended, ()) = tokio::join!(task, chatter);
    assert_eq!(ended.expect("ends").0, Reason::LIFETIME);
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let (client, mut destination, task) = tunnel(LONG, Throttles::default()).await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(client);
    assert_eq!(task.await.expect("ends").0, Reason::CLIENT_RESET);
    assert_reset(destination.read_u8().await);
}

#[tokio::test]
async fn a_bandwidth_limit_slows_and_loses_nothing() {
    let throttles = Throttles { all: Some(std::sync::Arc::new(Throttle::new(4 << 20))), client: None };
    let (mut client, mut destination, task) = tunnel(LONG, throttles).await;
    let content = pattern(6 << 20);
    let start = Instant::now();
    let send = async {
        client.write_all(&content).await?;
        client.shutdown().await
    };
    let mut got = Vec::new();
    let (sent, read) = tokio::join!(send, destination.read_to_end(&mut got));
    assert!(sent.is_ok() && read.is_ok() && got == content);
    // 6 MiB at 4 MiB/s, less a full bucket and what is in the last turn.
    assert!(start.elapsed() >= Duration::from_millis(750), "{:?}", start.elapsed());
    destination.shutdown().await.expect("closed");
    assert_eq!(task.await.expect("ends").0, Reason::CLOSED);
}

#[tokio::test]
async fn many_tunnels_share_one_limit() {
    const RATE: u64 = 4 << 20;
    let throttles = Throttles { all: Some(std::sync::Arc::new(Throttle::new(RATE))), client: None };
    let (mut tasks, start) = (Vec::new(), Instant::now());
    for _ in 0..50 {
        let (mut client, mut destination, relay) = tunnel(LONG, throttles.clone()).await;
        tasks.push(tokio::spawn(async move {
            let send = async { while client.write_all(&[0; 1 << 20]).await.is_ok() {} };
            let mut got = 0_u64;
            let mut buffer = vec![0; 64 << 10];
            let receive = async {
                while let Ok(read @ 1..) = destination.read(&mut buffer).await {
                    got += read as u64;
                }
            };
            drop(tokio::time::timeout(Duration::from_secs(2), async { tokio::join!(send, receive) }).await);
            relay.abort();
            got
        }));
    }
    let mut got = 0;
    for task in tasks {
        got += task.await.expect("no panic");
    }
    // What two seconds took on a busy machine, a full bucket, and one turn beyond it.
    let took = start.elapsed();
    let most = (RATE as f64 * took.as_secs_f64()) as u64 + RATE / 4 + (4 << 20);
    assert!(got <= most, "{got} bytes in {took:?} at {RATE} bytes a second");
}

#[tokio::test]
async fn a_tunnel_that_is_dropped_is_cut_on_both_sides() {
    let (mut client, mut destination, task) = tunnel(LONG, Throttles::default()).await;
    client.write_all(b"x").await.expect("sent");
    destination.read_u8().await.expect("it arrives");
    task.abort();
    assert_reset(client.read_u8().await);
    assert_reset(destination.read_u8().await);
}

/// A client that speaks TLS to the proxy, and the proxy's end of that.
async fn tls_pair() -> (tokio_rustls::client::TlsStream<TcpStream>, Stream) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server = server.expect("versions").with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let (far, near) = pair().await;
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server.expect("a server")));
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let (client, proxy) = tokio::join!(connector.connect(name, far), acceptor.accept(near));
    (client.expect("connected"), Stream::Tls(Box::new(proxy.expect("accepted").into())))
}

#[tokio::test]
async fn a_client_over_tls_gets_every_byte_and_the_end() {
    let (client, near) = tls_pair().await;
    let (far, destination) = pair().await;
    let task = tokio::spawn(Relay::new(near, Stream::Plain(far), LONG, Throttles::default()));
    let content = pattern(3 << 20);
    exchange(client, destination, &content).await;
    assert_eq!(task.await.expect("ends"), Reason::CLOSED);
}

#[tokio::test]
async fn a_client_over_tls_that_stops_reading_is_noticed() {
    let timeouts = Timeouts { stalled: Duration::from_millis(500), ..LONG };
    let (client, near) = tls_pair().await;
    let (far, mut destination) = pair().await;
    let task = tokio::spawn(Relay::new(near, Stream::Plain(far), timeouts, Throttles::default()));
    let content = pattern(1 << 20);
    while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(200), destination.write(&content)).await {}
    assert_eq!(task.await.expect("ends"), Reason::STALLED);
    drop(client);
}

fn assert_reset(read: io::Result<u8>) {
    assert_eq!(read.expect_err("cut").kind(), io::ErrorKind::ConnectionReset);
}
