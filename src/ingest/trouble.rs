//! What of the gateway's own keeps uploads from being kept: told once when it begins and once when it is over, counted with
//! each upload that is refused for it, and shown for as long as it lasts.
//!
//! Of the spool it is a fact that can be looked at, so it begins and ends without an upload. What only an upload can find out
//! (dead letters that cannot be written, a fault of ours) is over when the same thing succeeds, or when no upload has met it
//! for a minute: nobody may stay away for ever because a load balancer turned away those who could show that it is mended.
//!
//! A fault of ours that one client alone meets lies in what that client sends: it is told, and nobody else is sent away for it.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::accept::Refusal;
use crate::spool::{Health, Status};
use crate::turns::Who;
use crate::{clock, metrics};

/// How long a trouble that only uploads can find out lasts after the last one that met it: twice what they are told to wait.
const LASTS: Duration = Duration::from_secs(60);

/// One kind of trouble.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Stable code, in snake case: the label in metrics.
    pub code: &'static str,
    /// What happened, in one line: also the reason on `/readyz`.
    pub text: &'static str,
    /// What a person can do.
    pub remedy: &'static str,
    /// Whether it can be seen by looking at the spool.
    is_fact: bool,
}

/// So many clients must have met a fault of ours for it to be one that everybody meets.
const SEVERAL: usize = 2;

macro_rules! troubles {
    ($($id:ident $code:literal $is_fact:literal $text:literal, $remedy:literal;)+) => {
        impl Trouble {
            $(#[doc = $text] pub const $id: &'static Self =
                &Self { code: $code, text: $text, remedy: $remedy, is_fact: $is_fact };)+
            /// Every kind, in the order of this file.
            pub const ALL: &[&'static Self] = &[$(Self::$id),+];
        }
    };
}

troubles! {
    SPOOL_FULL "spool_full" true "the spool is at its watermark, or the disk is full", "get the outputs going, or raise spool.max_size";
    SPOOL_FAILED "spool_failed" true "the disk of the spool refuses writes", "mend the disk";
    STATE_REMOVED "state_removed" true "the state was removed or replaced under the gateway", "restart the gateway";
    DEAD_LETTERS_FULL "dead_letters_full" false "the disk of the dead letters is full", "free the disk, or purge dead letters";
    DEAD_LETTERS_FAILED "dead_letters_failed" false "the dead letters cannot be written", "mend the disk or the folder of the dead letters, as the log says";
    INTERNAL "internal" false "the gateway failed at an upload", "report it with the lines of the log";
}

impl Trouble {
    /// Whether `/readyz` learns of it from here only; what is a fact of the spool it sees by itself.
    pub fn is_told_to_readiness(&self) -> bool {
        !self.is_fact
    }
}

/// A trouble that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lasting {
    /// Its code.
    pub reason: &'static str,
    /// What it is.
    pub text: &'static str,
    /// What the system said.
    pub detail: String,
    /// What a person can do.
    pub remedy: &'static str,
    /// When it began, in Unix milliseconds.
    pub since_ms: u64,
    /// Uploads that were refused for it since.
    pub refused: u64,
    /// Whether it is a fault of the gateway that the uploads of one client alone meet: others are served as ever.
    pub one_client: bool,
}

struct Known {
    lasting: Lasting,
    met: Instant,
    /// Who met a fault of ours and has not succeeded since: the first [`SEVERAL`] of them, and when they last did.
    clients: HashMap<Who, Instant>,
}

impl Known {
    fn is_met_by(&mut self, who: &Who) {
        if self.clients.len() < SEVERAL || self.clients.contains_key(who) {
            self.clients.insert(who.clone(), Instant::now());
        }
        self.judge();
    }

    fn forget_clients(&mut self, goes: impl Fn(&Who, &Instant) -> bool) {
        self.clients.retain(|who, met| !goes(who, met));
        self.judge();
    }

    fn judge(&mut self) {
        let is_of_clients = self.lasting.reason == Trouble::INTERNAL.code;
        self.lasting.one_client = is_of_clients && self.clients.len() < SEVERAL;
    }
}

/// The troubles that last.
#[derive(Default)]
pub(super) struct Troubles {
    known: Mutex<BTreeMap<&'static str, Known>>,
    /// So that uploads need no lock when there is none.
    any: AtomicBool,
}

impl Troubles {
    /// An upload was refused: counts it, if it was for a trouble of the gateway's own.
    pub(super) fn note(&self, who: &Who, refusal: &Refusal) {
        let Some((trouble, detail)) = met(refusal) else { return };
        metrics::UPLOADS_SHED.add(&[trouble.code], 1);
        let mut known = self.known();
        let known = self.begin(&mut known, trouble, detail);
        known.lasting.refused += 1;
        known.met = Instant::now();
        known.is_met_by(who);
    }

    /// It has just not been met by this client: it is over when nobody else meets it.
    pub(super) fn over_for(&self, who: &Who, trouble: &'static Trouble) {
        if self.any.load(Ordering::Relaxed) {
            if let Some(known) = self.known().get_mut(trouble.code) {
                known.forget_clients(|client, _| client == who);
            }
            self.end(|known| known.lasting.reason == trouble.code && known.clients.is_empty());
        }
    }

    /// What these are about has just succeeded.
    pub(super) fn over(&self, troubles: &[&'static Trouble]) {
        if self.any.load(Ordering::Relaxed) {
            self.end(|known| troubles.iter().any(|trouble| trouble.code == known.lasting.reason));
        }
    }

    /// Looks at the facts, and ends what nobody has met for a while.
    pub(super) fn look(&self, spool: &Status, is_in_place: bool) {
        let facts = facts(spool, is_in_place);
        {
            let mut known = self.known();
            for (trouble, detail) in &facts {
                self.begin(&mut known, trouble, detail);
            }
            known.values_mut().for_each(|known| known.forget_clients(|_, met| met.elapsed() >= LASTS));
        }
        let is_fact = |code: &str| Trouble::ALL.iter().any(|trouble| trouble.code == code && trouble.is_fact);
        self.end(|known| match is_fact(known.lasting.reason) {
            true => !facts.iter().any(|(trouble, _)| trouble.code == known.lasting.reason),
            false => known.met.elapsed() >= LASTS,
        });
    }

    /// Those that last now.
    pub(super) fn list(&self) -> Vec<Lasting> {
        self.known().values().map(|known| known.lasting.clone()).collect()
    }

    fn begin<'k>(
        &self,
        known: &'k mut BTreeMap<&'static str, Known>,
        trouble: &'static Trouble,
        detail: &str,
    ) -> &'k mut Known {
        let Trouble { code, text, remedy, .. } = *trouble;
        self.any.store(true, Ordering::Relaxed);
        known.entry(code).or_insert_with(|| {
            tracing::error!(reason = code, detail, remedy, "uploads are refused: {text}");
            let (detail, since_ms) = (detail.to_owned(), clock::wall_ms());
            let lasting = Lasting { reason: code, text, detail, remedy, since_ms, refused: 0, one_client: false };
            Known { lasting, met: Instant::now(), clients: HashMap::new() }
        })
    }

    fn end(&self, is_over: impl Fn(&Known) -> bool) {
        let mut known = self.known();
        known.retain(|code, known| {
            let over = is_over(known);
            if over {
                let refused = known.lasting.refused;
                tracing::info!(reason = code, refused, "uploads are no longer refused because {}", known.lasting.text);
            }
            !over
        });
        self.any.store(!known.is_empty(), Ordering::Relaxed);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<&'static str, Known>> {
        self.known.lock()
    }
}

/// What can be seen of the spool, with what the system says.
fn facts(spool: &Status, is_in_place: bool) -> Vec<(&'static Trouble, String)> {
    let mut facts = Vec::new();
    if spool.above_watermark {
        let (percent, limit) = ((spool.fullness * 100.0).round(), spool.limit);
        facts.push((Trouble::SPOOL_FULL, format!("{percent} % of {limit} bytes are taken")));
    } else if matches!(spool.health, Health::Full { .. }) {
        facts.push((Trouble::SPOOL_FULL, "the disk is full".to_owned()));
    }
    match &spool.health {
        Health::Removed { path } => facts.push((Trouble::STATE_REMOVED, path.display().to_string())),
        _ if !is_in_place => facts.push((Trouble::STATE_REMOVED, String::new())),
        Health::Failing { reason } => facts.push((Trouble::SPOOL_FAILED, reason.clone())),
        Health::Ok | Health::Full { .. } => {}
    }
    facts
}

/// The trouble that a refusal met, with what the system said.
fn met(refusal: &Refusal) -> Option<(&'static Trouble, &str)> {
    match refusal {
        Refusal::SpoolFull => Some((Trouble::SPOOL_FULL, "")),
        Refusal::SpoolFailed(detail) => Some((Trouble::SPOOL_FAILED, detail)),
        Refusal::StateRemoved => Some((Trouble::STATE_REMOVED, "")),
        Refusal::DeadLettersFull => Some((Trouble::DEAD_LETTERS_FULL, "")),
        Refusal::DeadLettersFailed(detail) => Some((Trouble::DEAD_LETTERS_FAILED, detail)),
        Refusal::Internal(detail) => Some((Trouble::INTERNAL, detail)),
        Refusal::Malformed(_)
        | Refusal::TooLarge
        | Refusal::Foreign(_)
        | Refusal::TooSlow { .. }
        | Refusal::Gone
        | Refusal::Busy { .. }
        | Refusal::Unjudged { .. }
        | Refusal::Unreplicated { .. }
        | Refusal::Stopping
        | Refusal::Loading
        | Refusal::Held(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool(fullness: f64, health: Health) -> Status {
        Status {
            first: 0,
            end: 0,
            bytes: 0,
            limit: 100,
            fullness,
            above_watermark: fullness >= 0.8,
            health,
            segments: 1,
            spares: 0,
            commits: 0,
            appends: 0,
            oldest_ms: None,
        }
    }

    fn who(name: &str) -> Who {
        Who::new(&name.into(), None)
    }

    fn reasons(troubles: &Troubles) -> Vec<&'static str> {
        troubles.list().into_iter().map(|lasting| lasting.reason).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_only_uploads_find_out_ends_with_a_success_or_when_nobody_meets_it_any_more() {
        let (troubles, healthy) = (Troubles::default(), spool(0.1, Health::Ok));
        let full = || troubles.note(&who("plant"), &Refusal::DeadLettersFull);
        full();
        full();
        troubles.note(&who("plant"), &Refusal::Internal("a panic".to_owned()));
        assert_eq!(reasons(&troubles), ["dead_letters_full", "internal"]);
        assert_eq!((troubles.list()[0].refused, troubles.list()[1].detail.as_str()), (2, "a panic"));
        troubles.over_for(&who("plant"), Trouble::INTERNAL);
        assert_eq!(reasons(&troubles), ["dead_letters_full"], "only what has succeeded is over");
        tokio::time::advance(LASTS / 2).await;
        full();
        tokio::time::advance(LASTS / 2).await;
        troubles.look(&healthy, true);
        assert_eq!(reasons(&troubles), ["dead_letters_full"], "it was met since");
        tokio::time::advance(LASTS / 2).await;
        troubles.look(&healthy, true);
        assert_eq!(reasons(&troubles), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_that_one_client_alone_meets_is_told_as_such_whoever_else_succeeds() {
        let (troubles, healthy) = (Troubles::default(), spool(0.1, Health::Ok));
        let fails = |name| troubles.note(&who(name), &Refusal::Internal("a panic".to_owned()));
        let succeeds = |name| troubles.over_for(&who(name), Trouble::INTERNAL);
        let is_of_one = || troubles.list().iter().map(|lasting| lasting.one_client).collect::<Vec<_>>();
        (0..3).for_each(|_| fails("plant"));
        succeeds("office");
        assert_eq!(is_of_one(), [true], "the success of another is none of its own");
        fails("office");
        fails("lab");
        assert_eq!(is_of_one(), [false]);
        succeeds("office");
        assert_eq!(is_of_one(), [true]);
        tokio::time::advance(LASTS / 2).await;
        fails("lab");
        tokio::time::advance(LASTS / 2).await;
        troubles.look(&healthy, true);
        assert_eq!(is_of_one(), [true], "the plant has not met it for a minute");
        succeeds("lab");
        assert_eq!(is_of_one(), [false; 0]);
        troubles.note(&who("plant"), &Refusal::DeadLettersFull);
        assert_eq!(is_of_one(), [false], "room is wanting for everybody");
    }

    #[test]
    fn facts_of_the_spool_begin_and_end_without_an_upload() {
        let troubles = Troubles::default();
        let failing = || Health::Failing { reason: "I/O error".to_owned() };
        for (fullness, health, in_place, expected) in [
            (0.9, Health::Ok, true, vec!["spool_full"]),
            (0.9, failing(), true, vec!["spool_failed", "spool_full"]),
            (0.1, failing(), true, vec!["spool_failed"]),
            (0.1, Health::Full { since_ms: 1 }, true, vec!["spool_full"]),
            (0.1, Health::Ok, false, vec!["state_removed"]),
            (0.1, Health::Ok, true, vec![]),
        ] {
            troubles.look(&spool(fullness, health), in_place);
            assert_eq!(reasons(&troubles), expected);
        }
        troubles.note(&who("plant"), &Refusal::SpoolFull);
        troubles.look(&spool(0.9, Health::Ok), true);
        troubles.over(&[Trouble::INTERNAL, Trouble::DEAD_LETTERS_FULL]);
        assert_eq!(reasons(&troubles), ["spool_full"]);
    }
}
