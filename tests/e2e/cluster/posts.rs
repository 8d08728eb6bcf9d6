//! A post of the Data Collector API that reaches one gateway, and comes again at another one: its records have no identity of their own,
//! and are known by the post and their place in it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gatepost::lab::collector::{Collector, Memory};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::engine::Engine;
use super::scene::{Gateway, gateway_with};
use crate::data_collector::{Post, WORKSPACE, key};

async fn counted(gateway: &Gateway, of: &str) -> u64 {
    gateway.site.metric(&format!("gatepost_events_{of}_total{{input=\"uploads\"}}")).await as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_comes_again_at_another_gateway_adds_nothing_however_many_records_it_has() {
    let engine = Engine::start(&[]).await;
    let collector = Collector::start(Memory::Count).await.unwrap();
    let listener = format!(
        "data_collector = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"] }}] }}\n",
        BASE64_STANDARD.encode(key(0)),
    );
    let one = gateway_with("one", &listener, &collector, engine.port).await;
    let two = gateway_with("two", &listener, &collector, engine.port).await;
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
    let (mut spooled, mut repeated) = (0, 0);
    // A few are kept as hashes, many as a run.
    for records in [1, 3, 40, 500] {
        let record = |n| format!("{{\"when\":\"{now}\",\"of\":{records},\"n\":{}}}", n / 2);
        let body = format!("[{}]", (0..records).map(record).collect::<Vec<_>>().join(","));
        let post = |seconds| Post::new(body.clone(), &key(0), seconds).with("time-generated-field", "when");
        assert_eq!(post(-60).send_to(&one.site, &one.site.client()).await.status, 200);
        spooled += records;
        assert_eq!(counted(&one, "spooled").await, spooled, "two that are equal are two");
        for gateway in [&one, &two] {
            assert_eq!(post(-30).send_to(&gateway.site, &gateway.site.client()).await.status, 200);
        }
        repeated += records;
        assert_eq!((counted(&one, "spooled").await, counted(&one, "duplicate").await), (spooled, repeated));
        assert_eq!((counted(&two, "spooled").await, counted(&two, "duplicate").await), (0, repeated));
    }
}
