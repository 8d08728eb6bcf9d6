//! What a workspace cannot keep, place or understand does not vanish in silence: it is kept elsewhere, counted, and an operator is
//! told.

use std::time::{Duration, SystemTime};

use gatepost::event::Timestamp;
use gatepost::lab::azure::FakeAzure;
use serde_json::{Value, json};

use super::scene::{RULE, STREAM, Scene, azure, secret};

/// A gateway whose output makes rows of `WindowsEvent`.
async fn scene() -> Scene {
    let azure: FakeAzure = azure(1).await;
    let identity = secret(&azure, super::scene::SECRET);
    Scene::new(azure, &format!("{identity}\ntable = \"WindowsEvent\"")).await
}

impl Scene {
    /// Uploads lines, all of which must be understood, and waits until they are forwarded.
    async fn send(&self, lines: &str) {
        let client = self.site.client();
        let body = lines.as_bytes().to_vec();
        let answer =
            client.post(&self.site.url("/v1/events"), &[], body.into(), Duration::from_secs(30)).await.unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        self.site.until_drained().await;
    }

    /// The rows that are stored.
    fn rows(&self) -> Vec<Value> {
        self.azure.workspace().rows(RULE, STREAM).into_iter().map(|row| row.value).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_dated_too_far_ahead_keeps_its_own_time_in_a_column_as_an_old_one_does() {
    let scene = scene().await;
    let now = Timestamp::of(SystemTime::now());
    let ahead = |hours: i64| now.plus_seconds(hours * 3600).to_string();
    let event = |record: i64, hours: i64| {
        json!({ "Computer": "clock.plant.example", "Channel": "Security", "ProviderName": "p", "EventID": 4624, "EventRecordID": record,
            "TimeCreated": ahead(hours) })
        .to_string()
    };
    let events: Vec<String> =
        [0, 2, 30, 24 * 400, -72].into_iter().zip(1..).map(|(hours, n)| event(n, hours)).collect();
    scene.send(&events.join("\n")).await;
    let mut own: Vec<(String, Option<String>)> = Vec::new();
    for row in scene.rows() {
        let text = |name: &str| row[name].as_str().map(str::to_owned);
        own.push((text("EventRecordId").unwrap_or_default(), text("TimeCreated_CF")));
    }
    own.sort();
    let want = [None, None, Some(ahead(30)), Some(ahead(24 * 400)), Some(ahead(-72))];
    let want: Vec<(String, Option<String>)> =
        want.into_iter().zip(1..).map(|(time, n)| (n.to_string(), time)).collect();
    assert_eq!(own, want);
    assert_eq!(scene.site.metric("gatepost_events_restamped_total{output=\"azure\"}").await, 3.0);
    assert!(scene.running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_windows_event_without_a_readable_time_is_counted_and_its_sender_is_named() {
    let scene = scene().await;
    let event = |time: &str| {
        format!(r#"{{"Computer":"c","Channel":"System","ProviderName":"p","EventID":1,"EventRecordID":1{time}}}"#)
    };
    let xml = "<Event><System><Provider Name='p'/><EventID>2</EventID><Channel>System</Channel><Computer>c</Computer></System></Event>";
    scene.send(&[&event(""), &event(r#","TimeCreated":"29.11.26""#), xml, r#"{"no":"event"}"#].join("\n")).await;
    assert_eq!(scene.site.metric("gatepost_events_without_time_total{input=\"uploads\"}").await, 3.0);
    let status = scene.site.status().await;
    let told = &status["without_time"][0];
    assert_eq!((&told["input"], &told["events"]), (&json!("uploads"), &json!(3)), "{status:#}");
    assert!(told["advice"].as_str().is_some_and(|text| text.contains("TimeCreated")), "{told}");
    assert!(told["client"].as_str().is_some_and(|name| !name.is_empty()), "{told}");
    assert!(scene.running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_of_no_known_shape_is_no_empty_row_and_is_counted() {
    let scene = scene().await;
    let record = r#"{"plant":"north","values":[1,2.50]}"#;
    scene.send(record).await;
    assert_eq!(scene.rows()[0]["RawEventData"], record);
    assert_eq!(scene.site.metric("gatepost_events_without_shape_total{output=\"azure\"}").await, 1.0);
    let status = scene.site.status().await;
    let told = &status["outputs"][0]["without_shape"];
    assert_eq!(told["events"], 1, "{status:#}");
    assert!(told["advice"].as_str().is_some_and(|text| text.contains("WindowsEvent")), "{told}");
    assert!(scene.running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_json_quotes_is_the_duplicate_of_its_xml() {
    let scene = scene().await;
    let xml = "<Event><System><Provider Name='p'/><EventID>2</EventID><TimeCreated SystemTime='2026-11-28T21:04:05.123Z'/><EventRecordID>5</EventRecordID><Channel>System</Channel><Computer>c</Computer></System></Event>";
    let quoted = |name: &str| json!({ "host": "wec1", name: xml }).to_string();
    scene.send(&[&quoted("_raw"), xml, &quoted("Event"), &quoted("message")].join("\n")).await;
    let rows = scene.rows();
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!((&rows[0]["EventID"], &rows[0]["EventData"]), (&json!(2), &json!({ "host": "wec1" })));
    assert!(scene.running.stop().success());
}
