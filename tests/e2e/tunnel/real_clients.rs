//! Clients as people have them, told only the address of the proxy: what is allowed works, what is not gets the
//! documented answer.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::https::{Authority, HttpsSite};
use crate::gate::Gate;
use crate::tools::{both, run, run_well, tool};

const NAME: &str = "files.example.test";
const TEXT: &str = "through the gate\n";

struct World {
    gate: Gate,
    authority: Authority,
    https: HttpsSite,
}

/// A gateway that allows one HTTPS site, which serves one file.
async fn world() -> World {
    let authority = Authority::new();
    let https = HttpsSite::start(&authority, &[NAME]).await;
    https.put("hello.txt", TEXT.as_bytes());
    let gate = Gate::start(&format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "files"
hosts = ["{NAME}:{}"]
addresses = ["127.0.0.1/32"]
"#,
        https.port
    ))
    .await;
    gate.dns.addresses(NAME, 60, &["127.0.0.1"]);
    World { gate, authority, https }
}

impl World {
    fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}/{path}", self.https.port)
    }

    fn refused_url(&self) -> String {
        format!("https://elsewhere.example.test:{}/hello.txt", self.https.port)
    }

    /// A command that knows the proxy from its environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.https.folder.path())
            .env("https_proxy", self.gate.proxy())
            .env("HTTPS_PROXY", self.gate.proxy())
            .env("SSL_CERT_FILE", self.authority.file())
            .env("REQUESTS_CA_BUNDLE", self.authority.file())
            .env("NODE_EXTRA_CA_CERTS", self.authority.file());
        command
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_with_http_1_and_http_2_inside() {
    let world = world().await;
    let curl = tool("curl", "curl");
    for (version, wire) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let ca = world.authority.file();
        let output = run_well(
            world
                .command(&curl)
                .args(["-sS", version, "-w", "%{http_version} %{http_connect}", "--cacert"])
                .arg(&ca)
                .arg(world.url("hello.txt")),
        );
        assert_eq!(output, format!("{TEXT}{wire} 200"));
    }
    let refused = run(world.command(&curl).args(["-sS", "-v", "-w", "%{http_connect}"]).arg(world.refused_url()), b"");
    let said = both(&refused);
    assert!(!refused.status.success() && said.contains("403"), "{said}");
    assert!(said.contains("X-Gatepost-Reason: host_not_allowed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_up_and_down_unchanged() {
    let world = world().await;
    let content: Vec<u8> = (0..32_u32 << 20).map(|n| (n ^ (n >> 11)) as u8).collect();
    world.https.put("large", &content);
    let file = world.https.folder.path().join("large");
    let back = world.https.folder.path().join("back");
    let body = format!("@{}", file.display());
    let mut command = world.command(&tool("curl", "curl"));
    command.args(["-sS", "--http1.1", "-X", "POST", "-H", "Expect:", "--data-binary", &body, "-o"]);
    command.arg(&back).arg("--cacert").arg(world.authority.file()).arg(world.url("echo"));
    run_well(&mut command);
    assert!(std::fs::read(&back).expect("the answer") == content, "the echo differs");
    let line = world.gate.logged(&format!("{NAME}:{}", world.https.port)).await;
    assert!(line["bytes_up"].as_u64() > Some(32 << 20) && line["bytes_down"].as_u64() > Some(32 << 20), "{line}");
    // curl may close while the server's farewell is still on its way.
    assert!(line["reason"] == "closed" || line["reason"] == "client_reset", "{line}");
    assert_eq!((&line["oms_event_id"], &line["sni"]), (&107.into(), &NAME.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn wget() {
    let world = world().await;
    let wget = tool("wget", "wget");
    let fetch = |url: String| {
        let mut command = world.command(&wget);
        command.args(["-q", "-O", "-", "--tries=1", "-e", &format!("https_proxy={}", world.gate.proxy())]);
        command.arg(format!("--ca-certificate={}", world.authority.file().display())).arg(url);
        command
    };
    assert_eq!(run_well(&mut fetch(world.url("hello.txt"))), TEXT);
    assert!(!run(&mut fetch(world.refused_url()), b"").status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn git_clones() {
    let world = world().await;
    let git = tool("git", "git");
    let work = tempfile::tempdir().expect("a temporary directory");
    let bare = world.https.folder.path().join("repo.git");
    let here = |args: &[&str]| {
        let mut command = world.command(&git);
        command.current_dir(work.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        command.args(["-c", "user.name=t", "-c", "user.email=t@example.test"]).args(args);
        run_well(&mut command)
    };
    here(&["init", "-q", "-b", "main", "source"]);
    std::fs::write(work.path().join("source/file"), TEXT).expect("written");
    here(&["-C", "source", "add", "file"]);
    here(&["-C", "source", "commit", "-q", "-m", "first"]);
    here(&["clone", "-q", "--bare", "source", bare.to_str().expect("a path")]);
    here(&["-C", bare.to_str().expect("a path"), "update-server-info"]);
    let ca = format!("http.sslCAInfo={}", world.authority.file().display());
    here(&["-c", &ca, "clone", "-q", &world.url("repo.git"), "copy"]);
    assert_eq!(std::fs::read_to_string(work.path().join("copy/file")).expect("the clone"), TEXT);
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_s_client() {
    let world = world().await;
    let mut command = world.command(&tool("openssl", "openssl"));
    command.args(["s_client", "-quiet", "-verify_return_error", "-servername", NAME, "-proxy"]);
    command.arg(format!("127.0.0.1:{}", world.gate.port)).arg("-connect").arg(format!("{NAME}:{}", world.https.port));
    command.arg("-CAfile").arg(world.authority.file());
    let request = format!("GET /hello.txt HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    let output = run(&mut command, request.as_bytes());
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(TEXT), "{}", both(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn python_requests_httpx_aiohttp_and_pip() {
    let world = world().await;
    let python = python_with(&["requests", "httpx", "aiohttp"]);
    let url = world.url("hello.txt");
    let refused = world.refused_url();
    let script = format!(
        r#"
import asyncio, ssl, sys, requests, httpx, aiohttp
url, refused, proxy, ca = sys.argv[1:5]
assert requests.get(url).text == {TEXT:?}
try:
    requests.get(refused)
    raise SystemExit("requests was let through")
except requests.exceptions.ProxyError as error:
    assert "403" in str(error), error
context = ssl.create_default_context(cafile=ca)
with httpx.Client(proxy=proxy, verify=context) as client:
    assert client.get(url).text == {TEXT:?}
    try:
        client.get(refused)
        raise SystemExit("httpx was let through")
    except httpx.ProxyError as error:
        assert "403" in str(error), error
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get(url, proxy=proxy, ssl=context) as answer:
            assert await answer.text() == {TEXT:?}
        try:
            await session.get(refused, proxy=proxy, ssl=context)
            raise SystemExit("aiohttp was let through")
        except aiohttp.ClientHttpProxyError as error:
            assert error.status == 403, error
asyncio.run(main())
print("done")
"#
    );
    let mut command = world.command(&python);
    command.args(["-c", &script, &url, &refused, &world.gate.proxy()]).arg(world.authority.file());
    assert_eq!(run_well(&mut command).trim(), "done");

    // pip, from an index of its own behind the gateway.
    world.https.put(
        "simple/gatepost-sample/index.html",
        b"<a href=\"/gatepost_sample-1.0.tar.gz\">gatepost_sample-1.0.tar.gz</a>",
    );
    world.https.put("gatepost_sample-1.0.tar.gz", b"not looked into");
    let target = tempfile::tempdir().expect("a temporary directory");
    let mut command = world.command(&python);
    command.args(["-m", "pip", "--disable-pip-version-check", "--isolated", "--cert"]).arg(world.authority.file());
    command.args([
        "--proxy",
        &world.gate.proxy(),
        "index",
        "versions",
        "gatepost-sample",
        "--index-url",
        &world.url("simple"),
    ]);
    let said = both(&run(&mut command, b""));
    assert!(said.contains("1.0"), "{said}");
    drop(target);
}

#[tokio::test(flavor = "multi_thread")]
async fn node_with_a_proxy_agent() {
    let world = world().await;
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    if !modules.join("node_modules/https-proxy-agent").is_dir() {
        let mut install = Command::new(tool("npm", "npm"));
        install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&modules);
        run_well(install.arg("https-proxy-agent@7"));
    }
    let script = r#"
const https = require('https'), { HttpsProxyAgent } = require('https-proxy-agent');
const [url] = process.argv.slice(1), agent = new HttpsProxyAgent(process.env.HTTPS_PROXY);
https.get(url, { agent }, answer => {
  answer.setEncoding('utf8');
  let all = '';
  answer.on('data', data => all += data);
  answer.on('end', () => console.log(answer.statusCode, all.trim()));
}).on('error', error => console.log(error.message));
"#;
    let node = tool("node", "nodejs");
    let ask = |url: String| {
        let mut command = world.command(&node);
        command.current_dir(&modules).args(["-e", script, "--", &url]);
        both(&run(&mut command, b""))
    };
    assert_eq!(ask(world.url("hello.txt")).trim(), format!("200 {}", TEXT.trim()));
    let refused = ask(world.refused_url());
    assert!(refused.contains("403") && refused.contains("host_not_allowed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_proxy_and_its_client_certificates() {
    let authority = Authority::new();
    let https = HttpsSite::start(&authority, &[NAME]).await;
    https.put("hello.txt", TEXT.as_bytes());
    let (certificate, key) = authority.sign(&["localhost"]);
    let (host_a, host_a_key) = authority.sign(&["host-a.plant"]);
    let (host_b, host_b_key) = authority.sign(&["host-b.plant"]);
    let gate = Gate::start(&format!(
        r#"
[[tunnel.listeners]]
listen = "{{listen}}"
tls = {{ mode = "on", certificate = "{}", key = "{}", client_ca = "{}" }}
[[tunnel.groups]]
name = "plant"
networks = ["127.0.0.0/8"]
certificates = ["host-a.plant"]
[[tunnel.allow]]
name = "files"
hosts = ["{NAME}:{}"]
addresses = ["127.0.0.1/32"]
"#,
        certificate.display(),
        key.display(),
        authority.file().display(),
        https.port
    ))
    .await;
    gate.dns.addresses(NAME, 60, &["127.0.0.1"]);
    let fetch = |certificate: Option<(&PathBuf, &PathBuf)>| {
        let mut command = Command::new(tool("curl", "curl"));
        command.args(["-sS", "-v", "--max-time", "20", "--proxy"]).arg(format!("https://localhost:{}", gate.port));
        command.arg("--proxy-cacert").arg(authority.file()).arg("--cacert").arg(authority.file());
        if let Some((certificate, key)) = certificate {
            command.arg("--proxy-cert").arg(certificate).arg("--proxy-key").arg(key);
        }
        command.arg(format!("https://{NAME}:{}/hello.txt", https.port));
        run(&mut command, b"")
    };
    let known = fetch(Some((&host_a, &host_a_key)));
    assert!(both(&known).contains("HTTP/1.1 200 Connection established"), "never HTTP/2: {}", both(&known));
    assert_eq!(String::from_utf8_lossy(&known.stdout), TEXT, "{}", both(&known));
    for other in [None, Some((&host_b, &host_b_key))] {
        let said = both(&fetch(other));
        assert!(said.contains("certificate_not_allowed"), "{said}");
    }
    let line = gate.logged(&format!("{NAME}:{}", https.port)).await;
    assert!(line["identity"] == "host-a.plant" || line["reason"] == "certificate_not_allowed", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn up_to_tls_1_2_the_subject_of_the_client_certificate_decides() {
    let authority = Authority::new();
    let https = HttpsSite::start(&authority, &[NAME]).await;
    https.put("hello.txt", TEXT.as_bytes());
    let rules = |refuse_hidden: bool| {
        format!(
            r#"
[[tunnel.listeners]]
listen = "{{listen}}"
[[tunnel.allow]]
name = "files"
hosts = ["{NAME}:{}"]
addresses = ["127.0.0.1/32"]
client_subjects = ["agent-7"]
refuse_hidden_subjects = {refuse_hidden}
"#,
            https.port
        )
    };
    let gate = Gate::start(&rules(false)).await;
    gate.dns.addresses(NAME, 60, &["127.0.0.1"]);
    let (known, stranger) = (authority.sign(&["agent-7"]), authority.sign(&["agent-8"]));
    let fetch = |certificate: Option<&(PathBuf, PathBuf)>, version: &str| {
        let mut command = Command::new(tool("curl", "curl"));
        command.args(["-sS", "--max-time", "20", "--tls-max", version, "--proxy", &gate.proxy(), "--cacert"]);
        command.arg(authority.file());
        if let Some((certificate, key)) = certificate {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let output = run(command.arg(format!("https://{NAME}:{}/hello.txt", https.port)), b"");
        String::from_utf8_lossy(&output.stdout) == TEXT
    };
    assert!(fetch(Some(&known), "1.2"));
    assert!(fetch(None, "1.2"), "a client without a certificate passes, as it did with the original");
    assert!(!fetch(Some(&stranger), "1.2"));
    gate.site
        .until("the access log has the event of the original gateway", async || {
            gate.access_log().iter().any(|line| line["reason"] == "client_subject" && line["oms_event_id"] == 105)
        })
        .await;
    assert!(fetch(Some(&stranger), "1.3"), "TLS 1.3 hides the certificate");
    gate.reconfigure(&rules(true)).await;
    assert!(!fetch(Some(&known), "1.3"), "and a rule may refuse what it cannot see");
}

/// A Python with these packages, in a folder that is kept between runs.
fn python_with(packages: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = folder.join("bin/python");
    let imports = format!("import {}", packages.join(", "));
    let ready = || python.is_file() && run(Command::new(&python).args(["-c", &imports]), b"").status.success();
    if !ready() {
        run_well(Command::new(tool("python3", "python3")).args(["-m", "venv"]).arg(&folder));
        run_well(Command::new(&python).args(["-m", "pip", "--disable-pip-version-check", "install"]).args(packages));
    }
    assert!(ready(), "{packages:?} cannot be installed from PyPI");
    python
}
