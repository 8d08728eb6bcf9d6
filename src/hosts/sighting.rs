//! What one upload tells about who sent it: gathered while its events are decoded, noted when they are durable.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{Fields, Timestamp, Upload};

/// Most computers that are noted of one upload; whoever speaks for more speaks for too many to be watched.
const COMPUTERS_MAX: usize = 256;

/// How many recent ones are at hand.
const RECENT: usize = 1024;

/// Most channels of a computer whose record ids are followed.
pub(super) const CHANNELS_MAX: usize = 8;

/// The longest name of a computer; longer ones are no names.
const NAME_MAX: usize = 255;

/// Who sent an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The input.
    pub input: Arc<str>,
    /// The client's name.
    pub client: Arc<str>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// What the client calls itself, where it tells.
    pub agent: Option<Arc<str>>,
}

impl Sender {
    /// Of this upload.
    pub fn of(upload: &Upload) -> Self {
        let (input, client) = (Arc::clone(&upload.input), &upload.client);
        Self { input, client: Arc::clone(&client.name), address: client.address, agent: client.agent.clone() }
    }
}

/// One computer in one upload.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    /// As it calls itself.
    pub(super) computer: String,
    pub(super) events: u64,
    /// The latest time of an event.
    pub(super) newest: Option<Timestamp>,
    /// Record ids by channel, where they are followed.
    pub(super) ids: Vec<(String, Vec<u64>)>,
}

/// The computers in one upload.
#[derive(Debug)]
pub struct Sightings {
    pub(super) list: Vec<Sighting>,
    /// By name in small letters.
    places: HashMap<String, usize>,
    /// Where those stand whom the last events were of. A look here takes no memory and a tenth of the time of one into
    /// `places`, and events of several computers mostly come mixed.
    recent: [u16; RECENT],
    /// Events of nobody, or of more computers than are noted.
    pub(super) others: u64,
    follows_ids: bool,
}

impl Default for Sightings {
    fn default() -> Self {
        Self::new(false)
    }
}

impl Sightings {
    /// None yet.
    pub(super) fn new(follows_ids: bool) -> Self {
        Self { list: Vec::new(), places: HashMap::new(), recent: [0; RECENT], others: 0, follows_ids }
    }

    /// Takes one event.
    pub fn see(&mut self, fields: &Fields<'_>) {
        let place = fields.computer.as_deref().and_then(|computer| self.place(computer));
        let Some(place) = place else {
            self.others += 1;
            return;
        };
        let sighting = &mut self.list[place];
        sighting.events += 1;
        sighting.newest = sighting.newest.max(fields.time);
        if self.follows_ids
            && let (Some(channel), Some(id)) = (&fields.channel, fields.record_id)
        {
            sighting.take_id(channel, id);
        }
    }

    fn place(&mut self, computer: &str) -> Option<usize> {
        let spot = spot(computer);
        let recent = usize::from(self.recent[spot]);
        if self.list.get(recent).is_some_and(|recent| is_same(&recent.computer, computer)) {
            return Some(recent);
        }
        let place = self.find(computer)?;
        self.recent[spot] = u16::try_from(place).unwrap_or_default();
        Some(place)
    }

    fn find(&mut self, computer: &str) -> Option<usize> {
        if computer.is_empty() || computer.len() > NAME_MAX {
            return None;
        }
        let name = computer.to_ascii_lowercase();
        if let Some(place) = self.places.get(&name) {
            return Some(*place);
        }
        let place = self.list.len();
        (place < COMPUTERS_MAX).then(|| {
            self.places.insert(name, place);
            self.list.push(Sighting { computer: computer.to_owned(), ..Sighting::default() });
            place
        })
    }
}

/// Where a name stands among the recent ones, in whatever letter case. Who makes names that share a place makes only his own
/// upload slower.
fn spot(computer: &str) -> usize {
    /// Letters differ from their small ones in this bit alone; that some other characters become one as well does no harm.
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let mix = |sum: u64, word: [u8; 8]| {
        (sum ^ (u64::from_le_bytes(word) | SMALL)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    };
    let (words, rest) = computer.as_bytes().as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    (mix(words.iter().copied().fold(0, mix), last) >> 32) as usize % RECENT
}

fn is_same(one: &str, other: &str) -> bool {
    one == other || one.eq_ignore_ascii_case(other)
}

impl Sighting {
    fn take_id(&mut self, channel: &str, id: u64) {
        let known = self.ids.iter().position(|(known, _)| is_same(known, channel));
        match known {
            Some(at) => self.ids[at].1.push(id),
            None if self.ids.len() < CHANNELS_MAX && channel.len() <= NAME_MAX => {
                self.ids.push((channel.to_owned(), vec![id]));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(computer: &str, id: u64) -> Fields<'_> {
        Fields {
            computer: Some(computer.into()),
            channel: Some("Security".into()),
            record_id: Some(id),
            ..Fields::default()
        }
    }

    #[test]
    fn a_computer_is_one_in_whatever_letter_case() {
        let mut seen = Sightings::new(true);
        for (n, name) in ["WEB01", "web01", "DC1", "Web01"].into_iter().enumerate() {
            seen.see(&fields(name, n as u64));
        }
        seen.see(&Fields::default());
        let found: Vec<_> = seen.list.iter().map(|s| (s.computer.as_str(), s.events, s.ids[0].1.clone())).collect();
        assert_eq!(found, [("WEB01", 3, vec![0, 1, 3]), ("DC1", 1, vec![2])]);
        assert_eq!(seen.others, 1);
    }

    #[test]
    fn what_an_upload_can_fill_has_a_bound() {
        let mut seen = Sightings::new(false);
        (0..10_000).for_each(|n| seen.see(&fields(&format!("fake-{n}"), n)));
        seen.see(&fields(&"x".repeat(NAME_MAX + 1), 1));
        assert_eq!((seen.list.len(), seen.others), (COMPUTERS_MAX, 10_001 - COMPUTERS_MAX as u64));
        assert!(seen.list.iter().all(|sighting| sighting.ids.is_empty()), "nobody follows ids");
    }
}
