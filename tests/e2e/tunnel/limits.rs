//! At every limit something is refused or closed with its reason, and who behaves does not notice.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::gate::{Canary, Gate, PATIENCE, client_hello, only_a_test, read_to_end};

/// A limit in time may be late by this much on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limits_new_tunnels_are_refused_and_old_ones_live() {
    let canary = Canary::start().await;
    let gate = Gate::to(&canary, "[tunnel.limits]\nmax_tunnels = 5\nmax_tunnels_per_client = 3\n").await;
    let mut old = Vec::new();
    for _ in 0..3 {
        old.push(gate.proven(&canary).await);
    }
    let mut stream = gate.connect().await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("Retry-After: "), "{answer}");

    gate.reconfigure(&only_a_test(&canary, "[tunnel.limits]\nmax_tunnels = 3\nmax_tunnels_per_client = 30\n")).await;
    let mut stream = gate.connect().await;
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("tunnel_limit"), "{answer}");
    for stream in &mut old {
        stream.write_all(b"x").await.expect("sent");
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("it lives"), b'x');
    }
    drop(old.pop());
    let began = Instant::now();
    while !gate.tunnel_to(&format!("a.test:{}", canary.port)).await.0.starts_with("HTTP/1.1 200 ") {
        assert!(began.elapsed() < PATIENCE, "a place that was left stays taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_new_tunnels_get_503_and_old_ones_live() {
    let canary = Canary::start().await;
    let gate = Gate::to(&canary, "[tunnel.limits]\nmax_tunnels_per_client = 20000\n").await;
    let mut old = Vec::new();
    for _ in 0..20 {
        old.push(gate.proven(&canary).await);
    }
    // From outside, as an operator's mistake would: no descriptor beyond those that are open now.
    let numbers = std::fs::read_dir(format!("/proc/{}/fd", gate.running.id())).expect("it runs");
    let number = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<u64>().ok();
    let open = numbers.filter_map(number).max().expect("some are open") + 1;
    let pid = rustix::process::Pid::from_raw(gate.running.id() as i32).expect("a process");
    let before = rustix::process::prlimit(
        Some(pid),
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit { current: Some(open), maximum: Some(20_000) },
    )
    .expect("its limit can be set");
    // Numbers that became free in between are used up first.
    let mut in_between = Vec::new();
    let mut refused = 0;
    while refused < 5 {
        let (answer, mut stream) = gate.tunnel_to(&format!("a.test:{}", canary.port)).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            stream.write_all(&client_hello("a.test")).await.expect("sent");
            in_between.push(stream);
            refused = 0;
        } else {
            assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("out_of_descriptors"), "{answer}");
            refused += 1;
        }
        assert!(in_between.len() < 500, "the limit of {open} is not felt");
    }
    for stream in &mut old {
        stream.write_all(b"x").await.expect("sent");
        assert_eq!(timeout(PATIENCE, stream.read_u8()).await.expect("in time").expect("it lives"), b'x');
    }
    let relaxed = rustix::process::Rlimit { current: before.current.or(Some(20_000)), maximum: Some(20_000) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, relaxed).expect("its limit can be set");
    drop(gate.proven(&canary).await);
    drop((old, in_between));
    gate.running.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sigterm_new_requests_get_503_and_open_tunnels_live_until_the_deadline() {
    let canary = Canary::start().await;
    let gate = Gate::to(&canary, "[tunnel.limits]\ndrain_timeout = \"3 s\"\n").await;
    let mut open = gate.proven(&canary).await;
    let began = Instant::now();
    gate.running.signal("TERM");
    loop {
        let (answer, _) = gate.tunnel_to(&format!("a.test:{}", canary.port)).await;
        if answer.starts_with("HTTP/1.1 503 ") && answer.contains("draining") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(3), "{answer}");
    }
    open.write_all(b"x").await.expect("sent");
    assert_eq!(timeout(PATIENCE, open.read_u8()).await.expect("in time").expect("it lives"), b'x');
    let cut = timeout(PATIENCE, open.read_u8()).await.expect("in time").expect_err("cut at the deadline");
    assert_eq!(cut.kind(), std::io::ErrorKind::ConnectionReset, "a cut tunnel must not look whole");
    let took = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(3) + SLACK).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn until_balancers_have_seen_that_readiness_fell_new_tunnels_are_served() {
    let canary = Canary::start().await;
    let gate = Gate::to(&canary, "").await;
    let reloaded = "gatepost_config_reloads_total{result=\"applied\"}";
    gate.site.configure(&gate.site.config().replace("drain_grace = \"0 s\"", "drain_grace = \"10 min\""));
    while gate.site.metric(reloaded).await < 1.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gate.running.signal("TERM");
    while gate.site.admin_get("/readyz").await.status != 503 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(gate.proven(&canary).await);
    assert!(gate.running.stop().success(), "the second signal ends the grace");
}
