//! Documents at the servers, of any length that a gateway may have in memory.
//!
//! A message has a bound, so a document is laid down in parts under the hash of its content, and a small head names them. The head is
//! what is compared and replaced. Who reads takes the head, then its parts, and has a document only where the hash of all
//! together is the one that the head says; where a part is gone, another head has come meanwhile.
//!
//! Parts are laid down behind the head that is to be replaced, and a head says where its own begin. So whoever has set a head can
//! remove all that lies before: earlier documents, and those of gateways that were slower or stopped halfway. What somebody lays
//! down for the next head comes behind this one, and is not touched.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::super::connection::View;
use super::super::servers::{Refused, Stored};
use super::cells::{Cells, name, word};
use crate::shared::{Away, Document, Revisions, Store};

/// Most bytes of a document: a registry of twenty thousand agents has 8 MB.
const LENGTH_MAX: usize = 64 << 20;
/// How many parts are on their way at once.
const AT_ONCE: usize = 4;
/// How often a document is read anew when its parts went meanwhile, and how long is waited before.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Documents that gateways share. Cheap to clone.
#[derive(Clone)]
pub struct Documents(Arc<Inner>);

struct Inner {
    cells: Arc<dyn Cells>,
    revisions: watch::Sender<Revisions>,
    /// How the stream was when it was looked at last.
    seen: Mutex<Option<View>>,
}

/// What names the parts of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    revision: String,
    /// SHA-256 of its content.
    hash: String,
    length: usize,
    parts: usize,
    /// Where its first part is, or any place before its head where it has none.
    from: u64,
}

impl Documents {
    pub(super) fn new(cells: Arc<dyn Cells>) -> Self {
        Self(Arc::new(Inner { cells, revisions: watch::Sender::new(None), seen: Mutex::default() }))
    }

    /// Looks which revisions there are, and shows them.
    pub(super) async fn look(&self) -> Result<(), Away> {
        let looked = self.0.look().await;
        if looked.is_err() {
            *self.0.seen.lock() = None;
            self.0.show(None);
        }
        looked
    }
}

impl Inner {
    async fn look(&self) -> Result<(), Away> {
        let view = self.cells.look("head.*").await?;
        if self.seen.lock().as_ref() == Some(&view) {
            return Ok(());
        }
        let mut revisions = BTreeMap::new();
        for place in &view.subjects {
            let Some(name) = place.strip_prefix("head.").and_then(name) else { continue };
            // One that cannot be read is told of when somebody wants it.
            let head = self.cells.get(place).await?.and_then(|stored| Head::read(&name, &stored).ok());
            revisions.extend(head.map(|head| (name, head.revision)));
        }
        *self.seen.lock() = Some(view);
        self.show(Some(revisions));
        Ok(())
    }

    fn show(&self, revisions: Revisions) {
        self.revisions.send_if_modified(|shown| {
            let is_other = *shown != revisions;
            *shown = revisions;
            is_other
        });
    }

    async fn head(&self, name: &str) -> Result<Option<(u64, Head)>, Away> {
        let stored = self.cells.get(&format!("head.{}", word(name))).await?;
        stored.map(|stored| Ok((stored.at, Head::read(name, &stored)?))).transpose()
    }

    async fn read(&self, name: &str) -> Result<Option<Document>, Away> {
        for _ in 0..TRIES {
            let Some((_, head)) = self.head(name).await? else { return Ok(None) };
            if let Some(content) = self.content(name, &head).await? {
                return Ok(Some(Document { revision: head.revision, content }));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Away(format!("the document {name:?} is not whole at the servers")))
    }

    /// What a head names; `None` where it is not all there.
    async fn content(&self, name: &str, head: &Head) -> Result<Option<Vec<u8>>, Away> {
        let places = (0..head.parts).map(|part| self.part(name, &head.hash, part));
        let parts = stream::iter(places.map(|place| async move { self.cells.get(&place).await }));
        let mut parts = parts.buffered(AT_ONCE);
        let mut content = Vec::new();
        while let Some(part) = parts.try_next().await? {
            let Some(part) = part.filter(|part| content.len() + part.bytes.len() <= head.length) else {
                return Ok(None);
            };
            content.extend_from_slice(&part.bytes);
        }
        Ok(Some(content).filter(|content| hash(content) == head.hash))
    }

    fn part(&self, name: &str, hash: &str, part: usize) -> String {
        format!("part.{}.{hash}.{part}", word(name))
    }

    async fn set(&self, name: &str, expected: Option<&str>, document: &Document) -> Result<bool, Away> {
        let there = self.head(name).await?;
        if there.as_ref().map(|(_, head)| &*head.revision) != expected {
            return Ok(false);
        }
        let after = there.map_or(0, |(at, _)| at);
        let head = self.lay_down(name, document, after).await?;
        let bytes = serde_json::to_vec(&head).map_err(|error| Away(error.to_string()))?;
        match self.cells.put(&format!("head.{}", word(name)), Some(after), bytes.into()).await {
            Ok(_) => {}
            Err(Refused::Overtaken) => return Ok(false),
            Err(refused) => return Err(refused.into()),
        }
        // What cannot be removed now goes with the next document.
        self.cells.remove(&format!("part.{}.>", word(name)), head.from).await.ok();
        Ok(true)
    }

    /// Puts the parts of a document there, and names them.
    async fn lay_down(&self, name: &str, document: &Document, after: u64) -> Result<Head, Away> {
        let Document { revision, content } = document;
        if content.len() > LENGTH_MAX {
            let length = content.len();
            return Err(Away(format!("the document {name:?} has {length} bytes, and may have {LENGTH_MAX}")));
        }
        let hash = hash(content);
        let content = Bytes::copy_from_slice(content);
        let length = self.cells.message_max().max(1);
        let parts = content.len().div_ceil(length);
        let put = stream::iter((0..parts).map(|part| {
            let bytes = content.slice(part * length..content.len().min((part + 1) * length));
            let place = self.part(name, &hash, part);
            async move { self.cells.put(&place, None, bytes).await }
        }));
        let places: Vec<u64> = put.buffered(AT_ONCE).try_collect().await?;
        let from = places.into_iter().min().unwrap_or(after);
        Ok(Head { revision: revision.clone(), hash, length: content.len(), parts, from })
    }
}

impl Head {
    fn read(name: &str, stored: &Stored) -> Result<Self, Away> {
        let head: Self = serde_json::from_slice(&stored.bytes)
            .map_err(|error| Away(format!("the head of the document {name:?} cannot be read: {error}")))?;
        if head.length > LENGTH_MAX || head.parts > head.length {
            return Err(Away(format!("the document {name:?} has {} bytes, and may have {LENGTH_MAX}", head.length)));
        }
        Ok(head)
    }
}

fn hash(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    hex::encode(hash)
}

impl Store for Documents {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Document>, Away>> {
        Box::pin(self.0.read(name))
    }

    fn compare_and_set<'a>(
        &'a self,
        name: &'a str,
        expected: Option<&'a str>,
        document: &'a Document,
    ) -> BoxFuture<'a, Result<bool, Away>> {
        Box::pin(self.0.set(name, expected, document))
    }

    fn watch(&self) -> watch::Receiver<Revisions> {
        self.0.revisions.subscribe()
    }
}
