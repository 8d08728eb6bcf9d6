//! An event log: reading it never panics, its damage stands in the file, and what comes out is within the limit.
#![no_main]

use std::io::Cursor;

use gatepost::event::from_evtx::{Found, Log, MAGIC, xml};
use gatepost::event::{Presence, Syntax};
use gatepost::inputs::http::body::Memory;
use gatepost::inputs::http::readable::read;
use gatepost::turns::{Turn, Who};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let log = [MAGIC, input].concat();
    if let Ok(opened) = Log::open(Cursor::new(&log)) {
        let read = opened.read(xml, |found| match found {
            Found::Damaged(damage) if damage.place.end > log.len() as u64 => Err(damage),
            _ => Ok(()),
        });
        assert_eq!(read, Ok(()));
    }
    let memory = Memory::new(128 << 20);
    if let Ok(readable) =
        read(log.into(), Syntax::Sniff, LIMIT, &mut memory.share(&Who::default()), &Turn::alone(), &Presence::default())
    {
        assert!(readable.body.len() as u64 <= LIMIT);
        assert!(readable.damaged.iter().all(|damaged| damaged.span.end <= readable.body.len()));
    }
});
