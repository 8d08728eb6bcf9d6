//! Promise 10: good events pass whatever the others send. What one sender fills of the dead letters is its own share: it
//! stops no other one's upload, and no output; an output that fills its own share waits alone, and says so.

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::events::{Host, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use serde_json::Value;

use crate::load::{SMALL_SPOOL, json_lines, receipt};
use crate::support::{Running, Site, workspace};

/// What the collector refuses to read.
const POISON: &str = "unreadable-for-the-collector";

/// Records of an upload that nobody understands, each another one, behind events that are good.
fn mixed(events: &[SimulatedEvent], unreadable: std::ops::Range<u32>) -> Vec<u8> {
    let mut body = Vec::new();
    for event in events {
        body.extend_from_slice(&event.render(Shape::Xml));
        body.push(b'\n');
    }
    for n in unreadable {
        body.extend_from_slice(format!("<Event><System><EventID>{n}</EventID>\nno event\n").as_bytes());
    }
    body
}

fn token(name: &str) -> String {
    let hash = digest(&SHA256, name.as_bytes());
    let hash: String = hex::encode(hash);
    format!("{{ name = \"{name}\", sha256 = \"{hash}\" }}")
}

/// What becomes of an upload of this client.
async fn upload(site: &Site, client: &Client, token: &str, body: Vec<u8>) -> (u64, u64) {
    let said = receipt(site, client, &[("authorization", &format!("Bearer {token}"))], body).await;
    (said["spooled"].as_u64().unwrap(), said["set_aside"].as_u64().unwrap())
}

/// Everything that was set aside is a letter, or was given up for a newer one; and the account adds up.
async fn assert_accounted_for(site: &Site, set_aside: u64, buried: u64) {
    site.until("the account is on the disk", async || {
        site.status().await["account"]["inputs"]["uploads"]["set_aside"] == set_aside
    })
    .await;
    site.assert_audit_balances();
    let audit: Value = serde_json::from_slice(&site.gatepost(&["--json", "audit"]).stdout).unwrap();
    let input = audit["inputs"].as_array().unwrap().iter().find(|input| input["name"] == "uploads").unwrap();
    let displaced = input["displaced"].as_u64().unwrap();
    assert_eq!(input["set_aside"], set_aside, "{input:#}");
    let status = site.status().await;
    assert_eq!(status["dead_letters"]["displaced"]["uploads"], displaced);
    assert_eq!(status["dead_letters"]["count"].as_u64().unwrap() + displaced, set_aside + buried, "{displaced}");
    assert!(displaced > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_events_pass_whatever_the_others_send() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    collector.set(Behaviour { refuse_marker: Some(POISON.to_owned()), ..Behaviour::default() });
    let tokens = format!("auth = {{ tokens = [{}, {}] }}\n", token("hostile"), token("good"));
    let shares = "[dead_letters]\nmax_size = \"1 MiB\"\nclient_max_size = \"64 KiB\"\n";
    let site = Site::new(&(tokens + &workspace("workspace", &[&collector])), &format!("{SMALL_SPOOL}{shares}"));
    let running = site.start().await;
    let client = site.client();
    let (mut hostile, mut good) = (Host::new("HOSTILE.plant.example", 1), Host::new("GOOD.plant.example", 2));

    let mut buried = 0;
    for round in 0..6 {
        let one = [hostile.next_event()];
        let flood = mixed(&one, round * 5_000..(round + 1) * 5_000);
        assert_eq!(upload(&site, &client, "hostile", flood).await, (1, 5_000));
        let events: Vec<_> = good.by_ref().take(100).collect();
        let body = mixed(&events, 1_000_000 + round..1_000_001 + round);
        assert_eq!(upload(&site, &client, "good", body).await, (100, 1), "round {round}");
        if round == 3 {
            // An output buries an event meanwhile.
            let note = format!("\"Note\":\"{POISON}\"}}");
            let mut row = good.next_event().render(Shape::Row);
            row.pop();
            row = [&row[..], b",", note.as_bytes()].concat();
            assert_eq!(upload(&site, &client, "good", row).await, (1, 0));
            buried = 1;
        }
    }
    site.until_drained().await;
    assert_eq!(site.status().await["outputs"][0]["dead_lettered"], buried, "the output waits for nobody's letters");
    assert_eq!(site.admin_get("/readyz").await.status, 200);
    site.until("the displaced are counted", async || {
        site.metric("gatepost_dead_letters_displaced_total{source=\"uploads\"").await > 20_000.0
    })
    .await;
    let said = site.log().matches("the dead-letter share of a sender is full").count();
    assert_eq!(said, 1, "it is said once:\n{}", site.log());

    // The good client's letters are all there: nobody else's went for the hostile one's.
    let of_good = async || {
        let letters = json_lines(&site.gatepost(&["--json", "dead-letter", "list", "--limit", "100000"]));
        assert!(letters.len() < 1_000, "{}", letters.len());
        letters.iter().filter(|letter| letter["detail"].as_str().is_some_and(|said| said.contains("good"))).count()
    };
    assert_eq!(of_good().await, 6);
    assert_accounted_for(&site, 6 * 5_001, buried).await;

    // After a restart it is the same, and goes on.
    assert!(running.stop().success());
    site.assert_audit_balances();
    let running = site.start().await;
    assert_eq!(of_good().await, 6);
    assert_eq!(upload(&site, &client, "hostile", mixed(&[hostile.next_event()], 50_000..51_000)).await, (1, 1_000));
    assert_eq!(upload(&site, &client, "good", mixed(&[good.next_event()], 2_000_000..2_000_001)).await, (1, 1));
    assert_eq!(of_good().await, 7);
    assert_accounted_for(&site, 6 * 5_001 + 1_001, buried).await;
    assert!(running.stop().success());
}

/// A row that the collector refuses, and of which few fill a share.
fn refused(host: &mut Host) -> Vec<u8> {
    let mut row = host.next_event().render(Shape::Row);
    row.pop();
    let padding = "x".repeat(30_000);
    [b"[", &row[..], format!(",\"Note\":\"{POISON} {padding}\"}}]").as_bytes()].concat()
}

/// Fills the share of the output `strict`, until it waits.
async fn until_strict_waits(site: &Site) -> Value {
    let mut host = Host::new("FULL.plant.example", 3);
    for _ in 0..6 {
        let answer = site.upload(&site.client(), refused(&mut host)).await.unwrap();
        assert_eq!(answer.status, 204, "uploads are taken all the same");
    }
    let waits = "gatepost_output_waits_for_dead_letters{output=\"strict\"";
    site.until("the output says that it waits", async || site.metric(waits).await > 0.0).await;
    let said: Value = serde_json::from_slice(&site.admin_get("/readyz").await.body).unwrap();
    let status = site.status().await;
    let strict = status["outputs"].as_array().unwrap().iter().find(|output| output["name"] == "strict").unwrap();
    let why = strict["unburied"]["why"].as_str().unwrap();
    assert!(why.contains("output strict") && why.contains("raise dead_letters.max_size"), "{why}");
    assert_eq!(site.log().matches("events cannot be stored as dead letters").count(), 1, "{}", site.log());
    said
}

async fn site(outputs: &str) -> (Site, Running) {
    let site = Site::new(outputs, &format!("{SMALL_SPOOL}[dead_letters]\nmax_size = \"256 KiB\"\n"));
    let running = site.start().await;
    (site, running)
}

async fn strict() -> Collector {
    let strict = Collector::start(Memory::Identities).await.unwrap();
    strict.set(Behaviour { refuse_marker: Some(POISON.to_owned()), ..Behaviour::default() });
    strict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_without_room_for_its_dead_letters_waits_alone_says_so_and_goes_on_when_there_is_room() {
    let (strict, liberal) = (strict().await, Collector::start(Memory::Identities).await.unwrap());
    let (site, running) = site(&(workspace("strict", &[&strict]) + &workspace("liberal", &[&liberal]))).await;
    let said = until_strict_waits(&site).await;
    assert_eq!(
        (&said["ready"], &said["warnings"][0]),
        (&true.into(), &"an output cannot keep its dead letters".into())
    );
    site.until("the other output has everything", async || liberal.tally().events == 6).await;

    // After a restart it waits again: its events are in the spool, and nothing of them is given up.
    assert!(running.stop().success());
    site.assert_audit_balances();
    let running = site.start().await;
    let waits = "gatepost_output_waits_for_dead_letters{output=\"strict\"";
    site.until("it waits again", async || site.metric(waits).await > 0.0).await;
    // Not all six fit at once, so it waits again.
    let pending = "gatepost_events_pending{output=\"strict\"";
    site.until("all of them have found room", async || {
        if site.metric(waits).await > 0.0 {
            let purged = site.gatepost(&["dead-letter", "purge", "--source", "strict"]);
            assert!(purged.status.success(), "{}", String::from_utf8_lossy(&purged.stderr));
        }
        site.metric(pending).await == 0.0
    })
    .await;
    site.until_drained().await;
    site.until("it goes on", async || site.metric(waits).await < 1.0).await;
    let said: Value = serde_json::from_slice(&site.admin_get("/readyz").await.body).unwrap();
    assert_eq!((&said["ready"], &said["warnings"]), (&true.into(), &Value::Null));
    let status = site.status().await;
    assert_eq!(
        status["outputs"].as_array().unwrap().iter().map(|output| output["dead_lettered"].as_u64()).max(),
        Some(Some(6))
    );
    assert!(running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_which_no_output_can_go_on_is_not_ready() {
    let strict = strict().await;
    let (site, running) = site(&workspace("strict", &[&strict])).await;
    let said = until_strict_waits(&site).await;
    assert_eq!(said["ready"], false);
    assert_eq!(said["reasons"], serde_json::json!(["no output can keep its dead letters"]));
    assert!(site.gatepost(&["dead-letter", "purge", "--all"]).status.success());
    site.until_ready().await;
    assert!(running.stop().success());
    site.assert_audit_balances();
}
