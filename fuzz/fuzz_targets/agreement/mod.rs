//! What is known of the records of a rewritten body is what decoding finds in it.

use std::sync::Arc;

use gatepost::event::{Client, Damaged, DecodeError, Known, Presence, Syntax, Upload};

pub fn check(syntax: Syntax, text: &[u8], damaged: &[Damaged], known: Option<Arc<Known>>) {
    if known.is_none() {
        return;
    }
    let upload = |known| Upload {
        input: "in".into(),
        client: Client::default(),
        stream: "".into(),
        syntax,
        body: text.to_vec().into(),
        damaged: damaged.to_vec(),
        known,
        presence: Presence::default(),
    };
    let go_on = || Ok::<(), DecodeError>(());
    assert_eq!(upload(known).decode(go_on), upload(None).decode(go_on));
}
