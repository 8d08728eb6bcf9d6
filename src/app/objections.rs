//! What keeps uploads from being welcome, and what goes on although a person should look at it: each with a code, worked out from
//! the parts when somebody asks, so that it is never older than the question.

use std::sync::Arc;

use super::build::Parts;
use super::replicas::Replicas;
use super::state_sharing::StateSharing;
use crate::admin::{Reason, Standing};
use crate::ingest::Trouble;
use crate::spool::Health;

macro_rules! reasons {
    ($($id:ident $code:literal $text:literal;)+) => {
        $(#[doc = $text] pub(super) const $id: Reason = Reason { code: $code, text: $text };)+
        /// Every reason of this file, for the documents.
        const OURS: &[Reason] = &[$($id),+];
    };
}

reasons! {
    STARTING "starting" "starting";
    LOADING "loading" "what was seen before this start is being read";
    STOPPING "stopping" "stopping";
    DRAINING "draining" "draining";
    SPOOL_WATERMARK "spool_watermark" "the spool is at its watermark";
    DISK "spool_disk" "the disk of the spool is full or failing";
    REMOVED "state_removed" "the state was removed or replaced under the gateway";
    NO_STATE "no_state" "the state cannot be read";
    NO_RULES "no_rules" "a rule cannot be read";
    NO_LETTERS "no_dead_letters" "no output can keep its dead letters";
    LETTERS "output_without_dead_letters" "an output cannot keep its dead letters";
    CANNOT_START "output_cannot_start" "an output cannot start";
    ENGINE_AWAY "dedup_engine_away" "the shared deduplication engine is unreachable";
    CONFIGURATIONS_DIFFER "gateways_differ" "another gateway of the installation has another dedup.window or filter: see sharing.gateways on /status";
    REPLICA_AWAY "replication_away" "the log is not replicated: its servers do not answer, have no room, or have given it to another gateway";
    REPLICA_BEHIND "replica_behind" "not all servers of replication have all of a stream, or one is not as it must be: see replicas on /status";
    STATE_AWAY "shared_state_away" "what gateways share at the servers of replication cannot be reached";
    ENGINE_EVICTS "dedup_engine_evicts" "the shared deduplication engine forgets events before their time; set maxmemory-policy to noeviction, or raise dedup.jetstream.max_size";
}

/// Every reason that there can be.
pub fn all() -> Vec<Reason> {
    let of_uploads = Trouble::ALL.iter().filter(|trouble| trouble.is_told_to_readiness()).map(|trouble| of(trouble));
    OURS.iter().copied().chain(of_uploads).collect()
}

/// From now on the parts are asked whenever somebody asks for readiness.
pub(super) fn ask(parts: &Arc<Parts>) {
    // The parts own the readiness.
    let asked = Arc::downgrade(parts);
    parts.readiness.ask(Box::new(move || asked.upgrade().map(|parts| facts(&parts)).unwrap_or_default()));
}

fn of(trouble: &Trouble) -> Reason {
    Reason { code: trouble.code, text: trouble.text }
}

fn facts(parts: &Parts) -> Standing {
    let mut standing = Standing::default();
    let spool = parts.spool.status();
    let is_removed = matches!(spool.health, Health::Removed { .. });
    for (reason, holds) in [
        (SPOOL_WATERMARK, spool.above_watermark),
        (REMOVED, is_removed),
        (DISK, spool.health != Health::Ok && !is_removed),
    ] {
        standing.objections.extend(holds.then_some(reason));
    }
    standing.objections.extend(no_judge(parts));
    standing.progress = super::loading::progress(parts);
    troubles(parts, &mut standing);
    outputs(parts, &mut standing);
    if let Some(sharing) = &parts.sharing {
        let of_engine = sharing.objections();
        standing.objections.extend(of_engine.objections);
        standing.warnings.extend(of_engine.warnings);
    }
    if let Some(replicating) = &parts.replicating {
        standing.objections.extend(replicating.objections().objections);
    }
    standing.warnings.extend(parts.replicas.as_ref().and_then(Replicas::warning));
    standing.warnings.extend(parts.state_sharing.as_ref().and_then(StateSharing::warning));
    standing
}

/// Why nobody can say where an event belongs, or keep it.
pub(super) fn no_judge(parts: &Parts) -> Option<Reason> {
    let has_no_rules = || !parts.rule_store.faults().is_empty();
    if parts.is_standing_in() { Some(NO_STATE) } else { has_no_rules().then_some(NO_RULES) }
}

/// What only uploads can find out; what is wrong with the spool is seen above. What one client alone meets sends nobody away.
fn troubles(parts: &Parts, standing: &mut Standing) {
    let lasting = parts.ingest.troubles();
    for trouble in Trouble::ALL.iter().filter(|trouble| trouble.is_told_to_readiness()) {
        match lasting.iter().find(|lasting| lasting.reason == trouble.code) {
            Some(lasting) if lasting.one_client => standing.warnings.push(of(trouble)),
            Some(_) => standing.objections.push(of(trouble)),
            None => {}
        }
    }
}

/// An output without room for its dead letters waits alone: that is told, and keeps the gateway from being ready only when no
/// output can go on. Another gateway may have room.
fn outputs(parts: &Parts, standing: &mut Standing) {
    let forwarders = parts.outputs.forwarders();
    let unburied = forwarders.iter().filter(|forwarder| forwarder.unburied().is_some()).count();
    if unburied > 0 && unburied == forwarders.len() {
        standing.objections.push(NO_LETTERS);
    } else if unburied > 0 {
        standing.warnings.push(LETTERS);
    }
    if !parts.outputs.left_behind().is_empty() {
        standing.warnings.push(CANNOT_START);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own_and_its_row_in_the_runbook() {
        let runbook = include_str!("../../docs/runbook.md");
        let all = all();
        for Reason { code, text } in &all {
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{code}");
            assert_eq!(all.iter().filter(|other| other.code == *code).count(), 1, "{code}");
            let row = format!("| `{code}` | `{text}` |");
            assert!(runbook.contains(&row), "docs/runbook.md has no row {row}");
        }
    }
}
