//! `gatepost send` against `gatepost run`: every file is read, damage is reported and stepped over, a second run adds
//! nothing, and the account balances.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Site, shared};
use crate::tools::{both, run};

/// The events that the file output holds, one a line.
pub(crate) fn delivered(site: &Site) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(site.state().join("out"))
        .map(|entries| entries.map(|entry| entry.expect("a readable folder").path()).collect())
        .unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ndjson"));
    files.sort();
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).expect("UTF-8")).collect();
    text.lines().map(str::to_owned).collect()
}

/// Runs `gatepost send … --json`; it must succeed, unless something was damaged: then it must not.
fn send(site: &Site, args: &[&str], input: &[u8]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(["send", "--json", "--to", &site.url("")]).arg("--ca").arg(site.state().join("tls/cert.pem"));
    let output = run(command.args(args).current_dir(&site.dir), input);
    let sent: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", both(&output)));
    assert_eq!(output.status.success(), sent["damaged"] == 0, "{}", both(&output));
    sent
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Sends twice: the first run delivers every event that is new, the second adds none.
async fn sends_once(site: &Site, args: &[&str], input: &[u8]) -> Value {
    let before = delivered(site).len() as u64;
    let first = send(site, args, input);
    let receipts = &first["uploads"]["receipts"];
    assert_eq!(first["uploads"]["acknowledged"], first["records"], "{first:#}");
    let told = ["spooled", "duplicate", "filtered", "set_aside"].map(|kind| number(&receipts[kind]));
    assert_eq!(told.iter().sum::<u64>(), number(&first["records"]), "each record has a fate: {first:#}");
    site.until_drained().await;
    assert_eq!(delivered(site).len() as u64, before + told[0], "what was spooled is at the output: {first:#}");

    let second = send(site, args, input);
    assert_eq!(second["records"], first["records"]);
    assert_eq!(second["damage"], first["damage"]);
    assert_eq!(number(&second["uploads"]["receipts"]["spooled"]), 0, "a second run adds nothing: {second:#}");
    site.until_drained().await;
    assert_eq!(delivered(site).len() as u64, before + told[0], "a second run adds nothing at the output");
    first
}

#[tokio::test]
async fn every_shared_evtx_file_is_sent_once_and_damage_is_reported() {
    let Some(evtx) = shared().map(|shared| shared.join("data/evtx")).filter(|folder| folder.is_dir()) else {
        println!("SKIPPED: there is no ../shared/data/evtx beside this checkout (or in GATEPOST_SHARED)");
        return;
    };
    let site = Site::new("", "");
    let running = site.start().await;
    let files = files_below(&evtx);
    let sent = sends_once(&site, &[evtx.to_str().expect("a plain path")], b"").await;
    println!("{sent:#}");
    assert_eq!(number(&sent["files"]), files.len() as u64, "every file is read");
    assert_eq!(number(&sent["records"]), 10_015, "the set holds so many");

    // Judged by somebody else: what was called a duplicate is one, byte for byte, and everything else was delivered.
    let distinct = distinct_events(&files);
    assert_eq!(delivered(&site).len(), distinct.len(), "events that differ: {:#}", sent["uploads"]["receipts"]);

    // A copy with random bytes in one of its chunks: what it still holds is known already, and the damage is told.
    let large = files.iter().max_by_key(|file| file.metadata().map_or(0, |meta| meta.len())).expect("there are files");
    let damaged = site.dir.join("damaged.evtx");
    std::fs::write(&damaged, corrupted(std::fs::read(large).expect("a readable file"))).expect("a temporary file");
    let intact = send(&site, &[large.to_str().expect("a plain path")], b"");
    let rest = send(&site, &["damaged.evtx"], b"");
    assert!(number(&rest["damaged"]) > 0, "{rest:#}");
    assert!(rest["damage"][0]["file"].as_str().is_some_and(|file| file == "damaged.evtx"), "{rest:#}");
    assert!(rest["damage"][0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{rest:#}");
    let (before, after) = (number(&intact["records"]), number(&rest["records"]));
    assert!(after > 0 && after < before, "the other chunks are read: {after} of {before} records");

    let running = restart(&site, running).await;
    assert!(running.stop().success());
    site.assert_audit_balances();
}

/// A restart between a run and the audit must change nothing.
async fn restart(site: &Site, running: crate::support::Running) -> crate::support::Running {
    assert!(running.stop().success(), "{}", site.log());
    site.assert_audit_balances();
    site.start().await
}

/// The different records of these files, by their whole XML.
fn distinct_events(files: &[PathBuf]) -> HashSet<String> {
    let parse = |file: &PathBuf| evtx::EvtxParser::from_path(file).expect("a readable file");
    let text = |mut parser: evtx::EvtxParser<std::fs::File>| -> Vec<String> {
        parser.records().filter_map(|record| record.ok().map(|record| record.data)).collect()
    };
    files.iter().flat_map(|file| text(parse(file))).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false if path.extension().is_some_and(|extension| extension == "evtx") => found.push(path),
            false => {}
        }
    }
    found
}

/// Random bytes in the middle of the second chunk (chunks of 64 KiB follow a header of 4 KiB).
fn corrupted(mut evtx: Vec<u8>) -> Vec<u8> {
    let chunk = (4 << 10) + (64 << 10);
    assert!(evtx.len() >= chunk + (64 << 10), "the file has two chunks");
    let mut rng = fastrand::Rng::with_seed(7);
    rng.fill(&mut evtx[chunk + 512..chunk + (32 << 10)]);
    evtx
}

fn xml(id: u32) -> String {
    format!(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
         <Provider Name='Microsoft-Windows-Security-Auditing'/><EventID>4624</EventID><Level>0</Level>\
         <TimeCreated SystemTime='2026-01-02T03:04:05.{id:07}Z'/><EventRecordID>{id}</EventRecordID>\
         <Channel>Security</Channel><Computer>SEND-1.plant.example</Computer></System>\
         <EventData><Data Name='TargetUserName'>user{id}</Data></EventData></Event>\n"
    )
}

/// The nested JSON of evtx tools, for the same event as [`xml`].
fn nested(id: u32) -> String {
    format!(
        "{{\"Event\":{{\"System\":{{\"Provider\":{{\"#attributes\":{{\"Name\":\"Microsoft-Windows-Security-Auditing\"}}}},\
         \"EventID\":4624,\"Level\":0,\"TimeCreated\":{{\"#attributes\":{{\"SystemTime\":\"2026-01-02T03:04:05.{id:07}Z\"}}}},\
         \"EventRecordID\":{id},\"Channel\":\"Security\",\"Computer\":\"SEND-1.plant.example\"}},\
         \"EventData\":{{\"TargetUserName\":\"user{id}\"}}}}}}\n"
    )
}

/// A flat row of SecurityEvent, for the same event as [`xml`].
fn row(id: u32) -> String {
    format!(
        "{{\"TimeGenerated\":\"2026-01-02T03:04:05Z\",\"Computer\":\"send-1.plant.example\",\"Channel\":\"Security\",\
         \"EventID\":4624,\"EventRecordId\":\"{id}\",\"TargetUserName\":\"user{id}\"}}\n"
    )
}

#[tokio::test]
async fn texts_on_standard_input_are_sent_once_whatever_their_shape() {
    let site = Site::new("", "");
    let running = site.start().await;
    let as_xml: String = (1..=700).map(xml).collect();
    let sent = sends_once(&site, &["-"], as_xml.as_bytes()).await;
    assert_eq!((number(&sent["records"]), number(&sent["damaged"])), (700, 0), "{sent:#}");

    // The same events as JSON, and a hundred new ones.
    let as_json: String = (1..=800).map(nested).collect();
    let sent = sends_once(&site, &["-"], as_json.as_bytes()).await;
    let receipts = &sent["uploads"]["receipts"];
    assert_eq!((number(&receipts["spooled"]), number(&receipts["duplicate"])), (100, 700), "{sent:#}");

    // And as flat rows, whose times some agents cut to whole seconds.
    let as_rows: String = (1..=800).map(row).collect();
    let sent = sends_once(&site, &["-"], as_rows.as_bytes()).await;
    assert_eq!(number(&sent["uploads"]["receipts"]["duplicate"]), 800, "{sent:#}");

    // What is no event is set aside by the gateway; the rest arrives.
    let sent = sends_once(&site, &["-"], format!("{}not an event\n{}", nested(900), nested(901)).as_bytes()).await;
    assert_eq!(number(&sent["uploads"]["receipts"]["spooled"]), 2, "{sent:#}");
    let set_aside = number(&sent["uploads"]["receipts"]["set_aside"]) + number(&sent["damaged"]);
    assert_eq!(set_aside, 1, "the bad line is told: {sent:#}");

    let running = restart(&site, running).await;
    let again = send(&site, &["-"], as_xml.as_bytes());
    assert_eq!(number(&again["uploads"]["receipts"]["spooled"]), 0, "a restart forgets nothing: {again:#}");
    assert!(running.stop().success());
    site.assert_audit_balances();
    assert_eq!(delivered(&site).len(), 802);
}

#[tokio::test(flavor = "multi_thread")]
async fn send_finds_the_gateway_of_its_configuration_and_says_that_it_waits() {
    // A certificate for another name, as a gateway behind a name of its own has.
    let site = Site::new("", "");
    let made = rcgen::generate_simple_self_signed(["gate.plant.example".to_owned()]).expect("a certificate");
    std::fs::write(site.dir.join("own.pem"), made.cert.pem()).expect("written");
    std::fs::write(site.dir.join("own.key"), made.signing_key.serialize_pem()).expect("written");
    let tls = "name = \"uploads\"\ntls = { certificate = \"own.pem\", key = \"own.key\" }\n";
    site.configure(&site.config().replacen("name = \"uploads\"\n", tls, 1));
    let event = "{\"Computer\":\"a\",\"Channel\":\"Security\",\"EventID\":1,\"EventRecordID\":1,\"TimeCreated\":\"2026-01-02T03:04:05Z\"}\n";
    std::fs::write(site.dir.join("event.ndjson"), event).expect("written");

    let nobody = site.gatepost(&["send", "event.ndjson", "--give-up-after", "2 s"]);
    let said = both(&nobody);
    assert!(!nobody.status.success() && said.contains("gatepost: 0 of 1 file sent; waiting for https://"), "{said}");
    assert!(
        said.contains(&format!("127.0.0.1:{}", site.uploads)),
        "the listener of the configuration is meant: {said}"
    );

    let running = site.start().await;
    let sent = site.gatepost(&["send", "event.ndjson"]);
    assert!(sent.status.success(), "{}", both(&sent));
    site.until_drained().await;
    assert_eq!(delivered(&site).len(), 1);
    assert!(running.stop().success());
}
