use std::path::Path;

use super::*;

const CONFIG: &str = r#"
    [[tunnel.listeners]]
    listen = "0.0.0.0:8080"
    plain_http = true
    [[tunnel.allow]]
    name = "ama"
    rule_set = "ama"
    [[tunnel.allow]]
    name = "crl"
    hosts = ["crl.example.com"]
    plain_http = true
    [[tunnel.allow]]
    name = "own"
    hosts = ["*.example.com", "127.0.0.1:8449", "10.1.2.3", "10.9.9.9"]
    addresses = ["10.1.0.0/16", "127.0.0.0/8"]
    [[tunnel.groups]]
    name = "plant"
    networks = ["10.0.0.0/8"]
    allow = ["ama", "crl"]
    [[tunnel.groups]]
    name = "people"
    users = ["alice", "bob"]
    allow = ["own"]
    [[tunnel.users]]
    name = "alice"
    password_hash = "$argon2id$v=19$m=19456,t=2,p=1$NsgVfAOrz0RNFWqDhhC2Zw$i2HuqONKYglSo24YviCBfYfstkguGavFSkVwmAlT8Mc"
    [[tunnel.users]]
    name = "bob"
    password_hash = "$argon2id$v=19$m=19456,t=2,p=1$NsgVfAOrz0RNFWqDhhC2Zw$i2HuqONKYglSo24YviCBfYfstkguGavFSkVwmAlT8Mc"
"#;

fn decide(text: &str, target: &str, client: Option<&str>) -> Decision {
    let config = crate::config::parse("test", text, Path::new("."), &|_| None).expect("a configuration");
    let client = client.map(|text| text.parse().expect("an address"));
    Decision::on(&config, &Pattern::parse(target).expect("a target"), client)
}

#[test]
fn the_deciding_rule_is_named() {
    for (target, client, rule, reason) in [
        ("x.ods.opinsights.azure.com", None, Some("ama"), None),
        ("X.ODS.opinsights.azure.com.:443", Some("10.0.0.9"), Some("ama"), None),
        ("x.ods.opinsights.azure.com:22", None, None, Some("port_not_allowed")),
        ("evil.test", None, None, Some("host_not_allowed")),
        ("a.example.com", None, Some("own"), None),
        ("10.1.2.3", None, Some("own"), None),
        ("10.1.2.4", None, None, Some("host_not_allowed")),
        ("10.9.9.9", None, Some("own"), Some("address_forbidden")),
        ("127.0.0.1:8449", None, Some("own"), Some("own_address")),
    ] {
        let decision = decide(CONFIG, target, client);
        assert_eq!((decision.rule.as_deref(), decision.reason), (rule, reason), "{target}: {decision:?}");
        assert_eq!(decision.allowed, reason.is_none());
    }
}

#[test]
fn a_client_may_use_what_its_groups_may() {
    let conditional = decide(CONFIG, "a.example.com", Some("10.0.0.9"));
    assert!(
        conditional.allowed && conditional.shown().contains("if it authenticates as alice or bob"),
        "{conditional:?}"
    );
    let stranger = decide(CONFIG, "x.ods.opinsights.azure.com", Some("192.0.2.9"));
    assert!(!stranger.allowed && stranger.why.contains("\"ama\""), "{stranger:?}");
    let without = "[[tunnel.listeners]]\n[[tunnel.allow]]\nname = \"a\"\nhosts = [\"a.test\"]";
    assert!(decide(without, "a.test", Some("127.0.0.1")).allowed);
    assert_eq!(decide(without, "a.test", Some("10.0.0.9")).reason, Some("client_not_allowed"));
}

#[test]
fn what_is_taken_over_is_told_and_only_of_its_groups() {
    let taken = r#"
        [tunnel.ca]
        certificate = "ca.pem"
        key = "ca-key.pem"
        [[tunnel.take_over]]
        name = "old"
        hosts = ["*.ods.opinsights.azure.com"]
        groups = ["plant"]
        input = "agents"
        [[listeners]]
        auth = { networks = ["10.0.0.0/8"] }
    "#;
    let text = format!("{CONFIG}{taken}");
    let plant = decide(&text, "x.ods.opinsights.azure.com", Some("10.0.0.9"));
    assert!(plant.allowed && plant.rule.as_deref() == Some("old"), "{plant:?}");
    assert!(plant.why.contains("ends at this gateway") && plant.via.is_none(), "{plant:?}");
    let anybody = decide(&text, "x.ods.opinsights.azure.com", None);
    assert!(anybody.rule.as_deref() == Some("ama") && anybody.shown().contains("ends at this gateway"), "{anybody:?}");
    assert_eq!(decide(&text, "x.ods.opinsights.azure.com", Some("192.0.2.9")).rule, None);
}

#[test]
fn plain_http_is_told_beside_the_refusal_of_a_tunnel() {
    let decision = decide(CONFIG, "crl.example.com:80", None);
    assert_eq!(decision.reason, Some("port_not_allowed"));
    assert!(decision.shown().contains("plain HTTP (GET, HEAD) is allowed by rule \"crl\""), "{}", decision.shown());
}
