//! The generator writes one event in three equal shapes; the collector keeps and misbehaves as told.

use std::time::Duration;

use serde_json::Value;

use super::collector::{Behaviour, Collector, Fault, Memory};
use super::events::{Host, Identity, Shape, SimulatedEvent};
use super::held::Held;
use super::lossy_relay::LossyRelay;
use gatepost_net::net::upload_client::{Client, SendError};

fn events(n: usize) -> Vec<SimulatedEvent> {
    Host::new("HMI-07.plant.example", 7).with_system_share(0.1).take(n).collect()
}

/// Every named value of an event in XML: `(name, value)` pairs of its data, unescaped by a real parser.
fn xml_fields(xml: &[u8]) -> Vec<(String, String)> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_reader(xml);
    let (mut fields, mut name, mut text) = (Vec::new(), String::new(), String::new());
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(tag) => {
                let attribute = tag.try_get_attribute("Name").expect("attributes");
                name = attribute.map_or_else(|| tag.local_name().as_ref().to_owned(), |a| a.value.into_owned());
                text.clear();
            }
            Event::Text(piece) => text.push_str(&piece),
            Event::GeneralRef(entity) => text.push(match &*entity {
                "amp" => '&',
                "lt" => '<',
                "gt" => '>',
                other => panic!("unexpected entity {other:?}"),
            }),
            Event::End(_) if !name.is_empty() => {
                fields.push((std::mem::take(&mut name), std::mem::take(&mut text)));
            }
            Event::Eof => return fields,
            _ => {}
        }
    }
}

#[test]
fn one_event_has_equal_fields_in_three_shapes() {
    for event in events(2_000) {
        let xml = xml_fields(&event.render(Shape::Xml));
        let json: Value = serde_json::from_slice(&event.render(Shape::EvtxJson)).expect("JSON");
        let row: Value = serde_json::from_slice(&event.render(Shape::Row)).expect("JSON");
        let system = &json["Event"]["System"];
        let find = |name: &str| &xml.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name}")).1;
        for name in ["Computer", "Channel"] {
            assert_eq!(system[name], **find(name));
            assert_eq!(row[name], **find(name));
        }
        assert_eq!(system["EventID"].to_string(), *find("EventID"));
        assert_eq!(row["EventID"].to_string(), *find("EventID"));
        assert_eq!(system["EventRecordID"].to_string(), *find("EventRecordID"));
        assert_eq!(row["EventRecordId"], **find("EventRecordID"));
        assert_eq!(system["TimeCreated"]["#attributes"]["SystemTime"], row["TimeGenerated"]);
        let data = match event.event_id() {
            1102 => &json["Event"]["UserData"]["LogFileCleared"],
            _ => &json["Event"]["EventData"],
        };
        for (name, value) in data.as_object().expect("an object").iter().filter(|(name, _)| *name != "#attributes") {
            let in_row = if event.channel() == "Security" { &row[name] } else { &row["EventData"][name] };
            assert_eq!(in_row, value, "{name}");
            if value != "" {
                assert_eq!(value, &**find(name), "{name}");
            }
        }
    }
}

#[test]
fn a_seed_repeats_its_events_and_times_and_record_ids_rise() {
    assert_eq!(events(500), events(500));
    let other: Vec<_> = Host::new("HMI-07.plant.example", 8).take(500).collect();
    assert_ne!(events(500), other);
    for pair in other.windows(2) {
        assert!(pair[0].ticks() < pair[1].ticks());
        assert_eq!(pair[0].record_id() + 1, pair[1].record_id());
    }
}

#[test]
fn events_are_of_a_realistic_size_and_mix() {
    let events: Vec<_> = Host::new("HMI-07.plant.example", 1).take(20_000).collect();
    for (shape, from, to) in [(Shape::Xml, 1_000, 1_600), (Shape::EvtxJson, 900, 1_500), (Shape::Row, 700, 1_300)] {
        let average = events.iter().map(|e| e.render(shape).len()).sum::<usize>() / events.len();
        println!("{shape:?}: {average} bytes on average");
        assert!((from..to).contains(&average), "{shape:?}: {average}");
        assert!(events.iter().all(|e| !e.render(shape).contains(&b'\n')));
    }
    for id in [4624, 4625, 4634, 4663, 4672, 4688, 4768, 5156, 1102] {
        assert!(events.iter().any(|e| e.event_id() == id), "{id}");
    }
}

#[test]
fn a_collector_finds_the_identity_in_every_shape() {
    let events = events(300);
    for shape in Shape::ALL {
        for separator in ["\n", ","] {
            let bodies: Vec<_> = events.iter().map(|e| String::from_utf8(e.render(shape)).expect("UTF-8")).collect();
            let body = match separator {
                "," if shape == Shape::Xml => continue,
                "," => format!("[{}]", bodies.join(",")),
                _ => bodies.join("\n"),
            };
            let mut held = Held::default();
            assert_eq!(held.take(body.as_bytes()), Ok(300));
            assert!(events.iter().all(|e| held.events[&e.identity()] == 1));
            assert_eq!((held.records(), held.repeated(), held.strangers), (300, 0, 0));
        }
    }
    let mut held = Held::default();
    assert_eq!(held.take(br#"[{"a":1},{"Computer":"A","Channel":"B","EventRecordID":"x"}]"#), Ok(2));
    assert_eq!((held.events.len(), held.strangers), (0, 2));
    assert!(held.take(b"[{]").is_err());
    assert_eq!(held.take(b"[]"), Ok(0));
    assert_eq!(Identity::new("A", "B", 1), Identity::new("a", "b", 1));
}

const RULE: &str = "/dataCollectionRules/dcr-0/streams/Custom-SecurityEvent?api-version=2023-01-01";

async fn post(collector: &Collector, id: &str, body: &str) -> Result<u16, SendError> {
    let client = Client::new(None).expect("a client");
    let headers = [("x-ms-client-request-id", id)];
    let url = format!("{}{RULE}", collector.url());
    let body = body.as_bytes().to_vec().into();
    client.post(&url, &headers, body, Duration::from_millis(700)).await.map(|answer| answer.status)
}

const ONE: &str = r#"[{"Computer":"a","Channel":"Security","EventRecordId":"1","note":"poison"}]"#;

#[tokio::test]
async fn every_fault_is_what_it_says() {
    let collector = Collector::start(Memory::Identities).await.expect("a collector");
    let cases = [
        (Fault::Answer { status: 503, retry_after: Some(3) }, Ok(503)),
        (Fault::Answer { status: 429, retry_after: None }, Ok(429)),
        (Fault::Hang, Err("no answer")),
        (Fault::Reset { keep: false }, Err("no answer")),
    ];
    for (fault, expected) in cases {
        collector.fail_next(fault, 1);
        let answer = post(&collector, "1", ONE).await;
        match expected {
            Ok(status) => assert_eq!(answer.ok(), Some(status), "{fault:?}"),
            Err(_) => assert!(matches!(answer, Err(SendError::NoAnswer(_))), "{fault:?}: {answer:?}"),
        }
        assert_eq!(collector.held(), Held::default(), "{fault:?}");
    }
    collector.set(Behaviour { refuse_above: Some(ONE.len() - 1), ..Behaviour::default() });
    assert_eq!(post(&collector, "1", ONE).await.ok(), Some(413));
    collector.set(Behaviour { refuse_marker: Some("poison".into()), ..Behaviour::default() });
    assert_eq!(post(&collector, "1", ONE).await.ok(), Some(400));
    assert_eq!(collector.held(), Held::default());
    collector.set(Behaviour::default());
    assert_eq!(post(&collector, "1", ONE).await.ok(), Some(204));
    assert_eq!(collector.held().records(), 1);
}

#[tokio::test]
async fn a_collector_that_is_down_refuses_connections_and_comes_back() {
    let collector = Collector::start(Memory::Identities).await.expect("a collector");
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    // The listener closes in its own time; a request that slips through is not held.
    while !matches!(post(&collector, "1", ONE).await, Err(SendError::Connect(_))) {}
    // Nobody else is given its port meanwhile, and with it what is sent to it.
    let other = tokio::net::TcpSocket::new_v4().expect("a socket");
    assert_eq!(other.bind(collector.address()).expect_err("it is taken").kind(), std::io::ErrorKind::AddrInUse);
    collector.set(Behaviour::default());
    while post(&collector, "1", ONE).await.ok() != Some(204) {}
    assert_eq!(collector.held().records(), 1);
    collector.fail_for(Fault::Down, Duration::from_millis(200));
    while !matches!(post(&collector, "2", ONE).await, Err(SendError::Connect(_))) {}
    while post(&collector, "2", ONE).await.ok() != Some(204) {}
}

#[tokio::test]
async fn an_unambiguous_collector_takes_a_request_id_once() {
    let collector = Collector::start(Memory::Identities).await.expect("a collector");
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    collector.fail_next(Fault::Reset { keep: true }, 1);
    assert!(matches!(post(&collector, "one", ONE).await, Err(SendError::NoAnswer(_))));
    assert_eq!(post(&collector, "one", ONE).await.ok(), Some(204));
    assert_eq!((collector.held().records(), collector.tally().repeats), (1, 1));
    let beside = collector.start_beside().await.expect("a second endpoint");
    beside.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    assert_eq!(post(&beside, "one", ONE).await.ok(), Some(204));
    assert_eq!((beside.held().records(), beside.tally().repeats), (0, 1));
    assert_eq!(post(&collector, "two", ONE).await.ok(), Some(204));
    assert_eq!(collector.held().repeated(), 1);
    // What it takes while it recognises nothing it knows later.
    collector.set(Behaviour::default());
    assert_eq!(post(&collector, "three", ONE).await.ok(), Some(204));
    collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    assert_eq!(post(&collector, "three", ONE).await.ok(), Some(204));
    assert_eq!(collector.tally().repeats, 2);
    // And one that is on its way while that changes is treated as before.
    let (frozen, before) = (collector.freeze().await, collector.tally().requests);
    let repeated = post(&collector, "three", ONE);
    let changed = async {
        while collector.tally().requests == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        collector.set(Behaviour::default());
        drop(frozen);
    };
    assert_eq!(tokio::join!(repeated, changed).0.ok(), Some(204));
    assert_eq!(collector.tally().repeats, 3);
}

#[tokio::test]
async fn counting_collectors_count_all_shapes() {
    let collector = Collector::start(Memory::Count).await.expect("a collector");
    for shape in [Shape::EvtxJson, Shape::Row] {
        let rows: Vec<_> = events(50).iter().map(|e| String::from_utf8(e.render(shape)).expect("UTF-8")).collect();
        assert_eq!(post(&collector, "1", &format!("[{}]", rows.join(","))).await.ok(), Some(204));
    }
    assert_eq!(collector.tally().events, 100);
    assert_eq!(collector.held(), Held::default());
}

#[tokio::test]
async fn a_lossy_relay_loses_replies_and_never_requests() {
    let collector = Collector::start(Memory::Identities).await.expect("a collector");
    let relay = LossyRelay::start(collector.address(), 0.5, 3).await.expect("a relay");
    let client = Client::new(None).expect("a client");
    let rows: Vec<_> = events(20).iter().map(|e| String::from_utf8(e.render(Shape::Row)).expect("UTF-8")).collect();
    let body = bytes::Bytes::from(format!("[{}]", rows.join(",")));
    let url = format!("http://{}{RULE}", relay.address());
    let mut lost = 0;
    for _ in 0..20 {
        match client.post(&url, &[], body.clone(), Duration::from_secs(5)).await {
            Ok(answer) => assert_eq!(answer.status, 204),
            Err(error) => {
                assert!(matches!(error, SendError::NoAnswer(_)), "{error}");
                lost += 1;
            }
        }
    }
    assert!((3..18).contains(&lost), "{lost}");
    assert_eq!(relay.lost(), lost);
    assert_eq!(collector.tally().events, 20 * 20);
}
