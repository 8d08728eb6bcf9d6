//! An open-addressing array: the common ground of the slot table and of the index of chunks.
//!
//! Linear probing at up to 85 % load keeps look-ups within a few neighbouring cache lines. Removal shifts the cluster
//! back, so there are no tombstones and constant load means constant memory. The place of an item is its hash scaled
//! to the length, not masked, so the array can grow by 1.3 and need not double.

/// What the array stores: small, with its hash at hand.
pub(super) trait Item: Copy {
    /// Marks a free place.
    const FREE: Self;

    /// Whether this is [`Item::FREE`].
    fn is_free(&self) -> bool;

    /// Well spread over all 64 bits; the upper bits choose the place.
    fn hash(&self) -> u64;
}

#[derive(Debug, Default)]
pub(super) struct Probing<T> {
    places: Vec<T>,
    used: usize,
}

const SMALLEST: usize = 64;

impl<T: Item> Probing<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), used: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<T>()
    }

    /// How many bytes the next insertion adds: none while there is room.
    pub(super) fn growth_bytes(&self) -> usize {
        if self.is_full() { self.grown_len() * size_of::<T>() - self.bytes() } else { 0 }
    }

    /// The place of the item with this hash that `is` accepts.
    pub(super) fn find(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<usize> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        loop {
            let item = &self.places[at];
            if item.is_free() {
                return None;
            }
            if is(item) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// Looks at the place where an item with this hash would be found first; whether it is free. Nothing depends on the answer: who
    /// asks for many before it works on them waits for memory once, and not at each.
    pub(super) fn glance(&self, hash: u64) -> bool {
        self.places.get(self.home(hash)).is_some_and(Item::is_free)
    }

    pub(super) fn at(&self, at: usize) -> T {
        self.places[at]
    }

    /// Replaces an item by another with the same hash.
    pub(super) fn set(&mut self, at: usize, item: T) {
        debug_assert_eq!(self.places[at].hash(), item.hash());
        self.places[at] = item;
    }

    pub(super) fn insert(&mut self, item: T) {
        if self.is_full() {
            self.rebuild(self.grown_len());
        }
        self.put(item);
        self.used += 1;
    }

    /// Frees a place and moves the items behind it up, so that no search ends too early.
    pub(super) fn remove(&mut self, at: usize) {
        let mut hole = at;
        let mut next = self.after(at);
        while !self.places[next].is_free() {
            let home = self.home(self.places[next].hash());
            if self.distance(home, next) >= self.distance(hole, next) {
                self.places[hole] = self.places[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.places[hole] = T::FREE;
        self.used -= 1;
    }

    /// Removes all items that `goes` accepts; returns how many. Gives memory back when much became free.
    pub(super) fn remove_all(&mut self, goes: impl Fn(&T) -> bool) -> usize {
        let before = self.used;
        let mut at = 0;
        while at < self.places.len() {
            let item = &self.places[at];
            if !item.is_free() && goes(item) {
                self.remove(at);
            } else {
                at += 1;
            }
        }
        self.shrink();
        before - self.used
    }

    /// Gives memory back when less than 40 % is used; far enough from the growth at 85 % never to swing.
    pub(super) fn shrink(&mut self) {
        if self.places.len() > SMALLEST && self.used * 10 < self.places.len() * 4 {
            self.rebuild((self.used * 20 / 13).max(SMALLEST));
        }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter(|item| !item.is_free())
    }

    fn is_full(&self) -> bool {
        (self.used + 1) * 20 > self.places.len() * 17
    }

    fn grown_len(&self) -> usize {
        (self.places.len() + self.places.len() * 3 / 10).max(SMALLEST)
    }

    fn rebuild(&mut self, len: usize) {
        let old = std::mem::replace(&mut self.places, vec![T::FREE; len]);
        for item in old.into_iter().filter(|item| !item.is_free()) {
            self.put(item);
        }
    }

    fn put(&mut self, item: T) {
        let mut at = self.home(item.hash());
        while !self.places[at].is_free() {
            at = self.after(at);
        }
        self.places[at] = item;
    }

    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.places.len() as u128) >> 64) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.places.len() { 0 } else { at + 1 }
    }

    /// Steps from one place to another, around the end.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.places.len() - from }
    }
}
