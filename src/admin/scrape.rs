//! The Prometheus page.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::header;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// How often observations are folded into their buckets. Between two scrapes they wait in memory, so this bounds it.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Scrape {
    page: PrometheusHandle,
    process: Collector,
}

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A histogram without buckets, or a recorder was installed before.
    #[error("metrics cannot be set up: {0}")]
    Recorder(#[from] BuildError),
}

impl Scrape {
    /// Installs the recorder of this process and describes every metric. Call once, before anything counts.
    pub fn install() -> Result<Self, InstallError> {
        let (scrape, recorder) = Self::with_recorder()?;
        ::metrics::set_global_recorder(recorder).map_err(BuildError::from)?;
        scrape.describe();
        Ok(scrape)
    }

    fn with_recorder() -> Result<(Self, PrometheusRecorder), InstallError> {
        let mut builder = PrometheusBuilder::new();
        for metric in metrics::ALL.iter().filter(|metric| metric.kind == metrics::Kind::Histogram) {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), metric.buckets)?;
        }
        let recorder = builder.build_recorder();
        Ok((Self { page: recorder.handle(), process: Collector::default() }, recorder))
    }

    fn describe(&self) {
        metrics::describe();
        self.process.describe();
        metrics::BUILD_INFO.set(&[env!("CARGO_PKG_VERSION")], 1.0);
    }

    /// The page as Prometheus reads it.
    pub fn render(&self) -> String {
        self.process.collect();
        self.page.render()
    }

    /// Keeps the memory of the recorder bounded until it is told to stop.
    pub async fn upkeep(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(UPKEEP_EVERY);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            self.page.run_upkeep();
        }
    }
}

pub(super) fn routes(scrape: Scrape) -> Router {
    Router::new().route("/metrics", get(page)).with_state(scrape)
}

async fn page(State(scrape): State<Scrape>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], scrape.render())
}

/// A page outside the process-wide recorder, for tests.
#[cfg(test)]
pub(super) fn local() -> (Scrape, PrometheusRecorder) {
    let (scrape, recorder) = Scrape::with_recorder().expect("every histogram has buckets");
    ::metrics::with_local_recorder(&recorder, || scrape.describe());
    (scrape, recorder)
}
