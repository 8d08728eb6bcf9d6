//! What can be asked of a running gateway: reload, drain, to accept the clock, and what to do with dead letters.

use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::build::Parts;
use super::{dead_letters, rules, warnings};
use crate::access_log::AccessLog;
use crate::admin::{self, Control, ControlError, Page, Selection};
use crate::config::rule_files::Texts;
use crate::config::{self, Config};
use crate::metrics;
use crate::net::tls_server;

/// Hands the controls to the admin plane.
pub(super) struct Controls(pub(super) Arc<Parts>);

impl Control for Controls {
    fn reload(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let changed = reload(&self.0).await.map_err(|error| ControlError::Refused(format!("{error:#}")))?;
            Ok(json!({ "reloaded": true, "note": changed }))
        })
    }

    fn drain(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            self.0.readiness.set("draining", true);
            self.0.ingest.stop();
            self.0.tunnels.drain();
            let pending: u64 = self.0.outputs.forwarders().iter().map(|forwarder| forwarder.pending()).sum();
            Ok(json!({ "draining": true, "pending": pending }))
        })
    }

    fn accept_clock(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let clock = self.0.clock.clone();
            let work = move || -> std::io::Result<_> {
                let standing = clock.accept();
                tracing::warn!(?standing, "what the wall clock shows was accepted");
                clock.keep().map(|()| standing)
            };
            let kept = tokio::task::spawn_blocking(work).await;
            let failed = |error: &dyn std::fmt::Display| {
                ControlError::Failed(format!("accepted until the next restart, but it cannot be kept: {error}"))
            };
            let standing = kept.map_err(|ended| failed(&ended))?.map_err(|error| failed(&error))?;
            Ok(json!({ "accepted": true, "clock": standing }))
        })
    }

    fn refused_hosts(&self) -> Value {
        json!({ "refused": self.0.tunnels.refused() })
    }

    fn dead_letters(&self, page: Page) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(dead_letters::list(&self.0, page))
    }

    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(dead_letters::replay(&self.0, selection))
    }

    fn purge(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(dead_letters::purge(&self.0, selection))
    }
}

/// Reads the configuration again and applies it, or refuses it whole. A task of its own: whoever asked may hang up, and half
/// of a configuration must not stay in force.
pub(super) async fn reload(parts: &Arc<Parts>) -> anyhow::Result<String> {
    let parts = Arc::clone(parts);
    tokio::spawn(async move { apply_alone(&parts).await }).await.context("the reload ended")?
}

async fn apply_alone(parts: &Parts) -> anyhow::Result<String> {
    let _alone = parts.reloading.lock().await;
    let result = apply(parts).await;
    let label = if result.is_ok() { "applied" } else { "refused" };
    metrics::CONFIG_RELOADS.add(&[label], 1);
    match &result {
        Ok(note) => tracing::info!(note, "configuration reloaded"),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "configuration refused; the old one stays in force")
        }
    }
    result
}

async fn apply(parts: &Parts) -> anyhow::Result<String> {
    let path = parts.config_path.clone().context("the gateway runs without a configuration file")?;
    anyhow::ensure!(!parts.is_standing_in, "the state cannot be used: mend it as the log says, and restart");
    let current = parts.config();
    // Until the new configuration is in force, no change of rules may be judged by the old one.
    let _unchanged = parts.rule_store.hold().await;
    let kept = parts.rule_store.snapshot();
    let load = move || -> anyhow::Result<_> {
        let wanted = config::load(&path)?;
        let texts = Texts::of(&wanted);
        let rules = rules::build(&wanted, &texts, &kept)?;
        Ok((wanted, texts, rules))
    };
    let (wanted, texts, rules) =
        tokio::task::spawn_blocking(load).await.context("reading the configuration ended")??;
    let shared = crate::outputs::Shared::new(parts.state.path());
    for output in &wanted.outputs {
        crate::outputs::build(&output.output, &shared)?;
    }
    let admin_tls = admin::load_tls(&wanted.admin, parts.state.path()).context("admin plane")?;
    let access_log = AccessLog::prepare(&wanted.access_log).context("access_log")?;
    let listeners = parts.uploads.prepare(&wanted.listeners)?;
    let tunnels = parts.tunnels.prepare(&wanted.tunnel, &parts.own_addresses(&listeners))?;
    // Outputs come before the rules that name them, and go after the last upload that was judged by rules that named them:
    // an event is never spooled for an output that has no position in the log.
    parts.outputs.apply(&wanted.outputs).await?;
    rules::unused(parts.rules.swap(Arc::new(rules))).await;
    parts.outputs.end_others(&wanted.outputs).await;
    // Before the uploads: from their first moment on no tunnel leads to new addresses of ours.
    parts.tunnels.apply(tunnels);
    parts.access_log.change_to(access_log);
    parts.uploads.apply(listeners).await;
    if let (Some(running), Some(renewed)) = (&parts.admin_tls, &admin_tls) {
        running.replace_with(renewed);
    }
    warnings::of(&wanted).iter().for_each(|warning| tracing::warn!("{warning}"));
    parts.hosts.configure(&wanted.hosts);
    let waits = waits_for_restart(&current, &wanted);
    parts.set_config(wanted);
    parts.rule_texts.store(Arc::new(texts));
    Ok(if waits.is_empty() {
        "everything is in force".to_owned()
    } else {
        format!("in force, except what waits for a restart: {}", waits.join(", "))
    })
}

/// The sections that are read only at the start and differ.
fn waits_for_restart(current: &Config, wanted: &Config) -> Vec<&'static str> {
    let differs = [
        ("state_dir", current.state_dir != wanted.state_dir),
        ("telemetry", current.telemetry != wanted.telemetry),
        ("admin", plain(&current.admin) != plain(&wanted.admin)),
        ("ingest", current.ingest != wanted.ingest),
        ("dedup", current.dedup != wanted.dedup),
        ("spool", current.spool != wanted.spool),
        ("dead_letters", current.dead_letters != wanted.dead_letters),
        ("listeners.limits, as far as they limit connections", limits_differ(current, wanted)),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// Without what a reload puts in force: certificates.
fn plain(config: &admin::Config) -> admin::Config {
    let mut plain = config.clone();
    plain.tls = tls_server::Config { mode: config.tls.mode, ..tls_server::Config::default() };
    plain
}

fn limits_differ(current: &Config, wanted: &Config) -> bool {
    let stays = |listener: &crate::inputs::Config| {
        current.listeners.iter().find(|other| other.name == listener.name && other.listen == listener.listen)
    };
    wanted.listeners.iter().any(|listener| stays(listener).is_some_and(|other| other.limits != listener.limits))
}
