//! The promises of a workspace, against the fake Azure: nothing is lost and nothing comes twice whatever it answers, and an
//! operator is told what to do.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::lab::azure::{App, FakeAzure, Plan, Quota, Rule};
use gatepost::lab::events::{Host, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use serde_json::{Value, json};

use crate::support::Site;

const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const CLIENT: &str = "22222222-2222-4222-8222-222222222222";
const SECRET: &str = "a secret of the tests";
const STREAM: &str = "Custom-Events";

/// A fake Azure with so many endpoints and an app that may ask for tokens.
async fn azure(endpoints: usize) -> FakeAzure {
    let azure = FakeAzure::start(Plan::endpoints(endpoints)).await.expect("loopback has free ports");
    azure.directory().register(App::new(TENANT, CLIENT).with_secret(SECRET));
    azure
}

/// A rule that takes everything from the app.
fn rule(id: &str) -> Rule {
    Rule::new(id).with_open_stream(STREAM).with_sender(CLIENT)
}

/// An output over these endpoints, with more keys.
fn output(azure: &FakeAzure, name: &str, rule: &str, endpoints: &[usize], more: &str) -> String {
    let urls: Vec<String> =
        endpoints.iter().map(|&at| format!("{{ url = \"{}\" }}", azure.endpoints()[at].url())).collect();
    format!(
        r#"[[outputs]]
kind = "workspace"
name = "{name}"
dcr = "{rule}"
stream = "{STREAM}"
timeout = "3 s"
ca_file = "azure.pem"
identity = {{ kind = "client_secret", tenant = "{TENANT}", client_id = "{CLIENT}", client_secret = "{SECRET}", authority = "{}" }}
endpoints = [{}]
forward = {{ linger = "20 ms" }}
balancer = {{ retry_base = "20 ms", retry_cap = "500 ms", ejection_base = "200 ms", ejection_cap = "2 s", probe_interval = "200 ms" }}
{more}
"#,
        azure.entra_door().url(),
        urls.join(", ")
    )
}

/// A site whose outputs trust the fake Azure.
fn site(azure: &FakeAzure, outputs: &str) -> Site {
    let site = Site::new(outputs, "");
    std::fs::write(site.dir.join("azure.pem"), azure.ca_pem()).expect("the certificate can be written");
    site
}

/// A host whose events happen at this distance from now.
fn host(name: &str, seed: u64, ago: Duration) -> Host {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    Host::new(name, seed).starting_at(i64::try_from((now - ago).as_secs()).expect("it fits"))
}

async fn upload(site: &Site, client: &Client, rows: &[Vec<u8>]) {
    let body = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
    let answer = site.upload(client, body).await.expect("the gateway answers");
    assert_eq!(answer.status, 204, "{}\n{}", String::from_utf8_lossy(&answer.body), site.log());
}

fn rendered(events: &[SimulatedEvent]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.render(Shape::Row)).collect()
}

type Identity = (String, String, String);

fn identity(row: &Value) -> Identity {
    let text = |key: &str| match &row[key] {
        Value::String(text) => text.to_lowercase(),
        other => other.to_string(),
    };
    let record = if row["EventRecordId"].is_null() { text("EventRecordID") } else { text("EventRecordId") };
    (text("Computer"), text("Channel"), record)
}

/// Every one of these events, and nothing else, is in the workspace once.
fn assert_each_once(azure: &FakeAzure, rule: &str, owed: &[SimulatedEvent]) {
    let mut held: BTreeMap<Identity, usize> = BTreeMap::new();
    for row in azure.workspace().rows(rule, STREAM) {
        *held.entry(identity(&row.value)).or_default() += 1;
    }
    let twice: Vec<_> = held.iter().filter(|(_, count)| **count > 1).take(5).collect();
    assert!(twice.is_empty(), "{rule}: twice: {twice:?}");
    for event in owed {
        let of = event.identity();
        let key = (of.computer, of.channel, of.record_id.to_string());
        assert!(held.contains_key(&key), "{rule}: {key:?} is missing of {}; there are {}", owed.len(), held.len());
    }
    assert_eq!(held.len(), owed.len(), "{rule}");
}

async fn shown(site: &Site, name: &str) -> Value {
    let status = site.status().await;
    let outputs = status["outputs"].as_array().expect("a list");
    outputs.iter().find(|output| output["name"] == name).expect("it is configured").clone()
}

fn letters(site: &Site) -> Vec<Value> {
    let listed = site.gatepost(&["--json", "dead-letter", "list"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8_lossy(&listed.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_of_ten_workspaces_get_everything_while_one_is_throttled_one_forbidden_and_one_gone() {
    let azure = azure(10).await;
    let rules: Vec<String> = (0..10).map(|n| format!("dcr-{n:032x}")).collect();
    let (throttled, forbidden, gone) = (7, 8, 9);
    for (n, id) in rules.iter().enumerate() {
        let rule = match n {
            _ if n == throttled => {
                rule(id).with_quota(Quota { requests: 1, bytes: u64::MAX, span: Duration::from_secs(20) })
            }
            _ if n == forbidden => Rule::new(id).with_open_stream(STREAM),
            _ => rule(id),
        };
        azure.workspace().add_rule(rule);
    }
    azure.endpoints()[gone].set_down(true);
    let outputs: String = (0..10).map(|n| output(&azure, &format!("w{n}"), &rules[n], &[n], "")).collect();
    let site = site(&azure, &outputs);
    let running = site.start().await;
    let client = site.client();
    let mut host = host("TEN.plant.example", 10, Duration::from_secs(60));
    let mut owed = Vec::new();
    for _ in 0..20 {
        let events: Vec<_> = host.by_ref().take(100).collect();
        upload(&site, &client, &rendered(&events)).await;
        owed.extend(events);
    }
    site.until("seven have everything", async || {
        let status = site.status().await;
        status["outputs"].as_array().is_some_and(|all| all[..7].iter().all(|output| output["pending"] == 0))
    })
    .await;
    for rule in &rules[..7] {
        assert_each_once(&azure, rule, &owed);
    }
    for (n, outcome, advice) in [
        (throttled, "retry_throttled", "spread the hosts"),
        (forbidden, "retry_forbidden", "Monitoring Metrics Publisher"),
        (gone, "retry_connect", "reaches the endpoint"),
    ] {
        site.until("the status tells what to do", async || {
            let error = &shown(&site, &format!("w{n}")).await["last_error"];
            error["outcome"] == outcome && error["advice"].as_str().is_some_and(|text| text.contains(advice))
        })
        .await;
        assert!(shown(&site, &format!("w{n}")).await["pending"].as_u64().is_some_and(|left| left > 0), "w{n} waits");
    }
    assert!(letters(&site).is_empty(), "nothing is given up");

    // Everything is mended, without a restart, and without the thirty seconds that a refusal is left alone when it can be helped.
    azure.workspace().change_rule(&rules[throttled], |rule| rule.set_quota(None));
    azure.workspace().change_rule(&rules[forbidden], |rule| rule.grant_after_requests(CLIENT, 0));
    azure.endpoints()[gone].set_down(false);
    site.until("all have everything", async || {
        let status = site.status().await;
        status["outputs"].as_array().is_some_and(|all| all.iter().all(|output| output["pending"] == 0))
    })
    .await;
    for rule in &rules {
        assert_each_once(&azure, rule, &owed);
    }
    assert_eq!(azure.directory().issued(), 1, "ten outputs of one identity share one token");
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poisonous_event_of_ten_thousand_is_set_aside_with_the_answer_and_arrives_once_its_cause_is_gone() {
    const POISON: &str = "the column cannot hold this";
    let azure = azure(1).await;
    azure.workspace().add_rule(rule("dcr-1"));
    azure.workspace().set_poison(Some(POISON));
    let site = site(&azure, &output(&azure, "sentinel", "dcr-1", &[0], ""));
    let running = site.start().await;
    let events: Vec<_> = host("POISON.plant.example", 3, Duration::from_secs(600)).take(10_000).collect();
    let mut rows = rendered(&events);
    rows[6_789].pop();
    rows[6_789].extend_from_slice(format!(",\"Note\":\"{POISON}\"}}").as_bytes());
    for rows in rows.chunks(2_000) {
        upload(&site, &site.client(), rows).await;
    }
    site.until_drained().await;
    let mut owed = events.clone();
    owed.remove(6_789);
    assert_each_once(&azure, "dcr-1", &owed);
    let kept = letters(&site);
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!((&kept[0]["reason"], &kept[0]["status"]), (&json!("rejected"), &json!(400)), "{:#}", kept[0]);
    assert!(kept[0]["answer"].as_str().is_some_and(|text| text.contains("InvalidPayload")), "{:#}", kept[0]);
    let first_seen = kept[0]["first_seen_ms"].clone();

    // Too early: it comes back, with the time when it was first seen.
    let first = kept[0]["id"].clone();
    let id = first.to_string();
    assert!(site.gatepost(&["dead-letter", "replay", &id]).status.success());
    site.until("it is refused again", async || letters(&site).first().is_some_and(|letter| letter["id"] != first))
        .await;
    assert_eq!(letters(&site)[0]["first_seen_ms"], first_seen);

    azure.workspace().set_poison(None);
    assert!(site.gatepost(&["dead-letter", "replay", "--all"]).status.success());
    site.until_drained().await;
    assert_each_once(&azure, "dcr-1", &events);
    assert!(letters(&site).is_empty());
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_old_backlog_keeps_its_times_in_a_column_of_their_own_and_is_counted() {
    let azure = azure(1).await;
    azure.workspace().add_rule(rule("dcr-1"));
    let site = site(&azure, &output(&azure, "sentinel", "dcr-1", &[0], "table = \"WindowsEvent\""));
    let running = site.start().await;
    let client = site.client();
    let old: Vec<_> = host("PLANT.example", 4, Duration::from_secs(7 * 24 * 3600)).take(300).collect();
    let fresh: Vec<_> = host("FRESH.example", 5, Duration::from_secs(60)).take(200).collect();
    upload(&site, &client, &rendered(&old[..100])).await;
    upload(&site, &client, &old[100..200].iter().map(|event| event.render(Shape::EvtxJson)).collect::<Vec<_>>()).await;
    let xml = old[200..].iter().map(|event| event.render(Shape::Xml)).collect::<Vec<_>>().join(&b'\n');
    let answer = client.post(&site.url("/v1/events"), &[], xml.into(), Duration::from_secs(30)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    upload(&site, &client, &rendered(&fresh)).await;
    site.until_drained().await;
    let all = [old.clone(), fresh].concat();
    assert_each_once(&azure, "dcr-1", &all);

    let times: BTreeMap<String, i64> =
        old.iter().map(|event| (format!("{} {}", event.channel(), event.record_id()), event.ticks())).collect();
    for row in azure.workspace().rows("dcr-1", STREAM) {
        let value = &row.value;
        let Some(restored) = value["TimeCreated_CF"].as_str() else {
            assert!(row.original_time.is_none(), "restamped, and its own time is lost: {value:#}");
            assert_eq!(value["Computer"], "FRESH.example", "{value:#}");
            continue;
        };
        assert!(row.original_time.is_some(), "it was restamped: {value:#}");
        let record = identity(value).2;
        let ticks = times[&format!("{} {record}", value["Channel"].as_str().expect("a channel"))];
        let parsed = gatepost::event::Timestamp::parse(restored).expect("a time");
        assert_eq!(parsed.ticks(), ticks, "{value:#}");
    }
    assert_eq!(site.metric("gatepost_events_restamped_total{output=\"sentinel\"}").await, 300.0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_too_large_are_halved_rows_that_are_too_large_are_cut_and_the_rest_becomes_a_dead_letter() {
    let azure = azure(1).await;
    azure.workspace().add_rule(rule("dcr-1"));
    // More than Azure takes: it says 413, and the batch is halved until it fits.
    let more = "max_batch = \"4 MB\"\ncompression = \"none\"";
    let site = site(&azure, &output(&azure, "sentinel", "dcr-1", &[0], more));
    let running = site.start().await;
    let client = site.client();
    let events: Vec<_> = host("LARGE.plant.example", 6, Duration::from_secs(600)).take(6_000).collect();
    for rows in rendered(&events).chunks(1_500) {
        upload(&site, &client, rows).await;
    }
    site.until_drained().await;
    assert_each_once(&azure, "dcr-1", &events);
    assert!(
        azure.workspace().statuses().get(&413).is_some_and(|count| *count > 0),
        "{:?}",
        azure.workspace().statuses()
    );
    assert!(letters(&site).is_empty());
    assert!(running.stop().success());

    // One row: its long text is cut. Another with many texts of moderate length cannot be helped.
    site.configure(&site.config().replace("max_batch = \"4 MB\"", "max_batch = \"500 kB\""));
    let running = site.start().await;
    let long = json!({ "Computer": "LONG", "Channel": "Application", "EventID": 1, "EventRecordId": "1", "EventData": { "Script": "x".repeat(600_000), "Name": "kept" } });
    let many: serde_json::Map<String, Value> = (0..60).map(|n| (format!("C{n}"), json!("y".repeat(10_000)))).collect();
    let many = Value::from(many);
    upload(&site, &client, &[long.to_string().into_bytes(), many.to_string().into_bytes()]).await;
    site.until_drained().await;
    let rows = azure.workspace().rows("dcr-1", STREAM);
    let long = rows.iter().find(|row| row.value["Computer"] == "LONG").expect("it arrived");
    let script = long.value["EventData"]["Script"].as_str().expect("a text");
    assert!(script.len() <= 65_536 && script.contains("cut by Gatepost"), "{}", script.len());
    assert!(long.cut.is_empty(), "Azure had nothing left to cut");
    assert_eq!(long.value["EventData"]["Name"], "kept");
    assert_eq!(site.metric("gatepost_events_shortened_total{output=\"sentinel\"}").await, 1.0);
    let kept = letters(&site);
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(kept[0]["reason"], "unsendable");
    assert!(
        kept[0]["detail"].as_str().is_some_and(|text| text.contains("a request holds at most 500000")),
        "{:#}",
        kept[0]
    );
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_target_makes_fewer_requests_that_all_fit() {
    let azure = azure(1).await;
    azure.workspace().add_rule(rule("dcr-plain"));
    azure.workspace().add_rule(rule("dcr-compressed"));
    let outputs = output(&azure, "plain", "dcr-plain", &[0], "")
        + &output(&azure, "compressed", "dcr-compressed", &[0], "target = \"compressed\"");
    // A batch of megabytes takes the stand-in for Azure seconds on a busy machine: who gives up before sends it twice.
    let outputs =
        outputs.replace("linger = \"20 ms\"", "linger = \"3 s\"").replace("timeout = \"3 s\"", "timeout = \"60 s\"");
    let site = site(&azure, &outputs);
    let running = site.start().await;
    let client = site.client();
    let events: Vec<_> = host("MANY.plant.example", 8, Duration::from_secs(3000)).take(30_000).collect();
    for rows in rendered(&events).chunks(5_000) {
        upload(&site, &client, rows).await;
    }
    site.until_drained().await;
    assert_each_once(&azure, "dcr-plain", &events);
    assert_each_once(&azure, "dcr-compressed", &events);
    let uploads = azure.workspace().uploads();
    let of = |rule: &str| uploads.iter().filter(|upload| upload.rule == rule && upload.rows > 0).count();
    assert!(of("dcr-compressed") * 2 <= of("dcr-plain"), "{} of {}", of("dcr-compressed"), of("dcr-plain"));
    for upload in &uploads {
        assert_eq!(upload.status, 204, "{upload:?}");
        assert!(upload.wire_bytes <= 1_000_000 && upload.plain_bytes <= 50 << 20, "{upload:?}");
    }
    assert_eq!(azure.workspace().dropped_later(), 0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_two_endpoints_lose_nothing_and_every_retry_has_the_id_of_its_batch() {
    use gatepost::lab::azure::Fault;
    let azure = azure(2).await;
    azure.workspace().add_rule(rule("dcr-1"));
    for door in azure.endpoints() {
        door.fail_sometimes(0.15, Fault::Answer { status: 503, retry_after: None });
        door.fail_sometimes(0.1, Fault::Answer { status: 500, retry_after: None });
        door.fail_sometimes(0.1, Fault::Answer { status: 401, retry_after: None });
        door.fail_sometimes(0.1, Fault::ResetAfterBody);
        door.fail_sometimes(0.1, Fault::LostReply);
    }
    let site = site(&azure, &output(&azure, "sentinel", "dcr-1", &[0, 1], ""));
    let running = site.start().await;
    let client = site.client();
    let mut host = host("FAULTS.plant.example", 9, Duration::from_secs(600));
    let mut owed = Vec::new();
    for n in 0..60 {
        let events: Vec<_> = host.by_ref().take(50).collect();
        upload(&site, &client, &rendered(&events)).await;
        owed.extend(events);
        if n % 10 == 9 {
            site.until_drained().await;
        }
    }
    for door in azure.endpoints() {
        door.behave();
    }
    site.until_drained().await;
    // A lost reply is the one way to a repetition, and a repetition has the id of the first try.
    let mut tries: BTreeMap<Identity, Vec<Option<String>>> = BTreeMap::new();
    for row in azure.workspace().rows("dcr-1", STREAM) {
        tries.entry(identity(&row.value)).or_default().push(row.client_request_id);
    }
    assert_eq!(tries.len(), owed.len(), "every event arrived");
    for (event, ids) in &tries {
        assert!(ids.iter().all(|id| id.is_some() && *id == ids[0]), "{event:?} came in different batches: {ids:?}");
    }
    let ambiguous = site.metric("gatepost_events_ambiguous_total{output=\"sentinel\"}").await;
    let repeated: usize = tries.values().map(|ids| ids.len() - 1).sum();
    assert!(repeated as f64 <= ambiguous, "{repeated} repeated, {ambiguous} counted");
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_while_everything_is_refused_makes_nothing_ambiguous() {
    let azure = azure(1).await;
    azure.workspace().add_rule(Rule::new("dcr-1").with_open_stream(STREAM));
    let site = site(&azure, &output(&azure, "sentinel", "dcr-1", &[0], ""));
    let running = site.start().await;
    let events: Vec<_> = host("REFUSED.plant.example", 11, Duration::from_secs(600)).take(3_000).collect();
    for rows in rendered(&events).chunks(1_000) {
        upload(&site, &site.client(), rows).await;
    }
    site.until("it is refused", async || shown(&site, "sentinel").await["last_error"]["outcome"] == "retry_forbidden")
        .await;
    assert!(running.stop().success());
    azure.workspace().change_rule("dcr-1", |rule| rule.grant_after_requests(CLIENT, 0));
    let running = site.start().await;
    site.until_drained().await;
    assert_each_once(&azure, "dcr-1", &events);
    assert_eq!(site.metric("gatepost_events_ambiguous_total").await, 0.0, "nothing can have been taken before");
    assert!(running.stop().success());
    site.assert_audit_balances();
}
