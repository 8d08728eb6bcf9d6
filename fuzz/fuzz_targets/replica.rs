//! Whatever stands in the replica of a log, reading its messages and its state does not panic, and a message is written as it was read.
#![no_main]

use bytes::Bytes;
use gatepost::replication::message::{Message, Unpacker};
use gatepost::replication::state::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(state) = State::decode(data) {
        assert_eq!(State::decode(&state.encode()), Ok(state));
    }
    let mut unpacker = Unpacker::default();
    // Several messages, each behind its length, so that pieces come together.
    let mut rest = data;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (bytes, behind) = tail.split_at(usize::from(u16::from_le_bytes(*length)).min(tail.len()));
        rest = behind;
        if let Ok(message) = Message::decode(&Bytes::copy_from_slice(bytes)) {
            let again = message.encode();
            assert_eq!(Message::decode(&again).as_ref(), Ok(&message));
            drop(unpacker.read(message.content));
        }
    }
});
