//! What is known of the records of a rewritten body must be what decoding would find in it: the test of that, for every input that
//! knows some.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::event::{Client, Damaged, DecodeError, Known, Presence, Syntax, Upload};

/// Compares what an upload of known records decodes to with what it decodes to when nothing is known of them. Whether something was
/// known.
pub(super) fn agrees(syntax: Syntax, text: &[u8], damaged: &[Damaged], known: Option<&Arc<Known>>) -> bool {
    let upload = |known: Option<&Arc<Known>>| Upload {
        input: "in".into(),
        client: Client::default(),
        stream: "".into(),
        syntax,
        body: text.to_vec().into(),
        damaged: damaged.to_vec(),
        known: known.cloned(),
        presence: Presence::default(),
    };
    let Some(known) = known else { return false };
    let (with, without) = (upload(Some(known)), upload(None));
    let (decoded, read) = (with.decode(go_on), without.decode(go_on));
    assert_eq!(&decoded, &read, "{}", String::from_utf8_lossy(text));
    if let (Ok(decoded), Ok(read)) = (&decoded, &read) {
        let starts = |body: &[u8], events: &[crate::event::Event<'_>]| -> Vec<usize> {
            events.iter().map(|event| event.raw.as_ptr() as usize - body.as_ptr() as usize).collect()
        };
        assert_eq!(starts(&with.body, &decoded.events), starts(&without.body, &read.events));
        let has_identity = read.events.iter().all(|event| event.fields.has_identity());
        assert_eq!(known.are_identified(), has_identity);
    }
    true
}

fn go_on() -> Result<(), DecodeError> {
    Ok(())
}

/// Values of members, some of which have members by names like these.
pub(super) fn value(names: &'static str) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,12}| x |17|true|Warning".prop_map(Value::from),
        Just(json!("2026-01-02T03:04:05.5Z")),
        Just(json!("8145d82213a744ad859c36f31a84f6dd")),
        Just(json!(" <Event><System><Provider Name='x'/><EventID>5</EventID></System></Event>")),
        Just(json!("<Event><System><Provider Name='x'/><EventID>5</EventID></System></Event>")),
    ];
    leaf.prop_recursive(2, 8, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    })
}
