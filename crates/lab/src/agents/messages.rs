//! What agents write, as texts, and how they read answers: by looking for words in lines.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Kind;
use crate::events::{Shape, SimulatedEvent};

const NAMESPACE: &str = "http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/";
const GROUP: &str = "{00000000-0000-0000-0000-000000000001}";

/// A request to register, or to refresh that.
pub fn topology(kind: Kind, computer: &str, agent: &str, certificate: &[u8]) -> String {
    let certificate = BASE64_STANDARD.encode(certificate);
    let (agent, system) = match kind {
        Kind::Windows => (format!("{{{agent}}}"), ""),
        Kind::Linux => (
            agent.to_owned(),
            "<OperatingSystem><Telemetry PercentUserTime=\"1\" PercentPrivilegedTime=\"1\" UsedMemory=\"1\" PercentUsedMemory=\"1\"/>\
             <ProcessorArchitecture>x64</ProcessorArchitecture><Name>Simulated Linux</Name><Manufacturer>Gatepost</Manufacturer><Version>1.0</Version></OperatingSystem>",
        ),
    };
    // The agent for Linux does not take the line end off the name.
    let end = if kind == Kind::Linux { "\n" } else { "" };
    format!(
        "<?xml version=\"1.0\"?>\n<AgentTopologyRequest xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns=\"{NAMESPACE}\">\
         <FullyQualfiedDomainName>{computer}{end}</FullyQualfiedDomainName><EntityTypeId>{agent}</EntityTypeId>\
         <AuthenticationCertificate>{certificate}</AuthenticationCertificate>{system}</AgentTopologyRequest>\n"
    )
}

/// What signs a registration now, with a key of its workspace.
pub fn signed(workspace: &str, key: &[u8], body: &str) -> Vec<(&'static str, String)> {
    let now = time::OffsetDateTime::now_utc();
    let (hour, minute, second) = now.time().as_hms();
    let date = format!("{}T{hour:02}:{minute:02}:{second:02}.{:09}+00:00", now.date(), now.nanosecond());
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes()));
    let text = format!("{date}\n{hash}\n");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let authorization = format!("{workspace}; {}", BASE64_STANDARD.encode(signature));
    vec![("x-ms-Date", date), ("x-ms-SHA256_Content", hash), ("Authorization", authorization)]
}

/// A request for another certificate.
pub(super) fn renewal(certificate: &[u8]) -> String {
    let certificate = BASE64_STANDARD.encode(certificate);
    format!(
        "<?xml version=\"1.0\"?>\n<CertificateUpdateRequest xmlns=\"{NAMESPACE}\"><NewCertificate>{certificate}</NewCertificate></CertificateUpdateRequest>\n"
    )
}

/// The value of an attribute in double quotes, in the first line that has it.
pub(super) fn attribute<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let begin = format!("{name}=\"");
    let line = answer.lines().find(|line| line.contains(&begin))?;
    let (_, rest) = line.split_once(&begin)?;
    rest.split_once('"').map(|(value, _)| value)
}

/// The address of renewals: from `https` to `RenewCertificate`, all in one line.
pub(super) fn renewal_address(answer: &str) -> Option<&str> {
    const END: &str = "RenewCertificate";
    let line = answer.lines().find(|line| line.contains("<CertificateUpdateEndpoint") && line.contains(END))?;
    let from = line.find("https")?;
    let end = line[from..].find(END)? + from + END.len();
    Some(&line[from..end])
}

/// An upload in JSON: one data type, and its items.
pub(super) fn json(data_type: &str, solution: &str, items: &[serde_json::Value]) -> Vec<u8> {
    serde_json::json!({ "DataType": data_type, "IPName": solution, "DataItems": items }).to_string().into_bytes()
}

/// Lines of syslog as the agent for Linux reads them.
pub(super) fn syslog(computer: &str, n: u64, unix_seconds: i64) -> serde_json::Value {
    let at = time::OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (at.date(), at.time());
    let stamp = format!("{date}T{:02}:{:02}:{:02}.{:03}Z", clock.hour(), clock.minute(), clock.second(), n % 1000);
    serde_json::json!({
        "ident": "sshd", "Timestamp": stamp, "EventTime": stamp, "Host": computer, "HostIP": "10.0.0.1",
        "Message": format!("Accepted publickey for user{n} from 10.0.0.9 port 51000 ssh2"),
        "ProcessId": format!("{}", 1000 + n % 1000), "Facility": "authpriv", "Severity": "info",
    })
}

/// Its sign of life.
pub(super) fn heartbeat(computer: &str, unix_seconds: i64) -> serde_json::Value {
    let at = time::OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (at.date(), at.time());
    serde_json::json!({
        "Timestamp": format!("{date}T{:02}:{:02}:{:02}.000Z", clock.hour(), clock.minute(), clock.second()),
        "Computer": computer, "OSType": "Linux", "OSName": "Simulated Linux", "OSMajorVersion": "1", "OSMinorVersion": "0",
        "Category": "Direct Agent", "SCAgentChannel": "Direct", "ComputerPrivateIps": ["10.0.0.1"], "Version": "1.14.0",
    })
}

/// An upload in XML: events as the Microsoft Monitoring Agent wraps them.
pub fn xml(data_type: &str, events: &[SimulatedEvent], with_record_ids: bool) -> Vec<u8> {
    let mut text = format!("<DataItems IPName=\"Security\" ManagementGroupId=\"{GROUP}\" DataType=\"{data_type}\">");
    events.iter().for_each(|event| item(event, with_record_ids, &mut text));
    text.push_str("</DataItems>");
    text.into_bytes()
}

fn item(event: &SimulatedEvent, with_record_ids: bool, text: &mut String) {
    let rendered = String::from_utf8_lossy(&event.render(Shape::Xml)).into_owned();
    let of = |begin: &str, end: &str| {
        let from = rendered.find(begin)? + begin.len();
        rendered[from..].find(end).map(|length| rendered[from..from + length].to_owned())
    };
    let between = |begin: &str, end: &str| of(begin, end).unwrap_or_default();
    let (time, guid) = (between("SystemTime='", "'"), between("Guid='", "'"));
    let data = rendered.split_once("</System>").map_or("", |(_, behind)| behind.trim_end_matches("</Event>"));
    let known = format!(
        "<Data Name=\"EventRecordId\">{}</Data><Data Name=\"TimeCreated\">{time}</Data></EventData>",
        event.record_id()
    );
    let data = if with_record_ids { data.replace("</EventData>", &known) } else { data.to_owned() };
    write!(
        text,
        "<DataItem type=\"System.Event.LinkedData\" time=\"{time}\" sourceHealthServiceId=\"00000000-0000-0000-0000-000000000000\">\
         <EventOriginId>{{00000000-0000-0000-0000-000000000000}}</EventOriginId><PublisherId>{guid}</PublisherId>\
         <PublisherName>{name}</PublisherName><EventSourceName>{name}</EventSourceName><Channel>{channel}</Channel>\
         <LoggingComputer>{computer}</LoggingComputer><EventNumber>{id}</EventNumber><EventCategory>{task}</EventCategory><EventLevel>{level}</EventLevel>\
         <UserName>N/A</UserName><RawDescription></RawDescription><LCID>1033</LCID><CollectDescription>true</CollectDescription>\
         <EventData><DataItem type=\"System.XmlData\" time=\"{time}\" sourceHealthServiceId=\"00000000-0000-0000-0000-000000000000\">{data}</DataItem></EventData>\
         <EventDisplayNumber>{id}</EventDisplayNumber><EventDescription></EventDescription>\
         <ManagedEntityId>{{00000000-0000-0000-0000-000000000000}}</ManagedEntityId><RuleId>{{00000000-0000-0000-0000-000000000000}}</RuleId></DataItem>",
        name = between("Provider Name='", "'"),
        channel = event.channel(),
        computer = between("<Computer>", "</Computer>"),
        id = event.event_id(),
        task = between("<Task>", "</Task>"),
        level = between("<Level>", "</Level>"),
    )
    .expect("text goes into memory");
}
