//! What is remembered over reloads and shared by the listeners: who is registered, who was seen, who failed to sign.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::registry::{Agent, Change, FileRegistry, NotKept, Registry};
use super::watch::{Call, Shown, Watch};
use crate::clock::wall_s;
use crate::fs::{Fs, RealFs};
use crate::inputs::entra;
use crate::metrics;

/// The folder of the state directory that registrations are in.
const FOLDER: &str = "ods";

/// The memory of one gateway.
pub struct Memory {
    fs: Arc<dyn Fs>,
    state_dir: PathBuf,
    registry: OnceLock<Arc<dyn Registry>>,
    opening: Mutex<()>,
    watch: Watch,
    /// Who signed wrongly.
    pub(super) failures: entra::memory::Memory,
}

impl Memory {
    /// Nothing is read or made on the disk until a listener speaks to agents.
    pub fn new(fs: Arc<dyn Fs>, state_dir: PathBuf) -> Self {
        let (registry, opening) = (OnceLock::new(), Mutex::default());
        Self { fs, state_dir, registry, opening, watch: Watch::default(), failures: entra::memory::Memory::default() }
    }

    /// Over a state directory of the machine: for tests.
    pub fn over(state_dir: PathBuf) -> Self {
        Self::new(Arc::new(RealFs), state_dir)
    }

    /// The one registry of this gateway.
    ///
    /// # Errors
    ///
    /// When the file system does not give it; the next call tries again.
    pub fn open(&self) -> Result<Arc<dyn Registry>, NotKept> {
        if let Some(opened) = self.registry.get() {
            return Ok(Arc::clone(opened));
        }
        let _alone = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = self.registry.get() {
            return Ok(Arc::clone(opened));
        }
        let opened = FileRegistry::open(Arc::clone(&self.fs), &self.state_dir.join(FOLDER));
        let opened = opened.map_err(|error: io::Error| {
            tracing::error!(%error, "the registry of agents cannot be read; agents get 503 and come again");
            NotKept::Failed(error.to_string())
        })?;
        Ok(Arc::clone(self.registry.get_or_init(|| Arc::new(opened))))
    }

    /// The same, off the async runtime where it has to be read first.
    pub(super) async fn registry(self: &Arc<Self>) -> Result<Arc<dyn Registry>, NotKept> {
        if let Some(opened) = self.registry.get() {
            return Ok(Arc::clone(opened));
        }
        let memory = Arc::clone(self);
        let opening = tokio::task::spawn_blocking(move || memory.open());
        opening.await.unwrap_or_else(|ended| Err(NotKept::Failed(ended.to_string())))
    }

    /// Notes that an agent called. What of it must outlive a restart is written beside the answer.
    pub(super) fn called(&self, agent: &Agent, call: &Call<'_>) {
        if !self.watch.note(agent, call) {
            return;
        }
        if let Some(registry) = self.registry.get() {
            let change = registry.change(Change::Seen(Arc::clone(&agent.certificate), wall_s()));
            // Lost with a crash, it is noted again with the agent's next call.
            tokio::spawn(change);
        }
    }

    /// Whether an agent has called since the start.
    pub(super) fn has_called(&self, agent: &Agent) -> bool {
        self.watch.has_called(agent)
    }

    /// Whether this is the first refresh that an agent makes with this certificate since it was noted as such; asked once.
    pub(super) fn first_refresh(&self, agent: &Agent) -> bool {
        self.watch.first_refresh(agent)
    }

    /// Changes the registry, for people.
    ///
    /// # Errors
    ///
    /// When that was not made durable, or there is no such agent.
    pub async fn change(self: &Arc<Self>, change: Change) -> Result<usize, NotKept> {
        self.registry().await?.change(change).await
    }

    /// The agents that are registered, at most so many, the busiest first; `None` where no listener speaks to agents.
    pub fn agents(&self, most: usize) -> Option<Shown> {
        let registry = self.registry.get()?;
        Some(self.watch.shown(&registry.state(), most))
    }

    /// Shows how many there are, and how many are silent.
    pub fn show(&self) {
        let Some(registry) = self.registry.get() else { return };
        let state = registry.state();
        self.watch.tidy(&state);
        let (known, silent) = self.watch.counts(&state);
        metrics::AGENTS_KNOWN.set(&[], known as f64);
        metrics::AGENTS_SILENT.set(&[], silent as f64);
    }
}
