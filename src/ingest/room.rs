//! Room for uploads, shared out by client.
//!
//! Who waits for it stands in a [`Queue`]: one client after the other, so that nobody's many uploads stand before the one of
//! somebody else. Large uploads together never have more than three quarters, and stand in a queue of their own: the small never wait
//! for one of them. And while a large one waits, the small leave it that part, or it would wait for ever.

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

use tokio::sync::oneshot;

use crate::turns::{Crowded, Queue, Ticket, Who};

/// The part of the room up to which an upload is small.
const SMALL: u32 = 16;

/// Room of a fixed size.
#[derive(Debug)]
pub(super) struct Room {
    bytes: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    small: Class,
    large: Class,
}

/// Uploads that compete with each other.
#[derive(Debug, Default)]
struct Class {
    inside: u32,
    waiting: Queue<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u32,
    grant: oneshot::Sender<Taken>,
}

/// Room that somebody has, given back on drop.
#[derive(Debug)]
pub(super) struct Taken {
    /// `None` once it is nobody's.
    room: Option<Arc<Room>>,
    bytes: u32,
    is_small: bool,
}

/// Leaves the queue when it is dropped before its time has come.
struct InQueue<'r> {
    room: &'r Arc<Room>,
    is_small: bool,
    ticket: Ticket,
}

impl Room {
    pub(super) fn new(bytes: u32) -> Arc<Self> {
        Arc::new(Self { bytes, state: Mutex::default() })
    }

    /// Room for so many bytes, or all there is for one, as soon as it is this client's turn.
    ///
    /// # Errors
    ///
    /// When too much of this client waits.
    pub(super) async fn take(self: &Arc<Self>, who: &Who, bytes: u32) -> Result<Taken, Crowded> {
        let bytes = bytes.clamp(1, self.large_max());
        let is_small = bytes <= self.bytes / SMALL;
        let (granted, ticket) = {
            let mut state = self.state();
            if state.class(is_small).waiting.head().is_none() && self.fits(&mut state, is_small, bytes) {
                return Ok(self.taken(&mut state, is_small, bytes));
            }
            let (grant, granted) = oneshot::channel();
            let waiting = Waiting { bytes, grant };
            (granted, state.class(is_small).waiting.push(who, u64::from(bytes), waiting)?)
        };
        let in_queue = InQueue { room: self, is_small, ticket };
        let taken = granted.await.map_err(|_| Crowded);
        drop(in_queue);
        taken
    }

    /// Whether nobody is inside.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.small.inside == 0 && state.large.inside == 0
    }

    /// The most that large uploads have together.
    fn large_max(&self) -> u32 {
        (self.bytes - self.bytes / 4).max(1)
    }

    fn fits(&self, state: &mut State, is_small: bool, bytes: u32) -> bool {
        let inside = u64::from(state.small.inside) + u64::from(state.large.inside);
        let bytes = u64::from(bytes);
        if !is_small {
            let large = u64::from(state.large.inside) + bytes;
            return large <= u64::from(self.large_max()) && inside + bytes <= u64::from(self.bytes);
        }
        let waits = state.large.waiting.head().map_or(0, |waiting| waiting.bytes);
        let kept = state.large.inside.saturating_add(waits).min(self.large_max()).max(state.large.inside);
        u64::from(state.small.inside) + u64::from(kept) + bytes <= u64::from(self.bytes)
    }

    fn taken(self: &Arc<Self>, state: &mut State, is_small: bool, bytes: u32) -> Taken {
        state.class(is_small).inside += bytes;
        Taken { room: Some(Arc::clone(self)), bytes, is_small }
    }

    /// Lets in who waits, as far as there is room.
    fn let_in(self: &Arc<Self>, state: &mut State) {
        for is_small in [false, true] {
            while let Some(bytes) = state.class(is_small).waiting.head().map(|waiting| waiting.bytes)
                && self.fits(state, is_small, bytes)
                && let Some(waiting) = state.class(is_small).waiting.pop()
            {
                let taken = self.taken(state, is_small, bytes);
                if let Err(mut unwanted) = waiting.grant.send(taken) {
                    // Its own drop would want the lock that is held here.
                    unwanted.room = None;
                    state.class(is_small).inside -= bytes;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn class(&mut self, is_small: bool) -> &mut Class {
        if is_small { &mut self.small } else { &mut self.large }
    }
}

impl Taken {
    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Gives back what is too much, or takes more if that can be had at once. Whether it has as much now, or all there is for
    /// one.
    pub(super) fn resize(&mut self, bytes: u32) -> bool {
        let Some(room) = &self.room else { return false };
        let bytes = bytes.clamp(1, room.large_max());
        let mut state = room.state();
        if bytes > self.bytes && !room.fits(&mut state, self.is_small, bytes - self.bytes) {
            return false;
        }
        let inside = &mut state.class(self.is_small).inside;
        *inside = *inside - self.bytes + bytes;
        self.bytes = bytes;
        room.let_in(&mut state);
        true
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(room) = self.room.take() else { return };
        let mut state = room.state();
        state.class(self.is_small).inside -= self.bytes;
        room.let_in(&mut state);
    }
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        let mut state = self.room.state();
        if state.class(self.is_small).waiting.remove(&self.ticket).is_some() {
            // It may have stood in others' way.
            self.room.let_in(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn who(name: &str) -> Who {
        Who::new(&name.into(), None)
    }

    async fn soon(taking: impl Future<Output = Result<Taken, Crowded>>) -> Option<Taken> {
        tokio::time::timeout(Duration::from_secs(1), taking).await.ok()?.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_small_never_wait_for_the_large_and_leave_them_their_part() {
        let room = Room::new(1600);
        let bomb = soon(room.take(&who("a"), u32::MAX)).await.expect("it is alone");
        let other = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.take(&who("b"), u32::MAX).await }
        });
        tokio::task::yield_now().await;
        let mut inside = Vec::new();
        for _ in 0..4 {
            inside.push(soon(room.take(&who("good"), 100)).await.expect("there is room for the small"));
        }
        assert!(soon(room.take(&who("good"), 100)).await.is_none(), "the rest is for the large");
        drop(bomb);
        let other = other.await.expect("it is not cut").expect("it is its turn");
        assert_eq!(other.bytes(), 1200);
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.take(&who("good"), 100).await }
        });
        tokio::task::yield_now().await;
        drop(inside);
        assert!(waiting.await.expect("it is not cut").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_with_many_uploads_does_not_stand_before_another_with_one() {
        let room = Room::new(100);
        let first = soon(room.take(&who("a"), 60)).await.expect("there is room");
        let (shown, mut order) = tokio::sync::mpsc::channel(8);
        for name in ["a", "a", "a", "a", "b"] {
            let (room, shown) = (Arc::clone(&room), shown.clone());
            tokio::spawn(async move {
                let taken = room.take(&who(name), 60).await;
                shown.try_send(name).expect("there is room");
                drop(taken);
            });
            tokio::task::yield_now().await;
        }
        drop((first, shown));
        let mut got = Vec::new();
        while let Some(name) = order.recv().await {
            got.push(name);
        }
        assert_eq!(got, ["a", "b", "a", "a", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_nothing_behind() {
        let room = Room::new(100);
        let first = soon(room.take(&who("a"), 70)).await.expect("there is room");
        assert!(soon(room.take(&who("b"), 70)).await.is_none());
        drop(first);
        assert!(room.is_empty());
        let second = soon(room.take(&who("c"), 70)).await.expect("there is room");
        let d = who("d");
        let impatient = soon(room.take(&d, 70));
        let small = async {
            let mut inside = Vec::new();
            for _ in 0..5 {
                inside.push(room.take(&who("e"), 6).await.expect("it is its turn"));
            }
            inside.len()
        };
        assert_eq!(tokio::join!(impatient, small).1, 5, "a large one that gave up keeps no room");
        drop(second);
    }
}
