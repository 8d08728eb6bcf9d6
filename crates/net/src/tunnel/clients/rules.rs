//! Which rules of the allow-list a client may use, as a set that is made once and shared.

use std::sync::Arc;

/// Indices into `tunnel.allow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules(Box<[u64]>);

impl Rules {
    pub(super) fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)].into())
    }

    pub(super) fn all(count: usize) -> Self {
        let mut rules = Self::none(count);
        (0..count).for_each(|rule| rules.insert(rule));
        rules
    }

    pub(super) fn insert(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    pub(super) fn contains(&self, rule: usize) -> bool {
        self.0.get(rule / 64).is_some_and(|word| word & (1 << (rule % 64)) != 0)
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }
}

/// What membership in some groups comes to.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) rules: Rules,
    /// Names of the groups, for the log.
    pub(super) groups: Arc<[Arc<str>]>,
}

impl Grant {
    /// All grants together; none for none. One alone is shared and not copied: most clients are in one group.
    pub(super) fn union<'a>(mut grants: impl Iterator<Item = &'a Arc<Self>>) -> Option<Arc<Self>> {
        let first = grants.next()?;
        let Some(second) = grants.next() else { return Some(Arc::clone(first)) };
        let mut rules = first.rules.clone();
        let mut groups = first.groups.to_vec();
        for more in std::iter::once(second).chain(grants) {
            rules.add(&more.rules);
            groups.extend(more.groups.iter().cloned());
        }
        Some(Arc::new(Self { rules, groups: groups.into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in_and_nothing_beyond_their_end() {
        let mut rules = Rules::none(130);
        for rule in [0, 63, 64, 129] {
            rules.insert(rule);
        }
        rules.insert(100_000);
        let held: Vec<usize> = (0..300).filter(|rule| rules.contains(*rule)).collect();
        assert_eq!(held, [0, 63, 64, 129]);
        assert!(Rules::all(70).contains(69) && !Rules::all(70).contains(70) && !Rules::all(0).contains(0));
    }

    #[test]
    fn a_union_of_one_is_that_one() {
        let grant = |rule: usize, name: &str| {
            let mut rules = Rules::none(3);
            rules.insert(rule);
            Arc::new(Grant { rules, groups: [Arc::from(name)].into() })
        };
        let (a, b) = (grant(0, "a"), grant(2, "b"));
        assert!(Grant::union(std::iter::empty()).is_none());
        assert!(Arc::ptr_eq(&Grant::union([&a].into_iter()).expect("one"), &a));
        let both = Grant::union([&a, &b].into_iter()).expect("two");
        assert_eq!((0..3).map(|rule| both.rules.contains(rule)).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(both.groups.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
    }
}
