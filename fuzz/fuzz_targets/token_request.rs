//! Whatever stands in a request for a token or in an assertion, it is read or refused in words; secrets are never shown.
#![no_main]

use gatepost::inputs::entra::request::{BODY_MAX, TokenRequest, is_assertion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], Option<&str>, &str)| {
    let (body, authorization, assertion) = input;
    if body.len() as u64 <= BODY_MAX
        && let Err(fault) = TokenRequest::parse(body, authorization)
    {
        assert!(fault.status.is_client_error() && !fault.text.is_empty());
    }
    is_assertion(assertion);
});
