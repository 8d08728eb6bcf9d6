//! The running gateway: the only place that knows every part.
//!
//! [`Gateway::start`] builds the parts against the way of an event: what takes events out runs before what lets them
//! in. [`Gateway::leave`] says goodbye while everything is still taken. [`Gateway::stop`] goes with the way: no new uploads,
//! then the uploads inside, then the requests on their way, then the books. A stop is only a polite crash: nothing depends on
//! it having happened.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Scrape};
use crate::config::Config;

pub mod audit;
mod build;
mod control;
mod dead_letters;
mod doors;
mod expiry;
mod gauges;
mod growth;
mod history;
mod hosts;
mod housekeeping;
mod in_force;
mod inside;
mod kept;
mod leave;
mod left_behind;
mod loading;
pub mod memory;
mod needs;
pub mod objections;
pub mod opening;
mod outputs;
mod positions;
pub mod reload;
pub mod replicas;
mod replicating;
mod rule_store;
pub mod rules;
mod series;
mod sharing;
mod shown;
pub mod state;
mod state_sharing;
mod status;
mod traces;
pub mod warnings;

pub use build::Machine;
use build::Parts;
pub use dead_letters::shown as shown_dead_letter;

/// How often house is kept, and everything is looked at for what is shown.
const EVERY: Duration = Duration::from_secs(1);

/// A gateway that runs.
pub struct Gateway {
    parts: Arc<Parts>,
    admin: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// How long each step of a stop may take before it is cut short; but for the listeners.
const STOP_STEP: Duration = Duration::from_secs(10);

/// Listeners cut what has not ended within their `drain_timeout`; that they have ended is told within so much more.
const CUT: Duration = Duration::from_secs(5);

impl Gateway {
    /// Starts everything, or fails with what an operator can do about it. A reload reads from `config_path`; without
    /// one there is nothing to reload.
    pub async fn start(config: Config, config_path: Option<PathBuf>, scrape: Scrape) -> anyhow::Result<Self> {
        Self::start_on(Machine::default(), config, config_path, scrape).await
    }

    /// The same on another file system or clock: for tests and drills.
    pub async fn start_on(
        machine: Machine,
        config: Config,
        config_path: Option<PathBuf>,
        scrape: Scrape,
    ) -> anyhow::Result<Self> {
        // A port that is taken must be found before the spool is touched.
        let admin_listener = admin::bind(config.admin.listen)?;
        let admin = admin_listener.local_addr()?;
        let (parts, starting) = build::parts(config, config_path, machine, admin).await?;
        let parts = Arc::new(parts);
        objections::ask(&parts);
        let config = parts.in_force.current();
        let listeners = parts.uploads.prepare(&config.listeners)?;
        let tunnels = parts.tunnels.prepare(&config.tunnel, &parts.own_addresses(&listeners))?;
        parts.expiry.renew(&config, &config.state_dir);
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let loading = loading::begin(&parts);
        series::begin(&parts);

        let plane = admin::Parts {
            readiness: parts.readiness.clone(),
            scrape: scrape.clone(),
            status: Arc::new(status::Source(Arc::clone(&parts))),
            control: Arc::new(control::Controls(Arc::clone(&parts))),
            rules: Arc::new(parts.live_rules()),
            stopping: stop.clone(),
        };
        let router = admin::router(&config.admin, admin, plane);
        let door = admin::Door::new(&config.admin, parts.admin_tls.clone(), router);
        tasks.spawn(admin::serve(admin_listener, door, stop.clone()));
        tasks.spawn(scrape.upkeep(stop.clone()));
        traces::begin(&config.telemetry, &mut tasks, &stop)?;
        parts.tunnels.apply(tunnels);
        let begin = Self::begin(&parts, &config, &mut tasks, &stop);
        if let Err(error) = doors::open(&parts, listeners, config.drain_grace.get(), loading, begin).await {
            // What is served already ends with the start.
            tokio::join!(parts.uploads.stop(), parts.tunnels.stop());
            return Err(error);
        }
        tasks.spawn(housekeeping::run(Arc::clone(&parts), stop.clone()));
        tasks.spawn(hosts::run(Arc::clone(&parts), stop.clone()));
        if let Some(rules) = parts.shared_rules() {
            tasks.spawn(rules.follow(stop.clone()));
        }
        drop(starting);
        Ok(Self { parts, admin, stop, tasks })
    }

    /// Reads what was seen before, and begins to forward and to take uploads. Nothing is changed from outside meanwhile.
    async fn begin(
        parts: &Arc<Parts>,
        config: &Config,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let _alone = tokio::join!(parts.reloading.lock(), parts.replaying.lock());
        loading::load(parts).await;
        if let Some(sharing) = &parts.sharing {
            sharing.begin(tasks, stop).await;
        }
        if let Some(sharing) = &parts.state_sharing {
            sharing.begin(tasks, stop);
        }
        if !parts.is_standing_in() {
            parts.outputs.begin(&config.outputs)?;
            parts.outputs.end_others(&config.outputs).await;
        }
        // What stands in for a state that cannot be used is nobody's log, and no heir: no output runs that could send.
        if let Some(replicating) = parts.replicating.as_ref().filter(|_| !parts.is_standing_in()) {
            replicating.begin(parts, tasks, stop);
        }
        if let Some(replicas) = &parts.replicas {
            replicas.begin(tasks, stop);
        }
        // Before the first upload: a repetition of what is lost would else be taken for a duplicate.
        housekeeping::checkpoint(parts).await;
        series::begin_counters(parts);
        Ok(())
    }

    /// Where the admin plane listens.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The URL of the admin plane, without a slash at the end.
    pub fn admin_url(&self) -> String {
        let scheme = if self.parts.admin_tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.admin)
    }

    /// Where uploads are taken: each listener's name and address.
    pub fn upload_addresses(&self) -> Vec<(String, SocketAddr)> {
        self.parts.uploads.addresses()
    }

    /// Where tunnels are asked for: each listener's name and address.
    pub fn tunnel_addresses(&self) -> Vec<(String, SocketAddr)> {
        self.parts.tunnels.addresses()
    }

    /// The state of everything, as on `/status`.
    pub fn status(&self) -> serde_json::Value {
        status::status(&self.parts)
    }

    /// Reads the configuration again and applies it, or refuses it whole. Says what changed.
    pub async fn reload(&self) -> anyhow::Result<String> {
        control::reload(&self.parts).await.context("the configuration is refused; the old one stays in force")
    }

    /// Says to balancers that it is about to stop, and goes on taking uploads and tunnels for `drain_grace`, so that none is lost
    /// to a stop. Whoever cannot wait drops the future.
    pub async fn leave(&self) {
        let until = self.parts.begin_to_leave(objections::STOPPING);
        tokio::time::sleep_until(until).await;
    }

    /// Stops: takes nothing new, ends what is under way, closes the books.
    pub async fn stop(mut self) {
        self.parts.readiness.fall(objections::STOPPING);
        // One that is under way comes to its end first, or would start again what is stopped here.
        self.parts.stopping.cancel();
        let reload = async { tokio::time::timeout(STOP_STEP, self.parts.reloading.lock()).await.ok() };
        let uploads = async {
            let longest = self.parts.uploads.longest_drain() + CUT;
            let (_no_reload, ()) = tokio::join!(reload, step_within(longest, "listeners", self.parts.uploads.stop()));
            self.parts.ingest.stop();
            step("uploads", self.parts.ingest.idle()).await;
            step("outputs", self.parts.outputs.stop()).await;
        };
        tokio::join!(uploads, self.parts.tunnels.stop());
        self.stop.cancel();
        step("tasks", async { while self.tasks.join_next().await.is_some() {} }).await;
        self.tasks.shutdown().await;
        housekeeping::checkpoint(&self.parts).await;
        hosts::keep(&self.parts).await;
        let spool = self.parts.spool.clone();
        step("spool", async { drop(tokio::task::spawn_blocking(move || spool.close()).await) }).await;
    }
}

async fn step(what: &str, ends: impl Future<Output = ()>) {
    step_within(STOP_STEP, what, ends).await;
}

async fn step_within(limit: Duration, what: &str, ends: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, ends).await.is_err() {
        tracing::warn!(what, "not finished in time and cut short; nothing acknowledged is lost");
    }
}
