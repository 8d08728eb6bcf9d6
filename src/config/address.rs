//! What is wrong with an address to listen on, and what would be right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What the standard library says of a text that is no address with a port, and nothing more.
const COMPLAINT: &str = "invalid socket address syntax";

/// A better message for a complaint about `text`, where it is about an address.
pub(super) fn explained(complaint: String, text: Option<&str>) -> String {
    match text {
        Some(text) if complaint == COMPLAINT => remedy(text.trim()),
        _ => complaint,
    }
}

fn remedy(text: &str) -> String {
    if let Some(meant) = unbracketed(text) {
        return format!("is an IPv6 address without brackets; write \"{meant}\"");
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return format!("has no port; write \"{}\", with the port of your choice", SocketAddr::new(ip, 8443));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return beside_port(text);
    }
    match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_err() => {
            format!("has no port from 0 to 65535 behind its last \":\"; write an address such as {EXAMPLES}")
        }
        Some(("" | "*", port)) => beside_port(port),
        Some((name, port)) if name.eq_ignore_ascii_case("localhost") => {
            format!("names a host; write its address: \"127.0.0.1:{port}\" or \"[::1]:{port}\"")
        }
        Some((address, port)) if address.matches(':').count() > 1 && !address.starts_with('[') => {
            format!("is an IPv6 address without brackets; write \"[{address}]:{port}\"")
        }
        Some((name, port)) => format!(
            "names a host ({name}); write an address of this machine, such as \"127.0.0.1:{port}\" for this machine alone, or \
             \"0.0.0.0:{port}\" for all of its addresses"
        ),
        None => format!("is no address with a port; write one such as {EXAMPLES}"),
    }
}

/// An IPv6 address with what is most likely a port behind it: three digits or more, and none of them a letter. Without brackets
/// they read as the end of the address.
fn unbracketed(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.rsplit_once(':')?;
    let looks_like_port = port.len() >= 3 && port.bytes().all(|byte| byte.is_ascii_digit());
    let address = address.parse::<Ipv6Addr>().ok().filter(|_| looks_like_port)?;
    Some(SocketAddr::new(address.into(), port.parse().ok()?))
}

const EXAMPLES: &str = "\"127.0.0.1:8443\", \"0.0.0.0:8443\" or \"[::]:8443\"";

fn beside_port(port: &str) -> String {
    format!(
        "names no address beside the port; write \"127.0.0.1:{port}\" for this machine alone, or \"0.0.0.0:{port}\" for all of its \
         addresses"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_write_an_address_wrong_is_told_what_would_be_right() {
        for (text, right) in [
            ("localhost:9090", "\"127.0.0.1:9090\""),
            (":9090", "\"0.0.0.0:9090\""),
            ("*:9090", "\"0.0.0.0:9090\""),
            ("9090", "\"127.0.0.1:9090\""),
            ("gate:8443", "\"127.0.0.1:8443\""),
            ("10.1.2.3", "\"10.1.2.3:8443\""),
            ("[::1]", "\"[::1]:8443\""),
            ("fe80::1:2:8443", "\"[fe80::1:2]:8443\""),
            ("::1:8443", "\"[::1]:8443\""),
            ("fe80::1:2", "\"[fe80::1:2]:8443\""),
            ("fe80::g:8443", "\"[fe80::g]:8443\""),
            ("127.0.0.1:99999", "from 0 to 65535"),
            ("", "no address with a port"),
        ] {
            let told = explained(COMPLAINT.to_owned(), Some(text));
            assert!(told.contains(right), "{text}: {told}");
        }
        assert_eq!(explained("is not a network".to_owned(), Some("x")), "is not a network");
    }
}
