//! Work that comes to its end, whoever waits for it.
//!
//! A client that hangs up in the middle must not leave events that are durable but whose keys were released, or the next try would
//! forward them twice. A task for each upload would see to that; but nearly every client waits, and a task costs a wake-up and
//! often a change of threads. So the work goes on where it is waited for, and becomes a task only when nobody waits any more.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

/// It panicked, and with what words: a fault of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panicked(pub String);

/// Resolves with what comes of the work.
#[must_use = "it goes on by itself only once it is dropped"]
pub struct ToItsEnd<T: Send + 'static> {
    /// `None` once it has come to its end.
    work: Option<BoxFuture<'static, Result<T, Panicked>>>,
    runtime: Handle,
}

/// Does the work to its end: where this is waited for, and in a task of its own as soon as it is dropped. Call it inside a runtime.
pub fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> ToItsEnd<T> {
    let work = AssertUnwindSafe(work).catch_unwind().map(|ended| ended.map_err(|panic| Panicked(words_of(&*panic))));
    ToItsEnd { work: Some(Box::pin(work)), runtime: Handle::current() }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned())).unwrap_or_default()
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let ended = work.as_mut().poll(cx);
        if ended.is_ready() {
            self.work = None;
        }
        ended
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            // Nobody is left to tell; a runtime that is shut down ends it, as it ends everything.
            drop(self.runtime.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_ends_where_it_is_waited_for_or_by_itself_when_nobody_waits() {
        assert_eq!(to_its_end(async { 7 }).await, Ok(7));
        let work = |ends: oneshot::Receiver<()>, ended: oneshot::Sender<()>| async move {
            ends.await.expect("it is told");
            ended.send(()).expect("somebody looks");
        };
        for is_begun in [false, true] {
            let ((end, ends), (ended, has_ended)) = (oneshot::channel(), oneshot::channel());
            let mut waiting = to_its_end(work(ends, ended));
            if is_begun {
                let waited = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
                assert!(waited.is_err(), "it is not told yet");
            }
            drop(waiting);
            end.send(()).expect("it waits");
            assert_eq!(has_ended.await, Ok(()), "begun: {is_begun}");
        }
    }

    #[tokio::test]
    async fn a_panic_reaches_who_waits_as_a_word_and_not_as_a_panic() {
        assert_eq!(to_its_end(async { panic!("as told") }).await, Err::<(), _>(Panicked("as told".to_owned())));
    }
}
