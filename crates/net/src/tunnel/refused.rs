//! Names that were refused, counted, so that an operator sees what a rule is missing for.
//!
//! Clients choose these names, so the table is bounded in every way: so many entries, names as long as DNS has them. When
//! it is full, only one newcomer in eight takes the place of the entry that was seen longest ago: a client that makes up
//! names pays for few of them with our time, and what real hosts ask for again and again stays.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::clock;

/// Hosts with their ports that are remembered.
const ENTRIES_MAX: usize = 1_000;
/// One newcomer in so many enters a full table.
const ADMITTED: u64 = 8;
/// The longest name of DNS; an address in brackets is shorter.
const HOST_MAX: usize = 253;

/// The table.
#[derive(Debug, Default)]
pub struct Refused(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<(Box<str>, u16), Entry>,
    /// Counts notes: the order in which entries were seen, without a clock.
    notes: u64,
    newcomers: u64,
}

#[derive(Debug)]
struct Entry {
    count: u64,
    reason: Reason,
    client: IpAddr,
    first_seen: u64,
    last_seen: u64,
    note: u64,
}

/// A host that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct RefusedHost {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How often, since the entry was made.
    pub count: u64,
    /// The code of the last reason.
    pub reason: String,
    /// Who asked last.
    pub last_client: IpAddr,
    /// In seconds since 1970.
    pub first_seen: u64,
    /// In seconds since 1970.
    pub last_seen: u64,
}

impl Refused {
    /// Counts a refusal. `host` is in normal form.
    pub fn note(&self, host: &str, port: u16, reason: Reason, client: IpAddr) {
        if host.len() > HOST_MAX {
            return;
        }
        let now = clock::wall_s();
        let mut table = self.0.lock();
        table.note((Box::from(host), port), reason, client, now);
    }

    /// The hosts, those asked for most often first.
    pub fn list(&self) -> Vec<RefusedHost> {
        let table = self.0.lock();
        let hosts = table.entries.iter().map(|((host, port), entry)| RefusedHost {
            host: host.to_string(),
            port: *port,
            count: entry.count,
            reason: entry.reason.code.to_owned(),
            last_client: entry.client,
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
        });
        let mut hosts: Vec<RefusedHost> = hosts.collect();
        drop(table);
        hosts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.host, a.port).cmp(&(&b.host, b.port))));
        hosts
    }
}

impl Table {
    fn note(&mut self, key: (Box<str>, u16), reason: Reason, client: IpAddr, now: u64) {
        self.notes += 1;
        let note = self.notes;
        if let Some(entry) = self.entries.get_mut(&key) {
            *entry = Entry { count: entry.count + 1, reason, client, last_seen: now, note, ..*entry };
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.newcomers += 1;
            if !self.newcomers.is_multiple_of(ADMITTED) {
                return;
            }
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.note).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.entries.remove(&key));
        }
        self.entries.insert(key, Entry { count: 1, reason, client, first_seen: now, last_seen: now, note });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

    #[test]
    fn hosts_are_counted_and_those_asked_for_most_come_first() {
        let refused = Refused::default();
        refused.note("b.example.com", 443, Reason::HOST, CLIENT);
        for reason in [Reason::HOST, Reason::ADDRESS] {
            refused.note("a.example.com", 443, reason, CLIENT);
        }
        refused.note("a.example.com", 8443, Reason::PORT, CLIENT);
        let found = refused.list();
        let seen: Vec<_> = found.iter().map(|h| (h.host.as_str(), h.port, h.count, h.reason.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("a.example.com", 443, 2, "address_forbidden"),
                ("a.example.com", 8443, 1, "port_not_allowed"),
                ("b.example.com", 443, 1, "host_not_allowed"),
            ]
        );
        assert!(found.iter().all(|h| h.last_client == CLIENT && h.first_seen <= h.last_seen && h.first_seen > 0));
    }

    #[test]
    fn a_flood_of_names_is_bounded_and_leaves_what_is_asked_for_again() {
        let refused = Refused::default();
        for n in 0..50_000 {
            refused.note(&format!("{n}.flood.test"), 443, Reason::HOST, CLIENT);
            if n % 50 == 0 {
                refused.note("real.example.com", 443, Reason::HOST, CLIENT);
            }
        }
        let found = refused.list();
        assert_eq!(found.len(), ENTRIES_MAX);
        assert_eq!((found[0].host.as_str(), found[0].count), ("real.example.com", 1_000));
    }

    #[test]
    fn the_entry_seen_longest_ago_goes_first() {
        let refused = Refused::default();
        for n in 0..ENTRIES_MAX {
            refused.note(&format!("{n}.test"), 443, Reason::HOST, CLIENT);
        }
        refused.note("0.test", 443, Reason::HOST, CLIENT);
        for _ in 0..ADMITTED {
            refused.note("new.test", 443, Reason::HOST, CLIENT);
        }
        let hosts: Vec<String> = refused.list().into_iter().map(|h| h.host).collect();
        let has = |host: &str| hosts.iter().any(|known| known == host);
        assert!(has("new.test") && has("0.test") && !has("1.test") && has("2.test"));
    }

    #[test]
    fn a_name_longer_than_dns_has_is_not_kept() {
        let refused = Refused::default();
        refused.note(&"a".repeat(254), 443, Reason::HOST, CLIENT);
        assert_eq!(refused.list(), []);
    }
}
