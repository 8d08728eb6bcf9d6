//! How a door misbehaves, and when: with one request, the next few, some of them, or all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Reads the request and answers this instead of doing what it asks.
    Answer {
        /// The status.
        status: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u32>,
    },
    /// Reads the request and answers 200 with a page of HTML, as captive portals do.
    Garbage,
    /// Waits so long, then does what is asked.
    Slow(Duration),
    /// Resets the connection after the head of the request.
    ResetBeforeBody,
    /// Reads the request, then resets the connection. Nothing is done.
    ResetAfterBody,
    /// Does what is asked, then closes the connection without an answer.
    LostReply,
}

/// What a door does wrong with which request. Empty at first: everything goes well.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    at: BTreeMap<u64, Fault>,
    next: VecDeque<(Fault, u32)>,
    sometimes: Vec<(f64, Fault)>,
    always: Option<Fault>,
}

impl Script {
    pub(super) fn at(&mut self, request: u64, fault: Fault) {
        self.at.insert(request, fault);
    }

    pub(super) fn next(&mut self, fault: Fault, requests: u32) {
        self.next.push_back((fault, requests));
    }

    pub(super) fn sometimes(&mut self, probability: f64, fault: Fault) {
        self.sometimes.push((probability, fault));
    }

    pub(super) fn always(&mut self, fault: Fault) {
        self.always = Some(fault);
    }

    /// What goes wrong with this request. The most particular order wins: its number, then "the next", then chance.
    pub(super) fn fault(&mut self, request: u64) -> Option<Fault> {
        self.at.remove(&request).or_else(|| self.take_next()).or_else(|| self.by_chance()).or(self.always)
    }

    fn take_next(&mut self) -> Option<Fault> {
        while let Some((fault, left)) = self.next.front_mut() {
            if *left > 0 {
                *left -= 1;
                return Some(*fault);
            }
            self.next.pop_front();
        }
        None
    }

    fn by_chance(&self) -> Option<Fault> {
        let hit = self.sometimes.iter().find(|(probability, _)| fastrand::f64() < *probability);
        hit.map(|(_, fault)| *fault)
    }
}
