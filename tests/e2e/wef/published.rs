//! Subscriptions as people publish them load as they are, and what they take is the same everywhere: on the host that is told of
//! them, in the gateway whose rules they are, and by `gatepost xpath`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gatepost::lab::events::{Host, Shape};
use serde_json::Value;

use crate::support::{Site, shared};

/// Files of the shared set that the subscriptions are tried on: reading all of them takes long.
const LOGS: usize = 12;

/// Subscriptions in the form in which they are published, each with its traps: comments, CDATA, a path of the Query, capitals,
/// Suppress, several queries that overlap, a name space.
fn written_here() -> Vec<(&'static str, String)> {
    let subscription = |query: &str| {
        format!(
            "<Subscription xmlns=\"http://schemas.microsoft.com/2006/03/windows/events/subscription\">\r\n\
             <SubscriptionId>Try</SubscriptionId><SubscriptionType>SourceInitiated</SubscriptionType>\r\n\
             <Enabled>true</Enabled><Uri>http://schemas.microsoft.com/wbem/wsman/1/windows/EventLog</Uri>\r\n\
             <ConfigurationMode>Custom</ConfigurationMode><Delivery Mode=\"Push\"><Batching><MaxItems>1</MaxItems>\
             </Batching></Delivery>\r\n<Query>{query}</Query><ReadExistingEvents>true</ReadExistingEvents>\r\n\
             <LogFile>ForwardedEvents</LogFile><AllowedSourceDomainComputers>O:NSG:NSD:(A;;GA;;;DC)</AllowedSourceDomainComputers>\
             </Subscription>"
        )
    };
    let logons = "<QueryList><!-- Sign-ins, but not those of services --><Query Id=\"0\" Path=\"Security\">\
                  <Select Path=\"Security\">*[System[(EventID=4624 OR EventID=4625)]]</Select>\
                  <Suppress Path=\"Security\">*[EventData[Data[@Name='LogonType']='5']]</Suppress></Query></QueryList>";
    let several = "<QueryList><Query Id=\"0\"><Select Path=\"System\">*[System[(Level &lt;= 3)]]</Select></Query>\
                   <Query Id=\"1\" Path=\"security\"><Select>*[System[(EventID &gt;= 4688 and EventID &lt;= 4689)]]</Select>\
                   <Select Path=\"Security\">*[System[band(Keywords,9007199254740992)]]</Select></Query></QueryList>";
    let whole = "<QueryList><Query><Select Path=\"Security\">*</Select>\
                 <Suppress Path=\"Security\">*[System[EventID=5156]]</Suppress></Query></QueryList>";
    vec![
        ("logons.xml", subscription(&format!("<![CDATA[\r\n{logons}]]>"))),
        ("several.xml", subscription(&several.replace('&', "&amp;").replace('<', "&lt;"))),
        ("whole.xml", format!("\u{feff}<?xml version=\"1.0\"?>\r\n{whole}")),
    ]
}

/// The subscriptions to try: those here, and those of GATEPOST_WEF_SUBSCRIPTIONS, a folder with published ones.
fn subscriptions(into: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (name, text) in written_here() {
        std::fs::write(into.join(name), text).unwrap();
        files.push(into.join(name));
    }
    let Some(folder) = std::env::var_os("GATEPOST_WEF_SUBSCRIPTIONS") else { return files };
    let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.extend(found.filter(|path| path.extension().is_some_and(|extension| extension == "xml")));
    files
}

/// What they are tried on: simulated hosts, and real logs where there are some.
fn logs(into: &Path) -> Vec<String> {
    let file = into.join("events.xml");
    let events = Host::new("pc1.plant.test", 3).with_system_share(0.3).take(400);
    let lines: Vec<Vec<u8>> = events.map(|event| event.render(Shape::Xml)).collect();
    std::fs::write(&file, lines.join(&b'\n')).unwrap();
    let mut files = vec![file.display().to_string()];
    if let Some(folder) = shared().map(|shared| shared.join("data/evtx")).filter(|folder| folder.is_dir()) {
        let mut real: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        real.retain(|path| path.extension().is_some_and(|extension| extension == "evtx"));
        real.retain(|path| path.metadata().unwrap().len() < 100_000);
        real.sort();
        files.extend(real.iter().step_by(real.len() / LOGS + 1).map(|path| path.display().to_string()));
    }
    files
}

/// What a command prints; it must not fail.
fn printed(site: &Site, args: &[&str]) -> String {
    let output = site.gatepost(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How many events of the logs a query takes, as `gatepost xpath` says.
fn taken(site: &Site, query: &str, logs: &[String]) -> u64 {
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    let now = ["--now", "2025-01-01T00:00:00Z", "--count", "--json"];
    let told: Value = serde_json::from_str(&printed(site, &[&["xpath", query][..], &logs, &now].concat())).unwrap();
    told["taken"].as_u64().unwrap()
}

/// How many events of the logs each rule takes, as the gateway judges.
fn taken_by_rules(site: &Site, logs: &[String]) -> BTreeMap<String, u64> {
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    let args = ["--each", "--json", "--now", "2025-01-01T00:00:00Z"];
    let mut counts = BTreeMap::new();
    for line in printed(site, &[&["rules", "test"][..], &logs, &args].concat()).lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let by = event["taken_by"].as_array().cloned().unwrap_or_default();
        let rules: std::collections::BTreeSet<&str> = by.iter().filter_map(|why| why["rule"].as_str()).collect();
        rules.into_iter().for_each(|rule| *counts.entry(rule.to_owned()).or_default() += 1);
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_subscription_takes_the_same_on_the_host_in_the_gateway_and_by_xpath() {
    let own = tempfile::tempdir().unwrap();
    let files = subscriptions(own.path());
    println!("{} subscriptions", files.len());
    let logs = logs(own.path());
    let authority = gatepost::lab::wef::Authority::new("Plant hosts").unwrap();
    std::fs::write(own.path().join("hosts-ca.pem"), authority.pem()).unwrap();
    let (mut rules, mut listed) = (String::new(), Vec::new());
    for (n, file) in files.iter().enumerate() {
        let file = file.display();
        rules += &format!("[[filter.rules]]\nname = \"s{n}\"\nquery_list = \"{file}\"\noutputs = [\"file\"]\n");
        listed.push(format!("{{ name = \"s{n}\", query_list = \"{file}\" }}"));
    }
    let listener = format!(
        "tls.client_ca = \"{}/hosts-ca.pem\"\nwef.enabled = true\nwef.from_rules = false\nwef.subscriptions = [{}]\n\
         [[outputs]]\nname = \"file\"\nkind = \"file\"\n",
        own.path().display(),
        listed.join(", ")
    );
    let site = Site::new(&listener, &rules);
    let printed = printed(&site, &["wef", "subscriptions", "pc1.plant.test", "--json"]);
    let told: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_rules = taken_by_rules(&site, &logs);
    let mut any = 0;
    for (n, file) in files.iter().enumerate() {
        let by_xpath = taken(&site, &format!("@{}", file.display()), &logs);
        let query_list = told[n]["query_list"].as_str().unwrap();
        assert_eq!(taken(&site, query_list, &logs), by_xpath, "on the host: {}", file.display());
        let by_rule = by_rules.get(&format!("s{n}")).copied().unwrap_or_default();
        assert_eq!(by_rule, by_xpath, "in the gateway: {}", file.display());
        any += u64::from(by_xpath > 0);
    }
    assert!(any >= 3, "some of them take something");
}
