//! What the commands print is what hosts are told, and the simulated fleet runs from the command line.

use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::wef::Faults;

use super::scene::Scene;
use crate::support::{Site, workspace};

fn printed(site: &Site, args: &[&str]) -> String {
    let output = site.gatepost(args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_for_windows_is_what_hosts_are_told() {
    let scene = Scene::new("wef.notify_to = \"https://127.0.0.1:1\"", "").await;
    let running = scene.site.start().await;
    let mut host = scene.host("pc1.plant.test", Faults::default(), 1);
    host.enumerate().await.unwrap();
    let (name, thumbprint) = host.subscriptions().next().expect("a subscription");
    let policy = printed(&scene.site, &["wef", "policy", "--gateway", "gateway.test", "--refresh", "30"]);
    let value = format!(
        "Server=https://gateway.test:{}/wsman/SubscriptionManager/WEC,Refresh=30,IssuerCA={thumbprint}",
        scene.site.uploads
    );
    assert!(policy.contains(&value), "{value} is not in {policy}");
    assert!(printed(&scene.site, &["wef", "policy"]).contains("Server=https://127.0.0.1:"), "the name of notify_to");
    let asked = printed(&scene.site, &["wef", "subscriptions", "pc1.plant.test"]);
    assert!(asked.contains(name) && asked.contains("<Select Path=\"Security\">*</Select>"), "{asked}");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_fleet_runs_from_the_command_line() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let own = tempfile::tempdir().unwrap();
    let folder = own.path().join("hosts");
    let (dir, gateway) = (folder.to_str().unwrap(), "https://127.0.0.1:1");
    let plain = Site::new(&workspace("workspace", &[&collector]), "");
    let first = printed(&plain, &["simulate", "wef", "--gateway", gateway, "--dir", dir]);
    assert!(first.contains("tls.client_ca = ") && first.contains("hosts-ca.pem"), "{first}");
    let listener =
        format!("tls.client_ca = \"{dir}/hosts-ca.pem\"\nwef = {{ enabled = true, read_existing_events = true }}\n");
    let site = Site::new(&format!("{listener}{}", workspace("workspace", &[&collector])), "");
    let running = site.start().await;
    let (gateway, ca) = (site.url(""), site.state().join("tls/cert.pem"));
    let args = ["simulate", "wef", "--gateway", &gateway, "--dir", dir, "--ca", ca.to_str().unwrap()];
    let sent = printed(&site, &[&args[..], &["--hosts", "3", "--events", "40", "--lost-answers", "0.2"]].concat());
    assert!(sent.contains("events of 3 hosts were acknowledged"), "{sent}");
    site.until_drained().await;
    let held = collector.held();
    assert_eq!((held.events.len(), held.copies()), (120, 0));
    assert!(running.stop().success());
}
