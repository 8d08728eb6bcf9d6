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
    let told = printed(&scene.site, &["wef", "policy"]);
    assert!(told.contains("Server=https://127.0.0.1:1/wsman/"), "the name and the port of notify_to: {told}");
    let asked = printed(&scene.site, &["wef", "subscriptions", "pc1.plant.test"]);
    assert!(asked.contains(name) && asked.contains("<Select Path=\"Security\">*</Select>"), "{asked}");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_told_what_it_gets_and_why_it_gets_others_not() {
    let rules =
        "[[filter.rules]]\nname = \"web\"\nhosts = [\"web*\"]\nqueries = [\"System!*\"]\noutputs = [\"workspace\"]\n";
    let listed = "wef.subscriptions = [{ name = \"dns\", query_list = \"dns.xml\", hosts = [\"dns*.plant.test\"] },\n\
                  { name = \"all\", query_list = \"dns.xml\", except = [\"dns9*\"] }]\n\
                  auth.client_certificates = [{ name = \"*.plant.test\", group = \"plant\" }]\nidentity.policy = \"enforce\"";
    let scene = Scene::new(listed, rules).await;
    let list = "<QueryList><Query><Select Path='DNS Server'>*</Select></Query></QueryList>";
    std::fs::write(scene.site.dir.join("dns.xml"), list).unwrap();
    let explained = |host: &str, rest: &[&str]| {
        let output = scene.site.gatepost(&[&["wef", "explain", host], rest].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, web) = explained("web1.plant.test", &[]);
    assert_eq!(code, Some(0), "{web}");
    for part in [
        "of group plant",
        "does not get \"dns\": none of its hosts and groups fits",
        "gets \"all\": it names no hosts and no groups",
        "of the rules that apply to it: web",
        "<Select Path=\"System\">*</Select>",
    ] {
        assert!(web.contains(part), "{part} is not in {web}");
    }
    let (_, dns) = explained("dns9.plant.test", &[]);
    for part in [
        "gets \"dns\": \"dns*.plant.test\" of its hosts fits",
        "does not get \"all\": \"dns9*\" of its except",
        "filter.event_set",
    ] {
        assert!(dns.contains(part), "{part} is not in {dns}");
    }
    let (code, stranger) = explained("web1.office.test", &[]);
    assert!(code == Some(1) && stranger.contains("REFUSED: a client certificate"), "{stranger}");
    let (code, forger) = explained("pc2.plant.test", &["--certificate", "pc1.plant.test"]);
    assert!(code == Some(1) && forger.contains("may not speak for it"), "{forger}");
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
