//! Whatever others do, a health check is answered; and what is malformed never is.

use std::net::Ipv4Addr;

use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::*;
use crate::lab::http1_vectors as vectors;

/// More than there are places of any kind.
const CROWD: usize = 700;

/// Connections from these addresses of this machine, in turn, each of which sends this and then nothing.
async fn crowd(plane: &Plane, addresses: u8, sends: &str) -> Vec<TcpStream> {
    let mut crowd = Vec::with_capacity(CROWD);
    for number in (0..addresses).cycle().take(CROWD) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, number + 1), 0))).expect("an address of loopback");
        let mut stream = socket.connect(plane.address).await.expect("connected");
        stream.write_all(sends.as_bytes()).await.ok();
        crowd.push(stream);
    }
    crowd
}

async fn probes_are_answered(plane: &Plane, what: &str) {
    for _ in 0..20 {
        let asked = timeout(Duration::from_secs(30), plane.ask("GET /readyz", LOCAL, ""));
        assert_eq!(asked.await.unwrap_or_else(|_| panic!("{what}: no answer")).0, 200, "{what}");
    }
}

#[tokio::test]
async fn a_probe_is_answered_whoever_idles() {
    let plane = plane(Config::default(), "127.0.0.1:1").await;
    for addresses in [1, 250] {
        for (what, sends) in [
            ("nothing sent", ""),
            ("half a head", "GET /readyz HTTP/1.1\r\nHost: local"),
            ("a request, then nothing", "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (
                "a body that does not come",
                "POST /dead-letters/purge HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
            ),
        ] {
            let crowd = crowd(&plane, addresses, sends).await;
            probes_are_answered(&plane, &format!("{what}, from {addresses} addresses")).await;
            drop(crowd);
        }
    }
}

#[tokio::test]
async fn who_sends_no_byte_goes_at_the_deadline() {
    let soon = Timeouts { head: Duration::from_millis(50), idle: NEVER, write: NEVER, linger: NEVER };
    let plane = plane_with(Config::default(), "127.0.0.1:1", None, |door| door.with(soon)).await;
    for sends in ["", "GET /readyz HTTP/1.1\r\n"] {
        let mut stream = TcpStream::connect(plane.address).await.expect("connected");
        stream.write_all(sends.as_bytes()).await.expect("written");
        let mut answer = String::new();
        let ended = timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await;
        ended.expect("it is closed").expect("orderly");
        assert_eq!(answer.starts_with("HTTP/1.1 408"), !sends.is_empty(), "{sends:?}: {answer}");
    }
}

#[tokio::test]
async fn what_uploads_refuse_as_malformed_the_admin_plane_refuses() {
    let plane = plane(Config::default(), "127.0.0.1:1").await;
    let mut requests: Vec<String> = vectors::MALFORMED.iter().map(|text| text.replace(" / ", " /livez ")).collect();
    // Of a broken body no refusal can be told from that of a handler, so a route is asked that reads one.
    requests.extend(vectors::BROKEN_CHUNKS.iter().map(|body| vectors::chunked("POST /dead-letters/purge", body)));
    requests.push("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    for request in requests {
        let answer = timeout(Duration::from_secs(30), plane.raw(&request)).await.expect("an end");
        assert!(!answer.contains("HTTP/1.1 2") && !answer.contains("HTTP/1.0 2"), "{request:?}: {answer}");
    }
    assert!(plane.fake.0.lock().is_empty(), "nothing was done");
    for request in vectors::SOUND {
        assert!(plane.raw(request).await.starts_with("HTTP/1."), "{request:?}");
    }
}
