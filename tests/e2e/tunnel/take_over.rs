//! Hosts that are taken over: scripts that know only a proxy and a host of Azure's, what everybody else gets, and who tries to make
//! more of it.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::https::Authority;
use crate::gate::{Canary, Gate, PATIENCE, SHORT_LIMITS, client_hello, read_head, read_to_end, section};
use crate::support::{Site, free_port};
use crate::tools::{both, curl, of_checkout, run, tool};
use gatepost::lab::dns_server::DnsServer;

const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";
const HOST: &str = "01234567-89ab-cdef-0123-456789abcdef.ods.opinsights.azure.com";
/// The address of a client that is taken over; all others of loopback are not.
const OLD: &str = "127.0.0.2";

fn key() -> Vec<u8> {
    (0..64).collect()
}

/// What takes `hosts` over for clients at [`OLD`], and lets the others tunnel as `allow` says.
fn tunnel(hosts: &str, allow: &str, listener: &str) -> String {
    format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
{listener}
[[tunnel.groups]]
name = "old"
networks = ["{OLD}/32", "10.20.0.0/16"]
[[tunnel.groups]]
name = "others"
networks = ["127.0.0.1/32"]
{allow}
[tunnel.ca]
certificate = "ca/ca.pem"
key = "ca/ca-key.pem"
[[tunnel.take_over]]
name = "scripts"
hosts = ["{hosts}"]
groups = ["old"]
input = "uploads"
{SHORT_LIMITS}"#
    )
}

/// What the upload listener speaks, and where its events go.
fn listener(more: &str) -> String {
    format!(
        "data_collector = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"] }}] }}\n\
         logs_ingestion = {{ enabled = false }}\nevents = {{ enabled = false }}\n{more}\n\
         [[outputs]]\nkind = \"file\"\nname = \"kept\"\ndirectory = \"kept\"\nforward = {{ linger = \"20 ms\" }}\n",
        BASE64_STANDARD.encode(key())
    )
}

/// A gateway that takes over, with an authority that it made itself.
async fn start(hosts: &str, allow: &str) -> Gate {
    start_with(&tunnel(hosts, allow, ""), &listener("")).await
}

async fn start_with(tunnel: &str, listener: &str) -> Gate {
    let (dns, port) = (DnsServer::start().await, free_port());
    let site = Site::new(listener, &section(port, &dns, tunnel));
    let made = site.gatepost(&["ca", "init", "ca"]);
    assert!(made.status.success(), "{}", both(&made));
    let running = site.start().await;
    Gate { site, running, dns, port }
}

/// The body of a post, and the headers that sign it.
fn signed(body: &str) -> Vec<(&'static str, String)> {
    let rfc_1123 =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let date = OffsetDateTime::now_utc().format(&rfc_1123).expect("it can be written");
    let text = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", body.len());
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key()), text.as_bytes());
    vec![
        ("Authorization", format!("SharedKey {WORKSPACE}:{}", BASE64_STANDARD.encode(signature))),
        ("Log-Type", "MyRecordType".to_owned()),
        ("x-ms-date", date),
        ("Content-Type", "application/json".to_owned()),
    ]
}

fn request(body: &str) -> String {
    let headers: String = signed(body).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!(
        "POST /api/logs?api-version=2016-04-01 HTTP/1.1\r\nHost: {HOST}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

impl Gate {
    fn authority(&self) -> String {
        self.site.dir.join("ca/ca.pem").display().to_string()
    }

    /// Asks for a tunnel from this address, and reads the head of the answer.
    async fn tunnel_from(&self, address: &str, target: &str) -> (String, TcpStream) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(format!("{address}:0").parse().expect("an address")).expect("bound");
        let proxy = format!("127.0.0.1:{}", self.port).parse().expect("an address");
        let mut stream = socket.connect(proxy).await.expect("the gateway listens");
        let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(connect.as_bytes()).await.expect("sent");
        (read_head(&mut stream).await, stream)
    }

    /// TLS inside of a tunnel, as a client that trusts the authority.
    async fn tls(&self, tunnel: TcpStream) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.authority()).expect("PEM")).expect("an authority");
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("the provider has them")
                .with_root_certificates(roots)
                .with_no_client_auth();
        let name = ServerName::try_from(HOST).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tunnel).await.expect("a certificate that is believed")
    }

    /// Waits until a series of the metrics page has come to so many.
    async fn counted(&self, series: &str, many: f64) {
        self.site.until(series, async || self.site.metric(series).await >= many).await;
    }

    /// The lines of the file output, once all is forwarded.
    async fn kept(&self) -> Vec<String> {
        self.site.until_drained().await;
        let mut lines = Vec::new();
        let mut folders = vec![self.site.dir.join("kept")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => lines.extend(std::fs::read_to_string(path).expect("text").lines().map(str::to_owned)),
                }
            }
        }
        lines
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_know_only_a_proxy_and_the_authority_reach_an_input_and_each_record_arrives_once() {
    // Here every client is an old one: scripts choose no address.
    let tunnel = tunnel("*.ods.opinsights.azure.com", "", "").replace(&format!("{OLD}/32"), "127.0.0.0/8");
    let gate =
        start_with(&tunnel.replace("networks = [\"127.0.0.1/32\"]", "networks = [\"192.0.2.0/24\"]"), &listener(""))
            .await;
    let scripts = [
        (tool("sh", "dash"), of_checkout("tests/data/clients/data-collector.sh")),
        (tool("python3", "python3"), of_checkout("tests/data/clients/data-collector.py")),
    ];
    for (n, (program, script)) in scripts.into_iter().enumerate() {
        let mut command = Command::new(program);
        command
            .arg(script)
            .env("WORKSPACE_ID", WORKSPACE)
            .env("SHARED_KEY", BASE64_STANDARD.encode(key()))
            .env("https_proxy", gate.proxy())
            .env("HTTPS_PROXY", gate.proxy())
            .env("CA", gate.authority());
        let output = run(&mut command, format!("[{{\"StringValue\":\"of script {n}\"}}]").as_bytes());
        assert_eq!(both(&output).trim(), "200", "{command:?}\n{}", gate.site.log());
    }
    let line = gate.logged(&format!("{HOST}:443")).await;
    assert_eq!((&line["reason"], &line["rule"]), (&"taken_over".into(), &"scripts".into()), "{line}");
    assert_eq!(
        (&line["sni"], &line["client"].as_str().map(|client| client.starts_with("127."))),
        (&HOST.into(), &Some(true))
    );
    assert!(line["bytes_up"].as_u64() > Some(500) && line["bytes_down"].as_u64() > Some(500), "{line}");

    // One request, sent again over another tunnel, and after kill -9: each time the same bytes.
    let body = r#"[{"StringValue":"once"}]"#;
    let headers: Vec<String> = signed(body).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let url = format!("https://{HOST}/api/logs?api-version=2016-04-01");
    let send = |proxy: &str, authority: &str| {
        let mut args =
            vec!["--suppress-connect-headers", "--proxy", proxy, "--cacert", authority, "--data-binary", body, &url];
        args.extend(headers.iter().flat_map(|header| ["-H", header.as_str()]));
        curl(&args, b"").map(|reply| reply.status)
    };
    let (proxy, authority) = (gate.proxy(), gate.authority());
    for _ in 0..2 {
        assert_eq!(send(&proxy, &authority), Ok(200), "{}", gate.site.log());
    }
    let Gate { site, running, dns, port } = gate;
    running.kill();
    let running = site.start().await;
    let gate = Gate { site, running, dns, port };
    assert_eq!(send(&proxy, &authority), Ok(200), "{}", gate.site.log());
    let kept = gate.kept().await;
    for text in ["of script 0", "of script 1", "once"] {
        assert_eq!(kept.iter().filter(|line| line.contains(text)).count(), 1, "{text}: {kept:#?}");
    }
    gate.counted("gatepost_tunnels_taken_over_total{rule=\"scripts\",input=\"uploads\"}", 1.0).await;
    let taken = &gate.site.status().await["tunnels"]["taken_over"];
    assert_eq!((&taken["hosts"][0]["name"], &taken["certificates"]), (&"scripts".into(), &1.into()), "{taken}");
    assert!(taken["authorities"][0]["may_sign_for"].to_string().contains("ods.opinsights"), "{taken}");
    assert!(gate.running.stop().success());
    gate.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn to_everybody_else_the_host_is_what_it_was() {
    let canary = Canary::start().await;
    let allow = format!(
        "[[tunnel.allow]]\nname = \"hosts\"\nhosts = [\"{HOST}\"]\nports = [{}]\naddresses = [\"127.0.0.1/32\"]\n",
        canary.port
    );
    let target = format!("{HOST}:{}", canary.port);
    let gate = start(&format!("*.ods.opinsights.azure.com:{}", canary.port), &allow).await;
    gate.dns.addresses(HOST, 600, &["127.0.0.1"]);
    let echoes = async |address: &str| {
        let (answer, mut stream) = gate.tunnel_from(address, &target).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let hello = client_hello(HOST);
        stream.write_all(&hello).await.expect("sent");
        let mut echo = vec![0; hello.len()];
        timeout(PATIENCE, stream.read_exact(&mut echo)).await.expect("in time").expect("the tunnel stands");
        echo == hello
    };
    assert!(echoes("127.0.0.1").await, "who is in no group of the table reaches the host");
    assert_eq!(canary.connections(), 1);
    assert!(!echoes(OLD).await, "who is in it is answered by the gateway");
    assert_eq!(canary.connections(), 1, "and the host hears nothing of it");
    // Another port of the host, and a host that nothing names, are refused as ever.
    for other in [format!("{HOST}:444"), "other.example.com:443".to_owned()] {
        assert!(gate.tunnel_from(OLD, &other).await.0.starts_with("HTTP/1.1 403 "), "{other}");
    }
    // Without the table it is the host's again.
    let before = tunnel("x", &allow, "");
    let (without, _) = before.split_once("[tunnel.ca]").expect("it is there");
    gate.reconfigure(&format!("{without}{SHORT_LIMITS}")).await;
    assert!(echoes(OLD).await, "nothing is taken over any more");
    assert_eq!(canary.connections(), 2);
    assert!(gate.site.status().await["tunnels"]["taken_over"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_of_a_host_that_is_taken_over_is_looked_at_as_any_other() {
    let gate = start("*.ods.opinsights.azure.com", "").await;
    let target = format!("{HOST}:443");
    let says = async |bytes: &[u8], reason: &str| {
        let (answer, mut stream) = gate.tunnel_from(OLD, &target).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        stream.write_all(bytes).await.expect("sent");
        let answered = read_to_end(&mut stream).await;
        let series = format!("gatepost_tunnels_refused_total{{listener=\"tunnel\",reason=\"{reason}\"}}");
        gate.counted(&series, 1.0).await;
        assert!(answered.len() <= 7, "nothing but an alert: {answered:?}");
    };
    says(&client_hello("other.ods.opinsights.azure.com"), "sni_differs").await;
    says(b"POST /api/logs?api-version=2016-04-01 HTTP/1.1\r\nHost: x\r\n\r\n", "not_tls").await;
    says(&client_hello(HOST)[..40], "hello_timeout").await;
    // A hello that is right, and then nothing: the listener's own patience ends it.
    let (_, mut stream) = gate.tunnel_from(OLD, &target).await;
    stream.write_all(&client_hello(HOST)).await.expect("sent");
    stream.shutdown().await.expect("nothing more");
    read_to_end(&mut stream).await;
    gate.counted("gatepost_connections_refused_total{listener=\"uploads\",reason=\"tls_error\"}", 1.0).await;
    // A client that trusts another authority.
    let stranger = Authority::new();
    let url = format!("https://{HOST}/");
    let refused = curl(
        &["--interface", OLD, "--proxy", &gate.proxy(), "--cacert", &stranger.file().display().to_string(), &url],
        b"",
    );
    assert_eq!(refused.expect_err("another authority").0, 60);
    gate.counted("gatepost_connections_refused_total{listener=\"uploads\",reason=\"tls_error\"}", 2.0).await;
    // Whoever trusts it gets the words of the input, not of the proxy.
    let (_, stream) = gate.tunnel_from(OLD, &target).await;
    let mut tls = gate.tls(stream).await;
    tls.write_all(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .expect("sent");
    let mut answer = String::new();
    timeout(PATIENCE, tls.read_to_string(&mut answer)).await.expect("in time").ok();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_sees_the_client_and_its_limits_hold() {
    let proxied = "proxy_protocol_from = [\"127.0.0.1/32\"]";
    let only_ten = "auth = { networks = [\"10.20.0.7/32\"] }\nlimits = { max_connections_per_address = 1 }";
    let gate = start_with(&tunnel("*.ods.opinsights.azure.com", "", proxied), &listener(only_ten)).await;
    let through = async |client: &str| {
        let mut stream = gate.connect().await;
        let target = format!("{HOST}:443");
        let head =
            format!("PROXY TCP4 {client} 192.0.2.1 50000 8080\r\nCONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
        stream
    };
    let post = async |stream: &mut TlsStream<TcpStream>, body: &str| {
        stream.write_all(request(body).as_bytes()).await.expect("sent");
        let mut head = [0; 12];
        timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("in time").expect("an answer");
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    let mut ours = gate.tls(through("10.20.0.7").await).await;
    assert_eq!(post(&mut ours, r#"[{"a":1}]"#).await, "200", "{}", gate.site.log());
    let mut other = gate.tls(through("10.20.0.8").await).await;
    assert_eq!(
        post(&mut other, r#"[{"a":2}]"#).await,
        "403",
        "the listener's networks see the host behind the balancer"
    );
    // The listener's limit for one address counts it too.
    let mut second = through("10.20.0.7").await;
    second.write_all(&client_hello(HOST)).await.ok();
    assert_eq!(read_to_end(&mut second).await, "");
    let series = "gatepost_connections_refused_total{listener=\"uploads\",reason=\"too_many_from_address\"}";
    gate.counted(series, 1.0).await;
    // A connection that is kept goes on while the configuration is read again, and ends with the listener.
    gate.reconfigure(&tunnel("*.ods.opinsights.azure.com", "", proxied).replace("scripts", "renamed")).await;
    let mut rest = vec![0; 4096];
    timeout(Duration::from_millis(200), ours.read(&mut rest)).await.ok();
    assert_eq!(post(&mut ours, r#"[{"a":3}]"#).await, "200");
    let kept = gate.kept().await;
    for (value, times) in [(1, 1), (2, 0), (3, 1)] {
        let found = kept.iter().filter(|line| line.contains(&format!("\"a_d\":{value}"))).count();
        assert_eq!(found, times, "{value}: {kept:#?}");
    }
    drop((ours, other));
    assert!(gate.running.stop().success());
    gate.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_takes_nothing_over_any_more() {
    let gate = start("*.ods.opinsights.azure.com", "").await;
    let (_, stream) = gate.tunnel_from(OLD, &format!("{HOST}:443")).await;
    let mut kept = gate.tls(stream).await;
    let drained = curl(&["-X", "POST", &format!("http://127.0.0.1:{}/drain", gate.site.admin)], b"");
    assert_eq!(drained.expect("an answer").status, 200);
    let until = Instant::now() + PATIENCE;
    loop {
        let (answer, _) = gate.tunnel_from(OLD, &format!("{HOST}:443")).await;
        if answer.starts_with("HTTP/1.1 503 ") {
            assert!(answer.contains("draining") || answer.contains("take_over_input"), "{answer}");
            break;
        }
        assert!(Instant::now() < until, "{answer}");
        sleep(Duration::from_millis(20)).await;
    }
    // What had nothing to do was closed, and not cut off in the middle of an answer.
    let mut rest = Vec::new();
    timeout(PATIENCE, kept.read_to_end(&mut rest)).await.expect("it ends").ok();
    assert!(rest.is_empty());
    assert!(gate.running.stop().success());
}
