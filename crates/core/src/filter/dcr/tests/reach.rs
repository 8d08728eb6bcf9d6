//! Rules that move nothing say so, and rules that do say nothing.

use super::*;

fn warnings(rule: &Value) -> (DataCollectionRule, Vec<Finding>) {
    let (rule, findings) = check(rule, "x");
    (rule.expect("a rule without errors"), findings)
}

/// A rule to which events are uploaded: no source, a declared stream, a flow.
fn direct() -> Value {
    let mut rule: Value = serde_json::from_str(PROPERTIES).expect("JSON");
    rule.as_object_mut().expect("an object").remove("dataSources");
    rule["streamDeclarations"] = json!({ "Custom-Fw": { "columns": [] }, "Custom-Dns": { "columns": [] } });
    rule["dataFlows"][0]["streams"] = json!(["Custom-Fw"]);
    json!({ "kind": "Direct", "properties": rule })
}

#[test]
fn a_rule_of_declared_streams_and_flows_is_implemented_whole() {
    let (rule, findings) = warnings(&direct());
    assert_eq!(findings, []);
    assert_eq!(rule.declared, ["Custom-Dns", "Custom-Fw"]);
    assert_eq!(rule.flows[0].streams, ["Custom-Fw"]);
}

#[test]
fn a_rule_that_takes_nothing_says_so_whatever_its_kind() {
    let nothing = "TakesNothing properties.dataSources";
    let syslog = json!([{ "name": "s", "streams": ["Microsoft-Syslog"] }]);
    let mut linux = direct();
    linux["kind"] = json!("Linux");
    linux["properties"]["dataSources"] = json!({ "syslog": syslog });
    let (_, findings) = warnings(&linux);
    let partly = ["NotImplemented kind", "NotImplemented properties.dataSources.syslog"];
    assert_eq!(told(&findings, Severity::Warning), partly, "it still takes what is uploaded");

    linux["properties"]["dataFlows"][0]["streams"] = json!(["Microsoft-Syslog"]);
    let (_, findings) = warnings(&linux);
    assert_eq!(told(&findings, Severity::Warning), [&partly[..], &[nothing]].concat());

    let mut elsewhere = direct();
    elsewhere["properties"]["destinations"]["eventHubs"] = json!([{ "name": "hub" }]);
    elsewhere["properties"]["dataFlows"][0]["destinations"] = json!(["hub"]);
    let (_, findings) = warnings(&elsewhere);
    assert_eq!(told(&findings, Severity::Warning).last().map(String::as_str), Some(nothing));

    let (_, findings) = warnings(&json!({ "kind": "AgentSettings", "properties": {} }));
    assert_eq!(told(&findings, Severity::Warning).last().map(String::as_str), Some(nothing));
    let message = findings.last().map(|finding| finding.message.as_str());
    assert_eq!(message, Some("reads no Windows event log and takes no declared stream: it takes nothing here"));
}

#[test]
fn a_stream_that_no_flow_takes_is_pointed_at() {
    let source = |name: &str, streams: Value| json!({ "name": name, "streams": streams, "xPathQueries": ["System!*"] });
    let rule = with(
        "/dataSources/windowsEventLogs",
        json!([
            source("taken", json!(["Microsoft-SecurityEvent"])),
            source("in part", json!(["Microsoft-SecurityEvent", "Microsoft-Event"])),
            source("lost", json!(["Microsoft-WindowsEvent"])),
        ]),
    );
    let (_, findings) = warnings(&rule);
    let at = |place: &str| format!("NoEffect dataSources.windowsEventLogs{place}");
    assert_eq!(told(&findings, Severity::Warning), [at("[1].streams[1]"), at("[2].streams[0]")]);
    let lost: Vec<bool> = findings.iter().map(|finding| finding.message.contains("its events go nowhere")).collect();
    assert_eq!(lost, [false, true]);
}

#[test]
fn a_rule_that_is_refused_is_not_scolded_for_what_it_would_do() {
    let mut rule = direct();
    rule["properties"]["dataFlows"] = json!([]);
    let (rule, findings) = check(&rule, "x");
    assert!(rule.is_none());
    assert_eq!(told(&findings, Severity::Warning), [""; 0]);
}
