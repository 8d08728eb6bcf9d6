//! Promise 3 with rules: each event once at every workspace that it is routed to, and nowhere else, also while one of
//! them is away and the gateway dies in between.

use std::collections::HashSet;
use std::time::Duration;

use gatepost::app::Gateway;
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use serde_json::Value;

use crate::load::{SMALL_SPOOL, array, assert_each_once, lines, receipt};
use crate::support::{Site, workspace};

/// How long the second workspace is away.
const OUTAGE: Duration = Duration::from_secs(60);

/// Two sources whose queries overlap, and two flows: the first feeds two workspaces, the second one of them again.
const SECURITY: &str = r#"{
  "properties": {
    "dataSources": { "windowsEventLogs": [
      { "name": "logons", "streams": ["Microsoft-SecurityEvent"],
        "xPathQueries": ["Security!*[System[(EventID=4624) or (EventID=4688)]]", "Security!*[System[(EventID=4624)]]"] },
      { "name": "again", "streams": ["Microsoft-Event"], "xPathQueries": ["Security!*[System[(EventID=4624)]]"] } ] },
    "destinations": { "logAnalytics": [
      { "name": "first", "workspaceResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/soc" },
      { "name": "second", "workspaceResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/central" } ] },
    "dataFlows": [
      { "streams": ["Microsoft-SecurityEvent"], "destinations": ["first", "second"] },
      { "streams": ["Microsoft-Event"], "destinations": ["second"] } ]
  }
}"#;

const RULES: &str = r#"
[[filter.workspaces]]
workspace = "central"
output = "ops"
[[filter.rules]]
file = "security.json"
[[filter.rules]]
name = "system of the web servers"
queries = ["System!*"]
outputs = ["ops"]
hosts = ["WEB*"]
[[filter.rules]]
name = "everything of the plant"
event_set = "Everything"
outputs = ["archive"]
hosts = ["PLANT01"]
"#;

/// What the rules mean, said once more and independently.
fn goes_to(output: &str, computer: &str, event: &SimulatedEvent) -> bool {
    let security = |ids: &[u32]| event.channel() == "Security" && ids.contains(&event.event_id());
    match output {
        "soc" => security(&[4624, 4688]),
        "ops" => security(&[4624, 4688]) || (event.channel() == "System" && computer.starts_with("WEB")),
        "archive" => computer.starts_with("PLANT01"),
        _ => unreachable!("there are three"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_workspaces_with_overlapping_rules_each_get_their_events_once_although_one_is_away_for_a_minute() {
    let names = ["soc", "ops", "archive"];
    let mut collectors = Vec::new();
    for _ in names {
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
        collectors.push(collector);
    }
    let outputs: String =
        names.iter().zip(&collectors).map(|(name, collector)| workspace(name, &[collector])).collect();
    let site = Site::new(&(outputs + RULES), SMALL_SPOOL);
    std::fs::write(site.dir.join("security.json"), SECURITY).unwrap();
    let mut running = site.start().await;
    let client = site.client();

    let mut hosts = ["WEB01.dmz.example", "PLANT01.plant.example", "DB01.dmz.example"].map(|name| Host::new(name, 3));
    let mut owed: Vec<HashSet<Identity>> = vec![HashSet::new(); names.len()];
    let mut uploaded = 0;
    let began = std::time::SystemTime::now();
    let mut round = 0;
    while began.elapsed().unwrap() < OUTAGE + Duration::from_secs(2) {
        if round == 5 {
            collectors[1].fail_for(Fault::Down, OUTAGE);
        }
        if round == 40 {
            running.kill();
            running = site.start().await;
        }
        for host in &mut hosts {
            let computer = host.computer().to_string();
            let events: Vec<SimulatedEvent> = host.by_ref().take(40).collect();
            upload(&site, &client, &events, round).await;
            // Every third upload comes twice: an agent that lost the answer.
            if round % 3 == 0 {
                upload(&site, &client, &events, round + 1).await;
                uploaded += events.len();
            }
            uploaded += events.len();
            for (owed, output) in owed.iter_mut().zip(names) {
                owed.extend(events.iter().filter(|e| goes_to(output, &computer, e)).map(SimulatedEvent::identity));
            }
        }
        round += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    site.until_drained().await;

    for ((name, collector), owed) in names.iter().zip(&collectors).zip(&owed) {
        assert!(owed.len() > 100, "{name} is owed {}", owed.len());
        assert_each_once(owed, &[collector]);
    }
    let status = site.status().await;
    let total = &status["account"]["total"];
    // What was only dropped has no record to be noted with, so the kill may have cost the last of it.
    assert!(total["received"].as_u64().unwrap() <= uploaded as u64, "{total:#}, uploaded {uploaded}");
    let kept: HashSet<&Identity> = owed.iter().flatten().collect();
    assert_eq!(total["spooled"], kept.len(), "{total:#}");
    for (output, owed) in status["outputs"].as_array().unwrap().iter().zip(in_order_of_names(&owed)) {
        assert_eq!(output["forwarded"], owed, "{output:#}");
        let settled = ["forwarded", "skipped"].iter().map(|key| output[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(Value::from(settled), total["spooled"], "{output:#}");
    }
    assert!(site.metric("gatepost_events_filtered_total{input=\"uploads\",reason=\"not_selected\"}").await > 0.0);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

/// The status page lists outputs by name: archive, ops, soc.
fn in_order_of_names(owed: &[HashSet<Identity>]) -> [usize; 3] {
    [owed[2].len(), owed[1].len(), owed[0].len()]
}

async fn upload(site: &Site, client: &Client, events: &[SimulatedEvent], round: usize) {
    match round % 3 {
        0 => {
            let answer = site.upload(client, array(events, Shape::Row)).await.expect("the gateway answers");
            assert_eq!(answer.status, 204, "{}", site.log());
        }
        1 => _ = receipt(site, client, &[("content-type", "application/xml")], lines(events, Shape::Xml)).await,
        _ => {
            let body = lines(events, Shape::EvtxJson);
            _ = receipt(site, client, &[("content-type", "application/x-ndjson")], body).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_changes_is_in_force_for_the_next_upload_and_a_bad_one_changes_nothing() {
    let (soc, ops) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    let rule = |query: &str, workspace: &str| {
        let id =
            format!("/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/{workspace}");
        format!(
            r#"{{"dataSources":{{"windowsEventLogs":[{{"name":"s","streams":["Microsoft-Event"],"xPathQueries":["{query}"]}}]}},
            "destinations":{{"logAnalytics":[{{"name":"d","workspaceResourceId":"{id}"}}]}},
            "dataFlows":[{{"streams":["Microsoft-Event"],"destinations":["d"]}}]}}"#
        )
    };
    let outputs = workspace("soc", &[&soc]) + &workspace("ops", &[&ops]) + "[[filter.rules]]\nfile = \"rules\"\n";
    let site = Site::new(&outputs, SMALL_SPOOL);
    std::fs::create_dir(site.dir.join("rules")).unwrap();
    let file = site.dir.join("rules/one.json");
    std::fs::write(&file, rule("Security!*", "soc")).unwrap();
    let running = site.start().await;
    let client = site.client();
    let mut host = Host::new("A.example", 1).with_system_share(0.0);
    let mut post = async || {
        let events: Vec<SimulatedEvent> = host.by_ref().take(20).collect();
        receipt(&site, &client, &[], lines(&events, Shape::EvtxJson)).await
    };
    assert_eq!(post().await["spooled"], 20);
    let reloads = |result: &'static str| {
        let site = &site;
        async move { site.metric(&format!("gatepost_config_reloads_total{{result=\"{result}\"}}")).await }
    };

    // The file is noticed without being told.
    std::fs::write(&file, rule("Security!*[System[EventID=1]]", "ops")).unwrap();
    site.until("the changed rule is noticed", async || reloads("applied").await > 0.0).await;
    assert_eq!(post().await["filtered"], 20);
    std::fs::write(&file, rule("Security!*[System[EventID=]]", "ops")).unwrap();
    site.until("the bad rule is refused", async || reloads("refused").await > 0.0).await;
    assert_eq!(post().await["filtered"], 20, "the rules before stay in force");
    let log = site.log();
    assert!(log.contains("one.json") && log.contains("xPathQueries[0]"), "{log}");
    std::fs::write(&file, rule("Security!*", "ops")).unwrap();
    site.until("the good rule is noticed", async || reloads("applied").await > 1.0).await;
    assert_eq!(post().await["spooled"], 20);
    site.until_drained().await;
    assert_eq!((soc.tally().events, ops.tally().events), (20, 20));
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_is_replaced_under_load_loses_no_acknowledged_event() {
    let (old, new) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    let slow = Behaviour { latency: Duration::from_millis(150), recognise_repeats: true, ..Behaviour::default() };
    old.set(slow);
    let rule = |output: &str| {
        format!("[[filter.rules]]\nname = \"all\"\nevent_set = \"Everything\"\noutputs = [\"{output}\"]\n")
    };
    let site = Site::new(&(workspace("old", &[&old]) + &rule("old")), SMALL_SPOOL);
    let running = site.start().await;
    let mut agent = crate::load::Agent::new(&site, "A.example", 9);
    let replaced = site
        .config()
        .replace(&workspace("old", &[&old]), &workspace("new", &[&new]))
        .replace(&rule("old"), &rule("new"));
    for round in 0..60 {
        agent.upload(&site, 20).await;
        if round == 20 {
            site.configure(&replaced);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    site.until("the reload is done", async || {
        site.metric("gatepost_config_reloads_total{result=\"applied\"}").await > 0.0
    })
    .await;
    agent.upload(&site, 20).await;
    site.until_drained().await;
    assert!(old.tally().events > 0 && new.tally().events > 0, "both took some: {:?} {:?}", old.tally(), new.tally());
    assert_each_once(&agent.owed, &[&old, &new]);
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_brought_to_its_end_when_whoever_asked_for_it_hangs_up() {
    let (kept, old) =
        (Collector::start(Memory::Identities).await.unwrap(), Collector::start(Memory::Identities).await.unwrap());
    old.set(Behaviour { fault: Some(Fault::Hang), ..Behaviour::default() });
    let site = Site::new(&(workspace("kept", &[&kept]) + &workspace("old", &[&old])), SMALL_SPOOL);
    // In this process, where nothing but the test asks for a reload.
    let config = gatepost::config::load(&site.config_path()).unwrap();
    let gateway = Gateway::start(config, Some(site.config_path()), crate::load::scrape()).await.unwrap();
    let mut agent = crate::load::Agent::new(&site, "A.example", 9);
    agent.upload(&site, 20).await;
    // The output that goes has something to send and cannot: the reload waits for it.
    site.configure(&site.config().replace(&workspace("old", &[&old]), ""));
    let hung_up = tokio::time::timeout(Duration::from_millis(300), gateway.reload()).await;
    assert!(hung_up.is_err(), "the reload was over before anybody could hang up: {hung_up:?}");
    site.until("the reload is done", async || {
        site.metric("gatepost_config_reloads_total{result=\"applied\"}").await > 0.0
    })
    .await;
    assert_eq!(site.status().await["outputs"].as_array().unwrap().len(), 1);
    gateway.stop().await;
}
