//! What is remembered over reloads and shared by the listeners: bookmarks, the hosts that were seen, the rules in force.

use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use super::bookmarks::{Bookmarks, Journal, NotKept, SharedBookmarks};
use super::hosts::{Hosts, SHOWN_MAX, Shown};
use super::kerberos::TurnedAway;
use crate::filter::Rules;
use crate::fs::{Fs, RealFs};
use crate::shared::entries::Entries;

/// The folder of the state directory that bookmarks are in.
const FOLDER: &str = "wef";

/// The memory of one gateway.
pub struct Memory {
    fs: Arc<dyn Fs>,
    state_dir: PathBuf,
    rules: Arc<ArcSwap<Rules>>,
    /// Opened when the first host needs it: whoever only checks a configuration must not touch it.
    bookmarks: OnceLock<Arc<dyn Bookmarks>>,
    /// Where other gateways have them too, if any do.
    entries: Option<Arc<dyn Entries>>,
    opening: Mutex<()>,
    pub(super) hosts: Hosts,
    pub(super) turned_away: TurnedAway,
}

impl Memory {
    /// Nothing is made on the disk until a host needs it.
    pub fn new(fs: Arc<dyn Fs>, state_dir: PathBuf, rules: Arc<ArcSwap<Rules>>) -> Self {
        let (hosts, turned_away) = (Hosts::default(), TurnedAway::default());
        let (bookmarks, entries, opening) = (OnceLock::new(), None, Mutex::default());
        Self { fs, state_dir, rules, bookmarks, entries, opening, hosts, turned_away }
    }

    /// With bookmarks that other gateways have too.
    #[must_use]
    pub fn sharing(self, entries: Option<Arc<dyn Entries>>) -> Self {
        Self { entries, ..self }
    }

    /// With these rules, over a state directory of the machine: for tests.
    pub fn over(state_dir: PathBuf, rules: Rules) -> Self {
        Self::new(Arc::new(RealFs), state_dir, Arc::new(ArcSwap::from_pointee(rules)))
    }

    /// The hosts that were seen since the start, as the page of everything shows them; `None` where none ever was.
    pub fn hosts(&self) -> Option<Shown> {
        Some(self.hosts_with(None, SHOWN_MAX)).filter(|shown| shown.seen > 0 || !shown.tickets_refused.is_empty())
    }

    /// At most so many of those that have a text in a name or their address.
    pub fn hosts_with(&self, search: Option<&str>, most: usize) -> Shown {
        self.hosts.shown(search, most, self.turned_away.shown())
    }

    pub(super) fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// The bookmarks of this gateway.
    pub(super) async fn bookmarks(self: &Arc<Self>) -> Result<Arc<dyn Bookmarks>, NotKept> {
        if let Some(opened) = self.bookmarks.get() {
            return Ok(opened.clone());
        }
        let memory = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || memory.open()).await.map_err(io::Error::other).flatten();
        let opened = opened.map_err(|error| NotKept(error.to_string()))?;
        Ok(opened)
    }

    fn open(&self) -> io::Result<Arc<dyn Bookmarks>> {
        let _alone = self.opening.lock();
        if let Some(opened) = self.bookmarks.get() {
            return Ok(Arc::clone(opened));
        }
        let journal = Journal::open(Arc::clone(&self.fs), &self.state_dir, FOLDER)?;
        let opened: Arc<dyn Bookmarks> = match &self.entries {
            Some(entries) => Arc::new(SharedBookmarks::over(journal, Arc::clone(entries))),
            None => Arc::new(journal),
        };
        Ok(Arc::clone(self.bookmarks.get_or_init(|| opened)))
    }
}
