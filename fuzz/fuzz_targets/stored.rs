//! A stored upload: hostile bytes are refused within bounds, and what is read writes back to the same upload.
#![no_main]

use bytes::Bytes;
use gatepost::event::stored::{Routing, StoredRoute, StoredUpload, decode, decode_for, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = decode(Bytes::copy_from_slice(bytes)) else { return };
    let part = decode_for("a", Bytes::copy_from_slice(bytes)).expect("it is the same upload");
    for (event, whole) in part.events.iter().zip(&read.events) {
        assert!(event == whole || (event.0 == whole.0 && event.1.is_empty()), "an event with its bytes or without");
    }
    let events: Vec<_> = read.events.iter().map(|(format, raw)| (*format, &raw[..])).collect();
    let sets: Vec<Vec<StoredRoute<'_>>> = read.sets().collect();
    let numbers = (0..events.len()).map(|at| u16::try_from(read.set_of(at)).expect("few sets"));
    let of_events: Vec<u16> = numbers.collect();
    let routing = Routing { sets: &sets, of_events: &of_events };
    let written = encode(&StoredUpload {
        stream: &read.stream,
        input: &read.input,
        client: read.client.as_deref(),
        first_seen_ms: read.first_seen_ms,
        tries: read.tries,
        routing,
        events: &events,
    });
    let again = decode(Bytes::from(written)).expect("it was written by us");
    // Not all of it: routes that no set names, and repeated ones, are not written again.
    assert_eq!((&again.stream, &again.input, &again.events), (&read.stream, &read.input, &read.events));
    assert_eq!(again.sets().collect::<Vec<_>>(), sets);
    assert!((0..events.len()).all(|at| again.set_of(at) == read.set_of(at)));
});
