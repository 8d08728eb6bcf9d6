//! One host of a rule as an operator writes it, or what would be right instead.
//!
//! A pattern is parsed once into a type: a name can never cover an address, nor an address a name, whatever the texts
//! look like. Odd spellings of IPv4 addresses are refused here, because each resolver reads them in its own way.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name that DNS has.
const NAME_MAX: usize = 253;
/// The longest label.
const LABEL_MAX: usize = 63;

/// A host pattern, with the port it may have of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What it covers.
    pub host: Covers,
    /// Its own port, which stands above those of the rule.
    pub port: Option<u16>,
}

/// The hosts that a pattern covers. Names are in lower case and without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Covers {
    /// This name.
    Name(String),
    /// Every name below this one, at any depth; not the name itself.
    Below(String),
    /// Names one label below `parent`, where the label begins and ends so.
    Label {
        /// How the label begins.
        begins: String,
        /// How it ends.
        ends: String,
        /// What follows the label.
        parent: String,
    },
    /// This address.
    Address(IpAddr),
}

impl Pattern {
    /// Parses a text; the error says what would be right, as the end of a sentence that begins with the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(complaint) = no_host(text) {
            return Err(complaint);
        }
        let (host, port) = split_port(text)?;
        if let Some(inner) = host.strip_prefix('[') {
            return Ok(Self { host: Covers::Address(bracketed(inner)?), port });
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(Self { host: Covers::Address(address.into()), port });
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self { host: if name.contains('*') { wildcard(&name)? } else { Covers::Name(valid(name)?) }, port })
    }

    /// Whether it covers one host only.
    pub fn is_exact(&self) -> bool {
        matches!(self.host, Covers::Name(_) | Covers::Address(_))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Covers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Label { begins, ends, parent } => write!(f, "{begins}*{ends}.{parent}"),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Things that people write in place of a host.
fn no_host(text: &str) -> Option<String> {
    let complaint = if text.is_empty() {
        "is empty; write a host, such as \"host.example.com\"".to_owned()
    } else if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        format!("is a URL; write the host alone: {host:?}")
    } else if let Some((host, _)) = text.split_once('/') {
        match host.parse::<IpAddr>() {
            Ok(_) => "is a network; write each address by itself: tunnels to addresses are named one by one".to_owned(),
            Err(_) => format!("has a path; write the host alone: {host:?}"),
        }
    } else if text.contains('@') {
        "has a user in it; write the host alone".to_owned()
    } else if !text.is_ascii() {
        "is not in ASCII; write the name as DNS has it, beginning with \"xn--\"".to_owned()
    } else if text.contains([' ', '\t', ',', ';']) {
        "is more than a host; write each host as a text of its own".to_owned()
    } else if text.parse::<Ipv6Addr>().is_ok() {
        format!("is an IPv6 address; write it in brackets: \"[{text}]\"")
    } else {
        return None;
    };
    Some(complaint)
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => return Ok((text, None)),
    };
    let digits = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits => Ok((host, Some(number))),
        _ => {
            Err("has a port that is none; write a number from 1 to 65535, such as \"host.example.com:8443\"".to_owned())
        }
    }
}

fn bracketed(inner: &str) -> Result<IpAddr, String> {
    let wrong = "is no IPv6 address in brackets; write one as in \"[2001:db8::1]\", without a zone";
    let address: Ipv6Addr = inner.strip_suffix(']').and_then(|text| text.parse().ok()).ok_or(wrong)?;
    match address.to_ipv4_mapped() {
        Some(mapped) => Err(format!("is an IPv4 address in IPv6 form; write \"{mapped}\"")),
        None => Ok(address.into()),
    }
}

fn wildcard(name: &str) -> Result<Covers, String> {
    let (label, parent) = name.split_once('.').ok_or_else(|| too_wide(name))?;
    if parent.contains('*') || label.matches('*').count() != 1 {
        return Err(
            "has \"*\" in the wrong place; one \"*\" may stand in the leftmost label: \"*.example.com\" or \"a*.example.com\""
                .to_owned(),
        );
    }
    let parent = valid(parent.to_owned())?;
    if !parent.contains('.') {
        return Err(too_wide(name));
    }
    let (begins, ends) = label.split_once('*').unwrap_or((label, ""));
    if begins.is_empty() && ends.is_empty() {
        return Ok(Covers::Below(parent));
    }
    let right = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if label.len() > LABEL_MAX
        || begins.starts_with('-')
        || ends.ends_with('-')
        || !begins.bytes().chain(ends.bytes()).all(right)
    {
        return Err(not_a_name());
    }
    Ok(Covers::Label { begins: begins.to_owned(), ends: ends.to_owned(), parent })
}

fn too_wide(name: &str) -> String {
    format!("is too wide; {name:?} needs at least two labels behind its wildcard, as in \"*.example.com\"")
}

fn not_a_name() -> String {
    "is not a host name; write letters, digits and \"-\" between dots, as in \"host.example.com\"".to_owned()
}

/// A name whose last label is a number is what some resolvers take for an IPv4 address.
fn valid(name: String) -> Result<String, String> {
    let label_is_sound = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > NAME_MAX || !name.split('.').all(label_is_sound) {
        return Err(not_a_name());
    }
    let last = name.rsplit('.').next().unwrap_or(&name);
    if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
        return Err(
            "is neither a name nor an address; write an address as four numbers, such as \"192.0.2.7\"".to_owned()
        );
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read_and_shown() {
        for text in [
            "host.example.com",
            "intranet",
            "host.example.com:8443",
            "*.example.com",
            "azgn*.servicebus.windows.net",
            "a*-z.example.com:1",
            "192.0.2.7",
            "192.0.2.7:65535",
            "[2001:db8::1]",
            "[2001:db8::1]:443",
            "_under.example.com",
            "xn--bcher-kva.example",
        ] {
            assert_eq!(Pattern::parse(text).map(|pattern| pattern.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Pattern::parse("*.Example.COM.").map(|p| p.to_string()).as_deref(), Ok("*.example.com"));
    }

    #[test]
    fn what_is_no_pattern_is_told_what_would_be_right() {
        let long = format!("{}.example.com", "a".repeat(64));
        for (text, right) in [
            ("", "write a host"),
            ("https://host.example.com/x", "\"host.example.com\""),
            ("host.example.com/pkiops", "\"host.example.com\""),
            ("10.0.0.0/8", "each address"),
            ("user@host.example.com", "host alone"),
            ("bücher.example", "xn--"),
            ("a.example.com, b.example.com", "of its own"),
            ("2001:db8::1", "\"[2001:db8::1]\""),
            ("[fe80::1%eth0]", "without a zone"),
            ("[::ffff:192.0.2.7]", "\"192.0.2.7\""),
            ("[host.example.com]", "brackets"),
            ("host.example.com:0", "1 to 65535"),
            ("host.example.com:65536", "1 to 65535"),
            ("host.example.com:+443", "1 to 65535"),
            ("host.example.com:0443", "1 to 65535"),
            ("host.example.com:", "1 to 65535"),
            ("*", "two labels"),
            ("*.com", "two labels"),
            ("a*.com", "two labels"),
            ("a.*.example.com", "leftmost"),
            ("**.example.com", "leftmost"),
            ("*.*.example.com", "leftmost"),
            ("-a*.example.com", "letters"),
            ("a..example.com", "letters"),
            (".example.com", "letters"),
            ("-a.example.com", "letters"),
            ("a_b!.example.com", "letters"),
            (&long, "letters"),
            ("127.1", "four numbers"),
            ("2130706433", "four numbers"),
            ("0x7f000001", "four numbers"),
            ("0177.0.0.1", "four numbers"),
            ("1.2.3.4.5", "four numbers"),
        ] {
            let complaint = Pattern::parse(text).expect_err(text);
            assert!(complaint.contains(right), "{text}: {complaint}");
        }
    }
}
