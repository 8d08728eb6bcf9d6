//! Connections that had no request for a while: they keep next to no memory, and their clients notice nothing.

use super::leaving::{Kept, PATIENCE, is_taken, says_close};
use super::*;
use crate::inputs::serve::door::REST_AFTER;

/// A connection with an upload that was answered, and nothing since.
async fn rested(gate: &Running) -> Kept {
    let mut kept = Kept::to(gate).await;
    assert!(is_taken(&kept.upload().await));
    tokio::time::sleep(REST_AFTER + Duration::from_millis(500)).await;
    kept
}

#[tokio::test]
async fn a_connection_that_rested_is_served_as_before_and_told_what_was_wrong_with_its_request() {
    let gate = start(&plain());
    let mut kept = rested(&gate).await;
    for _ in 0..2 {
        let answer = kept.upload().await;
        assert!(is_taken(&answer) && !says_close(&answer), "{answer}");
    }
    tokio::time::sleep(REST_AFTER + Duration::from_millis(500)).await;
    let answer = kept.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n").await;
    assert!(status(&answer) == "400" && says_close(&answer), "{answer}");
    assert_eq!(gate.taken().len(), 3);
}

#[tokio::test]
async fn a_connection_that_rests_is_told_to_close_with_its_next_answer_and_closed_at_the_end() {
    let gate = start(&plain());
    let (mut kept, mut idle) = tokio::join!(rested(&gate), rested(&gate));
    gate.stages.leave();
    assert!(!idle.is_closed().await, "a request may be on its way");
    let answer = kept.upload().await;
    assert!(is_taken(&answer) && says_close(&answer) && kept.is_closed().await, "{answer}");
    gate.stages.end();
    assert!(idle.is_closed().await);
    timeout(PATIENCE, gate.task).await.expect("in time").expect("serve ends");
}

#[tokio::test]
async fn a_connection_that_rests_is_closed_when_it_was_idle_for_too_long() {
    let mut config = plain();
    config.limits.keep_alive_idle = Span::secs(4);
    let gate = start(&config);
    let mut kept = rested(&gate).await;
    assert!(!kept.is_closed().await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(kept.is_closed().await);
}

#[tokio::test]
async fn an_upload_that_comes_just_as_its_connection_begins_to_rest_is_taken() {
    let gate = start(&plain());
    let around = |round: u32, n: u32| {
        REST_AFTER - Duration::from_millis(5) + Duration::from_micros(u64::from(250 * (n + round)))
    };
    let client = async |n: u32| {
        let mut kept = Kept::to(&gate).await;
        for round in 0..8 {
            let answer = kept.upload().await;
            assert!(is_taken(&answer) && !says_close(&answer), "{answer}");
            tokio::time::sleep(around(round, n)).await;
        }
    };
    futures_util::future::join_all((0..40).map(client)).await;
    assert_eq!(gate.taken().len(), 320);
}
