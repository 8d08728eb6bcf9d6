//! The gateways that a request has been through, as its `Via` header tells: how a loop is noticed.
//!
//! Each gateway adds itself and passes on the gateways before it, else a loop over two would never be seen. Entries of
//! other software are left out: they are not needed, and what a client sends is not repeated to others.

/// Gateways in a row, beyond which the request goes in circles that nobody owns up to.
const HOPS_MAX: usize = 16;

/// The longest name of a gateway.
const NAME_MAX: usize = 80;

const PREFIX: &str = "gatepost-";

/// This gateway among others.
#[derive(Debug)]
pub(super) struct Hops {
    own: String,
}

impl Hops {
    /// `instance` tells this gateway from all others; of its characters letters, digits, `-` and `.` count.
    pub(super) fn new(instance: &str) -> Self {
        let instance: String = instance.chars().filter(|c| is_plain(*c)).take(NAME_MAX - PREFIX.len()).collect();
        Self { own: format!("{PREFIX}{instance}") }
    }

    /// Whether a request with this `Via` has been through this gateway.
    pub(super) fn include_us(&self, via: &str) -> bool {
        gateways(via).any(|name| name == self.own)
    }

    /// The `Via` to send when the client's was `via`; none when it has been through too many gateways.
    pub(super) fn with_us(&self, via: &str) -> Option<String> {
        let mut entries = String::new();
        for (index, name) in gateways(via).enumerate() {
            if index + 1 >= HOPS_MAX {
                return None;
            }
            entries += &format!("1.1 {name}, ");
        }
        Some(format!("{entries}1.1 {}", self.own))
    }
}

fn gateways(via: &str) -> impl Iterator<Item = &str> {
    let name = |entry: &str| entry.split_ascii_whitespace().nth(1).is_some_and(|name| name.starts_with(PREFIX));
    via.split(',')
        .filter(move |entry| name(entry))
        .filter_map(|entry| entry.split_ascii_whitespace().nth(1))
        .filter(|name| name.len() <= NAME_MAX && name.chars().all(is_plain))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_finds_itself_behind_others_and_nothing_else_is_passed_on() {
        let (a, b) = (Hops::new("a1"), Hops::new("b2"));
        let first = a.with_us("").unwrap();
        assert_eq!(first, "1.1 gatepost-a1");
        assert!(a.include_us(&first) && !b.include_us(&first));
        let second = b.with_us(&format!("1.0 squid (squid/5.7), {first} (comment)")).unwrap();
        assert_eq!(second, "1.1 gatepost-a1, 1.1 gatepost-b2");
        assert!(a.include_us(&second) && b.include_us(&second));
        assert_eq!(b.with_us("1.1 gatepost-x\"y, 1.1 evil\r\nX: y, gatepost-z").unwrap(), "1.1 gatepost-b2");
    }

    #[test]
    fn a_chain_has_an_end_and_a_name_cannot_break_the_header() {
        let mut via = String::new();
        let gateways: Vec<Hops> = (0..20).map(|n| Hops::new(&n.to_string())).collect();
        let passed = gateways.iter().take_while(|gateway| match gateway.with_us(&via) {
            Some(longer) => {
                via = longer;
                true
            }
            None => false,
        });
        assert_eq!(passed.count(), HOPS_MAX);
        assert_eq!(Hops::new("a b\r\nc,d").with_us("").unwrap(), "1.1 gatepost-abcd");
    }
}
