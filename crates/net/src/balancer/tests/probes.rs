//! What probes find out, and what they may not decide alone.

use super::*;

#[tokio::test(start_paused = true)]
async fn idle_and_ejected_endpoints_are_probed_and_bad_probes_eject() {
    let balancer = balancer(vec![spec("busy"), spec("idle")]);
    let mut probes = 0;
    for _ in 0..60 {
        advance(secs(1)).await;
        lease(&balancer).finish(Verdict::Success);
        let due = balancer.probe_due(Instant::now());
        probes += due.len();
        due.into_iter().for_each(|endpoint| balancer.probed(endpoint, false));
    }
    assert!(probes <= 60, "each of both at most every two seconds: {probes}");
    let idle = self::balancer(vec![spec("idle")]);
    let began = Instant::now();
    while status(&idle, 0) == EndpointStatus::Closed {
        look(&idle, |_| Some(false)).await;
    }
    assert!(began.elapsed() < secs(4), "{:?}", began.elapsed());
    // Nobody sends, and it stays dead: it must not look as if it were about to come back.
    for _ in 0..400 {
        look(&idle, |_| Some(false)).await;
    }
    assert_eq!(status(&idle, 0), EndpointStatus::Open);
    while status(&idle, 0) == EndpointStatus::Open {
        look(&idle, |_| Some(true)).await;
    }
}

/// Asks whom to ask, as a forwarder does, and answers for them; `None` is no answer.
async fn look(balancer: &Balancer, answer: impl Fn(usize) -> Option<bool>) -> Vec<usize> {
    advance(millis(250)).await;
    let due = balancer.probe_due(Instant::now());
    due.iter().filter_map(|at| Some((*at, answer(*at)?))).for_each(|(at, ok)| balancer.probed(at, ok));
    due
}

#[tokio::test(start_paused = true)]
async fn one_failure_is_enough_to_find_a_dead_endpoint_that_gets_no_more_requests() {
    let balancer = balancer(vec![spec("good"), spec("dead")]);
    lease_of(&balancer, 1).finish(Verdict::Failure);
    let began = Instant::now();
    while status(&balancer, 1) == EndpointStatus::Closed {
        lease_of(&balancer, 0).finish(Verdict::Success);
        look(&balancer, |endpoint| Some(endpoint == 0)).await;
    }
    assert!(began.elapsed() <= millis(1_000), "{:?}", began.elapsed());
    assert_eq!(balancer.snapshot()[1].ejected_for, Some(Ejection::Failures));
}

#[tokio::test(start_paused = true)]
async fn a_good_probe_ends_a_suspicion_and_failing_requests_eject_all_the_same() {
    let balancer = balancer(vec![spec("good"), spec("refuses")]);
    for _ in 0..4 {
        lease_of(&balancer, 1).finish(Verdict::Failure);
        assert_eq!(look(&balancer, |_| Some(true)).await, [1]);
        assert!(look(&balancer, |_| Some(true)).await.is_empty(), "it was there");
    }
    assert_eq!(status(&balancer, 1), EndpointStatus::Closed);
    lease_of(&balancer, 1).finish(Verdict::Failure);
    assert_eq!(status(&balancer, 1), EndpointStatus::Open);
}

#[tokio::test(start_paused = true)]
async fn an_idle_endpoint_that_answers_no_probe_is_out_when_another_is_left() {
    let balancer = balancer(vec![spec("good"), spec("hole")]);
    let began = Instant::now();
    while status(&balancer, 1) == EndpointStatus::Closed {
        look(&balancer, |endpoint| (endpoint == 0).then_some(true)).await;
    }
    assert!(began.elapsed() < secs(11), "{:?}", began.elapsed());
    assert_eq!(balancer.snapshot()[1].ejected_for, Some(Ejection::Silent));
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_where_requests_go_well_are_not_believed() {
    let balancer = balancer(vec![spec("walled")]);
    while look(&balancer, |_| Some(false)).await.is_empty() {}
    for _ in 0..200 {
        lease(&balancer).finish(Verdict::Success);
        for _ in 0..20 {
            look(&balancer, |_| Some(false)).await;
        }
        assert_eq!(status(&balancer, 0), EndpointStatus::Closed);
    }
    // Until one goes well: then the next ones count again.
    while look(&balancer, |_| Some(true)).await.is_empty() {}
    let began = Instant::now();
    while status(&balancer, 0) == EndpointStatus::Closed {
        look(&balancer, |_| Some(false)).await;
    }
    assert!(began.elapsed() < secs(4), "{:?}", began.elapsed());
}
