//! What one metric is, and how it is counted. What there is to count stands in the table above.

use ::metrics::{Counter, Gauge, Histogram};

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in [`Metric::buckets`].
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, with unit, and `_total` for counters.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The keys of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// For each label the values that it has from the start: all that there are, or of many the one or two that every gateway meets,
    /// so that the family is there. None for a label whose values come from the configuration.
    pub values: &'static [&'static [&'static str]],
    /// What it counts, in one sentence.
    pub help: &'static str,
    /// Upper bounds of the buckets of a histogram.
    pub buckets: &'static [f64],
}

impl Metric {
    fn key(&self, values: &[&str]) -> Vec<::metrics::Label> {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        self.labels.iter().zip(values).map(|(key, value)| ::metrics::Label::new(*key, (*value).to_owned())).collect()
    }

    /// Makes a counter or histogram exist with nothing in it, so that its first increase is an increase.
    pub fn begin(&self, values: &[&str]) {
        match self.kind {
            Kind::Counter => self.counter(values).increment(0),
            // It has no value without observations; asking for it makes it known.
            Kind::Histogram => drop(self.histogram(values)),
            Kind::Gauge => {}
        }
    }

    /// The series of a counter with these labels, for whoever counts in it again and again. Ask after the recorder was installed.
    pub fn counter(&self, values: &[&str]) -> Counter {
        debug_assert_eq!(self.kind, Kind::Counter, "{}", self.name);
        ::metrics::counter!(self.name, self.key(values))
    }

    /// The series of a gauge with these labels, in the same way.
    pub fn gauge(&self, values: &[&str]) -> Gauge {
        debug_assert_eq!(self.kind, Kind::Gauge, "{}", self.name);
        ::metrics::gauge!(self.name, self.key(values))
    }

    /// The series of a histogram with these labels, in the same way.
    pub fn histogram(&self, values: &[&str]) -> Histogram {
        debug_assert_eq!(self.kind, Kind::Histogram, "{}", self.name);
        ::metrics::histogram!(self.name, self.key(values))
    }

    /// Adds to a counter.
    pub fn add(&self, values: &[&str], n: u64) {
        self.counter(values).increment(n);
    }

    /// Sets a gauge.
    pub fn set(&self, values: &[&str], value: f64) {
        self.gauge(values).set(value);
    }

    /// Adds to a gauge, or takes away from it.
    pub fn shift(&self, values: &[&str], by: f64) {
        self.gauge(values).increment(by);
    }

    /// Records an observation of a histogram.
    pub fn observe(&self, values: &[&str], value: f64) {
        self.histogram(values).record(value);
    }
}

/// Observations of one histogram that are recorded together: a request has many events, and each call of the recorder would cost
/// more than the event itself.
#[derive(Debug, Clone)]
pub struct Many {
    metric: &'static Metric,
    /// How many fell into each bucket, the last one for what is above all of them, and their sum.
    buckets: Vec<(usize, f64)>,
}

impl Many {
    /// None yet.
    pub fn of(metric: &'static Metric) -> Self {
        debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
        Self { metric, buckets: vec![(0, 0.0); metric.buckets.len() + 1] }
    }

    /// Takes one.
    pub fn observe(&mut self, value: f64) {
        let bucket = self.metric.buckets.iter().position(|bound| value <= *bound).unwrap_or(self.metric.buckets.len());
        let (count, sum) = &mut self.buckets[bucket];
        *count += 1;
        *sum += value;
    }

    /// Records all of them in a series of its metric. Of each bucket the mean as often as there were observations: counts and sum
    /// are exact.
    pub fn record(&self, histogram: &Histogram) {
        for (count, sum) in self.buckets.iter().filter(|(count, _)| *count > 0) {
            histogram.record_many(sum / *count as f64, *count);
        }
    }
}
