//! A start that cannot read which events were seen: the state itself is sound, and stays as it is until a start can read it.

use std::sync::Arc;

use gatepost::admin::Scrape;
use gatepost::app::{Gateway, Machine};
use gatepost::config;
use gatepost::fs::RealFs;
use gatepost::fs::faulty::FaultyFs;
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Shape, SimulatedEvent};

use crate::support::{Site, workspace};

fn events(host: &mut Host, count: usize) -> Vec<SimulatedEvent> {
    (0..count).map(|_| host.next_event()).collect()
}

fn array(events: &[SimulatedEvent]) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    [b"[".as_slice(), &rows.join(&b','), b"]"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_read_what_was_seen_takes_and_sends_nothing_and_loses_nothing() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let healthy = Behaviour { recognise_repeats: true, ..Behaviour::default() };
    collector.set(Behaviour { fault: Some(Fault::Down), ..healthy.clone() });
    let site = Site::new(&workspace("siem", &[&collector]), "");
    let running = site.start().await;
    let client = site.client();
    let mut host = Host::new("UNREAD", 1).with_system_share(0.0);
    let owed = events(&mut host, 40);
    assert_eq!(site.upload(&client, array(&owed)).await.unwrap().status, 204, "{}", site.log());
    assert!(running.stop().success());
    collector.set(healthy);

    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    // The first look tells how far time had come, the second is the one before the keys are read.
    faults.fail_lists(&site.state().join("dedup"), 2);
    let (config, machine) = (config::load(&site.config_path()).unwrap(), Machine { fs, ..Machine::default() });
    let gateway = Gateway::start_on(machine, config, None, Scrape::install().unwrap()).await.unwrap();
    assert!(!site.state().join("stand-in").exists(), "the state was opened");
    assert_eq!(site.admin_get("/livez").await.status, 200);
    let ready = site.admin_get("/readyz").await;
    let said = String::from_utf8_lossy(&ready.body).into_owned();
    assert!(ready.status == 503 && said.contains("\"no_state\"") && !said.contains("\"loading\""), "{said}");
    let more = events(&mut host, 40);
    assert_eq!(site.upload(&client, array(&more)).await.unwrap().status, 503, "nobody can tell whether it is new");
    gateway.stop().await;
    assert!(collector.held().events.is_empty(), "nothing is sent");
    let positions = std::fs::read_dir(site.state().join("outputs")).unwrap();
    let names: Vec<_> = positions.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["siem.cursor"], "the position of an output that is configured stays where it is");

    let running = site.start().await;
    assert_eq!(site.upload(&client, array(&more)).await.unwrap().status, 204, "{}", site.log());
    site.until_drained().await;
    let held = collector.held();
    for event in owed.iter().chain(&more) {
        assert!(held.events.contains_key(&event.identity()), "{:?} is lost\n{}", event.identity(), site.log());
    }
    assert_eq!(held.repeated(), 0);
    assert!(running.stop().success());
    site.assert_audit_balances();
}
