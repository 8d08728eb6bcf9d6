//! Who comes next: clients in turn, and of one client the small before the large.
//!
//! A client that nobody has seen here for a round comes first, so that who asks for little waits for nobody; then it stands in the
//! ring like everybody else, until a round has passed in which it wanted nothing. It cannot come first again by leaving early.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::Who;

/// What of one client may wait. A balancer without PROXY protocol is one client, with all hosts behind it.
const WAITING_MAX: usize = 4096;
/// So often what is smaller may go before what one client asked for first.
const PASSED_MAX: u32 = 8;

/// What waits, by client.
#[derive(Debug)]
pub struct Queue<T> {
    clients: HashMap<Who, Waiting<T>>,
    /// Clients that were not here within the last round.
    fresh: VecDeque<Who>,
    /// The ring.
    seen: VecDeque<Who>,
    next: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    /// By size, then by age. Sizes count in powers of two: what is about alike goes in the order in which it came.
    items: BTreeMap<(u32, u64), T>,
    /// How often the oldest was passed.
    passed: u32,
}

/// A place in the queue.
#[derive(Debug)]
pub struct Ticket {
    who: Who,
    key: (u32, u64),
}

/// Too much of one client waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { clients: HashMap::new(), fresh: VecDeque::new(), seen: VecDeque::new(), next: 0 }
    }
}

impl<T> Queue<T> {
    /// Queues what a client wants, of this size.
    ///
    /// # Errors
    ///
    /// When too much of it waits.
    pub fn push(&mut self, who: &Who, size: u64, item: T) -> Result<Ticket, Crowded> {
        if self.clients.get(who).is_some_and(|waiting| waiting.items.len() >= WAITING_MAX) {
            return Err(Crowded);
        }
        if !self.clients.contains_key(who) {
            self.fresh.push_back(who.clone());
        }
        Ok(self.insert(who, size, item))
    }

    /// Queues what has had a turn already.
    pub fn push_again(&mut self, who: &Who, size: u64, item: T) -> Ticket {
        if !self.clients.contains_key(who) {
            self.seen.push_back(who.clone());
        }
        self.insert(who, size, item)
    }

    fn insert(&mut self, who: &Who, size: u64, item: T) -> Ticket {
        let key = (size.max(1).ilog2(), self.next);
        self.next += 1;
        let empty = || Waiting { items: BTreeMap::new(), passed: 0 };
        self.clients.entry(who.clone()).or_insert_with(empty).items.insert(key, item);
        Ticket { who: who.clone(), key }
    }

    /// Takes something back that nobody waits for any more.
    pub fn remove(&mut self, ticket: &Ticket) -> Option<T> {
        self.clients.get_mut(&ticket.who)?.items.remove(&ticket.key)
    }

    /// What comes next.
    pub fn head(&mut self) -> Option<&T> {
        let who = self.next_client()?;
        let waiting = self.clients.get(&who)?;
        waiting.items.get(&waiting.pick()?)
    }

    /// Takes what comes next.
    pub fn pop(&mut self) -> Option<T> {
        let who = self.next_client()?;
        let _ = self.fresh.pop_front_if(|first| *first == who).or_else(|| self.seen.pop_front());
        let waiting = self.clients.get_mut(&who)?;
        let item = waiting.take();
        self.seen.push_back(who);
        item
    }

    /// The client that is next; forgets those that wanted nothing for a round.
    fn next_client(&mut self) -> Option<Who> {
        loop {
            let lists = [&mut self.fresh, &mut self.seen];
            let list = lists.into_iter().find(|list| !list.is_empty())?;
            let who = list.front()?;
            if self.clients.get(who).is_some_and(|waiting| !waiting.items.is_empty()) {
                return Some(who.clone());
            }
            self.clients.remove(who);
            list.pop_front();
        }
    }
}

impl<T> Waiting<T> {
    fn pick(&self) -> Option<(u32, u64)> {
        let smallest = *self.items.keys().next()?;
        if self.passed < PASSED_MAX { Some(smallest) } else { self.oldest() }
    }

    fn oldest(&self) -> Option<(u32, u64)> {
        self.items.keys().min_by_key(|(_, age)| *age).copied()
    }

    fn take(&mut self) -> Option<T> {
        let key = self.pick()?;
        // One size is in order, and then nobody is passed: the usual case costs no search.
        let last = *self.items.keys().next_back()?;
        let is_oldest = last.0 == key.0 || self.oldest() == Some(key);
        self.passed = if is_oldest { 0 } else { self.passed + 1 };
        self.items.remove(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Who {
        Who::new(&name.into(), None)
    }

    fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn clients_take_turns_and_who_asks_for_little_comes_first() {
        let mut queue = Queue::default();
        for item in ["a1", "a2", "a3"] {
            queue.push(&who("a"), 10, item).expect("there is room");
        }
        assert_eq!(queue.pop(), Some("a1"));
        queue.push(&who("b"), 10, "b1").expect("there is room");
        queue.push(&who("b"), 10, "b2").expect("there is room");
        queue.push(&who("c"), 10, "c1").expect("there is room");
        assert_eq!(all(&mut queue), ["b1", "c1", "a2", "b2", "a3"]);
        assert!(queue.clients.is_empty() && queue.seen.is_empty(), "nobody is remembered for ever");
    }

    #[test]
    fn nobody_comes_first_again_within_a_round() {
        let mut queue = Queue::default();
        queue.push(&who("a"), 10, "a1").expect("there is room");
        queue.push(&who("a"), 10, "a2").expect("there is room");
        queue.push(&who("b"), 10, "b1").expect("there is room");
        assert_eq!((queue.pop(), queue.pop()), (Some("a1"), Some("b1")));
        queue.push(&who("b"), 10, "b2").expect("there is room");
        queue.push_again(&who("c"), 10, "c, which had its turn");
        assert_eq!(all(&mut queue), ["a2", "b2", "c, which had its turn"]);
    }

    #[test]
    fn of_one_client_the_small_go_before_the_large_which_are_not_passed_for_ever() {
        let mut queue = Queue::default();
        queue.push(&who("a"), 1 << 20, "large").expect("there is room");
        for _ in 0..20 {
            queue.push(&who("a"), 1000, "small").expect("there is room");
        }
        let order = all(&mut queue);
        assert_eq!(order.iter().position(|item| *item == "large"), Some(PASSED_MAX as usize));
    }

    #[test]
    fn what_nobody_waits_for_goes_and_what_one_client_may_leave_here_has_a_bound() {
        let mut queue = Queue::default();
        let ticket = queue.push(&who("a"), 1, "gone").expect("there is room");
        assert_eq!(queue.head(), Some(&"gone"));
        assert_eq!(queue.remove(&ticket), Some("gone"));
        assert_eq!(queue.head(), None);
        assert_eq!(queue.remove(&ticket), None);
        for _ in 0..WAITING_MAX {
            queue.push(&who("a"), 1, "one").expect("there is room");
        }
        assert_eq!(queue.push(&who("a"), 1, "too many").map(drop), Err(Crowded));
        assert!(queue.push(&who("b"), 1, "another's").is_ok());
    }
}
