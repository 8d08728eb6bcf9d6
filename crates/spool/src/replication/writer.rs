//! Replicates the log of this gateway: reads what is durable here, and puts it at the servers, one message after the other.
//!
//! One message is on its way at a time, with everything that has become durable meanwhile: as with the sync of the disk, many
//! uploads share one. Where an answer is missing, the servers are asked what they have, and it goes on from there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::message::{Content, HEADER_LEN, Message, pack};
use super::permit::Granted;
use super::replicated::{Replicated, Standing};
use super::servers::{Away, Chain, LogName, Refused, Servers};
use super::state::{State, TakenOver};
use crate::spool::{LogId, Ordinal, RawItem, ReadError, Reader, Spool};

/// How often the state of the log is written: the sign of life.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before the servers are asked again.
const AGAIN: Duration = Duration::from_millis(250);
/// What to do about a log without a name.
const NAMELESS: &str = "the spool was begun by a version that gave logs no names: switch replication off until it is empty, stop the gateway, and move the folder spool of state_dir away";
/// How often a log may be taken over.
const GENERATIONS_MAX: u32 = 1_000_000;

/// Who replicates a log.
#[derive(Debug, Clone)]
pub struct Identity {
    /// A random name of this process.
    pub owner: String,
    /// The name of the gateway, for people.
    pub gateway: String,
    /// By what name its confirmations stand in a shared memory of events, where it has one.
    pub confirms_as: Option<String>,
}

impl Identity {
    /// Of this process.
    pub fn new(gateway: String, confirms_as: Option<String>) -> Self {
        Self { owner: format!("{:032x}", fastrand::u128(..)), gateway, confirms_as }
    }
}

/// Replicates the log of this gateway.
pub struct Writer {
    replicated: Replicated,
    spool: Spool,
    log: LogId,
    servers: Arc<dyn Servers>,
    me: Identity,
    /// For how long a sign of life holds.
    holds: Duration,
}

/// A replica that is written.
struct Session {
    log: LogName,
    state_at: u64,
    log_at: u64,
    until: Ordinal,
    renewed: Instant,
    /// Messages that are still there, with the ordinal behind each.
    kept: VecDeque<(u64, Ordinal)>,
}

/// Why a replica is not written any more.
enum Trouble {
    Away(String),
    Full,
    /// Somebody else has written: see who.
    Overtaken,
    /// Another process writes this log.
    Displaced(String),
    /// Another gateway takes it over, and has not closed it yet.
    BeingTakenOver(String),
    /// An old version made the log, and it has no name that no other log has.
    Nameless,
}

impl From<Away> for Trouble {
    fn from(away: Away) -> Self {
        Self::Away(away.0)
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Overtaken => Self::Overtaken,
            Refused::Full => Self::Full,
            Refused::Away(away) => away.into(),
        }
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        Self::Away(format!("the spool cannot be read for its replica: {error}"))
    }
}

impl Writer {
    /// For this spool. Another gateway takes its log over when it has not heard of it for `takeover_after`.
    pub(super) fn new(
        replicated: Replicated,
        spool: Spool,
        servers: Arc<dyn Servers>,
        me: Identity,
        takeover_after: Duration,
    ) -> Self {
        let log = spool.log();
        Self { replicated, spool, log, servers, me, holds: takeover_after / 2 }
    }

    /// Works until it is dropped, or another process has the log.
    pub async fn run(mut self) {
        loop {
            let trouble = match self.establish().await {
                Ok(session) => self.write(session).await,
                Err(trouble) => trouble,
            };
            let shared = &self.replicated.shared;
            shared.counts.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match trouble {
                Trouble::Overtaken => {}
                Trouble::Away(why) => shared.stand(Standing::Away(why)),
                Trouble::Full => shared.stand(Standing::Full),
                Trouble::BeingTakenOver(by) => {
                    shared.stand(Standing::Lost(format!("gateway {by} is taking the log of this one over")));
                }
                Trouble::Displaced(by) => {
                    return self.end(format!("another process has the log of this gateway: {by}"));
                }
                Trouble::Nameless => return self.end(NAMELESS.to_owned()),
            }
            sleep(AGAIN).await;
        }
    }

    /// Nothing is replicated or sent any more before a person has done something.
    fn end(&self, why: String) {
        let shared = &self.replicated.shared;
        shared.granted.send_modify(|granted| granted.until = None);
        shared.stand(Standing::Lost(why));
    }

    /// Finds the replica that is this gateway's to write, and makes it its own.
    async fn establish(&mut self) -> Result<Session, Trouble> {
        if self.log == LogId::UNKNOWN {
            return Err(Trouble::Nameless);
        }
        let mut handed_over = 0;
        for generation in 0..GENERATIONS_MAX {
            let log = LogName::of(self.log, generation);
            let chain = Chain::State(log.clone());
            let stored = self.servers.last(&chain).await?;
            let former =
                stored.as_ref().map(|stored| State::decode(&stored.bytes)).transpose().map_err(Trouble::Away)?;
            match former.and_then(|state| state.taken_over) {
                Some(TakenOver { until: Some(until), .. }) => {
                    handed_over = handed_over.max(until);
                    continue;
                }
                Some(TakenOver { gateway, .. }) => return Err(Trouble::BeingTakenOver(gateway)),
                None => {}
            }
            let asked = Instant::now();
            let after = stored.map_or(0, |stored| stored.at);
            let state_at = self.servers.append(&chain, after, self.state().encode()).await?;
            return self.begin(log, state_at, asked, handed_over).await;
        }
        Err(Trouble::Away("the log was taken over too often".to_owned()))
    }

    async fn begin(
        &self,
        log: LogName,
        state_at: u64,
        renewed: Instant,
        handed_over: Ordinal,
    ) -> Result<Session, Trouble> {
        let chain = Chain::Log(log.clone());
        // What comes now must not look like something that was handed over, although the end of the log may be lost here.
        self.spool.advance_to(handed_over);
        let end = *self.spool.durable_end().borrow();
        let (log_at, until) = match self.servers.last(&chain).await? {
            Some(stored) => {
                let last = Message::decode(&stored.bytes).map_err(|error| Trouble::Away(error.to_string()))?;
                (stored.at, last.until)
            }
            None => {
                let until = handed_over.max(self.spool.status().first).min(end);
                let head = Message { until, content: Content::Head };
                (self.servers.append(&chain, 0, head.encode()).await?, until)
            }
        };
        if until > end {
            // The replica has what was lost here. This gateway takes its own log over, as that of another one.
            self.spool.advance_to(until);
            return Err(self.give_up(&log, state_at).await);
        }
        let shared = &self.replicated.shared;
        *shared.own.lock() = Some(log.clone());
        shared.hear();
        shared.stand(Standing::Writing);
        let granted = Granted { until: Some(renewed + self.holds), handed_over };
        shared.granted.send_replace(granted);
        shared.reached.send_replace(until);
        Ok(Session { log, state_at, log_at, until, renewed, kept: VecDeque::from([(log_at, until)]) })
    }

    async fn give_up(&self, log: &LogName, state_at: u64) -> Trouble {
        tracing::error!(
            log = log.as_str(),
            "the end of the spool is lost, and its replica has it: the events are taken from there"
        );
        let mut state = self.state();
        let (by, gateway) = (self.me.owner.clone(), self.me.gateway.clone());
        state.taken_over = Some(TakenOver { by, gateway: gateway.clone(), until: None, is_done: false, steps: 0 });
        match self.servers.append(&Chain::State(log.clone()), state_at, state.encode()).await {
            Ok(_) => Trouble::BeingTakenOver(gateway),
            Err(refused) => refused.into(),
        }
    }

    /// Replicates what becomes durable, until that fails.
    async fn write(&self, mut session: Session) -> Trouble {
        match self.write_on(&mut session).await {
            Err(Trouble::Overtaken) => self.who_overtook(&session.log).await,
            Err(trouble) => trouble,
            Ok(never) => match never {},
        }
    }

    async fn write_on(&self, session: &mut Session) -> Result<std::convert::Infallible, Trouble> {
        let mut end = self.spool.durable_end();
        let mut reading = Reading { reader: self.reader(session.until)?, held: None };
        let room = self.servers.message_max();
        loop {
            if session.renewed.elapsed() >= RENEW_EVERY {
                self.renew(session).await?;
            }
            end.mark_unchanged();
            let from = session.until;
            let gathered;
            (reading, gathered) = gather_off(reading, from, room).await;
            let Gathered { records, until } = gathered?;
            if records.is_empty() && until == from {
                tokio::select! {
                    changed = end.changed() => if changed.is_err() { std::future::pending::<()>().await },
                    () = sleep_until(session.renewed + RENEW_EVERY) => {}
                }
                continue;
            }
            if !records.is_empty() {
                for message in pack(records.into(), until, from, room) {
                    self.put(session, message).await?;
                }
            }
            // What is damaged nobody can replicate; who waits for it has its answer.
            session.until = until;
            self.replicated.shared.reached.send_replace(until);
        }
    }

    fn reader(&self, from: Ordinal) -> Result<Reader, Trouble> {
        // What nobody needs any more may have gone before it was replicated.
        Ok(self.spool.reader(from.max(self.spool.status().first))?)
    }

    async fn put(&self, session: &mut Session, message: Message) -> Result<(), Trouble> {
        let chain = Chain::Log(session.log.clone());
        let (until, bytes) = (message.until, message.encode());
        let size = bytes.len();
        loop {
            let began = Instant::now();
            match self.servers.append(&chain, session.log_at, bytes.clone()).await {
                Ok(at) => {
                    session.log_at = at;
                    session.kept.push_back((at, until));
                    self.replicated.count_message(size, began.elapsed());
                    self.replicated.shared.hear();
                    self.replicated.shared.stand(Standing::Writing);
                    return Ok(());
                }
                Err(Refused::Full) => {
                    self.replicated.shared.stand(Standing::Full);
                    sleep_until(session.renewed + RENEW_EVERY).await;
                    self.renew(session).await?;
                }
                Err(refused) => return Err(refused.into()),
            }
            if session.renewed.elapsed() >= RENEW_EVERY {
                self.renew(session).await?;
            }
        }
    }

    /// Gives a sign of life, and removes what no output needs any more.
    async fn renew(&self, session: &mut Session) -> Result<(), Trouble> {
        let asked = Instant::now();
        let chain = Chain::State(session.log.clone());
        session.state_at = self.servers.append(&chain, session.state_at, self.state().encode()).await?;
        session.renewed = asked;
        self.replicated.shared.hear();
        self.replicated.shared.granted.send_modify(|granted| granted.until = Some(asked + self.holds));
        // Whoever cannot say it soon is asked again with the next sign of life: neither that nor the log may wait for it.
        if let Ok(Ok(fill)) = timeout(RENEW_EVERY, self.servers.fill()).await {
            self.replicated.shared.fill(fill);
        }
        let floor = self.replicated.shared.needs().floor();
        let before = session.kept.len();
        // The last message stays: by its place the next one is put.
        while session.kept.len() > 1 && session.kept.front().is_some_and(|(_, until)| *until <= floor) {
            session.kept.pop_front();
        }
        if let Some((first, _)) = session.kept.front().filter(|_| session.kept.len() < before) {
            self.servers.remove(&session.log, *first).await?;
        }
        Ok(())
    }

    fn state(&self) -> State {
        State {
            confirms_as: self.me.confirms_as.clone(),
            at_ms: crate::clock::wall_ms(),
            lows: self.replicated.shared.needs().lows,
            ..State::of(&self.me.owner, &self.me.gateway)
        }
    }

    /// Who has written: this process, whose answer was late, another one with the same log, or who takes it over.
    async fn who_overtook(&self, log: &LogName) -> Trouble {
        let state = match self.servers.last(&Chain::State(log.clone())).await {
            Ok(stored) => stored.and_then(|stored| State::decode(&stored.bytes).ok()),
            Err(away) => return away.into(),
        };
        match state {
            Some(State { taken_over: None, owner, gateway, .. }) if owner != self.me.owner => {
                Trouble::Displaced(gateway)
            }
            _ => Trouble::Overtaken,
        }
    }
}

struct Reading {
    reader: Reader,
    /// What was read and did not fit.
    held: Option<RawItem>,
}

#[derive(Debug)]
struct Gathered {
    records: Vec<u8>,
    until: Ordinal,
}

/// Reads off the async runtime.
async fn gather_off(mut reading: Reading, from: Ordinal, room: usize) -> (Reading, Result<Gathered, Trouble>) {
    let work = move || {
        let gathered = gather(&mut reading, from, room.saturating_sub(HEADER_LEN));
        (reading, gathered)
    };
    let (reading, gathered) =
        tokio::task::spawn_blocking(work).await.expect("reading the spool does not panic and is never cancelled");
    (reading, gathered.map_err(Trouble::from))
}

/// The next records that fit together; one that fits nowhere comes alone.
fn gather(reading: &mut Reading, from: Ordinal, room: usize) -> Result<Gathered, ReadError> {
    let mut gathered = Gathered { records: Vec::new(), until: from };
    loop {
        let next = match reading.held.take() {
            Some(held) => Some(held),
            None => reading.reader.next_raw()?,
        };
        match next {
            None => return Ok(gathered),
            Some(RawItem::Damaged { until }) => gathered.until = gathered.until.max(until),
            Some(RawItem::Raw(raw)) if raw.until <= gathered.until => {}
            Some(RawItem::Raw(raw)) => {
                if !gathered.records.is_empty() && gathered.records.len() + raw.bytes.len() > room {
                    reading.held = Some(RawItem::Raw(raw));
                    return Ok(gathered);
                }
                gathered.records.extend_from_slice(&raw.bytes);
                gathered.until = raw.until;
            }
        }
    }
}
