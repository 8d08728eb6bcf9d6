//! However the network cuts a head, the same end is found; and whatever is accepted goes on in one way only.
#![no_main]

use gatepost::net::http1_guard::HEAD_MAX;
use gatepost::tunnel::config::HostHeader;
use gatepost::tunnel::request::{Authority, EndOfHead, Request, Rules, parse};
use libfuzzer_sys::fuzz_target;

fn find(input: &[u8], piece: usize) -> Result<Option<usize>, &'static str> {
    let mut search = EndOfHead::default();
    let mut end = 0;
    loop {
        end = input.len().min(end + piece);
        let found = search.find(&input[..end]).map_err(|fault| fault.reason.code)?;
        if found.is_some() || end == input.len() {
            return Ok(found);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let whole = find(input, input.len().max(1));
    assert_eq!(whole, find(input, 1));
    assert_eq!(whole, find(input, 7));
    let Ok(Some(end)) = whole else { return };
    assert!(end <= HEAD_MAX);
    for host_header in [HostHeader::Same, HostHeader::Ignored] {
        let strict = parse(&input[..end], Rules { host_header, plain_http: false });
        let Ok(request) = parse(&input[..end], Rules { host_header, plain_http: true }) else {
            assert!(strict.is_err());
            continue;
        };
        let authority = request.authority();
        assert_eq!(Authority::parse(authority.to_string().as_bytes()).as_ref(), Ok(authority));
        if let Request::Plain(plain) = &request {
            assert!(strict.is_err());
            let sent = plain.to_destination("gatepost-a1");
            if sent.len() <= HEAD_MAX {
                assert_eq!(find(&sent, sent.len()), Ok(Some(sent.len())));
            }
        }
    }
});
