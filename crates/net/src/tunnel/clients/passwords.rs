//! Is a password right? Argon2id answers, which is slow on purpose: hence a few at one time, a bounded queue, a short
//! memory of verdicts, and no answer at all for a source that guesses.
//!
//! Neither passwords nor their hashes are remembered: a verdict is kept under a keyed hash that means nothing outside
//! this process. The stored hash is part of it, so that a changed password counts from the next request on, also when
//! the same `Passwords` outlive a reload.

use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::{Output, PasswordHash};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::throttle::Throttle;

/// Hashes that are computed at one time; each takes a core and about 20 MiB.
const AT_ONCE: usize = 2;

/// Computations that may wait for their turn.
const WAITING_MAX: usize = 64;

/// How long a verdict is remembered.
const RIGHT_FOR: Duration = Duration::from_secs(60);
const WRONG_FOR: Duration = Duration::from_secs(10);

/// A shorter hash is one that lost its end.
const HASH_MIN_BYTES: usize = 16;

/// Verdicts that are remembered at one time.
const VERDICTS_MAX: usize = 4_096;

/// The memory and the queue of password checks. One for the whole process: handles are cheap and share it.
#[derive(Clone)]
pub struct Passwords(Arc<Shared>);

struct Shared {
    key: hmac::Key,
    verdicts: Mutex<HashMap<Mac, Entry>>,
    throttle: Mutex<Throttle>,
    queue: Arc<Semaphore>,
    turns: Semaphore,
    computed: AtomicU64,
}

/// A user's stored hash, or the stand-in for users that do not exist.
pub(super) struct Account {
    hash: PasswordHash,
    fingerprint: [u8; 32],
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// Nobody looked: too many are waiting.
    Busy,
}

type Mac = [u8; 32];

enum Entry {
    Known { right: bool, until: Instant },
    Pending(watch::Receiver<Option<Ended>>),
}

/// How a computation ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Verdict(Verdict),
    /// Its source was closed meanwhile. Who waits from elsewhere asks again.
    Abandoned,
}

enum Found {
    Verdict(Verdict),
    Wait(watch::Receiver<Option<Ended>>),
}

impl Account {
    /// From a hash in PHC form; none if it is not one of Argon2id.
    pub(super) fn parse(phc: &str) -> Option<Self> {
        let hash = PasswordHash::new(phc).ok()?;
        let usable = hash.algorithm.as_str() == "argon2id"
            && hash.salt.is_some()
            && hash.hash.as_ref().is_some_and(|output| output.len() >= HASH_MIN_BYTES)
            && argon2::Params::try_from(&hash).is_ok();
        usable.then(|| Self::of(hash))
    }

    fn of(hash: PasswordHash) -> Self {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, hash.to_string().as_bytes()).as_ref());
        Self { hash, fingerprint }
    }

    /// What checking against it costs, to compare.
    pub(super) fn cost(&self) -> u64 {
        argon2::Params::try_from(&self.hash).map_or(0, |params| u64::from(params.m_cost()) * u64::from(params.t_cost()))
    }

    /// An account that costs as much as this one and that no password opens.
    pub(super) fn stand_in(&self) -> Option<Self> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let length = self.hash.hash.as_ref()?.len().min(bytes.len());
        let hash = PasswordHash { hash: Some(Output::new(&bytes[..length]).ok()?), ..self.hash.clone() };
        Some(Self::of(hash))
    }
}

impl Passwords {
    /// With an empty memory. Fails when the system gives no random bytes.
    pub fn new() -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Self(Arc::new(Shared {
            key,
            verdicts: Mutex::default(),
            throttle: Mutex::default(),
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING_MAX)),
            turns: Semaphore::new(AT_ONCE),
            computed: AtomicU64::new(0),
        })))
    }

    /// Hashes computed so far.
    pub fn computed(&self) -> u64 {
        self.0.computed.load(Ordering::Relaxed)
    }

    /// Whether `password` opens the account of `user`, as somebody at `source` says.
    pub(super) async fn check(&self, source: IpAddr, user: &str, password: &str, account: &Arc<Account>) -> Verdict {
        let mac = self.0.mac(user, password, account);
        loop {
            let mut ended = match self.find(source, password, account, mac) {
                Found::Verdict(verdict) => return verdict,
                Found::Wait(ended) => ended,
            };
            let verdict = ended.wait_for(Option::is_some).await.map(|ended| *ended);
            match verdict {
                Ok(Some(Ended::Verdict(verdict))) => return verdict,
                Ok(Some(Ended::Abandoned)) => {}
                Ok(None) | Err(_) => return Verdict::Busy,
            }
        }
    }

    /// A closed source does not even reach the memory: there it could guess at full speed.
    fn find(&self, source: IpAddr, password: &str, account: &Arc<Account>, mac: Mac) -> Found {
        let now = Instant::now();
        if self.0.throttle().closed(source, now) {
            return Found::Verdict(Verdict::Wrong);
        }
        let mut verdicts = self.0.verdicts();
        match verdicts.get(&mac) {
            Some(Entry::Known { right, until }) if now < *until => {
                return Found::Verdict(if *right { Verdict::Right } else { Verdict::Wrong });
            }
            Some(Entry::Pending(ended)) => return Found::Wait(ended.clone()),
            Some(Entry::Known { .. }) | None => {}
        }
        let Ok(place) = Arc::clone(&self.0.queue).try_acquire_owned() else { return Found::Verdict(Verdict::Busy) };
        make_room(&mut verdicts, now);
        let (tell, ended) = watch::channel(None);
        verdicts.insert(mac, Entry::Pending(ended.clone()));
        drop(verdicts);
        let job = Job { source, password: password.to_owned(), account: Arc::clone(account), mac, place };
        let shared = Arc::clone(&self.0);
        // A task of its own, because others may wait for it after the client that began it has gone.
        tokio::spawn(async move { tell.send_replace(Some(shared.run(job).await)) });
        Found::Wait(ended)
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("computed", &self.computed()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One hash to compute.
struct Job {
    source: IpAddr,
    password: String,
    account: Arc<Account>,
    mac: Mac,
    place: OwnedSemaphorePermit,
}

impl Shared {
    fn mac(&self, user: &str, password: &str, account: &Account) -> Mac {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&account.fingerprint);
        context.update(&(user.len() as u64).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    async fn run(&self, job: Job) -> Ended {
        let Job { source, password, account, mac, place } = job;
        // Never closed, so that the turn always comes.
        let turn = self.turns.acquire().await;
        if self.throttle().closed(source, Instant::now()) {
            self.verdicts().remove(&mac);
            return Ended::Abandoned;
        }
        self.computed.fetch_add(1, Ordering::Relaxed);
        let right = tokio::task::spawn_blocking(move || {
            Argon2::default().verify_password(password.as_bytes(), &account.hash).is_ok()
        });
        let right = right.await;
        drop((turn, place));
        let now = Instant::now();
        let Ok(right) = right else {
            self.verdicts().remove(&mac);
            return Ended::Verdict(Verdict::Busy);
        };
        if !right {
            self.throttle().wrong(source, now);
        }
        let until = now + if right { RIGHT_FOR } else { WRONG_FOR };
        self.verdicts().insert(mac, Entry::Known { right, until });
        Ended::Verdict(if right { Verdict::Right } else { Verdict::Wrong })
    }

    fn verdicts(&self) -> MutexGuard<'_, HashMap<Mac, Entry>> {
        self.verdicts.lock()
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock()
    }
}

/// What is pending stays: others wait for it, and the queue bounds it.
fn make_room(verdicts: &mut HashMap<Mac, Entry>, now: Instant) {
    if verdicts.len() < VERDICTS_MAX {
        return;
    }
    verdicts.retain(|_, entry| !matches!(entry, Entry::Known { until, .. } if *until <= now));
    while verdicts.len() >= VERDICTS_MAX {
        let known = verdicts.iter().find(|(_, entry)| matches!(entry, Entry::Known { .. }));
        let Some(mac) = known.map(|(mac, _)| *mac) else { return };
        verdicts.remove(&mac);
    }
}

#[cfg(test)]
#[path = "passwords_tests.rs"]
pub(super) mod tests;
