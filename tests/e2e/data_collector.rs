//! The HTTP Data Collector API from outside: old scripts with only their address changed, what they get when they are wrong, and
//! what stands in the workspace in the end.

use std::process::Command;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gatepost::lab::azure::{App, FakeAzure, Plan, Rule, Type};
use gatepost::net::upload_client::{Answer, Client};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::raw;
use crate::support::{Running, Site};
use crate::tools::{both, of_checkout, run, tool};

pub(crate) const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";
const TENANT: &str = "11111111-2222-4333-a444-555555555555";
const APP: &str = "aaaaaaaa-bbbb-4ccc-addd-eeeeeeeeeeee";
const RULE: &str = "dcr-00000000000000000000000000000000";
const STREAM: &str = "Custom-MyRecordType_CL";
/// The columns that the service made of the documented sample, and of what Fluent Bit sends.
const COLUMNS: [(&str, Type); 10] = [
    ("TimeGenerated", Type::Datetime),
    ("StringValue_s", Type::String),
    ("NumberValue_d", Type::Real),
    ("BooleanValue_b", Type::Boolean),
    ("DateValue_t", Type::Datetime),
    ("GUIDValue_g", Type::String),
    ("Computer", Type::String),
    ("log_s", Type::String),
    ("_timestamp_d", Type::Real),
    ("_ResourceId", Type::String),
];
const SAMPLE: &str = r#"[{  "StringValue": "Grüße 1",
    "NumberValue": 42,
    "BooleanValue": true,
    "DateValue": "2019-09-12T20:00:00.625Z",
    "GUIDValue": "9909ED01A74C48748ABFD2678E3AE23D",
    "Computer": "web01"
}]"#;

pub(crate) fn key(first: u8) -> Vec<u8> {
    (first..first + 64).collect()
}

/// A gateway that knows a workspace with two keys, in front of a rule with the columns of its table.
struct Scene {
    azure: FakeAzure,
    site: Site,
    running: Running,
    client: Client,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let azure = FakeAzure::start(Plan::endpoints(1)).await.expect("it starts");
        azure.directory().register(App::new(TENANT, APP).with_secret("a-secret-of-the-app"));
        azure.workspace().add_rule(Rule::new(RULE).with_stream(STREAM, &COLUMNS).with_sender(APP));
        let dir = tempfile::tempdir().expect("a folder");
        let ca = dir.path().join("azure-ca.pem");
        std::fs::write(&ca, azure.ca_pem()).expect("it can be written");
        std::fs::write(dir.path().join("primary"), BASE64_STANDARD.encode(key(0)) + "\n").expect("it can be written");
        let listener = format!(
            "data_collector = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"${{file:primary}}\", \"{}\"] }}] }}\n",
            BASE64_STANDARD.encode(key(100)),
        );
        let output = format!(
            "[[outputs]]\nkind = \"workspace\"\nname = \"azure\"\ndcr = \"{RULE}\"\nstream = \"{STREAM}\"\nca_file = \"{}\"\n\
             endpoints = [{{ name = \"c\", url = \"{}\" }}]\nforward = {{ linger = \"20 ms\" }}\n\
             identity = {{ kind = \"client_secret\", tenant = \"{TENANT}\", client_id = \"{APP}\", \
             client_secret = \"a-secret-of-the-app\", authority = \"{}\" }}\n",
            ca.display(),
            azure.endpoints()[0].url(),
            azure.entra_door().url(),
        );
        let site = Site::at(dir.path(), &(listener + &output), "");
        let running = site.start().await;
        let client = site.client();
        Self { azure, site, running, client, _dir: dir }
    }

    /// The rows of the table, once all is forwarded.
    async fn rows(&self) -> Vec<Value> {
        self.site.until_drained().await;
        let rows = self.azure.workspace().rows(RULE, STREAM);
        for row in &rows {
            assert!(row.dropped.is_empty() && row.mismatched.is_empty(), "{row:?}");
        }
        rows.into_iter().map(|row| row.value).collect()
    }

    async fn spooled(&self) -> u64 {
        self.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await as u64
    }

    async fn send(&self, post: &Post) -> Answer {
        post.send_to(&self.site, &self.client).await
    }

    async fn ends_well(self) {
        assert!(self.running.stop().success());
        self.site.assert_audit_balances();
        let log = self.site.log();
        for first in [0, 100] {
            assert!(!log.contains(&BASE64_STANDARD.encode(key(first))[..20]), "a key is in the log");
        }
    }
}

/// A post as clients make it.
#[derive(Clone)]
pub(crate) struct Post {
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Post {
    /// Signed with this key so many seconds from now.
    pub(crate) fn new(body: impl Into<Vec<u8>>, key: &[u8], seconds: i64) -> Self {
        let body = body.into();
        let rfc_1123 =
            format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
        let date = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        let date = date.format(&rfc_1123).expect("it can be written");
        let text = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", body.len());
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let headers = vec![
            ("Authorization", format!("SharedKey {WORKSPACE}:{}", BASE64_STANDARD.encode(signature))),
            ("Log-Type", "MyRecordType".to_owned()),
            ("x-ms-date", date),
            ("Content-Type", "application/json".to_owned()),
        ];
        Self { target: "/api/logs?api-version=2016-04-01".to_owned(), headers, body }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) async fn send_to(&self, site: &Site, client: &Client) -> Answer {
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let sent =
            client.post(&site.url(&self.target), &headers, self.body.clone().into(), Duration::from_secs(60)).await;
        sent.expect("an answer")
    }
}

fn error_of(answer: &Answer) -> (u16, String) {
    let body: Value = serde_json::from_slice(&answer.body).expect("an error is JSON");
    assert!(body["Message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    (answer.status, body["Error"].as_str().expect("a code").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn shell_and_python_scripts_work_with_only_the_address_changed_and_fill_the_columns_that_the_service_made() {
    let scene = Scene::new().await;
    let shell = of_checkout("tests/data/clients/data-collector.sh");
    let python = of_checkout("tests/data/clients/data-collector.py");
    for (program, script) in [(tool("sh", "dash"), shell), (tool("python3", "python3"), python)] {
        let mut command = Command::new(program);
        command
            .arg(script)
            .env("WORKSPACE_ID", WORKSPACE)
            .env("SHARED_KEY", BASE64_STANDARD.encode(key(0)))
            .env("ADDRESS", scene.site.url(""))
            .env("CA", scene.site.state().join("tls/cert.pem"));
        let output = run(&mut command, SAMPLE.as_bytes());
        assert_eq!(both(&output).trim(), "200", "{command:?}\n{}", scene.site.log());
    }
    let rows = scene.rows().await;
    assert!(!rows.is_empty(), "{}", scene.site.log());
    for row in &rows {
        let mut row = row.clone();
        let time = row["TimeGenerated"].take();
        assert!(time.as_str().is_some_and(|time| time.starts_with("20")), "{time}");
        let want = json!({
            "TimeGenerated": null,
            "StringValue_s": "Grüße 1",
            "NumberValue_d": 42.0,
            "BooleanValue_b": true,
            "DateValue_t": "2019-09-12T20:00:00.625Z",
            "GUIDValue_g": "9909ED01-A74C-4874-8ABF-D2678E3AE23D",
            "Computer": "web01",
            "log_s": null,
            "_timestamp_d": null,
            "_ResourceId": null,
        });
        assert_eq!(row, want);
    }
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_of_powershell_and_of_fluent_bit_are_taken_as_they_are_written() {
    let scene = Scene::new().await;
    // PowerShell's sample sends the name of the time field empty, and Windows PowerShell asks before it sends the body.
    let powershell = Post::new(SAMPLE, &key(100), 0).with("time-generated-field", "").with("Expect", "100-continue");
    let resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/web01";
    let fluent_bit = Post::new(r#"[{"@timestamp":1799000000.123456,"log":"one line"}]"#, &key(0), 0)
        .with("User-Agent", "Fluent-Bit")
        .with("x-ms-AzureResourceId", resource);
    for post in [&powershell, &fluent_bit] {
        let answer = scene.send(post).await;
        assert_eq!((answer.status, &*answer.body), (200, &b""[..]), "{}", scene.site.log());
    }
    let rows = scene.rows().await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let row = rows.iter().find(|row| row["log_s"] == "one line").expect("that of Fluent Bit");
    assert_eq!((&row["_timestamp_d"], &row["_ResourceId"]), (&json!(1_799_000_000.123_456_f64), &json!(resource)));
    scene.ends_well().await;
}

/// A request that is written down, byte for byte but for what differs each time: a date, a signature, the port.
fn written_down(scene: &Scene, name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(of_checkout("tests/data/clients").join(name)).expect("it is there");
    let (head, body) = text.split_once("\n\n").expect("a head and a body");
    let signed = Post::new(body, &key(0), 0);
    let line = |line: &str| {
        let (name, _) = line.split_once(':').unwrap_or((line, ""));
        let fresh = signed
            .headers
            .iter()
            .find(|(header, _)| matches!(*header, "Authorization" | "x-ms-date") && *header == name);
        fresh.map_or_else(|| line.to_owned(), |(header, value)| format!("{header}: {value}"))
    };
    let head = head.lines().map(line).collect::<Vec<_>>().join("\r\n");
    let head = head.replace("{{LENGTH}}", &body.len().to_string()).replace("{{PORT}}", &scene.site.uploads.to_string());
    assert!(!head.contains("{{"), "{head}");
    format!("{head}\r\n\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_written_requests_of_powershell_and_fluent_bit_are_taken_byte_for_byte() {
    let scene = Scene::new().await;
    for (name, rows) in [("powershell-data-collector.http", 1), ("fluent-bit-azure-shared-key.http", 2)] {
        let mut connection = raw::Raw::connect(&scene.site).await;
        connection.say(&written_down(&scene, name)).await;
        connection.end().await;
        let said = connection.hear().await;
        assert!(said.text.contains("HTTP/1.1 200 "), "{name}: {said:?}\n{}", scene.site.log());
        assert_eq!(scene.spooled().await, rows, "{name}");
    }
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_wrongly_and_what_is_wrong_get_the_documented_answers_and_nothing_is_kept() {
    let scene = Scene::new().await;
    let good = || Post::new(r#"[{"a":1}]"#, &key(0), 0);
    let documented = r#"{"Error":"InvalidAuthorization","Message":"An invalid signature was specified in the Authorization header"}"#;
    let longer = Post { body: b"[{\"a\":10}]".to_vec(), ..good() };
    for post in [
        Post::new(r#"[{"a":1}]"#, &key(0), -16 * 60),
        Post::new(r#"[{"a":1}]"#, &key(1), 0),
        longer,
        good().with("x-ms-date", "Fri, 02 Jan 2026 03:04:05 GMT"),
        good().with("Authorization", "Bearer x"),
    ] {
        let answer = scene.send(&post).await;
        assert_eq!((answer.status, &*answer.body), (403, documented.as_bytes()), "{:?}", post.headers);
    }
    let to = |target: &str| Post { target: target.to_owned(), ..good() };
    let body = |body: &str| Post::new(body, &key(0), 0);
    for (post, status, code) in [
        (to("/api/logs"), 400, "MissingApiVersion"),
        (to("/api/logs?api-version=2023-01-01"), 400, "InvalidApiVersion"),
        (good().with("Log-Type", "My-Type"), 400, "InvalidLogType"),
        (good().with("Log-Type", ""), 400, "MissingLogType"),
        (good().with("Content-Type", "text/plain"), 400, "UnsupportedContentType"),
        (
            good().with("Authorization", &format!("SharedKey plant:{}", BASE64_STANDARD.encode([0; 32]))),
            400,
            "InvalidCustomerId",
        ),
        (body("[{\"a\":}]"), 400, "InvalidDataFormat"),
        (body("[5]"), 400, "InvalidDataFormat"),
        (body("[{\"TimeGenerated\":\"2026-01-01T00:00:00Z\"}]"), 400, "InvalidDataFormat"),
    ] {
        assert_eq!(error_of(&scene.send(&post).await), (status, code.to_owned()));
    }
    assert_eq!(scene.spooled().await, 0);
    // As large as a post may be, and one byte more.
    let record = "x".repeat(900_000);
    let mut largest: String = (0..34).map(|n| format!(",{{\"n\":{n},\"log\":\"{record}\"}}")).collect();
    largest.replace_range(..1, "[");
    largest += "]";
    let padding = (30 << 20) - largest.len();
    let exactly = format!("{largest}{}", " ".repeat(padding));
    assert_eq!(scene.send(&Post::new(exactly.clone(), &key(0), 0)).await.status, 200, "{}", scene.site.log());
    assert_eq!(error_of(&scene.send(&Post::new(exactly + " ", &key(0), 0)).await), (404, "NotFound".to_owned()));
    assert_eq!(scene.spooled().await, 34);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_post_adds_nothing_and_equal_records_sent_on_purpose_all_arrive() {
    let scene = Scene::new().await;
    let grows_by = async |post: &Post| {
        let before = scene.spooled().await;
        assert_eq!(scene.send(post).await.status, 200);
        scene.spooled().await - before
    };
    // Two equal records in one post are two; a heartbeat tells no time.
    let heartbeat = |seconds| Post::new(r#"[{"log":"alive"},{"log":"alive"}]"#, &key(0), seconds);
    let first = heartbeat(-60);
    assert_eq!((grows_by(&first).await, grows_by(&first).await), (2, 0), "the same request again");
    assert_eq!(grows_by(&heartbeat(-30)).await, 2, "a new one with the same records");
    // Fluent Bit signs anew for each try, and its records tell their time.
    let chunk = |seconds| {
        Post::new(r#"[{"@timestamp":1799000000.5,"log":"a"},{"@timestamp":1799000000.5,"log":"a"}]"#, &key(0), seconds)
    };
    assert_eq!((grows_by(&chunk(-60)).await, grows_by(&chunk(-30)).await), (2, 0));
    let unknown = scene.site.metric("gatepost_events_unrecognisable_total{input=\"uploads\"}").await;
    assert_eq!(unknown as u64, 4, "what could not be told from new records is counted");
    assert_eq!(scene.rows().await.len(), 6);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_of_many_records_is_known_by_their_places_after_a_kill() {
    let mut scene = Scene::new().await;
    // Two of each are equal; so many places are kept as a run.
    let record = |n| format!("{{\"@timestamp\":1799000000.5,\"log\":\"{}\"}}", n / 2);
    let body = format!("[{}]", (0..40).map(record).collect::<Vec<_>>().join(","));
    let post = |seconds| Post::new(body.clone(), &key(0), seconds);
    assert_eq!(scene.send(&post(-60)).await.status, 200);
    for seconds in [-50, -40] {
        scene.running.kill();
        scene.running = scene.site.start().await;
        assert_eq!(scene.send(&post(seconds)).await.status, 200);
        let repeated = scene.site.metric("gatepost_events_duplicate_total{input=\"uploads\"}").await as u64;
        assert_eq!((scene.spooled().await, repeated), (0, 40), "{}", scene.site.log());
    }
    assert_eq!(scene.rows().await.len(), 40);
    scene.ends_well().await;
}
