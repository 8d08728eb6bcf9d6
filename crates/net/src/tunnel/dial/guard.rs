//! Judges addresses before they are dialled: the last word on where a tunnel may go.

use std::net::SocketAddr;

use crate::tunnel::Reason;
use crate::tunnel::addresses::{self, Ourselves};
use crate::tunnel::allow_list::Rule;

/// Judges addresses before they are dialled.
pub trait Guard: Send + Sync {
    /// The address in the form to dial, or why a tunnel of this rule must not reach it, and what it is.
    fn check(&self, address: SocketAddr, rule: &Rule) -> Result<SocketAddr, (Reason, &'static str)>;

    /// Whether one of this gateway's own listeners is behind the address.
    fn is_ours(&self, address: SocketAddr) -> bool;
}

impl Guard for Ourselves {
    fn check(&self, address: SocketAddr, rule: &Rule) -> Result<SocketAddr, (Reason, &'static str)> {
        if self.is_ours(address) {
            return Err((Reason::OURSELVES, "a listener of this gateway"));
        }
        let checked = addresses::check(address.ip(), &rule.addresses).map_err(|what| (Reason::ADDRESS, what.0))?;
        Self::check(self, address.ip(), &rule.addresses).map_err(|what| (Reason::OURSELVES, what.0))?;
        Ok(SocketAddr::new(checked, address.port()))
    }

    fn is_ours(&self, address: SocketAddr) -> bool {
        Self::is_ours(self, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::dial::tests::rule;

    #[test]
    fn no_rule_opens_our_listeners_and_a_rule_may_open_a_private_network() {
        let ourselves = Ourselves::new(vec!["127.0.0.1:9090".parse().unwrap()]);
        let guard: &dyn Guard = &ourselves;
        let mut rule = rule(None);
        let reason =
            |address: &str, rule: &Rule| guard.check(address.parse().unwrap(), rule).err().map(|(reason, _)| reason);
        assert_eq!(reason("10.1.2.3:443", &rule), Some(Reason::ADDRESS));
        assert_eq!(reason("93.184.216.34:443", &rule), None);
        rule.addresses = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.0/8".parse().unwrap()];
        assert_eq!(reason("10.1.2.3:443", &rule), None);
        assert_eq!(reason("127.0.0.1:9090", &rule), Some(Reason::OURSELVES));
        assert_eq!(reason("[::ffff:127.0.0.1]:9090", &rule), Some(Reason::OURSELVES));
        let mapped = guard.check("[::ffff:10.1.2.3]:443".parse().unwrap(), &rule);
        assert_eq!(mapped, Ok("10.1.2.3:443".parse().unwrap()));
        assert!(guard.is_ours("127.0.0.1:9090".parse().unwrap()));
    }
}
