//! Who sends is known, over restarts, and who has gone silent is told by command, page and metric.

use std::time::Duration;

use serde_json::Value;

use crate::support::{PATH, Site};
use crate::tools::both;

const GROUPS: &str = "[[hosts.groups]]\nname = \"dc\"\ncomputers = [\"dc*\"]\nsilent_after = \"2 s\"\n\
                      [[hosts.groups]]\nname = \"web\"\ncomputers = [\"web*\"]\nsilent_after = \"1 h\"\n";

fn event(computer: &str, id: u64) -> String {
    let now = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).expect("a time");
    format!(
        r#"{{"Computer":"{computer}","Channel":"Security","EventID":4624,"EventRecordID":{id},"TimeGenerated":"{now}"}}"#
    )
}

fn hosts(site: &Site, args: &[&str]) -> Vec<Value> {
    let said = site.gatepost(&[&["hosts"], args, &["--json"]].concat());
    let text = String::from_utf8_lossy(&said.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", both(&said)))).collect()
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().map(|host| host["computer"].as_str().unwrap_or("")).collect()
}

#[tokio::test]
async fn who_sends_is_known_over_a_restart_and_who_stops_is_told() {
    let site = Site::new("", GROUPS);
    let unasked = site.gatepost(&["hosts", "silent"]);
    assert_eq!(unasked.status.code(), Some(2), "nobody knows who is silent: {}", both(&unasked));
    let running = site.start().await;
    assert_eq!(both(&site.gatepost(&["hosts", "seen"])), "nobody has sent anything yet\n");
    let client = site.client();
    let headers = [("content-type", "application/json"), ("user-agent", "collector/7.1")];
    let body = format!("[{},{},{}]", event("web01", 1), event("WEB01", 2), event("dc1", 1));
    let answer = client.post(&site.url(PATH), &headers, body.into(), Duration::from_secs(30)).await.expect("an answer");
    assert_eq!(answer.status, 204);
    let refused = site.upload(&client, "[{").await.expect("an answer");
    assert_eq!(refused.status, 400);

    let seen = hosts(&site, &["seen", "web"]);
    assert_eq!(names(&seen), ["web01"]);
    let web = &seen[0];
    assert_eq!((&web["events"], &web["agent"], &web["group"]), (&2.into(), &"collector/7.1".into(), &"web".into()));
    assert_eq!((&web["input"], &web["address"]), (&"uploads".into(), &"127.0.0.1".into()));
    assert!(web["lag_seconds"].as_f64().is_some_and(|lag| (0.0..60.0).contains(&lag)), "{web}");
    let all = hosts(&site, &["seen"]);
    let nameless = all.iter().find(|host| host["computer"].is_null()).expect("whose upload was refused");
    assert_eq!(nameless["refused_uploads"], 1);

    until_silent(&site, "1").await;
    assert_eq!(both(&site.gatepost(&["hosts", "seen", "zzz"])), "nobody matches \"zzz\"\n");
    let silent = site.gatepost(&["hosts", "silent"]);
    assert!(silent.status.code() == Some(1) && both(&silent).contains("SILENT"), "{}", both(&silent));
    assert_eq!(names(&hosts(&site, &["silent"])), ["dc1"]);
    let status = site.status().await["hosts"].clone();
    assert_eq!(
        (&status["known"]["web"], &status["silent"]["dc"], &status["refused"]),
        (&1.into(), &1.into(), &1.into())
    );
    assert_eq!(status["first"][0]["computer"], "dc1", "the silent first");

    assert!(running.stop().success());
    let running = site.start().await;
    let mut known = hosts(&site, &["seen"]);
    known.sort_by_key(|host| host["computer"].to_string());
    assert_eq!(names(&known), ["dc1", "web01", ""]);
    assert_eq!(known[1]["events"], 2);
    site.upload(&client, format!("[{}]", event("dc1", 2))).await.expect("an answer");
    assert_eq!(names(&hosts(&site, &["silent"])), [""; 0]);
    until_silent(&site, "1").await;

    site.configure(&site.config().replace("silent_after = \"2 s\"", "silent_after = \"1 h\""));
    until_silent(&site, "0").await;
    running.kill();
}

/// Waits until so many of the domain controllers are silent; the configuration is watched.
async fn until_silent(site: &Site, count: &str) {
    let line = format!("gatepost_hosts_silent{{group=\"dc\"}} {count}");
    site.until(&line, async || String::from_utf8_lossy(&site.admin_get("/metrics").await.body).contains(&line)).await;
}
