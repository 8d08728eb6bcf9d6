//! The servers have hardly any room left.

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Shape, SimulatedEvent};

use super::scene::{Gateway, assert_arrived, events, identities};
use super::servers::Servers;

/// An upload of one event that hardly compresses.
fn large(event: &SimulatedEvent) -> Vec<u8> {
    let row = event.render(Shape::Row);
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(400_000).collect();
    [b"[", &row[..row.len() - 1], b",\"Text\":\"", text.as_bytes(), b"\"}]"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_taken_over_from_servers_that_take_no_uploads_any_more() {
    let servers = Servers::start().await;
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    let mut gateways = Vec::new();
    for name in ["one", "two"] {
        let mut gateway = Gateway::with_room(name, &servers, &collector, "16 MiB").await;
        // One segment holds any of the uploads.
        gateway.site.configure(&gateway.site.config().replace("segment_size = \"64 KiB\"", "segment_size = \"1 MiB\""));
        gateway.start().await;
        gateways.push(gateway);
    }
    let (client, sent) = (gateways[0].site.client(), events(1, 200));
    let mut taken = 0;
    while gateways[0].site.upload(&client, large(&sent[taken])).await.is_ok_and(|answer| answer.status == 204) {
        taken += 1;
    }
    assert!(taken >= 20, "{taken} uploads were taken\n{}", gateways[0].site.log());
    let (status, two) = (gateways[0].site.status().await, &gateways[1]);
    assert_eq!(status["replication"]["state"], "writing", "there is room yet, and it is not for uploads: {status}");
    let refuses = async || two.site.admin_get("/readyz").await.status == 503;
    two.site.until("the other gateway knows it too", refuses).await;
    gateways[0].kill().await;
    std::fs::remove_dir_all(gateways[0].site.state()).unwrap();
    let two = &gateways[1];
    two.site.until("the log is taken over", async || two.taken_over().await == 1).await;
    collector.set(Behaviour::default());
    two.site.until_ready().await;
    assert_arrived(&collector, &identities(&sent[..taken]), &gateways).await;
}
