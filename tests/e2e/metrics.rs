//! The metrics as Prometheus sees them: promtool finds nothing to complain of, a real Prometheus scrapes them with the
//! configuration of deploy/, the account can be asked in PromQL, and no client can make the number of series grow.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::metrics::Kind;
use serde_json::Value;
use tokio::time::Instant;

use crate::prometheus::Prometheus;
use crate::support::{PATIENCE, Site, free_port, workspace};
use crate::tools::{both, of_checkout, run, tool};

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

/// What only a gateway with rules, tunnels, replication, or an output that needs a token can count.
const OF_OTHER_USES: [&str; 10] = [
    "gatepost_replication_leader_changes_total",
    "gatepost_rule_events_total",
    "gatepost_token_requests_total",
    "gatepost_tunnel_bytes_total",
    "gatepost_tunnel_dial_seconds",
    "gatepost_tunnel_errors_total",
    "gatepost_tunnel_seconds",
    "gatepost_tunnels_ended_total",
    "gatepost_tunnels_refused_total",
    "gatepost_tunnels_taken_over_total",
];

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
    let missing: Vec<_> = gatepost::metrics::ALL
        .iter()
        .filter(|metric| metric.kind != Kind::Gauge && !told.contains(metric.name))
        .map(|metric| metric.name)
        .filter(|name| !OF_OTHER_USES.contains(name))
        .collect();
    assert!(missing.is_empty(), "missing before their first hit: {missing:?}");
    let ours = gatepost::metrics::ALL.iter().map(|metric| metric.name.to_owned()).collect();
    let unknown: Vec<_> = told.difference(&ours).filter(|name| !name.starts_with("process_")).collect();
    assert!(unknown.is_empty(), "not in metrics::ALL: {unknown:?}");
}

/// The metrics that a page describes.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
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
    let mut queries = Vec::new();
    for entry in std::fs::read_dir(of_checkout("dashboards")).expect("it is there") {
        let text = std::fs::read_to_string(entry.expect("a readable folder").path()).expect("UTF-8");
        collect(&serde_json::from_str(&text).expect("JSON"), &mut queries);
    }
    let fill =
        |query: String| query.replace("$__rate_interval", "1m").replace("$instance", ".+").replace("$output", ".+");
    queries.into_iter().map(fill).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_gateway_leaves_no_panel_of_the_dashboards_empty() {
    let tunnels = format!(
        "[[tunnel.listeners]]\nname = \"proxy\"\nlisten = \"127.0.0.1:{}\"\n[[tunnel.allow]]\nname = \"arc\"\nrule_set = \"arc\"\n",
        free_port()
    );
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), &tunnels);
    let _running = site.start().await;
    let prometheus = Prometheus::start(&site.dir, site.admin);
    traffic(&site, &collector).await;
    prometheus.until("sum(gatepost_events_forwarded_total{output=\"workspace\"})", 60.0, &site.dir).await;
    let mut empty = dashboard_queries();
    assert!(empty.len() > 100, "only {} queries", empty.len());
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
    site.until("the metric shows when it ends", async || site.metric(series).await == ends.unix_timestamp() as f64)
        .await;
}
