//! Host and port: whatever is accepted is in normal form, reads back as itself, and is name or address, never both.
#![no_main]

use std::net::IpAddr;

use gatepost::tunnel::request::{Authority, Host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let with_default = Authority::parse_with_default_port(bytes, 443);
    let Ok(authority) = Authority::parse(bytes) else { return };
    assert_eq!(with_default.as_ref(), Ok(&authority));
    assert_ne!(authority.port, 0);
    assert_eq!(Authority::parse(authority.to_string().as_bytes()).as_ref(), Ok(&authority));
    if let Host::Name(name) = &authority.host {
        let name = name.as_str();
        assert!(name.parse::<IpAddr>().is_err());
        assert!((1..=253).contains(&name.len()) && !name.ends_with('.'));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte)));
    }
});
