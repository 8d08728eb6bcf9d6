//! Clients whose certificates were not taken: who they say they are, why, and how often.
//!
//! They never come as far as a request, so no protocol knows of them. But whoever looks for a host that has stopped sending
//! must find that its certificate was revoked, or is past its time. The table is bounded; what a certificate says that nobody
//! has verified is only repeated, never believed.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::clock::wall_s;

/// Most clients that are remembered; the one that was not heard of for the longest time is forgotten first.
const CLIENTS_MAX: usize = 1024;
/// Most of them that are shown: those that came last.
const SHOWN_MAX: usize = 200;
/// Most characters of a name or a reason.
const TEXT_MAX: usize = 256;

/// The clients that were turned away since the start.
#[derive(Debug, Default)]
pub struct TurnedAway {
    clients: Mutex<HashMap<Key, Client>>,
}

/// Known by its listener, its name, and its address where it shows none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    listener: String,
    certificate: Option<String>,
    address: Option<IpAddr>,
    reason: &'static str,
}

/// A client that was turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The listener that it came to.
    pub listener: String,
    /// Where it came from last.
    pub address: IpAddr,
    /// The first name in the certificate that it showed, which nobody has verified; none where it was not looked at.
    pub certificate: Option<String>,
    /// Why, as in `gatepost_connections_refused_total`.
    pub reason: String,
    /// The same in words.
    pub detail: String,
    /// What can be done about it.
    pub remedy: String,
    /// How often.
    pub times: u64,
    /// When that was last so, in Unix seconds.
    pub last_s: u64,
}

/// What happened at a listener's door.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met<'a> {
    pub(super) listener: &'a str,
    pub(super) address: IpAddr,
    pub(super) certificate: Option<&'a str>,
    pub(super) reason: &'static str,
    pub(super) detail: &'a str,
    pub(super) remedy: &'static str,
}

/// All of them, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownTurnedAway {
    /// How many there are.
    pub seen: usize,
    /// How many of them are left out here.
    pub left_out: usize,
    /// The last first.
    pub clients: Vec<Client>,
}

impl TurnedAway {
    pub(super) fn note(&self, met: Met<'_>) {
        let certificate = met.certificate.map(cut);
        let key = Key {
            listener: met.listener.to_owned(),
            address: certificate.is_none().then_some(met.address),
            certificate: certificate.clone(),
            reason: met.reason,
        };
        let mut clients = self.clients();
        if clients.len() >= CLIENTS_MAX && !clients.contains_key(&key) {
            forget_oldest(&mut clients);
        }
        let client = clients.entry(key).or_insert_with(|| Client {
            listener: met.listener.to_owned(),
            address: met.address,
            certificate,
            reason: met.reason.to_owned(),
            detail: String::new(),
            remedy: met.remedy.to_owned(),
            times: 0,
            last_s: 0,
        });
        (client.address, client.detail, client.last_s) = (met.address, cut(met.detail), wall_s());
        client.times += 1;
    }

    /// The clients, as far as they can be shown; `None` where there is none.
    pub fn shown(&self) -> Option<ShownTurnedAway> {
        let mut clients: Vec<Client> = self.clients().values().cloned().collect();
        let seen = clients.len();
        clients.sort_by(|a, b| b.last_s.cmp(&a.last_s).then_with(|| a.certificate.cmp(&b.certificate)));
        clients.truncate(SHOWN_MAX);
        (seen > 0).then(|| ShownTurnedAway { seen, left_out: seen - clients.len(), clients })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Key, Client>> {
        self.clients.lock()
    }
}

/// An eighth at once, so that many that are new do not each cost a search.
fn forget_oldest(clients: &mut HashMap<Key, Client>) {
    let mut by_age: Vec<(u64, Key)> = clients.iter().map(|(key, client)| (client.last_s, key.clone())).collect();
    by_age.sort_by_key(|(last, _)| *last);
    for (_, key) in by_age.into_iter().take(CLIENTS_MAX / 8) {
        clients.remove(&key);
    }
}

fn cut(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met<'a>(certificate: Option<&'a str>, n: u8) -> Met<'a> {
        Met {
            listener: "wef",
            address: [10, 0, 0, n].into(),
            certificate,
            reason: "tls_client_revoked",
            detail: "it was revoked",
            remedy: "give it another one",
        }
    }

    #[test]
    fn a_client_is_one_wherever_it_comes_from_and_one_without_a_name_is_its_address() {
        let turned_away = TurnedAway::default();
        assert_eq!(turned_away.shown(), None);
        (0..3).for_each(|n| turned_away.note(met(Some("pc1\u{1b}[2J"), n)));
        (0..3).for_each(|n| turned_away.note(met(None, n)));
        let shown = turned_away.shown().expect("there are some");
        let mut clients: Vec<_> =
            shown.clients.iter().map(|client| (client.certificate.as_deref(), client.times)).collect();
        clients.sort();
        assert_eq!(clients, [(None, 1), (None, 1), (None, 1), (Some("pc1[2J"), 3)]);
    }

    #[test]
    fn what_is_remembered_and_shown_has_a_bound() {
        let turned_away = TurnedAway::default();
        for n in 0..CLIENTS_MAX * 2 {
            turned_away.note(met(Some(&format!("pc{n}")), 1));
        }
        let shown = turned_away.shown().expect("there are some");
        assert!(shown.seen <= CLIENTS_MAX && shown.clients.len() == SHOWN_MAX);
        assert_eq!(shown.left_out, shown.seen - SHOWN_MAX);
        turned_away.note(Met { detail: &"x".repeat(10_000), ..met(Some("long"), 1) });
        let shown = turned_away.shown().expect("there are some");
        assert!(shown.clients.iter().all(|client| client.detail.len() <= TEXT_MAX));
    }
}
