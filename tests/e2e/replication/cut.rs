//! A gateway that is cut off from the servers, and lives.

use gatepost::lab::collector::{Behaviour, Fault};

use super::scene::{assert_all_arrived, events, identities, three};
use super::servers::Servers;
use super::way::Carries;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_sends_nothing_that_another_one_has_taken_over() {
    let servers = Servers::start().await;
    let (collector, gateways) = three(&servers).await;
    let cut_off = &gateways[0];
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    let (client, sent) = (cut_off.site.client(), events(1, 200));
    for part in sent.chunks(20) {
        assert!(cut_off.upload(&client, part).await);
    }
    cut_off.servers_are_reached_by(Carries::Nothing);
    let refused = events(2, 20);
    assert!(!cut_off.upload(&client, &refused).await, "no quorum has it");
    let may_not_send = async || cut_off.replication().await["may_send"] == false;
    cut_off.site.until("it stops sending", may_not_send).await;
    let ready = cut_off.site.admin_get("/readyz").await;
    assert!(String::from_utf8_lossy(&ready.body).contains("replication_away"), "{ready:?}");
    let taken_over = async || gateways[1].taken_over().await + gateways[2].taken_over().await == 1;
    gateways[1].site.until("another gateway takes it over", taken_over).await;
    collector.set(Behaviour::default());
    gateways[1].site.until_drained().await;
    gateways[2].site.until_drained().await;
    let held = collector.held();
    assert!(
        sent.iter().all(|event| held.events.contains_key(&event.identity())),
        "they are forwarded while it is cut off"
    );

    cut_off.servers_are_reached_by(Carries::Everything);
    cut_off.site.until_ready().await;
    assert!(cut_off.upload(&client, &refused).await, "sent again");
    assert_all_arrived(&collector, &identities(sent.iter().chain(&refused)), &gateways).await;
    let handed_over = cut_off.site.metric("gatepost_events_handed_over_total{output=\"workspace\"}").await;
    assert_eq!((handed_over, collector.held().copies()), (200.0, 0));
}
