//! The series that a configuration implies exist from the start, with nothing counted.
//!
//! A counter that appears with its first hit hides that hit: to Prometheus its first value is no increase. And a panel without
//! series looks like one that is broken. So whatever can be named before anything happens is there before it happens: all
//! series whose labels are inputs, outputs, endpoints, or one of the few values that [`metrics`] lists.

use super::build::Parts;
use crate::metrics::{self, Metric};

/// Begins the series of the configuration that has just come into force. Those that exist keep their values.
pub(super) fn begin(parts: &Parts) {
    metrics::CONFIG_LAST_RELOAD_OK.set(&[], 1.0);
    metrics::CONFIG_IN_FORCE_SINCE.set(&[], (parts.clock.shown_now_ms() / 1000) as f64);
    let config = parts.in_force.current();
    let names = Names {
        inputs: config.listeners.iter().map(|listener| listener.name.clone()).collect(),
        outputs: parts
            .outputs
            .forwarders()
            .iter()
            .map(|forwarder| {
                let endpoints = forwarder.balancer().snapshot().into_iter().map(|endpoint| endpoint.name.to_string());
                (forwarder.name().to_owned(), endpoints.collect())
            })
            .collect(),
    };
    for metric in metrics::ALL {
        for values in names.series(metric) {
            metric.begin(&values);
        }
    }
}

/// What labels can be called by the configuration.
struct Names {
    inputs: Vec<String>,
    /// Each with its endpoints.
    outputs: Vec<(String, Vec<String>)>,
}

impl Names {
    /// The label values of every series of a metric that can be named; none where one of its labels cannot.
    fn series<'a>(&'a self, metric: &'a Metric) -> Vec<Vec<&'a str>> {
        let mut series = vec![Vec::new()];
        for (label, listed) in metric.labels.iter().zip(metric.values) {
            let longer = |begun: &Vec<&'a str>| {
                let values = if listed.is_empty() { self.of(label, begun) } else { listed.to_vec() };
                let begun = begun.clone();
                values.into_iter().map(move |value| [&begun[..], &[value]].concat()).collect::<Vec<_>>()
            };
            series = series.iter().flat_map(longer).collect();
        }
        series
    }

    /// The values of a label, behind those of the labels before it.
    fn of<'a>(&'a self, label: &str, begun: &[&'a str]) -> Vec<&'a str> {
        let endpoints = |(output, endpoints): &'a (String, Vec<String>)| {
            begun.last().is_some_and(|last| last == output).then_some(endpoints)
        };
        match label {
            // Of what is displaced: outputs never give way.
            "input" | "source" => self.inputs.iter().map(String::as_str).collect(),
            "output" => self.outputs.iter().map(|(name, _)| name.as_str()).collect(),
            "endpoint" => self.outputs.iter().filter_map(endpoints).flatten().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let output =
            |name: &str, endpoints: &[&str]| (name.to_owned(), endpoints.iter().map(|of| (*of).to_owned()).collect());
        Names {
            inputs: vec!["agents".to_owned(), "scripts".to_owned()],
            outputs: vec![output("sentinel", &["dce"]), output("lake", &["a", "b"])],
        }
    }

    #[test]
    fn what_can_be_named_exists_before_it_happens() {
        let names = names();
        assert_eq!(names.series(&metrics::SPOOL_COMMITS), [Vec::<&str>::new()]);
        assert_eq!(names.series(&metrics::EVENTS_SPOOLED), [["agents"], ["scripts"]]);
        assert_eq!(names.series(&metrics::EVENTS_FOREIGN).len(), 4);
        assert_eq!(
            names.series(&metrics::FORWARD_CONTRADICTED),
            [["sentinel", "dce"], ["lake", "a"], ["lake", "b"]],
            "an endpoint belongs to its output"
        );
        assert!(names.series(&metrics::INPUT_REQUESTS).is_empty(), "nobody knows which answers there will be");
    }

    #[test]
    fn the_reasons_that_are_listed_are_those_that_there_are() {
        let listed = metrics::UPLOADS_SHED.values[0];
        for trouble in crate::ingest::Trouble::ALL {
            assert!(listed.contains(&trouble.code), "{} is not listed", trouble.code);
        }
    }

    #[test]
    fn the_number_of_series_that_begin_is_bounded() {
        let endpoints = |_| (0..10).map(|n| format!("endpoint-{n}")).collect();
        let names = Names {
            inputs: (0..4).map(|n| format!("input-{n}")).collect(),
            outputs: (0..10).map(|n| (format!("output-{n}"), endpoints(n))).collect(),
        };
        let counters = metrics::ALL.iter().filter(|metric| metric.kind == metrics::Kind::Counter);
        let begun: usize = counters.map(|metric| names.series(metric).len()).sum();
        assert!(begun < 600, "{begun} counters begin with ten outputs of ten endpoints");
    }
}
