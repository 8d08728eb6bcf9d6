//! The outputs that run, and their coming and going with the configuration.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::left_behind::{LeftBehind, Why};
use super::positions::Positions;
use crate::balancer::{Backoff, Balancer, EventRates, RetryBudget, Spec};
use crate::config;
use crate::faults::with_causes;
use crate::forward::alike::Groups;
use crate::forward::batch::Identity;
use crate::forward::{self, Forwarder};
use crate::memory::Shares;
use crate::metrics;
use crate::replication::Permit;
use crate::spool::cursor::CursorError;
use crate::spool::dead_letter::SharedLetters;
use crate::spool::decided::Decided;
use crate::spool::{Ordinal, Spool};
use crate::values::PerMinute;

/// How long an output that is taken out of the configuration may go on sending what was spooled for it.
const PARTING: Duration = Duration::from_secs(10);

/// Why nothing is started.
const CLOSED: &str = "the gateway stops: its outputs have ended";

/// What every output needs.
pub(super) struct Common {
    pub(super) shared: crate::outputs::Shared,
    pub(super) positions: Positions,
    pub(super) rates: EventRates,
    pub(super) secret: [u8; 32],
    pub(super) spool: Spool,
    /// Where gateways share events, which of them are this one's to forward.
    pub(super) decided: Option<Arc<Decided>>,
    /// Where the log is replicated, whether it may be sent.
    pub(super) permit: Option<Permit>,
    pub(super) dead_letters: SharedLetters,
}

/// The outputs that run, by name.
pub(super) struct Outputs {
    common: Common,
    /// What outputs of one form share.
    alike: Groups,
    running: Mutex<BTreeMap<String, Running>>,
    /// They were stopped for good. Set while `running` is locked, where nothing is added after it.
    is_closed: AtomicBool,
    /// What each configured output needs of the spool, as last made durable; whether or not it runs at this moment.
    /// An output that is being restarted or has been stopped still needs its events.
    needs: Mutex<BTreeMap<String, Ordinal>>,
    left_behind: LeftBehind,
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

/// An output that can be started.
struct Ready {
    section: config::Output,
    files: u64,
    forwarder: Arc<Forwarder>,
}

impl Outputs {
    pub(super) fn new(common: Common) -> Self {
        Self {
            common,
            alike: Groups::default(),
            running: Mutex::default(),
            is_closed: AtomicBool::new(false),
            needs: Mutex::default(),
            left_behind: LeftBehind::default(),
            configured: AtomicU64::new(1),
        }
    }

    /// Makes sure that every output of the configuration runs: starts new ones, restarts those that changed, or whose files did (at
    /// their old position), leaves the rest alone. Those that are gone go on until [`Outputs::end_others`]. An output that cannot start
    /// fails the whole, and everything is as before. Once they are stopped nothing starts. Not to be called twice at a time.
    pub(super) async fn apply(&self, sections: &[config::Output]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_closed.load(Ordering::Acquire), CLOSED);
        self.configured.store(sections.len() as u64, Ordering::Relaxed);
        let before: Vec<config::Output> = self.running().values().map(|running| running.section.clone()).collect();
        let changed = self.changed(sections, config::files::content).await?;
        let (left_behind, others): (Vec<config::Output>, Vec<config::Output>) =
            sections.iter().cloned().partition(|section| self.is_left_behind(section.output.name()));
        let needed: Vec<String> = self.needs().keys().cloned().collect();
        self.end(|of| changed.iter().any(|name| name == of.output.name())).await;
        let result = self.start_missing(&others).and_then(|()| self.start_each(&left_behind));
        if result.is_err() {
            self.end(|of| !before.contains(of)).await;
            // An output that the refused configuration had alone must not hold the spool.
            self.needs().retain(|name, _| needed.contains(name));
            for section in &before {
                self.start_or_leave_behind(section);
            }
        } else {
            self.share_letters(sections);
            self.common.positions.are_known();
        }
        result
    }

    /// Those that run and that these sections have differently. Their files may lie on a disk that hangs: they are read off the
    /// runtime, and while nobody else is kept from the outputs.
    async fn changed(
        &self,
        sections: &[config::Output],
        content: impl Fn(&config::Output) -> u64 + Send + 'static,
    ) -> anyhow::Result<Vec<String>> {
        let run: Vec<(config::Output, u64)> =
            self.running().values().map(|running| (running.section.clone(), running.files)).collect();
        let sections = sections.to_vec();
        let look = move || {
            let differs = |(of, files): &&(config::Output, u64)| {
                let same = sections.iter().find(|section| section.output.name() == of.output.name());
                same.is_some_and(|section| section != of || content(section) != *files)
            };
            run.iter().filter(differs).map(|(of, _)| of.output.name().to_owned()).collect()
        };
        tokio::task::spawn_blocking(look).await.context("looking for what changed ended")
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
                Err(error) if is_of_position(&error) => self.leave_behind(section.output.name(), &error),
                result => result?,
            }
        }
        Ok(())
    }

    fn start_or_leave_behind(&self, section: &config::Output) {
        if let Err(error) = self.start_missing(std::slice::from_ref(section)) {
            self.leave_behind(section.output.name(), &error);
        }
    }

    /// This output does not run, and the spool keeps what it needs. Told when it is news: it is tried again and again.
    fn leave_behind(&self, name: &str, error: &anyhow::Error) {
        let reason = with_causes(error.as_ref());
        if self.left_behind.note(name, reason.clone()) {
            tracing::error!(
                output = name,
                error = reason,
                "an output cannot start; the spool keeps its events. Fix the error, or move an unreadable position file away; the start is retried automatically"
            );
            metrics::STATE_DAMAGED.add(&["position"], u64::from(is_of_position(error)));
        }
        self.common.positions.keep_for(name);
        self.needs().entry(name.to_owned()).or_insert(0);
    }

    /// Tries those of the configuration again that could not start. Whether one of them runs now. Not while a configuration is
    /// applied.
    pub(super) fn retry(&self, sections: &[config::Output]) -> bool {
        let left: Vec<&config::Output> =
            sections.iter().filter(|section| self.is_left_behind(section.output.name())).collect();
        if self.is_closed.load(Ordering::Acquire) {
            return false;
        }
        left.iter().for_each(|section| self.start_or_leave_behind(section));
        left.iter().any(|section| !self.is_left_behind(section.output.name()))
    }

    /// Those of the configuration that could not start, and why.
    pub(super) fn left_behind(&self) -> Vec<(String, Why)> {
        self.left_behind.list().into_iter().filter(|(name, _)| self.is_left_behind(name)).collect()
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
        let is_configured = |name: &str| sections.iter().any(|section| section.output.name() == name);
        self.needs().retain(|name, _| is_configured(name));
        self.left_behind.retain(is_configured);
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
                let ready = self.prepare(section).with_context(|| format!("output {name:?} cannot start"))?;
                self.start(ready)?;
                if self.left_behind.has_started(name) {
                    tracing::info!(output = name, "an output that could not start is running now");
                }
            }
        }
        Ok(())
    }

    /// Starts it, unless they were stopped meanwhile: two forwarders over one position would send everything twice.
    fn start(&self, ready: Ready) -> anyhow::Result<()> {
        let mut running = self.running();
        anyhow::ensure!(!self.is_closed.load(Ordering::Acquire), CLOSED);
        let started = ready.start();
        running.insert(started.name(), started);
        Ok(())
    }

    fn prepare(&self, section: &config::Output) -> anyhow::Result<Ready> {
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
        let alike = output.form().map(|form| Arc::new(self.alike.join(form)));
        let forwarder = Arc::new(Forwarder::new(forward::Parts {
            name: name.into(),
            config: section.forward.clone(),
            output,
            balancer: Balancer::new(specs, &section.balancer, fastrand::Rng::new()),
            spool: common.spool.clone(),
            decided: common.decided.clone(),
            permit: common.permit.clone(),
            alike,
            cursor,
            dead_letters: common.dead_letters.clone(),
            backoff: Backoff::between_retries(&section.balancer),
            budget: RetryBudget::new(&section.balancer),
            identity,
            rng: fastrand::Rng::new(),
            room: Shares::here().batches() / self.configured.load(Ordering::Relaxed).max(1),
        }));
        Ok(Ready { section: section.clone(), files, forwarder })
    }

    /// Stops all of them for good; resolves when their last requests have their answers.
    pub(super) async fn stop(&self) {
        let running = {
            let mut running = self.running();
            self.is_closed.store(true, Ordering::Release);
            std::mem::take(&mut *running)
        };
        self.end_all(running.into_values().collect()).await;
    }

    /// Ends all of them together: the slowest answer is waited for once.
    async fn end_all(&self, leaving: Vec<Running>) {
        let ended = futures_util::future::join_all(leaving.into_iter().map(Running::end)).await;
        for (name, life) in ended.into_iter().flatten() {
            self.common.positions.note(&name, life);
        }
    }

    /// What is sent through each data collection rule.
    pub(super) fn quotas_used(&self) -> BTreeMap<String, PerMinute> {
        self.common.shared.quotas_used()
    }

    /// Shares the limits of rules with other gateways, which use this much of them.
    pub(super) fn share_quotas_with(&self, others: &[BTreeMap<String, PerMinute>]) {
        self.common.shared.share_quotas_with(others);
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
                    tracing::error!(output = forwarder.name(), %error, "a read position cannot be made durable; the spool keeps the events behind it");
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

    /// By output the item below which it needs nothing, as last made durable.
    pub(super) fn lows(&self) -> BTreeMap<String, Ordinal> {
        self.needs().clone()
    }

    fn needs(&self) -> MutexGuard<'_, BTreeMap<String, Ordinal>> {
        self.needs.lock()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock()
    }
}

impl Ready {
    fn start(self) -> Running {
        let Self { section, files, forwarder } = self;
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(Arc::clone(&forwarder).run(stop.clone())),
            tokio::spawn(Arc::clone(&forwarder).probe(stop.clone())),
        ];
        Running { section, files, forwarder, stop, tasks }
    }
}

impl Running {
    fn name(&self) -> String {
        self.section.output.name().to_owned()
    }

    /// Ends its tasks and closes its books; its name and how old its position is now.
    async fn end(self) -> Option<(String, u64)> {
        self.stop.cancel();
        for task in self.tasks {
            if let Err(ended) = task.await {
                tracing::error!(output = self.forwarder.name(), %ended, "an output task failed");
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

/// Whether it is the position that keeps an output from starting.
fn is_of_position(error: &anyhow::Error) -> bool {
    error.downcast_ref::<CursorError>().is_some()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fs, RealFs};
    use crate::spool::dead_letter::DeadLetters;

    fn outputs(dir: &std::path::Path) -> Outputs {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let (spool, _) =
            Spool::open(&crate::spool::Config::default(), &dir.join("spool"), Arc::clone(&fs)).expect("a spool");
        std::fs::create_dir(dir.join("outputs")).expect("a folder");
        let positions = Positions::open(Arc::clone(&fs), dir, dir.join("outputs"), spool.clone()).expect("positions");
        let room = config::Config::default().dead_letters.room();
        let letters = DeadLetters::open_with(fs, &dir.join("dead-letters"), room).expect("dead letters");
        Outputs::new(Common {
            shared: crate::outputs::Shared::new(dir),
            positions,
            rates: EventRates::default(),
            secret: [0; 32],
            spool,
            decided: None,
            permit: None,
            dead_letters: letters.into(),
        })
    }

    #[tokio::test]
    async fn outputs_that_were_stopped_are_not_started_by_a_reload_that_comes_late() {
        let dir = tempfile::tempdir().expect("a folder");
        let sections = [config::Output::default()];
        let outputs = outputs(dir.path());
        outputs.begin(&sections).expect("begun");
        assert_eq!(outputs.forwarders().len(), 1);
        let late = outputs.prepare(&sections[0]).expect("as good as started");
        outputs.stop().await;
        assert!(outputs.start(late).is_err() && outputs.apply(&sections).await.is_err());
        assert!(outputs.forwarders().is_empty());
    }

    #[tokio::test]
    async fn files_that_outputs_name_are_read_while_nobody_is_kept_from_the_outputs() {
        let dir = tempfile::tempdir().expect("a folder");
        let sections = [config::Output::default()];
        let outputs = Arc::new(outputs(dir.path()));
        outputs.begin(&sections).expect("begun");
        let others = Arc::clone(&outputs);
        let read = move |_: &config::Output| u64::from(others.running.try_lock().is_some());
        let before = config::files::content(&sections[0]);
        assert_ne!(before, 1);
        assert_eq!(outputs.changed(&sections, move |_| before).await.expect("read"), [""; 0]);
        for running in outputs.running().values_mut() {
            running.files = 1;
        }
        assert_eq!(outputs.changed(&sections, read).await.expect("read"), [""; 0], "nobody has the lock");
        outputs.stop().await;
    }
}
