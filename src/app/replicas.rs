//! The streams at the servers of replication as a gateway sees them while it runs: how full they are, who leads them, and how many
//! servers have all of them. A replica that is alone, or full soon, is known before it is needed.
//!
//! It looks over a connection of its own, so that it neither waits behind what is written nor is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gauges::Gauge;
use super::objections::REPLICA_BEHIND;
use crate::admin;
use crate::config::Config;
use crate::metrics;
use crate::replication::survey::{Survey, Surveyed};

/// How often they are looked at.
const EVERY: Duration = Duration::from_secs(15);
/// When that begins: the first gateway has to make them.
const FIRST: Duration = Duration::from_secs(3);
/// How long a look may take. Servers without a leader say nothing at all.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// What gateways with this configuration have at the servers.
pub fn survey(config: &Config) -> Survey {
    let dedup = &config.dedup;
    let is_there = dedup.is_shared() && !dedup.is_in_redis();
    let seen = is_there.then(|| (dedup.window.get().as_secs(), dedup.jetstream.max_size.as_u64()));
    Survey::new(&config.replication, seen)
}

/// The streams.
pub(super) struct Replicas {
    names: Vec<String>,
    known: Arc<Mutex<Known>>,
    /// What has to run, until it runs.
    idle: Mutex<Option<Survey>>,
}

/// What is known of them.
#[derive(Default)]
struct Known {
    /// As they were seen last.
    streams: Vec<Surveyed>,
    /// Why they cannot be seen now.
    away: Option<String>,
    /// Of each stream who led it last, and how often that changed.
    leaders: BTreeMap<String, (String, u64)>,
}

impl Known {
    fn note(&mut self, looked: Result<Vec<Surveyed>, String>) {
        match looked {
            Ok(streams) => {
                streams.iter().for_each(|stream| self.note_leader(stream));
                (self.streams, self.away) = (streams, None);
            }
            Err(why) => self.away = Some(why),
        }
    }

    fn note_leader(&mut self, stream: &Surveyed) {
        let Some(leader) = stream.found.as_ref().and_then(|found| found.leader.clone()) else { return };
        let (last, changes) = self.leaders.entry(stream.stream.clone()).or_insert_with(|| (leader.clone(), 0));
        if *last != leader {
            (*last, *changes) = (leader, *changes + 1);
        }
    }

    /// What is wrong, for people.
    fn wrong(&self) -> Option<String> {
        let of = |stream: &Surveyed| stream.wrong.first().map(|wrong| format!("{}: {wrong}", stream.stream));
        self.away.clone().or_else(|| self.streams.iter().find_map(of))
    }
}

impl Replicas {
    /// `None` where nothing is replicated. Nothing is asked yet.
    pub(super) fn open(config: &Config) -> Option<Self> {
        config.replication.is_on().then(|| {
            let survey = survey(config);
            Self { names: survey.names(), known: Arc::default(), idle: Mutex::new(Some(survey)) }
        })
    }

    /// What the streams are called.
    pub(super) fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    /// Looks, again and again.
    pub(super) fn begin(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        let Some(survey) = self.idle.lock().take() else { return };
        let (known, until) = (Arc::clone(&self.known), stop.clone());
        let looking = async move {
            let mut tick = tokio::time::interval_at(Instant::now() + FIRST, EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                let looked = match tokio::time::timeout(LOOK_MAX, survey.look()).await {
                    Ok(looked) => looked.map_err(|away| away.to_string()),
                    Err(_) => Err(format!("no answer within {} s", LOOK_MAX.as_secs())),
                };
                known.lock().note(looked);
            }
        };
        tasks.spawn(async move {
            until.run_until_cancelled(Box::pin(looking)).await;
        });
    }

    /// What a person should see to while everything goes on.
    pub(super) fn warning(&self) -> Option<admin::Reason> {
        self.known.lock().wrong().map(|_| REPLICA_BEHIND)
    }

    /// Shows how they are, as metrics, and tells what is news.
    pub(super) fn show(&self, seen: &mut Seen) {
        let known = self.known.lock();
        let found = || known.streams.iter().filter_map(|stream| Some((&stream.stream, stream.found.as_ref()?)));
        let labels = |stream: &str| vec![stream.to_owned()];
        seen.bytes.show(found().map(|(stream, found)| (labels(stream), found.bytes as f64)));
        let limits = found().filter_map(|(stream, found)| Some((labels(stream), found.max_bytes? as f64)));
        seen.limits.show(limits);
        seen.messages.show(found().map(|(stream, found)| (labels(stream), found.messages as f64)));
        let complete = |stream: &Surveyed| match (&known.away, &stream.found) {
            (None, Some(found)) => found.complete as f64,
            _ => 0.0,
        };
        seen.complete.show(known.streams.iter().map(|stream| (labels(&stream.stream), complete(stream))));
        seen.wanted.show(found().map(|(stream, found)| (labels(stream), found.replicas as f64)));
        for (stream, (_, changes)) in &known.leaders {
            let shown = seen.changes.entry(stream.clone()).or_default();
            metrics::REPLICATION_LEADER_CHANGES.add(&[stream], changes - *shown);
            *shown = *changes;
        }
        let wrong = known.wrong();
        match (&wrong, &seen.told) {
            (Some(reason), None) => tracing::warn!(reason, "the streams of replication are not as they should be"),
            (None, Some(_)) => tracing::info!("the streams of replication are as they should be again"),
            _ => {}
        }
        seen.told = wrong;
    }

    /// For `/status`.
    pub(super) fn status(&self) -> Value {
        let known = self.known.lock();
        json!({ "streams": known.streams, "because": known.away })
    }
}

/// What was shown last.
pub(super) struct Seen {
    bytes: Gauge,
    limits: Gauge,
    messages: Gauge,
    complete: Gauge,
    wanted: Gauge,
    changes: BTreeMap<String, u64>,
    told: Option<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            bytes: Gauge::new(&metrics::REPLICATION_STREAM_BYTES),
            limits: Gauge::new(&metrics::REPLICATION_STREAM_LIMIT_BYTES),
            messages: Gauge::new(&metrics::REPLICATION_STREAM_MESSAGES),
            complete: Gauge::new(&metrics::REPLICATION_SERVERS_IN_SYNC),
            wanted: Gauge::new(&metrics::REPLICATION_SERVERS_WANTED),
            changes: BTreeMap::new(),
            told: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::survey::Found;

    fn stream(leader: Option<&str>, in_sync: &[&str], wrong: &[&str]) -> Surveyed {
        let found = Found {
            messages: 7,
            bytes: 700,
            max_bytes: Some(1_000),
            replicas: 3,
            leader: leader.map(str::to_owned),
            in_sync: in_sync.iter().map(|name| (*name).to_owned()).collect(),
            complete: leader.map_or(0, |_| in_sync.len() + 1),
        };
        let wrong = wrong.iter().map(|wrong| (*wrong).to_owned()).collect();
        Surveyed { stream: "g_logs".to_owned(), of: "replicated logs", found: Some(found), wrong }
    }

    #[test]
    fn who_leads_is_counted_and_streams_that_nobody_tells_of_are_complete_nowhere() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let replicas = Replicas { names: Vec::new(), known: Arc::default(), idle: Mutex::new(None) };
        let mut seen = Seen::default();
        let mut page = |looked: Result<Vec<Surveyed>, String>| {
            replicas.known.lock().note(looked);
            let page = ::metrics::with_local_recorder(&recorder, || {
                replicas.show(&mut seen);
                recorder.handle().render()
            });
            (page, replicas.warning().is_some())
        };
        let whole = page(Ok(vec![stream(Some("a"), &["b", "c"], &[])]));
        for (series, value) in
            [("servers_in_sync", 3), ("servers_wanted", 3), ("stream_bytes", 700), ("stream_limit_bytes", 1_000)]
        {
            let line = format!("gatepost_replication_{series}{{stream=\"g_logs\"}} {value}\n");
            assert!(whole.0.contains(&line), "{line}{}", whole.0);
        }
        assert!(!whole.1);
        let led_by_another = page(Ok(vec![stream(Some("b"), &["c"], &["2 of 3 servers have all of it"])]));
        assert!(led_by_another.0.contains("gatepost_replication_servers_in_sync{stream=\"g_logs\"} 2\n"));
        assert!(led_by_another.0.contains("gatepost_replication_leader_changes_total{stream=\"g_logs\"} 1\n"));
        assert!(led_by_another.1);
        let nobody_leads = page(Ok(vec![stream(None, &["b", "c"], &["no server leads it"])]));
        assert!(nobody_leads.0.contains("gatepost_replication_servers_in_sync{stream=\"g_logs\"} 0\n"));
        let away = page(Err("nobody answers".to_owned()));
        assert!(away.0.contains("gatepost_replication_servers_in_sync{stream=\"g_logs\"} 0\n") && away.1);
        let again = page(Ok(vec![stream(Some("b"), &["a", "c"], &[])]));
        assert!(again.0.contains("gatepost_replication_leader_changes_total{stream=\"g_logs\"} 1\n") && !again.1);
    }
}
