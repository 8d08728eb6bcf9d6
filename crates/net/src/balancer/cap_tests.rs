//! What a collector sees whose events a second are capped.

use std::cell::RefCell;

use tokio::time::{advance, sleep};

use super::tests::{balancer, millis, secs, spec};
use super::*;

#[tokio::test(start_paused = true)]
async fn the_cap_in_events_a_second_holds_within_two_percent() {
    for batch in [1, 500, 1_000] {
        let mut only = spec("capped");
        only.events_per_second = Some(8_500);
        let balancer = balancer(vec![only]);
        // A quiet time first, so that what may be saved up counts too.
        advance(secs(30)).await;
        let end = Instant::now() + secs(10);
        let mut events = 0u32;
        while Instant::now() < end {
            balancer.acquire(batch, None).await.finish(Verdict::Success);
            events += batch;
        }
        let (low, high) = (85_000.0 * 0.98, 85_000.0 * 1.02 + f64::from(batch));
        assert!((low..=high).contains(&f64::from(events)), "{events} events in batches of {batch}");
    }
}

/// Lets workers of several balancers send as fast as they may, to a collector that takes each request at some moment
/// between its start and its answer. Returns when what came.
async fn arrivals(balancers: &[Balancer], events: u32, latency_ms: u64, time: Duration) -> Vec<(Instant, u32)> {
    let arrived = RefCell::new(Vec::new());
    let rng = RefCell::new(fastrand::Rng::with_seed(11));
    let work = balancers.iter().flat_map(|balancer| std::iter::repeat_n(balancer, 4)).map(|balancer| {
        let (arrived, rng) = (&arrived, &rng);
        async move {
            loop {
                let lease = balancer.acquire(events, None).await;
                let latency = rng.borrow_mut().u64(0..=latency_ms);
                let before = rng.borrow_mut().u64(0..=latency);
                sleep(millis(before)).await;
                arrived.borrow_mut().push((Instant::now(), events));
                sleep(millis(latency - before)).await;
                lease.finish(Verdict::Success);
            }
        }
    });
    let ended: Result<Vec<()>, _> = tokio::time::timeout(time, futures_util::future::join_all(work)).await;
    assert!(ended.is_err(), "workers never end by themselves");
    arrived.into_inner()
}

/// The most events within a second, wherever it begins.
fn busiest_second(arrived: &[(Instant, u32)]) -> u32 {
    let from = |began: Instant| {
        let within = arrived.iter().filter(move |(at, _)| (began..began + secs(1)).contains(at));
        within.map(|(_, events)| events).sum()
    };
    arrived.iter().map(|(began, _)| from(*began)).max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn no_second_of_a_capped_collector_sees_more_than_its_cap_and_one_batch() {
    const CAP: u32 = 800;
    for (outputs, latency) in [(1, 1), (1, 100), (1, 700), (3, 1), (3, 100), (3, 700)] {
        let rates = EventRates::default();
        let capped = || Spec { events_per_second: Some(CAP), rate: rates.of("http://siem:80"), ..spec("capped") };
        let balancers: Vec<Balancer> = (0..outputs).map(|_| balancer(vec![capped()])).collect();
        let events = balancers[0].largest_request().expect("there is a cap");
        assert_eq!(events, CAP / 8);
        // A backlog at the start, a quiet time, a backlog again.
        let began = Instant::now();
        let mut arrived = arrivals(&balancers, events, latency, secs(20)).await;
        let first_second =
            arrived.iter().filter(|(at, _)| *at < began + secs(1)).map(|(_, events)| events).sum::<u32>();
        assert_eq!(first_second, 0, "a process before may have sent all that a second holds");
        advance(secs(30)).await;
        arrived.extend(arrivals(&balancers, events, latency, secs(20)).await);
        let busiest = busiest_second(&arrived);
        assert!(busiest <= CAP + events, "{busiest} in a second, {outputs} outputs, {latency} ms");
        let all: u32 = arrived.iter().map(|(_, events)| events).sum();
        let mean = f64::from(all) / 39.0 / f64::from(CAP);
        assert!(
            (if latency > 100 { 0.7 } else { 0.95 }..1.02).contains(&mean),
            "{mean}, {outputs} outputs, {latency} ms"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_of_ten_shares_gets_its_turn_among_those_of_one() {
    let balancer = balancer(vec![Spec { events_per_second: Some(800), ..spec("capped") }]);
    let others = std::slice::from_ref(&balancer);
    tokio::select! {
        _ = arrivals(others, 100, 100, secs(60)) => panic!("it starves"),
        lease = balancer.acquire(1_000, None) => lease.finish(Verdict::Success),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_are_cut_to_the_least_cap_of_the_best_priority_if_all_there_have_one() {
    let largest = |endpoints: &[(u32, Option<u32>)]| {
        let spec = |&(priority, events_per_second)| Spec { priority, events_per_second, ..spec("one") };
        balancer(endpoints.iter().map(spec).collect()).largest_request()
    };
    assert_eq!(largest(&[]), None);
    assert_eq!(largest(&[(1, Some(800)), (1, Some(80)), (2, Some(8)), (2, None)]), Some(10));
    assert_eq!(largest(&[(1, Some(800)), (1, None)]), None);
    assert_eq!(largest(&[(1, None), (2, Some(80))]), None);
}
