//! Sets of event ids.
//!
//! Queries name ids one by one, in ranges and by exclusion (`EventID != 4624`); ranges hold all three in little space.

/// A set of event ids as ranges, rising, that neither overlap nor touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdSet {
    ranges: Vec<(u32, u32)>,
}

impl IdSet {
    /// Every id.
    pub fn all() -> Self {
        Self { ranges: vec![(0, u32::MAX)] }
    }

    /// From the first to the last, both included; empty when they stand the other way round.
    pub fn range(first: u32, last: u32) -> Self {
        Self { ranges: if first <= last { vec![(first, last)] } else { Vec::new() } }
    }

    /// The ranges, first and last included.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// Whether there is no id in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many ids are in it.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// The ids, rising.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.ranges.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Whether this id is in it.
    pub fn contains(&self, id: u32) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first <= id);
        after > 0 && id <= self.ranges[after - 1].1
    }

    /// The ids that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut both = [self.ranges.as_slice(), &other.ranges].concat();
        both.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(both.len());
        for (first, last) in both {
            match ranges.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    /// The ids that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut own, mut others) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (own.peek(), others.peek()) {
            let (first, last) = (a.0.max(b.0), a.1.min(b.1));
            if first <= last {
                ranges.push((first, last));
            }
            if a.1 < b.1 {
                own.next()
            } else {
                others.next()
            };
        }
        Self { ranges }
    }

    /// The ids that are not in it.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = Some(0);
        for (first, last) in &self.ranges {
            if let Some(from) = next.filter(|from| from < first) {
                ranges.push((from, first - 1));
            }
            next = last.checked_add(1);
        }
        ranges.extend(next.map(|from| (from, u32::MAX)));
        Self { ranges }
    }
}

impl FromIterator<u32> for IdSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        Self { ranges: ids.into_iter().map(|id| (id, id)).collect() }.union(&Self::default())
    }
}

/// `1, 4-9`, and `none` for the empty set.
impl std::fmt::Display for IdSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match last - first {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_set() -> impl Strategy<Value = IdSet> {
        let edge = prop_oneof![0..30u32, u32::MAX - 3..=u32::MAX];
        proptest::collection::vec((edge.clone(), edge), 0..6).prop_map(|ranges| {
            ranges.iter().fold(IdSet::default(), |set, (first, last)| set.union(&IdSet::range(*first, *last)))
        })
    }

    fn assert_sound(set: &IdSet) {
        assert!(set.ranges.iter().all(|(first, last)| first <= last), "{set:?}");
        assert!(set.ranges.windows(2).all(|pair| pair[0].1.saturating_add(1) < pair[1].0), "{set:?}");
    }

    proptest! {
        #[test]
        fn means_what_sets_mean(a in any_set(), b in any_set()) {
            let (union, both, not) = (a.union(&b), a.intersection(&b), a.complement());
            [&a, &union, &both, &not].into_iter().for_each(assert_sound);
            for id in (0..33).chain(u32::MAX - 5..=u32::MAX) {
                let (in_a, in_b) = (a.contains(id), b.contains(id));
                prop_assert_eq!(union.contains(id), in_a || in_b);
                prop_assert_eq!(both.contains(id), in_a && in_b);
                prop_assert_eq!(not.contains(id), !in_a);
            }
            prop_assert_eq!(a.count() + not.count(), 1 << 32);
            prop_assert_eq!(a.complement().complement(), a);
        }
    }

    #[test]
    fn neighbours_become_one_range() {
        let set: IdSet = [7, 1, 3, 2, 7].into_iter().collect();
        assert_eq!((set.to_string().as_str(), set.count()), ("1-3, 7", 4));
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 2, 3, 7]);
        assert_eq!(IdSet::range(2, 1), IdSet::default());
        assert_eq!(IdSet::all().complement().to_string(), "none");
    }
}
