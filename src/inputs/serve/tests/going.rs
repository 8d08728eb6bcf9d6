//! Who has to go: whoever hung up, and the idle when others come.

use std::sync::Weak;

use tokio::net::TcpSocket;
use tokio::sync::mpsc;

use super::*;

const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A gateway that never comes to an end with a request; what it sends lives as long as the work.
fn endless() -> (SocketAddr, mpsc::Receiver<Weak<()>>) {
    let (began, begun) = mpsc::channel(1);
    let router = Router::new().fallback(move || {
        let began = began.clone();
        async move {
            let work = Arc::new(());
            began.send(Arc::downgrade(&work)).await.expect("the test waits");
            std::future::pending::<()>().await;
            drop(work);
        }
    });
    let listener = Listener::bind(&plain(), Path::new("/nonexistent")).expect("the listener starts");
    let address = listener.address();
    tokio::spawn(serve(listener, router, Stages::default(), Arc::default()));
    (address, begun)
}

#[tokio::test]
async fn work_ends_when_its_client_resets_an_http_1_connection() {
    let (address, mut begun) = endless();
    let mut client = TcpStream::connect(address).await.expect("the listener takes connections");
    client.write_all(ASKED).await.expect("sent");
    let work = begun.recv().await.expect("it is worked at");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(work.strong_count(), 1, "who waits is worked for");
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("set");
    drop(client);
    let over = async {
        while work.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), over).await.expect("nobody works for who has gone");
}

/// A connection from this address that had its answer and is idle now.
async fn idle_from(gate: &Running, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("an address of this machine");
    let mut stream = socket.connect(gate.address).await.expect("the listener takes connections");
    stream.write_all(ASKED).await.expect("sent");
    assert!(is_answered(&mut stream).await, "whoever comes has a place");
    stream
}

async fn is_answered(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 2048];
    matches!(timeout(Duration::from_secs(10), stream.read(&mut answer)).await, Ok(Ok(bytes)) if bytes > 0)
}

async fn has_its_place(stream: &mut TcpStream) -> bool {
    stream.write_all(ASKED).await.is_ok() && is_answered(stream).await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_connections_of_few_addresses_keep_nobody_out() {
    let mut config = plain();
    config.limits.max_connections = Some(4);
    config.limits.max_connections_per_address = Some(3);
    let gate = start(&config);
    let mut quiet = idle_from(&gate, 2).await;
    let mut greedy = Vec::new();
    for _ in 0..3 {
        greedy.push(idle_from(&gate, 3).await);
    }
    let mut newcomer = idle_from(&gate, 4).await;
    assert!(!has_its_place(&mut greedy[0]).await, "who has most loses the one that is quiet for longest");
    assert!(has_its_place(&mut greedy[2]).await);
    assert!(has_its_place(&mut quiet).await && has_its_place(&mut newcomer).await);
}
