//! A stored upload: hostile bytes are refused within bounds, and what is read writes back to the same upload.
#![no_main]

use bytes::Bytes;
use gatepost::event::stored::{StoredUpload, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = decode(Bytes::copy_from_slice(bytes)) else { return };
    let events: Vec<_> = read.events.iter().map(|(format, raw)| (*format, &raw[..])).collect();
    let only_output = read.only_output.as_deref();
    let written = encode(&StoredUpload { stream: &read.stream, input: &read.input, only_output, events: &events });
    assert_eq!(decode(Bytes::from(written)).as_ref(), Ok(&read));
});
