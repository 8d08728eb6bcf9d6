//! What is remembered over reloads and shared by the listeners: who is registered, who was seen, who failed to sign.

use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;

use super::registry::{Agent, Change, FileRegistry, NotKept, Registry, SharedRegistry};
use super::rounds::Rounds;
use super::watch::{Call, Shown, Watch};
use crate::clock::wall_s;
use crate::fs::{Fs, RealFs};
use crate::inputs::entra;
use crate::metrics;
use crate::shared::Store;

/// The folder of the state directory that registrations are in.
const FOLDER: &str = "ods";

/// The memory of one gateway.
pub struct Memory {
    fs: Arc<dyn Fs>,
    state_dir: PathBuf,
    registry: OnceLock<Arc<dyn Registry>>,
    /// Where other gateways have it too, if any do.
    documents: Option<Arc<dyn Store>>,
    opening: Mutex<()>,
    watch: Watch,
    /// Which uploads without any time are repetitions.
    pub(super) rounds: Rounds,
    /// Who signed wrongly.
    pub(super) failures: entra::memory::Memory,
}

impl Memory {
    /// Nothing is read or made on the disk until a listener speaks to agents.
    pub fn new(fs: Arc<dyn Fs>, state_dir: PathBuf) -> Self {
        let (registry, opening) = (OnceLock::new(), Mutex::default());
        let (watch, rounds, failures) = (Watch::default(), Rounds::default(), entra::memory::Memory::default());
        Self { fs, state_dir, registry, documents: None, opening, watch, rounds, failures }
    }

    /// With registrations that other gateways have too.
    #[must_use]
    pub fn sharing(self, documents: Option<Arc<dyn Store>>) -> Self {
        Self { documents, ..self }
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
        let _alone = self.opening.lock();
        if let Some(opened) = self.registry.get() {
            return Ok(Arc::clone(opened));
        }
        let opened = FileRegistry::open(Arc::clone(&self.fs), &self.state_dir.join(FOLDER));
        let opened = opened.map_err(|error: io::Error| {
            tracing::error!(%error, "the registry of agents cannot be read; agents get 503 and come again");
            NotKept::Failed(error.to_string())
        })?;
        let opened: Arc<dyn Registry> = match &self.documents {
            Some(documents) => Arc::new(SharedRegistry::over(opened, Arc::clone(documents))),
            None => Arc::new(opened),
        };
        Ok(Arc::clone(self.registry.get_or_init(|| opened)))
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
        let Some(wait) = self.watch.note(agent, call) else { return };
        if let Some(registry) = self.registry.get() {
            let change = registry.change(Change::Seen(Arc::clone(&agent.certificate), wall_s()));
            // Lost with a crash, it is noted again with the agent's next call.
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                change.await
            });
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
        let registry = self.registry().await?;
        if let Change::Expire(after_s) = change {
            // That an agent was seen is noted once a day only; who is there must not be forgotten for that.
            let recent = self.watch.called_within(Duration::from_secs(after_s));
            let seen = recent.into_iter().map(|(certificate, at)| registry.change(Change::Seen(certificate, at)));
            join_all(seen).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        registry.change(change).await
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

#[cfg(test)]
mod tests {
    use super::super::registry::Proof;
    use super::*;

    /// One that was seen already: that it calls is not noted again today.
    fn agent(name: &str) -> Agent {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        let agent = Agent::new(made.cert.der(), "w", name, name, None, wall_s()).expect("it is one");
        Agent { is_confirmed: true, ..agent }
    }

    #[tokio::test]
    async fn who_has_called_is_not_forgotten_with_those_that_have_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let memory = Arc::new(Memory::over(dir.path().to_owned()));
        let there = agent("there");
        for agent in [&there, &agent("gone")] {
            memory.change(Change::Register(Box::new(agent.clone()), Proof::Shown)).await.expect("there is room");
        }
        // Use is counted in whole seconds.
        while memory.open().expect("it is open").use_s() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (listener, address) = ("agents".into(), [10, 0, 0, 1].into());
        let silent_after = Duration::from_secs(600);
        let call =
            Call { listener: &listener, address, version: None, name: None, platform: None, events: 0, silent_after };
        memory.called(&there, &call);
        assert_eq!(memory.change(Change::Expire(2)).await, Ok(1));
        let left = memory.agents(10).expect("it is open").first;
        assert_eq!(left.iter().map(|agent| &*agent.computer).collect::<Vec<_>>(), ["there"]);
    }
}
