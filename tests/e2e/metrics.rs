//! The metrics as Prometheus sees them: promtool finds nothing to complain of, a real Prometheus scrapes them with the
//! configuration of deploy/, the account can be asked in PromQL, and no client can make the number of series grow.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use serde_json::Value;
use tokio::time::Instant;

use crate::support::{PATIENCE, Site, free_port, workspace};
use crate::tools::{both, curl, of_checkout, run, tool};

/// Traffic of every kind: accepted, duplicate, set aside, filtered, refused, malformed; faults at the collector.
async fn traffic(site: &Site, collector: &Collector) {
    let client = site.client();
    let events = |from: usize| {
        let event = |n| format!("{{\"Computer\":\"h{n}\",\"Channel\":\"Security\",\"EventID\":{n},\"n\":{n}}}");
        format!("[{},17]", (from..from + 20).map(event).collect::<Vec<_>>().join(","))
    };
    collector.fail_next(Fault::Answer { status: 503, retry_after: Some(1) }, 1);
    for from in [0, 10, 20, 4620] {
        assert_eq!(site.upload(&client, events(from)).await.expect("an answer").status, 204);
    }
    for body in ["nonsense", "{}"] {
        assert_eq!(site.upload(&client, body).await.expect("an answer").status, 400);
    }
    crate::raw::exchange(site, b"GET / HTTP/1.1\r\n\r\n").await;
    site.until_drained().await;
}

async fn page(site: &Site) -> String {
    String::from_utf8(site.admin_get("/metrics").await.body.to_vec()).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_to_complain_of() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), "");
    let _running = site.start().await;
    for moment in ["at the start", "after traffic"] {
        let page = page(&site).await;
        let check = run(Command::new(tool("promtool", "prometheus")).args(["check", "metrics"]), page.as_bytes());
        assert!(check.status.success() && both(&check).is_empty(), "{moment}: {}", both(&check));
        if moment == "at the start" {
            traffic(&site, &collector).await;
        }
    }
    let told: BTreeSet<String> = names(&page(&site).await);
    let ours = gatepost::metrics::ALL.iter().map(|metric| metric.name.to_owned()).collect();
    let unknown: Vec<_> = told.difference(&ours).filter(|name| !name.starts_with("process_")).collect();
    assert!(unknown.is_empty(), "not in metrics::ALL: {unknown:?}");
}

/// The metrics that a page describes.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// A real Prometheus with the configuration of deploy/, this target instead of its own, and no patience.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    fn start(folder: &Path, target: u16) -> Self {
        let config = std::fs::read_to_string(of_checkout("deploy/prometheus/prometheus.yml")).expect("it is there");
        assert!(config.contains("localhost:8449") && config.contains("15s"), "the test adapts target and interval");
        let config = config.replace("localhost:8449", &format!("127.0.0.1:{target}")).replace("15s", "1s");
        std::fs::write(folder.join("prometheus.yml"), config).expect("a temporary folder");
        std::fs::copy(of_checkout("deploy/prometheus/alerts.yml"), folder.join("alerts.yml")).expect("it is there");
        let port = free_port();
        let child = Command::new(tool("prometheus", "prometheus"))
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("prometheus.log")).expect("a temporary folder"))
            .spawn()
            .expect("prometheus starts");
        Self { child, port }
    }

    /// The value of a query that gives one; nothing while there is none.
    fn ask(&self, query: &str) -> Option<f64> {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let answer = curl(&["-G", "--data-urlencode", &format!("query={query}"), &url], b"").ok()?;
        let answer: Value = serde_json::from_str(&answer.body).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    async fn until(&self, query: &str, wanted: f64, folder: &Path) {
        let until = Instant::now() + PATIENCE;
        loop {
            let value = self.ask(query);
            if value == Some(wanted) {
                return;
            }
            let log = || std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
            assert!(Instant::now() < until, "{query} is {value:?}, not {wanted}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_knows_the_account() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour::default());
    let site = Site::new(&workspace("workspace", &[&collector]), "");
    let _running = site.start().await;
    traffic(&site, &collector).await;
    let prometheus = Prometheus::start(&site.dir, site.admin);
    let ask = |query: &'static str, wanted| prometheus.until(query, wanted, &site.dir);
    ask("up{job=\"gatepost\"}", 1.0).await;
    ask("sum(gatepost_events_received_total)", 84.0).await;
    // The bad record that stands in each upload is set aside once, and a duplicate afterwards.
    ask("sum(gatepost_events_duplicate_total)", 23.0).await;
    ask("sum(gatepost_events_set_aside_total)", 1.0).await;
    ask("sum(gatepost_events_spooled_total)", 60.0).await;
    ask("sum(gatepost_events_forwarded_total{output=\"workspace\"})", 60.0).await;
    // Promise 4, as an operator would alert on it.
    let left = "sum(gatepost_events_received_total) - (sum(gatepost_events_filtered_total) or vector(0)) \
                - sum(gatepost_events_duplicate_total) - sum(gatepost_events_set_aside_total) - sum(gatepost_events_spooled_total)";
    ask(left, 0.0).await;
    let right = "sum(gatepost_events_spooled_total) - sum(gatepost_events_forwarded_total) \
                 - (sum(gatepost_events_dead_lettered_total) or vector(0)) - sum(gatepost_events_pending)";
    ask(right, 0.0).await;
    ask("min(gatepost_ready)", 1.0).await;
    ask("count(ALERTS{alertname=\"GatepostDown\"}) or vector(0)", 0.0).await;
}

/// Every query of the dashboards, as Grafana would send it.
fn dashboard_queries() -> Vec<String> {
    fn collect(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                into.extend(map.get("expr").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| collect(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
            _ => {}
        }
    }
    let text = std::fs::read_to_string(of_checkout("dashboards/overview.json")).expect("it is there");
    let mut queries = Vec::new();
    collect(&serde_json::from_str(&text).expect("JSON"), &mut queries);
    let fill = |query: String| query.replace("$__rate_interval", "1m").replace("$instance", ".+");
    queries.into_iter().map(fill).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_gateway_leaves_no_panel_of_the_dashboard_empty() {
    /// What is there only when rules, a tunnel or a workspace are used.
    const OF_OTHER_USES: [&str; 10] = [
        "gatepost_rule_events_total",
        "gatepost_tunnel_bytes_total",
        "gatepost_tunnel_dial_seconds",
        "gatepost_tunnels_ended_total",
        "gatepost_tunnels_open",
        "gatepost_token_requests_total",
        "gatepost_token_expiry_timestamp_seconds",
        "gatepost_revocation_list_next_update_timestamp_seconds",
        "gatepost_connections_refused_total",
        "gatepost_events_dead_lettered_total",
    ];
    let tunnels = format!("[[tunnel.listeners]]\nname = \"proxy\"\nlisten = \"127.0.0.1:{}\"\n", free_port());
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), &tunnels);
    let _running = site.start().await;
    let prometheus = Prometheus::start(&site.dir, site.admin);
    traffic(&site, &collector).await;
    prometheus.until("sum(gatepost_events_forwarded_total{output=\"workspace\"})", 60.0, &site.dir).await;
    let mut empty = dashboard_queries();
    assert!(empty.len() > 50);
    empty.retain(|query| !OF_OTHER_USES.iter().any(|metric| query.contains(metric)));
    let until = Instant::now() + PATIENCE;
    while !empty.is_empty() {
        assert!(Instant::now() < until, "no data for {empty:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        empty.retain(|query| prometheus.ask(query).is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_can_make_the_number_of_series_grow() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), "");
    let _running = site.start().await;
    let client = site.client();
    let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
    let mut before = 0;
    for n in 0..500 {
        if n == 10 {
            site.until_drained().await;
            before = series(&page(&site).await);
        }
        // Some of them are refused, each with a path, a method's worth of headers and a name of its own.
        let stream = if n % 5 == 0 { format!("odd%20{n}") } else { format!("Custom-Odd{n}") };
        let url = site.url(&format!("/dataCollectionRules/dcr-{n}/streams/{stream}?api-version=2023-01-01"));
        let agent = format!("agent-{n}/{n}");
        let headers =
            [("user-agent", agent.as_str()), ("x-ms-client-request-id", &agent), ("content-type", "text/odd")];
        let body =
            format!("[{{\"Computer\":\"HOST-{n}\",\"Channel\":\"Odd/{n}\",\"Provider\":\"p{n}\",\"EventID\":{n}}}]");
        let answer = client.post(&url, &headers, body.into(), Duration::from_secs(30)).await.unwrap();
        assert_eq!(answer.status, if n % 5 == 0 { 404 } else { 204 }, "{n}: {answer:?}");
    }
    site.until_drained().await;
    let page = page(&site).await;
    let after = series(&page);
    // A class of outcome that did not happen before may come once; 490 clients may not.
    assert!(after <= before + 20, "{before} series became {after}:\n{page}");
    assert!(after < 600, "{after} series for one listener and one output");
    for odd in ["agent-", "HOST-", "Odd", "dcr-"] {
        assert!(!page.contains(odd), "{odd} is in the metrics:\n{page}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_is_shown_before_it_does() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), "");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let ends = time::OffsetDateTime::now_utc() + time::Duration::hours(110);
    params.not_after = ends;
    // What somebody has put in the place of the certificate that is made there.
    let tls = site.state().join("tls");
    std::fs::create_dir_all(&tls).unwrap();
    std::fs::write(tls.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(tls.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(tls.join("key.pem"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let _running = site.start().await;
    let status = site.status().await;
    assert_eq!(status["expiry"][0]["name"], "uploads", "{status:#}");
    assert_eq!(status["expiry"][0]["ends_s"], ends.unix_timestamp(), "{status:#}");
    let told = |warning: &Value| warning.as_str().is_some_and(|it| it.contains("its certificate ends in 4 days"));
    assert!(status["warnings"].as_array().unwrap().iter().any(told), "{status:#}");
    let series = "gatepost_certificate_expiry_timestamp_seconds{use=\"upload\",name=\"uploads\"}";
    let until = Instant::now() + PATIENCE;
    while site.metric(series).await != ends.unix_timestamp() as f64 {
        assert!(Instant::now() < until, "{}", page(&site).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
