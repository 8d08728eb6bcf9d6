//! The strict front door over TLS, at the real process: what two readers could understand differently is refused, once,
//! and the connection is closed. HTTP/2 works beside it.

use crate::raw::{Raw, exchange};
use crate::support::{PATH, Site};
use crate::tools::{curl, run, tool};
use gatepost::lab::http1_vectors::{BROKEN_CHUNKS, MALFORMED, SOUND, chunked};

/// Follows each bad request on its connection. A front door that answers it has read past the bad one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn malformed_requests_get_one_400_and_the_connection_is_closed() {
    let site = Site::new("", "");
    let running = site.start().await;
    for request in MALFORMED {
        let said = exchange(&site, format!("{request}{SMUGGLED}").as_bytes()).await;
        assert!(said.closed, "{request:?} leaves the connection open: {said:?}");
        assert_eq!((said.status(), said.answers()), (400, 1), "{request:?}: {said:?}");
        let text = said.text.to_ascii_lowercase();
        assert!(text.contains("connection: close\r\n"), "{request:?}: {said:?}");
        assert!(text.contains("x-ms-error-code: badrequest\r\n"), "{request:?}: {said:?}");
    }
    let after =
        format!("gatepost_connections_refused_total{{listener=\"uploads\",reason=\"malformed\"}} {}", MALFORMED.len());
    let page = String::from_utf8_lossy(&site.admin_get("/metrics").await.body).into_owned();
    assert!(page.contains(&after), "each is counted: {after}\n{page}");
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test]
async fn broken_chunks_get_one_400_and_nothing_of_them_is_kept() {
    let site = Site::new("", "");
    let running = site.start().await;
    for body in BROKEN_CHUNKS {
        let request = chunked(&format!("POST {PATH}"), body);
        let said = exchange(&site, format!("{request}{SMUGGLED}").as_bytes()).await;
        assert!(said.closed, "{body:?} leaves the connection open: {said:?}");
        assert_eq!((said.status(), said.answers()), (400, 1), "{body:?}: {said:?}");
    }
    assert_eq!(site.metric("gatepost_events_received_total").await, 0.0);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test]
async fn sound_requests_are_answered_each_in_turn() {
    let site = Site::new("", "");
    let _running = site.start().await;
    for request in SOUND {
        let mut raw = Raw::connect(&site).await;
        raw.say(request.as_bytes()).await;
        raw.end().await;
        let said = raw.hear().await;
        let finals = said.answers() - usize::from(said.status() == 100);
        // After an answer that did not wait for the body, the connection ends.
        let expected = if said.text.contains("connection: close") { 1 } else { request.matches("HTTP/1.").count() };
        assert_eq!(finals, expected, "{request:?}: {said:?}");
        assert_ne!(said.status(), 400, "{request:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_given_up() {
    let site = Site::new("limits = { head_timeout = \"1 s\", keep_alive_idle = \"2 s\" }\n", "");
    let _running = site.start().await;
    let said = exchange(&site, b"POST / HTTP/1.1\r\nHost: a\r\nX: ").await;
    assert_eq!((said.status(), said.answers(), said.closed), (408, 1, true), "{said:?}");
    let idle = exchange(&site, b"").await;
    assert!(idle.closed && idle.text.is_empty(), "an idle connection ends without a word: {idle:?}");
}

#[tokio::test]
async fn http2_by_curl_takes_uploads() {
    let site = Site::new("", "");
    let _running = site.start().await;
    let (cert, url) = (site.state().join("tls/cert.pem"), site.url(PATH));
    let cert = cert.to_str().expect("a plain path");
    let args =
        ["--http2", "--cacert", cert, "-H", "Content-Type: application/json", "-d", "[{\"a\":1},{\"a\":2}]", &url];
    let answer = curl(&args, b"").unwrap();
    assert!(answer.status == 204 && answer.head.starts_with("HTTP/2 204"), "{answer:?}");
    // Several requests on one connection, each with its own stream.
    let each = ["-sS", "--http2", "--cacert", cert, "-w", "%{http_code} %{http_version}\n"];
    let mut command = std::process::Command::new(tool("curl", "curl"));
    command.arg("-Z");
    for n in 0..20 {
        command.args((n > 0).then_some("--next")).args(each).args(["-d", &format!("[{{\"n\":{n}}}]"), &url]);
    }
    let output = run(&mut command, b"");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.matches("204 2\n").count(), 20, "{text}{}", String::from_utf8_lossy(&output.stderr));
    site.until_drained().await;
    assert_eq!(site.metric("gatepost_events_spooled_total").await, 22.0);
}

#[tokio::test]
async fn over_http2_a_refusal_is_heard_however_large_the_body_is() {
    let site = Site::new("", "");
    let _running = site.start().await;
    let cert = site.state().join("tls/cert.pem");
    for bytes in [1, 20_000, 900_000, 5_000_000] {
        for attempt in 0..10 {
            let args = ["--http2", "--cacert", cert.to_str().expect("a plain path"), "--data-binary", "@-"];
            let answer = curl(&[args.as_slice(), &[&site.url("/nowhere")]].concat(), &vec![b'x'; bytes]);
            assert_eq!(answer.as_ref().map(|answer| answer.status), Ok(404), "{bytes} bytes, {attempt}: {answer:?}");
        }
    }
}
