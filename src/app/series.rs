//! The series that a configuration implies exist from the start, with nothing counted.
//!
//! A counter that appears with its first hit hides that hit: to Prometheus its first value is no increase. And a panel without
//! series looks like one that is broken. So whatever can be named before anything happens is there before it happens: all
//! series whose labels are inputs, outputs, endpoints, or one of the few values that [`metrics`] lists; of the rules of tunnels those
//! of the first.

use std::collections::BTreeSet;

use super::build::Parts;
use super::replicas::Replicas;
use crate::metrics::{self, Metric};

/// Begins the series of the configuration that has just come into force. Those that exist keep their values.
pub(super) fn begin(parts: &Parts) {
    metrics::CONFIG_LAST_RELOAD_OK.set(&[], 1.0);
    metrics::CONFIG_IN_FORCE_SINCE.set(&[], (parts.clock.shown_now_ms() / 1000) as f64);
    begin_counters(parts);
}

/// Begins what is counted; once more when an output has started without a reload.
pub(super) fn begin_counters(parts: &Parts) {
    let config = parts.in_force.current();
    let running = parts.outputs.forwarders();
    let names = Names {
        tunnels: config.tunnel.listeners.iter().map(|listener| listener.name.clone()).collect(),
        tunnel_rules: config.tunnel.allow.iter().map(|rule| rule.name.clone()).collect(),
        rules: parts.rules.load().list().into_iter().map(|rule| (rule.name, rule.outputs)).collect(),
        streams: parts.replicas.as_ref().map(Replicas::names).unwrap_or_default(),
        identities: running.iter().filter_map(|forwarder| Some(forwarder.token()?.kind)).collect(),
        inputs: config.listeners.iter().map(|listener| listener.name.clone()).collect(),
        outputs: running
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
    /// Listeners of tunnels.
    tunnels: Vec<String>,
    /// Rules of tunnels.
    tunnel_rules: Vec<String>,
    /// Rules of events, each with the outputs that it feeds, as they are shown.
    rules: Vec<(String, Vec<String>)>,
    /// At the servers of replication.
    streams: Vec<String>,
    /// Kinds of identities that outputs have.
    identities: BTreeSet<&'static str>,
    /// Each with its endpoints.
    outputs: Vec<(String, Vec<String>)>,
}

impl Names {
    /// The label values of every series of a metric that can be named; none where one of its labels cannot.
    fn series<'a>(&'a self, metric: &'a Metric) -> Vec<Vec<&'a str>> {
        let mut series = vec![Vec::new()];
        for (label, listed) in metric.labels.iter().zip(metric.values) {
            let longer = |begun: &Vec<&'a str>| {
                let values = if listed.is_empty() { self.of(metric, label, begun) } else { listed.to_vec() };
                let begun = begun.clone();
                values.into_iter().map(move |value| [&begun[..], &[value]].concat()).collect::<Vec<_>>()
            };
            series = series.iter().flat_map(longer).collect();
        }
        series
    }

    /// The values of a label, behind those of the labels before it.
    fn of<'a>(&'a self, metric: &Metric, label: &str, begun: &[&'a str]) -> Vec<&'a str> {
        let of_tunnels = OF_TUNNELS.iter().any(|of| of.name == metric.name);
        let endpoints = |(output, endpoints): &'a (String, Vec<String>)| {
            begun.last().is_some_and(|last| last == output).then_some(endpoints)
        };
        match label {
            // Only inputs give letters up for newer ones, and no other counter has this label.
            "input" | "source" => texts(&self.inputs),
            "listener" => texts(if of_tunnels { &self.tunnels } else { &self.inputs }),
            // There may be many, with many series each, most of which never meet anything.
            "rule" if of_tunnels => texts(&self.tunnel_rules[..self.tunnel_rules.len().min(1)]),
            "rule" => self.rules.iter().map(|(name, _)| name.as_str()).collect(),
            "stream" => texts(&self.streams),
            "kind" => self.identities.iter().copied().collect(),
            "output" if metric.name == metrics::RULE_EVENTS.name => self.fed_by(begun),
            "output" => self.outputs.iter().map(|(name, _)| name.as_str()).collect(),
            "endpoint" => self.outputs.iter().filter_map(endpoints).flatten().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

impl Names {
    /// The outputs that the rule feeds whose name is the last of these values.
    fn fed_by<'a>(&'a self, begun: &[&'a str]) -> Vec<&'a str> {
        let of_rule = self.rules.iter().filter(|(name, _)| begun.last() == Some(&name.as_str()));
        // Behind the output stands its stream, if the rule names one: `soc (Custom-Logons)`.
        let outputs = of_rule.flat_map(|(_, outputs)| outputs).filter_map(|shown| shown.split(" (").next());
        outputs.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

fn texts(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Whose label `listener` is one of tunnels, and whose `rule` one of the allow-list.
static OF_TUNNELS: [&Metric; 5] = [
    &metrics::TUNNELS_ENDED,
    &metrics::TUNNELS_OPEN,
    &metrics::TUNNEL_BYTES,
    &metrics::TUNNEL_SECONDS,
    &metrics::TUNNEL_DIAL_SECONDS,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let output =
            |name: &str, endpoints: &[&str]| (name.to_owned(), endpoints.iter().map(|of| (*of).to_owned()).collect());
        Names {
            inputs: vec!["agents".to_owned(), "scripts".to_owned()],
            outputs: vec![output("sentinel", &["dce"]), output("lake", &["a", "b"])],
            tunnels: vec!["proxy".to_owned()],
            tunnel_rules: vec!["arc".to_owned(), "agents".to_owned()],
            rules: vec![("logons".to_owned(), vec!["lake (Custom-A)".to_owned(), "lake (Custom-B)".to_owned()])],
            streams: vec!["gatepost_logs".to_owned()],
            identities: BTreeSet::from(["secret"]),
        }
    }

    #[test]
    fn what_can_be_named_exists_before_it_happens() {
        let names = names();
        assert_eq!(names.series(&metrics::SPOOL_COMMITS), [Vec::<&str>::new()]);
        assert_eq!(names.series(&metrics::EVENTS_SPOOLED), [["agents"], ["scripts"]]);
        assert_eq!(names.series(&metrics::EVENTS_FOREIGN).len(), 4);
        let displaced = [["agents", "not_understood"], ["scripts", "not_understood"]];
        assert_eq!(names.series(&metrics::DEAD_LETTERS_DISPLACED), displaced);
        assert_eq!(
            names.series(&metrics::ENDPOINT_FAILURES),
            [["sentinel", "dce"], ["lake", "a"], ["lake", "b"]],
            "an endpoint belongs to its output"
        );
        assert_eq!(names.series(&metrics::RULE_EVENTS), [["logons", "lake"]]);
        assert_eq!(names.series(&metrics::TUNNELS_ENDED), [["proxy", "arc", "closed"]]);
        assert_eq!(names.series(&metrics::CONNECTIONS_REFUSED)[0][0], "agents");
        assert_eq!(names.series(&metrics::TOKEN_REQUESTS).len(), 3);
    }

    #[test]
    fn no_family_is_missing_before_its_first_hit() {
        let names = names();
        // The tunnel plane begins these two itself, with every reason that there is.
        let begun_elsewhere = [metrics::TUNNELS_REFUSED.name, metrics::TUNNEL_ERRORS.name];
        for metric in metrics::ALL.iter().filter(|metric| metric.kind != metrics::Kind::Gauge) {
            let begins = begun_elsewhere.contains(&metric.name) || !names.series(metric).is_empty();
            assert!(begins, "{} is not there before its first hit", metric.name);
        }
    }

    #[test]
    fn the_reasons_that_are_listed_are_those_that_there_are() {
        let listed = metrics::UPLOADS_SHED.values[0];
        for trouble in crate::ingest::Trouble::ALL {
            assert!(listed.contains(&trouble.code), "{} is not listed", trouble.code);
        }
    }

    #[test]
    fn ten_outputs_with_a_hundred_endpoints_are_under_a_thousand_series() {
        let endpoints = |_| (0..10).map(|n| format!("endpoint-{n}")).collect();
        let names = Names {
            inputs: vec!["agents".to_owned()],
            outputs: (0..10).map(|n| (format!("output-{n}"), endpoints(n))).collect(),
            tunnels: Vec::new(),
            tunnel_rules: Vec::new(),
            rules: Vec::new(),
            streams: Vec::new(),
            identities: BTreeSet::from(["secret"]),
        };
        let lines = |metric: &Metric| match metric.kind {
            metrics::Kind::Histogram => names.series(metric).len() * (metric.buckets.len() + 3),
            metrics::Kind::Counter | metrics::Kind::Gauge => names.series(metric).len(),
        };
        let series: usize = metrics::ALL.iter().map(|metric| lines(metric)).sum();
        assert!(series < 1_000, "{series} series");
    }
}
