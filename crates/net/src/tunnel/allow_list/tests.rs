//! The matcher, with rules as an operator writes them.

use super::*;
use crate::tunnel::config::RuleSet;

fn rules(text: &str) -> Vec<config::Rule> {
    toml::from_str::<config::Config>(text).expect("rules").allow
}

fn list(text: &str) -> AllowList {
    AllowList::new(&rules(text), "direct")
}

/// The rule that allows it, or why none does.
fn says(list: &AllowList, host: &str, port: u16) -> String {
    let asked = host.parse().map_or(Asked::Name(host), Asked::Address);
    match list.find(asked, port, |_| true) {
        Found::Allowed(entry) => entry.rule.name.to_string(),
        Found::Port(_) => "port".to_owned(),
        Found::Host => "host".to_owned(),
    }
}

#[test]
fn names_wildcards_and_addresses_cover_what_they_say_and_no_more() {
    let list = list(
        r#"
        [[allow]]
        name = "own"
        hosts = ["Exact.Example.com", "*.below.example.com", "azgn*.bus.example.com", "192.0.2.7", "[2001:db8::1]:8443"]
        "#,
    );
    for (host, port, expected) in [
        ("exact.example.com", 443, "own"),
        ("exact.example.com", 80, "port"),
        ("a.exact.example.com", 443, "host"),
        ("xexact.example.com", 443, "host"),
        ("exact.example.com.evil.test", 443, "host"),
        ("a.below.example.com", 443, "own"),
        ("a.b.c.below.example.com", 443, "own"),
        ("below.example.com", 443, "host"),
        ("xbelow.example.com", 443, "host"),
        ("azgn1.bus.example.com", 443, "own"),
        ("azgn.bus.example.com", 443, "own"),
        ("azg.bus.example.com", 443, "host"),
        ("azgn1.x.bus.example.com", 443, "host"),
        ("x.azgn1.bus.example.com", 443, "host"),
        ("192.0.2.7", 443, "own"),
        ("192.0.2.8", 443, "host"),
        ("::ffff:192.0.2.7", 443, "host"),
        ("2001:db8::1", 8443, "own"),
        ("2001:db8::1", 443, "port"),
    ] {
        assert_eq!(says(&list, host, port), expected, "{host}:{port}");
    }
}

#[test]
fn a_name_rule_never_covers_an_address_nor_an_address_rule_a_name() {
    let list = list("[[allow]]\nname = \"n\"\nhosts = [\"*.0.2.example\", \"192.0.2.7\"]");
    assert_eq!(list.find(Asked::Name("192.0.2.7"), 443, |_| true), Found::Host);
    assert_eq!(says(&list, "192.0.2.8", 443), "host");
}

#[test]
fn the_first_rule_that_the_client_may_use_decides() {
    let list = list(
        r#"
        [[allow]]
        name = "wide"
        hosts = ["*.example.com"]
        ports = [443, 8443]
        via = "relay"
        [[allow]]
        name = "narrow"
        hosts = ["a.example.com", "a.example.com:9443"]
        [[allow]]
        name = "last"
        hosts = ["a*.example.com:10443"]
        "#,
    );
    assert_eq!(says(&list, "a.example.com", 443), "wide");
    assert_eq!(says(&list, "a.example.com", 9443), "narrow");
    assert_eq!(says(&list, "a.example.com", 10443), "last");
    assert_eq!(says(&list, "a.example.com", 22), "port");
    let asked = Asked::Name("a.example.com");
    let Found::Allowed(entry) = list.find(asked, 443, |rule| rule != 0) else { panic!("the second rule allows it") };
    assert_eq!((&*entry.rule.name, entry.rule.via.as_deref()), ("narrow", None));
    assert_eq!(list.find(asked, 443, |_| false), Found::Host);
    let Found::Allowed(entry) = list.find(asked, 8443, |_| true) else { panic!("the first rule allows it") };
    assert_eq!(entry.rule.via.as_deref(), Some("relay"));
    assert!(matches!(list.find(asked, 8443, |rule| rule == 1), Found::Port(entry) if entry.rule.index == 1));
}

#[test]
fn plain_http_is_another_door_than_a_tunnel_to_port_80() {
    let list = list(
        r#"
        [[allow]]
        name = "plain"
        hosts = ["crl.example.com"]
        plain_http = true
        [[allow]]
        name = "tunnel"
        hosts = ["web.example.com:80"]
        "#,
    );
    let plain = |host, port| matches!(list.find_plain(Asked::Name(host), port, |_| true), Found::Allowed(_));
    assert!(plain("crl.example.com", 80));
    assert!(!plain("crl.example.com", 443) && !plain("crl.example.com", 8080));
    assert!(!plain("web.example.com", 80));
    assert_eq!(says(&list, "crl.example.com", 80), "port");
    assert_eq!(says(&list, "web.example.com", 80), "tunnel");
}

#[test]
fn the_default_way_counts_where_a_rule_names_none() {
    let rules = rules(
        "[[allow]]\nname = \"a\"\nhosts = [\"a.test\"]\n[[allow]]\nname = \"b\"\nhosts = [\"b.test\"]\nvia = \"direct\"",
    );
    let list = AllowList::new(&rules, "relay");
    let ways: Vec<_> = list.entries().iter().map(|entry| entry.rule.via.as_deref()).collect();
    assert_eq!(ways, [Some("relay"), None]);
}

#[test]
fn thousands_of_rules_are_as_quick_as_one() {
    let rules: Vec<_> = (0..20_000)
        .map(|n| config::Rule {
            name: format!("r{n}"),
            hosts: vec![format!("h{n}.example.com"), format!("*.d{n}.example.com")],
            ..config::Rule::default()
        })
        .collect();
    let list = AllowList::new(&rules, "direct");
    let long = "a.".repeat(110) + "d19999.example.com";
    let began = std::time::SystemTime::now();
    for _ in 0..1_000 {
        assert_eq!(says(&list, &long, 443), "r19999");
        assert_eq!(says(&list, "h12345.example.com", 443), "r12345");
    }
    // A walk over all patterns would take this many times longer.
    assert!(began.elapsed().expect("a clock").as_secs() < 5);
}

fn set(rule_set: RuleSet) -> config::Rule {
    config::Rule { name: "set".to_owned(), rule_set: Some(rule_set), ..config::Rule::default() }
}

#[test]
fn a_rule_set_allows_the_hosts_of_its_agent() {
    let ama = AllowList::new(&[set(RuleSet::Ama)], "direct");
    for (host, expected) in [
        ("global.handler.control.monitor.azure.com", "set"),
        ("westeurope.handler.control.monitor.azure.com", "set"),
        ("11111111-2222-3333-4444-555555555555.ods.opinsights.azure.com", "set"),
        ("mydce-abcd.westeurope-1.ingest.monitor.azure.com", "set"),
        ("mydce-abcd.westeurope-1.metrics.ingest.monitor.azure.com", "set"),
        ("ods.opinsights.azure.com", "host"),
        ("x.ods.opinsights.azure.us", "host"),
        ("x.oms.opinsights.azure.com", "host"),
        ("x.blob.core.windows.net", "host"),
    ] {
        assert_eq!(says(&ama, host, 443), expected, "{host}");
    }
    assert_eq!(says(&ama, "global.handler.control.monitor.azure.com", 80), "port");
}

#[test]
fn plain_http_of_arc_is_for_its_certificates_only() {
    let arc = AllowList::new(&[config::Rule { plain_http: true, ..set(RuleSet::Arc) }], "direct");
    let plain = |host| matches!(arc.find_plain(Asked::Name(host), 80, |_| true), Found::Allowed(_));
    assert!(plain("www.microsoft.com"));
    assert!(!plain("gbl.his.arc.azure.com") && !plain("management.azure.com"));
    assert_eq!(says(&arc, "azgnweu1.servicebus.windows.net", 443), "set");
    assert_eq!(says(&arc, "other.servicebus.windows.net", 443), "host");
    let without = AllowList::new(&[set(RuleSet::Arc)], "direct");
    assert_eq!(says(&without, "www.microsoft.com", 443), "set");
    assert!(!matches!(without.find_plain(Asked::Name("www.microsoft.com"), 80, |_| true), Found::Allowed(_)));
}
