//! Servers that lack some of a log are known at each gateway before they are needed.

use gatepost::lab::collector::{Collector, Memory};

use super::scene::Gateway;
use super::servers::Servers;
use crate::status_page::{DESKTOP, in_browser, says};
use crate::support::Site;

async fn in_sync(site: &Site) -> f64 {
    site.metric("gatepost_replication_servers_in_sync{stream=\"gatepost_logs\"}").await
}

async fn warns(site: &Site) -> bool {
    site.admin_get("/readyz").await.body.windows(14).any(|text| text == b"replica_behind")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_told_by_a_gateway_that_goes_on_and_so_is_its_return() {
    let mut servers = Servers::start().await;
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let mut gateways = Vec::new();
    for name in ["one", "two"] {
        let mut gateway = Gateway::remembering(name, &servers, &collector).await;
        gateway.start().await;
        gateways.push(gateway);
    }
    let site = &gateways[0].site;
    site.until("all servers have all of it", async || in_sync(site).await == 3.0 && !warns(site).await).await;
    let leaders = "gatepost_replication_leader_changes_total{stream=\"gatepost_logs\"}";
    let page = site.admin_get("/metrics").await.body;
    assert!(String::from_utf8_lossy(&page).contains(leaders), "it is there before its first hit");
    servers.kill(2);
    site.until("one is missing", async || in_sync(site).await == 2.0 && warns(site).await).await;
    assert_eq!(site.admin_get("/readyz").await.status, 200, "two are enough");
    let status = site.status().await;
    let stream = &status["replicas"]["streams"][0];
    assert_eq!(
        (&stream["stream"], &stream["wrong"][0]),
        (&"gatepost_logs".into(), &"2 of 3 servers have all of it".into())
    );
    in_browser(site, |page, url| {
        page.open(url, DESKTOP, "light");
        for (id, text) in [("streams", "2 of 3 servers have all of it"), ("gateways", "two"), ("shared", "writing")] {
            page.until(&says(id, text));
        }
    })
    .await;
    servers.begin(2);
    site.until("it has caught up", async || in_sync(site).await == 3.0 && !warns(site).await).await;
    for n in 0..3 {
        servers.kill(n);
    }
    site.until("nobody can say", async || in_sync(site).await == 0.0).await;
    in_browser(&gateways[1].site, |page, url| {
        page.open(url, DESKTOP, "light");
        page.until(&says("shared", "the streams below: as seen last"));
    })
    .await;
}
