//! Nothing that stands in a token or a keytab makes the readers of Kerberos' messages panic, and no ticket opens without its key.
#![no_main]

use gatepost::net::gss::{keytab, messages, spnego};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let inner = spnego::inner(input);
    assert!(inner.len() <= input.len());
    spnego::is_ntlm(input);
    let keys = keytab::read(input).unwrap_or_default();
    for message in [messages::request(inner), messages::answer(inner), Some(inner)].into_iter().flatten() {
        assert!(messages::Ticket::open(message, &keys).is_err(), "nobody has the key");
    }
});
