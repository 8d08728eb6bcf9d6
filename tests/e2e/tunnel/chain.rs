//! Two hops: Gatepost behind Gatepost, and Gatepost behind Squid with a password. What works directly works through both.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::https::{Authority, HttpsSite};
use crate::gate::{Gate, PATIENCE, SHORT_LIMITS, client_hello, read_head};
use crate::support::free_port;
use crate::tools::{both, run, run_well, tool};
use gatepost::lab::dns_server::DnsServer;

const NAME: &str = "files.example.test";
const TEXT: &str = "through both gates\n";
const CREDENTIALS: [&str; 2] = ["gate", "canary-of-the-chain"];

fn direct(port: u16) -> String {
    format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "files"
hosts = ["{NAME}:{port}"]
addresses = ["127.0.0.1/32"]
{SHORT_LIMITS}"#
    )
}

fn through(proxy: &str, port: u16) -> String {
    let [user, password] = CREDENTIALS;
    format!(
        r#"
via = "next"
[[tunnel.upstream_proxies]]
name = "next"
proxies = [{{ url = "{proxy}", user = "{user}", password = "{password}" }}]
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "files"
hosts = ["{NAME}:{port}", "beyond.example.test:{port}"]
{SHORT_LIMITS}"#
    )
}

/// Everything that a tunnel must do, through this gateway.
async fn works(gate: &Gate, authority: &Authority, https: &HttpsSite) {
    let curl = |args: &[&str], name: &str, path: &str| {
        let mut command = Command::new(tool("curl", "curl"));
        command.args(["-sS", "-v", "--max-time", "60", "--proxy", &gate.proxy(), "--cacert"]).arg(authority.file());
        command.args(args).arg(format!("https://{name}:{}/{path}", https.port));
        command
    };
    https.put("hello.txt", TEXT.as_bytes());
    for version in ["--http1.1", "--http2"] {
        assert_eq!(run_well(&mut curl(&[version], NAME, "hello.txt")), TEXT);
    }
    let content: Vec<u8> = (0..8_u32 << 20).map(|n| (n ^ (n >> 7)) as u8).collect();
    https.put("large", &content);
    let data = format!("@{}", https.folder.path().join("large").display());
    let echo = run(&mut curl(&["--http1.1", "-H", "Expect:", "-X", "POST", "--data-binary", &data], NAME, "echo"), b"");
    assert!(echo.stdout == content, "the echo differs");
    let refused = both(&run(&mut curl(&[], "elsewhere.example.test", "hello.txt"), b""));
    assert!(refused.contains("403") && refused.contains("host_not_allowed"), "{refused}");

    // The far end's refusal comes back as ours.
    let (answer, _) = gate.tunnel_to(&format!("beyond.example.test:{}", https.port)).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_refused"), "{answer}");
    let line = gate.logged(&format!("{NAME}:{}", https.port)).await;
    assert_eq!(line["via"], "next", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gatepost_behind_gatepost() {
    let authority = Authority::new();
    let https = HttpsSite::start(&authority, &[NAME]).await;
    let far = Gate::start(&direct(https.port)).await;
    far.dns.addresses(NAME, 60, &["127.0.0.1"]);
    let near = Gate::start(&through(&far.proxy(), https.port)).await;
    works(&near, &authority, &https).await;
    assert_eq!(near.dns.queries(), 0, "names are the far gateway's business");
}

#[tokio::test(flavor = "multi_thread")]
async fn gatepost_behind_squid_with_a_password() {
    let authority = Authority::new();
    let https = HttpsSite::start(&authority, &[NAME]).await;
    let squid = Squid::start(https.port);
    let near = Gate::start(&through(&format!("http://127.0.0.1:{}", squid.port), https.port)).await;
    works(&near, &authority, &https).await;
    let wrong = through(&format!("http://127.0.0.1:{}", squid.port), https.port).replace(CREDENTIALS[1], "wrong");
    near.reconfigure(&wrong).await;
    let (answer, _) = near.tunnel_to(&format!("{NAME}:{}", https.port)).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_credentials"), "{answer}");
}

#[tokio::test]
async fn a_loop_is_ended_within_one_round() {
    let (first, second) = (free_port(), free_port());
    let rules = |next: u16| through(&format!("http://127.0.0.1:{next}"), 443);
    let a = Gate::start_on(first, DnsServer::start().await, &rules(second)).await;
    let b = Gate::start_on(second, DnsServer::start().await, &rules(first)).await;
    let (answer, _) = a.tunnel_to(&format!("{NAME}:443")).await;
    assert!(answer.starts_with("HTTP/1.1 508 ") && answer.contains("proxy_loop"), "{answer}");
    let refused = "gatepost_tunnels_refused_total{listener=\"tunnel\",reason=\"proxy_loop\"}";
    assert!(a.site.metric(refused).await >= 1.0 && b.site.metric(refused).await >= 1.0);
    // And one that is its own upstream proxy.
    a.reconfigure(&rules(first)).await;
    let (answer, _) = a.tunnel_to(&format!("{NAME}:443")).await;
    assert!(answer.starts_with("HTTP/1.1 508 "), "{answer}");
}

#[tokio::test]
async fn credentials_stay_on_their_side() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let proxy = format!("http://127.0.0.1:{}", listener.local_addr().expect("bound").port());
    let gate = Gate::start(&through(&proxy, 443)).await;
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway comes");
        let head = read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("sent");
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("in time").ok();
        (head, rest)
    });
    let mut stream = gate.connect().await;
    let request = format!(
        "CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\nUser-Agent: canary-agent\r\nProxy-Authorization: Basic Y2FuYXJ5OmNsaWVudA==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream.write_all(&client_hello(NAME)).await.expect("sent");
    drop(stream);
    let (head, inside) = upstream.await.expect("the upstream proxy ends");
    assert!(!head.contains("Y2FuYXJ5OmNsaWVudA==") && !head.contains("canary-agent"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic ") && head.contains("Via: 1.1 gatepost-"), "{head}");
    let password = base64_of(&CREDENTIALS.join(":"));
    assert!(head.contains(&password) && !inside.windows(password.len()).any(|bytes| bytes == password.as_bytes()));
    assert!(
        !gate.site.log().contains(CREDENTIALS[1]) && !gate.site.status().await.to_string().contains(CREDENTIALS[1])
    );
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A running Squid that wants a password and tunnels to one host.
struct Squid {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Squid {
    fn start(allowed_port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        // Squid gives up its rights and must still read this.
        run_well(Command::new("chmod").arg("777").arg(folder.path()));
        let file = |name: &str, content: &str| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            path
        };
        let [user, password] = CREDENTIALS;
        let hashed = run_well(Command::new(tool("openssl", "openssl")).args(["passwd", "-apr1", password]));
        let users = file("users", &format!("{user}:{hashed}"));
        let hosts = file("hosts", &format!("127.0.0.1 {NAME}\n"));
        let port = free_port();
        let config = file(
            "squid.conf",
            &format!(
                "http_port 127.0.0.1:{port}\nauth_param basic program {} {}\nacl known proxy_auth REQUIRED\nacl there dstdomain {NAME}\nacl there_port port {allowed_port}\nhttp_access allow known there there_port\nhttp_access deny all\nhosts_file {}\ncache deny all\naccess_log none\ncache_log {}\npid_filename none\nshutdown_lifetime 0 seconds\n",
                auth_helper().display(),
                users.display(),
                hosts.display(),
                folder.path().join("cache.log").display(),
            ),
        );
        let child = Command::new(tool("squid", "squid-openssl"))
            .args(["-N", "-f"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it is there");
        let squid = Self { port, child, _folder: folder };
        let until = tokio::time::Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(tokio::time::Instant::now() < until, "Squid does not listen");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        squid
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn auth_helper() -> PathBuf {
    let path = Path::new("/usr/lib/squid/basic_ncsa_auth");
    assert!(path.is_file(), "{} is missing; install the Debian package squid-openssl", path.display());
    path.to_owned()
}
