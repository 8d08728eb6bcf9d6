//! Rows of events that wait for their batch, made ahead on several cores.
//!
//! Making rows is most of the work for a batch, and each row is of its event alone. So the next events of the queue get theirs
//! together, in parts that several threads take, and the batch is then put together in order as if each had been made in its
//! turn. Which events a batch holds, and in which order, does not change by it.
//!
//! The threads are few, the process's own, and stay: what one has in memory serves the next events, however many outputs there
//! are. Whoever wants rows makes them as well, and waits only for parts that somebody has begun. So nothing here can wait for a
//! thread to come free, and without any other thread it takes longer, and that is all.

use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::thread;

use crate::outputs::output::{OutgoingEvent, Output, Row};

/// Events whose rows are made ahead at most: enough that calling others is little beside it.
pub(super) const EVENTS_MAX: usize = 256;
/// The same in bytes of the events: what is made ahead lies in memory beside the batch.
pub(super) const BYTES_MAX: usize = 1 << 20;
/// One part: small, so that the last one is not waited for long.
const PART: usize = 16;
/// More threads than this would only keep the cores from uploads.
const THREADS_MAX: usize = 4;
/// Calls for help that nobody has heard yet. When there are more, nobody has time.
const CALLS_MAX: usize = 64;

/// A row, or why there is none.
pub(super) type Made = Result<Row, String>;

/// The row of an event. One that cannot be made by a fault of ours is no reason to stop all others.
pub(super) fn row(output: &dyn Output, event: &OutgoingEvent) -> Made {
    let made = catch_unwind(AssertUnwindSafe(|| output.row(event)));
    made.unwrap_or_else(|_| Err("making its row failed by a fault of this gateway; its log has the place".to_owned()))
}

/// Does this work on all items, and returns them in their order.
pub(super) fn each<T: Send + 'static>(items: Vec<T>, work: impl Fn(&mut T) + Send + Sync + 'static) -> Vec<T> {
    each_with(&CREW, items, work)
}

fn each_with<T: Send + 'static>(crew: &Crew, items: Vec<T>, work: impl Fn(&mut T) + Send + Sync + 'static) -> Vec<T> {
    let count = items.len();
    let mut items = items.into_iter();
    let parts: Vec<_> = (0..count.div_ceil(PART)).map(|_| Mutex::new(items.by_ref().take(PART).collect())).collect();
    let round = Arc::new(Round {
        left: Mutex::new(parts.len()),
        parts,
        next: AtomicUsize::new(0),
        ended: Condvar::new(),
        work,
    });
    crew.call(&round, round.parts.len().saturating_sub(1));
    round.help();
    let mut left = round.left.lock();
    round.ended.wait_while(&mut left, |left| *left > 0);
    drop(left);
    let mut done = Vec::with_capacity(count);
    for part in &round.parts {
        done.append(&mut part.lock());
    }
    done
}

/// Work on items, in parts that are taken one after the other.
struct Round<T, W> {
    parts: Vec<Mutex<Vec<T>>>,
    /// The part that nobody has taken yet.
    next: AtomicUsize,
    /// How many have not ended.
    left: Mutex<usize>,
    ended: Condvar,
    work: W,
}

/// What a thread can help with.
trait Help: Send + Sync {
    /// Takes parts until all are taken.
    fn help(&self);
}

impl<T: Send, W: Fn(&mut T) + Send + Sync> Help for Round<T, W> {
    fn help(&self) {
        while let Some(part) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let _ended = Ended(self);
            part.lock().iter_mut().for_each(&self.work);
        }
    }
}

/// Counts a part as ended, also one that ends by a panic: whoever waits must not wait for ever.
struct Ended<'r, T, W>(&'r Round<T, W>);

impl<T, W> Drop for Ended<'_, T, W> {
    fn drop(&mut self) {
        *self.0.left.lock() -= 1;
        self.0.ended.notify_all();
    }
}

static CREW: LazyLock<Crew> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Crew::of(cores.min(THREADS_MAX) - 1)
});

/// Threads that help.
struct Crew {
    calls: SyncSender<Arc<dyn Help>>,
    size: usize,
}

impl Crew {
    /// As many of these as the system has.
    fn of(threads: usize) -> Self {
        let (calls, heard) = sync_channel(CALLS_MAX);
        let heard = Arc::new(Mutex::new(heard));
        let begin = |_| {
            let heard = Arc::clone(&heard);
            thread::Builder::new().name("rows".to_owned()).spawn(move || serve(&heard)).is_ok()
        };
        let size = (0..threads).map(begin).filter(|begun| *begun).count();
        Self { calls, size }
    }

    /// Calls as many as there are, but no more than are wanted. Who does not come is not missed.
    fn call<T: Send + 'static, W: Fn(&mut T) + Send + Sync + 'static>(&self, round: &Arc<Round<T, W>>, wanted: usize) {
        for _ in 0..wanted.min(self.size) {
            let call = Arc::clone(round);
            if self.calls.try_send(call).is_err() {
                break;
            }
        }
    }
}

/// Helps whoever calls, until nobody can call any more.
fn serve(heard: &Mutex<Receiver<Arc<dyn Help>>>) {
    loop {
        let call = heard.lock().recv();
        let Ok(call) = call else { return };
        // A panic has been told by its hook; the thread has others to help.
        drop(catch_unwind(AssertUnwindSafe(|| call.help())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_order_however_many_threads_there_are() {
        for threads in [0, 1, 3] {
            let crew = Crew::of(threads);
            for count in [0, 1, PART, PART + 1, 300] {
                let done = each_with(&crew, (0..count).collect(), |item| *item *= 2);
                assert_eq!(done, (0..count).map(|item| item * 2).collect::<Vec<_>>(), "{count} by {threads}");
            }
        }
    }

    #[test]
    fn rounds_of_many_outputs_at_once_all_end() {
        let crew = Crew::of(1);
        thread::scope(|scope| {
            for output in 0..8_usize {
                let crew = &crew;
                scope.spawn(move || {
                    for round in 0..50 {
                        let done = each_with(crew, vec![round; 100], move |item| *item += output);
                        assert_eq!(done, vec![round + output; 100]);
                    }
                });
            }
        });
    }

    #[test]
    fn a_thread_that_panics_helps_again_and_nobody_waits_for_what_it_left() {
        let crew = Crew::of(1);
        for _ in 0..20 {
            let caller = thread::current().id();
            let fails_elsewhere = move |item: &mut usize| {
                assert!(thread::current().id() == caller || *item != 7, "a fault");
                *item += 1;
            };
            let done = each_with(&crew, vec![7; 200], fails_elsewhere);
            assert_eq!(done.len(), 200);
            assert!(done.iter().all(|item| [7, 8].contains(item)));
        }
        let done = each_with(&crew, vec![1; 200], |item| *item += 1);
        assert_eq!(done, vec![2; 200]);
    }
}
