//! A set of ordinals, kept as ranges.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::spool::Ordinal;

/// Ranges that neither overlap nor are empty. Ranges that only touch stay apart when they were added apart, so that
/// begun batches keep their borders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::spool) struct Ranges {
    by_start: BTreeMap<Ordinal, Ordinal>,
}

impl Ranges {
    pub(in crate::spool) fn iter(&self) -> impl Iterator<Item = Range<Ordinal>> + '_ {
        self.by_start.iter().map(|(start, end)| *start..*end)
    }

    /// How many ordinals are in the set.
    pub(in crate::spool) fn len(&self) -> u64 {
        self.by_start.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether exactly this range was added.
    pub(in crate::spool) fn has(&self, range: &Range<Ordinal>) -> bool {
        self.by_start.get(&range.start) == Some(&range.end)
    }

    /// How many ordinals of a range are in the set.
    pub(in crate::spool) fn overlap(&self, range: &Range<Ordinal>) -> u64 {
        if range.start >= range.end {
            return 0;
        }
        let held = self.overlapping(range).into_iter();
        held.map(|(start, end)| end.min(range.end) - start.max(range.start)).sum()
    }

    /// What of the set is within a range, in order.
    pub(in crate::spool) fn within(&self, range: &Range<Ordinal>) -> impl Iterator<Item = Range<Ordinal>> + use<> {
        let held = if range.start < range.end { self.overlapping(range) } else { Vec::new() };
        let range = range.clone();
        held.into_iter().map(move |(start, end)| start.max(range.start)..end.min(range.end))
    }

    /// Adds a range, in place of what it overlaps.
    pub(in crate::spool) fn add(&mut self, range: Range<Ordinal>) {
        if range.start < range.end {
            self.remove(range.clone());
            self.by_start.insert(range.start, range.end);
        }
    }

    /// Adds a range and makes one of it and what it touches.
    pub(in crate::spool) fn join(&mut self, mut range: Range<Ordinal>) {
        if range.start >= range.end {
            return;
        }
        if let Some((start, end)) =
            self.by_start.range(..=range.start).next_back().filter(|(_, end)| **end >= range.start)
        {
            range = *start..range.end.max(*end);
        }
        if let Some((_, end)) = self.by_start.range(range.start..=range.end).next_back() {
            range.end = range.end.max(*end);
        }
        self.add(range);
    }

    /// Takes a range out; what reaches over its borders stays.
    pub(in crate::spool) fn remove(&mut self, range: Range<Ordinal>) {
        if range.start >= range.end {
            return;
        }
        for (start, end) in self.overlapping(&range) {
            self.by_start.remove(&start);
            if start < range.start {
                self.by_start.insert(start, range.start);
            }
            if end > range.end {
                self.by_start.insert(range.end, end);
            }
        }
    }

    fn overlapping(&self, range: &Range<Ordinal>) -> Vec<(Ordinal, Ordinal)> {
        let before = self.by_start.range(..=range.start).next_back();
        let from = before.filter(|(_, end)| **end > range.start).map_or(range.start, |(start, _)| *start);
        self.by_start.range(from..range.end).map(|(start, end)| (*start, *end)).collect()
    }

    /// The parts of a range that are not in the set, in order.
    pub(in crate::spool) fn gaps(&self, range: Range<Ordinal>) -> impl Iterator<Item = Range<Ordinal>> + use<> {
        let held = if range.start < range.end { self.overlapping(&range) } else { Vec::new() };
        let mut at = range.start;
        let mut gaps = Vec::new();
        for (start, end) in held {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps.into_iter()
    }

    /// Takes out what follows `from` without a gap; where that ends.
    pub(in crate::spool) fn take_from(&mut self, from: Ordinal) -> Option<Ordinal> {
        let mut at = from;
        while let Some(end) = self.by_start.remove(&at) {
            at = end;
        }
        (at > from).then_some(at)
    }
}
