//! A number of equal permits, given out in the order of a [`Queue`].

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::queue::{Crowded, Queue, Ticket};
use super::who::Who;

/// Permits and who waits for them. As long as one is free nobody waits.
#[derive(Debug)]
pub(super) struct Fair {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    queue: Queue<oneshot::Sender<Held>>,
}

/// A permit; given on when dropped.
#[derive(Debug)]
pub(super) struct Held {
    of: Option<Arc<Fair>>,
}

/// Leaves the queue when it is dropped before its time has come.
struct InQueue<'f> {
    of: &'f Fair,
    ticket: Ticket,
}

impl Fair {
    pub(super) fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { free: permits.max(1), queue: Queue::default() }) })
    }

    /// A permit, as soon as it is this client's turn.
    pub(super) async fn take(self: &Arc<Self>, who: &Who, size: u64) -> Result<Held, Crowded> {
        let (granted, ticket) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Held { of: Some(Arc::clone(self)) });
            }
            let (grant, granted) = oneshot::channel();
            (granted, state.queue.push(who, size, grant)?)
        };
        let waiting = InQueue { of: self, ticket };
        let held = granted.await.map_err(|_| Crowded);
        drop(waiting);
        held
    }

    fn give(self: &Arc<Self>, state: &mut State) {
        state.free += 1;
        while state.free > 0
            && let Some(grant) = state.queue.pop()
        {
            match grant.send(Held { of: Some(Arc::clone(self)) }) {
                Ok(()) => state.free -= 1,
                // Its own drop would want the lock that is held here.
                Err(mut unwanted) => unwanted.of = None,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Held {
    /// Gives it on and waits until it comes back, if somebody waits for it. Blocks.
    pub(super) fn pass_on(&mut self, who: &Who, size: u64) -> bool {
        let Some(of) = self.of.clone() else { return false };
        let back = {
            let mut state = of.state();
            if state.queue.head().is_none() {
                return false;
            }
            let (grant, back) = oneshot::channel();
            state.queue.push_again(who, size, grant);
            self.of = None;
            of.give(&mut state);
            back
        };
        match back.blocking_recv() {
            Ok(held) => *self = held,
            // Nobody takes entries away but their owners; going on without a turn is better than to stop for ever.
            Err(_) => self.of = None,
        }
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(of) = self.of.take() {
            of.give(&mut of.state());
        }
    }
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.of.state().queue.remove(&self.ticket);
    }
}
