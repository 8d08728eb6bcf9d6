//! No envelope makes its reader panic; its events are moved together without one running into another.
#![no_main]

use gatepost::inputs::wef::envelope::{Envelope, Gathered};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(envelope) = Envelope::read(input) else { return };
    assert!(!envelope.header.action.is_empty() && !envelope.header.message_id.is_empty());
    let count = envelope.count();
    let Gathered { text, events } = envelope.gather(|_| true);
    assert_eq!(events.len(), count);
    let mut end = 0;
    for span in &events {
        assert_eq!(span.start, end);
        assert_eq!(text.get(span.end), Some(&b'\n'));
        end = span.end + 1;
    }
    assert_eq!(end, text.len());
});
