//! The suite that every output passes: what an endpoint does, and the exact outcome that follows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::body::{Compression, Shape};
use super::collector::{Behaviour, Collector};
use super::config::Endpoint;
use super::identity::Identity;
use super::output::{Outcome, OutgoingEvent, Output, Request, RetryReason, Row};
use super::{Config, Shared, build, file, http, workspace as azure};
use crate::event::Format;
use crate::values::{ByteSize, Secret, Span};

mod ways;

const ID: &str = "5d3c1f0e-0000-4000-8000-000000000001";

fn endpoints(url: String) -> Vec<Endpoint> {
    vec![Endpoint { url, ..Endpoint::default() }]
}

fn workspace(url: String) -> Config {
    Config::Workspace(Box::new(azure::Config {
        name: "workspace".to_owned(),
        endpoints: endpoints(url),
        dcr: "dcr-1".to_owned(),
        stream: "Custom-Events".to_owned(),
        identity: Identity::Token { token: Secret::new("canary") },
        timeout: Span::millis(300),
        max_batch: Some(ByteSize::mib(16)),
        ..azure::Config::default()
    }))
}

fn collector_output(url: String, format: Shape, compression: Compression) -> Config {
    Config::Http(http::Config {
        name: "collector".to_owned(),
        endpoints: endpoints(url),
        headers: [("x-key".to_owned(), Secret::new("canary"))].into(),
        format,
        compression,
        timeout: Span::millis(300),
        ..http::Config::default()
    })
}

/// Every HTTP output worth a run of its own.
fn http_outputs(authority: &str) -> Vec<(Config, Shape, Compression)> {
    let url = || format!("http://{authority}");
    vec![
        (workspace(url()), Shape::JsonArray, Compression::Gzip),
        (collector_output(url(), Shape::JsonArray, Compression::Gzip), Shape::JsonArray, Compression::Gzip),
        (collector_output(url(), Shape::Ndjson, Compression::Zstd), Shape::Ndjson, Compression::Zstd),
    ]
}

fn built(config: &Config) -> Arc<dyn Output> {
    build(config, &Shared::new(Path::new("/nonexistent"))).unwrap()
}

fn request(output: &dyn Output) -> Request {
    let event = |n: u32| OutgoingEvent {
        format: Format::Json,
        stream: "".into(),
        client: None,
        raw: format!("{{\"n\":{n}}}").into(),
    };
    let rows: Vec<_> = (1..=3).map(|n| output.row(&event(n)).unwrap()).collect();
    Request::new(ID.to_owned(), output.body(&rows))
}

/// A request whose body does not fit into the buffers of a socket.
fn large_request() -> Request {
    let body: Bytes = std::iter::repeat_with(|| b'x').take(16 << 20).collect();
    Request { batch_id: ID.to_owned(), plain_bytes: body.len(), body, events: 1 }
}

/// The outcome without what the endpoint said.
fn bare(mut outcome: Outcome) -> Outcome {
    match &mut outcome {
        Outcome::Accepted => {}
        Outcome::Retry { detail, .. }
        | Outcome::Ambiguous { detail }
        | Outcome::Split { detail, .. }
        | Outcome::Rejected { detail, .. } => {
            assert!(!detail.is_empty(), "an operator must be told why");
            assert!(!detail.contains("canary"));
            detail.clear();
        }
    }
    outcome
}

/// An answer that takes nothing, for certain.
fn retry(reason: RetryReason, after: Option<u64>) -> Outcome {
    Outcome::Retry { after: after.map(Duration::from_secs), reason, may_be_taken: false, detail: String::new() }
}

/// An answer behind which the batch may be there.
fn doubt(reason: RetryReason, after: Option<u64>) -> Outcome {
    Outcome::Retry { after: after.map(Duration::from_secs), reason, may_be_taken: true, detail: String::new() }
}

fn rejected(status: u16) -> Outcome {
    Outcome::Rejected { status: Some(status), detail: String::new() }
}

const AMBIGUOUS: Outcome = Outcome::Ambiguous { detail: String::new() };
const SPLIT: Outcome = Outcome::Split { status: Some(413), detail: String::new() };

/// `taken` is what an answer of 2xx means that is not 204.
fn table(taken: &Outcome) -> Vec<(Behaviour, Outcome)> {
    use Behaviour::{Answer, Close, Continue, CutAnswer, Garbage, Hang, Huge, ResetAfterBody, ResetBeforeBody, Slow};
    use RetryReason::{Busy, Failed, Forbidden, NotFound, Refused, Throttled, Unauthorized};
    let dated = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:37 GMT\r\n";
    vec![
        (Answer(204, ""), Outcome::Accepted),
        (Answer(200, ""), taken.clone()),
        (Answer(202, ""), taken.clone()),
        (Slow, Outcome::Accepted),
        (Continue, Outcome::Accepted),
        (Huge(8 << 20), taken.clone()),
        (CutAnswer, taken.clone()),
        (Answer(302, "location: /login\r\n"), retry(Refused, Some(30))),
        (Answer(303, "location: /receipts/1\r\n"), doubt(Refused, Some(30))),
        (Answer(400, "x-ms-error-code: InvalidPayload\r\n"), rejected(400)),
        (Answer(401, ""), retry(Unauthorized, Some(30))),
        (Answer(403, ""), retry(Forbidden, Some(30))),
        (Answer(404, "retry-after: 90\r\n"), retry(NotFound, Some(90))),
        (Answer(408, ""), doubt(Failed, None)),
        (Answer(413, ""), SPLIT),
        (Answer(422, ""), rejected(422)),
        (Answer(429, "retry-after: 7\r\n"), doubt(Throttled, Some(7))),
        (Answer(429, dated), doubt(Throttled, Some(60))),
        (Answer(429, ""), doubt(Throttled, None)),
        (Answer(503, "retry-after: 0\r\n"), doubt(Busy, Some(0))),
        (Answer(500, ""), doubt(Failed, None)),
        (Answer(502, "retry-after: 2\r\n"), doubt(Failed, Some(2))),
        (Answer(504, ""), doubt(Failed, None)),
        (Hang, AMBIGUOUS),
        (ResetBeforeBody, AMBIGUOUS),
        (ResetAfterBody, AMBIGUOUS),
        (Close, AMBIGUOUS),
        (Garbage, AMBIGUOUS),
    ]
}

#[tokio::test]
async fn each_behaviour_has_its_exact_outcome() {
    let collector = Collector::start(None).await;
    for (config, ..) in http_outputs(&collector.authority) {
        let output = built(&config);
        let request = request(&*output);
        // Azure says exactly 204; another 2xx is somebody else's, and nobody knows what it means.
        let taken = match config {
            Config::Workspace(_) => doubt(RetryReason::Refused, Some(30)),
            _ => Outcome::Accepted,
        };
        for (behaviour, expected) in table(&taken) {
            collector.will([behaviour.clone()]);
            assert_eq!(bare(output.send(0, &request).await), expected, "{}: {behaviour:?}", config.name());
            // Whatever happened to this request, the next one is not hurt by it.
            assert_eq!(output.send(0, &request).await, Outcome::Accepted, "after {behaviour:?}");
        }
    }
}

#[tokio::test]
async fn a_request_carries_its_id_and_its_events_unchanged_over_every_try() {
    let collector = Collector::start(None).await;
    for (config, shape, compression) in http_outputs(&collector.authority) {
        let output = built(&config);
        let request = request(&*output);
        collector.will([Behaviour::Answer(500, ""), Behaviour::Answer(204, "")]);
        output.send(0, &request).await;
        output.send(0, &request).await;
        let received = collector.take();
        assert_eq!(received.len(), 2);
        assert_eq!(received[0].body, received[1].body);
        let first = &received[0];
        let plain = compression.expand(&first.body.clone().into(), request.plain_bytes);
        let rows =
            [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#].map(|row| Row::timeless(Bytes::from_static(row.as_bytes())));
        assert_eq!(plain, shape.join(&rows));
        assert_eq!(first.header("content-encoding"), compression.content_encoding());
        assert_eq!(first.header("content-type"), Some(shape.content_type()));
        assert_eq!(first.header("content-length"), Some(request.body.len().to_string().as_str()));
        assert_eq!(first.header("user-agent"), Some(concat!("gatepost/", env!("CARGO_PKG_VERSION"))));
        let line = first.head.lines().next().unwrap();
        if output.kind() == "workspace" {
            assert_eq!(line, "POST /dataCollectionRules/dcr-1/streams/Custom-Events?api-version=2023-01-01 HTTP/1.1");
            assert_eq!(first.header("x-ms-client-request-id"), Some(ID));
            assert_eq!(first.header("authorization"), Some("Bearer canary"));
        } else {
            assert_eq!(line, "POST / HTTP/1.1");
            assert_eq!(first.header("idempotency-key"), Some(ID));
            assert_eq!(first.header("x-gatepost-events"), Some("3"));
            assert_eq!(first.header("x-key"), Some("canary"));
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_cannot_decompress_gets_plain_bodies_from_then_on() {
    let collector = Collector::start(None).await;
    for status in [415, 501] {
        for (config, ..) in http_outputs(&collector.authority) {
            let output = built(&config);
            let request = request(&*output);
            let refuse = Behaviour::Answer(status, "");
            collector.will([refuse.clone(), refuse.clone()]);
            assert_eq!(bare(output.send(0, &request).await), retry(RetryReason::Refused, Some(30)));
            collector.will([refuse]);
            assert_eq!(output.send(0, &request).await, Outcome::Accepted);
            assert_eq!(output.send(0, &request).await, Outcome::Accepted);
            let encodings: Vec<bool> =
                collector.take().iter().map(|received| received.header("content-encoding").is_some()).collect();
            assert_eq!(encodings, [true, false, true, false, false]);
        }
    }
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_large_body_is_ambiguous() {
    let collector = Collector::start(None).await;
    let output = built(&workspace(format!("http://{}", collector.authority)));
    collector.will([Behaviour::ResetBeforeBody]);
    assert_eq!(bare(output.send(0, &large_request()).await), AMBIGUOUS);
    // The answer may be lost behind the reset; if it came through, it counts.
    collector.will([Behaviour::EarlyTooLarge]);
    let outcome = bare(output.send(0, &large_request()).await);
    assert!(outcome == SPLIT || outcome == AMBIGUOUS, "{outcome:?}");
}

#[tokio::test]
async fn a_file_takes_a_batch_once_and_asks_again_when_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::File(file::Config { name: "local".to_owned(), ..file::Config::default() });
    let output = build(&config, &Shared::new(dir.path())).unwrap();
    let batch = request(&*output);
    assert_eq!(output.probe(0).await, Ok(()));
    assert_eq!(output.send(0, &batch).await, Outcome::Accepted);
    assert_eq!(output.send(0, &batch).await, Outcome::Accepted);
    let read = || std::fs::read_to_string(dir.path().join("out/events-00000001.ndjson")).unwrap();
    assert_eq!(read(), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");

    // After a reload the new output waits for the old one.
    let reloaded = build(&config, &Shared::new(dir.path())).unwrap();
    let next = Request { batch_id: "next".to_owned(), ..batch.clone() };
    assert_eq!(bare(reloaded.send(0, &next).await), doubt(RetryReason::Failed, None));
    assert!(reloaded.probe(0).await.is_err());
    drop(output);
    assert_eq!(reloaded.send(0, &batch).await, Outcome::Accepted);
    assert_eq!(reloaded.send(0, &next).await, Outcome::Accepted);
    assert_eq!(read().lines().count(), 6);
}

#[test]
fn the_limits_of_every_output_tell_the_exact_size_of_its_bodies() {
    let mut configs: Vec<Config> = http_outputs("127.0.0.1:1").into_iter().map(|(config, ..)| config).collect();
    configs.push(Config::File(file::Config { name: "local".to_owned(), ..file::Config::default() }));
    for config in configs {
        let output = built(&config);
        let (limits, request) = (output.limits(), request(&*output));
        assert_eq!(request.plain_bytes, limits.frame_bytes + 3 * 7 + 2 * limits.separator_bytes, "{}", config.name());
        assert_eq!(request.events, 3);
        assert!(!output.endpoints().is_empty());
        assert_eq!(serde_json::to_value(&config).unwrap()["kind"], output.kind());
    }
}
