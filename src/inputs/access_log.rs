//! One line for each request to an upload listener: who, for what, what became of it, and why.
//!
//! The reason is the code that the client got (in the words of its protocol: `http::reply` has those of Azure's), or `accepted`,
//! or `set_aside` when some of the events were. Refusals can be caused by strangers, and agents repeat them: of one client (IPv6: one /64) and one reason there is one line in
//! ten seconds, which tells how many were left out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::http::reply::Ids;
use super::reason::Failure;
use crate::access_log::text::{Millis, Rfc3339, beginning, member, named, put, quoted, word};
use crate::access_log::{AccessLog, Format, Line};
use crate::ingest::accept::Receipt;
use crate::net::listen::one_subscriber;
use crate::telemetry::Repeats;

/// How long a refusal that a client got is not told again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(10);

const ACCEPTED: &str = "accepted";
const SET_ASIDE: &str = "set_aside";
/// The answer of the local Entra, whose status tells whether it gave a token.
const ANSWERED: &str = "answered";

/// Where requests are told. Handles share one file and what has been told. A listener puts one into the extensions of each
/// request; without one nothing is told.
#[derive(Debug, Clone)]
pub struct Requests(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: AccessLog,
    refusals: Repeats<(IpAddr, &'static str)>,
}

impl Requests {
    /// In this log.
    pub fn new(log: AccessLog) -> Self {
        Self(Arc::new(Shared { log, refusals: Repeats::new(TOLD_AGAIN_AFTER) }))
    }

    /// Writes a line, unless it repeats a refusal.
    pub fn tell(&self, mut record: Record) {
        if !record.is_good() {
            match self.0.refusals.pass((one_subscriber(record.client), record.reason)) {
                Some(left_out) => record.left_out = left_out,
                None => return,
            }
        }
        self.0.log.write(record);
    }
}

/// One request. What is not known is left out of the line.
#[derive(Debug, Clone)]
pub struct Record {
    time: SystemTime,
    listener: Arc<str>,
    client: IpAddr,
    /// Who the client is, by its token, certificate or address.
    pub(super) identity: Option<Arc<str>>,
    user_agent: Option<String>,
    target: Option<String>,
    request_id: Option<String>,
    client_request_id: Option<String>,
    status: Option<u16>,
    reason: &'static str,
    /// Bytes of the body as they came.
    pub(super) bytes: u64,
    /// What became of its events.
    pub(super) receipt: Option<Receipt>,
    duration: Duration,
    detail: Option<String>,
    /// Refusals for the same reason that were not told.
    left_out: u64,
}

impl Record {
    /// Of a connection that brought no request.
    pub fn of_connection(listener: &Arc<str>, client: IpAddr, reason: &'static str, detail: &str) -> Self {
        Self {
            time: SystemTime::now(),
            listener: Arc::clone(listener),
            client: client.to_canonical(),
            identity: None,
            user_agent: None,
            target: None,
            request_id: None,
            client_request_id: None,
            status: None,
            reason,
            bytes: 0,
            receipt: None,
            duration: Duration::ZERO,
            detail: Some(detail.to_owned()).filter(|detail| !detail.is_empty()),
            left_out: 0,
        }
    }

    /// Of a request. Only the path of its target is told: a query may hold what is nobody's business. Of long texts only the
    /// beginning is kept, because many records may wait for the writer.
    pub fn of_request(listener: &Arc<str>, client: IpAddr, path: &str, headers: &HeaderMap, ids: &Ids) -> Self {
        let user_agent = headers.get(header::USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let user_agent = user_agent.map(|text| beginning(&text).to_owned());
        Self {
            user_agent,
            target: Some(beginning(path).to_owned()),
            request_id: Some(ids.ours().to_owned()),
            client_request_id: ids.clients().map(str::to_owned),
            ..Self::of_connection(listener, client, ANSWERED, "")
        }
    }

    /// How it ended. A failure stands beside the code that the client got.
    pub fn end(&mut self, status: StatusCode, failure: Option<(&'static str, &Failure)>, duration: Duration) {
        self.status = Some(status.as_u16());
        self.duration = duration;
        self.reason = match (failure, &self.receipt) {
            (Some((code, _)), _) => code,
            (None, Some(receipt)) if receipt.set_aside > 0 => SET_ASIDE,
            (None, Some(_)) => ACCEPTED,
            (None, None) => ANSWERED,
        };
        self.detail = failure.map(|(_, failure)| beginning(&failure.message).to_owned());
    }

    fn is_good(&self) -> bool {
        self.status.is_some_and(|status| status < 400)
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Receipt { received, filtered, duplicate, set_aside, spooled, first, end } =
            self.receipt.unwrap_or_default();
        let counts = [
            ("received", received),
            ("filtered", filtered),
            ("duplicate", duplicate),
            ("set_aside", set_aside),
            ("spooled", spooled),
        ];
        let has_receipt = self.receipt.is_some();
        let positions = [("first", first), ("end", end)].into_iter().filter(move |_| spooled > 0);
        counts.into_iter().filter(move |_| has_receipt).chain(positions)
    }
}

impl Line for Record {
    fn append(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Json => json(self, out),
            Format::Human => human(self, out),
        }
    }
}

fn json(record: &Record, out: &mut Vec<u8>) {
    put(out, format_args!("{{\"time\":\"{}\",\"listener\":", Rfc3339(record.time)));
    quoted(&record.listener, out);
    put(out, format_args!(",\"client\":\"{}\"", record.client));
    member(out, "identity", record.identity.as_deref());
    member(out, "user_agent", record.user_agent.as_deref());
    member(out, "target", record.target.as_deref());
    member(out, "request_id", record.request_id.as_deref());
    member(out, "client_request_id", record.client_request_id.as_deref());
    put(out, format_args!(",\"bytes\":{}", record.bytes));
    for (name, count) in record.counts() {
        put(out, format_args!(",\"{name}\":{count}"));
    }
    put(out, format_args!(",\"duration_ms\":{}", Millis(record.duration)));
    if let Some(status) = record.status {
        put(out, format_args!(",\"status\":{status}"));
    }
    put(out, format_args!(",\"reason\":\"{}\"", record.reason));
    member(out, "detail", record.detail.as_deref());
    if record.left_out > 0 {
        put(out, format_args!(",\"left_out\":{}", record.left_out));
    }
    out.push(b'}');
}

/// Time, client, target, result, bytes and duration stand in fixed places; the rest has names.
fn human(record: &Record, out: &mut Vec<u8>) {
    put(out, format_args!("{} {} ", Rfc3339(record.time), record.client));
    word(record.target.as_deref().unwrap_or("?"), out);
    put(out, format_args!(" {}", record.reason));
    match record.status {
        Some(status) => put(out, format_args!(" {status}")),
        None => out.extend_from_slice(b" -"),
    }
    put(out, format_args!(" {} bytes {:.3}s", record.bytes, record.duration.as_secs_f64()));
    for (name, count) in record.counts() {
        put(out, format_args!(" {name}={count}"));
    }
    named(out, "listener", Some(&*record.listener));
    named(out, "identity", record.identity.as_deref());
    named(out, "user_agent", record.user_agent.as_deref());
    named(out, "request_id", record.request_id.as_deref());
    named(out, "client_request_id", record.client_request_id.as_deref());
    named(out, "detail", record.detail.as_deref());
    if record.left_out > 0 {
        put(out, format_args!(" left_out={}", record.left_out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::reason::Reason;

    fn written(record: &Record, format: Format) -> String {
        let mut out = Vec::new();
        record.append(format, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn client() -> IpAddr {
        "10.1.2.3".parse().expect("an address")
    }

    #[test]
    fn who_has_a_network_of_addresses_gets_one_line_for_each_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("access.log");
        let to = crate::access_log::Config { file: Some(path.clone()), ..crate::access_log::Config::default() };
        let log = AccessLog::open(&to).expect("it opens");
        let requests = Requests::new(log.clone());
        for client in ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"] {
            let client = client.parse().expect("an address");
            requests.tell(Record::of_connection(&"agents".into(), client, "tls_error", ""));
        }
        log.close();
        assert_eq!(std::fs::read_to_string(&path).expect("written").lines().count(), 2);
    }

    #[test]
    fn a_line_tells_who_what_and_why() {
        let headers = HeaderMap::from_iter([(header::USER_AGENT, "agent/1 (x)".parse().expect("a header"))]);
        let ids = Ids::of(&headers);
        let mut record = Record::of_request(&"agents".into(), client(), "/v1/events", &headers, &ids);
        record.identity = Some("plant".into());
        record.bytes = 70;
        let positions = Receipt { first: 7, end: 9, ..Receipt::default() };
        record.receipt = Some(Receipt { received: 3, set_aside: 1, spooled: 2, ..positions });
        record.end(StatusCode::OK, None, Duration::from_micros(1_500));
        let value: serde_json::Value = serde_json::from_str(&written(&record, Format::Json)).expect("JSON");
        assert_eq!(
            (&value["reason"], &value["status"], &value["set_aside"]),
            (&"set_aside".into(), &200.into(), &1.into())
        );
        assert_eq!((&value["request_id"], &value["identity"]), (&ids.ours().into(), &"plant".into()));
        assert_eq!((&value["first"], &value["end"]), (&7.into(), &9.into()));
        let failure = Failure::new(Reason::TOKEN, "no token");
        record.end(StatusCode::UNAUTHORIZED, Some(("AuthenticationFailed", &failure)), Duration::ZERO);
        let line = written(&record, Format::Human);
        assert!(line.contains("10.1.2.3 /v1/events AuthenticationFailed 401 70 bytes 0.000s"), "{line}");
        assert!(line.contains("user_agent=\"agent/1 (x)\"") && line.ends_with("detail=\"no token\""), "{line}");
    }

    #[test]
    fn nothing_that_a_client_sent_forges_a_line_or_a_field() {
        let headers = HeaderMap::from_iter([(
            header::USER_AGENT,
            "\",\"reason\":\"accepted\",\"x\":\"\\".parse().expect("a header"),
        )]);
        let ids = Ids::of(&headers);
        for target in ["/\u{1b}[31m", "/\r\n{\"time\":\"forged\"}", "/a reason=accepted", &"/".repeat(10_000)] {
            let mut record = Record::of_request(&"agents".into(), client(), target, &headers, &ids);
            assert!(record.target.as_ref().is_some_and(|kept| kept.len() < 300), "a record is short too");
            let failure = Failure::new(Reason::NOT_FOUND, target);
            record.end(StatusCode::NOT_FOUND, Some(("NotFound", &failure)), Duration::ZERO);
            for format in [Format::Json, Format::Human] {
                let line = written(&record, format);
                assert!(line.len() < 2_000 && line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
            }
            let value: serde_json::Value = serde_json::from_str(&written(&record, Format::Json)).expect("JSON");
            assert_eq!((&value["reason"], value.get("x")), (&"NotFound".into(), None));
        }
    }
}
