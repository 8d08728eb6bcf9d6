//! The fake's data collection endpoints behave as the service is documented and reported to behave. Nobody held them
//! against Azure itself.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use gatepost::lab::azure::{FakeAzure, Fault, Plan, Quota, Rule, Type};
use gatepost::net::upload_client::SendError;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::scene::{APP, MONITOR, RULE, STREAM, azure, client, code, send, stream_url};

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn now_plus(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

fn stored(azure: &FakeAzure) -> Vec<Value> {
    azure.workspace().rows(RULE, STREAM).into_iter().map(|row| row.value).collect()
}

#[tokio::test]
async fn an_array_of_objects_is_taken_plain_and_as_gzip_with_an_empty_204() {
    let azure = azure(1).await;
    let id = [("x-ms-client-request-id", "0b5e")];
    let answer = send(&azure, &id, r#"[{"Computer":"a"},{"Computer":"b"}]"#).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    let answer = send(&azure, &[("content-encoding", "gzip")], gzip(br#"[{"Computer":"c"}]"#)).await;
    assert_eq!(answer.status, 204);
    assert_eq!(send(&azure, &[], "[]").await.status, 204, "an empty array is a legal probe");
    let computers: Vec<Value> = stored(&azure).iter().map(|row| row["Computer"].clone()).collect();
    assert_eq!(computers, ["a", "b", "c"]);
    let rows = azure.workspace().rows(RULE, STREAM);
    assert_eq!(rows[1].client_request_id.as_deref(), Some("0b5e"));
    let uploads = azure.workspace().uploads();
    assert_eq!(uploads.iter().map(|upload| upload.rows).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!((uploads[0].client_id.as_deref(), uploads[0].wire_bytes), (Some(APP), 35));
}

#[tokio::test]
async fn what_is_no_array_of_objects_is_refused_whole() {
    let azure = azure(1).await;
    for body in [r#"{"Computer":"a"}"#, r#"[{"Computer":"a"},7]"#, r#"[{"Computer":"a"}"#, "", "null"] {
        let answer = send(&azure, &[], body).await;
        assert_eq!((answer.status, code(&answer).as_str()), (400, "InvalidPayload"), "{body}");
    }
    let answer = send(&azure, &[("content-encoding", "gzip")], r#"[{"Computer":"a"}]"#).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "InvalidPayload"));
    assert_eq!(send(&azure, &[("content-encoding", "zstd")], "[]").await.status, 415);
    assert_eq!(stored(&azure), Vec::<Value>::new());
}

#[tokio::test]
async fn the_size_on_the_wire_is_what_counts_until_the_inflated_size_drops_rows_later() {
    let azure = azure(1).await;
    let row = format!("[{{\"Text\":\"{}\"}}]", "x".repeat(1_048_576));
    let answer = send(&azure, &[], row.clone()).await;
    assert_eq!((answer.status, code(&answer).as_str()), (413, "ContentLengthLimitExceeded"));
    assert_eq!(send(&azure, &[("content-encoding", "gzip")], gzip(row.as_bytes())).await.status, 204);
    assert_eq!(stored(&azure).len(), 1);
    let rows = format!("[{}]", vec![format!("{{\"Text\":\"{}\"}}", "x".repeat(60_000)); 900].join(","));
    assert_eq!(send(&azure, &[("content-encoding", "gzip")], gzip(rows.as_bytes())).await.status, 204);
    assert_eq!((stored(&azure).len(), azure.workspace().dropped_later()), (1, 900));
}

#[tokio::test]
async fn tokens_must_be_there_be_good_and_be_for_azure_monitor() {
    let azure = azure(1).await;
    let foreign = FakeAzure::start(Plan::endpoints(0)).await.unwrap();
    let url = stream_url(&azure, 0, RULE, STREAM);
    let token = |lifetime, audience: &str| azure.directory().token(APP, audience, lifetime).unwrap();
    let tokens = [
        None,
        Some("not.a.token".to_owned()),
        Some(token(-1, MONITOR)),
        Some(token(60, "https://management.azure.com")),
        Some(foreign.directory().token(APP, MONITOR, 60).unwrap()),
    ];
    for token in tokens {
        let bearer = token.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = client(&azure).post(&url, &headers, "[]".into(), Duration::from_secs(10)).await.unwrap();
        assert_eq!(answer.status, 401, "{token:?}");
    }
    assert_eq!(send(&azure, &[], "[]").await.status, 204);
}

#[tokio::test]
async fn rules_and_streams_must_exist_and_roles_must_have_arrived() {
    let azure = azure(1).await;
    let bearer = format!("Bearer {}", azure.directory().token(APP, MONITOR, 60).unwrap());
    let client = client(&azure);
    let post = async |url: String| {
        client.post(&url, &[("authorization", &bearer)], "[]".into(), Duration::from_secs(10)).await.unwrap()
    };
    for (rule, stream) in [("dcr-other", STREAM), (RULE, "Custom-Other")] {
        let answer = post(stream_url(&azure, 0, rule, stream)).await;
        assert_eq!((answer.status, code(&answer).as_str()), (404, "NotFound"));
    }
    azure.workspace().change_rule(RULE, |rule| rule.grant_after_requests(APP, 2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post(stream_url(&azure, 0, RULE, STREAM)).await.status);
    }
    assert_eq!(statuses, [403, 403, 204]);
    azure.workspace().change_rule(RULE, |rule| rule.grant_after(APP, Duration::from_millis(200)));
    let answer = post(stream_url(&azure, 0, RULE, STREAM)).await;
    assert_eq!((answer.status, code(&answer).as_str()), (403, "OperationFailed"));
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(post(stream_url(&azure, 0, RULE, STREAM)).await.status, 204);
    azure.workspace().change_rule(RULE, |rule| rule.revoke(APP));
    assert_eq!(post(stream_url(&azure, 0, RULE, STREAM)).await.status, 403);
    let odd = stream_url(&azure, 0, RULE, STREAM).replace("/dataCollectionRules", "//datacollectionrules");
    assert_eq!(post(odd).await.status, 403, "paths have no case, and double slashes count once");
}

#[tokio::test]
async fn over_quota_is_429_with_retry_after_until_the_span_is_over() {
    let azure = azure(2).await;
    let quota = Quota { requests: 2, bytes: 1_000, span: Duration::from_secs(1) };
    azure.workspace().change_rule(RULE, |rule| rule.set_quota(Some(quota)));
    assert_eq!(send(&azure, &[], "[]").await.status, 204);
    let big = format!("[{{\"Text\":\"{}\"}}]", "x".repeat(1_000));
    let answer = send(&azure, &[], big).await;
    assert_eq!((answer.status, answer.retry_after), (429, Some(Duration::from_secs(1))));
    assert_eq!(send(&azure, &[], "[]").await.status, 204);
    assert_eq!(send(&azure, &[], "[]").await.status, 429);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(send(&azure, &[], "[]").await.status, 204);
}

#[tokio::test]
async fn rows_become_what_the_stream_declares() {
    let azure = azure(1).await;
    let columns = [
        ("TimeGenerated", Type::Datetime),
        ("Computer", Type::String),
        ("EventID", Type::Int),
        ("Missing", Type::Real),
        ("EventData", Type::Dynamic),
    ];
    azure.workspace().add_rule(Rule::new(RULE).with_stream(STREAM, &columns).with_sender(APP));
    let time = now_plus(-3_600);
    let row = json!([{
        "TimeGenerated": time, "Computer": "é".repeat(40_000), "EventID": "many", "EventData": { "a": 1 }, "Extra": 1
    }]);
    assert_eq!(send(&azure, &[], row.to_string()).await.status, 204);
    let row = azure.workspace().rows(RULE, STREAM).remove(0);
    assert_eq!(row.value["Computer"].as_str().unwrap().len(), 65_536);
    assert_eq!(row.value["TimeGenerated"], time);
    assert_eq!(row.value["EventData"], json!({ "a": 1 }));
    assert_eq!((&row.value["EventID"], &row.value["Missing"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (row.cut, row.dropped, row.mismatched),
        (vec!["Computer".to_owned()], vec!["Extra".to_owned()], vec!["EventID".to_owned()],)
    );
    assert_eq!(row.original_time, None);
}

#[tokio::test]
async fn times_of_long_ago_and_of_the_future_become_the_time_of_arrival() {
    let azure = azure(1).await;
    let day = 86_400;
    for (seconds, kept) in [(-2 * day + 60, true), (-2 * day - 60, false), (day - 60, true), (day + 60, false)] {
        let time = now_plus(seconds);
        assert_eq!(send(&azure, &[], json!([{ "TimeGenerated": time }]).to_string()).await.status, 204);
        let row = azure.workspace().rows(RULE, STREAM).pop().unwrap();
        assert_eq!(row.value["TimeGenerated"] == time, kept, "{seconds} s");
        assert_eq!(row.original_time, (!kept).then(|| Value::String(time)));
    }
}

#[tokio::test]
async fn one_poisoned_row_refuses_its_whole_request_and_duplicates_are_kept() {
    let azure = azure(1).await;
    azure.workspace().set_poison(Some("POISON"));
    let answer = send(&azure, &[], r#"[{"Text":"good"},{"Text":"a POISON pill"}]"#).await;
    assert_eq!((answer.status, code(&answer).as_str()), (400, "InvalidPayload"));
    assert_eq!(stored(&azure).len(), 0);
    for _ in 0..2 {
        send(&azure, &[("x-ms-client-request-id", "same")], r#"[{"Text":"good"}]"#).await;
    }
    assert_eq!(stored(&azure).len(), 2, "the service removes no duplicates");
    azure.workspace().set_pascal_case_errors(true);
    let answer = send(&azure, &[], "{}").await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["Error"]["Code"], "InvalidPayload");
}

#[tokio::test]
async fn faults_come_when_they_are_asked_for_and_lost_replies_have_been_stored() {
    let azure = azure(1).await;
    let door = &azure.endpoints()[0];
    let bearer = format!("Bearer {}", azure.directory().token(APP, MONITOR, 60).unwrap());
    let client = client(&azure);
    let url = stream_url(&azure, 0, RULE, STREAM);
    let post = async || {
        let body = Bytes::from_static(b"[{}]");
        client.post(&url, &[("authorization", &bearer)], body, Duration::from_secs(5)).await
    };
    door.fail_at(1, Fault::Answer { status: 503, retry_after: Some(7) });
    door.fail_next(Fault::LostReply, 1);
    door.fail_next(Fault::ResetBeforeBody, 1);
    door.fail_next(Fault::ResetAfterBody, 1);
    let answer = post().await.unwrap();
    assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(7))));
    assert_eq!(stored(&azure).len(), 0);
    assert!(matches!(post().await, Err(SendError::NoAnswer(_))));
    assert_eq!(stored(&azure).len(), 1, "stored, and the reply was lost");
    for _ in 0..2 {
        assert!(matches!(post().await, Err(SendError::NoAnswer(_))));
    }
    assert_eq!(stored(&azure).len(), 1);
    door.fail_always(Fault::Slow(Duration::from_millis(150)));
    let start = tokio::time::Instant::now();
    assert_eq!(post().await.unwrap().status, 204);
    assert!(start.elapsed() >= Duration::from_millis(150));
    door.behave();
    door.fail_sometimes(0.5, Fault::Answer { status: 401, retry_after: None });
    let mut refused = 0;
    for _ in 0..60 {
        refused += u32::from(post().await.unwrap().status == 401);
    }
    assert!((10..50).contains(&refused), "{refused} of 60");
    door.behave();
    door.set_down(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(post().await, Err(SendError::Connect(_))));
    door.set_down(false);
    let mut answer = post().await;
    for _ in 0..50 {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = post().await;
    }
    assert_eq!(answer.unwrap().status, 204);
}

#[tokio::test]
async fn endpoints_share_their_rules_and_may_speak_plain_http() {
    let azure = FakeAzure::start(Plan::endpoints(2).with_plain_endpoints()).await.unwrap();
    azure.workspace().take_any_rule();
    let bearer = format!("Bearer {}", azure.directory().token("anybody", MONITOR, 60).unwrap());
    for at in 0..2 {
        let url = stream_url(&azure, at, "dcr-any", "Custom-Any");
        assert!(url.starts_with("http://127.0.0.1:"));
        let headers = [("authorization", bearer.as_str())];
        let answer = client(&azure).post(&url, &headers, "[{}]".into(), Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer.status, 204);
    }
    assert_eq!(azure.workspace().row_count("dcr-any", "Custom-Any"), 2);
    assert_eq!(azure.workspace().uploads().iter().map(|upload| upload.endpoint).collect::<Vec<_>>(), [0, 1]);
}
