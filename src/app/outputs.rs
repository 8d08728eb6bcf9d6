//! The outputs that run, and their coming and going with the configuration.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::positions::Positions;
use crate::balancer::{Backoff, Balancer, EventRates, RetryBudget, Spec};
use crate::config;
use crate::faults::with_causes;
use crate::forward::batch::Identity;
use crate::forward::{self, Forwarder};
use crate::memory::Shares;
use crate::metrics;
use crate::spool::cursor::CursorError;
use crate::spool::dead_letter::SharedLetters;
use crate::spool::{Ordinal, Spool};

/// How long an output that is taken out of the configuration may go on sending what was spooled for it.
const PARTING: Duration = Duration::from_secs(10);

/// What every output needs.
pub(super) struct Common {
    pub(super) shared: crate::outputs::Shared,
    pub(super) positions: Positions,
    pub(super) rates: EventRates,
    pub(super) secret: [u8; 32],
    pub(super) spool: Spool,
    pub(super) dead_letters: SharedLetters,
}

/// The outputs that run, by name.
pub(super) struct Outputs {
    common: Common,
    running: Mutex<BTreeMap<String, Running>>,
    /// What each configured output needs of the spool, as last made durable; whether or not it runs at this moment.
    /// An output that is being restarted or has been stopped still needs its events.
    needs: Mutex<BTreeMap<String, Ordinal>>,
    /// How many outputs are configured: they share the memory for batches.
    configured: AtomicU64,
}

struct Running {
    section: config::Output,
    /// What the files held that the section names, when it was started.
    files: u64,
    forwarder: Arc<Forwarder>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Outputs {
    pub(super) fn new(common: Common) -> Self {
        Self { common, running: Mutex::default(), needs: Mutex::default(), configured: AtomicU64::new(1) }
    }

    /// Makes sure that every output of the configuration runs: starts new ones, restarts those that changed, or whose files did (at
    /// their old position), leaves the rest alone. Those that are gone go on until [`Outputs::end_others`]. An output that cannot start
    /// fails the whole, and everything is as before. Not to be called twice at a time.
    pub(super) async fn apply(&self, sections: &[config::Output]) -> anyhow::Result<()> {
        self.configured.store(sections.len() as u64, Ordering::Relaxed);
        let before: Vec<config::Output> = self.running().values().map(|running| running.section.clone()).collect();
        let changed: Vec<String> =
            self.running().values().filter(|of| of.changes(sections)).map(Running::name).collect();
        let (left_behind, others): (Vec<config::Output>, Vec<config::Output>) =
            sections.iter().cloned().partition(|section| self.is_left_behind(section.output.name()));
        let needed: Vec<String> = self.needs().keys().cloned().collect();
        self.end(|of| changed.iter().any(|name| name == of.output.name())).await;
        let result = self.start_missing(&others).and_then(|()| self.start_each(&left_behind));
        if result.is_err() {
            self.end(|of| !before.contains(of)).await;
            // An output that the refused configuration had alone must not hold the spool.
            self.needs().retain(|name, _| needed.contains(name));
            if let Err(error) = self.start_missing(&before) {
                tracing::error!(error = with_causes(error.as_ref()), "an output does not run until the next reload");
            }
        } else {
            self.share_letters(sections);
            self.common.positions.are_known();
        }
        result
    }

    /// Each output has its share of the dead letters.
    fn share_letters(&self, sections: &[config::Output]) {
        let names = sections.iter().map(|section| section.output.name().to_owned());
        self.common.dead_letters.look().share_among(names);
    }

    /// Whether an output is configured and could not be started: it is tried again, and stops no reload.
    fn is_left_behind(&self, name: &str) -> bool {
        self.needs().contains_key(name) && !self.running().contains_key(name)
    }

    /// Starts the outputs of the configuration at the start of the gateway. One whose position cannot be opened stays behind
    /// alone, and what it has not sent is kept.
    pub(super) fn begin(&self, sections: &[config::Output]) -> anyhow::Result<()> {
        self.configured.store(sections.len() as u64, Ordering::Relaxed);
        self.share_letters(sections);
        self.common.positions.expect(sections);
        self.start_each(sections)?;
        self.common.positions.are_known();
        Ok(())
    }

    /// Starts each of these, but for those whose position cannot be opened.
    fn start_each(&self, sections: &[config::Output]) -> anyhow::Result<()> {
        for section in sections {
            match self.start_missing(std::slice::from_ref(section)) {
                Err(error) if error.downcast_ref::<CursorError>().is_some() => {
                    tracing::error!(
                        error = with_causes(error.as_ref()),
                        "an output does not run; the spool keeps its events. Mend its position, or move the file away, and reload"
                    );
                    metrics::STATE_DAMAGED.add(&["position"], 1);
                    self.common.positions.keep_for(section.output.name());
                    self.needs().insert(section.output.name().to_owned(), 0);
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Ends the outputs that are not in the configuration: lets them send what is theirs already, for a while, and gives up the
    /// rest.
    pub(super) async fn end_others(&self, sections: &[config::Output]) {
        let goes = |of: &Arc<Forwarder>| !sections.iter().any(|section| section.output.name() == of.name());
        let leaving: Vec<Arc<Forwarder>> = self.forwarders().into_iter().filter(goes).collect();
        let end = *self.common.spool.durable_end().borrow();
        let until = Instant::now() + PARTING;
        while leaving.iter().any(|forwarder| forwarder.pending_below(end) > 0) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.end(|of| !sections.iter().any(|section| section.output.name() == of.output.name())).await;
        self.common.positions.retire_others(sections);
        self.needs().retain(|name, _| sections.iter().any(|section| section.output.name() == name));
    }

    async fn end(&self, which: impl Fn(&config::Output) -> bool) {
        let leaving: Vec<Running> =
            self.running().extract_if(.., |_, running| which(&running.section)).map(|(_, of)| of).collect();
        self.end_all(leaving).await;
    }

    fn start_missing(&self, sections: &[config::Output]) -> anyhow::Result<()> {
        for section in sections {
            let name = section.output.name();
            if !self.running().contains_key(name) {
                let started = self.start(section).with_context(|| format!("output {name:?} cannot start"))?;
                self.running().insert(name.to_owned(), started);
            }
        }
        Ok(())
    }

    fn start(&self, section: &config::Output) -> anyhow::Result<Running> {
        let common = &self.common;
        let name = section.output.name();
        let files = config::files::content(section);
        let output = crate::outputs::build(&section.output, &common.shared)?;
        let specs = output.endpoints().iter().map(|endpoint| spec(endpoint, &common.rates)).collect();
        let cursor = common.positions.of(name)?;
        self.needs().insert(name.to_owned(), cursor.durable_low());
        // What this output has seen must never be numbered again, even if damage took it from the log.
        common.spool.advance_to(cursor.high());
        let identity = Identity::new(&common.secret, cursor.log(), name);
        let forwarder = Arc::new(Forwarder::new(forward::Parts {
            name: name.into(),
            config: section.forward.clone(),
            output,
            balancer: Balancer::new(specs, &section.balancer, fastrand::Rng::new()),
            spool: common.spool.clone(),
            cursor,
            dead_letters: common.dead_letters.clone(),
            backoff: Backoff::between_retries(&section.balancer),
            budget: RetryBudget::new(&section.balancer),
            identity,
            rng: fastrand::Rng::new(),
            room: Shares::here().batches() / self.configured.load(Ordering::Relaxed).max(1),
        }));
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(Arc::clone(&forwarder).run(stop.clone())),
            tokio::spawn(Arc::clone(&forwarder).probe(stop.clone())),
        ];
        Ok(Running { section: section.clone(), files, forwarder, stop, tasks })
    }

    /// Stops all of them; resolves when their last requests have their answers.
    pub(super) async fn stop(&self) {
        let running = std::mem::take(&mut *self.running());
        self.end_all(running.into_values().collect()).await;
    }

    /// Ends all of them together: the slowest answer is waited for once.
    async fn end_all(&self, leaving: Vec<Running>) {
        let ended = futures_util::future::join_all(leaving.into_iter().map(Running::end)).await;
        for (name, life) in ended.into_iter().flatten() {
            self.common.positions.note(&name, life);
        }
    }

    /// The forwarders that run.
    pub(super) fn forwarders(&self) -> Vec<Arc<Forwarder>> {
        self.running().values().map(|running| Arc::clone(&running.forwarder)).collect()
    }

    /// The lowest position that some configured output still needs, after making those that run durable; `None` when
    /// nothing is configured. Blocks on the disk.
    pub(super) fn checkpoint(&self) -> Option<Ordinal> {
        for forwarder in self.forwarders() {
            match forwarder.checkpoint() {
                Ok(low) => {
                    self.needs().entry(forwarder.name().to_owned()).and_modify(|need| *need = low);
                }
                Err(error) => {
                    tracing::error!(output = forwarder.name(), %error, "a position cannot be made durable; the spool keeps what it needs");
                }
            }
        }
        self.needs().values().min().copied()
    }

    /// What of a range some configured output still has to send; `None` while one of them does not run.
    pub(super) fn unsettled(&self, range: &Range<Ordinal>) -> Option<Vec<Range<Ordinal>>> {
        let forwarders = self.forwarders();
        let runs = |name: &String| forwarders.iter().any(|forwarder| forwarder.name() == name);
        let all_run = self.needs().keys().all(runs);
        all_run.then(|| forwarders.iter().flat_map(|forwarder| forwarder.unsettled(range)).collect())
    }

    fn needs(&self) -> MutexGuard<'_, BTreeMap<String, Ordinal>> {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn name(&self) -> String {
        self.section.output.name().to_owned()
    }

    /// Whether these sections have it, but differently.
    fn changes(&self, sections: &[config::Output]) -> bool {
        let same = sections.iter().find(|section| section.output.name() == self.section.output.name());
        same.is_some_and(|section| *section != self.section || config::files::content(section) != self.files)
    }

    /// Ends its tasks and closes its books; its name and how old its position is now.
    async fn end(self) -> Option<(String, u64)> {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(ended) = task.await {
                tracing::error!(output = self.forwarder.name(), %ended, "a task of an output ended badly");
            }
        }
        let name = self.forwarder.name().to_owned();
        let forwarder = self.forwarder;
        let closed = tokio::task::spawn_blocking(move || forwarder.close()).await;
        let Ok(Ok(life)) = closed else {
            tracing::warn!("an output's position cannot be made durable; a restart may repeat its last batches");
            return None;
        };
        Some((name, life))
    }
}

fn spec(endpoint: &crate::outputs::output::EndpointSpec, rates: &EventRates) -> Spec {
    Spec {
        name: endpoint.name.clone(),
        weight: endpoint.weight,
        priority: endpoint.priority,
        events_per_second: endpoint.events_per_second,
        rate: rates.of(&endpoint.address),
        max_in_flight: endpoint.max_in_flight,
    }
}
