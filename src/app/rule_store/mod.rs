//! The rules and associations that were made over Azure's interface: durable, and live at once.
//!
//! A change runs alone, in this order: what would be kept then is validated and compiled as a whole; it is written; it is
//! put in force; it is answered. So what is answered is durable and in force, and what is refused or could not be written
//! has changed nothing. Each resource is a file of its own, so a change costs one small file, however many there are.

mod disk;
mod shared;
mod snapshot;

use parking_lot::{Mutex as StdMutex, MutexGuard};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(super) use shared::SharedRules;
pub(super) use snapshot::{Activate, Commit, Snapshot};

use crate::admin::azure::{Answer, Edit, Meaning, Plan, Refusal, RuleBook, Shelf, Write, key};
use crate::faults::with_causes;
use crate::fs::Fs;
use crate::limits::{DCR_ASSOCIATIONS_MAX, DCR_RULES_MAX};
use crate::metrics;
use disk::{Disk, Found};

/// What is kept, in memory and on the disk.
#[derive(Debug)]
pub(super) struct RuleStore {
    disk: Disk,
    shelf: ArcSwap<Shelf>,
    changing: Arc<Mutex<()>>,
    /// Names of files that cannot be read, with the reason.
    damaged: StdMutex<BTreeMap<String, String>>,
    /// Which version of what gateways share this is; empty where nothing was shared yet.
    revision: StdMutex<String>,
}

/// A change that is valid, and not made yet.
struct Planned {
    before: Arc<Shelf>,
    wanted: Shelf,
    writes: Vec<Write>,
    /// None where nothing changes.
    commit: Option<Commit>,
    answer: Answer,
}

impl RuleStore {
    /// Reads everything from a directory, which is made if need be. A file that is damaged is made anew from its copy. Where
    /// that cannot be, [`RuleStore::faults`] tells: a rule that is silently missing would let events pass that nobody looks
    /// for, or drop those that somebody does.
    pub(super) fn open(fs: Arc<dyn Fs>, dir: PathBuf) -> Self {
        let disk = Disk::new(fs, dir);
        let found =
            disk.tidy().and_then(|()| disk.load()).unwrap_or_else(|error| Found::nothing(&with_causes(error.as_ref())));
        disk.repair(&found);
        for (file, reason) in &found.from_copy {
            tracing::error!(file, reason, "a rule file was damaged or lost; it was restored from its copy");
        }
        metrics::STATE_DAMAGED.add(&["rules"], (found.from_copy.len() + found.damaged.len()) as u64);
        let Found { shelf, damaged, .. } = found;
        let revision = StdMutex::new(disk.revision());
        let store = Self {
            disk,
            revision,
            shelf: ArcSwap::from_pointee(shelf),
            changing: Arc::default(),
            damaged: StdMutex::new(damaged),
        };
        for fault in store.faults() {
            tracing::error!(fault, "uploads are refused until the rules are whole again");
        }
        store
    }

    /// What of the rules is missing, in words. As long as there is any, nobody can say where an event belongs.
    pub(super) fn faults(&self) -> Vec<String> {
        faults(&self.shelf.load(), &self.damaged())
    }

    /// What a directory holds, whether or not a gateway works on it.
    ///
    /// # Errors
    ///
    /// When something of it is missing.
    pub(super) fn look(fs: Arc<dyn Fs>, dir: PathBuf) -> anyhow::Result<Snapshot> {
        let Found { shelf, damaged, .. } = Disk::new(fs, dir).load()?;
        let faults = faults(&shelf, &damaged);
        if faults.is_empty() { Ok(Snapshot::of(&shelf)) } else { bail!("{}", faults.join("\n")) }
    }

    /// Removes a rule and its associations from a directory that no gateway works on. The id may have any letter case; the
    /// name of a file that cannot be read does as well. `false` when there is no such rule. What fails midway can be asked
    /// for again: the rule goes last.
    pub(super) fn delete_kept(fs: Arc<dyn Fs>, dir: PathBuf, id: &str) -> anyhow::Result<bool> {
        let disk = Disk::new(fs, dir);
        disk.tidy()?;
        let Found { shelf, damaged, .. } = disk.load()?;
        let wanted = key(&format!("/{}", id.trim_matches('/')));
        let failed = || format!("{id} cannot be removed");
        let writes = shelf.removal(&wanted);
        let found = writes.len() > 1 || shelf.rules.contains_key(&wanted);
        writes.iter().filter(|_| found).try_for_each(|write| disk.write(write)).with_context(failed)?;
        let file = disk::file_name(&wanted);
        let unreadable = damaged.keys().find(|name| **name == id || **name == file);
        if let Some(name) = unreadable {
            disk.delete(name).with_context(failed)?;
        }
        Ok(found || unreadable.is_some())
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
        let planned = self.plan(edit, activate)?;
        self.make(planned, activate)
    }

    fn plan(&self, edit: Edit, activate: &dyn Activate) -> Result<Planned, Refusal> {
        let before = self.shelf.load_full();
        let Plan { mut writes, answer } = edit(&before)?;
        writes.retain(|write| match write {
            Write::Put(_) => true,
            Write::Delete(key) => before.has(key) || self.damaged().contains_key(&disk::file_name(key)),
        });
        let wanted = after(&before, &writes);
        let mut commit = None;
        if !writes.is_empty() {
            has_room(&before, &wanted)?;
            commit = Some(activate.prepare(&Snapshot::of(&wanted)).map_err(Refusal::invalid_rule)?);
        }
        Ok(Planned { before, wanted, writes, commit, answer })
    }

    fn make(&self, planned: Planned, activate: &dyn Activate) -> Result<Answer, Refusal> {
        let Planned { before, wanted, writes, commit, answer } = planned;
        let Some(commit) = commit else { return Ok(answer) };
        let done = writes.iter().map_while(|write| self.written(write)).count();
        if done == writes.len() {
            self.shelf.store(Arc::new(wanted));
            commit();
            return Ok(answer);
        }
        self.settle(&before, &writes[..done], activate);
        Err(Refusal::failed("the change could not be written to the disk; nothing is lost, try again"))
    }

    fn written(&self, write: &Write) -> Option<()> {
        let result = self.disk.write(write);
        result.inspect_err(|error| tracing::error!(%error, "a rule change could not be written")).ok()?;
        let key = match write {
            Write::Put(entry) => key(&entry.id),
            Write::Delete(key) => key.clone(),
        };
        // Whatever stood there does not any more.
        self.damaged().remove(&disk::file_name(&key));
        Some(())
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.damaged.lock()
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
                tracing::error!("a rule change was only partly written; it takes effect at the next start")
            }
        }
    }
}

fn faults(shelf: &Shelf, damaged: &BTreeMap<String, String>) -> Vec<String> {
    let unreadable = damaged.iter().map(|(name, reason)| {
        format!(
            "{name} of the rules is damaged ({reason}), and so is its copy: PUT the rule or association again, or remove it with `gatepost rules delete {name}` while no gateway runs"
        )
    });
    let orphans = shelf.orphans().map(|(id, rule_id)| {
        format!("{id} names the rule {rule_id:?}, of which there is no file: PUT that rule, or remove both with `gatepost rules delete {rule_id}` while no gateway runs")
    });
    unreadable.chain(orphans).collect()
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
    /// Where several gateways have the same rules.
    shared: Option<Arc<SharedRules>>,
}

impl LiveRules {
    /// Changes to `store` go through `activate`, and where rules are shared through `shared`.
    pub(super) fn new(store: Arc<RuleStore>, activate: Arc<dyn Activate>, shared: Option<Arc<SharedRules>>) -> Self {
        Self { store, activate, shared }
    }
}

impl RuleBook for LiveRules {
    fn shelf(&self) -> Arc<Shelf> {
        self.store.shelf.load_full()
    }

    fn change(&self, edit: Edit) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            if let Some(shared) = &self.shared {
                return Arc::clone(shared).change(edit).await;
            }
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
