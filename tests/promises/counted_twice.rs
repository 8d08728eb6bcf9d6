//! Promise 3: what may have gone twice is counted. A collector that recognises nothing counts the copies; there are never
//! more than `gatepost_events_ambiguous_total` says, and it does not say more than what was in doubt.

use std::time::Duration;

use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use tokio::net::TcpStream;

use crate::load::{Agent, SMALL_SPOOL};
use crate::support::{Site, workspace};

/// Events of an upload, and of a batch.
const EVENTS: u64 = 40;

/// An output of the HTTP kind.
fn collector_output(name: &str, collector: &Collector) -> String {
    format!(
        r#"[[outputs]]
kind = "http"
name = "{name}"
timeout = "3 s"
max_batch_events = {EVENTS}
endpoints = [{{ name = "c", url = "{}" }}]
forward = {{ linger = "20 ms" }}
balancer = {{ retry_base = "20 ms", retry_cap = "500 ms", ejection_base = "200 ms", ejection_cap = "2 s", probe_interval = "200 ms" }}
"#,
        collector.url()
    )
}

async fn ambiguous(site: &Site, output: &str) -> u64 {
    site.metric(&format!("gatepost_events_ambiguous_total{{output=\"{output}\"}}")).await as u64
}

/// One gateway with an output of each kind that speaks HTTP.
struct Two {
    site: Site,
    collectors: [(&'static str, Collector); 2],
}

impl Two {
    async fn new() -> Self {
        let collectors = [
            ("siem", Collector::start(Memory::Identities).await.unwrap()),
            ("sentinel", Collector::start(Memory::Identities).await.unwrap()),
        ];
        let outputs = collector_output("siem", &collectors[0].1)
            + &workspace("sentinel", &[&collectors[1].1])
            + &format!("max_batch_events = {EVENTS}\n");
        Self { site: Site::new(&outputs, SMALL_SPOOL), collectors }
    }

    /// Uploads while both meet these faults, and lets everything arrive.
    async fn meet(&self, agent: &mut Agent, fault: Fault) {
        self.collectors.iter().for_each(|(_, collector)| collector.fail_next(fault, 4));
        for _ in 0..3 {
            agent.upload(&self.site, EVENTS as usize).await;
        }
        self.site.until_drained().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_gone_twice_is_counted_whatever_the_collector_answered() {
    let two = Two::new().await;
    let running = two.site.start().await;
    let mut agent = Agent::new(&two.site, "TWICE.plant.example", 21);
    let answers = [500, 502, 504, 408, 503, 429].map(|status| Fault::KeepAndAnswer { status });
    for fault in answers.into_iter().chain([Fault::Reset { keep: true }]) {
        let before = two.collectors.each_ref().map(|(_, collector)| collector.held().copies());
        two.meet(&mut agent, fault).await;
        for ((name, collector), before) in two.collectors.iter().zip(before) {
            let copies = collector.held().copies();
            assert!(copies > before, "{name} kept nothing of {fault:?}: the test shows nothing");
            assert_eq!(ambiguous(&two.site, name).await, copies, "{name}, after {fault:?}");
        }
    }
    for (_, collector) in &two.collectors {
        assert!(agent.owed.iter().all(|identity| collector.held().events.contains_key(identity)));
    }
    assert!(running.stop().success());
    two.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certain_no_is_not_counted() {
    let two = Two::new().await;
    let running = two.site.start().await;
    let mut agent = Agent::new(&two.site, "ONCE.plant.example", 22);
    for status in [401, 404] {
        two.meet(&mut agent, Fault::Answer { status, retry_after: Some(1) }).await;
    }
    for (_, collector) in &two.collectors {
        collector.fail_for(Fault::Down, Duration::from_secs(1));
        // The listener closes in its own time.
        while TcpStream::connect(collector.address()).await.is_ok() {}
    }
    for _ in 0..3 {
        agent.upload(&two.site, EVENTS as usize).await;
    }
    two.site.until_drained().await;
    for (name, collector) in &two.collectors {
        assert_eq!(ambiguous(&two.site, name).await, 0, "{name}");
        assert_eq!((collector.held().copies(), collector.held().records()), (0, agent.owed.len() as u64), "{name}");
    }
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_makes_nothing_ambiguous_that_no_collector_can_have() {
    let two = Two::new().await;
    let down = Behaviour { fault: Some(Fault::Down), ..Behaviour::default() };
    two.collectors.iter().for_each(|(_, collector)| collector.set(down.clone()));
    let running = two.site.start().await;
    let mut agent = Agent::new(&two.site, "DOWN.plant.example", 23);
    for _ in 0..20 {
        agent.upload(&two.site, EVENTS as usize).await;
    }
    two.site
        .until("both are found away", async || {
            let status = two.site.status().await;
            (0..2).all(|output| status["outputs"][output]["last_error"]["outcome"] == "retry_connect")
        })
        .await;
    running.kill();
    two.collectors.iter().for_each(|(_, collector)| collector.set(Behaviour::default()));
    let running = two.site.start().await;
    two.site.until_drained().await;
    for (name, collector) in &two.collectors {
        assert_eq!((ambiguous(&two.site, name).await, collector.held().copies()), (0, 0), "{name}");
        assert_eq!(collector.held().events.len(), agent.owed.len(), "{name}");
    }
    assert!(running.stop().success());
    two.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_makes_ambiguous_what_collectors_had_and_hardly_more() {
    let two = Two::new().await;
    let running = two.site.start().await;
    let mut agent = Agent::new(&two.site, "KILLED.plant.example", 24);
    let silent = [two.collectors[0].1.fall_silent().await, two.collectors[1].1.fall_silent().await];
    for _ in 0..20 {
        agent.upload(&two.site, EVENTS as usize).await;
    }
    two.site
        .until("as much is under way as may be", async || {
            two.collectors.iter().all(|(_, collector)| collector.in_flight().records() == 4 * EVENTS)
        })
        .await;
    running.kill();
    drop(silent);
    let running = two.site.start().await;
    two.site.until_drained().await;
    for (name, collector) in &two.collectors {
        let (counted, copies) = (ambiguous(&two.site, name).await, collector.held().copies());
        assert_eq!(copies, 4 * EVENTS, "{name}");
        assert!((copies..=5 * EVENTS).contains(&counted), "{name}: {copies} copies, {counted} counted");
        assert_eq!(collector.held().events.len(), agent.owed.len(), "{name}");
    }
    assert!(running.stop().success());
    two.site.assert_audit_balances();
}
