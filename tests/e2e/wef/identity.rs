//! A host is who its certificate says.

use gatepost::lab::wef::{Faults, Forwarder, Setting};

use super::scene::{Scene, events, identities};

/// A host that shows one certificate and calls itself by another name.
fn impostor(scene: &Scene, certificate: &str, name: &str) -> Forwarder {
    let setting = Setting { host: name.to_owned(), manager: scene.manager(), client: scene.client(certificate) };
    Forwarder::new(setting, Faults::default(), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_speaks_for_another_is_refused_and_others_are_not() {
    let scene = Scene::new("identity.policy = \"enforce\"\nwef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let refused = impostor(&scene, "pc1.plant.test", "pc2.plant.test").enumerate().await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");

    // One that says its own name and sends another's events.
    let mut forger = scene.host("pc1.plant.test", Faults::default(), 1);
    events("pc2.plant.test", 2, 5, 0.0).iter().for_each(|event| forger.log(event));
    forger.enumerate().await.unwrap();
    assert!(forger.deliver(10).await.unwrap_err().to_string().contains("403"));

    let mut honest = scene.host("pc3.plant.test", Faults::default(), 1);
    let own = events("pc3.plant.test", 3, 5, 0.0);
    own.iter().for_each(|event| honest.log(event));
    honest.enumerate().await.unwrap();
    assert_eq!(honest.deliver(10).await.unwrap(), 5);
    scene.assert_arrived_once(&identities(&own)).await;
    let shown = scene.shown().await.to_string();
    assert!(shown.contains("may not speak"), "{shown}");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_with_one_certificate_have_a_bookmark_each() {
    let scene = Scene::new("wef.read_existing_events = true", "").await;
    let running = scene.site.start().await;
    let mut owed = std::collections::HashSet::new();
    for round in 0..2 {
        for (n, name) in ["a.plant.test", "b.plant.test"].into_iter().enumerate() {
            let all = events(name, n as u64, 40, 0.0);
            // Each starts anew and knows only what the gateway tells of its place.
            let mut host = impostor(&scene, "shared.plant.test", name);
            all[..20 + round * 20].iter().for_each(|event| host.log(event));
            host.enumerate().await.unwrap();
            assert_eq!(host.deliver(100).await.unwrap(), 20, "{name} in round {round}");
            owed.extend(identities(&all[..20 + round * 20]));
        }
    }
    scene.assert_arrived_once(&owed).await;
    assert!(running.stop().success());
}
