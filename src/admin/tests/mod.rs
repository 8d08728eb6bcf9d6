//! The admin plane over a real socket: answers, guard, page.

use parking_lot::Mutex;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::metrics::{ALL, Kind};
use crate::net::http1_guard::Timeouts;
use crate::net::tls_server::ServerTls;
use crate::values::Secret;

mod crowds;
mod live;
mod who;

#[derive(Default)]
struct Fake(Mutex<Vec<String>>);

impl Fake {
    fn did(&self, what: String) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.0.lock().push(what);
        async { Ok(json!({ "done": true })) }.boxed()
    }
}

impl StatusSource for Fake {
    fn status(&self) -> Value {
        json!({ "events": 7 })
    }
    fn history(&self) -> Value {
        json!({ "minute": [] })
    }
    fn point(&self) -> Value {
        json!({ "received": 1.0 })
    }
    fn hosts(&self, filter: &crate::hosts::Filter) -> Value {
        json!({ "silent": filter.silent })
    }
    fn forwarding_hosts(&self, search: Option<&str>, most: usize) -> Value {
        json!({ "search": search, "most": most })
    }
}

impl Control for Fake {
    fn reload(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        async { Err(ControlError::Refused("gatepost.toml:1:1: no".to_owned())) }.boxed()
    }
    fn drain(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did("drain".to_owned())
    }
    fn undrain(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did("undrain".to_owned())
    }
    fn accept_clock(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did("accept the clock".to_owned())
    }
    fn configuration(&self) -> Value {
        json!({ "effective": "" })
    }
    fn refused_hosts(&self) -> Value {
        json!({ "refused": [] })
    }
    fn agents(&self) -> Value {
        json!({ "known": 1 })
    }
    fn order_agents(&self, order: AgentOrder) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did(format!("agents {order:?}"))
    }
    fn dead_letters(&self, page: Page) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did(format!("list {}", page.limit))
    }
    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did(format!("replay {:?}", selection.ids))
    }
    fn purge(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>> {
        self.did(format!("purge all={}", selection.all))
    }
}

impl azure::RuleBook for Fake {
    fn shelf(&self) -> Arc<azure::Shelf> {
        Arc::default()
    }
    fn change(&self, edit: azure::Edit) -> BoxFuture<'_, Result<azure::Answer, azure::Refusal>> {
        async { edit(&azure::Shelf::default()).map(|plan| plan.answer) }.boxed()
    }
}

struct Plane {
    address: SocketAddr,
    readiness: Readiness,
    fake: Arc<Fake>,
    stop: CancellationToken,
}

/// Whoever waits for one of these waits longer than a test does.
const NEVER: Duration = Duration::from_secs(3600);

/// `bound` is what the guard believes; the socket itself is always on loopback.
async fn plane(config: Config, bound: &str) -> Plane {
    let timeouts = Timeouts { head: NEVER, idle: NEVER, write: NEVER, linger: NEVER };
    plane_with(config, bound, None, |door| door.with(timeouts)).await
}

async fn plane_with(
    config: Config,
    bound: &str,
    tls: Option<Arc<ServerTls>>,
    adapt: impl FnOnce(Door) -> Door,
) -> Plane {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
    let address = listener.local_addr().expect("address");
    let (fake, readiness, stop) = (Arc::new(Fake::default()), Readiness::new(), CancellationToken::new());
    let parts = Parts {
        readiness: readiness.clone(),
        scrape: scrape::local().0,
        status: fake.clone(),
        control: fake.clone(),
        rules: fake.clone(),
        stopping: stop.clone(),
    };
    let router = router(&config, bound.parse().expect("address"), parts);
    tokio::spawn(serve(listener, adapt(Door::new(&config, tls, router)), stop.clone()));
    Plane { address, readiness, fake, stop }
}

impl Plane {
    /// Status, and everything after it.
    async fn ask(&self, line: &str, headers: &str, body: &str) -> (u16, String) {
        let framing = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        let request = format!("{line} HTTP/1.1\r\n{headers}Connection: close\r\n{framing}\r\n{body}");
        let answer = self.raw(&request).await;
        (answer[9..12].parse().expect("a status"), answer)
    }

    /// Everything that is said to these bytes, and nothing more is sent.
    async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        stream.write_all(bytes.as_bytes()).await.expect("write");
        stream.shutdown().await.ok();
        let mut answer = Vec::new();
        // What is refused may be cut off behind its answer.
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

const LOCAL: &str = "Host: localhost:8449\r\n";

#[tokio::test]
async fn livez_is_always_200_and_readyz_tells_why_not() {
    let plane = plane(Config::default(), "127.0.0.1:8449").await;
    assert_eq!(plane.ask("GET /readyz", "Host: any.name\r\n", "").await.0, 200);
    let reason = |code: &'static str| Reason { code, text: "for a test" };
    let (latch, other) = (plane.readiness.hold(reason("starting")), plane.readiness.hold(reason("spool_full")));
    let (status, answer) = plane.ask("GET /readyz", LOCAL, "").await;
    assert_eq!(status, 503);
    assert!(
        answer.ends_with(r#"{"ready":false,"reasons":["for a test","for a test"],"codes":["spool_full","starting"]}"#),
        "{answer}"
    );
    assert_eq!(plane.ask("GET /livez", LOCAL, "").await.0, 200);
    drop((latch, other));
    assert_eq!(plane.ask("GET /readyz", LOCAL, "").await.0, 200);
}

#[tokio::test]
async fn status_and_metrics_answer_with_their_types() {
    let plane = plane(Config::default(), "127.0.0.1:8449").await;
    let (_, status) = plane.ask("GET /status", LOCAL, "").await;
    assert!(status.ends_with(r#"{"events":7}"#) && status.contains("application/json"), "{status}");
    let (_, page) = plane.ask("GET /metrics", LOCAL, "").await;
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert_eq!(plane.ask("GET /", LOCAL, "").await.0, 200);
    plane.stop.cancel();
}

#[tokio::test]
async fn the_page_asks_nobody_else_and_shows_what_a_person_must_know() {
    let plane = plane(Config::default(), "127.0.0.1:8449").await;
    let (status, page) = plane.ask("GET /", LOCAL, "").await;
    assert_eq!(status, 200);
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    for elsewhere in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(elsewhere), "the page names something elsewhere: {elsewhere}");
    }
    for shown in [
        "status.needs",
        "status.not_ready_because",
        "last_reload",
        "status.dead_letters",
        "displaced",
        "output.because",
        "output.unburied",
        "status.saved",
        "status.expiry",
        "status.hosts",
        "/hosts?limit=",
        "/live",
        "/tunnel/refused",
        "/configuration",
    ] {
        assert!(page.contains(shown), "the page does not show {shown}");
    }
    for wanted in
        ["<html lang=\"en\">", "name=\"viewport\"", "prefers-color-scheme: dark", "role=\"status\"", "<caption"]
    {
        assert!(page.contains(wanted), "the page has no {wanted}");
    }
    plane.stop.cancel();
}

#[tokio::test]
async fn on_loopback_control_works_without_a_token_but_not_for_web_pages() {
    let plane =
        plane(Config { allowed_hosts: vec!["Gate.example".into()], ..Config::default() }, "127.0.0.1:8449").await;
    for host in ["localhost", "127.0.0.1:8449", "[::1]:8449", "[::1]", "gate.example:1"] {
        assert_eq!(plane.ask("POST /drain", &format!("Host: {host}\r\n"), "").await.0, 200, "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8449"] {
        assert_eq!(plane.ask("POST /drain", &format!("Host: {host}\r\n"), "").await.0, 403, "{host}");
    }
    assert_eq!(plane.ask("POST /drain", "Host:\r\n", "").await.0, 400);
    assert_eq!(plane.ask("GET /drain", LOCAL, "").await.0, 405);
    let (status, answer) = plane.ask("POST /reload", LOCAL, "").await;
    assert_eq!(status, 409);
    assert!(answer.contains("gatepost.toml:1:1: no"), "{answer}");
}

#[tokio::test]
async fn beyond_loopback_control_needs_a_token() {
    let open = plane(Config::default(), "192.0.2.1:8449").await;
    assert_eq!(open.ask("POST /drain", LOCAL, "").await.0, 403);
    assert_eq!(open.ask("GET /dead-letters", LOCAL, "").await.0, 403);
    assert_eq!(open.ask("GET /readyz", LOCAL, "").await.0, 200);

    let token = Some(Secret::new("0123456789abcdef"));
    let closed = plane(Config { token, ..Config::default() }, "192.0.2.1:8449").await;
    for (header, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Basic 0123456789abcdef\r\n", 401),
        ("Authorization: bearer 0123456789abcdef\r\n", 200),
    ] {
        assert_eq!(closed.ask("POST /drain", &format!("{LOCAL}{header}"), "").await.0, status, "{header}");
    }
}

#[tokio::test]
async fn azures_paths_are_answered_and_others_are_not_found() {
    let token = Some(Secret::new("0123456789abcdef"));
    let plane = plane(Config { token, ..Config::default() }, "127.0.0.1:8449").await;
    let list = "GET /subscriptions/s/providers/Microsoft.Insights/dataCollectionRules?api-version=2024-03-11";
    let (status, answer) = plane.ask(list, LOCAL, "").await;
    assert_eq!(status, 401);
    assert!(answer.contains("AuthenticationFailed"), "{answer}");
    let (status, answer) = plane.ask(list, &format!("{LOCAL}Authorization: Bearer 0123456789abcdef\r\n"), "").await;
    assert_eq!(status, 200);
    assert!(answer.ends_with(r#"{"value":[]}"#), "{answer}");
    assert_eq!(plane.ask("GET /elsewhere", LOCAL, "").await.0, 404);
}

#[tokio::test]
async fn dead_letters_are_chosen_without_guessing() {
    let plane = plane(Config::default(), "127.0.0.1:8449").await;
    assert_eq!(plane.ask("GET /dead-letters?limit=999999", LOCAL, "").await.0, 200);
    assert_eq!(plane.ask("POST /dead-letters/replay", LOCAL, r#"{"ids":[3]}"#).await.0, 200);
    assert_eq!(plane.ask("POST /dead-letters/purge", LOCAL, r#"{"all":true}"#).await.0, 200);
    for body in ["{}", r#"{"ids":[1],"all":true}"#, r#"{"ids":[1],"source":"x"}"#, r#"{"ids":[1],"before_ms":9}"#] {
        assert_eq!(plane.ask("POST /dead-letters/purge", LOCAL, body).await.0, 400, "{body}");
    }
    assert_eq!(*plane.fake.0.lock(), ["list 1000", "replay [3]", "purge all=true"]);
}

#[test]
fn the_page_passes_promtool() {
    let (scrape, recorder) = scrape::local();
    let page = ::metrics::with_local_recorder(&recorder, || {
        for metric in ALL {
            let values: Vec<&str> = metric.labels.to_vec();
            match metric.kind {
                Kind::Counter => metric.add(&values, 1),
                Kind::Gauge => metric.set(&values, 1.0),
                Kind::Histogram => metric.observe(&values, 0.02),
            }
        }
        scrape.render()
    });
    for metric in ALL {
        assert!(page.contains(&format!("# HELP {} ", metric.name)), "{} is missing", metric.name);
    }
    assert!(page.contains("gatepost_spool_append_seconds_bucket{le=\"0.025\"} 1"), "{page}");

    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut promtool = promtool.expect("promtool is needed: install the package `prometheus`");
    promtool.stdin.take().expect("piped").write_all(page.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
