//! The ways to an endpoint, for every output: no connection, TLS, probes, proxies.

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::net::http_proxy;

#[tokio::test]
async fn when_no_connection_was_made_nothing_was_sent() {
    // Nobody listens on port 1 of loopback, and "invalid" is no name by definition.
    for authority in ["127.0.0.1:1", "name.invalid"] {
        for (config, ..) in http_outputs(authority) {
            let output = built(&config);
            let outcome = bare(output.send(0, &request(&*output)).await);
            assert_eq!(outcome, retry(RetryReason::Connect, None), "{authority}");
            assert!(output.probe(0).await.is_err());
        }
    }
}

/// A directory with `ca.pem`, and a server with that certificate.
fn certificate() -> (tempfile::TempDir, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (dir, Arc::new(server))
}

fn trusting(authority: &str, directory: &Path) -> Arc<dyn Output> {
    let mut config = workspace(format!("https://{authority}"));
    if let Config::Workspace(config) = &mut config {
        config.ca_file = Some(directory.join("ca.pem"));
    }
    built(&config)
}

#[tokio::test]
async fn tls_is_spoken_with_the_one_we_trust_and_nobody_else() {
    let (dir, server) = certificate();
    let collector = Collector::start(Some(server)).await;
    let output = trusting(&collector.authority, dir.path());
    assert_eq!(output.send(0, &request(&*output)).await, Outcome::Accepted);
    collector.will([Behaviour::ResetAfterBody]);
    assert_eq!(bare(output.send(0, &request(&*output)).await), AMBIGUOUS);
    collector.take();

    let (other, _) = certificate();
    let output = trusting(&collector.authority, other.path());
    assert_eq!(bare(output.send(0, &request(&*output)).await), retry(RetryReason::Connect, None));
    assert!(collector.take().is_empty(), "the token must not leave");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_no_connection() {
    let (dir, _) = certificate();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let output = trusting(&silent.local_addr().unwrap().to_string(), dir.path());
    assert_eq!(bare(output.send(0, &request(&*output)).await), retry(RetryReason::Connect, None));
}

#[tokio::test]
async fn probes_send_no_events() {
    let collector = Collector::start(None).await;
    let url = format!("http://{}", collector.authority);
    let output = built(&workspace(url.clone()));
    assert_eq!(output.probe(0).await, Ok(()));
    assert_eq!(collector.take()[0].body, b"[]");
    collector.will([Behaviour::Answer(403, "")]);
    assert!(output.probe(0).await.unwrap_err().starts_with("403"));
    collector.take();

    let Config::Http(mut config) = collector_output(format!("{url}/events"), Shape::Ndjson, Compression::None) else {
        panic!("not an HTTP output")
    };
    assert_eq!(built(&Config::Http(config.clone())).probe(0).await, Ok(()));
    assert!(collector.take().is_empty());
    config.probe = http::Probe::Get;
    config.probe_path = "/health?full".to_owned();
    let output = built(&Config::Http(config));
    assert_eq!(output.probe(0).await, Ok(()));
    let received = collector.take();
    assert!(received[0].head.starts_with("GET /health?full HTTP/1.1"), "{}", received[0].head);
    assert!(received[0].body.is_empty());
}

/// A proxy that answers every CONNECT with this, and does nothing more. Gives its URL, and what it was asked for.
async fn proxy(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let line = String::from_utf8(head).unwrap().lines().next().unwrap().to_owned();
            kept.lock().push(line);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

#[tokio::test]
async fn a_probe_goes_by_the_proxy_that_requests_go_by() {
    // "invalid" is no name by definition: whoever asked for it directly would find nobody there.
    for (endpoint, asked_for) in
        [("http://siem.invalid", "siem.invalid:80"), ("https://siem.invalid/x", "siem.invalid:443")]
    {
        for (answer, is_there) in
            [("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n", false)]
        {
            let (url, asked) = proxy(answer).await;
            let Config::Http(mut config) = collector_output(endpoint.to_owned(), Shape::Ndjson, Compression::None)
            else {
                panic!("not an HTTP output")
            };
            config.proxy = Some(http_proxy::Config { url: url.clone(), ..http_proxy::Config::default() });
            let probed = built(&Config::Http(config)).probe(0).await;
            assert_eq!(*asked.lock(), [format!("CONNECT {asked_for} HTTP/1.1")]);
            match probed {
                Ok(()) => assert!(is_there, "{answer}"),
                Err(told) => assert!(!is_there && told.contains(&url) && told.contains("502"), "{told}"),
            }
        }
    }
}
