//! Traces in OTLP: an upload and the batches that its events leave in are spans that know each other, by the ids that the logs have.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

use gatepost::lab::collector::{Collector, Memory};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::support::{PATH, PATIENCE, Site, workspace};

/// A collector of traces that takes what is right and nothing else.
struct Receiver {
    url: String,
    spans: Arc<Mutex<Vec<Value>>>,
    /// The requests as they came, one a line.
    requests: Arc<Mutex<Vec<u8>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
        let spans: Arc<Mutex<Vec<Value>>> = Arc::default();
        let requests: Arc<Mutex<Vec<u8>>> = Arc::default();
        let (kept, lines) = (Arc::clone(&spans), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&lines)));
            }
        });
        Self { url, spans, requests }
    }

    /// The first span that is meant, once it is there.
    async fn until(&self, meant: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let found = self.spans.lock().iter().find(|span| meant(span)).cloned();
            if let Some(span) = found {
                return span;
            }
            assert!(Instant::now() < until, "it does not come: {:#?}", self.spans.lock());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, spans: Arc<Mutex<Vec<Value>>>, requests: Arc<Mutex<Vec<u8>>>) {
    let mut bytes = Vec::new();
    loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            let end = head + length.trim().parse::<usize>().expect("a number");
            if bytes.len() >= end {
                assert!(
                    text.starts_with("post /v1/traces ") && text.contains("content-type: application/json"),
                    "{text}"
                );
                requests.lock().extend([&bytes[head..end], b"\n"].concat());
                spans.lock().extend(checked(&bytes[head..end]));
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.expect("it listens");
                bytes.drain(..end);
                continue;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

/// The spans of an `ExportTraceServiceRequest`: every key one that OTLP has, every value in the form that its JSON asks for.
fn checked(body: &[u8]) -> Vec<Value> {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    keys(&body, &["resourceSpans"]);
    let mut spans = Vec::new();
    for resource in list(&body["resourceSpans"]) {
        keys(resource, &["resource", "scopeSpans"]);
        keys(&resource["resource"], &["attributes"]);
        list(&resource["resource"]["attributes"]).iter().for_each(attribute);
        for scope in list(&resource["scopeSpans"]) {
            keys(scope, &["scope", "spans"]);
            keys(&scope["scope"], &["name", "version"]);
            list(&scope["spans"]).iter().for_each(span);
            spans.extend_from_slice(list(&scope["spans"]));
        }
    }
    spans
}

fn span(span: &Value) {
    keys(
        span,
        &[
            "traceId",
            "spanId",
            "parentSpanId",
            "name",
            "kind",
            "startTimeUnixNano",
            "endTimeUnixNano",
            "attributes",
            "links",
            "status",
        ],
    );
    hex(&span["traceId"], 32);
    hex(&span["spanId"], 16);
    assert!(matches!(span["kind"].as_u64(), Some(2 | 3)), "{span}");
    let at = |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok()).expect("nanoseconds as a text");
    assert!(at("startTimeUnixNano") <= at("endTimeUnixNano"), "{span}");
    list(&span["attributes"]).iter().for_each(attribute);
    keys(&span["status"], &["code", "message"]);
    for link in span.get("links").map(list).unwrap_or_default() {
        keys(link, &["traceId", "spanId"]);
        hex(&link["traceId"], 32);
        hex(&link["spanId"], 16);
    }
}

fn attribute(attribute: &Value) {
    keys(attribute, &["key", "value"]);
    assert!(attribute["key"].is_string(), "{attribute}");
    let value = attribute["value"].as_object().expect("a value");
    let (kind, value) = value.iter().next().expect("one kind of value");
    assert!(value.is_string() && matches!(kind.as_str(), "stringValue" | "intValue"), "{attribute}");
    assert!(kind != "intValue" || value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()), "{attribute}");
}

fn keys(of: &Value, known: &[&str]) {
    let unknown: Vec<&String> =
        of.as_object().expect("an object").keys().filter(|key| !known.contains(&key.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} in {of}");
}

fn list(of: &Value) -> &[Value] {
    of.as_array().expect("a list")
}

fn hex(text: &Value, length: usize) {
    let text = text.as_str().expect("a text");
    assert!(text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
}

fn told(span: &Value, key: &str) -> Option<String> {
    let attribute = list(&span["attributes"]).iter().find(|attribute| attribute["key"] == key)?;
    attribute["value"].as_object()?.values().next()?.as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_and_its_batch_are_spans_that_know_each_other() {
    const ID: &str = "6f1d1c1e-7c3a-4b0e-9d53-2f6f2b9a1c77";
    let receiver = Receiver::start().await;
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let rest = format!("[telemetry]\ntraces_to = \"{}\"\nlevel = \"info,gatepost::forward=debug\"\n", receiver.url);
    let site = Site::new(&workspace("soc", &[&collector]), &rest);
    let _running = site.start().await;
    let client = site.client();
    let headers = [("content-type", "application/json"), ("x-ms-client-request-id", ID)];
    let event = r#"[{"Computer":"PLC-7","Channel":"Security","EventID":4624,"EventRecordID":1},{"Computer":"PLC-7","Channel":"Security","EventID":4624,"EventRecordID":2}]"#;
    let answer = client.post(&site.url(PATH), &headers, event.into(), PATIENCE).await.expect("an answer");
    assert_eq!(answer.status, 204);
    let refused = client.post(&site.url(PATH), &[("content-type", "application/json")], "[{".into(), PATIENCE).await;
    assert_eq!(refused.expect("an answer").status, 400);

    let upload = receiver.until(|span| span["traceId"] == ID.replace('-', "")).await;
    assert_eq!((&upload["name"], &upload["kind"]), (&"upload".into(), &2.into()));
    assert_eq!(told(&upload, "gatepost.client_request_id").as_deref(), Some(ID));
    assert_eq!(
        (told(&upload, "gatepost.first").as_deref(), told(&upload, "gatepost.end").as_deref()),
        (Some("0"), Some("2"))
    );
    let batch = receiver.until(|span| span["name"] == "batch").await;
    let link = &list(&batch["links"])[0];
    assert_eq!((&link["traceId"], &link["spanId"]), (&upload["traceId"], &upload["spanId"]));
    let id = told(&batch, "gatepost.batch_id").expect("an id");
    assert_eq!(batch["traceId"], id.replace('-', ""));
    // The log says the same in one line.
    let line = site.log().lines().find(|line| line.contains("taken") && line.contains(&id)).map(str::to_owned);
    let line: Value = serde_json::from_str(&line.expect("a line about the batch")).expect("JSON");
    assert_eq!((&line["first"], &line["end"], &line["endpoint"]), (&0.into(), &2.into(), &"c0".into()));
    let failed = receiver.until(|span| span["status"]["code"] == 2).await;
    assert_eq!(told(&failed, "http.response.status_code").as_deref(), Some("400"));
    assert!(site.metric("gatepost_trace_spans_total{result=\"failed\"}").await < 1.0);
    // And with the types that OpenTelemetry publishes.
    let requests = receiver.requests.lock().clone();
    assert!(crate::clients::otlp_spans(&requests) >= 3);
}
