//! The servers are away, or without a leader.

use std::time::Duration;

use tokio::time::Instant;

use super::scene::{assert_all_arrived, events, identities, three};
use super::servers::Servers;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_of_servers_uploads_are_refused_in_bounded_time_and_taken_again_afterwards() {
    let mut servers = Servers::start().await;
    let (collector, mut gateways) = three(&servers).await;
    let (client, before) = (gateways[0].site.client(), events(1, 50));
    assert!(gateways[0].upload(&client, &before).await);
    servers.kill(0);
    servers.kill(1);
    let meanwhile = events(2, 50);
    let began = Instant::now();
    let answer = gateways[0].site.upload(&client, super::scene::body(&meanwhile)).await.unwrap();
    assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    // A restart meanwhile changes nothing: who does not know what was handed on takes nothing.
    gateways[1].kill().await;
    gateways[1].running = Some(gateways[1].site.launch());
    servers.begin(0);
    servers.begin(1);
    for gateway in &gateways {
        gateway.site.until_ready().await;
    }
    assert!(gateways[0].upload(&client, &meanwhile).await, "{}", gateways[0].site.log());
    assert_all_arrived(&collector, &identities(before.iter().chain(&meanwhile)), &gateways).await;
    assert_eq!(collector.held().copies(), 0);
}
