//! What is in force: the configuration that the gateway started with, and the one that a reload applied last.
//!
//! They are two values, because some sections are read only at the start. What waits for a restart is the difference between
//! what runs and what is wanted, so it waits for as long as it differs, however many reloads go by; and whoever needs a value of
//! such a section has to ask for the one that runs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::admin;
use crate::config::Config;
use crate::inputs::{self, http::limits};
use crate::net::tls_server;

/// The configurations of a running gateway.
pub(super) struct InForce {
    started: Arc<Config>,
    current: Arc<ArcSwap<Config>>,
}

impl InForce {
    /// At the start both are one.
    pub(super) fn since_start(config: Config) -> Self {
        let started = Arc::new(config);
        Self { current: Arc::new(ArcSwap::new(Arc::clone(&started))), started }
    }

    /// What holds for the sections that are read only at the start.
    pub(super) fn started(&self) -> &Config {
        &self.started
    }

    /// What holds for the sections that a reload applies.
    pub(super) fn current(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// The cell of [`InForce::current`], for who needs it at the moment of a change.
    pub(super) fn cell(&self) -> Arc<ArcSwap<Config>> {
        Arc::clone(&self.current)
    }

    /// A reload was applied.
    pub(super) fn apply(&self, config: Config) {
        self.current.store(Arc::new(config));
    }

    /// The sections of the current configuration that wait for a restart. `bound` tells the limits that each running
    /// listener was opened with.
    pub(super) fn waits_for_restart(&self, bound: &[(String, limits::Config)]) -> Vec<&'static str> {
        let (runs, wanted) = (&self.started, self.current());
        let limits_differ = |listener: &inputs::Config| {
            bound
                .iter()
                .any(|(name, limits)| *name == listener.name && !limits.limits_connections_like(&listener.limits))
        };
        let differs = [
            ("state_dir", runs.state_dir != wanted.state_dir),
            ("telemetry", runs.telemetry != wanted.telemetry),
            ("admin", without_certificates(&runs.admin) != without_certificates(&wanted.admin)),
            ("ingest", runs.ingest != wanted.ingest),
            ("dedup", runs.dedup != wanted.dedup),
            ("replication", runs.replication != wanted.replication),
            ("spool", runs.spool != wanted.spool),
            ("dead_letters", runs.dead_letters != wanted.dead_letters),
            ("listeners.limits, as far as they limit connections", wanted.listeners.iter().any(limits_differ)),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// Without what a reload puts in force: certificates.
fn without_certificates(config: &admin::Config) -> admin::Config {
    let tls = tls_server::Config { mode: config.tls.mode, ..tls_server::Config::default() };
    admin::Config { tls, ..config.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Ratio;

    fn with_watermark(percent: u8) -> Config {
        let mut config = Config::default();
        config.spool.high_watermark = Ratio::percent(percent);
        config
    }

    #[test]
    fn what_waits_for_a_restart_waits_however_many_reloads_go_by() {
        let in_force = InForce::since_start(with_watermark(80));
        for _ in 0..3 {
            in_force.apply(with_watermark(50));
            assert_eq!(in_force.waits_for_restart(&[]), ["spool"]);
            assert_eq!(in_force.started().spool.high_watermark, Ratio::percent(80));
        }
        in_force.apply(with_watermark(80));
        assert!(in_force.waits_for_restart(&[]).is_empty(), "what was taken back waits no more");
    }

    #[test]
    fn limits_of_connections_wait_against_those_that_the_listener_was_opened_with() {
        let in_force = InForce::since_start(Config::default());
        let name = in_force.current().listeners[0].name.clone();
        let bound = |connections| (name.clone(), limits::Config { max_connections: connections, ..Default::default() });
        assert!(in_force.waits_for_restart(&[bound(None)]).is_empty());
        assert_eq!(in_force.waits_for_restart(&[bound(Some(7))]).len(), 1);
        let mut other = Config::default();
        other.listeners[0].limits.body_max = crate::values::ByteSize::mib(3);
        in_force.apply(other);
        assert!(in_force.waits_for_restart(&[bound(None)]).is_empty(), "limits of requests hold at once");
    }
}
