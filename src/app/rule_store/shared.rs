//! The same rules at several gateways.
//!
//! All rules and associations together are one document of `shared::Store`. A change takes over what others have changed, is
//! validated against that, wins the document by its revision, and only then is written here and put in force; the others find
//! the later revision within a second and do the same. So of two changes at once one is refused, and a gateway that cannot
//! ask changes nothing, while its own files keep what was in force.
//!
//! An engine that forgets is given the document again by whoever has the latest. What was deleted with the command line while no
//! gateway ran is a change like any other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Activate, Planned, RuleStore, Snapshot};
use crate::admin::azure::{Answer, Edit, Entry, Refusal, Shelf, Write};
use crate::faults::with_causes;
use crate::shared::{Document, Store};

/// The name of the document.
const NAME: &str = "rules";
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Rules that several gateways have.
pub(in crate::app) struct SharedRules {
    store: Arc<RuleStore>,
    activate: Arc<dyn Activate>,
    documents: Arc<dyn Store>,
}

impl SharedRules {
    pub(in crate::app) fn new(
        store: Arc<RuleStore>,
        activate: Arc<dyn Activate>,
        documents: Arc<dyn Store>,
    ) -> Arc<Self> {
        Arc::new(Self { store, activate, documents })
    }

    /// Changes the rules of all gateways. A task of its own, so that a client that hangs up cannot leave it half done.
    pub(super) async fn change(self: Arc<Self>, edit: Edit) -> Result<Answer, Refusal> {
        let failed = |error| Refusal::failed(format!("the change failed: {error}"));
        tokio::spawn(async move { self.change_alone(edit).await }).await.map_err(failed)?
    }

    async fn change_alone(self: Arc<Self>, edit: Edit) -> Result<Answer, Refusal> {
        let _alone = self.store.hold().await;
        let revision = self.agree(false).await.map_err(|error| away(error.as_ref()))?;
        let planned = Arc::clone(&self).blocking(move |this| this.store.plan(edit, &*this.activate)).await?;
        if planned.writes.is_empty() {
            return Ok(planned.answer);
        }
        let document = Document::after(&revision, content(&planned.wanted));
        let expected = Some(&*revision).filter(|revision| !revision.is_empty());
        let set = self.documents.compare_and_set(NAME, expected, &document).await;
        if !set.map_err(|error| away(&error))? {
            return Err(Refusal::unavailable("another gateway changes the rules just now; try again"));
        }
        Arc::clone(&self).blocking(move |this| this.make(planned, &document.revision)).await
    }

    async fn blocking<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let failed = |error| Refusal::failed(format!("the change failed: {error}"));
        tokio::task::spawn_blocking(move || work(&self)).await.map_err(failed)?
    }

    fn make(&self, planned: Planned, revision: &str) -> Result<Answer, Refusal> {
        // What cannot be written here is in force at the others: it is taken over later, as a change of theirs.
        let answer = self.store.make(planned, &*self.activate)?;
        self.note(revision).map_err(|error| Refusal::failed(with_causes(error.as_ref())))?;
        Ok(answer)
    }

    fn note(&self, revision: &str) -> anyhow::Result<()> {
        self.store.disk.note_revision(revision).context("the revision of the rules cannot be written")?;
        revision.clone_into(&mut self.store.revision.lock());
        Ok(())
    }

    fn revision(&self) -> String {
        self.store.revision.lock().clone()
    }

    /// Takes over what is later at the others, or gives them what is later here; the revision that all have then. Nothing else
    /// may change the rules meanwhile. `at_start`: what stands here may have been changed while no gateway ran.
    async fn agree(self: &Arc<Self>, at_start: bool) -> anyhow::Result<String> {
        let there = self.documents.get(NAME).await?;
        let (shelf, is_whole) = (self.store.shelf.load_full(), self.store.faults().is_empty());
        let (content, mut mine) = (content(&shelf), self.revision());
        if at_start && is_whole && !mine.is_empty() && !Document::is_of(&mine, &content) {
            mine = Document::after(&mine, content.clone()).revision;
        }
        match there {
            Some(there) if there.revision > mine || !is_whole => self.take_over(there).await,
            Some(there) if there.revision == mine => self.note(&mine).map(|()| mine),
            None if mine.is_empty() && (shelf.is_empty() || !is_whole) => Ok(mine),
            there => {
                let document =
                    if mine.is_empty() { Document::after("", content) } else { Document { revision: mine, content } };
                let expected = there.as_ref().map(|there| &*there.revision);
                let set = self.documents.compare_and_set(NAME, expected, &document).await?;
                ensure!(set, "another gateway changes the rules just now; try again");
                self.note(&document.revision)?;
                tracing::info!(revision = document.revision, "the other gateways get the rules of this one");
                Ok(document.revision)
            }
        }
    }

    async fn take_over(self: &Arc<Self>, there: Document) -> anyhow::Result<String> {
        let this = Arc::clone(self);
        let work = move || {
            let wanted = read(&there.content).context("the rules of the other gateways cannot be read")?;
            let commit = this.activate.prepare(&Snapshot::of(&wanted)).map_err(|findings| {
                let told: Vec<String> = findings.iter().map(|of| format!("{}: {}", of.target, of.message)).collect();
                anyhow!("the rules of the other gateways cannot be used here: {}", told.join("; "))
            })?;
            let shelf = this.store.shelf.load_full();
            if this.revision().is_empty() && !shelf.is_empty() {
                tracing::warn!("the rules that this gateway had are replaced with those of the other gateways");
            }
            let failed = || anyhow!("the rules of the other gateways cannot be written");
            differences(&shelf, &wanted).iter().try_for_each(|write| this.store.written(write)).ok_or_else(failed)?;
            let left: Vec<String> = this.store.damaged().keys().cloned().collect();
            for name in left {
                this.store.disk.delete(&name).with_context(|| format!("{name} cannot be removed"))?;
                this.store.damaged().remove(&name);
            }
            this.note(&there.revision)?;
            this.store.shelf.store(Arc::new(wanted));
            commit();
            tracing::info!(revision = there.revision, "the rules of the other gateways are in force");
            Ok(there.revision)
        };
        tokio::task::spawn_blocking(work).await?
    }

    /// Takes over what others change, until it is stopped.
    pub(in crate::app) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut revisions = self.documents.watch();
        let (mut told, mut is_known) = (String::new(), false);
        while !stop.is_cancelled() {
            let there = revisions.borrow_and_update().clone();
            let differs = there.is_some_and(|there| there.get(NAME).map_or("", String::as_str) != self.revision());
            if differs || !is_known {
                let _alone = self.store.hold().await;
                match self.agree(!is_known).await.map_err(|error| with_causes(error.as_ref())) {
                    Ok(_) => (is_known, told) = (true, String::new()),
                    Err(error) if error != told && revisions.borrow().is_some() => {
                        tracing::error!(error, "this gateway and the others do not have the same rules");
                        told = error;
                    }
                    Err(_) => {}
                }
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

fn away(error: &(dyn std::error::Error + 'static)) -> Refusal {
    Refusal::unavailable(format!(
        "rules are the same at all gateways, and cannot be changed now: {}",
        with_causes(error)
    ))
}

/// All of a shelf, in an order of its own.
fn content(shelf: &Shelf) -> Vec<u8> {
    let entries = shelf.rules.values().chain(shelf.associations.values());
    let entries: Vec<Value> = entries.map(|entry| json!({ "id": entry.id, "resource": entry.resource })).collect();
    Value::Array(entries).to_string().into_bytes()
}

fn read(content: &[u8]) -> anyhow::Result<Shelf> {
    #[derive(serde::Deserialize)]
    struct Kept {
        id: String,
        resource: Value,
    }
    let mut shelf = Shelf::default();
    for Kept { id, resource } in serde_json::from_slice::<Vec<Kept>>(content)? {
        let entry = Entry::read(&id, resource).map_err(|refusal| anyhow!("{id}: {refusal:?}"))?;
        shelf.apply(&Write::Put(Arc::new(entry)));
    }
    Ok(shelf)
}

/// What makes one of the other. Between any two the whole makes sense: an association never stands there without its rule.
fn differences(before: &Shelf, wanted: &Shelf) -> Vec<Write> {
    let puts = |before: &BTreeMap<String, Arc<Entry>>, wanted: &BTreeMap<String, Arc<Entry>>| {
        let others = wanted.iter().filter(|(key, entry)| before.get(*key) != Some(*entry));
        others.map(|(_, entry)| Write::Put(Arc::clone(entry))).collect::<Vec<_>>()
    };
    let deletes = |before: &BTreeMap<String, Arc<Entry>>, wanted: &BTreeMap<String, Arc<Entry>>| {
        before.keys().filter(|key| !wanted.contains_key(*key)).cloned().map(Write::Delete).collect::<Vec<_>>()
    };
    let mut writes = puts(&before.rules, &wanted.rules);
    writes.extend(puts(&before.associations, &wanted.associations));
    writes.extend(deletes(&before.associations, &wanted.associations));
    writes.extend(deletes(&before.rules, &wanted.rules));
    writes
}
