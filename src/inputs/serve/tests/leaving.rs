//! The end of a listener, in its stages: no upload is lost to it.

use http::{Request, Version};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

/// A client that keeps its connection.
pub(super) struct Kept(TcpStream);

impl Kept {
    pub(super) async fn to(gate: &Running) -> Self {
        Self(TcpStream::connect(gate.address).await.expect("the listener takes connections"))
    }

    async fn begin(&mut self) {
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[");
        self.0.write_all(head.as_bytes()).await.expect("sent");
    }

    /// Ends the request that was begun, and reads the head of its answer.
    async fn end(&mut self) -> String {
        self.send(b"]").await
    }

    /// Sends something, and reads the head of an answer.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> String {
        self.0.write_all(bytes).await.expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await.expect("in time").expect("an answer"));
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    pub(super) async fn upload(&mut self) -> String {
        self.begin().await;
        self.end().await
    }

    pub(super) async fn is_closed(&mut self) -> bool {
        matches!(timeout(Duration::from_millis(500), self.0.read(&mut [0; 1])).await, Ok(Ok(0) | Err(_)))
    }
}

pub(super) const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn is_taken(answer: &str) -> bool {
    status(answer) == "204"
}

pub(super) fn says_close(answer: &str) -> bool {
    answer.contains("connection: close\r\n")
}

#[tokio::test]
async fn kept_connections_are_told_to_close_with_their_next_answer_and_new_ones_are_served() {
    let gate = start(&plain());
    let (mut kept, mut idle) = (Kept::to(&gate).await, Kept::to(&gate).await);
    for client in [&mut kept, &mut idle] {
        let answer = client.upload().await;
        assert!(is_taken(&answer) && !says_close(&answer), "{answer}");
    }
    gate.stages.leave();
    assert!(!idle.is_closed().await, "a request may be on its way: it is closed by its client, or at the end");
    let answer = kept.upload().await;
    assert!(is_taken(&answer) && says_close(&answer) && kept.is_closed().await, "{answer}");
    let mut new = Kept::to(&gate).await;
    let answer = new.upload().await;
    assert!(is_taken(&answer) && says_close(&answer) && new.is_closed().await, "{answer}");
    gate.stages.end();
    assert!(idle.is_closed().await);
    timeout(PATIENCE, gate.task).await.expect("in time").expect("serve ends");
    assert!(TcpStream::connect(gate.address).await.is_err(), "the door is closed");
}

#[tokio::test]
async fn what_has_begun_is_answered_after_the_door_has_closed() {
    let gate = start(&plain());
    let (mut begun, mut fresh) = (Kept::to(&gate).await, Kept::to(&gate).await);
    begun.begin().await;
    // Its connection is accepted, and its first request is on its way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.stages.end();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for answer in [fresh.upload().await, begun.end().await] {
        assert!(is_taken(&answer) && says_close(&answer), "{answer}");
    }
    timeout(PATIENCE, gate.task).await.expect("in time").expect("serve ends");
}

#[tokio::test]
async fn a_listener_that_goes_with_a_reload_serves_the_connections_that_it_has() {
    let gate = start(&plain());
    let mut kept = Kept::to(&gate).await;
    assert!(is_taken(&kept.upload().await));
    gate.stages.close();
    while TcpStream::connect(gate.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = kept.upload().await;
    assert!(is_taken(&answer) && says_close(&answer), "{answer}");
    timeout(PATIENCE, gate.task).await.expect("it does not wait for the end when nobody is left").expect("serve ends");
}

#[tokio::test]
async fn as_long_as_the_gateway_is_not_ready_clients_are_told_to_connect_anew() {
    let gate = start(&plain());
    let mut kept = Kept::to(&gate).await;
    gate.is_unready.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(says_close(&kept.upload().await), "a balancer would turn to another gateway");
    gate.is_unready.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(!says_close(&Kept::to(&gate).await.upload().await));
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn http2(gate: &Running) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let stream = TcpStream::connect(gate.address).await.expect("the listener takes connections");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("HTTP/2 is spoken");
    (sender, tokio::spawn(connection))
}

async fn post(sender: &mut Sender) -> hyper::Result<u16> {
    let request = Request::post(format!("http://a{PATH}")).version(Version::HTTP_2);
    let request = request.body(Full::new(Bytes::from_static(b"[]"))).expect("a request");
    sender.send_request(request).await.map(|answer| answer.status().as_u16())
}

#[tokio::test]
async fn http2_gets_goaway_once_its_requests_are_answered() {
    let gate = start(&plain());
    let (mut idle, idle_ended) = http2(&gate).await;
    assert_eq!(post(&mut idle).await.expect("an answer"), 204);
    gate.stages.leave();
    // GOAWAY without an error ends the connection on the client's side as well.
    timeout(PATIENCE, idle_ended).await.expect("in time").expect("no panic").expect("a good end");
    assert!(
        post(&mut idle).await.is_err_and(|error| error.is_canceled()),
        "nothing is sent into a connection that ends"
    );

    let (mut new, new_ended) = http2(&gate).await;
    assert_eq!(post(&mut new).await.expect("an answer"), 204);
    timeout(PATIENCE, new_ended).await.expect("in time").expect("no panic").expect("a good end");
    assert_eq!(gate.taken().len(), 2);
}
