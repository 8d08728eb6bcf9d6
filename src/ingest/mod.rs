//! Upload to spool: the first half of an event's way.
//!
//! [`Ingest::accept`] tells the story: admit, sort, then for each part claim its keys, append what is new, and only
//! when that is durable remember the keys and answer. Three rules hold at every line of it:
//!
//! - the answer comes last: a receipt leaves after the events are on disk, or after they were found to be duplicates
//!   of events that are;
//! - dedup remembers after the spool does: a claim is confirmed after its append and released when the append fails,
//!   so a failed upload can be sent again;
//! - nothing stays between the answer and the disk: what waits in memory has not been acknowledged.
//!
//! It knows no protocol and no output.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::dedup::store::{Claim, Store, Verdict};
use crate::event::{EventKey, KeyMaker, Upload};
use crate::filter::{Rules, Taken};
use crate::hosts::{Hosts, Sender};
use crate::memory::Shares;
use crate::metrics;
use crate::spool::dead_letter::{DeadLetters, Letter, Source};
use crate::spool::{AppendError, Entry, Spool};

pub mod accept;
pub mod admission;
pub mod bookkeeper;
mod config;
mod identity;
pub mod ledger;
mod lost;
mod patience;
mod reserve;
mod sort;
mod timeless;

pub use accept::{Accept, Receipt, Refusal};
pub use config::Config;
pub use timeless::Timeless;

use admission::Admission;
use ledger::{Tally, Waiting};
use patience::Patience;
use sort::{Part, Sorted};

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
    /// Keeps records that cannot be understood.
    pub dead_letters: Arc<Mutex<DeadLetters>>,
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
    /// One permit for each core, as far as memory goes.
    sorting: Semaphore,
    parts: Parts,
    watermark: f64,
    timeless: timeless::Seen,
}

impl Accept for Ingest {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let inner = Arc::clone(&self.inner);
        // A task of its own: a client that hangs up in the middle must not leave events that are durable but whose
        // keys were released, or the next try would forward them twice.
        let work = tokio::spawn(async move {
            let sender = Sender::of(&upload);
            let answer = Arc::clone(&inner).accept(upload, &sender).await;
            if answer.as_ref().is_err_and(Refusal::is_about_its_content) {
                inner.parts.hosts.refuse(&sender);
            }
            answer
        });
        Box::pin(async move {
            work.await.unwrap_or_else(|ended| Err(Refusal::SpoolFailed(format!("the upload's task ended: {ended}"))))
        })
    }
}

impl Ingest {
    /// Ingest over the given parts. Above `watermark` (a share of the spool's limit) uploads are shed.
    pub fn new(config: Config, watermark: f64, parts: Parts) -> Self {
        let shares = Shares::here();
        let admission = Admission::new(&config, &shares);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let sorting = Semaphore::new(cores.min(shares.turns()));
        Self {
            inner: Arc::new(Inner {
                config,
                admission,
                sorting,
                parts,
                watermark,
                timeless: timeless::Seen::default(),
            }),
        }
    }

    /// What was taken since the start of Windows events without a readable time, by input.
    pub fn timeless(&self) -> Vec<Timeless> {
        self.inner.timeless.list()
    }

    /// Refuses every upload from now on.
    pub fn stop(&self) {
        self.inner.admission.stop();
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
    async fn accept(self: Arc<Self>, upload: Upload, sender: &Sender) -> Result<Receipt, Refusal> {
        self.check_spool()?;
        let body = upload.body.len();
        // Held until its events are durable: whoever changes the rules can wait for the last upload of the old ones.
        let rules = self.parts.rules.load_full();
        let mut admitted = self.admission.admit(self.config.estimate(body)).await?;
        let mut sorted = Arc::clone(&self).sort(upload.clone(), Arc::clone(&rules)).await?;
        let takes = self.config.work(body).saturating_add(sorted.memory());
        if !self.admission.resize(&mut admitted, takes) {
            // Many small records. It begins again with what it needs, and holds nothing until it has that: uploads that waited
            // for each other's room would all be shed.
            drop((sorted, admitted));
            admitted = self.admission.admit(takes).await?;
            sorted = Arc::clone(&self).sort(upload, Arc::clone(&rules)).await?;
        }
        let _admitted = admitted;

        let mut total = sorted.filtered;
        let mut filtered = Some(sorted.filtered);
        for part in &sorted.parts {
            total.add(&self.keep(&sorted, part, &mut filtered).await?);
        }
        if let Some(filtered) = filtered {
            self.parts.waiting.leave(&sorted.input, &filtered);
            count_rules(&sorted);
        }
        self.timeless.note(&sorted);
        self.parts.hosts.note(sender, std::mem::take(&mut sorted.sightings), total.set_aside);
        Ok(total.receipt())
    }

    /// Sheds before any work is done when the spool cannot take more.
    fn check_spool(&self) -> Result<(), Refusal> {
        if self.parts.spool.status().fullness < self.watermark {
            return Ok(());
        }
        metrics::UPLOADS_SHED.add(&[admission::SPOOL_FULL], 1);
        Err(Refusal::SpoolFull)
    }

    /// Decodes, filters and makes keys: CPU work, off the async runtime.
    async fn sort(self: Arc<Self>, upload: Upload, rules: Arc<Rules>) -> Result<Sorted, Refusal> {
        let inner = Arc::clone(&self);
        // More at a time would be no faster and take more memory: a record takes most while it is decoded.
        let _turn = inner.sorting.acquire().await.expect("this semaphore is never closed");
        let patience = Patience::of(&upload.presence);
        patience.go_on()?;
        // A filter by age must not drop everything because the wall clock jumped.
        let now = self.parts.spool.clock().shown_now();
        let part_max = self.config.record_max.as_usize();
        let work = move || {
            // Of duplicates nothing is appended; they must not be answered from a state that is gone either.
            if !self.parts.spool.is_in_place() {
                metrics::UPLOADS_SHED.add(&[admission::SPOOL_FAILED], 1);
                return Err(Refusal::SpoolFailed("the state was removed under the running gateway".to_owned()));
            }
            let sightings = self.parts.hosts.sightings();
            sort::sort(upload, &rules, &self.parts.keys, part_max, now, sightings, &patience)
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|ended| Err(Refusal::SpoolFailed(format!("decoding ended: {ended}"))))
    }

    /// Makes one part of an upload durable. Events that another upload is making durable right now are waited for; if
    /// that upload fails, they are this one's to keep. The first record takes `filtered` along: what the rules did is
    /// counted if and only if something of the upload is kept.
    async fn keep(&self, sorted: &Sorted, part: &Part, filtered: &mut Option<Tally>) -> Result<Tally, Refusal> {
        let mut tally = Tally { received: part.len() as u64, ..Tally::default() };
        let mut open: Vec<usize> = (0..part.len()).collect();
        loop {
            let keys: Vec<EventKey> = open.iter().map(|&at| part.key(at)).collect();
            let claim = self.parts.dedup.claim(&keys).await;
            let mut new = Vec::new();
            let mut elsewhere = Vec::new();
            let mut ends = Vec::new();
            for (&at, verdict) in open.iter().zip(claim.verdicts()) {
                match verdict {
                    Verdict::New => new.push(at),
                    Verdict::Duplicate => tally.duplicate += 1,
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
            self.append(sorted, part, &new, share, filtered, claim).await?;
            tally.spooled += share.spooled;
            tally.set_aside += share.set_aside;

            if elsewhere.is_empty() {
                return Ok(tally);
            }
            join_all(ends.iter().map(|end| end.wait())).await;
            open = elsewhere;
        }
    }

    /// Appends the new records of a part, then confirms their claim; releases it when that fails.
    async fn append(
        &self,
        sorted: &Sorted,
        part: &Part,
        new: &[usize],
        share: Tally,
        filtered: &mut Option<Tally>,
        claim: Box<dyn Claim>,
    ) -> Result<(), Refusal> {
        if share.set_aside > 0 {
            self.set_aside(sorted, part, new).await?;
        }
        if share.spooled == 0 {
            self.parts.waiting.leave(&sorted.input, &share);
            count(sorted, &share);
            claim.confirm();
            return Ok(());
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
        let spool = self.parts.spool.clone();
        let began = Instant::now();
        let packed = tokio::task::spawn_blocking(move || spool.pack(entry))
            .await
            .map_err(|ended| Refusal::SpoolFailed(format!("packing ended: {ended}")))?;
        match self.parts.spool.append(packed).await {
            Ok(_) => {
                boarded.arrived();
                count(sorted, &share);
                if filtered.take().is_some() {
                    count_rules(sorted);
                }
                claim.confirm();
                metrics::SPOOL_APPEND_SECONDS.observe(&[], began.elapsed().as_secs_f64());
                Ok(())
            }
            Err(error) => {
                claim.release();
                Err(refusal(&error))
            }
        }
    }

    /// Keeps the records that cannot be understood, durably.
    async fn set_aside(&self, sorted: &Sorted, part: &Part, new: &[usize]) -> Result<(), Refusal> {
        let letters = part.letters(sorted, new, self.parts.spool.clock().shown_now_ms());
        let store = Arc::clone(&self.parts.dead_letters);
        tokio::task::spawn_blocking(move || store.lock().unwrap_or_else(PoisonError::into_inner).put(letters))
            .await
            .map_err(|ended| Refusal::SpoolFailed(format!("setting aside ended: {ended}")))?
            .map(|_| ())
            .map_err(|error| Refusal::SpoolFailed(format!("dead letters cannot be kept: {error}")))
    }
}

fn refusal(error: &AppendError) -> Refusal {
    let (reason, refusal) = match error {
        AppendError::Full => (admission::SPOOL_FULL, Refusal::SpoolFull),
        AppendError::Failed { reason } => (admission::SPOOL_FAILED, Refusal::SpoolFailed(reason.clone())),
        AppendError::TooLarge => (admission::TOO_LARGE, Refusal::TooLarge),
        AppendError::Closed => (admission::STOPPING, Refusal::Stopping),
    };
    metrics::SPOOL_APPEND_FAILURES.add(&[reason], 1);
    refusal
}

/// Counts a share of the account. Wherever one is noted for the ledger it is counted too, so that both agree even
/// when the rest of its upload is refused.
fn count(sorted: &Sorted, share: &Tally) {
    let input = &*sorted.input;
    metrics::EVENTS_RECEIVED.add(&[input], share.received);
    metrics::EVENTS_DUPLICATE.add(&[input], share.duplicate);
    metrics::EVENTS_SET_ASIDE.add(&[input], share.set_aside);
    metrics::EVENTS_SPOOLED.add(&[input], share.spooled);
}

/// Counts what the rules did with an upload that is kept.
fn count_rules(sorted: &Sorted) {
    let input = &*sorted.input;
    metrics::EVENTS_RECEIVED.add(&[input], sorted.filtered.received);
    for (reason, events) in &sorted.dropped {
        metrics::EVENTS_FILTERED.add(&[input, reason], *events);
    }
    for Taken { rule, output, events } in &sorted.taken {
        metrics::RULE_EVENTS.add(&[rule, output], *events);
    }
}

fn letter(sorted: &Sorted, reason: String, raw: &[u8], now_ms: u64) -> Letter {
    Letter {
        id: 0,
        first_seen_ms: now_ms,
        last_seen_ms: now_ms,
        tries: 1,
        answer: None,
        client: None,
        source: Source::Input { name: sorted.input.to_string() },
        reason,
        status: None,
        detail: format!("sent by {}", sorted.client),
        format: 0,
        stream: sorted.stream.to_string(),
        raw: raw.to_vec(),
    }
}
