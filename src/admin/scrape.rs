//! The Prometheus page: in Prometheus' own text or as OpenMetrics, whichever the client asks for, and compressed where it
//! understands that.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_process::Collector;
use tokio_util::sync::CancellationToken;

use super::runtime::Runtime;
use crate::metrics;

/// How often observations are folded into their buckets. Between two scrapes they wait in memory, so this bounds it.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// The commit that this was built from, where the build said so.
pub const REVISION: &str = match option_env!("GATEPOST_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct Scrape {
    page: PrometheusHandle,
    process: Collector,
    runtime: Arc<Runtime>,
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
        Ok((Self { page: recorder.handle(), process: Collector::default(), runtime: Arc::default() }, recorder))
    }

    fn describe(&self) {
        metrics::describe();
        self.process.describe();
        metrics::BUILD_INFO.set(&[env!("CARGO_PKG_VERSION"), REVISION], 1.0);
    }

    /// The page as Prometheus reads it.
    pub fn render(&self) -> String {
        self.process.collect();
        self.runtime.show();
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

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

async fn page(State(scrape): State<Scrape>, headers: HeaderMap) -> Response {
    let page = scrape.render();
    let (kind, page) = match accepts(&headers, header::ACCEPT, "application/openmetrics-text") {
        true => (OPEN_METRICS, open_metrics(&page)),
        false => (TEXT, page),
    };
    let varies = (header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if accepts(&headers, header::ACCEPT_ENCODING, "gzip")
        && let Ok(small) = gzip(page.as_bytes())
    {
        let coding = (header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return ([(header::CONTENT_TYPE, kind), coding, varies], small).into_response();
    }
    ([(header::CONTENT_TYPE, kind), varies], page).into_response()
}

/// Whether a list such as `a;q=0.5, b` has this word and does not rule it out.
fn accepts(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse::<f32>().ok());
        named && weight.is_none_or(|weight| weight > 0.0)
    })
}

fn gzip(page: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(page.len() / 8), Compression::fast());
    encoder.write_all(page)?;
    encoder.finish()
}

/// The page as OpenMetrics has it: a counter is described without the `_total` that its samples end with, no line is empty, and the
/// end is said.
fn open_metrics(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + 8);
    let mut counters = std::collections::HashSet::new();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    counters.extend(types);
    for line in page.lines().filter(|line| !line.is_empty()) {
        let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let name = described.and_then(|rest| rest.split(' ').next()).filter(|name| counters.contains(name));
        match name.and_then(|name| Some((name, name.strip_suffix("_total")?))) {
            Some((name, family)) => out.push_str(&line.replacen(name, family, 1)),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out.push_str("# EOF\n");
    out
}

/// A page outside the process-wide recorder, for tests.
#[cfg(test)]
pub(super) fn local() -> (Scrape, PrometheusRecorder) {
    let (scrape, recorder) = Scrape::with_recorder().expect("every histogram has buckets");
    ::metrics::with_local_recorder(&recorder, || scrape.describe());
    (scrape, recorder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_differ_where_its_specification_does() {
        let page = "# HELP a_total Of a_total.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n\n# TYPE d gauge\nd 2\n\n";
        let open = "# HELP a Of a_total.\n# TYPE a counter\na_total{b=\"c\"} 1\n# TYPE d gauge\nd 2\n# EOF\n";
        assert_eq!(open_metrics(page), open);
    }

    #[test]
    fn what_a_client_accepts_is_what_it_names_and_does_not_rule_out() {
        let accept = |list: &'static str| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(list))]);
        for (list, expected) in [
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3", true),
            ("text/plain, Application/OpenMetrics-Text", true),
            ("application/openmetrics-text; q=0", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(accepts(&accept(list), header::ACCEPT, "application/openmetrics-text"), expected, "{list}");
        }
    }

    #[tokio::test]
    async fn the_page_is_compressed_for_those_who_ask_and_holds_the_same() {
        use std::io::Read as _;

        let (scrape, recorder) = local();
        ::metrics::with_local_recorder(&recorder, || metrics::CONFIG_RELOADS.add(&["applied"], 1));
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("br, gzip"))]);
        let answer = page(State(scrape.clone()), headers).await;
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*body).read_to_string(&mut text).expect("gzip");
        assert!(text.contains("gatepost_config_reloads_total{result=\"applied\"} 1"), "{text}");
        let plain = page(State(scrape), HeaderMap::new()).await;
        assert_eq!(plain.headers()[header::CONTENT_TYPE], TEXT);
        assert!(plain.headers().get(header::CONTENT_ENCODING).is_none());
    }
}
