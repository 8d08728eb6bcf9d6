//! Which letters somebody asks for: by number, or by what they are.

use std::collections::BTreeSet;

use super::lines::Head;
use super::shares::{Owner, Segment};
use super::{Filter, NOT_UNDERSTOOD};

/// The letters that are meant.
#[derive(Debug, Clone)]
pub enum Chosen {
    /// Those of these numbers.
    Ids(BTreeSet<u64>),
    /// All that match.
    Matching(Filter),
}

impl Chosen {
    /// Whether a file may have such letters.
    pub(super) fn may_be_in(&self, owner: &Owner, file: &Segment) -> bool {
        match self {
            Self::Ids(ids) => ids.range(file.number..).next().is_some_and(|id| *id <= file.last),
            Self::Matching(filter) => may_match(filter, owner, file),
        }
    }

    /// Whether a letter is one of them.
    pub(super) fn has(&self, head: &Head<'_>) -> bool {
        match self {
            Self::Ids(ids) => ids.contains(&head.id),
            Self::Matching(filter) => filter.matches(head),
        }
    }

    /// Whether all letters of a sender's file that may have such are.
    pub(super) fn has_all_of(&self, file: &Segment) -> bool {
        let Self::Matching(Filter { since_ms: None, before_ms: None, until, .. }) = self else { return false };
        until.is_none_or(|until| file.last <= until)
    }

    /// No more than so many.
    pub(super) fn at_most(&self) -> u64 {
        match self {
            Self::Ids(ids) => ids.len() as u64,
            Self::Matching(_) => u64::MAX,
        }
    }
}

fn may_match(filter: &Filter, owner: &Owner, file: &Segment) -> bool {
    let is_wanted = |reason: &String| !owner.is_sender() || reason == NOT_UNDERSTOOD;
    filter.until.is_none_or(|until| file.number <= until)
        && filter.source.as_ref().is_none_or(|name| owner.source().is_none_or(|source| source == name))
        && filter.reason.as_ref().is_none_or(is_wanted)
}
