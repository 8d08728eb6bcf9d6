use std::sync::LazyLock;

use super::*;
use crate::event::{Client, Presence, Syntax};
use crate::turns::Turn;

static BODY: LazyLock<Bytes> = LazyLock::new(|| Bytes::from_static(b"{}<Event/>[1]"));

fn route(output: &str, stream: Option<&str>) -> Route {
    Route { output: output.into(), stream: stream.map(Arc::from) }
}

fn sort_by(rules: &Rules, upload: Upload) -> Result<Sorted, Refusal> {
    let (turn, presence) = (Turn::alone(), upload.presence.clone());
    let patience = Patience::of(&presence, &turn);
    sort(upload, rules, &KeyMaker::new(&[0; 32]), 1000, SystemTime::now(), Sightings::default(), &patience)
}

/// The two bytes `{}` as an event with a set.
fn event(set: u32) -> Record {
    Record { key: EventKey::Content(0), span: 0..2, kind: Kind::Event(Format::Json, RouteSet(set)) }
}

fn unreadable() -> Record {
    Record { key: EventKey::Content(0), span: 10..13, kind: Kind::Unreadable("it is no object".to_owned()) }
}

fn sorted(records: Vec<Record>, part_max: usize, sets: Vec<Vec<Route>>) -> Sorted {
    Sorted {
        input: "in".into(),
        client: "host".into(),
        keeps_client: false,
        stream: "Custom-Upload".into(),
        filtered: Tally::default(),
        dropped: BTreeMap::new(),
        taken: Vec::new(),
        dropped_bytes: 0,
        ages: Many::of(&EVENT_AGE_AT_RECEIPT),
        timeless: 0,
        unnumbered: 0,
        unrecognisable: 0,
        sightings: Sightings::default(),
        parts: cut(records, part_max, &sets),
        sets,
        body: BODY.clone(),
    }
}

/// Output and stream of each route of an event; `None` for every output.
type Way = Option<Vec<(String, Option<String>)>>;

/// Where the events of a payload go.
fn ways(payload: Vec<u8>) -> Vec<Way> {
    let upload = stored::decode(payload.into()).expect("it was written above");
    let owned = |route: StoredRoute<'_>| (route.output.to_owned(), route.stream.map(str::to_owned));
    let sets: Vec<Vec<_>> = upload.sets().map(|set| set.into_iter().map(owned).collect()).collect();
    let way = |at| upload.set_of(at).checked_sub(1).map(|set: usize| sets[set].clone());
    (0..upload.events.len()).map(way).collect()
}

fn way(routes: &[(&str, Option<&str>)]) -> Way {
    Some(routes.iter().map(|(output, stream)| ((*output).to_owned(), stream.map(str::to_owned))).collect())
}

#[test]
fn a_record_of_the_spool_tells_the_routes_of_its_events_and_of_no_others() {
    let sets = vec![
        vec![route("siem", None)],
        vec![route("unused", None)],
        vec![route("siem", None), route("audit", Some("Custom-Audit"))],
    ];
    let records = vec![event(3), unreadable(), event(0), event(1), event(3), event(2)];
    let sorted = sorted(records, 1000, sets);
    let payload = sorted.parts[0].payload(&sorted, &[0, 1, 2, 3, 4]);
    let both = way(&[("siem", None), ("audit", Some("Custom-Audit"))]);
    assert!(!payload.windows(6).any(|bytes| bytes == b"unused"), "the event that goes there is no new one");
    assert_eq!(ways(payload), [both.clone(), None, way(&[("siem", None)]), both]);
}

#[test]
fn without_rules_a_record_names_no_route() {
    let sorted = sorted(vec![event(0), event(0)], 1000, Vec::new());
    let events = [(Format::Json, &b"{}"[..]); 2];
    let routing = Routing::default();
    let plain = stored::encode(&StoredUpload {
        stream: "Custom-Upload",
        input: "in",
        client: None,
        first_seen_ms: 0,
        tries: 0,
        routing,
        events: &events,
    });
    assert_eq!(sorted.parts[0].payload(&sorted, &[0, 1]), plain);
}

#[test]
fn parts_are_cut_by_bytes_and_keep_the_order() {
    let lengths =
        |records: Vec<Record>, part_max| -> Vec<usize> { cut(records, part_max, &[]).iter().map(Part::len).collect() };
    assert_eq!(lengths(vec![], 4), [0], "an upload without records has a part without any");
    assert_eq!(lengths(vec![event(0), event(0), event(0)], 4), [2, 1]);
    assert_eq!(lengths(vec![event(0), event(0), event(0)], 6), [3]);
    assert_eq!(lengths(vec![event(0), unreadable(), event(0), event(0)], 3), [1, 1, 1, 1]);
    assert_eq!(lengths(vec![unreadable(), event(0)], 1), [1, 1], "one that is too large is alone");
    let parts = cut(vec![event(0), unreadable(), event(0)], 2, &[]);
    assert!(matches!(parts[1].records[0].kind, Kind::Unreadable(_)));
}

#[test]
fn a_part_has_no_more_sets_and_routes_than_a_record_may_have() {
    let count = u32::try_from(MAX_SETS).expect("a small number");
    let one_route_each: Vec<_> = (0..=count).map(|n| vec![route(&n.to_string(), None)]).collect();
    let two_routes_each: Vec<_> =
        (0..=count).map(|n| vec![route(&n.to_string(), None), route(&n.to_string(), Some("Custom-S"))]).collect();
    let none_each: Vec<_> = (0..=count).map(|_| Vec::new()).collect();
    for (sets, expected) in [
        (one_route_each, vec![MAX_SETS, 1]),
        (two_routes_each, vec![MAX_ROUTES / 2, MAX_ROUTES / 2, 1]),
        (none_each, vec![MAX_SETS, 1]),
    ] {
        let records = (1..=count + 1).flat_map(|set| [event(set), event(set), event(0)]).collect();
        let sorted = sorted(records, usize::MAX, sets);
        let mut of_parts = Vec::new();
        for part in &sorted.parts {
            let all: Vec<usize> = (0..part.len()).collect();
            let upload = stored::decode(part.payload(&sorted, &all).into()).expect("within the limits of a record");
            of_parts.push(upload.sets().count());
        }
        // An event for every output needs no set, so it stays with the part before.
        assert_eq!(of_parts, expected);
    }
}

#[test]
fn routes_are_counted_as_memory() {
    let plain = sorted(vec![event(0)], 1000, Vec::new());
    let routed = sorted(vec![event(1)], 1000, vec![vec![route("siem", None), route("audit", None)]]);
    assert_eq!(plain.memory(), EVENT_COST);
    assert_eq!(routed.memory(), EVENT_COST + 3 * ROUTE_COST);
}

#[test]
fn an_upload_is_decoded_filtered_and_cut() {
    let body = r#"[{"Channel":"Security","EventID":4624},{"Channel":"Security","EventID":1},17]"#;
    let upload = Upload {
        input: "in".into(),
        client: Client { name: "host".into(), ..Client::default() },
        stream: "Custom-Upload".into(),
        syntax: Syntax::JsonArray,
        body: Bytes::from_static(body.as_bytes()),
        damaged: Vec::new(),
        known: None,
        presence: Presence::default(),
    };
    let rules = Rules::of_event_set(crate::filter::EventSet::Minimal);
    let sorted = sort_by(&rules, upload).expect("it is well formed");
    assert_eq!(sorted.dropped, BTreeMap::from([(crate::filter::NOT_IN_EVENT_SET, 1)]));
    assert_eq!((sorted.filtered.received, sorted.filtered.filtered), (1, 1));
    let split = sorted.parts[0].split(&[0, 1]);
    assert_eq!((sorted.parts.len(), split.spooled, split.set_aside), (1, 1, 1));
    assert_eq!(ways(sorted.parts[0].payload(&sorted, &[0, 1])), [None]);
}

#[test]
fn who_sent_it_is_kept_where_the_policy_wants_that() {
    for (policy, kept) in
        [(IdentityPolicy::Off, None), (IdentityPolicy::Tag, Some("host")), (IdentityPolicy::Enforce, Some("host"))]
    {
        let binding = crate::event::Binding { hosts: ["web01".to_owned()].into(), ..Default::default() };
        let upload = Upload {
            input: "in".into(),
            client: Client { name: "host".into(), policy, binding, ..Client::default() },
            stream: "Custom-Upload".into(),
            syntax: Syntax::JsonArray,
            body: Bytes::from_static(br#"[{"Computer":"web01","Channel":"Security","EventID":4624}]"#),
            damaged: Vec::new(),
            known: None,
            presence: Presence::default(),
        };
        let rules = Rules::of_event_set(crate::filter::EventSet::All);
        let sorted = sort_by(&rules, upload).expect("the computer is its own");
        let stored = stored::decode(sorted.parts[0].payload(&sorted, &[0]).into()).expect("it was just written");
        assert_eq!(stored.client.as_deref(), kept, "{policy:?}");
    }
}

#[test]
fn an_upload_whose_sender_has_gone_is_not_read_further() {
    let waiting = Arc::new(());
    let presence = Presence::of(&waiting);
    let upload = Upload {
        input: "in".into(),
        client: Client::default(),
        stream: "Custom-Upload".into(),
        syntax: Syntax::Sniff,
        body: Bytes::from("{}\n".repeat(10)),
        damaged: Vec::new(),
        known: None,
        presence,
    };
    let rules = Rules::of_event_set(crate::filter::EventSet::All);
    let sorted = |upload| sort_by(&rules, upload).map(|_| ());
    assert_eq!(sorted(upload.clone()), Ok(()));
    drop(waiting);
    assert_eq!(sorted(upload), Err(Refusal::Gone));
}
