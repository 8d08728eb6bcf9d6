use std::io;
use std::path::Path;

use super::*;
use crate::event::{Client, Event, Fields, Timestamp};
use crate::filter::{Decision, EventSet};

const NOW: Timestamp = Timestamp::from_ticks(17_000_000_000_000_000);

/// Rules from TOML for the section `filter`, for outputs `soc`, `ops` and `archive`. Files are those of `files`.
fn rules_with(toml: &str, files: &'static [(&'static str, &'static str)]) -> Result<Rules, Vec<String>> {
    let config: Config = toml::from_str(toml).expect("the section is sound");
    assert_eq!(config.problems(), [], "the section is sound");
    let outputs = ["soc", "ops", "archive"].map(str::to_owned);
    let read = |path: &Path| {
        let wanted = path.to_str().expect("a plain path");
        let found = files.iter().find(|(name, _)| *name == wanted).ok_or(io::ErrorKind::NotFound)?;
        Ok(vec![Text { path: wanted.to_owned(), stem: "stem".to_owned(), text: found.1.to_owned() }])
    };
    let material = Material { config: &config, outputs: &outputs, read: &read, managed: &Managed::default() };
    Rules::build(&material).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn rules(toml: &str) -> Rules {
    rules_with(toml, &[]).expect("the rules are sound")
}

fn event<'a>(channel: &'a str, id: u32, computer: &'a str, raw: &'a str) -> Event<'a> {
    let fields = Fields {
        channel: Some(channel.into()),
        event_id: Some(id),
        computer: Some(computer.into()),
        ..Fields::default()
    };
    Event { format: crate::event::Format::Xml, raw: raw.as_bytes(), fields }
}

/// Where events go: `output` or `output:stream`, by event; the reason in brackets when it is dropped.
fn ways(rules: &Rules, events: &[Event<'_>]) -> Vec<String> {
    let mut session = rules.session(&Client::default(), "", NOW);
    let decisions: Vec<_> = events.iter().map(|event| session.decide(event)).collect();
    let outcome = session.finish();
    let shown = |route: &Route| match &route.stream {
        Some(stream) => format!("{}:{stream}", route.output),
        None => route.output.to_string(),
    };
    let way = |decision: Decision| match decision {
        Decision::Drop(reason) => format!("({reason})"),
        Decision::Keep(RouteSet::EVERYWHERE) => "everywhere".to_owned(),
        Decision::Keep(RouteSet(n)) => outcome.sets[n as usize - 1].iter().map(shown).collect::<Vec<_>>().join(" "),
    };
    decisions.into_iter().map(way).collect()
}

fn logon(computer: &str) -> Event<'_> {
    event("Security", 4624, computer, "<Event><System/></Event>")
}

#[test]
fn without_rules_the_event_set_decides_and_what_is_kept_goes_everywhere() {
    let events = [
        logon("web01"),
        event("security", 5156, "web01", ""),
        event("System", 4624, "web01", ""),
        event("Microsoft-Windows-AppLocker/EXE and DLL", 8004, "web01", ""),
    ];
    let cases = [
        (EventSet::Everything, ["everywhere"; 4]),
        (EventSet::All, ["everywhere", "everywhere", "(not_in_event_set)", "everywhere"]),
        (EventSet::Common, ["everywhere", "(not_in_event_set)", "(not_in_event_set)", "everywhere"]),
        (EventSet::None, ["(not_in_event_set)"; 4]),
    ];
    for (set, wanted) in cases {
        assert_eq!(ways(&Rules::of_event_set(set), &events), wanted, "{set:?}");
    }
}

#[test]
fn an_event_goes_once_to_each_output_that_any_rule_names() {
    let rules = rules(
        r#"
        [[rules]]
        name = "logons"
        queries = ["Security!*[System[EventID=4624 or EventID=4625]]"]
        outputs = ["soc", "archive"]
        [[rules]]
        name = "common"
        event_set = "Common"
        outputs = ["soc"]
        [[rules]]
        name = "system"
        queries = ["System!*"]
        outputs = ["ops"]
        "#,
    );
    let events = [
        logon("web01"),
        event("Security", 4688, "web01", ""),
        event("SYSTEM", 7045, "web01", ""),
        event("Application", 1, "web01", ""),
    ];
    assert_eq!(ways(&rules, &events), ["soc archive", "soc", "ops", "(not_selected)"]);
    let mut session = rules.session(&Client::default(), "", NOW);
    events.iter().for_each(|event| _ = session.decide(event));
    let taken = session.finish().taken;
    let taken: Vec<_> = taken.iter().map(|taken| (&*taken.rule, &*taken.output, taken.events)).collect();
    assert_eq!(taken, [("logons", "soc", 1), ("logons", "archive", 1), ("common", "soc", 1), ("system", "ops", 1)]);
}

/// A data collection rule: sources (stream, query), flows (stream, output stream, destination), destinations (name, workspace).
fn azure(sources: &[(&str, &str)], flows: &[(&str, Option<&str>, &str)], destinations: &[(&str, &str)]) -> String {
    let source = |(n, (stream, query)): (usize, &(&str, &str))| serde_json::json!({ "name": format!("s{n}"), "streams": [stream], "xPathQueries": [query] });
    let flow = |(stream, to, destination): &(&str, Option<&str>, &str)| {
        let mut flow = serde_json::json!({ "streams": [stream], "destinations": [destination] });
        if let Some(to) = to {
            flow["outputStream"] = (*to).into();
        }
        flow
    };
    let destination =
        |(name, id): &(&str, &str)| serde_json::json!({ "name": name, "workspaceResourceId": workspace(id) });
    let declared = flows.iter().filter(|(stream, ..)| stream.starts_with("Custom-"));
    let columns = serde_json::json!({ "columns": [{ "name": "TimeGenerated", "type": "datetime" }] });
    serde_json::json!({
        "streamDeclarations": declared.map(|(stream, ..)| ((*stream).to_owned(), columns.clone())).collect::<serde_json::Map<_, _>>(),
        "dataSources": { "windowsEventLogs": sources.iter().enumerate().map(source).collect::<Vec<_>>() },
        "dataFlows": flows.iter().map(flow).collect::<Vec<_>>(),
        "destinations": { "logAnalytics": destinations.iter().map(destination).collect::<Vec<_>>() },
    })
    .to_string()
}

/// `group/name` as a resource id.
fn workspace(text: &str) -> String {
    let (group, name) = text.split_once('/').expect("a group and a name");
    format!("/subscriptions/s/resourceGroups/{group}/providers/Microsoft.OperationalInsights/workspaces/{name}")
}

fn leaked(name: &'static str, text: String) -> &'static [(&'static str, &'static str)] {
    Box::leak(Box::new([(name, &*text.leak())]))
}

const FILE: &str = "[[rules]]\nfile = \"a.json\"\n";

fn said(rules: &Rules) -> String {
    rules.warnings().map(|(rule, warning)| format!("{rule}: {warning}\n")).collect()
}

#[test]
fn the_streams_of_a_workspace_can_have_an_output_each() {
    let logons = "Security!*[System[EventID=4624]]";
    let text = azure(
        &[("Microsoft-SecurityEvent", logons), ("Microsoft-WindowsEvent", "System!*")],
        &[("Microsoft-SecurityEvent", None, "w"), ("Microsoft-WindowsEvent", Some("Custom-Mine_CL"), "w")],
        &[("w", "g/central")],
    );
    let map = |rest: &str| format!("[[workspaces]]\nworkspace = \"central\"\noutput = \"soc\"\n{rest}{FILE}");
    let events = [logon("a"), event("System", 1, "a", "")];
    let files = leaked("a.json", text);

    let together = rules_with(&map(""), files).expect("sound");
    assert_eq!(ways(&together, &events), ["soc:Microsoft-SecurityEvent", "soc:Custom-Mine_CL"]);
    assert!(said(&together).contains("gets events of several streams (Custom-Mine_CL, Microsoft-SecurityEvent)"));

    let own = "[[workspaces]]\nworkspace = \"central\"\nstream = \"Custom-Mine_CL\"\noutput = \"ops\"\n";
    let apart = rules_with(&map(own), files).expect("sound");
    assert_eq!(ways(&apart, &events), ["soc:Microsoft-SecurityEvent", "ops:Custom-Mine_CL"]);
    assert_eq!(said(&apart), "");
}

#[test]
fn the_first_rule_that_takes_an_event_names_its_stream() {
    let network = "Security!*[EventData[Data[@Name='LogonType']='3']]";
    let text = azure(
        &[("Microsoft-Event", network), ("Microsoft-SecurityEvent", "Security!*")],
        &[("Microsoft-Event", Some("Custom-Network_CL"), "w"), ("Microsoft-SecurityEvent", None, "w")],
        &[("w", "g/soc")],
    );
    let rules = rules_with(FILE, leaked("a.json", text)).expect("sound");
    let raw = "<Event><System/><EventData><Data Name='LogonType'>3</Data></EventData></Event>";
    let events = [event("Security", 4624, "a", raw), logon("a")];
    assert_eq!(ways(&rules, &events), ["soc:Custom-Network_CL", "soc:Microsoft-SecurityEvent"]);
}

#[test]
fn what_is_uploaded_to_a_declared_stream_goes_where_its_flow_says_and_nothing_else_does() {
    let text = azure(&[], &[("Custom-Fw", Some("Custom-Fw_CL"), "w")], &[("w", "g/soc")]);
    let rules = rules_with(FILE, leaked("a.json", text)).expect("sound");
    let way = |stream: &str| {
        let mut session = rules.session(&Client::default(), stream, NOW);
        let decision = session.decide(&logon("a"));
        (decision, session.finish().sets)
    };
    let route = Route { output: "soc".into(), stream: Some("Custom-Fw_CL".into()) };
    assert_eq!(way("Custom-Fw"), (Decision::Keep(RouteSet(1)), vec![vec![route]]));
    assert_eq!(way("Custom-Other"), (Decision::Drop(crate::filter::NOT_SELECTED), Vec::new()));
}

#[test]
fn a_rule_that_takes_nothing_takes_no_host_away_from_the_others() {
    let linux = r#"{"kind":"Linux","properties":{
        "dataSources":{"syslog":[{"name":"s","streams":["Microsoft-Syslog"],"facilityNames":["auth"],"logLevels":["Info"]}]},
        "destinations":{"logAnalytics":[{"name":"w","workspaceResourceId":"/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/soc"}]},
        "dataFlows":[{"streams":["Microsoft-Syslog"],"destinations":["w"]}]}}"#;
    let rules = rules_with(FILE, leaked("a.json", linux.to_owned())).expect("sound");
    assert_eq!(ways(&rules, &[logon("a")]), ["everywhere"]);
    assert_eq!(rules.list()[0].applies_to, "no host: it takes nothing");
    assert!(said(&rules).contains("takes nothing"), "{}", said(&rules));
}

#[test]
fn a_workspace_is_known_by_its_id_before_any_name() {
    let text =
        || azure(&[("Microsoft-Event", "Security!*")], &[("Microsoft-Event", None, "soc")], &[("soc", "g/central")]);
    let toml = format!(
        "[[workspaces]]\nworkspace = \"soc\"\noutput = \"archive\"\n[[workspaces]]\nworkspace = \"{}\"\noutput = \"ops\"\n{FILE}",
        workspace("g/central").to_uppercase()
    );
    let rules = rules_with(&toml, leaked("a.json", text())).expect("sound");
    assert_eq!(ways(&rules, &[logon("a")]), ["ops:Microsoft-Event"]);
    // An output that happens to have the destination's name is not the workspace.
    let problems = rules_with(FILE, leaked("a.json", text())).expect_err("nothing stands for it");
    assert!(problems[0].contains("no output stands for workspace"), "{problems:?}");
}

#[test]
fn two_workspaces_of_one_name_are_not_taken_for_each_other() {
    let text = azure(
        &[("Microsoft-Event", "Security!*")],
        &[("Microsoft-Event", None, "one"), ("Microsoft-Event", None, "other")],
        &[("one", "g/soc"), ("other", "h/soc")],
    );
    let files = leaked("a.json", text);
    let problems = rules_with(FILE, files).expect_err("they must be told apart");
    assert!(problems[0].contains("have the same name"), "{problems:?}");
    let id = workspace("h/soc");
    let told =
        rules_with(&format!("[[workspaces]]\nworkspace = \"{id}\"\noutput = \"ops\"\n{FILE}"), files).expect("sound");
    assert_eq!(ways(&told, &[logon("a")]), ["soc:Microsoft-Event ops:Microsoft-Event"]);
}

#[test]
fn forwarded_events_are_the_events_of_every_channel() {
    let rules = rules(
        "[[rules]]\nname = \"x\"\nqueries = [\"ForwardedEvents!*[System[EventID=4624]]\"]\noutputs = [\"soc\"]\n",
    );
    assert_eq!(
        ways(&rules, &[logon("a"), event("System", 4624, "a", ""), event("System", 1, "a", "")]),
        ["soc", "soc", "(not_selected)"]
    );
    assert!(said(&rules).contains("events tell the channel of their origin"));
}

#[test]
fn it_is_said_when_hosts_without_rules_send_everything_everywhere() {
    let web = "[[rules]]\nname = \"web\"\nevent_set = \"All\"\noutputs = [\"soc\"]\nhosts = [\"web*\"]\n";
    let rest = "[[rules]]\nname = \"rest\"\nevent_set = \"Common\"\noutputs = [\"soc\"]\ndefault = true\n";
    let said = |toml: &str| said(&rules(toml)).contains("send everything to every output");
    assert!(said(web));
    assert!(!said(&format!("event_set = \"None\"\n{web}")) && !said(&format!("{web}{rest}")) && !said(""));
}

#[test]
fn rules_apply_to_their_hosts_and_the_event_set_to_those_that_have_none() {
    let rules = rules(
        r#"
        event_set = "Minimal"
        [[rules]]
        name = "web"
        queries = ["Security!*"]
        outputs = ["soc"]
        hosts = ["web*"]
        [[rules]]
        name = "plant"
        event_set = "None"
        outputs = ["ops"]
        hosts = ["plant7"]
        "#,
    );
    let events = [logon("web01.example.com"), logon("plant7"), logon("other"), event("System", 1, "other", "")];
    assert_eq!(ways(&rules, &events), ["soc", "(not_selected)", "everywhere", "(not_in_event_set)"]);
    assert_eq!(rules.applying(&Client::default(), "web01"), ["web"]);
    assert_eq!(rules.applying(&Client::default(), "other"), Vec::<&str>::new());
}

#[test]
fn default_rules_are_for_the_rest() {
    let rules = rules(
        r#"
        [[rules]]
        name = "web"
        queries = ["Security!*"]
        outputs = ["soc"]
        hosts = ["web*"]
        [[rules]]
        name = "rest"
        event_set = "Everything"
        outputs = ["archive"]
        default = true
        "#,
    );
    let events = [logon("web01"), logon("other"), event("System", 1, "other", ""), event("System", 1, "web01", "")];
    assert_eq!(ways(&rules, &events), ["soc", "archive", "archive", "(not_selected)"]);
}

#[test]
fn suppress_takes_away_what_select_of_the_same_query_took() {
    let list = r#"<QueryList>
        <Query Id="0" Path="Security"><Select>*[System[EventID=4624]]</Select>
          <Suppress>*[EventData[Data[@Name='LogonType']='3']]</Suppress></Query>
        <Query Id="1" Path="System"><Select>*</Select></Query>
      </QueryList>"#;
    let files: &'static [(&str, &str)] = Box::leak(Box::new([("list.xml", list)]));
    let toml = "[[rules]]\nname = \"list\"\nquery_list = \"list.xml\"\noutputs = [\"soc\"]\n";
    let rules = rules_with(toml, files).expect("sound");
    let network = "<Event><System/><EventData><Data Name='LogonType'>3</Data></EventData></Event>";
    let events = [logon("a"), event("Security", 4624, "a", network), event("System", 1, "a", network)];
    assert_eq!(ways(&rules, &events), ["soc", "(not_selected)", "soc"]);
}

#[test]
fn an_event_without_a_readable_id_meets_every_query_of_its_channel() {
    let rules =
        rules("[[rules]]\nname = \"x\"\nqueries = [\"Security!*[System[EventID=4624]]\"]\noutputs = [\"soc\"]\n");
    let raw = "<Event><System><EventID> 0x1210 </EventID><Channel>Security</Channel></System></Event>";
    let mut odd = event("Security", 0, "a", raw);
    odd.fields.event_id = None;
    assert_eq!(ways(&rules, &[odd]), ["soc"]);
}

#[test]
fn every_mistake_is_told_where_it_is() {
    let toml = r#"
        [[workspaces]]
        workspace = "central"
        output = "sock"
        [[rules]]
        name = "a"
        event_set = "Common"
        outputs = ["soc", "op"]
        [[rules]]
        name = "a"
        event_set = "All"
        outputs = ["soc"]
        [[rules]]
        file = "missing.json"
        [[rules]]
        name = "list"
        query_list = "bad.xml"
        outputs = ["soc"]
    "#;
    let problems = rules_with(toml, &[("bad.xml", "<QueryList>")]).expect_err("there are mistakes");
    let wanted = [
        "filter.workspaces[0].output: \"sock\" is no output; there are \"soc\", \"ops\", \"archive\"",
        "filter.rules[0].outputs[1]: \"op\" is no output",
        "filter.rules[2].file: missing.json cannot be read",
        "filter.rules[3].query_list: bad.xml: ",
        "filter.rules[1]: the rule \"a\" of configuration has the name of one of configuration",
    ];
    for wanted in wanted {
        assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}\nnot in {problems:#?}");
    }
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
}

#[test]
fn sections_that_say_too_little_or_too_much_are_refused() {
    let cases = [
        ("[[rules]]\nname = \"a\"\noutputs = [\"soc\"]", "rules[0]", "must say what it takes"),
        (
            "[[rules]]\nname = \"a\"\nevent_set = \"All\"\nqueries = [\"Security!*\"]\noutputs = [\"soc\"]",
            "rules[0]",
            "only one of",
        ),
        ("[[rules]]\nevent_set = \"All\"\noutputs = [\"soc\"]", "rules[0].name", "is needed"),
        ("[[rules]]\nname = \"a\"\nevent_set = \"All\"", "rules[0].outputs", "at least one"),
        ("[[rules]]\nname = \"a\"\nfile = \"x.json\"", "rules[0].name", "names of their own"),
        ("[[rules]]\nfile = \"x.json\"\noutputs = [\"soc\"]", "rules[0].outputs", "filter.workspaces"),
        ("[[rules]]\nfile = \"x.json\"\nhosts = [\"a\"]\ndefault = true", "rules[0].default", "leave hosts"),
        ("[[rules]]\nname = \"a\"\nqueries = [\"Security\"]\noutputs = [\"soc\"]", "rules[0].queries[0]", "!"),
        ("[[rules]]\nfile = \"x.json\"\nhosts = [\"\"]", "rules[0].hosts[0]", "must not be empty"),
    ];
    for (toml, key, message) in cases {
        let problems = toml::from_str::<Config>(toml).expect("readable").problems();
        let found = problems.iter().any(|(at, said)| at == key && said.contains(message));
        assert!(found, "{toml}\n{problems:?}");
    }
}

#[test]
fn explaining_names_every_query_that_takes_an_event_and_which_one_counts() {
    let rules = rules(
        r#"
        [[rules]]
        name = "logons"
        queries = ["Security!*[System[EventID=4624]]"]
        outputs = ["soc"]
        [[rules]]
        name = "all"
        event_set = "All"
        outputs = ["soc", "archive"]
        "#,
    );
    let explained = rules.explain(&Client::default(), "", NOW, &logon("a"));
    let shown: Vec<_> = explained.iter().map(|why| (&*why.rule, &*why.output, why.goes)).collect();
    assert_eq!(shown, [("logons", "soc", true), ("all", "soc", false), ("all", "archive", true)]);
    let list = rules.list();
    assert_eq!(list[1].applies_to, "every host");
    assert_eq!(list[1].outputs, ["soc", "archive"]);
    assert_eq!(list[1].queries.len(), 3);
}

#[test]
fn sixty_four_workspaces_each_get_an_event_once_and_one_more_is_refused() {
    let build = |count: usize| {
        let outputs: Vec<String> = (0..count).map(|n| format!("workspace-{n}")).collect();
        let rule = |output: &String| crate::filter::RuleConfig {
            name: Some(format!("to {output}")),
            queries: vec!["Security!*".to_owned(), "Security!*[System[EventID=4624]]".to_owned()],
            outputs: vec![output.clone()],
            ..crate::filter::RuleConfig::default()
        };
        let config = Config { rules: outputs.iter().map(rule).collect(), ..Config::default() };
        let read = |_: &Path| Ok(Vec::new());
        let material = Material { config: &config, outputs: &outputs, read: &read, managed: &Managed::default() };
        Rules::build(&material)
    };
    let rules = build(OUTPUTS_MAX).expect("sound");
    let ways = ways(&rules, &[logon("a")]);
    let mut names: Vec<&str> = ways[0].split(' ').collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OUTPUTS_MAX, "{ways:?}");
    let problems = build(OUTPUTS_MAX + 1).expect_err("too many");
    assert!(problems[0].message.contains("64 outputs"), "{problems:?}");
}
