//! The log of this gateway a second time, where that is configured: what runs for it, and how it is shown.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::build::Parts;
use super::objections::REPLICA_AWAY;
use super::sharing::Sharing;
use crate::admin;
use crate::config::Config;
use crate::ingest::Inheritance;
use crate::metrics;
use crate::replication::jetstream::JetStream;
use crate::replication::takeover::Takeover;
use crate::replication::{Identity, Replicated, Replication, Standing, Writer};
use crate::spool::Spool;

/// Replication of this gateway's log.
pub(super) struct Replicating {
    replicated: Replicated,
    /// The outputs that are configured: what is taken over goes to them.
    outputs: Arc<ArcSwap<Vec<String>>>,
    /// What has to run, until it runs.
    idle: Mutex<Option<(Writer, Takeover)>>,
}

impl Replicating {
    /// `None` where nothing is replicated. Nothing is asked yet.
    pub(super) fn open(config: &Config, spool: &Spool, sharing: Option<&Sharing>) -> Option<Self> {
        let settings = &config.replication;
        if !settings.is_on() {
            return None;
        }
        let me = Identity::new(settings.shown_name(), sharing.map(Sharing::gateway));
        let servers = Arc::new(JetStream::new(settings.clone()));
        let (wait_max, after) = (settings.wait_max.get(), settings.takeover_after.get());
        let replication = Replication::new(servers, me, wait_max, after);
        let replicated = replication.replicated().clone();
        let outputs = Arc::new(ArcSwap::default());
        let heir = Inheritance {
            spool: spool.clone(),
            replicated: replicated.clone(),
            shared: sharing.map(Sharing::store),
            outputs: Arc::clone(&outputs),
        };
        let runs = (replication.writer(spool.clone()), replication.takeover(Arc::new(heir)));
        Some(Self { replicated, outputs, idle: Mutex::new(Some(runs)) })
    }

    /// How far the log is replicated.
    pub(super) fn replicated(&self) -> Replicated {
        self.replicated.clone()
    }

    /// Runs, once it is known what outputs need.
    pub(super) fn begin(&self, parts: &Parts, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let Some((writer, takeover)) = self.idle.lock().take() else { return };
        self.note(parts);
        let until = stop.clone();
        tasks.spawn(async move {
            let work = async { tokio::join!(writer.run(), takeover.run()) };
            until.run_until_cancelled(work).await;
        });
    }

    /// Tells what outputs need.
    pub(super) fn note(&self, parts: &Parts) {
        let needs = parts.outputs.lows();
        let names = parts.in_force.current().outputs.iter().map(|output| output.output.name().to_owned()).collect();
        self.outputs.store(Arc::new(names));
        self.replicated.note(needs);
    }

    /// What keeps the gateway from being ready.
    pub(super) fn objections(&self) -> admin::Standing {
        let mut standing = admin::Standing::default();
        standing.objections.extend(self.replicated.check().is_err().then_some(REPLICA_AWAY));
        standing
    }

    /// Shows how it is, as metrics.
    pub(super) fn show(&self, spool: &Spool, seen: &mut Seen) {
        let standing = self.replicated.standing().borrow().clone();
        let is_up = standing == Standing::Writing && self.replicated.check().is_ok();
        metrics::REPLICATION_UP.set(&[], f64::from(u8::from(is_up)));
        metrics::REPLICATION_PENDING.set(&[], self.pending(spool) as f64);
        let counts = self.replicated.counts();
        let [messages, bytes, micros, takeovers, failures] =
            [&counts.messages, &counts.bytes, &counts.micros, &counts.taken_over, &counts.failures]
                .map(|count| count.load(Ordering::Relaxed));
        metrics::REPLICATION_MESSAGES.add(&[], messages - seen.messages);
        metrics::REPLICATION_BYTES.add(&[], bytes - seen.bytes);
        metrics::REPLICATION_TAKEOVERS.add(&[], takeovers - seen.takeovers);
        metrics::REPLICATION_FAILURES.add(&[], failures - seen.failures);
        if messages > seen.messages {
            let mean = (micros - seen.micros) as f64 / (messages - seen.messages) as f64 / 1e6;
            metrics::REPLICATION_SECONDS.set(&[], mean);
        }
        let told = self.replicated.objection();
        match (&told, &seen.told) {
            (Some(reason), None) => tracing::error!(reason, "the log is not replicated; uploads are refused with 503"),
            (None, Some(_)) => tracing::info!("the log is replicated again"),
            _ => {}
        }
        *seen = Seen { messages, bytes, micros, takeovers, failures, told };
    }

    fn pending(&self, spool: &Spool) -> u64 {
        spool.durable_end().borrow().saturating_sub(self.replicated.end())
    }

    /// For `/status`.
    pub(super) fn status(&self, spool: &Spool) -> Value {
        let (state, because) = match &*self.replicated.standing().borrow() {
            Standing::Starting => ("starting", None),
            Standing::Writing => ("writing", self.replicated.objection()),
            Standing::Full => ("full", None),
            Standing::Away(why) => ("away", Some(why.clone())),
            Standing::Lost(why) => ("lost", Some(why.clone())),
        };
        let counts = self.replicated.counts();
        json!({
            "state": state,
            "because": because,
            "log": self.replicated.log().map(|log| log.as_str().to_owned()),
            "may_send": self.replicated.permit().holds(),
            "pending": self.pending(spool),
            "messages": counts.messages.load(Ordering::Relaxed),
            "bytes": counts.bytes.load(Ordering::Relaxed),
            "taken_over": counts.taken_over.load(Ordering::Relaxed),
        })
    }
}

/// What was shown last.
#[derive(Default)]
pub(super) struct Seen {
    messages: u64,
    bytes: u64,
    micros: u64,
    takeovers: u64,
    failures: u64,
    told: Option<String>,
}
