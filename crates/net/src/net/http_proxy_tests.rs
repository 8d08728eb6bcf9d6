use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::http_client::{Answer, HttpClient, SendError};
use crate::net::tls_client::Trust;

/// What the proxy does with a CONNECT.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers with this and relays to the real endpoint.
    Relays(&'static str),
    /// Answers with this and closes.
    Says(&'static str),
    /// Never answers.
    Hangs,
}

/// A scripted proxy: raw sockets, nothing of the client's code. Gives its address and the heads that it was sent.
async fn proxy(manner: Manner, endpoint: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (seen, endpoint) = (Arc::clone(&seen), endpoint.clone());
            tokio::spawn(async move {
                let head = head(&mut socket).await;
                seen.lock().push(head);
                match manner {
                    Manner::Relays(answer) => {
                        socket.write_all(answer.as_bytes()).await.unwrap();
                        let mut there = TcpStream::connect(endpoint).await.unwrap();
                        copy_bidirectional(&mut socket, &mut there).await.ok();
                    }
                    Manner::Says(answer) => socket.write_all(answer.as_bytes()).await.unwrap(),
                    Manner::Hangs => std::future::pending().await,
                }
            });
        }
    });
    (url, heads)
}

async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// An endpoint that answers each connection once with what it was asked for. TLS with a certificate for `endpoint.example`.
async fn endpoint(tls: Option<Arc<rustls::ServerConfig>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => echo(&mut socket).await,
                    Some(config) => echo(&mut TlsAcceptor::from(config).accept(socket).await.unwrap()).await,
                }
            });
        }
    });
    authority
}

async fn echo(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let line = head(stream).await.lines().next().unwrap_or_default().to_owned();
    let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{line}", line.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.ok();
}

async fn get(proxy: &Config, trust: &Trust, url: &str) -> Result<Answer, SendError> {
    let client = HttpClient::through(Some(proxy), trust, Duration::from_millis(500)).unwrap();
    client.get(&url.parse().unwrap(), HeaderMap::new(), Duration::from_secs(5)).await
}

fn at(url: String) -> Config {
    Config { url, ..Config::default() }
}

#[tokio::test]
async fn plain_http_goes_through_a_tunnel_too() {
    let (url, heads) = proxy(Manner::Relays("HTTP/1.1 200 Connection established\r\n\r\n"), endpoint(None).await).await;
    let answer = get(&at(url), &Trust::Nobody, "http://endpoint.example/a?b").await.unwrap();
    assert_eq!(answer.body, "GET /a?b HTTP/1.1");
    let heads = heads.lock();
    assert!(heads[0].starts_with("CONNECT endpoint.example:80 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[0].to_ascii_lowercase().contains("host: endpoint.example:80\r\n"), "{heads:?}");
    assert!(!heads[0].to_ascii_lowercase().contains("authorization"), "{heads:?}");
}

#[tokio::test]
async fn tls_is_with_the_endpoint_and_basic_with_the_proxy() {
    let made = rcgen::generate_simple_self_signed(["endpoint.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    // Old proxies speak HTTP/1.0, and headers of the proxy's own are no matter.
    let opens = Manner::Relays("HTTP/1.0 200 Fine\r\nvia: it\r\n\r\n");
    let (url, heads) = proxy(opens, endpoint(Some(Arc::new(config))).await).await;
    let proxy = Config { url, username: Some("me".to_owned()), password: Some(Secret::new("canary")) };
    let answer = get(&proxy, &Trust::File(ca.clone()), "https://endpoint.example/x").await.unwrap();
    assert_eq!(answer.body, "GET /x HTTP/1.1");
    {
        let heads = heads.lock();
        assert!(heads[0].starts_with("CONNECT endpoint.example:443 HTTP/1.1\r\n"), "{heads:?}");
        // base64 of "me:canary".
        assert!(heads[0].to_ascii_lowercase().contains("proxy-authorization: basic bwu6y2fuyxj5\r\n"), "{heads:?}");
    }
    // A name that the certificate does not have.
    let error = get(&proxy, &Trust::File(ca), "https://other.example/x").await.unwrap_err();
    assert!(matches!(error, SendError::Connect(_)), "{error}");
}

#[tokio::test]
async fn a_tunnel_that_does_not_come_about_names_the_proxy_and_what_it_said() {
    for (manner, why) in [
        (Manner::Says("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"), "answered 407"),
        (Manner::Says("HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\ncanary"), "403 Forbidden"),
        (Manner::Says("HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n"), "302"),
        (Manner::Says(""), "opened no tunnel"),
        (Manner::Says("220 mail.example ESMTP\r\n\r\n"), "opened no tunnel"),
        (Manner::Hangs, "no connection within"),
    ] {
        let (url, _) = proxy(manner, String::new()).await;
        let config =
            Config { url: url.clone(), username: Some("me".to_owned()), password: Some(Secret::new("canary")) };
        let error = get(&config, &Trust::Nobody, "http://endpoint.example/").await.unwrap_err();
        let SendError::Connect(text) = &error else { panic!("{error}") };
        assert!(text.contains(why), "{text}");
        assert!(text.contains(&url), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_down_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = get(&at(url.clone()), &Trust::Nobody, "http://endpoint.example/").await.unwrap_err();
    let SendError::Connect(text) = &error else { panic!("{error}") };
    assert!(text.contains(&url) && text.contains("refused"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_opens_and_closes_is_no_connection_for_tls() {
    let (url, _) = proxy(Manner::Says("HTTP/1.1 200 OK\r\n\r\n"), String::new()).await;
    let client = HttpClient::through(Some(&at(url)), &Trust::Nobody, Duration::from_secs(5)).unwrap();
    let url = "https://endpoint.example/".parse().unwrap();
    let sent = client.post(&url, HeaderMap::new(), Bytes::from_static(b"events"), Duration::from_secs(5)).await;
    assert!(matches!(sent, Err(SendError::Connect(_))), "{sent:?}");
}

#[test]
fn mistakes_are_told_by_key() {
    let keys = |config: Config| config.problems().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let sound = at("http://proxy.example:3128".to_owned());
    assert_eq!(keys(sound.clone()), [""; 0]);
    for url in [
        "",
        "proxy.example:3128",
        "https://proxy.example",
        "http://me:pw@proxy.example",
        "http://p.example/x",
        "http://p:99999",
    ] {
        assert_eq!(keys(at(url.to_owned())), ["url"], "{url}");
    }
    assert_eq!(keys(Config { password: Some(Secret::new("x")), ..sound.clone() }), ["username"]);
    assert_eq!(keys(Config { username: Some("a:b".to_owned()), ..sound }), ["username"]);
}
