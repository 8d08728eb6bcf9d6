//! All queries of all rules as one table: an event meets only those that can take it.
//!
//! Queries are sorted by the channel and the event ids that they need. Those that ask for nothing else (every event set) are
//! answered by the lookup; the others are tried cheap first, and not at all when every output that they feed has the event
//! already. With several rules for one output, the first in the order of the configuration names the stream.

use std::cmp::Ordering;

use super::hosts::Mask;
use crate::filter::xpath::{Program, View};

/// Most outputs that rules can name.
pub const OUTPUTS_MAX: usize = 64;

/// Queries with more ids than this are tried with every event of their channel instead.
const IDS_MAX: u64 = 1024;

/// Entries of ids in the whole table. What goes beyond is tried instead: a small rule must not make a large table.
const ENTRIES_MAX: u64 = 1 << 18;

/// One query of a rule.
#[derive(Debug, Clone)]
pub(super) struct Query {
    /// The rule it belongs to.
    pub(super) rule: usize,
    /// As written, for people.
    pub(super) text: Box<str>,
    /// The channel whose events it sees; `None`: every event.
    pub(super) channel: Option<Box<str>>,
    /// The stream to which what it sees was uploaded; `None`: any.
    pub(super) stream: Option<Box<str>>,
    /// What it takes.
    pub(super) program: Program,
    /// What it takes nevertheless not, each with its channel.
    pub(super) suppress: Vec<(Option<Box<str>>, Program)>,
    /// Where its events go: numbers of routes, one for an output.
    pub(super) routes: Vec<usize>,
}

/// An output that a rule feeds.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouteTo {
    /// The output's number.
    pub(super) output: usize,
    /// Whether every rule names the same stream for that output, so that it does not matter which one takes the event.
    pub(super) alike: bool,
}

/// Which queries apply to an event.
pub(super) struct Applying<'a> {
    /// Those of these rules.
    pub(super) rules: &'a Mask,
    /// The stream to which it was uploaded.
    pub(super) stream: &'a str,
}

impl Applying<'_> {
    pub(super) fn has(&self, query: &Query) -> bool {
        self.rules.has(query.rule) && query.stream.as_deref().is_none_or(|stream| stream == self.stream)
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Index {
    queries: Vec<Query>,
    /// The outputs of each query, as bits.
    outputs: Vec<u64>,
    routes: Vec<RouteTo>,
    /// By name, without regard to letter case.
    channels: Vec<(Box<str>, Channel)>,
    /// Queries without a channel.
    any: Channel,
}

/// The queries that see the events of one channel.
#[derive(Debug, Default)]
struct Channel {
    /// In order of number.
    all: Vec<usize>,
    /// Those that take every event.
    whole: Vec<usize>,
    /// Those that take what has one of their ids.
    by_id: ById,
    /// Those that need one of their ids, and more.
    tried_by_id: ById,
    /// Those that may take an event of any id.
    tried: Vec<usize>,
}

/// Queries by event id, in one list.
#[derive(Debug, Default)]
struct ById {
    /// Rising ids, each with where its queries begin in `queries`; they end where the next id's begin.
    starts: Vec<(u32, usize)>,
    queries: Vec<usize>,
}

/// The route by which each output gets an event.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Outputs, as bits.
    outputs: u64,
    routes: [usize; OUTPUTS_MAX],
}

impl Default for Chosen {
    fn default() -> Self {
        Self { outputs: 0, routes: [usize::MAX; OUTPUTS_MAX] }
    }
}

impl Chosen {
    pub(super) fn clear(&mut self) {
        self.outputs = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outputs == 0
    }

    /// The routes, in order of their outputs.
    pub(super) fn routes(&self) -> impl Iterator<Item = usize> {
        let mut left = self.outputs;
        std::iter::from_fn(move || {
            let output = left.trailing_zeros() as usize;
            left &= left.checked_sub(1)?;
            Some(self.routes[output])
        })
    }

    fn add(&mut self, route: usize, output: usize) {
        let bit = 1 << output;
        if self.outputs & bit == 0 || route < self.routes[output] {
            self.outputs |= bit;
            self.routes[output] = route;
        }
    }
}

impl Index {
    pub(super) fn new(queries: Vec<Query>, routes: Vec<RouteTo>) -> Self {
        let mut index = Self { routes, ..Self::default() };
        index.outputs = queries.iter().map(|query| index.outputs_of(query)).collect();
        for (n, query) in queries.iter().enumerate() {
            index.channel_mut(query.channel.as_deref()).all.push(n);
        }
        let mut room = ENTRIES_MAX;
        for channel in index.channels.iter_mut().map(|(_, channel)| channel).chain([&mut index.any]) {
            channel.sort(&queries, &mut room);
        }
        index.queries = queries;
        index
    }

    pub(super) fn queries(&self) -> &[Query] {
        &self.queries
    }

    fn outputs_of(&self, query: &Query) -> u64 {
        query.routes.iter().fold(0, |bits, &route| bits | 1 << self.routes[route].output)
    }

    fn channel_mut(&mut self, name: Option<&str>) -> &mut Channel {
        let Some(name) = name else { return &mut self.any };
        let at = match self.find(name) {
            Ok(at) => at,
            Err(at) => {
                self.channels.insert(at, (name.into(), Channel::default()));
                at
            }
        };
        &mut self.channels[at].1
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.channels.binary_search_by(|(known, _)| compare(known, name))
    }

    /// Adds to `taken` by which routes an event goes on, of those queries that apply.
    pub(super) fn take(&self, view: &mut View<'_>, applying: &Applying<'_>, taken: &mut Chosen) {
        let channel = view.event.fields.channel.as_deref().and_then(|name| self.find(name).ok());
        let channels = [channel.map(|at| &self.channels[at].1), Some(&self.any)];
        let id = view.event.fields.event_id;
        for channel in channels.into_iter().flatten() {
            self.add_all(&channel.whole, applying, taken);
            if let Some(id) = id {
                self.add_all(channel.by_id.of(id), applying, taken);
            }
        }
        for channel in channels.into_iter().flatten() {
            match id {
                Some(id) => {
                    self.try_all(channel.tried_by_id.of(id), view, applying, taken);
                    self.try_all(&channel.tried, view, applying, taken);
                }
                // Without a readable id only the queries themselves can tell.
                None => self.try_all(&channel.all, view, applying, taken),
            }
        }
    }

    fn add_all(&self, queries: &[usize], applying: &Applying<'_>, taken: &mut Chosen) {
        for query in queries.iter().map(|&n| &self.queries[n]).filter(|query| applying.has(query)) {
            self.add(query, taken);
        }
    }

    fn try_all(&self, queries: &[usize], view: &mut View<'_>, applying: &Applying<'_>, taken: &mut Chosen) {
        for &n in queries {
            let query = &self.queries[n];
            if applying.has(query) && self.brings_more(n, taken) && query.takes(view) {
                self.add(query, taken);
            }
        }
    }

    fn add(&self, query: &Query, taken: &mut Chosen) {
        for &route in &query.routes {
            taken.add(route, self.routes[route].output);
        }
    }

    /// Whether it would matter that this query takes the event.
    fn brings_more(&self, n: usize, taken: &Chosen) -> bool {
        if self.outputs[n] & !taken.outputs != 0 {
            return true;
        }
        let matters = |&route: &usize| {
            let RouteTo { output, alike } = self.routes[route];
            !alike && route < taken.routes[output]
        };
        self.queries[n].routes.iter().any(matters)
    }
}

impl Query {
    /// Whether it takes an event of its channel.
    pub(super) fn takes(&self, view: &mut View<'_>) -> bool {
        self.program.matches(view) && !self.suppresses(view)
    }

    fn suppresses(&self, view: &mut View<'_>) -> bool {
        let event = view.event;
        let sees = |channel: &Option<Box<str>>| sees(channel.as_deref(), event.fields.channel.as_deref());
        self.suppress.iter().any(|(channel, program)| sees(channel) && program.matches(view))
    }

    /// Whether it sees events of this channel.
    pub(super) fn sees(&self, channel: Option<&str>) -> bool {
        sees(self.channel.as_deref(), channel)
    }
}

fn sees(wanted: Option<&str>, channel: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| channel.is_some_and(|channel| wanted.eq_ignore_ascii_case(channel)))
}

impl Channel {
    fn sort(&mut self, queries: &[Query], room: &mut u64) {
        let (mut by_id, mut tried_by_id) = (Vec::new(), Vec::new());
        for &n in &self.all {
            let Query { program, suppress, .. } = &queries[n];
            let only_ids = suppress.is_empty() && program.asks_only_ids();
            match program.event_ids() {
                None if only_ids => self.whole.push(n),
                Some(ids) if ids.count() <= IDS_MAX.min(*room) => {
                    *room -= ids.count();
                    let list = if only_ids { &mut by_id } else { &mut tried_by_id };
                    list.extend(ids.iter().map(|id| (id, n)));
                }
                _ => self.tried.push(n),
            }
        }
        let cheap_first = |n: usize| (queries[n].program.reach(), n);
        self.tried.sort_by_key(|&n| cheap_first(n));
        by_id.sort_unstable();
        tried_by_id.sort_by_key(|&(id, n)| (id, cheap_first(n)));
        self.by_id = ById::new(by_id);
        self.tried_by_id = ById::new(tried_by_id);
    }
}

impl ById {
    fn new(sorted: Vec<(u32, usize)>) -> Self {
        let mut by_id = Self::default();
        for (id, query) in sorted {
            if by_id.starts.last().is_none_or(|(last, _)| *last != id) {
                by_id.starts.push((id, by_id.queries.len()));
            }
            by_id.queries.push(query);
        }
        by_id
    }

    fn of(&self, id: u32) -> &[usize] {
        let Ok(at) = self.starts.binary_search_by_key(&id, |(known, _)| *known) else { return &[] };
        let end = self.starts.get(at + 1).map_or(self.queries.len(), |(_, next)| *next);
        &self.queries[self.starts[at].1..end]
    }
}

/// Orders names without regard to ASCII letter case, shorter ones first: most differ in length, which costs nothing to see.
fn compare(one: &str, other: &str) -> Ordering {
    one.len().cmp(&other.len()).then_with(|| {
        let mut pairs =
            one.bytes().zip(other.bytes()).map(|(a, b)| a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()));
        pairs.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    })
}
