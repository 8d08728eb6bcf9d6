//! Who is let in by which certificate, who is not any more, and that nobody else notices.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gatepost::lab::events::Identity;
use gatepost::lab::wef::{Authority, Faults, Forwarder};
use serde_json::Value;

use super::scene::{Scene, events, identities, until};

/// What `/status` says of clients whose certificates were not taken, by the names in them.
async fn turned_away(scene: &Scene, name: &str) -> Option<Value> {
    let status = scene.site.status().await;
    let clients = status["turned_away"]["clients"].as_array().cloned().unwrap_or_default();
    clients.into_iter().find(|client| client["certificate"] == name)
}

fn told_thumbprint(host: &Forwarder) -> String {
    host.subscriptions().next().expect("a subscription").1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_shows_its_own_certificate_only_is_told_the_authority_right_above_it() {
    let scene = Scene::new("", "").await;
    let (root, stranger) = (Authority::new("Office root").unwrap(), Authority::new("Plant hosts").unwrap());
    let issuing = root.subordinate("Office issuing").unwrap();
    scene.trust(&[&scene.authority, &root, &issuing]);
    let running = scene.site.start().await;
    for (name, of) in [("pc1.plant.test", &scene.authority), ("pc2.office.test", &issuing), ("pc3.office.test", &root)]
    {
        let mut host = scene.host_showing(name, of.issue(name).unwrap());
        host.enumerate().await.unwrap();
        assert_eq!(told_thumbprint(&host), of.thumbprint().unwrap(), "{name}");
    }
    // Of another authority that has the same name: its key tells.
    let name = "pc4.plant.test";
    assert!(scene.host_showing(name, stranger.issue(name).unwrap()).enumerate().await.is_err());
    let told = turned_away(&scene, name).await.expect("it is told on /status");
    assert!(told["remedy"].as_str().is_some_and(|remedy| remedy.contains("tls.client_ca")), "{told:#}");

    // The intermediate alone is enough, and so it is where only that is configured.
    scene.trust(&[&issuing]);
    running.signal("HUP");
    let name = "pc5.office.test";
    until(async || scene.host_showing("x", scene.authority.issue("x").unwrap()).enumerate().await.is_err()).await;
    let mut host = scene.host_showing(name, issuing.issue(name).unwrap());
    host.enumerate().await.unwrap();
    assert_eq!(told_thumbprint(&host), issuing.thumbprint().unwrap());
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_and_expired_certificates_are_refused_with_their_reason_and_others_go_on() {
    let scene = Scene::new("tls.client_crl = [\"hosts.crl\"]\nwef.read_existing_events = true", "").await;
    let list = scene.site.dir.join("hosts.crl");
    std::fs::write(&list, scene.authority.revocation_list(&[]).unwrap()).unwrap();
    let running = scene.site.start().await;
    let (stolen, ended) = ("pc1.plant.test", "pc3.plant.test");
    let certificate = scene.authority.issue(stolen).unwrap();
    let revoking = scene.authority.revocation_list(&[&certificate]).unwrap();
    let mut revoked = scene.host_showing(stolen, certificate);
    let mut sound = scene.host("pc2.plant.test", Faults::default(), 1);
    let (of_revoked, of_sound) = (events(stolen, 1, 20, 0.0), events("pc2.plant.test", 2, 60, 0.0));
    of_revoked[..10].iter().for_each(|event| revoked.log(event));
    of_sound[..20].iter().for_each(|event| sound.log(event));
    for host in [&mut revoked, &mut sound] {
        host.enumerate().await.unwrap();
        host.deliver(10).await.unwrap();
    }
    let day = time::Duration::days(1);
    let mut expired = scene.host_showing(ended, scene.authority.issue_until(ended, -day).unwrap());
    assert!(expired.enumerate().await.is_err());

    std::fs::write(&list, revoking).unwrap();
    running.signal("HUP");
    until(async || revoked.heartbeat().await.is_err() && turned_away(&scene, stolen).await.is_some()).await;
    of_revoked[10..].iter().for_each(|event| revoked.log(event));
    assert!(revoked.deliver(10).await.is_err());
    of_sound[20..].iter().for_each(|event| sound.log(event));
    super::scene::deliver_all(&mut sound, 10).await;
    for (name, reason) in [(stolen, "tls_client_revoked"), (ended, "tls_client_expired")] {
        let told = turned_away(&scene, name).await.expect("it is told on /status");
        assert_eq!(told["reason"], reason, "{told:#}");
    }
    let printed = scene.site.gatepost(&["wef", "hosts"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    for part in [stolen, ended, "pc2.plant.test", "tls_client_revoked", "tls_client_expired"] {
        assert!(printed.contains(part), "{part} is not in {printed}");
    }
    scene.site.until_drained().await;
    let held = scene.collector.held();
    let owed: HashSet<Identity> = identities(&of_sound);
    assert!(owed.iter().all(|identity| held.events.get(identity) == Some(&1)));
    assert_eq!(held.records(), 70, "and ten of the one that was revoked, from before");
    assert!(running.stop().success());
    scene.site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_cuts_no_host() {
    let scene = Scene::new("wef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut fleet = Vec::new();
    for n in 0..4 {
        let name = format!("pc{n}.plant.test");
        let (mut host, stop) = (scene.host(&name, Faults::default(), n), Arc::clone(&stop));
        host.enumerate().await.unwrap();
        fleet.push(tokio::spawn(async move {
            let mut sent = HashSet::new();
            for event in gatepost::lab::events::Host::new(name.as_str(), n) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                host.log(&event);
                sent.insert(event.identity());
                // Not once: nobody tries again here.
                host.deliver(10).await.expect("no reload cuts it");
            }
            sent
        }));
    }
    for round in 0..6 {
        let delivery = if round % 2 == 0 { "normal" } else { "low_latency" };
        let text = scene
            .site
            .config()
            .replace("wef.enabled = true", &format!("wef.enabled = true\nwef.delivery = \"{delivery}\""));
        scene.site.configure(&text);
        running.signal("HUP");
        let applied = "gatepost_config_reloads_total{result=\"applied\"}";
        until(async || scene.site.metric(applied).await > f64::from(round)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut owed = HashSet::new();
    for host in fleet {
        owed.extend(host.await.unwrap());
    }
    scene.assert_arrived_once(&owed).await;
    assert!(running.stop().success());
}
