//! Host and port as a client, a rule or an operator names them, in one normal form.
//!
//! Decisions are made on the parsed type, never on the text: a name and an address can never be taken for each other.
//! Texts that some resolvers read as an address although it is not written in the usual form (`127.1`, `0x7f.0.0.1`,
//! `2130706433`) are neither: they are malformed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The longest DNS name, without its trailing dot.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;
/// No authority is longer: a name, its dot, a colon and a port. Whatever is longer is not looked at.
const AUTHORITY_MAX: usize = NAME_MAX + 1 + 6;

/// A DNS name in normal form: lower case, without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Reads a name: labels of letters, digits, `-` and `_`, in any case, with or without one trailing dot. A text that
    /// anybody could read as an address is none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        if bare.is_empty() {
            return Err(Malformed("the host is empty"));
        }
        if bare.len() > NAME_MAX {
            return Err(Malformed("the host name is longer than 253 characters"));
        }
        for label in bare.split('.') {
            if label.is_empty() || label.len() > LABEL_MAX {
                return Err(Malformed("a label of the host name is empty or longer than 63 characters"));
            }
            if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
                return Err(Malformed("the host name holds something other than letters, digits, '-', '_' and dots"));
            }
        }
        if ends_in_a_number(bare) {
            return Err(Malformed("the host is a number, but not an address in its usual form"));
        }
        Ok(Self(if bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
            bare.to_ascii_lowercase().into()
        } else {
            bare.into()
        }))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether resolvers that know the old numeric spellings would take this for an address.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).as_bytes();
    match last {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

/// What stands before the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name.
    Name(Name),
    /// An address in its usual form.
    Address(IpAddr),
}

impl Host {
    /// Reads a name, four decimal octets, or an IPv6 address in brackets and without a zone.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if let Some(rest) = text.strip_prefix('[') {
            let address = rest.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return match address {
                Some(address) => Ok(Self::Address(IpAddr::V6(address))),
                None => Err(Malformed("between brackets stands no IPv6 address")),
            };
        }
        match text.parse::<Ipv4Addr>() {
            Ok(address) => Ok(Self::Address(IpAddr::V4(address))),
            Err(_) => Name::parse(text).map(Self::Name),
        }
    }
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port; never 0.
    pub port: u16,
}

impl Authority {
    /// Reads `host:port`, as the target of a CONNECT must be.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (host, port) = split(bytes)?;
        let port = port.ok_or(Malformed("the port is missing"))?;
        Ok(Self { host: Host::parse(host)?, port: parse_port(port)? })
    }

    /// Reads `host` or `host:port`, as rules, URLs and Host headers may be.
    pub fn parse_with_default_port(bytes: &[u8], default: u16) -> Result<Self, Malformed> {
        let (host, port) = split(bytes)?;
        Ok(Self { host: Host::parse(host)?, port: port.map_or(Ok(default), parse_port)? })
    }
}

/// Host, and what stands behind the colon after it.
fn split(bytes: &[u8]) -> Result<(&str, Option<&str>), Malformed> {
    if bytes.len() > AUTHORITY_MAX {
        return Err(Malformed("the host name is longer than 253 characters"));
    }
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(Malformed("it holds a control character, a blank or something outside ASCII"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("it holds something outside ASCII"))?;
    let end = if text.starts_with('[') {
        text.find(']').ok_or(Malformed("a bracket is not closed"))? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(Malformed("behind the bracket stands something other than a port")),
    }
}

fn parse_port(text: &str) -> Result<u16, Malformed> {
    let wrong = Malformed("the port is not a plain number from 1 to 65535");
    if !(1..=5).contains(&text.len()) || text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong);
    }
    text.parse().map_err(|_| wrong)
}

/// A text that is no authority: what is wrong with it, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name.as_str()),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<String, Malformed> {
        Authority::parse(text.as_bytes()).map(|authority| authority.to_string())
    }

    #[test]
    fn names_and_addresses_come_out_in_normal_form() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        for (text, normal) in [
            ("allowed.test:443", "allowed.test:443"),
            ("ALLOWED.Test.:443", "allowed.test:443"),
            ("localhost:1", "localhost:1"),
            ("_tls.a-b_c.example.com:65535", "_tls.a-b_c.example.com:65535"),
            ("xn--bcher-kva.example:443", "xn--bcher-kva.example:443"),
            ("1password.com:443", "1password.com:443"),
            ("0xg.0xy:443", "0xg.0xy:443"),
            ("127.0.0.1:443", "127.0.0.1:443"),
            ("[::1]:443", "[::1]:443"),
            ("[2001:DB8::A]:443", "[2001:db8::a]:443"),
            ("[::ffff:10.0.0.1]:443", "[::ffff:10.0.0.1]:443"),
            (&format!("{longest}:443"), &format!("{longest}:443")),
            (&format!("{longest}.:443"), &format!("{longest}:443")),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(normal), "{text}");
        }
    }

    #[test]
    fn ports_are_plain_numbers() {
        for port in
            ["", ":", ":0", ":65536", ":65979", ":-1", ":+443", ":0443", ":443x", ":x", ":443:22", ":443 ", ": 443"]
                .into_iter()
                .chain([":00443", ":100000", ":4 3", ":0x1bb", ":\u{0664}43"])
        {
            assert!(parsed(&format!("allowed.test{port}")).is_err(), "{port:?}");
            assert!(parsed(&format!("[::1]{port}")).is_err(), "{port:?}");
        }
        assert_eq!(parsed("allowed.test:22").as_deref(), Ok("allowed.test:22"), "rules decide on ports, not grammar");
    }

    #[test]
    fn other_spellings_of_addresses_are_neither_names_nor_addresses() {
        for host in
            ["127.1", "127.0.1", "0x7f.0.0.1", "0x7f000001", "0X7F000001", "2130706433", "0177.0.0.1", "0", "0x"]
                .into_iter()
                .chain([
                    "127.0.0.1.",
                    "1.2.3.4.5",
                    "256.1.1.1",
                    "1.2.3",
                    "01.2.3.4",
                    "allowed.test.1",
                    "allowed.0x1f",
                    "a.08",
                ])
                .chain([
                    "::1",
                    "fe80::1%eth0",
                    "[fe80::1%25eth0]",
                    "[fe80::1%1]",
                    "[::1",
                    "::1]",
                    "[]",
                    "[example.com]",
                ])
                .chain(["[127.0.0.1]", "[::127.0.0.01]", "[:::1]", "[::1]x", "[[::1]]"])
        {
            assert!(parsed(&format!("{host}:443")).is_err(), "{host}");
        }
    }

    #[test]
    fn nothing_but_a_host_passes() {
        let (label, name) = ("a".repeat(64), "a.".repeat(127) + "b");
        for host in
            ["", ".", "..", ".allowed.test", "allowed..test", "allowed.test..", "u@allowed.test", "u:p@allowed.test"]
                .into_iter()
                .chain(["allowed.test/x", "allowed.test#x", "allowed.test?x", "http://allowed.test", "//allowed.test"])
                .chain([
                    "allowed.test\0",
                    "allowed\0.test",
                    "%61llowed.test",
                    "allowed%2etest",
                    "allowed\\.test",
                    "a b.test",
                ])
                .chain(["allowed\t.test", " allowed.test", "allowed.test ", "b\u{fc}cher.test", "allowed\u{3002}test"])
                .chain([
                    "allowed,test",
                    "allowed.test,evil.test",
                    "*.test",
                    "\u{1b}[31mevil.test",
                    "a\r\nb",
                    "a;b",
                    "a|b",
                    "\u{202e}a",
                ])
                .chain([label.as_str(), name.as_str()])
        {
            assert!(parsed(&format!("{host}:443")).is_err(), "{host:?}");
            assert!(Name::parse(host).is_err(), "{host:?}");
        }
        assert!(Authority::parse(b"\xff.test:443").is_err());
        assert!(Authority::parse(&[b'a'; 100_000]).is_err());
    }

    #[test]
    fn a_port_may_be_left_out_where_there_is_a_default() {
        let with_80 = |text: &str| Authority::parse_with_default_port(text.as_bytes(), 80).map(|a| a.to_string());
        assert_eq!(with_80("allowed.test").as_deref(), Ok("allowed.test:80"));
        assert_eq!(with_80("allowed.test:8080").as_deref(), Ok("allowed.test:8080"));
        assert_eq!(with_80("[::1]").as_deref(), Ok("[::1]:80"));
        assert!(with_80("allowed.test:").is_err());
        assert!(with_80("").is_err());
    }

    proptest! {
        #[test]
        fn anything_may_come_and_what_is_accepted_reads_back_as_itself(
            text in prop_oneof!["[a-zA-Z0-9.:_xX\\[\\]-]{0,40}:[0-9]{1,6}", "\\PC{0,40}", "[0-9a-fA-F:.\\[\\]]{1,30}:443"],
        ) {
            if let Ok(authority) = Authority::parse(text.as_bytes()) {
                prop_assert_eq!(Authority::parse(authority.to_string().as_bytes()), Ok(authority.clone()));
                prop_assert!(authority.port != 0);
                if let Host::Name(name) = &authority.host {
                    let name = name.as_str();
                    prop_assert!(name.parse::<IpAddr>().is_err() && !name.ends_with('.') && name.len() <= NAME_MAX);
                    prop_assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
                }
            }
        }

        #[test]
        fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(Authority::parse(&bytes));
            drop(Authority::parse_with_default_port(&bytes, 443));
        }
    }
}
