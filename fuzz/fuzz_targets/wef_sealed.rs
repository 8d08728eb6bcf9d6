//! Whatever a host sends for a sealed body, it is framed inside of itself or refused, and opened only when the key of the context
//! sealed it. What our own framing writes is read back.
#![no_main]

use gatepost::net::gss::channel::Channel;
use gatepost::net::gss::cipher::Key;
use gatepost::net::gss::multipart::{Scheme, read, written};
use libfuzzer_sys::fuzz_target;

fn channel(enctype: i64) -> Channel {
    let length = if enctype % 2 == 1 { 16 } else { 32 };
    Channel::new(Key::new(enctype, &vec![7; length]).expect("a key"), 0, 1, 0)
}

fuzz_target!(|input: &[u8]| {
    for scheme in Scheme::ALL {
        if let Ok(framed) = read(input, scheme) {
            assert!(framed.sealed.start <= framed.sealed.end && framed.sealed.end <= input.len());
        }
        let frame = written(scheme, "application/soap+xml;charset=UTF-16", input.len(), input);
        let framed = read(&frame, scheme).expect("our own framing is read");
        assert_eq!((&frame[framed.sealed], framed.length), (input, Some(input.len() as u64)));
    }
    for enctype in 17..=20 {
        let mut channel = channel(enctype);
        assert!(channel.open(input.into()).is_err(), "nobody has the key");
        assert!(channel.open(input.into()).is_err(), "it is at its end");
        assert!(channel.seal(input).len() > input.len());
    }
});
