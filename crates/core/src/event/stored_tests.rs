use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const SIEM: StoredRoute<'static> = StoredRoute { output: "siem", stream: None };
const AUDIT: StoredRoute<'static> = StoredRoute { output: "audit", stream: Some("Custom-Audit") };

fn stored(routing: Routing<'_>, events: &[(Format, &[u8])]) -> Vec<u8> {
    encode(&StoredUpload { stream: "S", input: "in", client: None, first_seen_ms: 0, tries: 0, routing, events })
}

fn read(payload: &[u8]) -> Result<StoredUploadOwned, StoredError> {
    decode(Bytes::copy_from_slice(payload))
}

fn streams(upload: &StoredUploadOwned, output: &str) -> Vec<Option<String>> {
    let streams = upload.streams_to(output);
    (0..upload.events.len()).map(|at| streams[upload.set_of(at)].as_deref().map(str::to_owned)).collect()
}

/// Sets over three outputs and some streams, and events with their sets.
type Made = (Vec<Vec<(usize, Option<String>)>>, Vec<(u16, bool, Vec<u8>)>);

fn made() -> impl Strategy<Value = Made> {
    let set = vec((0..3_usize, proptest::option::of(".{0,5}")), 0..4);
    vec(set, 0..6).prop_flat_map(|sets| {
        let numbers = 0..=u16::try_from(sets.len()).expect("a few sets");
        (Just(sets), vec((numbers, any::<bool>(), vec(any::<u8>(), 0..300)), 0..20))
    })
}

proptest! {
    #[test]
    fn reads_back_what_was_written(stream in ".{0,20}", input in ".{0,20}", (sets, raws) in made()) {
        let route = |(output, stream): &'_ (usize, Option<String>)| (["siem", "audit", ""][*output], stream.clone());
        let sets: Vec<Vec<_>> = sets.iter().map(|set| set.iter().map(route).collect()).collect();
        let sets: Vec<Vec<StoredRoute<'_>>> = sets
            .iter()
            .map(|set| set.iter().map(|(output, stream)| StoredRoute { output, stream: stream.as_deref() }).collect())
            .collect();
        let events: Vec<_> =
            raws.iter().map(|(_, xml, raw)| (if *xml { Format::Xml } else { Format::Json }, &raw[..])).collect();
        let of_events: Vec<u16> = raws.iter().map(|(set, ..)| *set).collect();
        let routing = Routing { sets: &sets, of_events: &of_events };
        let payload = Bytes::from(encode(&StoredUpload { stream: &stream, input: &input, client: Some(&input), first_seen_ms: 7, tries: 3, routing, events: &events }));

        let read = decode(payload.clone()).expect("reads back");
        prop_assert_eq!((&*read.stream, &*read.input), (&*stream, &*input));
        prop_assert_eq!((read.client.as_deref(), read.first_seen_ms), (Some(&*input), 7));
        let back: Vec<_> = read.events.iter().map(|(format, raw)| (*format, &raw[..])).collect();
        prop_assert_eq!(back, events);
        prop_assert_eq!(read.sets().collect::<Vec<_>>(), sets);
        prop_assert_eq!((0..raws.len()).map(|at| read.set_of(at) as u16).collect::<Vec<_>>(), of_events);
        for (_, raw) in &read.events {
            prop_assert!(raw.is_empty() || payload.as_ptr_range().contains(&raw.as_ptr()), "events are slices of the payload");
        }
        for output in ["siem", "audit", "other"] {
            let part = decode_for(output, payload.clone()).expect("reads back");
            let streams = part.streams_to(output);
            prop_assert_eq!(&streams, &read.streams_to(output));
            for (at, (event, whole)) in part.events.iter().zip(&read.events).enumerate() {
                prop_assert_eq!(part.set_of(at), read.set_of(at));
                let nothing = (whole.0, Bytes::new());
                prop_assert_eq!(event, if streams[part.set_of(at)].is_some() { whole } else { &nothing });
            }
            prop_assert_eq!(part.events.len(), read.events.len());
        }
        for cut in 0..payload.len() {
            prop_assert!(decode(payload.slice(..cut)).is_err());
        }
    }

    #[test]
    fn hostile_bytes_are_refused_without_panic(version in 1..=VERSION, bytes in vec(prop_oneof![0..4_u8, any::<u8>()], 0..60)) {
        let mut payload = vec![version];
        payload.extend(bytes);
        if let Ok(upload) = read(&payload) {
            prop_assert!(upload.events.len() <= payload.len());
            for set in (0..upload.events.len()).map(|at| upload.set_of(at)) {
                prop_assert!(set <= upload.sets().count());
            }
        }
    }
}

#[test]
fn an_event_goes_to_the_outputs_of_its_set_in_the_stream_of_its_route() {
    let sets = [vec![SIEM, AUDIT], vec![AUDIT], vec![]];
    let event = (Format::Json, &b"{}"[..]);
    let payload = stored(Routing { sets: &sets, of_events: &[0, 1, 2, 3] }, &[event; 5]);
    let upload = read(&payload).expect("it was written above");
    let some = |stream: &str| Some(stream.to_owned());
    assert_eq!(streams(&upload, "siem"), [some("S"), some("S"), None, None, some("S")]);
    assert_eq!(streams(&upload, "audit"), [some("S"), some("Custom-Audit"), some("Custom-Audit"), None, some("S")]);
    assert_eq!(streams(&upload, "other"), [some("S"), None, None, None, some("S")]);
}

#[test]
fn who_has_no_rules_and_no_clients_pays_five_bytes_a_record_and_none_an_event() {
    let events = [(Format::Json, &b"{}"[..]), (Format::Xml, b"<Event/>")];
    assert_eq!(stored(Routing::default(), &events), *b"\x03\x01S\x02in\0\0\0\0\0\x02\x02\x02{}\x01\x08<Event/>");
}

#[test]
fn a_route_of_several_sets_is_written_once() {
    let routed = Routing { sets: &[vec![SIEM, AUDIT], vec![AUDIT]], of_events: &[2] };
    let expected =
        b"\x03\x01S\x02in\0\0\0\x02\x04siem\0\x05audit\x01\x0cCustom-Audit\x02\x02\0\x01\x01\x01\x01\x02\x02\x02{}";
    assert_eq!(stored(routed, &[(Format::Json, b"{}")]), *expected);
}

#[test]
fn a_record_of_version_1_for_every_output_is_still_read() {
    let upload = read(b"\x01\x01S\x02in\0\x02\x02\x02{}\x01\x08<Event/>").expect("a spool of the former version");
    assert_eq!((&*upload.stream, &*upload.input), ("S", "in"));
    assert_eq!(upload.events, [(Format::Json, Bytes::from("{}")), (Format::Xml, Bytes::from("<Event/>"))]);
    assert_eq!(streams(&upload, "anybody"), [Some("S".to_owned()), Some("S".to_owned())]);
}

#[test]
fn a_record_of_version_2_is_still_read_with_its_routes_and_without_a_client() {
    let upload =
        read(b"\x02\x01S\x02in\x01\x04siem\0\x01\x01\0\x01\x01\x02\x02{}").expect("a spool of the former version");
    assert_eq!((upload.client.as_deref(), upload.first_seen_ms), (None, 0));
    assert_eq!(upload.sets().collect::<Vec<_>>(), [[SIEM]]);
    assert_eq!(streams(&upload, "siem"), [Some("S".to_owned())]);
}

#[test]
fn a_dead_letter_that_version_1_replayed_still_goes_to_its_output_alone() {
    let upload = read(b"\x01\x01S\x06replay\x01\x04siem\x01\x02\x02{}").expect("a spool of the former version");
    assert_eq!(upload.sets().collect::<Vec<_>>(), [[SIEM]]);
    assert_eq!(streams(&upload, "siem"), [Some("S".to_owned())]);
    assert_eq!(streams(&upload, "other"), [None]);
}

#[test]
fn what_is_never_written_is_refused_by_name() {
    let huge = |head: &[u8], tail: &[u8]| [head, tail, &[0; 20_000]].concat();
    for (payload, error) in [
        (b"\x04\0\0".to_vec(), StoredError::Version(4)),
        (b"\x03\0\0\x02\0".to_vec(), StoredError::Corrupt("an unknown mark before the client")),
        (b"\0\0\0".to_vec(), StoredError::Version(0)),
        (b"\x01\0\0\x02\0".to_vec(), StoredError::Corrupt("an unknown mark before the output")),
        (b"\x02\0\0\x01\x01a\x02".to_vec(), StoredError::Corrupt("an unknown mark before the stream of a route")),
        (b"\x02\0\0\x09a".to_vec(), StoredError::Corrupt("more routes than bytes")),
        (b"\x02\0\0\0\x09\0".to_vec(), StoredError::Corrupt("more route sets than bytes")),
        (b"\x02\0\0\0\x01\x09\0".to_vec(), StoredError::Corrupt("a route set has more routes than bytes")),
        (
            b"\x02\0\0\x01\x01a\0\x01\x01\x01\0".to_vec(),
            StoredError::Corrupt("a route set names a route that is not there"),
        ),
        (
            b"\x02\0\0\0\x01\0\x01\x02\x02\0".to_vec(),
            StoredError::Corrupt("an event names a route set that is not there"),
        ),
        (b"\x02\0\0\0\0\x01\x03\0".to_vec(), StoredError::Corrupt("an event of unknown format")),
        (b"\x02\0\0\0\0\x02\x02\0".to_vec(), StoredError::Corrupt("more events than bytes")),
        (b"\x02\0\0\0\0\0\0".to_vec(), StoredError::Corrupt("bytes follow the last event")),
        (huge(b"\x02\0\0", b"\x81\x20"), StoredError::Corrupt("more routes than a record may have")),
        (huge(b"\x02\0\0\0", b"\x81\x20"), StoredError::Corrupt("more route sets than a record may have")),
    ] {
        assert_eq!(read(&payload).err(), Some(error), "{:?}", &payload[..payload.len().min(20)]);
    }
}

#[test]
fn as_many_sets_and_routes_as_may_be_are_read_back() {
    let streams: Vec<String> = (0..MAX_ROUTES).map(|n| format!("Custom-{n}")).collect();
    let set = |stream: &'static str| vec![StoredRoute { output: "siem", stream: Some(stream) }];
    let sets: Vec<_> = streams.into_iter().map(|stream| set(stream.leak())).collect();
    let upload =
        read(&stored(Routing { sets: &sets, of_events: &[4096] }, &[(Format::Json, b"{}")])).expect("in bounds");
    assert_eq!(streams_of_last(&upload), "Custom-4095");
}

fn streams_of_last(upload: &StoredUploadOwned) -> String {
    streams(upload, "siem").pop().flatten().expect("its route leads there")
}
