//! Those who follow the gateway: what they hear, how many there may be, and that none of them holds up a stop.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::*;
use crate::limits::LIVE_FOLLOWERS_MAX;

async fn follow(plane: &Plane) -> TcpStream {
    let mut stream = TcpStream::connect(plane.address).await.expect("connect");
    let request = format!("GET /live HTTP/1.1\r\n{LOCAL}\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    stream
}

/// What is heard until this is in it, or until the end.
async fn heard(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    loop {
        let read = stream.read(&mut some).await.unwrap_or(0);
        all.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&all).into_owned();
        if read == 0 || text.contains(wanted) {
            return text;
        }
    }
}

#[tokio::test]
async fn a_follower_hears_what_was_and_then_what_is_until_the_gateway_stops() {
    let plane = plane(Config::default(), "127.0.0.1:8449").await;
    let mut follower = follow(&plane).await;
    let first = heard(&mut follower, "event: state").await;
    assert!(
        first.contains("content-type: text/event-stream")
            && first.contains("event: history\ndata: {\"minute\":[]}\n\n"),
        "{first}"
    );
    let next =
        heard(&mut follower, "event: state\ndata: {\"status\":{\"events\":7},\"point\":{\"received\":1.0}}\n\n").await;
    assert!(next.contains("\"events\":7"), "{next}");
    let began = Instant::now();
    plane.stop.cancel();
    let last = heard(&mut follower, "no such text").await;
    assert!(last.contains("event: end"), "{last}");
    assert!(began.elapsed() < Duration::from_secs(3), "a follower holds up a stop for {:?}", began.elapsed());
}

#[tokio::test]
async fn there_is_room_for_so_many_followers_and_then_the_state_can_be_asked() {
    let plane = plane(Config::default(), "127.0.0.1:8449").await;
    let mut followers = Vec::new();
    for _ in 0..LIVE_FOLLOWERS_MAX {
        let mut follower = follow(&plane).await;
        assert!(heard(&mut follower, "event: state").await.contains("200 OK"));
        followers.push(follower);
    }
    let (status, answer) = plane.ask("GET /live", LOCAL, "").await;
    assert!(status == 503 && answer.contains("retry-after: 10"), "{answer}");
    assert_eq!(plane.ask("GET /status", LOCAL, "").await.0, 200);
    // Who leaves makes room.
    followers.pop();
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let mut follower = follow(&plane).await;
        if heard(&mut follower, "\r\n\r\n").await.contains("200 OK") {
            break;
        }
        assert!(Instant::now() < until, "the place of one who left is not given to another");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    plane.stop.cancel();
}
