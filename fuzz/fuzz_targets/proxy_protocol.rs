//! A PROXY protocol header: no byte before its end decides otherwise than the whole, and it never claims more than came.
#![no_main]

use gatepost::net::proxy_protocol::{Parsed, V2_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let whole = parse(input);
    let first = (0..=input.len()).map(|end| parse(&input[..end])).find(|parsed| *parsed != Parsed::More);
    match whole {
        Parsed::More => assert!(first.is_none() && input.len() < V2_MAX),
        Parsed::Header { len, .. } => {
            assert!(len <= input.len().min(V2_MAX));
            assert_eq!(first, Some(whole));
        }
        Parsed::Malformed(_) => assert!(matches!(first, Some(Parsed::Malformed(_)))),
    }
});
