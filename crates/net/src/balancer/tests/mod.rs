//! The promises of the balancer, at its public surface. Workers send to simulated endpoints in paused time.

use std::cell::Cell;

use proptest::prelude::*;
use tokio::time::{advance, sleep};

use super::*;

mod probes;

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn spec(name: &str) -> Spec {
    Spec {
        name: name.to_owned(),
        weight: 1.0,
        priority: 0,
        events_per_second: None,
        rate: SharedRate::default(),
        max_in_flight: 8,
    }
}

pub(super) fn balancer(specs: Vec<Spec>) -> Balancer {
    Balancer::new(specs, &Config::default(), fastrand::Rng::with_seed(42))
}

fn lease(balancer: &Balancer) -> Lease {
    match balancer.pick(1) {
        Pick::Lease(lease) => lease,
        Pick::Wait(wait) => panic!("nobody is available for {wait:?}: {:?}", balancer.snapshot()),
    }
}

fn lease_of(balancer: &Balancer, endpoint: usize) -> Lease {
    let lease = std::iter::repeat_with(|| lease(balancer)).take(1000).find(|lease| lease.endpoint == endpoint);
    lease.expect("it gets a request now and then")
}

fn wait(balancer: &Balancer) -> Duration {
    match balancer.pick(1) {
        Pick::Wait(wait) => wait,
        Pick::Lease(lease) => panic!("endpoint {} is available", lease.endpoint),
    }
}

fn status(balancer: &Balancer, endpoint: usize) -> EndpointStatus {
    balancer.snapshot()[endpoint].state
}

/// Sends to one endpoint until it is ejected; what goes to others is dropped unsent.
fn break_down(balancer: &Balancer, endpoint: usize) -> usize {
    let mut failures = 0;
    for _ in 0..1000 {
        if status(balancer, endpoint) == EndpointStatus::Open {
            return failures;
        }
        let lease = lease(balancer);
        if lease.endpoint == endpoint {
            lease.finish(Verdict::Failure);
            failures += 1;
        }
    }
    panic!("endpoint {endpoint} was not ejected")
}

/// Lets so many workers send to endpoints of these latencies for a while, then gives up what is unanswered. Returns the
/// requests that each endpoint answered.
async fn run(balancer: &Balancer, workers: usize, latencies: Vec<Duration>, time: Duration) -> Vec<usize> {
    let counts: Vec<Cell<usize>> = latencies.iter().map(|_| Cell::new(0)).collect();
    let work = (0..workers).map(|_| async {
        loop {
            let lease = balancer.acquire(1, None).await;
            sleep(latencies[lease.endpoint]).await;
            let count = &counts[lease.endpoint];
            count.set(count.get() + 1);
            lease.finish(Verdict::Success);
        }
    });
    let ended: Result<Vec<()>, _> = tokio::time::timeout(time, futures_util::future::join_all(work)).await;
    assert!(ended.is_err(), "workers never end by themselves");
    counts.iter().map(Cell::get).collect()
}

fn share(counts: &[usize], endpoint: usize) -> f64 {
    counts[endpoint] as f64 / counts.iter().sum::<usize>() as f64
}

#[tokio::test(start_paused = true)]
async fn the_faster_endpoint_gets_more_and_the_slow_one_is_not_starved() {
    let balancer = balancer(vec![spec("fast"), spec("slow"), spec("middle")]);
    let counts = run(&balancer, 6, vec![millis(20), millis(400), millis(60)], secs(60)).await;
    assert!(share(&counts, 0) > 0.6, "{counts:?}");
    assert!(share(&counts, 1) < 0.1, "{counts:?}");
    assert!(counts[1] > 10, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn equal_endpoints_share_by_weight() {
    let mut specs = vec![spec("one"), spec("three")];
    specs[1].weight = 3.0;
    specs.iter_mut().for_each(|spec| spec.max_in_flight = 50);
    let counts = run(&balancer(specs), 40, vec![millis(50); 2], secs(20)).await;
    assert!((0.70..0.80).contains(&share(&counts, 1)), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_ejected_within_five_failures_and_a_good_probe_brings_it_back() {
    let balancer = balancer(vec![spec("good"), spec("bad")]);
    assert_eq!(break_down(&balancer, 1), 5);
    assert!((0..100).all(|_| lease(&balancer).endpoint == 0));
    balancer.probed(1, false);
    assert_eq!(status(&balancer, 1), EndpointStatus::Open);
    balancer.probed(1, true);
    assert_eq!(status(&balancer, 1), EndpointStatus::HalfOpen);
    let trial = lease(&balancer);
    assert_eq!(trial.endpoint, 1, "the trial goes first");
    assert_eq!(lease(&balancer).endpoint, 0, "and alone");
    trial.finish(Verdict::Success);
    assert_eq!(status(&balancer, 1), EndpointStatus::SlowStart);
    advance(secs(10)).await;
    assert_eq!(status(&balancer, 1), EndpointStatus::Closed);
}

#[tokio::test(start_paused = true)]
async fn without_probes_time_brings_it_back_and_a_failed_trial_ejects_it_for_longer() {
    let balancer = balancer(vec![spec("only")]);
    break_down(&balancer, 0);
    for _ in 0..20 {
        while status(&balancer, 0) == EndpointStatus::Open {
            let left = balancer.snapshot()[0].available_in.expect("it is known when");
            assert!(left <= secs(60));
            advance(wait(&balancer)).await;
        }
        lease(&balancer).finish(Verdict::Failure);
        assert_eq!(status(&balancer, 0), EndpointStatus::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_trial_does_not_block_the_next() {
    let balancer = balancer(vec![spec("only")]);
    break_down(&balancer, 0);
    balancer.probed(0, true);
    drop(lease(&balancer));
    lease(&balancer).finish(Verdict::RetryAfter(secs(1)));
    advance(secs(1)).await;
    lease(&balancer).finish(Verdict::Success);
    assert_eq!(status(&balancer, 0), EndpointStatus::SlowStart);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_respected_and_bounded_and_no_failure() {
    let balancer = balancer(vec![spec("only")]);
    for (asked, given) in [(millis(1), secs(1)), (secs(7), secs(7)), (secs(86_400), secs(300))] {
        lease(&balancer).finish(Verdict::RetryAfter(asked));
        let state = &balancer.snapshot()[0];
        assert_eq!((state.state, state.available_in), (EndpointStatus::Throttled, Some(given)));
        assert_eq!(state.consecutive_failures, 0);
        advance(given - millis(1)).await;
        assert_eq!(wait(&balancer), SHORTEST_WAIT);
        advance(millis(1)).await;
        assert_eq!(status(&balancer, 0), EndpointStatus::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn traffic_falls_over_to_the_next_priority_and_back() {
    let mut specs = vec![spec("standby"), spec("main")];
    specs[0].priority = 1;
    let balancer = balancer(specs);
    assert!((0..50).all(|_| lease(&balancer).endpoint == 1));
    break_down(&balancer, 1);
    assert!((0..50).all(|_| lease(&balancer).endpoint == 0));
    balancer.probed(1, true);
    lease(&balancer).finish(Verdict::Success);
    assert!((0..50).all(|_| lease(&balancer).endpoint == 1));
}

#[tokio::test(start_paused = true)]
async fn a_recovered_endpoint_comes_back_slowly() {
    let balancer = balancer(vec![spec("steady"), spec("recovered")]);
    break_down(&balancer, 1);
    balancer.probed(1, true);
    lease(&balancer).finish(Verdict::Success);
    assert_eq!(status(&balancer, 1), EndpointStatus::SlowStart);
    let mut shares = Vec::new();
    for _ in 0..4 {
        shares.push(share(&run(&balancer, 8, vec![millis(50); 2], secs(4)).await, 1));
    }
    assert!(shares[0] < 0.3 && shares[3] > 0.45, "{shares:?}");
    assert!(shares.windows(2).take(2).all(|pair| pair[0] < pair[1]), "{shares:?}");
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_is_ejected_within_ten_seconds_and_the_rest_keeps_its_rate() {
    let balancer = balancer(vec![spec("a"), spec("b"), spec("hole")]);
    // As many senders as requests may be in flight, so that those who hang do not take the place of others.
    let healthy = run(&balancer, 24, vec![millis(50); 3], secs(10)).await;
    let held = lease_of(&balancer, 2);
    let rest = run(&balancer, 24, vec![millis(50), millis(50), secs(60)], secs(10)).await;
    assert!(matches!(status(&balancer, 2), EndpointStatus::Open | EndpointStatus::HalfOpen), "{rest:?}");
    assert!((0..2).all(|good| rest[good] as f64 > 0.95 * healthy[good] as f64), "{rest:?}, before {healthy:?}");
    // It comes back while the old requests still hang.
    balancer.probed(2, true);
    let trial = lease(&balancer);
    assert_eq!(trial.endpoint, 2);
    trial.finish(Verdict::Success);
    advance(secs(1)).await;
    drop(lease(&balancer));
    assert_eq!(status(&balancer, 2), EndpointStatus::SlowStart);
    held.finish(Verdict::Failure);
    let state = &balancer.snapshot()[2];
    assert!(state.consecutive_failures == 0 && state.ewma_ms < 100.0, "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn comparisons_never_eject_the_last_endpoint() {
    let balancer = balancer(vec![spec("a"), spec("b")]);
    for _ in 0..400 {
        for verdict in [Verdict::Failure, Verdict::Success] {
            if let Pick::Lease(lease) = balancer.pick(1) {
                lease.finish(verdict);
            }
        }
        advance(millis(20)).await;
        let open = balancer.snapshot().iter().filter(|e| e.state == EndpointStatus::Open).count();
        assert!(open < 2);
    }
    // Silence: the last one may hang for ever and stays in use.
    let lone = self::balancer(vec![spec("only")]);
    let _held = lease(&lone);
    advance(secs(600)).await;
    assert_eq!(lease(&lone).endpoint, 0);
}

#[tokio::test(start_paused = true)]
async fn trouble_lowers_the_limit_and_success_raises_it() {
    let balancer = balancer(vec![spec("only")]);
    assert_eq!(balancer.snapshot()[0].limit, 8);
    for _ in 0..4 {
        lease(&balancer).finish(Verdict::RetryAfter(secs(1)));
        advance(secs(1)).await;
    }
    assert_eq!(balancer.snapshot()[0].limit, 1);
    let held = lease(&balancer);
    assert_eq!(wait(&balancer), LONGEST_WAIT);
    drop(held);
    for _ in 0..60 {
        lease(&balancer).finish(Verdict::Success);
    }
    assert_eq!(balancer.snapshot()[0].limit, 8);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lease_wakes_who_waits() {
    let mut only = spec("only");
    only.max_in_flight = 1;
    let balancer = balancer(vec![only]);
    let held = lease(&balancer);
    let began = Instant::now();
    let (next, ()) = tokio::join!(balancer.acquire(1, None), async {
        sleep(millis(5)).await;
        held.finish(Verdict::Success);
    });
    assert_eq!(next.endpoint, 0);
    assert!(began.elapsed() < millis(10));
}

#[tokio::test(start_paused = true)]
async fn no_endpoint_and_nonsense_specs_do_no_harm() {
    assert_eq!(wait(&balancer(vec![])), LONGEST_WAIT);
    let odd = [f64::NAN, 0.0, -1.0, f64::INFINITY].map(|weight| Spec {
        weight,
        events_per_second: Some(0),
        max_in_flight: 0,
        ..spec("odd")
    });
    let balancer = balancer(odd.to_vec());
    advance(secs(1)).await;
    let leases: Vec<Lease> = (0..4).map(|_| lease(&balancer)).collect();
    assert_eq!(wait(&balancer), LONGEST_WAIT);
    drop(leases);
    balancer.probed(99, true);
}

#[derive(Debug, Clone)]
enum Step {
    Pick(u32),
    End(usize, Verdict),
    Advance(u64),
    Probe(usize, bool),
    Due,
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        Just(Verdict::Success),
        Just(Verdict::Failure),
        (0u64..1000).prop_map(|s| Verdict::RetryAfter(secs(s))),
        Just(Verdict::Neutral),
    ];
    prop_oneof![
        4 => (0u32..5_000).prop_map(Step::Pick),
        4 => (any::<usize>(), verdict).prop_map(|(which, verdict)| Step::End(which, verdict)),
        2 => (0u64..20_000).prop_map(Step::Advance),
        1 => (0usize..5, any::<bool>()).prop_map(|(endpoint, ok)| Step::Probe(endpoint, ok)),
        1 => Just(Step::Due),
    ]
}

fn specs() -> impl Strategy<Value = Vec<Spec>> {
    let one = (0.1f64..10.0, 0u32..3, prop::option::of(1u32..10_000), 1usize..5).prop_map(
        |(weight, priority, events_per_second, max_in_flight)| Spec {
            weight,
            priority,
            events_per_second,
            max_in_flight,
            ..spec("any")
        },
    );
    prop::collection::vec(one, 1..5)
}

async fn any_sequence(specs: Vec<Spec>, steps: Vec<Step>) {
    let balancer = balancer(specs.clone());
    let mut held: Vec<Lease> = Vec::new();
    for step in steps {
        match step {
            Step::Pick(events) => match balancer.pick(events) {
                Pick::Lease(lease) => held.push(lease),
                Pick::Wait(wait) => assert!((SHORTEST_WAIT..=LONGEST_WAIT).contains(&wait)),
            },
            Step::End(which, verdict) if !held.is_empty() => held.swap_remove(which % held.len()).finish(verdict),
            Step::End(..) => {}
            Step::Advance(ms) => advance(millis(ms)).await,
            Step::Probe(endpoint, ok) => balancer.probed(endpoint, ok),
            Step::Due => drop(balancer.probe_due(Instant::now())),
        }
        for (index, state) in balancer.snapshot().iter().enumerate() {
            assert_eq!(state.in_flight, held.iter().filter(|lease| lease.endpoint == index).count());
            assert!(state.in_flight <= specs[index].max_in_flight);
            assert!((1..=specs[index].max_in_flight).contains(&state.limit));
            assert!(state.ewma_ms.is_finite());
        }
    }
    held.clear();
    assert!(balancer.snapshot().iter().all(|state| state.in_flight == 0));
    // Whatever happened, somebody is available again in bounded time.
    let lease = tokio::time::timeout(secs(5_400), balancer.acquire(1, None)).await;
    assert!(lease.is_ok(), "{:?}", balancer.snapshot());
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_books_and_starves_nobody(
        specs in specs(),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(any_sequence(specs, steps));
    }
}
