//! Takes spans to the collector of traces that the configuration names, once a second. What it does not take is dropped and counted:
//! traces are for looking, and nothing of the gateway waits for them.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::faults::Fault;
use crate::metrics;
use crate::net::http_client::HttpClient;
use crate::net::tls_client::Trust;
use crate::net::url::askable;
use crate::telemetry::traces::{self, Span, Traces};
use crate::telemetry::{self, Repeats};

/// How often spans are taken away.
const EVERY: Duration = Duration::from_secs(1);
/// Spans of one request.
const TOGETHER: usize = 512;
/// How long a collector may take for one.
const PATIENCE: Duration = Duration::from_secs(5);
/// One line of trouble in so long.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// Begins to keep spans and to take them away, where the configuration says to where.
pub(super) fn begin(
    config: &telemetry::Config,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    if let Some((to, client)) = way(config).map_err(anyhow::Error::msg).context("telemetry.traces_to")? {
        tasks.spawn(Exporter::new(to, client).run(stop.clone()));
    }
    Ok(())
}

/// What keeps spans from being taken to where the configuration says. Sends nothing.
pub(super) fn faults(config: &telemetry::Config) -> Vec<Fault> {
    if config.problems().iter().any(|(key, _)| *key == "traces_to") {
        // Told of the text already.
        return Vec::new();
    }
    way(config).err().map(|reason| Fault::stops("traces_to", reason)).into_iter().collect()
}

/// The collector that is configured, and a client for it.
fn way(config: &telemetry::Config) -> Result<Option<(Uri, HttpClient)>, String> {
    let Some(text) = &config.traces_to else { return Ok(None) };
    let to = askable(text).ok_or("is no URL; write one such as \"http://127.0.0.1:4318/v1/traces\"")?;
    let trust = if to.scheme_str() == Some("https") { Trust::System } else { Trust::Nobody };
    let client = HttpClient::new(&trust, PATIENCE).map_err(|error| error.to_string())?;
    Ok(Some((to, client)))
}

/// Who takes spans away.
struct Exporter {
    to: Uri,
    instance: String,
    client: HttpClient,
    traces: &'static Traces,
    repeats: Repeats<()>,
}

impl Exporter {
    /// For the collector at this address; from now on spans are kept.
    fn new(to: Uri, client: HttpClient) -> Self {
        let instance = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { to, instance, client, traces: traces::begin(), repeats: Repeats::new(TELL_EVERY) }
    }

    /// Takes spans away until it is stopped, and then once more.
    async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.take_away().await;
        }
        self.take_away().await;
    }

    async fn take_away(&self) {
        let (spans, dropped) = self.traces.take();
        metrics::TRACE_SPANS.add(&["dropped"], dropped);
        for some in spans.chunks(TOGETHER) {
            let result = match self.send(some).await {
                Ok(()) => "exported",
                Err(error) => {
                    if let Some(left_out) = self.repeats.pass(()) {
                        tracing::warn!(error, left_out, "the collector of traces does not take them");
                    }
                    "failed"
                }
            };
            metrics::TRACE_SPANS.add(&[result], some.len() as u64);
        }
    }

    async fn send(&self, spans: &[Span]) -> Result<(), String> {
        let body = traces::export(spans, env!("CARGO_PKG_VERSION"), &self.instance).to_string();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let answer = self.client.post(&self.to, headers, Bytes::from(body), PATIENCE).await;
        match answer {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(()),
            Ok(answer) => Err(format!("it answers {}", answer.status)),
            Err(error) => Err(error.to_string()),
        }
    }
}
