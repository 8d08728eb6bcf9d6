//! The same keys at gateways that share an engine: all keys that may still be needed are one document, which is sealed.
//!
//! A look takes what the document has into the folder, durably, looks into that as always, and gives the document what it lacks. So
//! a key that any gateway makes is in all folders within two seconds, long before it signs. Nothing is taken out of it before its last
//! token has ended. While nobody can be asked, each gateway goes on with its folder.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{Key, Keys, has_ended};
use crate::shared::{Document, Revisions, Store};

/// The name of the document.
const NAME: &str = "token-keys";
/// More keys than anybody needs.
const KEYS_MAX: usize = 256;
/// How often it is tried again when another gateway was faster.
const TRIES: u32 = 5;
/// For how long a key that has ended stays in the document, in seconds: clocks differ, and one gateway must not take out what another
/// one puts back.
const STAYS_SECONDS: u64 = 60 * 60;

/// A key as it is shared.
#[derive(Serialize, Deserialize)]
struct Shared {
    made: u64,
    /// PKCS#8, in Base64.
    key: String,
}

/// Whether others have changed something, and what was told of it.
pub(super) struct News {
    revisions: Option<watch::Receiver<Revisions>>,
    told: String,
}

impl News {
    /// None ever come without documents.
    pub(super) fn of(documents: Option<&dyn Store>) -> Self {
        Self { revisions: documents.map(Store::watch), told: String::new() }
    }

    /// Resolves when somebody has changed a document.
    pub(super) async fn come(&mut self) {
        let changed = match &mut self.revisions {
            Some(revisions) => revisions.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            std::future::pending().await
        }
    }

    fn tell(&mut self, result: anyhow::Result<()>) {
        let is_there = self.revisions.as_ref().is_some_and(|revisions| revisions.borrow().is_some());
        match result {
            Ok(()) => self.told.clear(),
            Err(error) => {
                let error = format!("{error:#}");
                if is_there && error != self.told {
                    tracing::error!(error, "this gateway and the others do not have the same token signing keys");
                    self.told = error;
                }
            }
        }
    }
}

/// Looks into the folder, in step with the other gateways.
pub(super) async fn look(keys: Arc<Keys>, documents: &dyn Store, now: fn() -> u64, news: &mut News) {
    let result = exchange(&keys, documents, now).await;
    if result.is_err() {
        keys.look(now).await;
    }
    news.tell(result);
}

async fn exchange(keys: &Arc<Keys>, documents: &dyn Store, now: fn() -> u64) -> anyhow::Result<()> {
    for _ in 0..TRIES {
        let there = documents.get(NAME).await?;
        let theirs = there.as_ref().map_or(Ok(Vec::new()), |there| read(&there.content))?;
        let (of_folder, theirs_too) = (Arc::clone(keys), theirs.clone());
        let ours = tokio::task::spawn_blocking(move || of_folder.take_over(&theirs_too, now())).await??;
        let needed = needed(&ours, &theirs, now());
        if ids(&needed) == ids(&theirs) {
            return Ok(());
        }
        let expected = there.as_ref().map(|there| &*there.revision);
        let document = Document::after(expected.unwrap_or_default(), written(&needed)?);
        if documents.compare_and_set(NAME, expected, &document).await? {
            return Ok(());
        }
    }
    anyhow::bail!("the other gateways change them all the time")
}

impl Keys {
    /// Takes the keys of others into the folder, and looks into it; all keys of it then.
    pub(super) fn take_over(&self, theirs: &[Arc<Key>], now: u64) -> anyhow::Result<Vec<Arc<Key>>> {
        let known = self.ring.load_full();
        let all = together(&known.keys, theirs);
        for (at, key) in all.iter().enumerate() {
            if !has_ended(&all, at, now) && !known.keys.iter().any(|known| known.id == key.id) {
                let der = key.pair.as_der().context("a key cannot be written")?;
                self.folder.keep(key, der.as_ref())?;
            }
        }
        self.refresh(now);
        Ok(self.ring.load().keys.clone())
    }
}

/// What the document must hold: what is needed here, and what others may need.
pub(super) fn needed(ours: &[Arc<Key>], theirs: &[Arc<Key>], now: u64) -> Vec<Arc<Key>> {
    let all = together(ours, theirs);
    let stays = |at: &usize| !has_ended(&all, *at, now.saturating_sub(STAYS_SECONDS));
    (0..all.len()).filter(stays).map(|at| Arc::clone(&all[at])).collect()
}

/// The oldest first.
fn together(ours: &[Arc<Key>], theirs: &[Arc<Key>]) -> Vec<Arc<Key>> {
    let mut all: Vec<Arc<Key>> = ours.iter().chain(theirs).cloned().collect();
    all.sort_by(|a, b| (a.made, &a.id).cmp(&(b.made, &b.id)));
    all.dedup_by(|a, b| a.id == b.id);
    all
}

fn ids(keys: &[Arc<Key>]) -> Vec<&str> {
    keys.iter().map(|key| &*key.id).collect()
}

fn written(keys: &[Arc<Key>]) -> anyhow::Result<Vec<u8>> {
    let shared = keys.iter().map(|key| {
        let der = key.pair.as_der().context("a key cannot be written")?;
        Ok(Shared { made: key.made, key: STANDARD.encode(der.as_ref()) })
    });
    Ok(serde_json::to_vec(&shared.collect::<anyhow::Result<Vec<_>>>()?)?)
}

fn read(content: &[u8]) -> anyhow::Result<Vec<Arc<Key>>> {
    let shared: Vec<Shared> = serde_json::from_slice(content).context("the shared keys cannot be read")?;
    ensure!(shared.len() <= KEYS_MAX, "more keys are shared than there can be");
    let key = |Shared { made, key }: Shared| {
        let pair = KeyPair::from_pkcs8(&STANDARD.decode(key)?).context("a shared key is none")?;
        Key::new(pair, made).map(Arc::new).context("a shared key is none")
    };
    let keys = shared.into_iter().map(key).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(together(&keys, &[]))
}
