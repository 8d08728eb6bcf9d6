//! The ranges that are not the public internet, as data.
//!
//! IPv4 is a list of what is special; all else is public. IPv6 is the other way round: only `2000::/3` is in public use,
//! and the list names what is special inside, or deserves a name of its own outside.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Network, length of its prefix, what it is. The first that matches names the reason, so single hosts come first.
const V4: &[([u8; 4], u32, &str)] = &[
    ([169, 254, 169, 254], 32, "a cloud's metadata service"),
    ([168, 63, 129, 16], 32, "Azure's wire server"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([0, 0, 0, 0], 8, "unspecified"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "shared by a carrier's NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved for protocols"),
    ([192, 0, 2, 0], 24, "for documentation"),
    ([192, 88, 99, 0], 24, "a 6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "for benchmarks"),
    ([198, 51, 100, 0], 24, "for documentation"),
    ([203, 0, 113, 0], 24, "for documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

const V6: &[([u16; 8], u32, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback"),
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, "a cloud's metadata service"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a local translation to IPv4"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discarded"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "reserved for protocols"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private (unique local)"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast"),
];

/// What is special about an IPv4 address.
pub(super) fn of_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let within = |network: [u8; 4], prefix: u32| (bits ^ u32::from_be_bytes(network)) >> (32 - prefix) == 0;
    V4.iter().find(|(network, prefix, _)| within(*network, *prefix)).map(|(.., what)| *what)
}

/// What is special about an IPv6 address.
pub(super) fn of_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let within = |network: [u16; 8], prefix: u32| (bits ^ Ipv6Addr::from(network).to_bits()) >> (128 - prefix) == 0;
    let special = V6.iter().find(|(network, prefix, _)| within(*network, *prefix)).map(|(.., what)| *what);
    special.or((bits >> 125 != 1).then_some("not in public use"))
}

/// Ranges where only the IPv4 address inside counts: compatible, NAT64, 6to4, Teredo. A local NAT64 prefix is none: it
/// belongs to the network that the gateway stands in.
pub(super) fn is_carrier(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, ..] => !address.is_unspecified() && !address.is_loopback(),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x2002, ..] | [0x2001, 0, ..] => true,
        _ => false,
    }
}
