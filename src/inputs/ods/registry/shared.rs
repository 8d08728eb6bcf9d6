//! The same registry at several gateways.
//!
//! All registrations together are one document, with a revision. Changes that wait are made together upon what the others have,
//! win the document by comparing its revision, and only then are written to this gateway's file, in force and answered. The
//! others find the later revision within a second, and write it to theirs. Where nobody can be asked nothing changes: agents that
//! are registered go on, new ones get 503 and come again.
//!
//! A gateway that joins with agents of its own adds them to those of the others. An engine that forgot is given the registry by
//! whoever has the latest.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Change, FileRegistry, NotKept, Registry, State};
use crate::shared::{Document, Store};

/// The name of the document.
const NAME: &str = "agents";
/// Most changes that wait; whoever brings more waits.
const WAITING_MAX: usize = 4096;
/// How often a change is made anew upon what another gateway was faster with.
const TRIES: u32 = 20;
/// How long it waits then at most, in milliseconds: who was faster may be again.
const PAUSE_MS: u64 = 50;
/// When what failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Registrations of several gateways.
pub struct SharedRegistry {
    local: Arc<FileRegistry>,
    changes: mpsc::Sender<Asked>,
}

struct Asked {
    change: Change,
    done: oneshot::Sender<Result<usize, NotKept>>,
}

impl SharedRegistry {
    /// Over the registry of this gateway, within a runtime. Its task ends with it.
    pub fn over(local: FileRegistry, documents: Arc<dyn Store>) -> Self {
        let local = Arc::new(local);
        let (changes, asked) = mpsc::channel(WAITING_MAX);
        let agreement = Agreement { local: Arc::clone(&local), documents, told: String::new() };
        tokio::spawn(agreement.run(asked));
        Self { local, changes }
    }
}

impl Registry for SharedRegistry {
    fn state(&self) -> Arc<State> {
        self.local.state()
    }

    fn change(&self, change: Change) -> BoxFuture<'static, Result<usize, NotKept>> {
        let changes = self.changes.clone();
        async move {
            let (done, kept) = oneshot::channel();
            let ended = || NotKept::Failed("the gateway stops".to_owned());
            changes.send(Asked { change, done }).await.map_err(|_| ended())?;
            kept.await.map_err(|_| ended())?
        }
        .boxed()
    }

    fn use_s(&self) -> u64 {
        self.local.use_s()
    }
}

/// What keeps this gateway's registry and the others' the same.
struct Agreement {
    local: Arc<FileRegistry>,
    documents: Arc<dyn Store>,
    /// What was told last of what keeps it from doing so.
    told: String,
}

impl Agreement {
    /// Makes changes, and takes over those of others, until nobody can ask any more.
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        let mut revisions = self.documents.watch();
        let mut waiting = Vec::new();
        self.follow(true).await;
        loop {
            tokio::select! {
                count = asked.recv_many(&mut waiting, WAITING_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.change(std::mem::take(&mut waiting)).await;
                }
                changed = revisions.changed() => {
                    if changed.is_err() {
                        // Nobody shares anything any more: the gateway stops.
                        return;
                    }
                    self.follow(false).await;
                }
                () = tokio::time::sleep(AGAIN) => self.follow(false).await,
            }
        }
    }

    /// Takes over what is later at the others.
    async fn follow(&mut self, at_start: bool) {
        let there = self.documents.watch().borrow().clone();
        let there = there.map(|there| there.get(NAME).cloned().unwrap_or_default());
        if !at_start && there.is_none_or(|there| there == self.local.state().revision) {
            return;
        }
        match self.agree().await {
            Ok(_) => self.told.clear(),
            Err(error) => {
                let error = error.to_string();
                if error != self.told && self.documents.watch().borrow().is_some() {
                    tracing::error!(error, "this gateway and the others do not have the same agents");
                    self.told = error;
                }
            }
        }
    }

    /// Makes changes at all gateways.
    async fn change(&self, asked: Vec<Asked>) {
        let (changes, waiting): (Vec<Change>, Vec<_>) =
            asked.into_iter().map(|asked| (asked.change, asked.done)).unzip();
        let results = match self.make(&changes).await {
            Ok(results) => results,
            Err(failed) => vec![Err(failed); changes.len()],
        };
        for (done, result) in waiting.into_iter().zip(results) {
            // Who does not wait any more has lost nothing.
            done.send(result).ok();
        }
    }

    async fn make(&self, changes: &[Change]) -> Result<Vec<Result<usize, NotKept>>, NotKept> {
        for tried in 0..TRIES {
            // Mostly nobody was faster: then it need not be read.
            let mine = self.local.state();
            let mut state =
                if tried == 0 && self.is_latest(&mine) { State::clone(&mine) } else { self.agree().await? };
            let use_s = self.local.use_s();
            let results: Vec<_> = changes.iter().map(|change| state.apply(change.clone(), use_s)).collect();
            if results.iter().all(Result::is_err) || self.win(&mut state).await? {
                return Ok(results);
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..PAUSE_MS))).await;
        }
        Err(NotKept::Failed("the other gateways change it all the time".to_owned()))
    }

    /// Whether this was the latest version a second ago.
    fn is_latest(&self, mine: &State) -> bool {
        let there = self.documents.watch().borrow().as_ref().and_then(|there| there.get(NAME).cloned());
        there.is_some_and(|there| there == mine.revision)
    }

    /// What all have now, in force here too.
    async fn agree(&self) -> Result<State, NotKept> {
        for _ in 0..TRIES {
            if let Some(all) = self.try_to_agree().await? {
                return Ok(all);
            }
        }
        Err(NotKept::Failed("the other gateways change it all the time".to_owned()))
    }

    /// The same; `None` where another gateway was faster.
    async fn try_to_agree(&self) -> Result<Option<State>, NotKept> {
        let mine = State::clone(&self.local.state());
        let mut all = match self.documents.get(NAME).await.map_err(|error| failed(&error))? {
            Some(there) if there.revision == mine.revision => return Ok(Some(mine)),
            Some(there) if there.revision > mine.revision => {
                let mut theirs = State::of(&there.content, &there.revision).map_err(|error| failed(&error))?;
                if !mine.revision.is_empty() || mine == State::default() {
                    self.local.put(theirs.clone()).await?;
                    return Ok(Some(theirs));
                }
                theirs.add(&mine);
                theirs
            }
            None if mine.revision.is_empty() => mine,
            // An engine that forgot, or fell back to something older.
            there => {
                let older = there.as_ref().map(|there| &*there.revision);
                return Ok(self.give(&mine, older).await?.then_some(mine));
            }
        };
        Ok(self.win(&mut all).await?.then_some(all))
    }

    /// Makes this the next version, if nobody was faster, and writes it here.
    async fn win(&self, state: &mut State) -> Result<bool, NotKept> {
        let content = state.content().map_err(|error| failed(&error))?;
        let document = Document::after(&state.revision, content);
        let expected = Some(&*state.revision).filter(|revision| !revision.is_empty());
        let set = self.documents.compare_and_set(NAME, expected, &document).await;
        if !set.map_err(|error| failed(&error))? {
            return Ok(false);
        }
        state.revision = document.revision;
        // What cannot be written here is in force at the others, and is taken over when that is mended.
        self.local.put(state.clone()).await?;
        Ok(true)
    }

    /// Gives the others what this gateway has, as it is.
    async fn give(&self, mine: &State, expected: Option<&str>) -> Result<bool, NotKept> {
        let content = mine.content().map_err(|error| failed(&error))?;
        let document = Document { revision: mine.revision.clone(), content };
        let set = self.documents.compare_and_set(NAME, expected, &document).await.map_err(|error| failed(&error))?;
        if set {
            tracing::info!(revision = mine.revision, "the other gateways get the agents of this one");
        }
        Ok(set)
    }
}

fn failed(error: &dyn std::error::Error) -> NotKept {
    NotKept::Failed(error.to_string())
}
