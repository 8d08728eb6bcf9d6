//! The alerts of deploy/ on a real Prometheus beside a real gateway: what an operator must know rings in time, and every expression
//! can be evaluated.

use std::path::Path;
use std::time::Duration;

use gatepost::lab::collector::{Collector, Fault, Memory};
use tokio::time::Instant;

use crate::disk::SmallDisk;
use crate::prometheus::Prometheus;
use crate::support::{PATIENCE, Site, workspace};

/// How long an alert's condition has to hold in this test.
const FOR: Duration = Duration::from_secs(2);

/// How often this Prometheus scrapes and evaluates.
const SCRAPE: Duration = Duration::from_secs(1);

/// The rules in a sixtieth of the time: minutes are seconds, hours are minutes, and conditions hold for [`FOR`].
fn hurried(rules: &str) -> String {
    let line = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        match line.trim_start().split_once("for: ") {
            Some(("", _)) => format!("{indent}for: {}s", FOR.as_secs()),
            _ if line.contains("summary:") || line.contains("description:") => line.to_owned(),
            _ => shortened(line),
        }
    };
    rules.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Spans such as `[5m]` and `offset 1h`, a sixtieth as long.
fn shortened(line: &str) -> String {
    let mut text = line.to_owned();
    for number in [1, 5, 15, 30] {
        for before in ["[", "offset "] {
            text = text.replace(&format!("{before}{number}m"), &format!("{before}{number}s"));
        }
    }
    for number in [1, 6] {
        for before in ["[", "offset "] {
            text = text.replace(&format!("{before}{number}h"), &format!("{before}{number}m"));
        }
    }
    text = text.replace("4 * 3600", "4 * 60");
    // No rate without two scrapes.
    text.replace("[1s]", "[5s]").replace("[5s]", "[8s]")
}

impl Prometheus {
    /// When an alert was first in this state, as its own clock has it, in seconds since 1970.
    fn since(&self, name: &str, state: &str) -> Option<f64> {
        let first = format!("min_over_time(timestamp(ALERTS{{alertname=\"{name}\",alertstate=\"{state}\"}})[3m:1s])");
        self.ask(&format!("min({first})"))
    }

    /// Waits until an alert rings, which must be within two scrapes of its `for`.
    async fn until_it_rings(&self, name: &str, site: &Site) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(rings) = self.since(name, "firing") {
                let met = self.since(name, "pending").unwrap_or(rings);
                let bound = (FOR + 2 * SCRAPE).as_secs_f64();
                assert!(rings - met <= bound + 0.5, "{name} rang {} s after its condition was met", rings - met);
                return;
            }
            assert!(Instant::now() < until, "{name} does not ring\n{}", site.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every expression of its rules, as this Prometheus read them.
    fn expressions(&self) -> Vec<String> {
        let rules = self.api("rules", &[]).unwrap_or_default();
        let groups = rules["groups"].as_array().cloned().unwrap_or_default();
        let all = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        all.filter_map(|rule| rule["query"].as_str()).map(str::to_owned).collect()
    }
}

fn events(computer: &str, from: u64, count: u64) -> String {
    let now = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).expect("a time");
    let event = |n| {
        let noise: String = (0..200).map(|_| fastrand::alphanumeric()).collect();
        format!(
            r#"{{"Computer":"{computer}","Channel":"Security","EventID":4624,"EventRecordID":{n},"TimeGenerated":"{now}","Message":"{noise}"}}"#
        )
    };
    format!("[{}]", (from..from + count).map(event).collect::<Vec<_>>().join(","))
}

const REST: &str = "[[hosts.groups]]\nname = \"dc\"\ncomputers = [\"dc*\"]\nsilent_after = \"3 s\"\n\
                    [spool]\nsegment_size = \"64 KiB\"\nmax_size = \"2 MiB\"\nmax_record = \"48 KiB\"\ncommit_max = \"48 KiB\"\n\
                    [ingest]\nrecord_max = \"32 KiB\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_must_know_rings_in_time_and_a_healthy_gateway_is_silent() {
    assert!(hurried("        for: 10m\n").contains("        for: 2s"));
    assert_eq!(shortened("rate(x[15m]) unless x offset 1h"), "rate(x[15s]) unless x offset 1m");
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("soc", &[&collector]), REST);
    let _running = site.start().await;
    let client = site.client();
    let prometheus = Prometheus::start_with(Path::new(&site.dir), site.admin, hurried);
    prometheus.until("min(gatepost_ready)", 1.0, &site.dir).await;

    // A healthy gateway under load.
    let mut sent = 0;
    let healthy = Instant::now();
    while healthy.elapsed() < Duration::from_secs(6) {
        assert_eq!(site.upload(&client, events("dc1", sent, 10)).await.expect("an answer").status, 204);
        sent += 10;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let expressions = prometheus.expressions();
    assert!(expressions.len() > 35, "only {} rules are known", expressions.len());
    for expression in &expressions {
        let answer = prometheus.api("query", &[("query", expression)]);
        assert!(answer.is_ok(), "{expression}: {answer:?}");
    }
    for silent in [
        "GatepostDown",
        "GatepostNotReady",
        "GatepostOutputStalled",
        "GatepostHostsSilent",
        "GatepostEndpointsEjected",
        "GatepostReloadRefused",
        "GatepostSpoolFilling",
        "GatepostAccountDiffers",
    ] {
        assert_eq!(prometheus.since(silent, "firing"), None, "{silent} on a healthy gateway");
    }

    // A reload is broken.
    site.configure("listeners = 7\n");
    prometheus.until_it_rings("GatepostReloadRefused", &site).await;
    site.configure(site.config());

    // A collector is killed: its events wait, and the quota fills.
    collector.fail_for(Fault::Down, Duration::from_secs(600));
    let shed = Instant::now() + PATIENCE;
    loop {
        let answer = site.upload(&client, events("dc1", sent, 100)).await.expect("an answer");
        sent += 100;
        if answer.status == 503 {
            break;
        }
        assert!(Instant::now() < shed, "the quota does not fill: {answer:?}");
    }
    for rings in ["GatepostEndpointsEjected", "GatepostOutputStalled", "GatepostSpoolFilling", "GatepostNotReady"] {
        prometheus.until_it_rings(rings, &site).await;
    }

    // Nobody uploads any more.
    prometheus.until_it_rings("GatepostHostsSilent", &site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_rings_in_time() {
    let own = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&own.path().join("state"), "24m") else { return };
    let site = Site::at(own.path(), "", "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"16 MiB\"\n");
    let _running = site.start().await;
    // Gigabytes are megabytes here.
    let prometheus = Prometheus::start_with(&site.dir, site.admin, |rules| hurried(rules).replace("1e9", "1e6"));
    let scrapes = "max(count_over_time(up{job=\"gatepost\"}[1m]))";
    let enough = (FOR + 2 * SCRAPE).as_secs_f64() + 2.0;
    site.until("it is scraped for a while", async || prometheus.ask(scrapes).is_some_and(|n| n >= enough)).await;
    for silent in ["GatepostDiskFills", "GatepostNotReady"] {
        assert_eq!(prometheus.since(silent, "firing"), None, "{silent} while there is room");
    }
    disk.fill();
    let (client, mut sent) = (site.client(), 0);
    // What the spool had of the disk before is used up first.
    site.until("uploads are shed", async || {
        sent += 100;
        site.upload(&client, events("dc1", sent, 100)).await.expect("an answer").status == 503
    })
    .await;
    for rings in ["GatepostDiskFills", "GatepostNotReady"] {
        prometheus.until_it_rings(rings, &site).await;
    }
}
