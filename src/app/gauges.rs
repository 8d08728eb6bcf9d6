//! Gauges whose series come and go with the configuration.
//!
//! What is configured no more must not look as it did last: its series get no number any more (NaN), so that no comparison with
//! them holds and no alert goes on for ever.

use std::collections::BTreeSet;

use crate::metrics::Metric;

/// One such gauge.
pub(super) struct Gauge {
    metric: &'static Metric,
    shown: BTreeSet<Vec<String>>,
}

impl Gauge {
    /// Nothing is shown yet.
    pub(super) fn new(metric: &'static Metric) -> Self {
        Self { metric, shown: BTreeSet::new() }
    }

    /// Shows these series, each with its labels and value, and no others.
    pub(super) fn show(&mut self, series: impl IntoIterator<Item = (Vec<String>, f64)>) {
        let mut gone = std::mem::take(&mut self.shown);
        for (labels, value) in series {
            self.set(&labels, value);
            gone.remove(&labels);
            self.shown.insert(labels);
        }
        gone.iter().for_each(|labels| self.set(labels, f64::NAN));
    }

    fn set(&self, labels: &[String], value: f64) {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        self.metric.set(&labels, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::OUTPUT_RUNNING;

    #[test]
    fn what_is_configured_no_more_shows_no_number() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let page = ::metrics::with_local_recorder(&recorder, || {
            let mut gauge = Gauge::new(&OUTPUT_RUNNING);
            let of = |name: &str, value| (vec![name.to_owned()], value);
            gauge.show([of("stays", 1.0), of("goes", 0.0)]);
            gauge.show([of("stays", 1.0)]);
            recorder.handle().render()
        });
        assert!(page.contains("gatepost_output_running{output=\"stays\"} 1"), "{page}");
        assert!(page.contains("gatepost_output_running{output=\"goes\"} NaN"), "{page}");
    }
}
