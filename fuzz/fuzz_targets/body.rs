//! Any body, as it comes: what it is, as text, and its records. Never panics, and pieces yield what the whole yields.
#![no_main]

use gatepost::event::{Pieces, Presence, Syntax, decode, foreign};
use gatepost::inputs::http::body::Memory;
use gatepost::inputs::http::readable::read;
use gatepost::turns::{Turn, Who};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let memory = Memory::new(64 << 20);
    let Ok(readable) = read(
        input.to_vec().into(),
        Syntax::Sniff,
        1 << 20,
        &mut memory.share(&Who::default()),
        &Turn::alone(),
        &Presence::default(),
    ) else {
        return;
    };
    let body = readable.body;
    foreign::recognise(&body);
    let Ok(whole) = decode(Syntax::Sniff, &body) else { return };
    let (mut pieces, mut at, mut events) = (Pieces::default(), 0, 0);
    for end in [body.len() / 3, body.len() / 2, body.len()] {
        while at < end {
            let Ok((decoded, used)) = pieces.read(&body[at..end], end == body.len(), 7) else { return };
            events += decoded.events.len();
            at += used;
            if used == 0 {
                break;
            }
        }
    }
    assert_eq!(events, whole.events.len());
});
