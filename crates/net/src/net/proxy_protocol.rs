//! The PROXY protocol, versions 1 and 2: what a load balancer puts before a connection to say who is behind it.
//!
//! Strict, because the address that comes out of it decides who may connect: one spelling for each address, nothing
//! behind the end of the header, every TLV whole. A header can be recognised as wrong at its first wrong byte, so that a
//! client that sends none is not waited for. Not built on a library: those at hand want 15 bytes before they look at the
//! first, take `+443` for a port, and do not look at TLVs that nobody asks for.
//!
//! A checksum in a TLV is not verified: TCP has one, and a balancer that could forge the address could forge it too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header of version 1, its CRLF included.
const V1_MAX: usize = 107;
/// The longest header of version 2 that is taken, TLVs included.
pub const V2_MAX: usize = 4 << 10;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FIXED: usize = V2_START.len() + 4;

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// So far a header, which is not all there.
    More,
    /// A header.
    Header {
        /// Its length in bytes.
        len: usize,
        /// Who is behind the balancer; none when the connection is the balancer's own, as for a health check, or when
        /// it does not know.
        source: Option<SocketAddr>,
    },
    /// No header: what is wrong.
    Malformed(&'static str),
}

/// Reads the header at the beginning of `bytes`. Costs no more than the header is long; call it again with more.
pub fn parse(bytes: &[u8]) -> Parsed {
    let result = match bytes.first() {
        None => Ok(None),
        Some(b'\r') => v2(bytes),
        Some(_) => v1(bytes),
    };
    match result {
        Ok(None) => Parsed::More,
        Ok(Some((len, source))) => Parsed::Header { len, source: source.map(canonical) },
        Err(wrong) => Parsed::Malformed(wrong),
    }
}

/// Why a connection has no header that can be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection ended or broke before it was all there.
    #[error("it closed the connection before the PROXY protocol header was all there")]
    Gone(#[source] io::Error),
    /// What came is none.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Reads the header that a connection begins with and not one byte more: what follows belongs to others, TLS among them.
/// Tells who is behind the balancer, as [`Parsed::Header`] does. Whoever calls it holds the clock.
pub async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = Vec::new();
    let mut peeked = [0; 512];
    loop {
        let taken = header.len();
        let available = stream.peek(&mut peeked).await.map_err(HeaderError::Gone)?;
        if available == 0 {
            return Err(HeaderError::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        header.extend_from_slice(&peeked[..available]);
        let (consume, source) = match parse(&header) {
            Parsed::Header { len, source } => (len - taken, Some(source)),
            Parsed::More => (available, None),
            Parsed::Malformed(detail) => return Err(HeaderError::Malformed(detail)),
        };
        stream.read_exact(&mut peeked[..consume]).await.map_err(HeaderError::Gone)?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

/// Length and source of a header; none while it is not all there.
type Header = Result<Option<(usize, Option<SocketAddr>)>, &'static str>;

/// Rules for IPv4 networks must hold for a balancer that writes them as IPv6 too.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether `bytes` begin with `start`; none while they are too short to tell.
fn begins(bytes: &[u8], start: &[u8]) -> Result<Option<()>, &'static str> {
    let known = bytes.len().min(start.len());
    if bytes[..known] != start[..known] {
        return Err("there is no PROXY protocol header");
    }
    Ok((known == start.len()).then_some(()))
}

fn v1(bytes: &[u8]) -> Header {
    if begins(bytes, V1_START)?.is_none() {
        return Ok(None);
    }
    let window = &bytes[..bytes.len().min(V1_MAX)];
    let text = window.iter().position(|byte| !matches!(byte, 0x20..=0x7e));
    let Some(end) = text else {
        return if window.len() == V1_MAX { Err("the header of version 1 is longer than 107 bytes") } else { Ok(None) };
    };
    match (window[end], window.get(end + 1)) {
        (b'\r', Some(b'\n')) => {}
        (b'\r', None) if window.len() < V1_MAX => return Ok(None),
        (b'\r', None) => return Err("the header of version 1 is longer than 107 bytes"),
        _ => return Err("the header of version 1 holds a control byte or does not end with CRLF"),
    }
    let line = std::str::from_utf8(&window[V1_START.len()..end]).map_err(|_| "the header is not ASCII")?;
    Ok(Some((end + 2, v1_source(line)?)))
}

fn v1_source(line: &str) -> Result<Option<SocketAddr>, &'static str> {
    let mut words = line.split(' ');
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the header of version 1 is not two addresses and two ports with one space between");
    };
    let address = |text: &str| match family {
        Some("TCP4") => text.parse().map(IpAddr::V4).map_err(|_| "an address of the header is no IPv4 address"),
        Some("TCP6") => text.parse().map(IpAddr::V6).map_err(|_| "an address of the header is no IPv6 address"),
        _ => Err("the header of version 1 is none of TCP4, TCP6 and UNKNOWN"),
    };
    let (source, _) = (address(source)?, address(destination)?);
    let (port, _) = (v1_port(source_port)?, v1_port(destination_port)?);
    Ok(Some(SocketAddr::new(source, port)))
}

fn v1_port(text: &str) -> Result<u16, &'static str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or("a port of the header is not a plain number from 0 to 65535")
}

fn v2(bytes: &[u8]) -> Header {
    if begins(bytes, V2_START)?.is_none() {
        return Ok(None);
    }
    let is_local = match bytes.get(V2_START.len()) {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err("the header of version 2 has another version or an unknown command"),
    };
    let Some(&[family, high, low]) = bytes.get(V2_START.len() + 1..V2_FIXED) else { return Ok(None) };
    let len = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > V2_MAX {
        return Err("the header of version 2 is longer than 4 KiB");
    }
    let Some(body) = bytes.get(V2_FIXED..len) else { return Ok(None) };
    let source = if is_local { None } else { v2_source(family, body)? };
    Ok(Some((len, source)))
}

fn v2_source(family: u8, body: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    const SHORT: &str = "the header of version 2 is too short for its addresses";
    let (source, tlvs) = match family {
        // Not known, and UNIX sockets: whoever is behind them has no address.
        0x00 => (None, body),
        0x31 => (None, body.get(216..).ok_or(SHORT)?),
        0x11 => {
            let (addresses, tlvs) = body.split_first_chunk::<12>().ok_or(SHORT)?;
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            (Some((IpAddr::V4(Ipv4Addr::new(a, b, c, d)), [high, low])), tlvs)
        }
        0x21 => {
            let (addresses, tlvs) = body.split_first_chunk::<36>().ok_or(SHORT)?;
            let (source, rest) = addresses.split_first_chunk::<16>().ok_or(SHORT)?;
            (Some((IpAddr::V6(Ipv6Addr::from(*source)), [rest[16], rest[17]])), tlvs)
        }
        _ => return Err("the header of version 2 is not for a TCP connection"),
    };
    whole_tlvs(tlvs)?;
    Ok(source.map(|(address, port)| SocketAddr::new(address, u16::from_be_bytes(port))))
}

/// A TLV that claims more than there is has been read past the end of the header by others.
fn whole_tlvs(mut rest: &[u8]) -> Result<(), &'static str> {
    while !rest.is_empty() {
        let length = rest.get(1..3).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
        rest = length.and_then(|length| rest.get(3 + length..)).ok_or("a TLV of the header is cut short")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2_header(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [V2_START, &[version_and_command, family], &length, body].concat()
    }

    const IPV4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb];

    fn ipv6() -> Vec<u8> {
        let address = "2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets();
        [&address[..], &[0; 15], &[1, 0x30, 0x39, 0x01, 0xbb]].concat()
    }

    /// Headers with the source that they name.
    fn sound() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tlvs = [IPV4, &[0x04, 0, 2, 0, 0, 0x20, 0, 5, 1, 0, 0, 0, 0, 0xe0, 0, 0]].concat();
        let mapped = [&[0; 10], &[0xff, 0xff, 192, 0, 2, 7][..], &[0; 16], &[0, 9, 0, 9]].concat();
        let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(), Some("192.0.2.7:12345")),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(), Some("255.255.255.255:65535")),
            (b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(), Some("[2001:db8::7]:12345")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 9 443\r\n".to_vec(), Some("192.0.2.7:9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever this may be\r\n".to_vec(), None),
            (longest.as_bytes().to_vec(), None),
            (v2_header(0x21, 0x11, IPV4), Some("192.0.2.7:12345")),
            (v2_header(0x21, 0x11, &tlvs), Some("192.0.2.7:12345")),
            (v2_header(0x21, 0x21, &ipv6()), Some("[2001:db8::7]:12345")),
            (v2_header(0x21, 0x21, &mapped), Some("192.0.2.7:9")),
            (v2_header(0x21, 0x31, &[0; 216]), None),
            (v2_header(0x21, 0x00, &[]), None),
            (v2_header(0x20, 0x00, &[]), None),
            (v2_header(0x20, 0x11, &[]), None),
            (v2_header(0x20, 0x11, b"\x03\x00\x04"), None),
            (v2_header(0x20, 0x00, &[0; V2_MAX - V2_FIXED]), None),
        ]
    }

    #[test]
    fn sound_headers_say_who_is_behind_them_however_they_are_cut() {
        for (header, source) in sound() {
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Parsed::More, "{cut} of {header:?}");
            }
            let expected =
                Parsed::Header { len: header.len(), source: source.map(|text| text.parse().expect("sound")) };
            assert_eq!(parse(&header), expected, "{header:?}");
            assert_eq!(parse(&[&header[..], b"CONNECT a:443"].concat()), expected, "{header:?}");
        }
    }

    #[test]
    fn malformed_headers_of_version_1_are_refused() {
        for line in [
            "proxy TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
            "PROXY  TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
            "PROXY\tTCP4 192.0.2.7 192.0.2.8 1 2\r\n",
            "PROXY tcp4 192.0.2.7 192.0.2.8 1 2\r\n",
            "PROXY TCP5 192.0.2.7 192.0.2.8 1 2\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 2 \r\n",
            "PROXY TCP4 192.0.2.7  192.0.2.8 1 2\r\n",
            "PROXY TCP4 192.0.2.07 192.0.2.8 1 2\r\n",
            "PROXY TCP4 192.0.2 192.0.2.8 1 2\r\n",
            "PROXY TCP4 ::1 192.0.2.8 1 2\r\n",
            "PROXY TCP6 192.0.2.7 ::1 1 2\r\n",
            "PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 +1 2\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 01 2\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 -1 2\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 65536 2\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 \r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\n",
            "PROXY TCP4 192.0.2.7 192.0.2.8 1 2\rX",
            "PROXY TCP4 192.0.2.7 192.0.2.8\0 1 2\r\n",
            "PROXY UNKNOWN \u{e9}\r\n",
        ] {
            assert!(matches!(parse(line.as_bytes()), Parsed::Malformed(_)), "{line:?}");
        }
        for tail in ["", "\r\n", "x\r\n"] {
            let overlong = format!("PROXY UNKNOWN {}{tail}", "x".repeat(V1_MAX - 14));
            assert!(matches!(parse(overlong.as_bytes()), Parsed::Malformed(_)), "{overlong:?}");
        }
        let no_room_for_the_feed = format!("PROXY UNKNOWN {}\r\n", "x".repeat(V1_MAX - 15));
        assert!(matches!(parse(no_room_for_the_feed.as_bytes()), Parsed::Malformed(_)));
    }

    #[test]
    fn malformed_headers_of_version_2_are_refused() {
        let short = ipv6();
        for (header, why) in [
            (v2_header(0x11, 0x11, IPV4), "version 1"),
            (v2_header(0x22, 0x11, IPV4), "an unknown command"),
            (v2_header(0x21, 0x12, IPV4), "a datagram"),
            (v2_header(0x21, 0x41, IPV4), "an unknown family"),
            (v2_header(0x21, 0x11, &IPV4[..11]), "addresses cut short"),
            (v2_header(0x21, 0x11, &[]), "no addresses"),
            (v2_header(0x21, 0x21, &short[..35]), "addresses cut short"),
            (v2_header(0x21, 0x31, &[0; 215]), "addresses cut short"),
            (v2_header(0x21, 0x11, &[IPV4, &[4]].concat()), "a TLV without a length"),
            (v2_header(0x21, 0x11, &[IPV4, &[4, 0]].concat()), "a TLV with half a length"),
            (v2_header(0x21, 0x11, &[IPV4, &[4, 0, 1]].concat()), "a TLV longer than the header"),
            (v2_header(0x21, 0x11, &[IPV4, &[4, 0, 0, 4, 0xff, 0xff]].concat()), "a second TLV longer than the header"),
            (v2_header(0x20, 0x00, &[0; V2_MAX]), "overlong"),
        ] {
            assert!(matches!(parse(&header), Parsed::Malformed(_)), "{why}");
            let more = [&header[..], &[0; 70_000]].concat();
            assert!(matches!(parse(&more), Parsed::Malformed(_)), "{why}, and bytes behind");
        }
    }

    #[test]
    fn other_protocols_are_recognised_at_their_first_different_byte() {
        for start in ["C", "P\r", "PROX ", "PROXY\r", "\x16", "\r\r", "\r\n\r\n\0\r\nQUIT\r", "GET"] {
            assert!(matches!(parse(start.as_bytes()), Parsed::Malformed(_)), "{start:?}");
            assert_eq!(parse(&start.as_bytes()[..start.len() - 1]) == Parsed::More, start != "GET", "{start:?}");
        }
    }

    proptest! {
        #[test]
        fn any_change_of_a_byte_is_survived(index in 0usize..17, at in 0usize..5000, byte in any::<u8>(), cut in 0usize..5000) {
            let (mut header, _) = sound().swap_remove(index);
            let at = at % header.len();
            header[at] = byte;
            header.truncate(cut.max(1));
            if let Parsed::Header { len, .. } = parse(&header) {
                prop_assert!(len <= header.len());
                prop_assert_eq!(parse(&header[..len - 1]), Parsed::More);
            }
        }
    }
}
