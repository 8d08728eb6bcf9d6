//! The keys that sign tokens: made here, kept in a folder, changed from time to time.
//!
//! A key is on the disk, readable by its owner alone, before the first token is signed with it: no restart and no other
//! gateway ever meets a token whose key is lost. Each file is named by the second of its making and the id of its key, so the
//! folder alone tells which one signs and how long an old one is needed (until the last token that it may have signed before
//! its successor came has ended). Gateways share a folder without talking to each other: a new key lies there for
//! [`LEAD_SECONDS`] before it signs, so that the others have seen it. Those that share an engine bring their folders in step over
//! it ([`shared`]).
//!
//! No request waits for a disk. Requests see the keys in memory, as one task read them last; it looks into the folder again and
//! again, and sooner when a token names a key that is not known. A folder that cannot be read or written, or that hangs, costs
//! nothing but the next key: the old ones go on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::{digest, hmac};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use x509_parser::public_key::RSAPublicKey;

use super::jwt::{self, PublicKey};
use crate::fs::RealFs;
use crate::shared::Store;

mod folder;
mod shared;

use folder::Folder;
pub(super) use folder::fault;

/// The longest life that a token can be given.
pub(super) const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a key lies in the folder before it signs, if there is another one.
const LEAD_SECONDS: u64 = 2 * 60;

/// How long another gateway may go on signing with a key after its successor was made: the lead, and what clocks may differ.
const OVERLAP_SECONDS: u64 = 10 * 60;

/// How often the folder is looked into for the keys of others.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The time between two looks at least: strangers can make tokens that name unknown keys at will.
const LOOK_SOONER: Duration = Duration::from_secs(1);

/// What is made of a key's private part beside signatures: the key of the marks in its tokens.
const MARKS: &[u8] = b"gatepost: marks of credentials in tokens\n";

/// One key.
pub(super) struct Key {
    /// Its id, made from its public part.
    pub(super) id: String,
    /// Signs.
    pub(super) pair: KeyPair,
    /// Checks.
    pub(super) public: PublicKey,
    /// Makes marks that only gateways with this key can make, and nobody can search for what they are of.
    pub(super) marks: hmac::Key,
    made: u64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// The keys of one folder.
#[derive(Debug)]
pub(super) struct Keys {
    folder: Folder,
    /// Whether the folder is this gateway's alone.
    is_own: bool,
    lifetime: Duration,
    /// What requests see.
    ring: ArcSwap<Ring>,
    /// Asks for a look into the folder.
    wanted: Arc<Notify>,
    is_tended: AtomicBool,
}

/// Keys that were in the folder at one moment: at least one.
#[derive(Debug)]
struct Ring {
    first: Arc<Key>,
    /// The oldest first, with the first.
    keys: Vec<Arc<Key>>,
}

impl Keys {
    /// Reads the folder, which is made if it is not there, and makes the first key.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or others than its owner may do that.
    pub(super) fn open(path: &Path, lifetime: Duration, now: u64) -> io::Result<Self> {
        let folder = Folder::open(Arc::new(RealFs), path)?;
        let keys = folder.read_strictly()?;
        Self::with(folder, false, keys, lifetime, now)
    }

    /// The same of a folder in the state directory. A key that is damaged, or that others could use, is left alone and another
    /// one made: hosts ask for new tokens, which is better than a gateway that does not start.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written.
    pub(super) fn open_own(path: &Path, lifetime: Duration, now: u64) -> io::Result<Self> {
        let folder = Folder::own(Arc::new(RealFs), path)?;
        let keys = folder.read(&[])?;
        Self::with(folder, true, keys, lifetime, now)
    }

    fn with(folder: Folder, is_own: bool, mut keys: Vec<Arc<Key>>, lifetime: Duration, now: u64) -> io::Result<Self> {
        if keys.is_empty() {
            keys.push(Arc::new(make(&folder, now)?));
        }
        let ring = Ring { first: Arc::clone(&keys[0]), keys };
        Ok(Self {
            folder,
            is_own,
            lifetime,
            ring: ArcSwap::from_pointee(ring),
            wanted: Arc::default(),
            is_tended: AtomicBool::new(false),
        })
    }

    /// Whether these are the keys of a folder with such lives, so that nobody has to read them again.
    pub(super) fn are_of(&self, path: &Path, lifetime: Duration) -> bool {
        self.folder.path() == path && self.lifetime == lifetime
    }

    /// Keeps what requests see up to date, as long as anybody has these keys; together with other gateways, where `documents` are
    /// shared with them. A folder that somebody gave to several gateways is shared already.
    pub(super) fn tend(self: &Arc<Self>, now: fn() -> u64, documents: Option<Arc<dyn Store>>) {
        if self.is_tended.swap(true, Ordering::Relaxed) {
            return;
        }
        let documents = documents.filter(|_| self.is_own);
        let (keys, wanted) = (Arc::downgrade(self), Arc::clone(&self.wanted));
        tokio::spawn(async move {
            let mut news = shared::News::of(documents.as_deref());
            while let Some(keys) = keys.upgrade() {
                match &documents {
                    Some(documents) => shared::look(keys, &**documents, now, &mut news).await,
                    None => keys.look(now).await,
                }
                let asked = async {
                    sleep(LOOK_SOONER).await;
                    timeout(LOOK_AGAIN, wanted.notified()).await.ok();
                };
                tokio::select! {
                    () = asked => {}
                    () = news.come() => {}
                }
            }
        });
    }

    /// Looks into the folder.
    async fn look(self: Arc<Self>, now: fn() -> u64) {
        // Whatever ends it badly has been told, and the next look may end better.
        tokio::task::spawn_blocking(move || self.refresh(now())).await.ok();
    }

    /// Looks into the folder, makes the next key when its time has come, and removes those that are over. What fails is told
    /// and leaves the keys as they were.
    fn refresh(&self, now: u64) {
        let told = |error: &io::Error, what: &str| {
            tracing::error!(folder = %self.folder.path().display(), %error, what, "the token signing keys stay as they are");
        };
        let before = self.ring.load_full();
        let mut keys = match self.folder.read(&before.keys) {
            Ok(keys) => keys,
            Err(error) => return told(&error, "reading"),
        };
        // One from the future was made while the wall clock had jumped: it must not keep the next one from being made.
        let newest = keys.iter().rev().find(|key| key.made <= now + OVERLAP_SECONDS);
        if keys.is_empty() || newest.is_some_and(|key| now >= key.made.saturating_add(self.lifetime.as_secs())) {
            match make(&self.folder, now) {
                Ok(key) => {
                    tracing::info!(key = key.id, "a new token signing key was made");
                    keys.push(Arc::new(key));
                }
                Err(error) => told(&error, "making the next one"),
            }
        }
        while keys.len() > 1 && has_ended(&keys, 0, now) {
            let key = keys.remove(0);
            if let Err(error) = self.folder.remove(&key) {
                told(&error, "removing an old one");
            }
        }
        if let Some(first) = keys.first().map(Arc::clone) {
            self.ring.store(Arc::new(Ring { first, keys }));
        }
    }

    /// The key that signs now: the newest that has been there long enough for other gateways to know it.
    pub(super) fn signing(&self, now: u64) -> Arc<Key> {
        let ring = self.ring.load();
        let is_known = |key: &&Arc<Key>| key.made.saturating_add(LEAD_SECONDS) <= now;
        Arc::clone(ring.keys.iter().rev().find(is_known).unwrap_or(&ring.first))
    }

    /// The key with this id. One that is not known may be another gateway's, made a moment ago: it will be looked for.
    pub(super) fn find(&self, id: &str, now: u64) -> Option<Arc<Key>> {
        let ring = self.ring.load();
        let Some(at) = ring.keys.iter().position(|key| key.id == id) else {
            self.wanted.notify_one();
            return None;
        };
        (!has_ended(&ring.keys, at, now)).then(|| Arc::clone(&ring.keys[at]))
    }

    /// Every key whose tokens may still be good, as clients ask for them.
    pub(super) fn public(&self, now: u64) -> Vec<Arc<Key>> {
        let ring = self.ring.load();
        let good = (0..ring.keys.len()).filter(|at| !has_ended(&ring.keys, *at, now));
        good.map(|at| Arc::clone(&ring.keys[at])).collect()
    }
}

/// Whether the last token that a key can have signed is over.
fn has_ended(keys: &[Arc<Key>], at: usize, now: u64) -> bool {
    let successor = keys[at + 1..].iter().find(|key| key.made > keys[at].made);
    successor.is_some_and(|next| now > next.made + TOKEN_LIFETIME_MAX.as_secs() + OVERLAP_SECONDS)
}

/// Makes a key and makes it durable.
fn make(folder: &Folder, now: u64) -> io::Result<Key> {
    let broken = || io::Error::other("no key could be made");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| broken())?;
    let der = pair.as_der().map_err(|_| broken())?;
    let key = Key::new(pair, now).ok_or_else(broken)?;
    folder.keep(&key, der.as_ref())?;
    Ok(key)
}

impl Key {
    fn new(pair: KeyPair, made: u64) -> Option<Self> {
        let public = pair.public_key().as_ref().to_vec();
        let id = jwt::encode(&digest::digest(&digest::SHA256, &public).as_ref()[..16]);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(MARKS);
        context.update(pair.as_der().ok()?.as_ref());
        let marks = hmac::Key::new(hmac::HMAC_SHA256, context.finish().as_ref());
        Some(Self { id, pair, public: PublicKey::Rsa(public), marks, made })
    }

    /// Modulus and exponent, as a key set writes them.
    pub(super) fn components(&self) -> Option<(String, String)> {
        let PublicKey::Rsa(der) = &self.public else { return None };
        let (_, parsed) = <RSAPublicKey<'_> as x509_parser::prelude::FromDer<'_, _>>::from_der(der).ok()?;
        let number = |bytes: &[u8]| {
            let leading = bytes.iter().take_while(|byte| **byte == 0).count();
            jwt::encode(&bytes[leading..])
        };
        Some((number(parsed.modulus), number(parsed.exponent)))
    }
}

#[cfg(test)]
mod tests;
