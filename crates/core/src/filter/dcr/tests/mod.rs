mod deployed;
mod reach;
mod templates;

use serde_json::{Value, json};

use super::*;

const PROPERTIES: &str = include_str!("../../../../../../tests/data/dcr/properties.json");
const GET: &str = include_str!("../../../../../../tests/data/dcr/get.json");
const TEMPLATE: &str = include_str!("../../../../../../tests/data/dcr/template.json");
const NESTED: &str = include_str!("../../../../../../tests/data/dcr/nested-template.json");
const SHOW: &str = include_str!("../../../../../../tests/data/dcr/az-show.json");
const AZ_LIST: &str = include_str!("../../../../../../tests/data/dcr/az-list.json");
const REST_LIST: &str = include_str!("../../../../../../tests/data/dcr/rest-list.json");

const ASSOCIATION: &str = "Microsoft.Insights/dataCollectionRuleAssociations";

const CENTRAL: &str = "/subscriptions/703362b3-f278-4e4b-9179-c76eaf41ffc2/resourceGroups/myResourceGroup/providers/Microsoft.OperationalInsights/workspaces/centralTeamWorkspace";

/// `code target` of every finding of that severity.
fn told(findings: &[Finding], severity: Severity) -> Vec<String> {
    let of_severity = findings.iter().filter(|finding| finding.severity == severity);
    of_severity.map(|finding| format!("{} {}", finding.code, finding.target)).collect()
}

fn taken(text: &str) -> Vec<DataCollectionRule> {
    let (rules, findings) = read(text, "from-file");
    assert_eq!(told(&findings, Severity::Error), [""; 0], "{findings:?}");
    rules
}

/// With nothing given to a template.
fn read(text: &str, name: &str) -> (Vec<DataCollectionRule>, Vec<Finding>) {
    super::read(text, name, &Given::default())
}

/// The bare properties with one place changed; the place is a JSON pointer.
fn with(place: &str, value: Value) -> Value {
    let mut rule: Value = serde_json::from_str(PROPERTIES).expect("JSON");
    let (parent, key) = place.rsplit_once('/').expect("a pointer");
    match rule.pointer_mut(parent).expect("the place exists") {
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        object => object[key] = value,
    }
    rule
}

fn errors_with(place: &str, value: Value) -> (Vec<String>, Vec<Finding>) {
    let (rule, findings) = check(&with(place, value), "x");
    let errors = told(&findings, Severity::Error);
    assert_eq!(rule.is_none(), !errors.is_empty(), "{findings:?}");
    (errors, findings)
}

#[test]
fn every_form_in_which_rules_leave_azure_is_read() {
    for (form, text, names) in [
        ("properties", PROPERTIES, &["from-file"][..]),
        ("the answer to GET", GET, &["security-common"]),
        ("a template", TEMPLATE, &["logons"]),
        ("a template with a nested deployment", NESTED, &["plant"]),
        ("az show", SHOW, &["logons"]),
        ("az list", AZ_LIST, &["logons", "logons-2"]),
        ("the answer to a list", REST_LIST, &["security-common"]),
    ] {
        let rules = taken(text);
        let found: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(found, names, "{form}");
        assert!(rules.iter().all(|rule| !rule.sources[0].queries.is_empty() && !rule.flows.is_empty()), "{form}");
    }
}

#[test]
fn the_parts_of_a_rule_come_through_whole() {
    let rule = taken(GET).remove(0);
    assert!(rule.id.is_some_and(|id| id.ends_with("/dataCollectionRules/security-common")));
    assert_eq!(rule.sources.len(), 2);
    assert_eq!(rule.sources[1].streams, ["Microsoft-WindowsEvent"]);
    assert_eq!(rule.sources[1].queries[0].0, "System!*[System[(Level=1 or Level=2)]]");
    assert_eq!(&*rule.sources[1].queries[0].1.channel, "System");
    assert_eq!(rule.destinations[0].name, "central");
    assert_eq!(rule.destinations[0].workspace_resource_id.as_deref(), Some(CENTRAL));
    assert_eq!(rule.destinations[1].workspace_id.as_deref(), Some("2d5f2b2c-0000-4000-8000-000000000002"));
    let flow = |streams: &[&str], destinations: &[&str], output: Option<&str>| Flow {
        streams: streams.iter().map(|&text| text.to_owned()).collect(),
        destinations: destinations.iter().map(|&text| text.to_owned()).collect(),
        output_stream: output.map(str::to_owned),
    };
    let security = flow(&["Microsoft-SecurityEvent"], &["central", "plant"], None);
    let windows = flow(&["Microsoft-WindowsEvent"], &["plant"], Some("Microsoft-WindowsEvent"));
    assert_eq!(rule.flows, [security, windows], "the flow to metrics goes nowhere that Gatepost serves");
}

#[test]
fn what_is_not_implemented_is_a_warning_where_it_stands() {
    let (_, findings) = read(GET, "x");
    let warnings = told(&findings, Severity::Warning);
    assert_eq!(
        warnings,
        [
            "NotImplemented properties.dataSources.performanceCounters",
            "NotImplemented properties.destinations.azureMonitorMetrics",
            "NotImplemented properties.dataFlows[2].destinations[0]",
        ]
    );
    let flow = "/dataFlows/0";
    let flow_with = |key: &str, value: Value| {
        let mut flow = json!({ "streams": ["Microsoft-SecurityEvent"], "destinations": ["DataCollectionEvent"] });
        flow[key] = value;
        flow
    };
    for (place, value, warning) in [
        (
            flow,
            flow_with("transformKql", json!("source | where EventID != 1")),
            "NotImplemented dataFlows[0].transformKql",
        ),
        (flow, flow_with("builtInTransform", json!("x")), "NotImplemented dataFlows[0].builtInTransform"),
        (flow, flow_with("captureOverflow", json!(true)), "NotImplemented dataFlows[0].captureOverflow"),
        (flow, flow_with("transform", json!("x")), "NotImplemented dataFlows[0].transform"),
        (flow, flow_with("outputstream", json!("Custom-x")), "UnknownProperty dataFlows[0].outputstream"),
        ("/agentSettings", json!({ "logs": [] }), "NotImplemented agentSettings"),
        ("/kind", json!("Linux"), "NotImplemented kind"),
        ("/surprise", json!(1), "UnknownProperty surprise"),
        (
            "/dataSources/syslog",
            json!([{ "name": "s", "streams": ["Microsoft-Syslog"] }]),
            "NotImplemented dataSources.syslog",
        ),
        (
            "/dataSources/logFiles",
            json!([{ "name": "f", "streams": ["Custom-f"] }]),
            "NotImplemented dataSources.logFiles",
        ),
        ("/dataSources/extensions", json!([{ "name": "e" }]), "NotImplemented dataSources.extensions"),
        ("/destinations/eventHubs", json!([{ "name": "h" }]), "NotImplemented destinations.eventHubs"),
        ("/destinations/logAnalytics/0/colour", json!("red"), "UnknownProperty destinations.logAnalytics[0].colour"),
    ] {
        let (errors, findings) = errors_with(place, value.clone());
        assert_eq!(errors, [""; 0], "{place} {value}");
        assert_eq!(told(&findings, Severity::Warning), [warning], "{place} {value}");
    }
    for (key, value) in
        [("transformKql", json!(" Source\n")), ("captureOverflow", json!(false)), ("transform", json!(null))]
    {
        let (rule, findings) = check(&with(flow, flow_with(key, value)), "x");
        assert!(rule.is_some() && findings.is_empty(), "{key} asks for nothing: {findings:?}");
    }
}

#[test]
fn what_azure_refuses_is_refused_with_its_code_and_place() {
    let source = |key: &str, value: Value| {
        let mut source = json!({ "name": "s", "streams": ["Microsoft-SecurityEvent"], "xPathQueries": ["Security!*"] });
        source[key] = value;
        source
    };
    let (first, sources) = ("/dataSources/windowsEventLogs/0", "/dataSources/windowsEventLogs");
    let resource_id = "/destinations/logAnalytics/0/workspaceResourceId";
    for (place, value, error) in [
        ("/dataSources", json!("all"), "InvalidPayload dataSources"),
        (sources, json!({}), "InvalidPayload dataSources.windowsEventLogs"),
        (first, json!(7), "InvalidPayload dataSources.windowsEventLogs[0]"),
        (first, source("name", json!(null)), "InvalidPayload dataSources.windowsEventLogs[0].name"),
        (first, source("name", json!(" ")), "InvalidPayload dataSources.windowsEventLogs[0].name"),
        (first, source("xPathQueries", json!(null)), "InvalidPayload dataSources.windowsEventLogs[0].xPathQueries"),
        (first, source("xPathQueries", json!([])), "InvalidPayload dataSources.windowsEventLogs[0].xPathQueries"),
        (
            first,
            source("xPathQueries", json!(["Security!*", 7])),
            "InvalidPayload dataSources.windowsEventLogs[0].xPathQueries[1]",
        ),
        (
            first,
            source("xPathQueries", json!(["Security"])),
            "InvalidXPathQuery dataSources.windowsEventLogs[0].xPathQueries[0]",
        ),
        (
            sources,
            json!([source("x", json!(null)), source("x", json!(null))]),
            "InvalidPayload dataSources.windowsEventLogs[1].name",
        ),
        ("/destinations", json!(null), "InvalidDestination destinations"),
        (
            resource_id,
            json!("centralTeamWorkspace"),
            "InvalidDestination destinations.logAnalytics[0].workspaceResourceId",
        ),
        (resource_id, json!(null), "InvalidDestination destinations.logAnalytics[0].workspaceResourceId"),
        (
            "/destinations/eventHubs",
            json!([{ "name": "DataCollectionEvent" }]),
            "InvalidPayload destinations.eventHubs",
        ),
        ("/dataFlows", json!(null), "InvalidPayload dataFlows"),
        ("/dataFlows", json!([]), "InvalidPayload dataFlows"),
        ("/dataFlows/0/streams", json!([]), "InvalidStream dataFlows[0].streams"),
        ("/dataFlows/0/streams", json!(["Microsoft-Event"]), "InvalidStream dataFlows[0].streams[0]"),
        ("/dataFlows/0/streams/0", json!("microsoft-securityevent"), "InvalidStream dataFlows[0].streams[0]"),
        ("/dataFlows/0/destinations", json!("DataCollectionEvent"), "InvalidPayload dataFlows[0].destinations"),
        ("/dataFlows/0/destinations/0", json!("elsewhere"), "InvalidDestination dataFlows[0].destinations[0]"),
        ("/dataFlows/0/outputStream", json!("SecurityEvent"), "InvalidOutputTable dataFlows[0].outputStream"),
        ("/dataFlows/0/captureOverflow", json!("yes"), "InvalidPayload dataFlows[0].captureOverflow"),
        ("/dataFlows/0/transformKql", json!(7), "InvalidPayload dataFlows[0].transformKql"),
        ("/streamDeclarations", json!({ "Mine": {} }), "InvalidStream streamDeclarations.Mine"),
    ] {
        let (errors, findings) = errors_with(place, value.clone());
        assert_eq!(errors, [error], "{place} = {value}: {findings:?}");
    }
}

#[test]
fn streams_of_a_source_are_known_or_declared() {
    let streams = "/dataSources/windowsEventLogs/0/streams";
    let (errors, _) = errors_with(streams, json!(["Microsoft-SecurityEvent", "SecurityEvent", "Custom-a"]));
    let at = |n: usize| format!("InvalidStream dataSources.windowsEventLogs[0].streams[{n}]");
    assert_eq!(errors, [at(1), at(2)]);
    let mut declared = with(streams, json!(["Microsoft-SecurityEvent", "Custom-a"]));
    declared["streamDeclarations"] = json!({ "Custom-a": { "columns": [] } });
    declared["dataFlows"][0]["streams"] = json!(["Microsoft-SecurityEvent", "Custom-a"]);
    let (rule, findings) = check(&declared, "x");
    assert!(rule.is_some() && findings.is_empty(), "{findings:?}");
}

#[test]
fn every_problem_is_told_at_once_and_none_is_told_twice() {
    let mut rule = with("/dataFlows/0/destinations/0", json!("elsewhere"));
    rule["dataSources"]["windowsEventLogs"][0]["xPathQueries"] = json!(["Security!*[", "no channel", 3]);
    rule["destinations"]["logAnalytics"][0]["workspaceResourceId"] = json!("x");
    let (rules, findings) = read(&json!({ "properties": rule }).to_string(), "x");
    assert!(rules.is_empty());
    assert_eq!(
        told(&findings, Severity::Error),
        [
            "InvalidXPathQuery properties.dataSources.windowsEventLogs[0].xPathQueries[0]",
            "InvalidXPathQuery properties.dataSources.windowsEventLogs[0].xPathQueries[1]",
            "InvalidPayload properties.dataSources.windowsEventLogs[0].xPathQueries[2]",
            "InvalidDestination properties.destinations.logAnalytics[0].workspaceResourceId",
            "InvalidDestination properties.dataFlows[0].destinations[0]",
        ]
    );
    assert!(findings[4].message.contains("DataCollectionEvent"), "it says which there are: {}", findings[4].message);
}

#[test]
fn the_empty_comparison_of_microsofts_own_sample_is_pointed_at() {
    let sample = "Security!*[System[(EventID=) or (EventID=4688)]]";
    let (errors, findings) = errors_with("/dataSources/windowsEventLogs/0/xPathQueries/1", json!(sample));
    assert_eq!(errors, ["InvalidXPathQuery dataSources.windowsEventLogs[0].xPathQueries[1]"]);
    let message = &findings[0].message;
    assert!(message.starts_with("character 28 of the query, near \") or (EventID=4688)]]\""), "{message}");
    assert!(message.contains("write the value, such as `EventID=4624`"), "{message}");
}

#[test]
fn more_than_azure_allows_is_taken_with_a_warning() {
    let queries: Vec<String> = (0..101).map(|n| format!("Security!*[System[(EventID={n})]]")).collect();
    let (errors, findings) = errors_with("/dataSources/windowsEventLogs/0/xPathQueries", json!(queries));
    assert_eq!(errors, [""; 0]);
    assert_eq!(told(&findings, Severity::Warning), ["LimitExceeded dataSources.windowsEventLogs"]);
    let flow = json!({ "streams": ["Microsoft-SecurityEvent"], "destinations": ["DataCollectionEvent"] });
    let (_, findings) = errors_with("/dataFlows", json!(vec![flow; 11]));
    assert_eq!(told(&findings, Severity::Warning), ["LimitExceeded dataFlows"]);
}

#[test]
fn rules_of_other_kinds_are_no_errors() {
    let settings = json!({ "kind": "AgentSettings", "properties": { "agentSettings": { "logs": [] } } });
    let (rule, findings) = check(&settings, "x");
    assert!(rule.is_some(), "{findings:?}");
    let mut transforms = with("/dataFlows/0/streams/0", json!("Microsoft-Table-Event"));
    transforms["dataSources"] = json!({});
    transforms["kind"] = json!("WorkspaceTransforms");
    let (rule, findings) = check(&transforms, "x");
    assert!(rule.is_some_and(|rule| rule.sources.is_empty()), "{findings:?}");
    assert_eq!(told(&findings, Severity::Warning), ["NotImplemented kind", "TakesNothing dataSources"]);
}

#[test]
fn texts_that_are_no_rules_say_what_is_wrong() {
    for (text, message) in [
        ("", "line 1 column 0"),
        ("{\n  \"dataFlows\": [,]\n}", "line 2 column 17"),
        ("{\n  // mine\n}", "there is no data collection rule"),
        ("{\n  /* mine */ \"dataFlows\": [,]\n}", "line 2 column 28"),
        ("// mine\nparam location string\n", "az bicep build --file"),
        ("@description('x')\nparam location string\n", "az bicep build --file"),
        ("using './main.bicep'\n\nparam a = 'b'\n", "az bicep build-params"),
        ("resource \"azurerm_monitor_data_collection_rule\" \"r\" {\n", "terraform show -json"),
        ("# mine\nterraform {\n", "terraform show -json"),
        (
            r#"{"format_version":"1.0","terraform_version":"1.9.0","values":{}}"#,
            "az monitor data-collection rule show --ids",
        ),
        ("<QueryList/>", "named with query_list"),
        ("7", "must be an object, not a number"),
        ("{}", "there is no data collection rule"),
        ("[]", "there is no data collection rule"),
        (r#"{"resources":[]}"#, "there is no data collection rule"),
        (r#"{"resources":7}"#, "must be a list of resources"),
    ] {
        let (rules, findings) = read(text, "x");
        assert!(rules.is_empty() && findings[0].severity == Severity::Error, "{text}");
        assert!(findings[0].message.contains(message), "{text}: {}", findings[0].message);
    }
    assert_eq!(taken(&format!("\u{feff}{PROPERTIES}")).len(), 1, "a byte order mark is fine");
}

#[test]
fn lists_name_each_rule_and_tell_of_what_is_none() {
    let get: Value = serde_json::from_str(GET).expect("JSON");
    let (rules, findings) = read(&json!([get, get]).to_string(), "x");
    assert!(rules.is_empty());
    assert_eq!(told(&findings, Severity::Error), ["InvalidPayload [1]"]);
    let other = json!({ "type": ASSOCIATION, "name": "a" });
    let list = json!({ "value": [other, get], "nextLink": "https://gate.example/next" });
    let (rules, findings) = read(&list.to_string(), "x");
    assert_eq!(rules.len(), 1);
    assert_eq!(told(&findings, Severity::Warning)[..2], ["NoEffect nextLink", "NoEffect value[0]"]);
}

#[test]
fn limits_hold() {
    let (_, findings) = read(&" ".repeat(crate::limits::DCR_TEXT_MAX_BYTES + 1), "x");
    assert!(findings[0].message.contains("longer than"), "{findings:?}");
    let (_, findings) = read(&json!(vec![json!({}); 1_001]).to_string(), "x");
    assert_eq!(told(&findings, Severity::Error), ["LimitExceeded "]);
    let (_, findings) = read(&"[".repeat(100_000), "x");
    assert_eq!(told(&findings, Severity::Error), ["InvalidRequestContent "]);
    let (_, findings) = errors_with("/dataFlows", json!(vec![0; 100_000]));
    assert_eq!(findings.len(), crate::limits::DCR_FINDINGS_MAX + 1);
    assert!(findings.last().is_some_and(|last| last.message.starts_with("99801 more")), "{:?}", findings.last());
}

/// The places of all values in a document, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => object.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => items.iter().zip(0..).for_each(|(item, n)| places(item, &format!("{at}/{n}"), found)),
        _ => {}
    }
}

#[test]
fn whatever_stands_anywhere_either_every_rule_is_taken_or_an_error_is_told() {
    let others = [
        json!(null),
        json!(true),
        json!(-7),
        json!(""),
        json!("[x('é']"),
        json!("é"),
        json!([]),
        json!({}),
        json!([[1]]),
    ];
    for sample in [PROPERTIES, GET, TEMPLATE, NESTED, SHOW, AZ_LIST, REST_LIST] {
        let document: Value = serde_json::from_str(sample).expect("JSON");
        let mut found = Vec::new();
        places(&document, "", &mut found);
        for place in found.iter().filter(|place| !place.contains('$')) {
            for other in &others {
                let mut changed = document.clone();
                *changed.pointer_mut(place).expect("the place exists") = other.clone();
                let (rules, findings) = read(&changed.to_string(), "x");
                let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
                assert_eq!(rules.is_empty(), refused, "{place} = {other}: {findings:?}");
            }
        }
    }
}
