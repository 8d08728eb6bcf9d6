//! A target that is taken as a stream's names a well-formed one, whatever it looks like.
#![no_main]

use gatepost::inputs::{events, logs_ingestion};
use gatepost::net::target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (path, query) = input.split_once('?').unwrap_or((input, ""));
    let segments = target::segments(path);
    let is_events = events::is_ours(&segments);
    if let Some(Ok(stream)) = logs_ingestion::Config::default().stream(&segments, query) {
        assert!(!is_events);
        assert!(stream.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)));
        assert!((1..=128).contains(&stream.len()));
    }
});
