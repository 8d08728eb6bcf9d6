//! What can be asked of a running gateway: reload, drain, to accept the clock, and what to do with dead letters.

use std::sync::Arc;

use anyhow::Context;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::build::Parts;
use super::{dead_letters, objections, opening, rules, series};
use crate::access_log::AccessLog;
use crate::admin::{self, AgentOrder, Control, ControlError, Page, Selection};
use crate::clock::wall_ms;
use crate::config;
use crate::config::rule_files::Texts;
use crate::faults::with_causes;
use crate::inputs::ods::registry::{CERTIFICATES_MAX, Change, NotKept};
use crate::metrics;

/// Hands the controls to the admin plane.
pub(super) struct Controls(pub(super) Arc<Parts>);

impl Control for Controls {
    fn reload(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let changed = reload(&self.0).await.map_err(|error| ControlError::Refused(with_causes(error.as_ref())))?;
            Ok(json!({ "reloaded": true, "note": changed }))
        })
    }

    fn drain(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let until = self.0.begin_to_leave(objections::DRAINING);
            tokio::spawn(Arc::clone(&self.0).close_doors_at(until));
            let pending: u64 = self.0.outputs.forwarders().iter().map(|forwarder| forwarder.pending()).sum();
            let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64();
            Ok(json!({ "draining": true, "pending": pending, "taken_for_seconds": seconds }))
        })
    }

    fn undrain(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let parts = Arc::clone(&self.0);
            let back = tokio::spawn(async move { parts.come_back().await }).await;
            back.map_err(|ended| ControlError::Failed(ended.to_string()))??;
            Ok(json!({ "draining": false, "ready": self.0.readiness.is_ready() }))
        })
    }

    fn accept_clock(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let clock = self.0.clock.clone();
            let work = move || -> std::io::Result<_> {
                let standing = clock.accept();
                let (seconds, jumps) = (standing.accepted_seconds, standing.jumps);
                tracing::warn!(accepted_seconds = seconds, jumps, "the wall clock was accepted");
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

    fn configuration(&self) -> Value {
        json!({
            "file": self.0.config_path,
            "last_reload": self.0.last_reload.load_full(),
            "waits_for_restart": self.0.waits_for_restart(),
            "effective": config::reference::effective(&self.0.in_force.current()),
        })
    }

    fn refused_hosts(&self) -> Value {
        json!({ "refused": self.0.tunnels.refused() })
    }

    fn agents(&self) -> Value {
        json!({ "agents": self.0.uploads.agents().agents(CERTIFICATES_MAX) })
    }

    fn order_agents(&self, order: AgentOrder) -> BoxFuture<'_, Result<Value, ControlError>> {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            let id = |id: String| id.trim_matches(['{', '}']).to_ascii_lowercase().into();
            let change = match order {
                AgentOrder { revoke: Some(agent), .. } => Change::Revoke(id(agent), crate::clock::wall_s()),
                AgentOrder { restore: Some(agent), .. } => Change::Restore(id(agent)),
                AgentOrder { expire_after_s, .. } => Change::Expire(expire_after_s.unwrap_or(u64::MAX)),
            };
            let changed = parts.uploads.agents().change(change).await.map_err(|not_kept| match not_kept {
                NotKept::Failed(_) => ControlError::Failed(not_kept.to_string()),
                _ => ControlError::Refused(not_kept.to_string()),
            })?;
            tracing::info!(certificates = changed, "the registry of agents was changed by an administrator");
            Ok(json!({ "certificates": changed }))
        })
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

/// What became of the last reload.
#[derive(Debug, Serialize)]
pub(super) struct LastReload {
    at_ms: u64,
    applied: bool,
    /// What is in force, or why it was refused.
    said: String,
}

/// Reads the configuration again and applies it, or refuses it whole. A task of its own: whoever asked may hang up, and half
/// of a configuration must not stay in force.
pub(super) async fn reload(parts: &Arc<Parts>) -> anyhow::Result<String> {
    let parts = Arc::clone(parts);
    tokio::spawn(async move { apply_alone(&parts).await }).await.context("the reload ended")?
}

async fn apply_alone(parts: &Parts) -> anyhow::Result<String> {
    let stops = || anyhow::anyhow!("the gateway stops");
    let _alone = parts.stopping.run_until_cancelled(parts.reloading.lock()).await.ok_or_else(stops)?;
    anyhow::ensure!(!parts.stopping.is_cancelled(), stops());
    let result = apply(parts).await;
    let label = if result.is_ok() { "applied" } else { "refused" };
    metrics::CONFIG_RELOADS.add(&[label], 1);
    if result.is_err() {
        metrics::CONFIG_LAST_RELOAD_OK.set(&[], 0.0);
    }
    parts.last_reload.store(Some(Arc::new(LastReload {
        at_ms: wall_ms(),
        applied: result.is_ok(),
        said: match &result {
            Ok(note) => note.clone(),
            Err(error) => with_causes(error.as_ref()),
        },
    })));
    match &result {
        Ok(note) => tracing::info!(note, "configuration reloaded"),
        Err(error) => {
            tracing::error!(error = with_causes(error.as_ref()), "configuration refused; the old one stays in force")
        }
    }
    result
}

async fn apply(parts: &Parts) -> anyhow::Result<String> {
    let path = parts
        .config_path
        .clone()
        .context("the gateway runs without a configuration file; start it with --config FILE")?;
    anyhow::ensure!(!parts.is_standing_in(), "the state cannot be used: mend it as the log says, and restart");
    // Until the new configuration is in force, no change of rules may be judged by the old one.
    let _unchanged = parts.rule_store.hold().await;
    let kept = parts.rule_store.snapshot();
    let running = parts.in_force.current();
    let load = move || -> anyhow::Result<_> {
        let loaded = config::load_and_look(&path, &|wanted| opening::look(wanted, Some(&running)))?;
        loaded.tell(&path.display().to_string());
        let wanted = loaded.config;
        let texts = Texts::of(&wanted);
        let rules = rules::build(&wanted, &texts, &kept)?;
        Ok((wanted, texts, rules))
    };
    let (wanted, texts, rules) =
        tokio::task::spawn_blocking(load).await.context("reading the configuration ended")??;
    let admin_tls = admin::load_tls(&wanted.admin, &parts.in_force.started().state_dir).context("admin plane")?;
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
    parts.uploads.apply(listeners, wanted.drain_grace.get());
    if let (Some(running), Some(renewed)) = (&parts.admin_tls, &admin_tls) {
        running.replace_with(renewed);
    }
    parts.hosts.configure(&wanted.hosts);
    parts.expiry.renew(&wanted, &parts.in_force.started().state_dir);
    parts.in_force.apply(wanted);
    series::begin(parts);
    parts.rule_texts.store(Arc::new(texts));
    let waits = parts.waits_for_restart();
    Ok(if waits.is_empty() {
        "everything is in force".to_owned()
    } else {
        format!("in force, except what waits for a restart: {}", waits.join(", "))
    })
}
