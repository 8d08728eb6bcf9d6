//! Questions about bookmarks that wait are asked together, so that a thousand hosts cost no thousand round trips.
//!
//! While a call is on its way, what comes gathers; the next call takes all of it, up to a bound in places and in bytes.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::shared::Away;
use crate::shared::entries::{Entries, Found, Place, Write};

/// Most places of one call.
const TOGETHER_MAX: usize = 256;
/// Most bytes of one call, but for a single bookmark that is longer.
const BYTES_MAX: usize = 1 << 20;
/// Most that waits; whoever brings more waits before.
const WAITING_MAX: usize = 4096;

/// Asks.
#[derive(Clone)]
pub(super) struct Together(mpsc::Sender<Asked>);

enum Asked {
    Read(Place, oneshot::Sender<Result<Found, Away>>),
    Write(Write, oneshot::Sender<Result<bool, Away>>),
}

impl Together {
    /// Asks these, with a task of its own that ends with the last clone.
    pub(super) fn new(entries: Arc<dyn Entries>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(run(entries, receiver));
        Self(sender)
    }

    pub(super) async fn read(&self, place: Place) -> Result<Found, Away> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Asked::Read(place, reply)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    pub(super) async fn write(&self, write: Write) -> Result<bool, Away> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Asked::Write(write, reply)).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn ended() -> Away {
    Away("the gateway stops".to_owned())
}

async fn run(entries: Arc<dyn Entries>, mut asked: mpsc::Receiver<Asked>) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
        let (mut places, mut readers) = (Vec::new(), Vec::new());
        let (mut writes, mut writers) = (Vec::new(), Vec::new());
        for asked in waiting.drain(..) {
            match asked {
                Asked::Read(place, reply) => {
                    places.push(place);
                    readers.push(reply);
                }
                Asked::Write(write, reply) => {
                    writes.push(write);
                    writers.push(reply);
                }
            }
        }
        tokio::join!(read(&*entries, places, readers), write(&*entries, writes, writers));
    }
}

async fn read(entries: &dyn Entries, places: Vec<Place>, readers: Vec<oneshot::Sender<Result<Found, Away>>>) {
    if !places.is_empty() {
        answer(entries.read(places).await, readers);
    }
}

async fn write(entries: &dyn Entries, writes: Vec<Write>, writers: Vec<oneshot::Sender<Result<bool, Away>>>) {
    let mut writers = writers.into_iter();
    for part in parts(writes) {
        let of_part = writers.by_ref().take(part.len()).collect();
        answer(entries.write(part).await, of_part);
    }
}

/// In pieces that one call may hold.
fn parts(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let (mut parts, mut bytes) = (Vec::<Vec<Write>>::new(), 0);
    for write in writes {
        let length = write.document.content.len();
        match parts.last_mut().filter(|_| bytes + length <= BYTES_MAX) {
            Some(part) => part.push(write),
            None => {
                parts.push(vec![write]);
                bytes = 0;
            }
        }
        bytes += length;
    }
    parts
}

/// Gives everybody his part of the answer. Who does not wait any more has lost nothing.
fn answer<T>(answers: Result<Vec<T>, Away>, waiting: Vec<oneshot::Sender<Result<T, Away>>>) {
    match answers {
        Ok(answers) => waiting.into_iter().zip(answers).for_each(|(reply, one)| drop(reply.send(Ok(one)))),
        Err(away) => waiting.into_iter().for_each(|reply| drop(reply.send(Err(away.clone())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Document;

    #[test]
    fn one_call_holds_no_more_than_a_bound_and_nothing_is_left_out() {
        let write = |length: usize| {
            let place = Place { group: "g".to_owned(), owner: "o".to_owned() };
            let document = Document { revision: "1".to_owned(), content: vec![b'x'; length] };
            Write { place, seen: None, document }
        };
        let lengths = |lengths: &[usize]| -> Vec<usize> {
            parts(lengths.iter().map(|length| write(*length)).collect()).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(&[]), Vec::<usize>::new());
        assert_eq!(lengths(&[1, 1, 1]), [3]);
        assert_eq!(lengths(&[BYTES_MAX, 1, BYTES_MAX - 1, 1]), [1, 2, 1]);
        assert_eq!(lengths(&[2 * BYTES_MAX, 2 * BYTES_MAX]), [1, 1]);
    }
}
