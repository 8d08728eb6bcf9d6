//! The rules as they apply to one upload.

use std::collections::HashMap;
use std::sync::Arc;

use super::hosts::Sender;
use super::index::{Applying, Chosen};
use super::{Others, Route, Rules};
use crate::event::document::Document;
use crate::event::{Client, Event, Timestamp};
use crate::filter::xpath::View;
use crate::filter::{Decision, NOT_IN_EVENT_SET, NOT_SELECTED};

/// Which of a session's route sets an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteSet(pub u32);

impl RouteSet {
    /// Every output, in the stream of the upload.
    pub const EVERYWHERE: Self = Self(0);
}

/// The rules as they apply to one upload.
#[derive(Debug)]
pub struct Session<'r> {
    rules: &'r Rules,
    sender: Sender,
    stream: &'r str,
    now: Timestamp,
    document: Document,
    chosen: Chosen,
    sets: Sets,
    /// Events by route.
    taken: Vec<u64>,
}

/// The route sets that were met, each as numbers of routes.
#[derive(Debug, Default)]
struct Sets {
    known: HashMap<Vec<usize>, u32>,
    in_order: Vec<Vec<usize>>,
    /// The set of the event before: neighbours mostly go the same way.
    last: Option<u32>,
    wanted: Vec<usize>,
}

/// What a session leaves behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Route sets 1, 2, …
    pub sets: Vec<Vec<Route>>,
    /// Events by rule and output.
    pub taken: Vec<Taken>,
}

/// How many events a rule took to an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The rule's name.
    pub rule: Arc<str>,
    /// The output's name.
    pub output: Arc<str>,
    /// How many events.
    pub events: u64,
}

impl Session<'_> {
    /// What is to be done with an event.
    pub fn decide(&mut self, event: &Event<'_>) -> Decision {
        let rules = self.rules;
        let computer = event.fields.computer.as_deref().unwrap_or_default();
        let mask = self.sender.rules_for(&rules.hosts, computer);
        let mut view = View::new(event, self.now, &mut self.document);
        if mask.is_empty() {
            return rules.others.decide(&mut view, &mut self.chosen);
        }
        self.chosen.clear();
        rules.index.take(&mut view, &Applying { rules: mask, stream: self.stream }, &mut self.chosen);
        if self.chosen.is_empty() {
            return Decision::Drop(NOT_SELECTED);
        }
        for route in self.chosen.routes() {
            self.taken[route] += 1;
        }
        Decision::Keep(self.sets.number(self.chosen.routes()))
    }

    /// Ends the session: the route sets that its decisions named, without [`RouteSet::EVERYWHERE`] (so the set 1 stands
    /// first), each with at most one route for an output; and how many events each rule took to each output.
    pub fn finish(self) -> Outcome {
        let route = |&n: &usize| self.rules.routes[n].route.clone();
        let sets = self.sets.in_order.iter().map(|set| set.iter().map(route).collect()).collect();
        let taken = self.rules.routes.iter().zip(&self.taken).filter(|(_, events)| **events > 0);
        let taken = taken.map(|(of, events)| Taken {
            rule: Arc::clone(&self.rules.rules[of.rule].name),
            output: Arc::clone(&of.route.output),
            events: *events,
        });
        Outcome { sets, taken: taken.collect() }
    }
}

impl Sets {
    /// The number of the set with these routes.
    fn number(&mut self, routes: impl Iterator<Item = usize>) -> RouteSet {
        self.wanted.clear();
        self.wanted.extend(routes);
        if let Some(last) = self.last
            && self.in_order[last as usize - 1] == self.wanted
        {
            return RouteSet(last);
        }
        let number = match self.known.get(&self.wanted) {
            Some(number) => *number,
            None => {
                self.in_order.push(self.wanted.clone());
                let number = u32::try_from(self.in_order.len()).expect("fewer sets than events of an upload");
                self.known.insert(self.wanted.clone(), number);
                number
            }
        };
        self.last = Some(number);
        RouteSet(number)
    }
}

impl Others {
    fn decide(&self, view: &mut View<'_>, chosen: &mut Chosen) -> Decision {
        let keeps = match self {
            Self::Everything => true,
            Self::Set(index, only) => {
                chosen.clear();
                index.take(view, &Applying { rules: only, stream: "" }, chosen);
                !chosen.is_empty()
            }
        };
        if keeps { Decision::Keep(RouteSet::EVERYWHERE) } else { Decision::Drop(NOT_IN_EVENT_SET) }
    }
}

impl Rules {
    /// The rules as they apply to one upload to this stream, received `now`.
    pub fn session<'a>(&'a self, client: &Client, stream: &'a str, now: Timestamp) -> Session<'a> {
        Session {
            rules: self,
            sender: self.hosts.of_sender(client),
            stream,
            now,
            document: Document::default(),
            chosen: Chosen::default(),
            sets: Sets::default(),
            taken: vec![0; self.routes.len()],
        }
    }
}
