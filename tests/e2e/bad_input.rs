//! Bad input: each kind gets its documented status, code and message; nothing of a refused upload is forwarded; memory
//! stays bounded. One bad record in an upload costs the others nothing.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::raw::Raw;
use crate::support::{PATH, Running, Site};
use crate::tools::{Reply, curl, run};

const TOKEN: &str = "a-token-that-only-these-tests-know";
/// Stands in every body that must be refused.
const MARK: &str = "must-not-arrive";
const WIRE_MAX: usize = 64 << 10;
const BODY_MAX: usize = 256 << 10;

/// A gateway with a token, one rule, one stream, small limits and short deadlines.
fn site() -> Site {
    let mut hash = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost"));
    let hash = run(hash.args(["token", "--hash"]), TOKEN.as_bytes());
    let hash = String::from_utf8(hash.stdout).expect("hexadecimal digits");
    let listener = format!(
        "auth = {{ tokens = [{{ name = \"plant\", sha256 = \"{}\" }}] }}\n\
         limits = {{ wire_max = \"64 KiB\", body_max = \"256 KiB\", memory_max = \"4 MiB\", \
         rate_min = \"10 KiB\", rate_grace = \"1 s\", body_timeout = \"3 s\" }}\n\
         logs_ingestion = {{ rules = [\"dcr-00000000000000000000000000000000\"], streams = [\"Custom-SecurityEvent\"] }}\n",
        hash.trim()
    );
    Site::new(&listener, "")
}

/// What to send, and what must come back.
struct Case {
    name: &'static str,
    path: &'static str,
    /// More arguments for curl.
    args: &'static [&'static str],
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    /// Must stand in the message.
    message: &'static str,
}

impl Case {
    /// An upload to the right place by a known client whose body is refused.
    fn body(
        name: &'static str,
        body: impl Into<Vec<u8>>,
        status: u16,
        code: &'static str,
        message: &'static str,
    ) -> Self {
        Self { name, path: PATH, args: &[], body: body.into(), status, code, message }
    }

    fn with(self, args: &'static [&'static str]) -> Self {
        Self { args, ..self }
    }

    fn to(self, path: &'static str) -> Self {
        Self { path, ..self }
    }
}

fn event() -> Vec<u8> {
    format!("[{{\"Computer\":\"{MARK}\"}}]").into_bytes()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory")
}

/// 60 MB of a JSON array in about as many kilobytes.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&event()[..event().len() - 1]).expect("memory");
    for _ in 0..60 {
        encoder.write_all(&vec![b' '; 1 << 20]).expect("memory");
    }
    encoder.write_all(b"]").expect("memory");
    encoder.finish().expect("memory")
}

fn bodies() -> Vec<Case> {
    let (payload, large) = ("InvalidPayload", "ContentLengthLimitExceeded");
    let deep = format!("[{{\"{MARK}\":{}1{}}}]", "[".repeat(20_000), "]".repeat(20_000));
    let spaces = |bytes: usize| [event().as_slice(), &vec![b' '; bytes]].concat();
    let zipped = gzip(&event());
    let gzip_header: &[&str] = &["-H", "Content-Encoding: gzip"];
    vec![
        Case::body("not JSON", format!("{MARK} is no JSON"), 400, payload, "the body is no JSON array; send an array"),
        Case::body(
            "a lone object",
            &event()[1..event().len() - 1],
            400,
            payload,
            "the body is one JSON object; send an array of objects",
        ),
        Case::body("XML", format!("<Event>{MARK}</Event>"), 400, payload, "the body is XML; send a JSON array"),
        Case::body(
            "not UTF-8",
            [b"[{\"".as_slice(), MARK.as_bytes(), b"\":\"\xff\"}]"].concat(),
            400,
            payload,
            "the body is not UTF-8, at byte 21",
        ),
        Case::body(
            "cut off in the middle of the JSON",
            &event()[..event().len() - 1],
            400,
            payload,
            "the array does not end",
        ),
        Case::body(
            "two arrays",
            [event(), event()].concat(),
            400,
            payload,
            "something follows the array; send one array",
        ),
        Case::body("deep", deep, 400, payload, "nested deeper than 64 levels"),
        Case::body("larger than the wire limit", spaces(WIRE_MAX), 413, large, "the body is larger than 65536 bytes"),
        Case::body(
            "larger than the wire limit, without a length",
            spaces(WIRE_MAX),
            413,
            large,
            "the body is larger than 65536 bytes",
        )
        .with(&["-H", "Transfer-Encoding: chunked"]),
        Case::body(
            "larger than the limit once decompressed",
            gzip(&spaces(BODY_MAX)),
            413,
            large,
            "the decompressed body is larger than 262144 bytes",
        ),
        Case::body("a bomb", bomb(), 413, large, "the decompressed body is larger than 262144 bytes"),
        Case::body(
            "truncated gzip",
            &zipped[..zipped.len() - 9],
            400,
            payload,
            "the compressed body is damaged or cut off",
        )
        .with(gzip_header),
        Case::body("no gzip at all", event(), 400, payload, "the compressed body is damaged or cut off")
            .with(gzip_header),
        Case::body("compressed twice", gzip(&zipped), 415, "UnsupportedFormat", "compress it once").with(gzip_header),
        Case::body("nothing but what is no event", format!("[\"{MARK}\", 7]"), 400, payload, "none of its 2 records"),
        Case::body("an event log", [b"ElfFile\0", MARK.as_bytes()].concat(), 415, "UnsupportedFormat", "/v1/events"),
        Case::body(
            "double encoding",
            gzip(&zipped),
            415,
            "UnsupportedContentEncoding",
            "use gzip, deflate or zstd, one at a time",
        )
        .with(&["-H", "Content-Encoding: gzip, gzip"]),
        Case::body("an unknown encoding", event(), 415, "UnsupportedContentEncoding", "\"br\" is not supported")
            .with(&["-H", "Content-Encoding: br"]),
    ]
}

fn requests() -> Vec<Case> {
    let case = |name, path, status, code, message| Case::body(name, event(), status, code, message).to(path);
    let token = "a known bearer token is needed in the Authorization header";
    vec![
        Case::body("no token", event(), 401, "AuthenticationFailed", token).with(&["-H", "Authorization:"]),
        Case::body("wrong token", event(), 401, "AuthenticationFailed", token)
            .with(&["-H", "Authorization: Bearer wrong"]),
        Case::body("no bearer", event(), 401, "AuthenticationFailed", token).with(&["-H", "Authorization: Basic YTpi"]),
        Case::body("wrong method", event(), 405, "MethodNotAllowed", "this path takes POST only").with(&["-X", "PUT"]),
        case(
            "unknown stream",
            "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-Other?api-version=2023-01-01",
            404,
            "StreamNotFound",
            "this stream is not known here",
        ),
        case(
            "unknown rule",
            "/dataCollectionRules/dcr-1/streams/Custom-SecurityEvent?api-version=2023-01-01",
            404,
            "DataCollectionRuleNotFound",
            "this data collection rule is not known here",
        ),
        case(
            "no api-version",
            "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-SecurityEvent",
            400,
            "MissingApiVersionParameter",
            "the query needs an api-version",
        ),
        case(
            "odd api-version",
            "/dataCollectionRules/dcr-00000000000000000000000000000000/streams/Custom-SecurityEvent?api-version=latest",
            400,
            "InvalidApiVersion",
            "api-version is not a date",
        ),
        case("no such path", "/v1/evnts", 404, "NotFound", "there is nothing at this path"),
    ]
}

fn send(site: &Site, path: &str, args: &[&str], body: &[u8]) -> Reply {
    let (cert, url) = (site.state().join("tls/cert.pem"), site.url(path));
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let mut all = vec!["--http1.1", "--cacert", cert.to_str().expect("a plain path"), "--data-binary", "@-"];
    if !args.iter().any(|arg| arg.starts_with("Authorization:")) {
        all.extend(["-H", &bearer]);
    }
    all.extend(args);
    all.push(&url);
    curl(&all, body).unwrap_or_else(|error| panic!("{path} {args:?}: {error:?}"))
}

fn assert_refused(name: &str, reply: &Reply, status: u16, code: &str, message: &str) {
    assert_eq!((reply.status, reply.header("x-ms-error-code")), (status, Some(code)), "{name}: {reply:?}");
    assert!(reply.header("x-ms-request-id").is_some_and(|id| id.len() == 36), "{name}: {reply:?}");
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{name}: {error}: {reply:?}"));
    assert_eq!(body["error"]["code"], code, "{name}: {reply:?}");
    let said = body["error"]["message"].as_str().unwrap_or_default();
    assert!(said.contains(message) && !said.is_empty(), "{name}: {said:?} does not say {message:?}");
}

/// The most resident memory that the process ever had, in bytes.
fn peak(running: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel tells it");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// Everything in the files of the default output.
fn delivered(site: &Site) -> String {
    crate::send::delivered(site).join("\n")
}

#[tokio::test]
async fn each_bad_upload_gets_its_status_code_and_message_and_nothing_of_it_is_forwarded() {
    let site = site();
    let running = site.start().await;
    let before = peak(&running);
    for Case { name, path, args, body, status, code, message } in bodies().into_iter().chain(requests()) {
        let reply = send(&site, path, args, &body);
        assert_refused(name, &reply, status, code, message);
        match status {
            401 => assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{name}"),
            405 => assert_eq!(reply.header("allow"), Some("POST"), "{name}"),
            _ => {}
        }
    }
    for (name, body) in [("an empty array", &b"[]"[..]), ("an empty body", b""), ("blanks", b" \n ")] {
        let reply = send(&site, PATH, &[], body);
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{name}: {reply:?}");
    }
    let grown = peak(&running).saturating_sub(before);
    assert!(grown < 48 << 20, "memory grew by {} KiB", grown >> 10);
    assert_only_good_arrives(&site).await;
    assert!(running.stop().success());
    site.assert_audit_balances();
}

/// After all that was refused, one good upload arrives, alone.
async fn assert_only_good_arrives(site: &Site) {
    let reply = send(site, PATH, &[], b"[{\"Computer\":\"good\"}]");
    assert_eq!(reply.status, 204, "{reply:?}");
    site.until_drained().await;
    let delivered = delivered(site);
    assert!(!delivered.contains(MARK), "a refused event was forwarded: {delivered}");
    assert_eq!(delivered.lines().count(), 1, "{delivered}");
    assert_eq!(site.metric("gatepost_events_received_total").await, 1.0);
    assert_eq!(site.metric("gatepost_dead_letters").await, 0.0);
}

#[tokio::test]
async fn many_bombs_at_once_are_refused_within_the_memory_that_was_set_aside() {
    let site = site();
    let running = site.start().await;
    let (before, bomb) = (peak(&running), bomb());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let reply = send(&site, PATH, &["-H", "Content-Encoding: gzip"], &bomb);
                    assert!(matches!(reply.status, 413 | 503), "{reply:?}");
                    assert_eq!(reply.status == 503, reply.header("retry-after").is_some(), "{reply:?}");
                }
            });
        }
    });
    let grown = peak(&running).saturating_sub(before);
    // Eight bombs unpacked would be 480 MB; what remains is the allocator's own reserve for each thread.
    assert!(grown < 128 << 20, "memory grew by {} KiB", grown >> 10);
    assert_only_good_arrives(&site).await;
}

#[tokio::test]
async fn uploads_that_break_off_or_crawl_are_refused_and_the_connection_is_closed() {
    let site = site();
    let running = site.start().await;
    let event = String::from_utf8(event()).expect("text");
    let head = |framing: &str| {
        format!("POST {PATH} HTTP/1.1\r\nHost: gate\r\nAuthorization: Bearer {TOKEN}\r\n{framing}\r\n\r\n")
    };
    let length = head("Content-Length: 1000");
    let chunked = head("Transfer-Encoding: chunked");
    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
    for (name, said, hangs_up, status, code) in [
        ("cut off half-way", format!("{length}{event}"), true, 400, "IncompleteBody"),
        ("cut off half-way, chunked", format!("{chunked}{chunk}"), true, 400, "IncompleteBody"),
        ("slower than allowed", format!("{length}{event}"), false, 408, "RequestTimeout"),
        ("slower than allowed, chunked", format!("{chunked}{chunk}"), false, 408, "RequestTimeout"),
    ] {
        let mut raw = Raw::connect(&site).await;
        raw.say(said.as_bytes()).await;
        if hangs_up {
            raw.end().await;
        }
        let heard = raw.hear().await;
        assert_eq!((heard.status(), heard.answers(), heard.closed), (status, 1, true), "{name}: {heard:?}");
        assert!(heard.text.contains(&format!("x-ms-error-code: {code}\r\n")), "{name}: {heard:?}");
        assert!(
            heard.text.contains(&format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"the body ")),
            "{name}: {heard:?}"
        );
    }
    assert_only_good_arrives(&site).await;
    assert!(running.stop().success());
    site.assert_audit_balances();
}

/// What became of the records of an upload to the plain door.
fn receipt(site: &Site, body: &str) -> Value {
    let reply = send(site, "/v1/events", &[], body.as_bytes());
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_str(&reply.body).expect("a receipt")
}

#[tokio::test]
async fn one_bad_record_is_set_aside_with_its_reason_and_the_rest_is_accepted() {
    let site = site();
    let running = site.start().await;
    let lines = "{\"Computer\":\"n1\"}\n{\"Computer\":\"bad-line\",}\n{\"Computer\":\"n2\"}\n17\n";
    assert_eq!(
        receipt(&site, lines),
        serde_json::json!({ "received": 4, "filtered": 0, "duplicate": 0, "set_aside": 2, "spooled": 2 })
    );
    let xml = |id: u32| {
        format!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='P'/>\
             <EventID>{id}</EventID><TimeCreated SystemTime='2026-01-02T03:04:05.6Z'/><EventRecordID>{id}</EventRecordID>\
             <Channel>Security</Channel><Computer>x{id}</Computer></System></Event>\n"
        )
    };
    let bad = xml(2).replace("</System>", "</Systematic>");
    let receipt = receipt(&site, &format!("{}{bad}{}", xml(1), xml(3)));
    assert_eq!((&receipt["spooled"], &receipt["set_aside"]), (&2.into(), &1.into()), "{receipt}");
    // The array form: a bad element costs the others nothing, and the agent still gets its 204.
    let reply = send(&site, PATH, &[], b"[{\"Computer\":\"a1\"},\"no object\",{\"Computer\":\"a2\"}]");
    assert_eq!(reply.status, 204, "{reply:?}");

    site.until_drained().await;
    let delivered = delivered(&site);
    for good in ["n1", "n2", "x1", "x3", "a1", "a2"] {
        assert!(delivered.contains(&format!("\"{good}\"")), "{good} is missing: {delivered}");
    }
    assert_eq!(delivered.lines().count(), 6, "{delivered}");

    let list = site.gatepost(&["dead-letter", "list", "--json"]);
    let letters: Vec<Value> =
        String::from_utf8_lossy(&list.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(letters.len(), 4, "{letters:?}");
    for (letter, reason) in
        letters.iter().zip(["the line is no valid JSON", "JSON, but no object", "", "JSON, but no object"])
    {
        assert!(letter.to_string().contains(reason), "{letter} does not say {reason:?}");
    }
    assert!(running.stop().success());
    site.assert_audit_balances();
}
