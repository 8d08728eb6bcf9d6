use proptest::prelude::*;

use super::*;
use crate::event::{Damaged, EventKey, KeyMaker, MAX_RECORD_BYTES, Syntax, Timestamp, decode};
use crate::inputs::http::body::Memory;
use crate::turns::Who;

const HOW: How<'static> = How { computer: Some("web01.plant.example"), resource_id: Some("/subscriptions/s") };

fn rewritten(body: &[u8]) -> Result<Rows, XmlFault> {
    rewrite(body, HOW, 8 << 20, &mut Memory::new(64 << 20).share(&Who::default()))
}

fn upload(items: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><DataItems IPName=\"Security\" DataType=\"SECURITY_EVENT_BLOB\" ManagementGroupId=\"{{00000000-0000-0000-0000-000000000001}}\">{items}</DataItems>"
    )
}

fn linked(data: &str) -> String {
    format!(
        "<DataItem type=\"System.Event.LinkedData\" time=\"2026-01-02T03:04:05.678901Z\" sourceHealthServiceId=\"x\">\
         <EventOriginId>{{1}}</EventOriginId><PublisherId>{{54849625-5478-4994-a5ba-3e3b0328c30d}}</PublisherId>\
         <PublisherName>Microsoft-Windows-Security-Auditing</PublisherName><EventSourceName>Microsoft-Windows-Security-Auditing</EventSourceName>\
         <Channel>Security</Channel><LoggingComputer>web02</LoggingComputer><EventNumber>4624</EventNumber><EventCategory>12544</EventCategory>\
         <EventLevel>8</EventLevel><UserName>N/A</UserName><RawDescription>%1</RawDescription><LCID>1033</LCID><CollectDescription>true</CollectDescription>\
         <EventData><DataItem type=\"System.XmlData\" time=\"2026-01-02T03:04:05.678901Z\" sourceHealthServiceId=\"x\">{data}</DataItem></EventData>\
         <EventDisplayNumber>4624</EventDisplayNumber><EventDescription>Logon &amp; &lt;more&gt;</EventDescription><ManagedEntityId>x</ManagedEntityId><RuleId>y</RuleId></DataItem>"
    )
}

const DATA: &str = "<EventData xmlns=\"http://schemas.microsoft.com/win/2004/08/events/event\"><Data Name=\"TargetUserName\">a&amp;b</Data></EventData>";

#[test]
fn an_event_of_the_agent_is_the_event_that_windows_renders() {
    let rows = rewritten(upload(&linked(DATA)).as_bytes()).expect("it is taken");
    let want = format!(
        "<Event xmlns=\"http://schemas.microsoft.com/win/2004/08/events/event\"><System><Provider Name=\"Microsoft-Windows-Security-Auditing\" Guid=\"{{54849625-5478-4994-a5ba-3e3b0328c30d}}\"/>\
         <EventID>4624</EventID><Level>0</Level><Task>12544</Task><Keywords>0x8020000000000000</Keywords>\
         <TimeCreated SystemTime=\"2026-01-02T03:04:05.678901Z\"/><Channel>Security</Channel><Computer>web02</Computer><Security UserID=\"N/A\"/></System>\
         {DATA}<RenderingInfo><Message>Logon &amp; &lt;more&gt;</Message></RenderingInfo></Event>\n"
    );
    assert_eq!(String::from_utf8(rows.text.clone()).expect("text"), want);
    let decoded = decode(Syntax::Enveloped, &rows.text).expect("it is read");
    assert_eq!((decoded.events.len(), decoded.unreadable.len()), (1, 0));
    let fields = &decoded.events[0].fields;
    assert_eq!((fields.event_id, fields.record_id, fields.level), (Some(4624), None, Some(0)));
    assert_eq!(fields.time, Timestamp::parse("2026-01-02T03:04:05.678901Z"));
}

/// The same event by the Logs Ingestion API.
const ROW: &str = r#"[{"TimeGenerated":"2026-01-02T03:04:05.1234567Z","Computer":"web02","Channel":"Security","EventID":4624,"EventRecordId":"77"}]"#;

fn key_of(syntax: Syntax, text: &[u8]) -> EventKey {
    let decoded = decode(syntax, text).expect("it is read");
    KeyMaker::new(&[7; 32]).for_scope("group:plant", "s").key(&decoded.events[0])
}

#[test]
fn a_record_id_with_its_time_makes_it_the_event_that_came_another_way() {
    let told = "<Data Name=\"EventRecordId\">77</Data><Data Name=\"TimeCreated\">2026-01-02T03:04:05.1234567Z</Data></EventData>";
    let with = linked(&DATA.replace("</EventData>", told));
    let rows = rewritten(upload(&with).as_bytes()).expect("it is taken");
    assert_eq!(key_of(Syntax::Enveloped, &rows.text), key_of(Syntax::JsonArray, ROW.as_bytes()));
    let element = linked(DATA).replace("<Channel>", "<EventRecordId>77</EventRecordId><Channel>");
    let rows = rewritten(upload(&element).as_bytes()).expect("it is taken");
    assert_eq!(key_of(Syntax::Enveloped, &rows.text), key_of(Syntax::JsonArray, ROW.as_bytes()));
    // An id alone may be any data of the event.
    let alone = linked(&DATA.replace("</EventData>", "<Data Name=\"EventRecordId\">77</Data></EventData>"));
    let rows = rewritten(upload(&alone).as_bytes()).expect("it is taken");
    assert!(matches!(key_of(Syntax::Enveloped, &rows.text), EventKey::Content(_)));
}

#[test]
fn properties_become_columns_and_items_of_other_kinds_stay_whole() {
    let bag = "<DataItem type=\"System.PropertyBagData\" time=\"2026-01-02T03:04:05Z\"><Property Name=\"OSType\">Win &quot;x&quot;</Property><Property Name=\"Computer\">db01</Property></DataItem>";
    let other = "<DataItem type=\"System.Performance.Data\"><Value>1</Value></DataItem>";
    let rows = rewritten(upload(&format!("\n{bag}\n{other}\n")).as_bytes()).expect("it is taken");
    let text = String::from_utf8(rows.text).expect("text");
    let want = concat!(
        r#"{"OSType":"Win \"x\"","Computer":"db01","TimeGenerated":"2026-01-02T03:04:05Z","_ResourceId":"/subscriptions/s"}"#,
        "\n",
        r#"{"DataItemType":"System.Performance.Data","DataItem":"<DataItem type=\"System.Performance.Data\"><Value>1</Value></DataItem>","Computer":"web01.plant.example","_ResourceId":"/subscriptions/s"}"#,
        "\n"
    );
    assert_eq!(text, want);
}

#[test]
fn one_bad_item_is_set_aside_and_the_others_go_on() {
    let good = linked(DATA);
    let forged = linked(
        "<EventData><Data><Event xmlns=\"x\"><System><Computer>dc1</Computer></System></Event></Data></EventData>",
    );
    let deep = linked(&format!("{}{}", "<a>".repeat(100), "</a>".repeat(100)));
    let crossed = linked("<a><b></a></b>");
    let entity = good.replace("4624", "<!DOCTYPE x [<!ENTITY e \"boom\">]>4624");
    let large = linked(&format!("<EventData><Data>{}</Data></EventData>", "x".repeat(MAX_RECORD_BYTES)));
    for (bad, reason) in [
        (forged, "an event stands in it"),
        (linked("<Event xmlns=\"x\"><System><Computer>dc1</Computer></System></Event>"), "an event stands in it"),
        (
            linked("<EventData><Data Name=\"<Event><System/></Event>\">x</Data></EventData>"),
            "a tag stands in an attribute",
        ),
        (linked("<EventData a=\"<Event>\"/>"), "a tag stands in an attribute"),
        (deep, "nest too deeply"),
        (crossed, "no start tag"),
        (entity, "document type"),
        (large, "larger than 1 MiB"),
    ] {
        let body = upload(&format!("{good}{bad}{good}"));
        let rows = rewritten(body.as_bytes()).unwrap_or_else(|fault| panic!("{reason}: {fault}"));
        let [Damaged { span, reason: found }] = &rows.damaged[..] else { panic!("{reason}: {:?}", rows.damaged) };
        assert!(found.contains(reason), "{found}");
        assert_eq!(&rows.text[span.clone()], bad.as_bytes());
        assert_eq!(decode(Syntax::Enveloped, &rows.text[..span.start]).expect("text").events.len(), 2, "{reason}");
    }
    let mut wrong = upload(&format!("{good}{good}")).into_bytes();
    let at = wrong.windows(3).position(|three| three == b"a&a").expect("it is there");
    wrong[at] = 0xff;
    assert_eq!(rewritten(&wrong).expect("it is taken").damaged[0].reason, "it is not UTF-8");
}

#[test]
fn what_is_no_upload_or_breaks_off_is_refused_whole() {
    let good = upload(&linked(DATA));
    for body in [
        "",
        "[]",
        "<DataItem/>",
        "<!DOCTYPE x [<!ENTITY e \"boom\">]><DataItems DataType=\"X\"/>",
        &good[..good.len() - 4],
        &good[..good.len() / 2],
        &format!("{good}<more/>"),
        &good.replace("<EventLevel>", "<!-- <EventLevel>"),
    ] {
        assert!(rewritten(body.as_bytes()).is_err(), "{body}");
    }
    assert_eq!(data_type(good.as_bytes()).as_deref(), Ok("SECURITY_EVENT_BLOB"));
    assert!(data_type(b"<DataItems/>").is_err());
}

#[test]
fn characters_that_xml_forbids_pass_because_windows_itself_renders_them() {
    let rows =
        rewritten(upload(&linked("<EventData><Data>\u{2}&#x1;</Data></EventData>")).as_bytes()).expect("it is taken");
    assert!(rows.damaged.is_empty());
    assert_eq!(decode(Syntax::Enveloped, &rows.text).expect("text").events.len(), 1);
}

#[test]
fn entities_of_the_senders_own_stay_text() {
    let bag = "<DataItem type=\"System.PropertyBagData\"><Property Name=\"a\">&boom;&amp;</Property></DataItem>";
    let rows = rewritten(upload(bag).as_bytes()).expect("it is taken");
    assert!(String::from_utf8_lossy(&rows.text).contains("\"a\":\"&boom;&\""));
}

fn certificate() -> String {
    use base64::Engine as _;
    let made = rcgen::generate_simple_self_signed(vec!["web01".to_owned()]).expect("a certificate");
    let text = base64::prelude::BASE64_STANDARD.encode(made.cert.der());
    // The agent for Linux leaves the lines of the file in it.
    text.as_bytes().chunks(64).map(|line| format!("{} \n", String::from_utf8_lossy(line))).collect()
}

#[test]
fn a_registration_is_read_as_agents_of_either_kind_write_it() {
    let body = |computer: &str, id: &str, rest: &str| {
        format!(
            "<?xml version=\"1.0\"?>\n<AgentTopologyRequest xmlns:xsi=\"x\" xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\">\
             <FullyQualfiedDomainName>{computer}</FullyQualfiedDomainName><EntityTypeId>{id}</EntityTypeId><AuthenticationCertificate>{}</AuthenticationCertificate>{rest}</AgentTopologyRequest>",
            certificate()
        )
    };
    let system = "<OperatingSystem><Name>Ubuntu</Name><Telemetry PercentUserTime=\"1\"/><Version>22.04</Version></OperatingSystem>";
    let found = registration(body("web01.plant.example\n", "0F0E0D0C-0B0A-0908-0706-050403020100", system).as_bytes());
    let found = found.expect("it is read");
    assert_eq!((&*found.computer, &*found.agent), ("web01.plant.example", "0f0e0d0c-0b0a-0908-0706-050403020100"));
    assert_eq!(found.system.as_deref(), Some("Ubuntu 22.04"));
    assert!(found.certificate.len() > 100);
    let braced =
        registration(body("WIN1", "{0f0e0d0c-0b0a-0908-0706-050403020100}", "").as_bytes()).expect("it is read");
    assert_eq!((&*braced.agent, braced.system), (&*found.agent, None));
    for (computer, id) in
        [("", "0f0e0d0c-0b0a-0908-0706-050403020100"), ("*", "0f0e0d0c-0b0a-0908-0706-050403020100"), ("a", "me")]
    {
        assert!(registration(body(computer, id, "").as_bytes()).is_err(), "{computer:?} {id:?}");
    }
    assert!(registration(b"<AgentTopologyRequest/>").is_err());
    let renewed = format!(
        "<CertificateUpdateRequest xmlns=\"x\"><NewCertificate>{}</NewCertificate></CertificateUpdateRequest>",
        certificate()
    );
    assert!(renewal(renewed.as_bytes()).is_ok());
    for wrong in [
        "<CertificateUpdateRequest/>",
        "<CertificateUpdateRequest><NewCertificate>AAAA</NewCertificate></CertificateUpdateRequest>",
    ] {
        assert!(renewal(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn an_item_without_content_takes_nothing_of_the_next_and_data_without_elements_is_none() {
    let other = "<DataItem type=\"x\">y</DataItem>";
    let items = format!("<DataItem type=\"System.Event.LinkedData\"/>{other}");
    let rows = rewritten(upload(&items).as_bytes()).expect("it is taken");
    let text = String::from_utf8(rows.text).expect("text");
    assert!(text.starts_with("<Event ") && text.lines().count() == 2, "{text}");
    assert!(text.contains(r#""DataItem":"<DataItem type=\"x\">y</DataItem>""#), "{text}");
    let again = linked(DATA).replace("<EventDisplayNumber>", "<EventData>text</EventData><EventDisplayNumber>");
    let rows = rewritten(upload(&again).as_bytes()).expect("it is taken");
    assert!(!String::from_utf8(rows.text).expect("text").contains("TargetUserName"), "the last counts");
    for hidden in ["<Event>x</Event>", "<LCID a=\"<b\">1</LCID>"] {
        let item = linked(DATA).replace("<LCID>1033</LCID>", hidden);
        assert_eq!(rewritten(upload(&item).as_bytes()).expect("it is taken").damaged.len(), 1, "{hidden}");
    }
}

proptest! {
    /// What an element holds is found at once where its end tag is written as usual, and token by token where it is not.
    #[test]
    fn texts_are_the_same_whichever_way_they_are_found(
        texts in prop::collection::vec("[a-zé&;#x41 \n]{0,20}|&amp;|&lt;b|<!\\[CDATA\\[<x>&amp;\\]\\]>|a<!--c-->b|<b>c</b>|<b/>", 4),
    ) {
        let data = format!(
            "<EventData><Data Name=\"a\">{}</Data><Data Name='b>c'>{}</Data></EventData>", texts[0], texts[1],
        );
        let item = linked(&data).replace("%1", &texts[2]).replace("web02", &texts[3]);
        let bag = format!(
            "<DataItem type=\"System.PropertyBagData\" time=\"2026-01-02T03:04:05Z\"><Property Name=\"a\">{}</Property></DataItem>", texts[0],
        );
        let usual = upload(&format!("{item}{bag}"));
        let spaced = ["PublisherName", "Channel", "LoggingComputer", "RawDescription", "Data", "Property", "b", "RuleId"]
            .iter()
            .fold(usual.clone(), |text, name| text.replace(&format!("</{name}>"), &format!("</{name} >")));
        let rows = rewritten(usual.as_bytes()).expect("it is taken");
        let other = rewritten(spaced.as_bytes()).expect("it is taken");
        let text = |rows: &Rows| String::from_utf8(rows.text.clone()).expect("text").replace(" >", ">");
        prop_assert_eq!(text(&rows), text(&other));
        prop_assert_eq!(rows.damaged.len(), other.damaged.len());
    }
}
