//! Every order in which the steps of a model can happen, for the checks of protocols.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;

/// The steps that happen by themselves, sooner or later; and those that happen only if they must.
pub(crate) struct Steps<S> {
    pub(crate) fair: Vec<S>,
    pub(crate) faults: Vec<S>,
}

impl<S> Steps<S> {
    pub(crate) fn none() -> Self {
        Self { fair: Vec::new(), faults: Vec::new() }
    }
}

/// What must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// An event that was acknowledged is never forwarded.
    Lost,
    /// An event is forwarded twice.
    Twice,
    /// It comes to an end before the event was acknowledged.
    Stuck,
    /// Two gateways have it at the same time.
    ClaimsOverlap,
}

/// Explores all that can happen from there on; how many states there are. `judge` looks at each, and is told whether nothing happens
/// by itself any more.
pub(crate) fn explore<S: Copy + Eq + Hash>(
    start: S,
    steps: impl Fn(&S) -> Steps<S>,
    judge: impl Fn(&S, bool) -> Option<Bad>,
) -> Result<usize, Bad> {
    let (mut seen, mut todo) = (HashSet::from([start]), VecDeque::from([start]));
    while let Some(state) = todo.pop_front() {
        let steps = steps(&state);
        if let Some(bad) = judge(&state, steps.fair.is_empty()) {
            return Err(bad);
        }
        todo.extend(steps.fair.into_iter().chain(steps.faults).filter(|next| seen.insert(*next)));
    }
    Ok(seen.len())
}

/// How a model ends at which nothing happens by itself any more.
pub(crate) fn at_the_end(acknowledged: bool, forwarded: usize) -> Option<Bad> {
    match (acknowledged, forwarded) {
        (true, 0) => Some(Bad::Lost),
        (false, _) => Some(Bad::Stuck),
        (true, _) => None,
    }
}

/// Nothing bad came out, and something was explored.
pub(crate) fn assert_good(what: impl Debug, explored: Result<usize, Bad>) {
    let states = explored.unwrap_or_else(|bad| panic!("{what:?}: {bad:?}"));
    println!("{what:?}: {states} states");
    assert!(states > 50, "something was explored");
}
