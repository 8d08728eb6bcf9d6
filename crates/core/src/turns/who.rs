//! For whom something is done or kept, where shares are counted.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// For whom: what a client proved to be, at the network that it came from. Hosts that share a token are told apart by their
/// networks, and hosts behind one address by what they prove; only who has neither shares.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Who {
    name: Arc<str>,
    network: Option<IpAddr>,
}

impl Who {
    /// A client of this name, from this address.
    pub fn new(name: &Arc<str>, address: Option<IpAddr>) -> Self {
        let is_address = name.parse::<IpAddr>().is_ok();
        Self { name: if is_address { Arc::default() } else { Arc::clone(name) }, network: address.map(network) }
    }

    /// Somebody who proved nothing yet.
    pub fn at(address: IpAddr) -> Self {
        Self { name: Arc::default(), network: Some(network(address)) }
    }
}

/// One household of addresses: of IPv6 the /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_apart_by_what_they_prove_and_where_they_are_but_not_within_a_household() {
        let who = |name: &str, address: &str| Who::new(&name.into(), address.parse().ok());
        assert_ne!(who("plant", "10.0.0.1"), who("plant", "10.0.0.2"));
        assert_ne!(who("plant", "10.0.0.1"), who("office", "10.0.0.1"));
        assert_eq!(who("2001:db8::1", "2001:db8::1"), who("2001:db8::2", "2001:db8::2"));
        assert_ne!(who("2001:db8::1", "2001:db8::1"), who("2001:db8:0:1::1", "2001:db8:0:1::1"));
        assert_eq!(who("10.0.0.1", "::ffff:10.0.0.1"), Who::at([10, 0, 0, 1].into()));
    }
}
