//! The task that reads what all gateways say, and knows whether it is the stream that it was.
//!
//! Two kinds of signs stand in the stream. The *filling* is one name for all: whoever finds none, or finds that the end of the stream
//! was lost, puts another one. And each gateway has a sign of its own, which it renews, so that it lies near the end of the stream. A
//! gateway's own words about what it has not decided yet are younger than its sign, or older by seconds. So as long as the sign is there and
//! young, they are there too, and count. When a stream is opened the sign is written anew in the place of the one that was read: it is
//! refused where somebody has emptied the stream meanwhile. What the signs are makes the identity of the stream
//! for this gateway, and what was taken under another one is never dropped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::super::connection::View;
use super::super::servers::{Away, Refused};
use super::heard::Inner;
use super::log::{Entries, Entry};
use super::replica::Replica;
use super::{FILLING, WORDS};
use crate::dedup::several::Watcher;
use crate::dedup::several::ask::Away as NotThere;
use crate::dedup::several::engine::About;

/// How often the stream is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to open it: from, to.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A stream that is not read for so long is away; elections take less. What was read before is good meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
/// Looks in a row at which there is something to read and nothing comes, until it is read from another place.
const STALLED_MAX: u32 = 3;
/// Looks in a row at which the leader does not know what was read, until it is lost.
const DOUBTS_MAX: u32 = 3;
/// Servers that take smaller messages than this cannot be used: a page of keys must fit.
const MESSAGE_MIN: usize = 128 << 10;
/// A sign is renewed when a sixteenth of the window has gone by, and counts for half of it.
const RENEWED_AFTER: u32 = 16;
const COUNTS_FOR: u32 = 2;

/// It.
pub(super) struct Follower {
    inner: Arc<Inner>,
    /// Where this gateway's own sign is.
    own: String,
    known: Known,
    /// The end of the stream was lost: it is another filling.
    is_less: bool,
    /// Looks in a row at which the leader did not know what was read. One that leads newly may come after whoever is read from.
    doubts: u32,
}

/// What is known of the stream.
#[derive(Debug, Default)]
struct Known {
    created: String,
    /// The last message that was read, and its hash.
    at: u64,
    hash: u64,
    filling: Option<Sign>,
    own: Option<Sign>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sign {
    at: u64,
    time_s: u32,
    text: String,
}

/// Why it goes on no more.
#[derive(Debug)]
enum Trouble {
    /// Time may mend it; what was read stays.
    Away(String),
    /// It is another filling than it was: it is read from its beginning.
    Another,
    /// A person must mend it.
    Refused(String),
}

impl From<Away> for Trouble {
    fn from(Away(reason): Away) -> Self {
        Self::Away(reason)
    }
}

impl Follower {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let own = format!("gateway.{}", inner.board.gateway.name());
        Self { inner, own, known: Known::default(), is_less: false, doubts: 0 }
    }

    /// Reads for ever; `watcher` learns when all was read that there is.
    pub(super) async fn run(mut self, watcher: Arc<dyn Watcher>) {
        let (mut since, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            let trouble = match self.open().await {
                Ok((entries, view)) => {
                    self.begin(&view, &watcher).await;
                    pause = PAUSES.0;
                    let trouble = self.follow(entries).await;
                    since = Instant::now();
                    trouble
                }
                Err(trouble) => trouble,
            };
            self.lose(trouble, since);
            tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn lose(&mut self, trouble: Trouble, since: Instant) {
        let (reason, refused) = match trouble {
            Trouble::Away(reason) => (reason, false),
            Trouble::Refused(reason) => (reason, true),
            Trouble::Another => {
                self.forget();
                ("it has forgotten what it knew".to_owned(), false)
            }
        };
        let is_loaded = self.inner.is_loaded.load(Ordering::Acquire);
        if refused || !is_loaded || since.elapsed() > PATIENCE {
            self.inner.board.lose(NotThere { reason, refused }, since);
        }
    }

    fn forget(&mut self) {
        self.inner.is_loaded.store(false, Ordering::Release);
        self.known = Known::default();
        self.inner.replica.lock().replica = Replica::new(self.inner.window_s, self.inner.most_bytes);
    }

    /// Reads all that there is, and puts the signs.
    async fn open(&mut self) -> Result<(Entries, View), Trouble> {
        let view = self.inner.log.look().await?;
        if self.inner.log.message_max() < MESSAGE_MIN {
            return Err(Trouble::Refused(format!(
                "the servers of NATS take messages of {} bytes at most: set max_payload to 1 MB, the default, there",
                self.inner.log.message_max()
            )));
        }
        match self.compare(&view).await {
            Ok(()) => {}
            Err(Trouble::Another) => {
                self.forget();
                self.known.created.clone_from(&view.created);
            }
            Err(trouble) => return Err(trouble),
        }
        let mut entries = self.inner.log.follow(self.known.at + 1).await?;
        if view.first <= view.last {
            self.read_until(&mut entries, view.last).await?;
        }
        self.settle_filling(&mut entries).await?;
        self.renew_own(&mut entries).await?;
        Ok((entries, view))
    }

    /// Whether it is the stream that was read, with all that was read of it. Places are given anew where servers lost the end, so it
    /// is not enough that there is something at the last one.
    async fn compare(&mut self, view: &View) -> Result<(), Trouble> {
        if view.created != self.known.created {
            return Err(Trouble::Another);
        }
        if self.known.at == 0 {
            return Ok(());
        }
        match self.inner.log.get(self.known.at).await? {
            Some(there) if there.at == self.known.at && hash(&there.bytes) == self.known.hash => {
                self.doubts = 0;
                return Ok(());
            }
            None if self.doubts < DOUBTS_MAX && view.last < self.known.at => {
                self.doubts += 1;
                return Err(Trouble::Away("its leader does not know all that was told of it".to_owned()));
            }
            // What is there is another message, or all up to it was removed.
            Some(there) => self.is_less |= there.at == self.known.at,
            None => self.is_less |= view.last < self.known.at,
        }
        self.doubts = 0;
        Err(Trouble::Another)
    }

    async fn begin(&mut self, view: &View, watcher: &Arc<dyn Watcher>) {
        let identity = self.identity();
        self.inner.board.set_identity(identity);
        self.inner.is_loaded.store(true, Ordering::Release);
        watcher.connected(identity);
        self.show(view).await;
    }

    /// Which filling it is, for this gateway.
    fn identity(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        hasher.write(self.known.created.as_bytes());
        for sign in [&self.known.filling, &self.known.own].into_iter().flatten() {
            hasher.write(sign.text.as_bytes());
        }
        hasher.finish()
    }

    async fn show(&self, view: &View) {
        let Ok((address, version)) = self.inner.log.server().await else { return };
        let (memory, has_no_room) = {
            let heard = self.inner.replica.lock();
            (heard.replica.bytes(), heard.replica.is_full())
        };
        let is_short = view.at_s - view.first_s < i64::from(self.inner.window_s);
        let about = About {
            version,
            policy: "limits".to_owned(),
            evicted: 0,
            evicts: has_no_room || (view.is_full && is_short),
            memory: Some(memory as u64),
        };
        self.inner.board.show(address, about);
    }

    /// Sees to it that there is a filling, and that it is one of gateways with the same secret.
    async fn settle_filling(&mut self, entries: &mut Entries) -> Result<(), Trouble> {
        loop {
            let after = match &self.known.filling {
                Some(filling) if !self.is_less => return self.check(&filling.text),
                filling => filling.as_ref().map_or(0, |filling| filling.at),
            };
            let text = format!("{} {}", new_sign(), self.inner.check);
            match self.put(FILLING, after, text).await {
                Ok(at) => {
                    self.is_less = false;
                    self.read_until(entries, at).await?;
                }
                // Another gateway was faster, or somebody has emptied the stream.
                Err(Refused::Overtaken) if after == 0 => self.read_one(entries).await?,
                Err(Refused::Overtaken) => return Err(Trouble::Another),
                Err(refused) => return Err(Trouble::Away(refused.to_string())),
            }
        }
    }

    fn check(&self, filling: &str) -> Result<(), Trouble> {
        if filling.ends_with(&self.inner.check) {
            return Ok(());
        }
        Err(Trouble::Refused(
            "dedup.secret is another one than that of the gateways which share these servers: every event would look new"
                .to_owned(),
        ))
    }

    /// Renews the sign of this gateway; where the one that was there is too old to count, it is another one.
    async fn renew_own(&mut self, entries: &mut Entries) -> Result<(), Trouble> {
        let before = self.known.own.clone();
        let text = before.as_ref().map_or_else(new_sign, |sign| sign.text.clone());
        let now = self.put_own(text, entries).await?;
        let counts_for = self.inner.window_s / COUNTS_FOR;
        if before.is_some_and(|before| now.time_s.saturating_sub(before.time_s) >= counts_for) {
            self.put_own(new_sign(), entries).await?;
        }
        Ok(())
    }

    async fn put_own(&mut self, text: String, entries: &mut Entries) -> Result<Sign, Trouble> {
        let after = self.known.own.as_ref().map_or(0, |sign| sign.at);
        let own = self.own.clone();
        let at = match self.put(&own, after, text).await {
            Ok(at) => at,
            Err(Refused::Overtaken) => return Err(Trouble::Another),
            Err(refused) => return Err(Trouble::Away(refused.to_string())),
        };
        self.read_until(entries, at).await?;
        self.known.own.clone().ok_or(Trouble::Another)
    }

    async fn put(&self, place: &str, after: u64, text: String) -> Result<u64, Refused> {
        self.inner.log.put(place, Some(after), Bytes::from(text)).await
    }

    async fn read_until(&mut self, entries: &mut Entries, at: u64) -> Result<(), Trouble> {
        while self.known.at < at {
            self.read_one(entries).await?;
        }
        Ok(())
    }

    async fn read_one(&mut self, entries: &mut Entries) -> Result<(), Trouble> {
        match timeout(self.inner.timeout, entries.next()).await {
            Ok(Some(entry)) => self.take(entry?),
            Ok(None) => Err(Trouble::Away("the stream of what was seen ends".to_owned())),
            Err(_) => Err(Trouble::Away("the servers of NATS do not tell what was seen in time".to_owned())),
        }
    }

    /// Takes a message in.
    fn take(&mut self, Entry { at, time_s, place, bytes }: Entry) -> Result<(), Trouble> {
        if at <= self.known.at {
            return Ok(());
        }
        (self.known.at, self.known.hash) = (at, hash(&bytes));
        let mut heard = self.inner.replica.lock();
        heard.at = Instant::now();
        if place == WORDS {
            match heard.replica.apply(&bytes, time_s) {
                Ok((name, won)) => {
                    if let Some(waits) = self.inner.waiting.lock().remove(&name) {
                        drop(waits.send(won));
                    }
                }
                Err(error) => tracing::error!(at, %error, "its events count as new"),
            }
            return Ok(());
        }
        heard.replica.note_time(time_s);
        drop(heard);
        let sign = Sign { at, time_s, text: String::from_utf8_lossy(&bytes).into_owned() };
        if place == FILLING {
            let is_other = self.known.filling.as_ref().is_some_and(|known| known.text != sign.text);
            self.known.filling = Some(sign);
            // While it is opened nothing was decided with it yet.
            if is_other && self.inner.is_loaded.load(Ordering::Acquire) {
                return Err(Trouble::Another);
            }
        } else if place == self.own {
            self.known.own = Some(sign);
        }
        Ok(())
    }

    /// Reads what comes, and looks at the stream, until something is wrong.
    async fn follow(&mut self, mut entries: Entries) -> Trouble {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stalled, mut seen_at) = (0, self.known.at);
        loop {
            tokio::select! {
                // The look goes first: a stream that never pauses must not hide that it is another one.
                biased;
                _ = look.tick() => match self.look(&mut entries).await {
                    Ok(true) if self.known.at == seen_at => stalled += 1,
                    Ok(_) => stalled = 0,
                    Err(trouble) => return trouble,
                },
                entry = entries.next() => {
                    let taken = match entry {
                        Some(entry) => entry.map_err(Trouble::from).and_then(|entry| self.take(entry)),
                        None => Err(Trouble::Away("the stream of what was seen ends".to_owned())),
                    };
                    if let Err(trouble) = taken {
                        return trouble;
                    }
                    continue;
                }
            }
            seen_at = self.known.at;
            if stalled >= STALLED_MAX {
                return Trouble::Away("the servers of NATS do not tell what was seen".to_owned());
            }
        }
    }

    /// Looks whether it is the stream that it was, and renews the signs; whether there is something that was not read yet.
    async fn look(&mut self, entries: &mut Entries) -> Result<bool, Trouble> {
        let view = self.inner.log.look().await?;
        self.compare(&view).await?;
        if view.first > self.known.own.as_ref().map_or(0, |sign| sign.at) {
            return Err(Trouble::Another);
        }
        let is_unread = view.last > self.known.at;
        self.show(&view).await;
        let renewed_after_s = self.inner.window_s / RENEWED_AFTER;
        let (newest_s, is_idle) = {
            let mut heard = self.inner.replica.lock();
            heard.replica.sweep(u32::try_from(view.first_s).unwrap_or_default());
            // Without a message the newest time stands still, and signs would not be renewed.
            (heard.replica.newest_s(), heard.at.elapsed().as_secs() > u64::from(renewed_after_s))
        };
        let is_due = |sign: &Sign| {
            newest_s.saturating_sub(sign.time_s) > renewed_after_s
                || (view.is_full && sign.at < view.first + (view.last - view.first) / 2)
        };
        if let Some(own) = self.known.own.clone().filter(|sign| is_idle || is_due(sign)) {
            self.put_own(own.text, entries).await?;
        }
        if let Some(filling) = self.known.filling.clone().filter(is_due) {
            match self.put(FILLING, filling.at, filling.text).await {
                // Another gateway renews it as well.
                Ok(_) | Err(Refused::Overtaken) => {}
                Err(refused) => return Err(Trouble::Away(refused.to_string())),
            }
        }
        Ok(is_unread)
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

fn new_sign() -> String {
    format!("{:032x}", fastrand::u128(..))
}
