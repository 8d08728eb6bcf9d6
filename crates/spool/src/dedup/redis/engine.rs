//! The engine as its users see it: one call for all uploads that wait, and a standing that says how it is.
//!
//! One task owns the connection. While a call is on its way, what comes gathers; the next call takes all of it. So an upload costs
//! the engine a share of a call, and never more than one round trip for its claim and one for its confirmation. While the
//! engine is away, whoever asks is told so at once, after a short patience: a server that restarts is back within it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::call::{self, Called, weight};
use super::config::Config;
use super::connect::Trouble;
use super::documents;
use super::neighbours::Presence;
use super::session::{Names, Session};
use crate::dedup::several::ask::{Answer, Ask, Away, Job};
use crate::dedup::several::engine::{Board, Engine, Watcher};
use crate::shared::Revisions;

/// For how long whoever asks waits for an engine that has just gone.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the engine is looked at, and told that this gateway lives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Jobs that wait for a call: more than uploads fit into the gateway.
const JOBS_MAX: usize = 4_096;
/// Between two tries to connect: from, to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) names: Names,
    pub(super) board: Arc<Board>,
    /// Which revisions of documents there are, while the engine is there.
    pub(super) revisions: watch::Sender<Revisions>,
    /// Which filling of the engine answers, while one does.
    pub(super) filling: watch::Sender<Option<u64>>,
    /// With the generation that it was found with.
    connection: Mutex<Option<(MultiplexedConnection, String)>>,
}

impl Shared {
    /// The connection, while there is one, for what is not asked of the worker; and the generation of the engine behind it.
    pub(super) fn connection(&self) -> Option<(MultiplexedConnection, String)> {
        self.connection.lock().clone()
    }
}

/// Asks the worker.
pub(super) struct Asker {
    jobs: mpsc::Sender<Job>,
}

/// What an engine is asked with, what others may ask of it, and the task that has to run for it.
pub(super) fn open(config: Config, board: Arc<Board>, check: String) -> (Asker, Arc<Shared>, Worker) {
    let shared = Arc::new(Shared {
        names: Names::new(&config.prefix),
        config,
        board,
        revisions: watch::Sender::new(None),
        filling: watch::Sender::new(None),
        connection: Mutex::default(),
    });
    let (jobs, todo) = mpsc::channel(JOBS_MAX);
    let worker = Worker {
        shared: Arc::clone(&shared),
        todo,
        again: Vec::new(),
        check,
        presence: Presence::default(),
        pause: PAUSES.0,
    };
    (Asker { jobs }, shared, worker)
}

impl Engine for Asker {
    fn ask(&self, ask: Ask) -> BoxFuture<'_, Result<Vec<Answer>, Away>> {
        let (reply, answer) = oneshot::channel();
        let gone = || Away { reason: "the gateway stops".to_owned(), refused: false };
        Box::pin(async move {
            self.jobs.send(Job { ask, reply }).await.map_err(|_| gone())?;
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }

    fn tell(&self, ask: Ask) {
        // Where there is no room, or nobody any more because the gateway stops, a claim ends with its lease.
        drop(self.jobs.try_send(Job { ask, reply: oneshot::channel().0 }));
    }
}

/// The task that owns the connection.
pub(super) struct Worker {
    shared: Arc<Shared>,
    todo: mpsc::Receiver<Job>,
    /// Jobs that an engine which had forgotten did not do.
    again: Vec<Job>,
    check: String,
    presence: Presence,
    pause: Duration,
}

impl Worker {
    /// Works until nobody can ask any more.
    pub(super) async fn run(mut self, watcher: Arc<dyn Watcher>) {
        let mut since = Instant::now();
        while !self.todo.is_closed() {
            match self.connect(since).await {
                Ok(mut session) => {
                    let identity = session.identity();
                    self.shared.board.set_identity(identity);
                    watcher.connected(identity);
                    self.show(&session);
                    *self.shared.connection.lock() = Some((session.connection.clone(), session.generation.clone()));
                    self.shared.filling.send_replace(Some(identity));
                    let began = Instant::now();
                    let trouble = self.serve(&mut session).await;
                    since = Instant::now();
                    self.lose(&trouble, since);
                    if since - began > LOOK_EVERY * 2 {
                        self.pause = PAUSES.0;
                    } else {
                        // One that takes connections and is of no use is not to be asked without end.
                        self.wait(since).await;
                    }
                }
                Err(trouble) => {
                    self.lose(&trouble, since);
                    self.wait(since).await;
                }
            }
        }
    }

    /// Connects while whoever asks is told that the engine is away.
    async fn connect(&mut self, since: Instant) -> Result<Session, Trouble> {
        let (shared, check) = (Arc::clone(&self.shared), self.check.clone());
        let mut presence = std::mem::take(&mut self.presence);
        let opening = async {
            let session = Session::open(&shared.config, &shared.names, &check).await?;
            // Also for what it may not: it is found here, before anybody relies on it.
            shared.board.set_neighbours(presence.meet(&shared, &session).await?);
            Ok(session)
        };
        let session = self.refuse_until(since, opening).await;
        self.presence = presence;
        session
    }

    /// Waits for something, while whoever asks is told that the engine is away.
    async fn refuse_until<T>(&mut self, since: Instant, done: impl Future<Output = T>) -> T {
        tokio::pin!(done);
        loop {
            tokio::select! {
                done = &mut done => return done,
                () = self.refuse_next(since) => {}
            }
        }
    }

    async fn wait(&mut self, since: Instant) {
        let until = Instant::now() + self.pause.mul_f64(0.5 + fastrand::f64());
        self.pause = (self.pause * 2).min(PAUSES.1);
        if !self.todo.is_closed() || !self.todo.is_empty() {
            self.refuse_until(since, tokio::time::sleep_until(until)).await;
        }
    }

    /// Refuses the next one who asks, once the patience is over.
    async fn refuse_next(&mut self, since: Instant) {
        tokio::time::sleep_until(since + PATIENCE).await;
        let away = self.shared.board.away();
        for job in self.again.drain(..) {
            job.fail(&away);
        }
        match self.todo.recv().await {
            Some(job) => job.fail(&away),
            None => std::future::pending().await,
        }
    }

    fn show(&self, session: &Session) {
        self.shared.board.show(session.address.clone(), session.about.told());
    }

    fn lose(&self, trouble: &Trouble, since: Instant) {
        self.shared.filling.send_replace(None);
        *self.shared.connection.lock() = None;
        self.shared.revisions.send_replace(None);
        let refused = matches!(trouble, Trouble::Refused(_));
        self.shared.board.lose(Away { reason: trouble.to_string(), refused }, since);
    }

    /// Works with a connection until it is of no use any more; says why.
    async fn serve(&mut self, session: &mut Session) -> Trouble {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = std::mem::take(&mut self.again);
            if !again.is_empty()
                && let Err(trouble) = self.work(session, again).await
            {
                return trouble;
            }
            // The look goes first: a gateway that is never idle must not miss that the engine is another one, nor seem dead.
            tokio::select! {
                biased;
                _ = look.tick() => {
                    if let Err(trouble) = self.look(session).await {
                        return trouble;
                    }
                }
                job = self.todo.recv() => {
                    let Some(job) = job else { return Trouble::Away("the gateway stops".to_owned()) };
                    let jobs = self.gather(job);
                    if let Err(trouble) = self.work(session, jobs).await {
                        return trouble;
                    }
                }
            }
        }
    }

    /// This one and those that wait behind it, as many as one call may hold.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut gathered = weight(&first);
        let mut jobs = vec![first];
        while gathered < call::WEIGHT_MAX
            && let Ok(job) = self.todo.try_recv()
        {
            gathered += weight(&job);
            jobs.push(job);
        }
        jobs
    }

    async fn work(&mut self, session: &mut Session, jobs: Vec<Job>) -> Result<(), Trouble> {
        let began = Instant::now();
        let counts = &self.shared.board.counts;
        counts.operations.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        counts.calls.fetch_add(1, Ordering::Relaxed);
        let called = call::call(&self.shared, session, jobs).await;
        counts.micros.fetch_add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        match called {
            Called::Done => Ok(()),
            Called::Forgot(jobs) => {
                self.again = jobs;
                Err(Trouble::Away("it has forgotten what it knew".to_owned()))
            }
            Called::Failed(trouble) => Err(trouble),
        }
    }

    async fn look(&mut self, session: &mut Session) -> Result<(), Trouble> {
        session.look(&self.shared.names).await?;
        self.show(session);
        let neighbours = self.presence.meet(&self.shared, session).await?;
        self.shared.board.set_neighbours(neighbours);
        let revisions = Some(documents::revisions(session, &self.shared.names.revisions()).await?);
        self.shared.revisions.send_if_modified(|shown| std::mem::replace(shown, revisions.clone()) != revisions);
        Ok(())
    }
}
