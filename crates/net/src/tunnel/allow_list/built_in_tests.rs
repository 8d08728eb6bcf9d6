//! The tables, with and without parameters.

use super::super::Pattern;
use super::*;

const SETS: [RuleSet; 4] = [RuleSet::Ama, RuleSet::Arc, RuleSet::ArcGateway, RuleSet::Mma];
const CLOUDS: [Cloud; 3] = [Cloud::Public, Cloud::UsGov, Cloud::China];
const WORKSPACE: &str = "01234567-89AB-cdef-0123-456789abcdef";

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn patterns(rule: &Rule) -> Vec<String> {
    hosts(rule).into_iter().map(|host| host.pattern).collect()
}

#[test]
fn every_host_of_every_set_and_cloud_is_a_pattern() {
    for (set, cloud) in SETS.iter().flat_map(|set| CLOUDS.map(|cloud| (*set, cloud))) {
        let plain = Rule { rule_set: Some(set), cloud, ..Rule::default() };
        let (_, _, domain) = domain(cloud);
        let dce = format!("mydce-abcd.westeurope-1.ingest.monitor.{domain}");
        let full = Rule {
            regions: texts(&["westeurope", "northeurope"]),
            workspaces: texts(&[WORKSPACE]),
            endpoints: texts(&[&dce, "short"]),
            ..plain.clone()
        };
        for rule in [plain, full] {
            for pattern in patterns(&rule) {
                let parsed = Pattern::parse(&pattern);
                assert_eq!(parsed.map(|p| p.to_string()).as_deref(), Ok(pattern.as_str()), "{set:?} {cloud:?}");
            }
        }
    }
}

#[test]
fn parameters_make_exact_names() {
    let rule = Rule {
        rule_set: Some(RuleSet::Ama),
        cloud: Cloud::UsGov,
        regions: texts(&["usgovvirginia"]),
        workspaces: texts(&[WORKSPACE]),
        endpoints: texts(&["my-dce", "other.usgovtexas-2.ingest.monitor.azure.us"]),
        ..Rule::default()
    };
    let found = patterns(&rule);
    assert!(found.iter().all(|pattern| !pattern.contains('*')), "{found:?}");
    for expected in [
        "global.handler.control.monitor.azure.us",
        "usgovvirginia.handler.control.monitor.azure.us",
        "01234567-89ab-cdef-0123-456789abcdef.ods.opinsights.azure.us",
        "my-dce.usgovvirginia-1.ingest.monitor.azure.us",
        "my-dce.usgovvirginia.handler.control.monitor.azure.us",
        "other.usgovtexas-2.metrics.ingest.monitor.azure.us",
        "other.usgovtexas-2.handler.control.monitor.azure.us",
    ] {
        assert!(found.contains(&expected.to_owned()), "{expected}: {found:?}");
    }
    assert_eq!(problems(&rule), []);
}

#[test]
fn without_parameters_a_wildcard_stands_in_the_leftmost_label() {
    let ama = patterns(&Rule { rule_set: Some(RuleSet::Ama), ..Rule::default() });
    assert_eq!(
        ama,
        [
            "global.handler.control.monitor.azure.com",
            "*.handler.control.monitor.azure.com",
            "*.ods.opinsights.azure.com",
            "global.prod.microsoftmetrics.com",
            "*.ingest.monitor.azure.com",
            "*.metrics.ingest.monitor.azure.com",
        ]
    );
    let regional = patterns(&Rule { rule_set: Some(RuleSet::Ama), regions: texts(&["westeurope"]), ..Rule::default() });
    assert!(regional.contains(&"*.westeurope-1.ingest.monitor.azure.com".to_owned()), "{regional:?}");
    assert!(!regional.contains(&"*.handler.control.monitor.azure.com".to_owned()), "{regional:?}");
    let arc = patterns(&Rule { rule_set: Some(RuleSet::Arc), ..Rule::default() });
    assert!(arc.contains(&"*.arcdataservices.com".to_owned()), "{arc:?}");
}

#[test]
fn an_arc_gateway_needs_few_names() {
    let rule = Rule {
        rule_set: Some(RuleSet::ArcGateway),
        regions: texts(&["westeurope"]),
        endpoints: texts(&["myprefix", "Other.gw.arc.azure.com"]),
        ..Rule::default()
    };
    let found = patterns(&rule);
    assert_eq!(found.len(), 9, "{found:?}");
    assert!(found.contains(&"other.gw.arc.azure.com".to_owned()) && !found.iter().any(|p| p.contains('*')));
    assert_eq!(problems(&rule), []);
}

#[test]
fn wrong_parameters_are_told_with_what_is_right() {
    let some = |set| Rule { rule_set: Some(set), ..Rule::default() };
    for (rule, key, right) in [
        (Rule { regions: texts(&["x"]), ..Rule::default() }, "regions", "rule_set"),
        (Rule { cloud: Cloud::China, ..some(RuleSet::ArcGateway) }, "cloud", "\"arc\""),
        (Rule { regions: texts(&["westeurope"]), ..some(RuleSet::Mma) }, "regions", "changes nothing"),
        (Rule { workspaces: texts(&[WORKSPACE]), ..some(RuleSet::Arc) }, "workspaces", "changes nothing"),
        (Rule { regions: texts(&["West Europe"]), ..some(RuleSet::Ama) }, "regions[0]", "\"westeurope\""),
        (Rule { workspaces: texts(&["my-workspace"]), ..some(RuleSet::Mma) }, "workspaces[0]", "the portal"),
        (Rule { endpoints: texts(&["my-dce"]), ..some(RuleSet::Ama) }, "endpoints[0]", "regions"),
        (
            Rule { endpoints: texts(&["https://x.ingest.monitor.azure.com"]), ..some(RuleSet::Ama) },
            "endpoints[0]",
            "without",
        ),
        (
            Rule { endpoints: texts(&["x.y.ingest.monitor.azure.us"]), ..some(RuleSet::Ama) },
            "endpoints[0]",
            "this cloud",
        ),
        (Rule { endpoints: texts(&["a.b"]), ..some(RuleSet::ArcGateway) }, "endpoints[0]", "prefix"),
    ] {
        let found = problems(&rule);
        assert!(found.len() == 1 && found[0].0 == key && found[0].1.contains(right), "{key}: {found:?}");
    }
}
