//! The task that says what is this gateway's: one message for everything that waits, and its answer once it was read.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::WORDS;
use super::heard::Inner;
use super::message::{self, HEAD, Name};
use crate::dedup::several::ask::{Answer, Away, Job};

/// What waits is gathered up to so many bytes: each gateway reads a message in one go.
const GATHERED_MAX: usize = 64 << 10;

/// It.
pub(super) struct Speaker {
    inner: Arc<Inner>,
    todo: mpsc::Receiver<Job>,
    /// This process: what another one said in the name of this gateway is not answered here.
    run: u64,
    number: u64,
}

/// A job, and a part of it.
type Place = (usize, usize);

/// A piece, and of what it is.
struct Asked {
    of: Place,
    bytes: Vec<u8>,
}

impl Speaker {
    pub(super) fn new(inner: Arc<Inner>, todo: mpsc::Receiver<Job>) -> Self {
        Self { inner, todo, run: fastrand::u64(..), number: 0 }
    }

    /// Works until nobody can ask any more.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.todo.recv().await {
            let (jobs, asked) = self.gather(first);
            let began = Instant::now();
            let answers = self.say(&jobs, asked).await;
            let counts = &self.inner.board.counts;
            counts.calls.fetch_add(1, Ordering::Relaxed);
            counts.operations.fetch_add(jobs.len() as u64, Ordering::Relaxed);
            counts.micros.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            match answers {
                Ok(answers) => {
                    for (job, answers) in jobs.into_iter().zip(answers) {
                        drop(job.reply.send(Ok(answers)));
                    }
                }
                Err(away) => jobs.into_iter().for_each(|job| job.fail(&away)),
            }
        }
    }

    /// This job and those that wait behind it, as many as one message holds.
    fn gather(&mut self, first: Job) -> (Vec<Job>, Vec<Asked>) {
        let (mut jobs, mut asked, mut bytes) = (Vec::new(), Vec::new(), HEAD);
        let mut next = Some(first);
        while let Some(job) = next {
            for (part, held) in job.ask.parts.iter().enumerate() {
                for piece in message::pieces(held) {
                    bytes += piece.len();
                    asked.push(Asked { of: (jobs.len(), part), bytes: piece });
                }
            }
            jobs.push(job);
            next = if bytes < GATHERED_MAX { self.todo.try_recv().ok() } else { None };
        }
        (jobs, asked)
    }

    /// Says all of it, in as many messages as it takes. A part is won where all of its pieces are.
    async fn say(&mut self, jobs: &[Job], asked: Vec<Asked>) -> Result<Vec<Vec<Answer>>, Away> {
        let mut answers: Vec<Vec<Answer>> = jobs.iter().map(|job| vec![Answer::Ended; job.ask.parts.len()]).collect();
        let mut messages = Vec::new();
        let mut rest = &asked[..];
        while !rest.is_empty() {
            let mut bytes = HEAD;
            let fits = rest.iter().take_while(|asked| {
                bytes += asked.bytes.len();
                bytes <= self.inner.log.message_max()
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            self.number += 1;
            messages.push(self.say_one(Name { run: self.run, number: self.number }, now));
            rest = later;
        }
        for ((job, part), won) in
            join_all(messages).await.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten()
        {
            if !won {
                answers[job][part] = Answer::Lost;
            }
        }
        Ok(answers)
    }

    /// Says these pieces, and waits until they are read.
    fn say_one<'a>(
        &self,
        name: Name,
        asked: &'a [Asked],
    ) -> impl Future<Output = Result<Vec<(Place, bool)>, Away>> + use<'a> {
        let inner = Arc::clone(&self.inner);
        async move {
            let bytes = message::write(name, asked.iter().map(|asked| asked.bytes.as_slice()));
            let (told, read) = oneshot::channel();
            inner.waiting.lock().insert(name, told);
            // Whatever comes of it, nobody waits any more.
            let _forget = Forget(&inner, name);
            let put = inner.log.put(WORDS, None, Bytes::from(bytes)).await;
            put.map_err(|refused| Away { reason: refused.to_string(), refused: false })?;
            let unread = || Away { reason: "what was said is not read in time".to_owned(), refused: false };
            let won = timeout(inner.timeout, read).await.map_err(|_| unread())?.map_err(|_| unread())?;
            Ok(asked.iter().map(|asked| asked.of).zip(won).collect())
        }
    }
}

/// Takes a message off the list of those that are waited for when it is dropped.
struct Forget<'a>(&'a Inner, Name);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().remove(&self.1);
    }
}
