//! A collector that drops what comes too fast gets its events at its pace in every second, also from a backlog, right after
//! a start, and from several outputs.

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};

use crate::load::{Agent, SMALL_SPOOL};
use crate::support::Site;

/// Events a second that the collector is to get.
const CAP: u64 = 800;
/// Events that wait for each of the two outputs.
const BACKLOG: usize = 2_400;

/// An output to this path of the collector, the second one without a cap of its own.
fn output(name: &str, collector: &Collector, cap: &str) -> String {
    format!(
        r#"[[outputs]]
kind = "http"
name = "{name}"
endpoints = [{{ name = "c", url = "{}/{name}"{cap} }}]
forward = {{ linger = "20 ms" }}
balancer = {{ retry_base = "20 ms", retry_cap = "500 ms", ejection_base = "200 ms", ejection_cap = "1 s", probe_interval = "200 ms" }}
"#,
        collector.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capped_collector_gets_no_more_than_its_cap_and_one_batch_in_any_second() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { fault: Some(Fault::Down), ..Behaviour::default() });
    let outputs = output("one", &collector, &format!(", events_per_second = {CAP}")) + &output("two", &collector, "");
    let site = Site::new(&outputs, SMALL_SPOOL);
    let running = site.start().await;
    let mut agent = Agent::new(&site, "PACED.plant.example", 31);
    for _ in 0..4 {
        agent.upload(&site, BACKLOG / 4).await;
    }
    site.until("the collector is found away", async || {
        site.status().await["outputs"][0]["last_error"]["outcome"] == "retry_connect"
    })
    .await;
    collector.set(Behaviour::default());
    site.until("some of it has arrived", async || collector.tally().events > CAP).await;
    // Killed and started anew in the midst of it.
    running.kill();
    let running = site.start().await;
    site.until_drained().await;
    let (busiest, held) = (collector.tally().busiest_second, collector.held());
    assert!(busiest <= CAP + CAP / 8, "{busiest} events in a second");
    assert!(agent.owed.iter().all(|identity| held.events.get(identity).is_some_and(|times| *times >= 2)), "to both");
    assert!(held.records() >= 2 * BACKLOG as u64, "{}", held.records());
    assert!(running.stop().success());
}
