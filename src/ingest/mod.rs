//! Upload to spool: the first half of an event's way.
//!
//! [`Ingest::accept`] tells the story: admit, sort, then for each part claim its keys, append what is new, and only
//! when that is durable remember the keys and answer. Three rules hold at every line of it:
//!
//! - the answer comes last: a receipt leaves after the events are on disk, or after they were found to be duplicates
//!   of events that are;
//! - dedup remembers after the spool does: a claim is confirmed after its append and released when the append fails,
//!   so a failed upload can be sent again;
//! - nothing stays between the answer and the disk: what waits in memory has not been acknowledged;
//! - where the log is replicated, both come after a quorum of the servers has it too.
//!
//! It knows no protocol and no output.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, join_all};
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::dedup::store::{Claim, Store, Verdict};
use crate::event::{EventKey, KeyMaker, Upload};
use crate::filter::{Rules, Taken};
use crate::hosts::{Hosts, Sender};
use crate::memory::Shares;
use crate::metrics;
use crate::replication::Replicated;
use crate::spool::dead_letter::SharedLetters;
use crate::spool::{AppendError, Appended, Entry, Ordinal, Spool};
use crate::turns::{BRIEF, Ended, Turn, Turns, Who};

pub mod accept;
pub mod admission;
pub mod bookkeeper;
mod config;
mod contested;
mod count;
mod identity;
mod kept;
pub mod ledger;
mod lost;
mod patience;
mod recheck;
mod replay;
mod replicate;
mod reserve;
mod retell;
mod room;
mod saved;
mod set_aside;
mod sort;
mod takeover;
mod timeless;
mod to_its_end;
mod trouble;
mod window;

pub use accept::{Accept, Receipt, Refusal};
pub use config::Config;
pub use recheck::{Queue, Recheck, Unread};
pub use replay::replay;
pub use retell::JournalPlace;
pub use saved::Savings;
pub use takeover::Inheritance;
pub use timeless::Timeless;
pub use to_its_end::{Panicked, to_its_end};
pub use trouble::{Lasting, Trouble};

use admission::Admission;
use count::Counters;
use kept::Kept;
use ledger::{Tally, Waiting};
use patience::Patience;
use sort::{Part, Sorted};
use trouble::Troubles;

/// For how long an upload waits for events that others are storing; longer than any lease.
const PENDING_PATIENCE: Duration = Duration::from_secs(75);

/// What ingest works with; all of it is shared with others.
pub struct Parts {
    /// Decides which events are kept.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Makes event keys.
    pub keys: Arc<KeyMaker>,
    /// Knows which events were seen.
    pub dedup: Arc<dyn Store>,
    /// Keeps events until every output has them.
    pub spool: Spool,
    /// Where the log is replicated, how far.
    pub replicated: Option<Replicated>,
    /// Keeps records that cannot be understood.
    pub dead_letters: SharedLetters,
    /// Shares of the account that wait for a record.
    pub waiting: Arc<Waiting>,
    /// Knows who sends.
    pub hosts: Hosts,
}

/// Takes uploads and makes them durable. Cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    admission: Admission,
    turns: Turns,
    parts: Parts,
    timeless: timeless::Seen,
    troubles: Troubles,
    saved: saved::Saved,
    counters: Counters,
}

impl Accept for Ingest {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let inner = Arc::clone(&self.inner);
        let who = Who::new(&upload.client.name, upload.client.address);
        let work = {
            let (inner, who) = (Arc::clone(&inner), who.clone());
            async move {
                let sender = Sender::of(&upload);
                let answer = inner.clone().accept(upload, &sender).await;
                if answer.as_ref().is_err_and(Refusal::is_about_its_content) {
                    beside("whose upload was refused", || inner.parts.hosts.refuse(&sender));
                }
                inner.told(&who, answer)
            }
        };
        let work = to_its_end(work);
        Box::pin(async move {
            let panicked = |Panicked(words)| {
                inner.told(&who, Err(Refusal::Internal(format!("the work on the upload panicked: {words}"))))
            };
            work.await.unwrap_or_else(panicked)
        })
    }

    fn keys(&self) -> Arc<KeyMaker> {
        Arc::clone(&self.inner.parts.keys)
    }
}

impl Ingest {
    /// Ingest over the given parts. Above the spool's watermark uploads are shed.
    pub fn new(config: Config, parts: Parts) -> Self {
        let shares = Shares::here();
        let admission = Admission::new(&config, &shares);
        Self {
            inner: Arc::new(Inner {
                config,
                admission,
                turns: Turns::here(),
                parts,
                timeless: timeless::Seen::default(),
                troubles: Troubles::default(),
                saved: saved::Saved::default(),
                counters: Counters::default(),
            }),
        }
    }

    /// What was taken since the start of Windows events without a readable time, by input.
    pub fn timeless(&self) -> Vec<Timeless> {
        self.inner.timeless.list()
    }

    /// What the workspaces did not have to ingest, since the start.
    pub fn savings(&self) -> Savings {
        self.inner.saved.total()
    }

    /// Looks at what keeps uploads from being kept. Asks the disk.
    pub fn look_for_trouble(&self) {
        let spool = &self.inner.parts.spool;
        self.inner.troubles.look(&spool.status(), spool.is_in_place());
    }

    /// What keeps uploads from being kept, as it was last seen.
    pub fn troubles(&self) -> Vec<Lasting> {
        self.inner.troubles.list()
    }

    /// Refuses every upload from now on.
    pub fn stop(&self) {
        self.inner.admission.stop();
    }

    /// Takes uploads again.
    pub fn go_on(&self) {
        self.inner.admission.go_on();
    }

    /// Refuses every upload for as long as it is not known which events were seen.
    pub fn load(&self, is_loading: bool) {
        self.inner.admission.load(is_loading);
    }

    /// Refuses every upload for as long as there is a reason.
    pub fn hold(&self, reason: Option<&'static str>) {
        self.inner.admission.hold(reason);
    }

    /// Resolves when no upload is being worked on.
    pub async fn idle(&self) {
        while !self.inner.admission.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Inner {
    /// Passes a result on, once it is known whether anything of ours keeps uploads from being kept.
    fn told(&self, who: &Who, result: Result<Receipt, Refusal>) -> Result<Receipt, Refusal> {
        match &result {
            Ok(_) => self.troubles.over_for(who, Trouble::INTERNAL),
            Err(refusal) => self.troubles.note(who, refusal),
        }
        result
    }

    async fn accept(self: Arc<Self>, upload: Upload, sender: &Sender) -> Result<Receipt, Refusal> {
        self.check_spool()?;
        self.check_replica()?;
        let body = upload.body.len();
        // Held until its events are durable: whoever changes the rules can wait for the last upload of the old ones.
        let rules = self.parts.rules.load_full();
        let who = Who::new(&upload.client.name, upload.client.address);
        let mut admitted = self.admission.admit(&who, self.config.estimate(body)).await?;
        let mut sorted = Arc::clone(&self).sort(&who, upload.clone(), Arc::clone(&rules)).await?;
        let takes = self.config.work(body).saturating_add(sorted.memory());
        if !self.admission.resize(&mut admitted, takes) {
            // Many small records. It begins again with what it needs, and holds nothing until it has that: uploads that waited
            // for each other's room would all be shed.
            drop((sorted, admitted));
            admitted = self.admission.admit(&who, takes).await?;
            sorted = Arc::clone(&self).sort(&who, upload, Arc::clone(&rules)).await?;
        }
        let _admitted = admitted;

        let mut total = Kept { tally: sorted.filtered, positions: 0..0 };
        let mut filtered = Some(sorted.filtered);
        for part in &sorted.parts {
            let kept = self.keep(&sorted, part, &mut filtered).await?;
            total.tally.add(&kept.tally);
            total.extend(kept.positions);
        }
        let Kept { tally: total, positions } = total;
        if let Some(filtered) = filtered {
            self.parts.waiting.leave(&sorted.input, &filtered);
            self.count_rules(&sorted);
        }
        let counters = self.counters.of(&sorted.input);
        counters.ages(&sorted);
        let sightings = std::mem::take(&mut sorted.sightings);
        beside("who sent an upload", || {
            self.timeless.note(&sorted);
            counters.unknowable(&sorted, total.spooled);
            self.parts.hosts.note(sender, sightings, total.set_aside);
        });
        self.replicate().await?;
        Ok(total.receipt(&positions))
    }

    /// Sheds before any work is done when the spool cannot take more.
    fn check_spool(&self) -> Result<(), Refusal> {
        if self.parts.spool.status().above_watermark { Err(Refusal::SpoolFull) } else { Ok(()) }
    }

    /// Decodes, filters and makes keys: CPU work, in its client's turn.
    async fn sort(self: Arc<Self>, who: &Who, upload: Upload, rules: Arc<Rules>) -> Result<Sorted, Refusal> {
        let inner = Arc::clone(&self);
        // A filter by age must not drop everything because the wall clock jumped.
        let now = self.parts.spool.clock().shown_now();
        let bytes = upload.body.len() as u64;
        let work = move |turn: &Turn| {
            let presence = upload.presence.clone();
            Patience::of(&presence, turn).go_on()?;
            let sightings = self.parts.hosts.sightings();
            // Only reading counts: not the disk, nor a lock.
            let patience = Patience::of(&presence, turn);
            sort::sort(upload, &rules, &self.parts.keys, self.config.record_max.as_usize(), now, sightings, &patience)
        };
        let done = if bytes <= BRIEF {
            inner.turns.run_brief(who, bytes, work).await
        } else {
            inner.turns.run(who, bytes, work).await
        };
        done.unwrap_or_else(|ended| {
            Err(match ended {
                Ended::Crowded => inner.admission.crowded(),
                Ended::Panicked => Refusal::Internal(format!("decoding: {ended}")),
            })
        })
    }

    /// Makes one part of an upload durable. Events that another upload is making durable right now are waited for; if
    /// that upload fails, they are this one's to keep. The first record takes `filtered` along: what the rules did is
    /// counted if and only if something of the upload is kept.
    async fn keep(&self, sorted: &Sorted, part: &Part, filtered: &mut Option<Tally>) -> Result<Kept, Refusal> {
        let mut kept = Kept { tally: Tally { received: part.len() as u64, ..Tally::default() }, positions: 0..0 };
        let mut open: Vec<usize> = (0..part.len()).collect();
        let began = Instant::now();
        loop {
            let keys: Vec<EventKey> = open.iter().map(|&at| part.key(at)).collect();
            let claim = self.parts.dedup.claim(&keys).await.map_err(|unavailable| admission::unjudged(&unavailable))?;
            let mut new = Vec::new();
            let mut elsewhere = Vec::new();
            let mut ends = Vec::new();
            let mut duplicate_bytes = 0;
            for (&at, verdict) in open.iter().zip(claim.verdicts()) {
                match verdict {
                    Verdict::New => new.push(at),
                    Verdict::Duplicate => {
                        kept.tally.duplicate += 1;
                        duplicate_bytes += part.bytes(at);
                    }
                    Verdict::Pending(end) => {
                        elsewhere.push(at);
                        // Neighbours usually wait for the same upload.
                        if !ends.last().is_some_and(|last| Arc::ptr_eq(last, end)) {
                            ends.push(Arc::clone(end));
                        }
                    }
                }
            }

            let share = Tally { received: (open.len() - elsewhere.len()) as u64, ..part.split(&new) };
            let share = Tally { duplicate: share.received - share.spooled - share.set_aside, ..share };
            let appended = self.append(sorted, part, &new, share, filtered, claim).await?;
            self.saved.duplicate(&sorted.input, duplicate_bytes);
            kept.tally.spooled += share.spooled;
            kept.tally.set_aside += share.set_aside;
            kept.extend(appended);

            if elsewhere.is_empty() {
                return Ok(kept);
            }
            if began.elapsed() > PENDING_PATIENCE {
                return Err(admission::pending());
            }
            join_all(ends.iter().map(|end| end.wait())).await;
            open = elsewhere;
        }
    }

    /// Appends the new records of a part, then confirms their claim; releases it when that fails, and keeps no letter of it.
    /// Where they are in the spool.
    async fn append(
        &self,
        sorted: &Sorted,
        part: &Part,
        new: &[usize],
        share: Tally,
        filtered: &mut Option<Tally>,
        claim: Box<dyn Claim>,
    ) -> Result<Range<Ordinal>, Refusal> {
        if share.spooled == 0 {
            self.is_in_place().await?;
        }
        let counters = self.counters.of(&sorted.input);
        let mut letters = Vec::new();
        if share.set_aside > 0 {
            letters = self.set_aside(sorted, part, new).await?;
        }
        if share.spooled == 0 {
            self.parts.waiting.leave(&sorted.input, &share);
            counters.share(&share);
            claim.confirm(0..0);
            return Ok(0..0);
        }
        let mut noted = share;
        noted.add(&filtered.unwrap_or_default());
        let boarded = self.parts.waiting.take_with(&sorted.input, &noted);
        let entry = Entry {
            items: u32::try_from(share.spooled).expect("an upload's events are counted in 32 bits"),
            note: boarded.encode(),
            index: part.index(new),
            payload: part.payload(sorted, new),
        };
        let began = Instant::now();
        match self.make_durable(entry).await {
            Ok(appended) => {
                boarded.arrived();
                counters.share(&share);
                if filtered.take().is_some() {
                    self.count_rules(sorted);
                }
                let positions = appended.first..appended.first + Ordinal::from(appended.items);
                self.confirm(claim, positions.clone()).await?;
                counters.appended(began.elapsed().as_secs_f64());
                Ok(positions)
            }
            Err(refusal) => {
                self.take_back(&sorted.input, letters).await;
                claim.release();
                Err(refusal)
            }
        }
    }

    /// Packs a record and appends it.
    async fn make_durable(&self, entry: Entry) -> Result<Appended, Refusal> {
        let spool = self.parts.spool.clone();
        let packed = if spool.packs_briefly(&entry) {
            spool.pack(entry)
        } else {
            let packing = tokio::task::spawn_blocking(move || spool.pack(entry));
            packing.await.map_err(|ended| ended_badly("packing", &ended))?
        };
        self.parts.spool.append(packed).await.map_err(|error| self.refusal(&error))
    }

    /// Whether what says that the events are known, or set aside, is still where it was: what is appended is looked after by the
    /// spool, and of duplicates nothing is. Asks the file system.
    async fn is_in_place(&self) -> Result<(), Refusal> {
        let spool = self.parts.spool.clone();
        match tokio::task::spawn_blocking(move || spool.is_in_place()).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::StateRemoved),
            Err(ended) => Err(ended_badly("looking for the state", &ended)),
        }
    }

    /// Counts what the rules did with an upload that is kept.
    fn count_rules(&self, sorted: &Sorted) {
        let input = &*sorted.input;
        self.counters.of(&sorted.input).dropped(sorted.filtered.received);
        for (reason, events) in &sorted.dropped {
            metrics::EVENTS_FILTERED.add(&[input, reason], *events);
        }
        self.saved.filtered(input, sorted.dropped_bytes);
        for Taken { rule, output, events } in &sorted.taken {
            metrics::RULE_EVENTS.add(&[rule, output], *events);
        }
    }

    fn refusal(&self, error: &AppendError) -> Refusal {
        let (reason, refusal) = match error {
            AppendError::Full => (admission::SPOOL_FULL, Refusal::SpoolFull),
            AppendError::Failed { .. } if !self.parts.spool.is_in_place() => {
                (admission::SPOOL_FAILED, Refusal::StateRemoved)
            }
            AppendError::Failed { reason } => (admission::SPOOL_FAILED, Refusal::SpoolFailed(reason.clone())),
            AppendError::TooLarge => (admission::TOO_LARGE, Refusal::TooLarge),
            AppendError::Closed => (admission::STOPPING, Refusal::Stopping),
        };
        metrics::SPOOL_APPEND_FAILURES.add(&[reason], 1);
        refusal
    }
}

/// What is noted beside an upload has no say in its answer: a fault of ours there costs what would have been noted.
fn beside(what: &str, note: impl FnOnce()) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(note)).is_err() {
        tracing::error!(what, "internal error: this could not be recorded; the upload is answered nevertheless");
    }
}

/// Work that did not come to its end: a fault of ours, unless the gateway stops.
fn ended_badly(what: &str, ended: &JoinError) -> Refusal {
    if ended.is_panic() { Refusal::Internal(format!("{what} ended: {ended}")) } else { Refusal::Stopping }
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn a_fault_in_what_is_noted_beside_an_upload_does_not_reach_it() {
        let mut noted = 0;
        beside("a fault", || panic!("of ours"));
        beside("no fault", || noted += 1);
        assert_eq!(noted, 1);
    }
}
