//! Each kind of identity, end to end: a gateway gets its token and its events arrive.

use std::process::Command;

use gatepost::lab::azure::{App, FakeAzure, Machine, UserAssigned};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use serde_json::json;

use super::assertion::Identity;
use super::scene::{APP, MONITOR, RULE, SECRET, Scene, TENANT, azure, secret};

const MACHINE: &str = "12121212-3434-4565-a787-989898989898";

/// Uploads, sees everything arrive, and closes the account.
async fn events_arrive(azure: FakeAzure, identity: &str) {
    let mut scene = Scene::new(azure, identity).await;
    for _ in 0..4 {
        scene.upload(60).await;
    }
    scene.ends_well().await;
}

/// Lets only this client id send to the rule.
fn only(azure: &FakeAzure, client_id: &str) {
    azure.workspace().change_rule(RULE, |rule| {
        rule.revoke(APP);
        rule.grant_after_requests(client_id, 0);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_client_secret() {
    let azure = azure(2).await;
    let identity = secret(&azure, SECRET);
    events_arrive(azure, &identity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_serves_all_requests_while_it_lasts() {
    let azure = azure(2).await;
    let identity = secret(&azure, SECRET);
    let mut scene = Scene::new(azure, &identity).await;
    for _ in 0..10 {
        scene.upload(60).await;
    }
    scene.site.until_drained().await;
    assert_eq!(scene.azure.directory().issued(), 1);
    scene.ends_well().await;
}

/// The identity of an app with a certificate in this file.
fn certificate(azure: &FakeAzure, file: &std::path::Path, more: &str) -> String {
    format!(
        "{{ kind = \"client_certificate\", tenant = \"{TENANT}\", client_id = \"{APP}\", certificate = \"{}\", authority = \"{}\"{more} }}",
        file.display(),
        azure.entra_door().url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_in_pem_together_with_its_key_or_apart_from_it() {
    let own = Identity::new();
    let dir = tempfile::tempdir().unwrap();
    let (both, alone, key) = (dir.path().join("both.pem"), dir.path().join("alone.pem"), dir.path().join("key.pem"));
    std::fs::write(&both, format!("{}{}", own.key_pem, own.certificate_pem)).unwrap();
    std::fs::write(&alone, &own.certificate_pem).unwrap();
    std::fs::write(&key, &own.key_pem).unwrap();
    let apart = format!(", key = \"{}\", send_chain = true", key.display());
    for (file, more) in [(&both, ""), (&alone, apart.as_str())] {
        let azure = azure(1).await;
        azure.directory().register(App::new(TENANT, APP).with_certificate(&own.certificate_pem).unwrap());
        let identity = certificate(&azure, file, more);
        events_arrive(azure, &identity).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_in_a_pkcs12_file_with_a_password() {
    let own = Identity::new();
    let key = PrivateKey::from_der(&own.key_pkcs8).unwrap();
    let certificates = [Certificate::from_der(&own.certificate_der).unwrap()];
    let mut store = KeyStore::new();
    store.add_entry(
        "gatepost",
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(b"1".as_slice(), key, certificates)),
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gatepost.pfx");
    std::fs::write(&file, store.writer("open sesame").write().unwrap()).unwrap();
    let azure = azure(1).await;
    azure.directory().register(App::new(TENANT, APP).with_certificate(&own.certificate_pem).unwrap());
    let identity = certificate(&azure, &file, ", password = \"open sesame\"");
    events_arrive(azure, &identity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_certificate_in_a_pkcs12_file_of_openssl() {
    let own = Identity::new();
    let dir = tempfile::tempdir().unwrap();
    let (pem, file) = (dir.path().join("both.pem"), dir.path().join("gatepost.pfx"));
    std::fs::write(&pem, format!("{}{}", own.key_pem, own.certificate_pem)).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:secret-of-pfx", "-in"]).arg(&pem).arg("-out").arg(&file);
    assert!(openssl.status().expect("openssl is there").success());
    let azure = azure(1).await;
    azure.directory().register(App::new(TENANT, APP).with_certificate(&own.certificate_pem).unwrap());
    let identity = certificate(&azure, &file, ", password = \"secret-of-pfx\"");
    events_arrive(azure, &identity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_managed_identity_of_the_system() {
    let azure = azure(1).await;
    azure.imds().set_machine(Machine { system_assigned: Some(MACHINE.to_owned()), user_assigned: Vec::new() });
    only(&azure, MACHINE);
    let identity = format!("{{ kind = \"managed_identity\", endpoint = \"{}\" }}", azure.imds_door().url());
    events_arrive(azure, &identity).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_managed_identity_that_a_person_assigned_by_each_of_its_names() {
    let by_hand = UserAssigned {
        client_id: MACHINE.to_owned(),
        object_id: "object-of-the-identity".to_owned(),
        resource_id: "/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/x".to_owned(),
    };
    let names =
        [("client_id", &by_hand.client_id), ("object_id", &by_hand.object_id), ("resource_id", &by_hand.resource_id)];
    for (key, name) in names {
        let azure = azure(1).await;
        azure.imds().set_machine(Machine {
            system_assigned: Some("without a role".to_owned()),
            user_assigned: vec![by_hand.clone()],
        });
        only(&azure, MACHINE);
        let endpoint = azure.imds_door().url();
        let identity = format!("{{ kind = \"managed_identity\", {key} = \"{name}\", endpoint = \"{endpoint}\" }}");
        events_arrive(azure, &identity).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_identity_of_an_arc_machine() {
    let azure = azure(1).await;
    let keys = tempfile::tempdir().unwrap();
    azure.himds().connect(MACHINE, keys.path());
    only(&azure, MACHINE);
    let endpoint = azure.himds_door().url();
    let dir = keys.path().display();
    events_arrive(azure, &format!("{{ kind = \"arc\", endpoint = \"{endpoint}\", key_dir = \"{dir}\" }}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arc_service_that_names_a_file_elsewhere_is_not_told_what_is_in_it() {
    let azure = azure(1).await;
    let (keys, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bait = elsewhere.path().join("bait.key");
    std::fs::write(&bait, "not for you").unwrap();
    azure.himds().connect(MACHINE, keys.path());
    azure.himds().name_instead(Some(bait));
    only(&azure, MACHINE);
    let (endpoint, dir) = (azure.himds_door().url(), keys.path().display());
    let identity = format!("{{ kind = \"arc\", endpoint = \"{endpoint}\", key_dir = \"{dir}\" }}");
    let mut scene = Scene::new(azure, &identity).await;
    scene.upload(20).await;
    scene.site.until("the service is asked", async || scene.azure.himds().challenges() >= 1).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let answers = scene.azure.himds_door().answers();
    assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [401], "nothing but challenges: no key was sent");
    scene.azure.himds().name_instead(None);
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_workload_identity_whose_file_somebody_renews() {
    let azure = azure(1).await;
    azure.directory().set_token_lifetime(std::time::Duration::from_secs(2));
    let issuer = Identity::new();
    let token = |number: u32| issuer.assert(&json!({ "iss": "https://kubernetes", "sub": "gatepost", "n": number }));
    azure.directory().register(App::new(TENANT, APP).with_federated_token(token(1)));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, token(1)).unwrap();
    let identity = format!(
        "{{ kind = \"workload_identity\", tenant = \"{TENANT}\", client_id = \"{APP}\", token_file = \"{}\", authority = \"{}\" }}",
        file.display(),
        azure.entra_door().url()
    );
    let mut scene = Scene::new(azure, &identity).await;
    scene.upload(100).await;
    scene.site.until_drained().await;
    // As Kubernetes does: the new token is there before the old one ends.
    std::fs::write(&file, token(2)).unwrap();
    scene.azure.directory().register(App::new(TENANT, APP).with_federated_token(token(2)));
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    scene.upload(100).await;
    scene.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_that_is_given() {
    let azure = azure(1).await;
    let token = azure.directory().token(APP, MONITOR, 600).unwrap();
    events_arrive(azure, &format!("{{ kind = \"token\", token = \"{token}\" }}")).await;
}
