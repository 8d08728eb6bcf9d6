use bytes::BytesMut;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use gatepost_lab::http1_vectors::{BROKEN_CHUNKS, MALFORMED, SOUND, chunked};

/// What a connection that receives `input` lets through, and the refusal that ended it.
fn follow(input: &[u8]) -> (Vec<u8>, Result<(), Refusal>) {
    let (mut held, mut verified) = (BytesMut::from(input), BytesMut::new());
    let result = Framing::default().advance(&mut held, &mut verified);
    (verified.to_vec(), result)
}

#[test]
fn sound_requests_pass_whole() {
    for request in SOUND {
        let (passed, result) = follow(request.as_bytes());
        assert_eq!(result, Ok(()), "{request:?}");
        assert_eq!(passed, request.trim_start_matches("\r\n").as_bytes(), "{request:?}");
    }
}

#[test]
fn malformed_heads_are_refused_and_no_byte_of_them_passes() {
    for request in MALFORMED {
        let (passed, result) = follow(request.as_bytes());
        assert!(result.is_err(), "{request:?}");
        assert_eq!(passed, b"", "{request:?}");
    }
}

#[test]
fn malformed_chunks_are_refused() {
    for body in BROKEN_CHUNKS {
        assert!(follow(chunked("POST /", body).as_bytes()).1.is_err(), "{body:?}");
    }
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1100));
    assert!(follow(chunked("POST /", &long).as_bytes()).1.is_err());
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "x".repeat(1000)).repeat(20));
    assert!(follow(chunked("POST /", &many).as_bytes()).1.is_err());
}

#[test]
fn heads_are_limited_in_bytes_and_fields_before_they_are_whole() {
    let endless = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEAD_MAX));
    assert_eq!(follow(endless.as_bytes()).1.map_err(|refusal| refusal.status), Err(431));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(FIELDS_MAX));
    assert_eq!(follow(fields.as_bytes()).1.map_err(|refusal| refusal.status), Err(431));
}

proptest! {
    /// However the network cuts the bytes, the verdict and what passes are the same.
    #[test]
    fn cuts_change_nothing(
        index in 0..SOUND.len() + MALFORMED.len() + BROKEN_CHUNKS.len(),
        sizes in prop::collection::vec(1usize..9, 1..40),
    ) {
        let all: Vec<String> = SOUND.iter().chain(MALFORMED).map(|request| (*request).to_owned())
            .chain(BROKEN_CHUNKS.iter().map(|body| chunked("POST /", body))).collect();
        let input = all[index].as_bytes();
        let (whole, verdict) = follow(input);
        let (mut framing, mut held, mut verified) = (Framing::default(), BytesMut::new(), BytesMut::new());
        let (mut rest, mut sizes) = (input, sizes.into_iter().cycle());
        let mut result = Ok(());
        while !rest.is_empty() && result.is_ok() {
            let (now, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
            held.extend_from_slice(now);
            rest = later;
            result = framing.advance(&mut held, &mut verified);
        }
        prop_assert_eq!(result.is_ok(), verdict.is_ok());
        prop_assert_eq!(&verified[..], &whole[..]);
    }

    /// No input makes it panic, and what it holds back stays bounded.
    #[test]
    fn anything_may_come(input in prop::collection::vec(any::<u8>(), 0..600)) {
        let (mut held, mut verified) = (BytesMut::from(&input[..]), BytesMut::new());
        if Framing::default().advance(&mut held, &mut verified).is_ok() {
            prop_assert!(held.len() <= HEAD_MAX);
        }
    }
}

const TIMEOUTS: Timeouts = Timeouts {
    head: std::time::Duration::from_secs(10),
    idle: std::time::Duration::from_secs(120),
    write: std::time::Duration::from_secs(30),
    linger: std::time::Duration::from_secs(2),
};

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_in_its_turn_and_a_silent_client_is_closed() {
    let (mut client, server) = duplex(1024);
    let session = Session::new();
    let mut guard = Guard::new(server, std::sync::Arc::clone(&session), TIMEOUTS);
    client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HT").await.expect("the pipe takes it");
    let mut seen = String::new();
    guard.read_to_string(&mut seen).await.expect("the stream ends without an error");
    assert!(seen.starts_with("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: refused"), "{seen}");
    assert!(session.begin().is_ok());
    assert_eq!(session.begin().map(|_| ()).map_err(|refusal| refusal.status), Err(408));

    let (_silent, server) = duplex(1024);
    let started = Instant::now();
    let mut seen = Vec::new();
    Guard::new(server, Session::new(), TIMEOUTS).read_to_end(&mut seen).await.expect("the stream ends");
    assert_eq!((seen.len(), started.elapsed().as_secs()), (0, 10));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_but_a_busy_one_does_not() {
    let (mut client, server) = duplex(1024);
    let session = Session::new();
    let mut guard = Guard::new(server, std::sync::Arc::clone(&session), TIMEOUTS);
    let started = Instant::now();
    client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the pipe takes it");
    let mut seen = [0; 256];
    assert!(guard.read(&mut seen).await.is_ok_and(|bytes| bytes > 0));
    let in_flight = session.begin().expect("sound");
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_secs(500)).await;
        drop(in_flight);
    });
    assert_eq!(guard.read(&mut seen).await.expect("the stream ends"), 0);
    assert!((500..=741).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_rests_ends_for_its_reader_only() {
    const REQUEST: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut client, server) = duplex(1024);
    let session = Session::new();
    let guard = Guard::new(server, std::sync::Arc::clone(&session), TIMEOUTS);
    let mut guard = guard.resting_after(std::time::Duration::from_secs(2));
    for _ in 0..2 {
        client.write_all(REQUEST.as_bytes()).await.expect("the pipe takes it");
        assert_eq!(guard.next().await, Next::Http1);
        // Whatever is worked at is waited for.
        let in_flight = session.begin().expect("sound");
        let worked = tokio::spawn(async move {
            tokio::time::sleep(std::time::Duration::from_secs(60)).await;
            drop(in_flight);
            Instant::now()
        });
        let mut seen = String::new();
        guard.read_to_string(&mut seen).await.expect("the stream ends without an error");
        assert_eq!(seen, REQUEST);
        let worked = worked.await.expect("it ends").elapsed().as_secs();
        assert!(guard.is_resting() && (2..130).contains(&worked), "{worked}");
        // Its reader closes what has ended for it.
        guard.shutdown().await.expect("nothing happens");
        let silent = tokio::time::timeout(std::time::Duration::from_secs(1), client.read(&mut [0; 1])).await;
        assert!(silent.is_err(), "its peer notices nothing");
    }
    let quiet = Instant::now();
    assert_eq!(guard.next().await, Next::End, "nobody is waited for without end");
    assert!(quiet.elapsed() <= TIMEOUTS.idle);
    guard.close().await;
    assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_cut_or_late_after_a_rest_is_judged_as_before_it() {
    let after_a_rest = async |sent: &'static [u8]| {
        let (mut client, server) = duplex(1024);
        let mut guard = Guard::new(server, Session::new(), TIMEOUTS).resting_after(std::time::Duration::from_secs(2));
        client.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("the pipe takes it");
        assert_eq!(guard.next().await, Next::Http1);
        guard.read_to_end(&mut Vec::new()).await.expect("it rests");
        client.write_all(sent).await.expect("the pipe takes it");
        let _kept = Some(client).filter(|_| !sent.ends_with(b"cut"));
        let (next, mut seen) = (guard.next().await, String::new());
        if next == Next::Http1 {
            guard.read_to_string(&mut seen).await.expect("the stream ends without an error");
        }
        (next, seen.starts_with("GET / HTTP/1.1\r\nHost: refused"), guard.is_resting())
    };
    assert_eq!(after_a_rest(b"GET /b HT").await, (Next::Http1, true, false), "the head is late");
    assert_eq!(after_a_rest(b"GET /b b HTTP/1.1\r\n\r\n").await, (Next::Http1, true, false), "the head is wrong");
    assert_eq!(after_a_rest(b"GET /b cut").await, (Next::End, false, false), "the client has gone");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_given_up() {
    let (_client, server) = duplex(16);
    let mut guard = Guard::new(server, Session::new(), TIMEOUTS);
    let error = guard.write_all(&[b'x'; 64]).await.expect_err("nobody reads");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn http2_passes_untouched() {
    let (mut client, server) = duplex(1024);
    let mut guard = Guard::new(server, Session::new(), TIMEOUTS);
    let sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00anything\x00\n";
    client.write_all(sent).await.expect("the pipe takes it");
    drop(client);
    let mut seen = Vec::new();
    guard.read_to_end(&mut seen).await.expect("the stream ends");
    assert_eq!(seen, sent);
}

/// A connection of HTTP/2 that the gateway is about to close.
async fn closing_http2() -> (tokio::io::DuplexStream, Guard<tokio::io::DuplexStream>) {
    let (mut client, server) = duplex(1024);
    let mut guard = Guard::new(server, Session::new(), TIMEOUTS);
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the pipe takes it");
    assert_eq!(guard.read(&mut [0; 64]).await.expect("read"), 24);
    (client, guard)
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_crosses_goaway_resets_nothing_so_that_its_client_reads_that_it_was_not_taken() {
    let (mut client, mut guard) = closing_http2().await;
    let closing = tokio::spawn(async move {
        guard.write_all(b"GOAWAY").await?;
        guard.shutdown().await
    });
    // More than the pipe holds: it has to be read.
    client.write_all(&[0; 4096]).await.expect("taken");
    let mut seen = Vec::new();
    client.read_to_end(&mut seen).await.expect("the end");
    assert_eq!(seen, b"GOAWAY");
    drop(client);
    closing.await.expect("it ends").expect("closed");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_crosses_the_end_of_an_idle_connection_resets_nothing_either() {
    let (mut client, mut guard) = closing_http2().await;
    assert_eq!(guard.read(&mut [0; 64]).await.expect("the end"), 0, "it was idle for too long");
    let closing = tokio::spawn(async move { guard.shutdown().await });
    client.write_all(&[0; 4096]).await.expect("taken");
    drop(client);
    closing.await.expect("it ends").expect("closed");
}

#[tokio::test(start_paused = true)]
async fn an_http2_peer_that_never_closes_is_waited_for_no_longer_than_others() {
    let (_client, mut guard) = closing_http2().await;
    let began = Instant::now();
    guard.shutdown().await.expect("closed");
    assert_eq!(began.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_connection_whose_answer_is_still_being_written_is_not_quiet() {
    let (mut client, server) = duplex(16);
    let session = Session::new();
    let long = std::time::Duration::from_secs(60);
    let mut guard =
        Guard::new(server, Arc::clone(&session), Timeouts { head: long, idle: long, write: long, linger: long });
    assert!(session.quiet_since().is_some());
    let writing = tokio::spawn(async move {
        guard.write_all(&[b'x'; 64]).await.expect("written");
        guard.flush().await.expect("flushed");
        guard
    });
    let mut some = [0; 16];
    client.read_exact(&mut some).await.expect("read");
    tokio::task::yield_now().await;
    assert!(session.quiet_since().is_none(), "its reader is slow");
    client.read_exact(&mut [0; 48]).await.expect("read");
    let _guard = writing.await.expect("it ends");
    assert!(session.quiet_since().is_some());
}
