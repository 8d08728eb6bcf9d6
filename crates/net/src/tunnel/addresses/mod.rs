//! Which addresses tunnels may reach, however a name came to them.
//!
//! A name on the allow-list says nothing about where DNS sends it, so each address is judged by itself, and by every
//! IPv4 address that it carries inside: a mapped, translated or tunnelled form reaches what the inner address reaches.
//! What is not public is refused unless the rule names its network; what is not known to be public is not public.

mod ourselves;
mod ranges;

use std::net::{IpAddr, Ipv4Addr};

pub use ourselves::Ourselves;

use crate::values::Network;

/// An address that tunnels may not reach: what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Forbidden(pub &'static str);

/// Judges one address. The result is the address to dial: an IPv4 address mapped into IPv6 comes back as IPv4, any other
/// as it is. `allowed` are the networks that the rule opens beyond the public internet.
pub fn check(address: IpAddr, allowed: &[Network]) -> Result<IpAddr, Forbidden> {
    let address = address.to_canonical();
    let opened = |address: IpAddr| allowed.iter().any(|network| network.contains(address));
    match address {
        IpAddr::V4(_) if opened(address) => {}
        IpAddr::V4(v4) => forbidden(ranges::of_v4(v4))?,
        IpAddr::V6(v6) => {
            if !opened(address) && !ranges::is_carrier(v6) {
                forbidden(ranges::of_v6(v6))?;
            }
            for inner in inner(address).filter(|inner| !opened(IpAddr::V4(*inner))) {
                forbidden(ranges::of_v4(inner))?;
            }
        }
    }
    Ok(address)
}

/// Judges all addresses of a name: one that is forbidden refuses the name, since mixed answers are an attack or a mistake.
pub fn check_all(addresses: &[IpAddr], allowed: &[Network]) -> Result<Vec<IpAddr>, Forbidden> {
    addresses.iter().map(|address| check(*address, allowed)).collect()
}

fn forbidden(found: Option<&'static str>) -> Result<(), Forbidden> {
    found.map_or(Ok(()), |what| Err(Forbidden(what)))
}

/// The IPv4 addresses that an IPv6 address carries; a packet to it may end at any of them.
fn inner(address: IpAddr) -> impl Iterator<Item = Ipv4Addr> {
    let mut found = [None, None];
    if let IpAddr::V6(v6) = address {
        let [a, b, c, d, _, _, g, h] = v6.segments();
        let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
        found = match (a, b, c, d) {
            (0x2002, ..) => [v4(b, c), None],
            // Teredo: the server as it is, the client with every bit turned.
            (0x2001, 0, ..) => [v4(c, d), v4(!g, !h)],
            (0x64, 0xff9b, ..) => [v4(g, h), None],
            (0, 0, 0, 0) if !v6.is_unspecified() && !v6.is_loopback() => [v4(g, h), None],
            _ => found,
        };
    }
    found.into_iter().flatten()
}

/// The address that a packet reaches in the end, for comparison with addresses of this machine.
fn reached(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    std::iter::once(address).chain(inner(address).map(IpAddr::V4))
}

/// For the error of [`Ourselves::check`].
const OWN: Forbidden = Forbidden("an address of this machine");

#[cfg(test)]
mod tests;
