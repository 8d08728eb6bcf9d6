//! The rules and associations that were made over Azure's interface: durable, and live at once.
//!
//! A change runs alone, in this order: what would be kept then is validated and compiled as a whole; it is written; it is
//! put in force; it is answered. So what is answered is durable and in force, and what is refused or could not be written
//! has changed nothing. Each resource is a file of its own, so a change costs one small file, however many there are.

mod disk;
mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(super) use snapshot::{Activate, Commit, Snapshot};

use crate::admin::azure::{Answer, Edit, Meaning, Refusal, RuleBook, Shelf, Write, key};
use crate::limits::{DCR_ASSOCIATIONS_MAX, DCR_RULES_MAX};
use crate::spool::fs::Fs;
use disk::Disk;

/// What is kept, in memory and on the disk.
#[derive(Debug)]
pub(super) struct RuleStore {
    disk: Disk,
    shelf: ArcSwap<Shelf>,
    changing: Arc<Mutex<()>>,
}

impl RuleStore {
    /// Reads everything from a directory that exists. A file that is damaged is an error that names it: a rule that is
    /// silently missing would let events pass that nobody looks for.
    pub(super) fn open(fs: Arc<dyn Fs>, dir: PathBuf) -> anyhow::Result<Self> {
        let disk = Disk::new(fs, dir);
        disk.tidy()?;
        let shelf = ArcSwap::from_pointee(disk.load()?);
        Ok(Self { disk, shelf, changing: Arc::default() })
    }

    /// What a directory holds, whether or not a gateway works on it.
    pub(super) fn look(fs: Arc<dyn Fs>, dir: PathBuf) -> anyhow::Result<Snapshot> {
        Ok(Snapshot::of(&Disk::new(fs, dir).load()?))
    }

    /// Removes a rule and its associations from a directory that no gateway works on. The id may have any letter case.
    /// `false` when there is no such rule. What fails midway can be asked for again: the rule goes last.
    pub(super) fn delete_kept(fs: Arc<dyn Fs>, dir: PathBuf, id: &str) -> anyhow::Result<bool> {
        let disk = Disk::new(fs, dir);
        disk.tidy()?;
        let wanted = key(&format!("/{}", id.trim_matches('/')));
        let Some(writes) = disk.load()?.removal(&wanted) else { return Ok(false) };
        writes.iter().try_for_each(|write| disk.write(write)).with_context(|| format!("{id} cannot be removed"))?;
        Ok(true)
    }

    /// What is kept now, for who compiles it.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.shelf.load())
    }

    /// Nothing is changed while the guard lives: for a reload, which validates and swaps the same rules.
    pub(super) async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    fn change(&self, edit: Edit, activate: &dyn Activate) -> Result<Answer, Refusal> {
        let shelf = self.shelf.load_full();
        let plan = edit(&shelf)?;
        if plan.writes.is_empty() {
            return Ok(plan.answer);
        }
        let wanted = after(&shelf, &plan.writes);
        has_room(&shelf, &wanted)?;
        let commit = activate.prepare(&Snapshot::of(&wanted)).map_err(Refusal::invalid_rule)?;
        let done = plan.writes.iter().map_while(|write| self.written(write)).count();
        if done == plan.writes.len() {
            self.shelf.store(Arc::new(wanted));
            commit();
            return Ok(plan.answer);
        }
        self.settle(&shelf, &plan.writes[..done], activate);
        Err(Refusal::failed("the change could not be written to the disk; nothing is lost, try again"))
    }

    fn written(&self, write: &Write) -> Option<()> {
        let result = self.disk.write(write);
        result.inspect_err(|error| tracing::error!(%error, "a change of the rules could not be written")).ok()
    }

    /// Of several writes the first were made before one failed: what is in force must be what is on the disk.
    fn settle(&self, shelf: &Shelf, made: &[Write], activate: &dyn Activate) {
        if made.is_empty() {
            return;
        }
        let shelf = after(shelf, made);
        match activate.prepare(&Snapshot::of(&shelf)) {
            Ok(commit) => {
                self.shelf.store(Arc::new(shelf));
                commit();
            }
            Err(_) => {
                tracing::error!("a change of the rules was written in part; it comes into force at the next start")
            }
        }
    }
}

fn after(shelf: &Shelf, writes: &[Write]) -> Shelf {
    let mut shelf = shelf.clone();
    writes.iter().for_each(|write| shelf.apply(write));
    shelf
}

fn has_room(before: &Shelf, wanted: &Shelf) -> Result<(), Refusal> {
    let grows_beyond = |before: usize, wanted: usize, most: usize| wanted > most && wanted > before;
    if grows_beyond(before.rules.len(), wanted.rules.len(), DCR_RULES_MAX) {
        return Err(Refusal::full(format!(
            "there are {DCR_RULES_MAX} data collection rules already; delete one first"
        )));
    }
    if grows_beyond(before.associations.len(), wanted.associations.len(), DCR_ASSOCIATIONS_MAX) {
        let message = format!("there are {DCR_ASSOCIATIONS_MAX} associations already; use names with wildcards");
        return Err(Refusal::full(message));
    }
    Ok(())
}

/// The store together with who puts its rules in force.
pub(super) struct LiveRules {
    store: Arc<RuleStore>,
    activate: Arc<dyn Activate>,
}

impl LiveRules {
    /// Changes to `store` go through `activate`.
    pub(super) fn new(store: Arc<RuleStore>, activate: Arc<dyn Activate>) -> Self {
        Self { store, activate }
    }
}

impl RuleBook for LiveRules {
    fn shelf(&self) -> Arc<Shelf> {
        self.store.shelf.load_full()
    }

    fn change(&self, edit: Edit) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            let alone = self.store.hold().await;
            let (store, activate) = (Arc::clone(&self.store), Arc::clone(&self.activate));
            // On a thread of its own, so that a client that hangs up cannot leave a change half done.
            let change = move || {
                let _alone = alone;
                store.change(edit, activate.as_ref())
            };
            let failed = |error| Refusal::failed(format!("the change failed: {error}"));
            tokio::task::spawn_blocking(change).await.map_err(failed)?
        })
    }
}

#[cfg(test)]
mod tests;
