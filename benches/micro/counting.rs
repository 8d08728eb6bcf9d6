//! What metrics cost: the main path, and whoever scrapes.

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use gatepost::admin::Scrape;
use gatepost::metrics;

use super::EVENTS;

/// The recorder of this process.
fn scrape() -> &'static Scrape {
    static SCRAPE: std::sync::LazyLock<Scrape> =
        std::sync::LazyLock::new(|| Scrape::install().expect("nobody else installs one"));
    &SCRAPE
}

/// What is counted of one upload and of the batch that it becomes, in series that were found before, as the gateway does it: beside
/// the time of the steps above it is what metrics cost the main path.
#[divan::bench]
fn count_an_upload(bencher: Bencher<'_, '_>) {
    scrape();
    let (input, output, endpoint) = (black_box("uploads"), black_box("workspace"), black_box("endpoint-1"));
    let ones = [
        metrics::INPUT_REQUESTS.counter(&[input, "204"]),
        metrics::FORWARD_REQUESTS.counter(&[output, "accepted"]),
        metrics::ENDPOINT_FAILURES.counter(&[output, endpoint]),
    ];
    let bytes = ["wire", "decompressed"].map(|counted| metrics::INPUT_BYTES.counter(&[input, counted]));
    let sent = ["wire", "plain"].map(|counted| metrics::FORWARD_BYTES.counter(&[output, counted]));
    let account = [
        &metrics::EVENTS_RECEIVED,
        &metrics::EVENTS_DUPLICATE,
        &metrics::EVENTS_SET_ASIDE,
        &metrics::EVENTS_SPOOLED,
        &metrics::EVENTS_UNNUMBERED,
        &metrics::EVENTS_UNRECOGNISABLE,
    ]
    .map(|metric| metric.counter(&[input]));
    let forwarded = metrics::EVENTS_FORWARDED.counter(&[output]);
    let seconds = [
        metrics::INPUT_REQUEST_SECONDS.histogram(&[input]),
        metrics::SPOOL_APPEND_SECONDS.histogram(&[]),
        metrics::FORWARD_REQUEST_SECONDS.histogram(&[output]),
    ];
    let ages = [(&metrics::EVENT_AGE_AT_RECEIPT, input), (&metrics::EVENT_AGE_AT_DELIVERY, output)]
        .map(|(metric, name)| (metric, metric.histogram(&[name])));
    let events = EVENTS as u64;
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        ones.iter().for_each(|counter| counter.increment(1));
        bytes.iter().chain(&sent).for_each(|counter| counter.increment(400_000));
        account.iter().chain([&forwarded]).for_each(|counter| counter.increment(events));
        seconds.iter().for_each(|histogram| histogram.record(0.004));
        for (metric, histogram) in &ages {
            let mut many = metrics::Many::of(metric);
            (0..events).for_each(|n| many.observe(n as f64 / 50.0));
            many.record(histogram);
        }
    });
}

/// `/metrics` at the most series that a gateway may have.
#[divan::bench]
fn render_a_thousand_series(bencher: Bencher<'_, '_>) {
    let scrape = scrape();
    for n in 0..1_000 {
        metrics::ENDPOINT_FAILURES.add(&["output", &format!("endpoint-{n}")], n);
    }
    bencher.counter(ItemsCount::new(1_000_usize)).bench_local(|| scrape.render());
}
