//! The state of everything as JSON: what `/status` shows.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::build::Parts;
use super::left_behind::Why;
use super::replicas::Replicas;
use super::sharing::Sharing;
use super::state_sharing::StateSharing;
use super::{needs, warnings};
use crate::admin::{self, Standing, StatusSource};
use crate::dedup::store::Store as _;
use crate::filter::rules::Shown;
use crate::forward::Forwarder;
use crate::hosts;
use crate::ingest::Savings;
use crate::memory::Shares;
use crate::spool::Health;
use crate::spool::dead_letter::Totals;

/// Most agents on the page of everything: the busiest.
const AGENTS_SHOWN: usize = 1000;
/// Most hosts on the page of everything.
const HOSTS_SHOWN: usize = 50;

/// Hands the state to the admin plane.
pub(super) struct Source(pub(super) Arc<Parts>);

impl StatusSource for Source {
    fn status(&self) -> Value {
        status(&self.0)
    }

    fn history(&self) -> Value {
        self.0.history.shown()
    }

    fn point(&self) -> Value {
        json!(self.0.history.last())
    }

    fn hosts(&self, filter: &hosts::Filter) -> Value {
        json!({ "hosts": self.0.hosts.list(filter) })
    }

    fn forwarding_hosts(&self, search: Option<&str>, most: usize) -> Value {
        let uploads = &self.0.uploads;
        json!({ "wef": uploads.forwarding_hosts_with(search, most), "turned_away": uploads.turned_away() })
    }
}

/// The state at this moment. Numbers of the account are those since the spool began; the rest since this start.
pub(super) fn status(parts: &Parts) -> Value {
    let runs = parts.in_force.started();
    let spool = parts.spool.status();
    let remembered = parts.dedup.remembered();
    let ledger = parts.books.ledger();
    let listeners = parts.uploads.addresses();
    let standing = parts.readiness.standing();
    let warnings = warned(parts, &standing);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": parts.uptime().as_secs(),
        "revision": admin::REVISION,
        "ready": standing.is_ready(),
        "not_ready_because": admin::texts(&standing.objections),
        "not_ready_codes": admin::codes(&standing.objections),
        "needs": needs::of(parts, &standing, &warnings),
        "warnings": warnings,
        "state_dir": runs.state_dir,
        "config": parts.config_path,
        "last_reload": parts.last_reload.load_full(),
        "waits_for_restart": parts.waits_for_restart(),
        "listeners": listeners.iter().map(|(name, address)| json!({"name": name, "address": address})).collect::<Vec<_>>(),
        "tunnels": parts.tunnels.status(),
        "rules": rules(parts),
        "hosts": senders(parts),
        "without_time": parts.ingest.timeless(),
        "wef": parts.uploads.forwarding_hosts(),
        "turned_away": parts.uploads.turned_away(),
        "agents": parts.uploads.agents().agents(AGENTS_SHOWN),
        "refusing_because": parts.ingest.troubles(),
        "account": {
            "inputs": ledger.tallies,
            "total": ledger.total(),
            "damaged": parts.spool.damage().total(),
            "uncounted": ledger.uncounted,
            "began": ledger.began,
            // Every event before this one is in it: it follows the log, and `spool.end` may be a second ahead.
            "end": ledger.position,
        },
        "spool": {
            "first": spool.first,
            "end": spool.end,
            "bytes": spool.bytes,
            "limit_bytes": spool.limit,
            "full": spool.fullness,
            "health": health(&spool.health),
            "seconds_to_full": parts.history.seconds_to_full(),
        },
        "clock": parts.clock.standing(),
        "memory_limit_bytes": Shares::here().limit(),
        "dedup": {
            "enabled": runs.dedup.enabled,
            "keys": remembered.keys,
            "memory_bytes": remembered.bytes,
            "evicted": remembered.evicted,
        },
        "sharing": parts.sharing.as_ref().map(Sharing::status),
        "state_sharing": parts.state_sharing.as_ref().map(StateSharing::status),
        "replication": parts.replicating.as_ref().map(|replicating| replicating.status(&parts.spool)),
        "replicas": parts.replicas.as_ref().map(Replicas::status),
        "saved": saved(parts),
        "dead_letters": letters(parts),
        "expiry": parts.expiry.list(parts),
        "outputs": outputs(parts),
    })
}

/// What the workspaces did not have to ingest since this start, and what that is in a day.
fn saved(parts: &Parts) -> Value {
    let Savings { duplicate_bytes, filtered_bytes } = parts.ingest.savings();
    let seconds = parts.uptime().as_secs_f64().max(1.0);
    let a_day = |bytes: u64| bytes as f64 / 1e9 * 86_400.0 / seconds;
    json!({
        "duplicate_bytes": duplicate_bytes,
        "filtered_bytes": filtered_bytes,
        "duplicate_gigabytes_a_day": a_day(duplicate_bytes),
        "filtered_gigabytes_a_day": a_day(filtered_bytes),
    })
}

/// Those that run, then those that cannot start.
fn outputs(parts: &Parts) -> Vec<Value> {
    let cannot_start = |(name, why): (String, Why)| json!({ "name": name, "state": "cannot start", "because": why });
    let running = parts.outputs.forwarders().into_iter().map(|forwarder| running(&forwarder));
    running.chain(parts.outputs.left_behind().into_iter().map(cannot_start)).collect()
}

fn running(forwarder: &Forwarder) -> Value {
    let totals = forwarder.totals();
    json!({
        "name": forwarder.name(),
        "state": "running",
        "kind": forwarder.kind(),
        "pending": forwarder.pending(),
        "stalled_seconds": forwarder.stalled_for().as_secs_f64(),
        "oldest_pending_seconds": forwarder.oldest_pending().as_secs_f64(),
        "forwarded": totals.forwarded,
        "dead_lettered": totals.dead_lettered,
        "damaged": totals.damaged,
        "skipped": totals.skipped,
        "forgotten": totals.forgotten,
        "handed_over": totals.handed_over,
        "in_doubt": forwarder.in_doubt(),
        "position_lost": forwarder.position_lost(),
        "last_error": forwarder.last_error(),
        "unburied": forwarder.unburied(),
        "without_shape": forwarder.shapeless(),
        "details": forwarder.output_status(),
        "endpoints": forwarder.balancer().snapshot(),
    })
}

/// What goes on, and a person should look at: of what happens, of the configuration, and of what ends soon.
fn warned(parts: &Parts, standing: &Standing) -> Vec<String> {
    let of_now = admin::texts(&standing.warnings).into_iter().map(str::to_owned);
    let of_text = warnings::of(&parts.in_force.current()).into_iter().map(|(key, warning)| format!("{key}: {warning}"));
    of_now.chain(of_text).chain(parts.expiry.warnings(parts)).collect()
}

/// How many dead letters there are, of whom and why, how many of each input were given up for newer ones, and what each output may
/// keep.
fn letters(parts: &Parts) -> Value {
    let forwarders = parts.outputs.forwarders();
    let letters = parts.dead_letters().look();
    let kind = |((source, reason), count): (&(String, String), &u64)| json!({ "source": source, "reason": reason, "count": count });
    let share = |name: &str| json!({ "bytes": letters.kept_of(name), "share_bytes": letters.share_of(name) });
    let shares: Map<String, Value> =
        forwarders.iter().map(|forwarder| (forwarder.name().to_owned(), share(forwarder.name()))).collect();
    let Totals { count, bytes } = letters.totals();
    json!({
        "count": count,
        "bytes": bytes,
        "waiting": letters.waiting().iter().map(kind).collect::<Vec<_>>(),
        "displaced": letters.displaced(),
        "outputs": shares,
    })
}

/// The rules, in brief: `gatepost rules show` tells the rest.
fn rules(parts: &Parts) -> Vec<Value> {
    let brief = |rule: Shown| {
        json!({
            "name": rule.name,
            "from": rule.origin,
            "applies_to": rule.applies_to,
            "outputs": rule.outputs,
            "queries": rule.queries.len(),
            "warnings": rule.warnings,
        })
    };
    parts.rules.load().list().into_iter().map(brief).collect()
}

/// How many senders there are, and the first of them: `gatepost hosts seen` tells the rest.
fn senders(parts: &Parts) -> Value {
    let hosts::Counts { known, silent, refused, forgotten } = parts.hosts.counts();
    let first = hosts::Filter { limit: Some(HOSTS_SHOWN), ..hosts::Filter::default() };
    let first = parts.hosts.list(&first);
    json!({ "known": known, "silent": silent, "refused": refused, "forgotten": forgotten, "first": first })
}

fn health(health: &Health) -> Value {
    match health {
        Health::Ok => json!("ok"),
        Health::Full { since_ms } => json!({ "full_since_ms": since_ms }),
        Health::Failing { reason } => json!({ "failing": reason }),
        Health::Removed { path } => json!({ "removed": path }),
    }
}
