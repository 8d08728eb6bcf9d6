//! `gatepost rules` and `gatepost xpath` as an operator calls them: words, numbers and exit codes, without a gateway.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tools::{both, run};

const LOGON: &str = r#"{"Computer":"WEB01.dmz.example","Channel":"Security","EventID":4624,"EventRecordID":101,"TimeCreated":"2026-11-20T06:00:00Z","EventData":{"LogonType":"3"}}"#;
const LOGOFF: &str = r#"{"Computer":"WEB01.dmz.example","Channel":"Security","EventID":4634,"EventRecordID":102,"TimeCreated":"2026-11-20T06:00:05Z"}"#;
const SERVICE: &str = r#"{"Computer":"WEB01.dmz.example","Channel":"System","EventID":7036,"EventRecordID":103,"TimeCreated":"2026-11-20T06:00:09Z"}"#;
const FAILED: &str = r#"{"Computer":"DB01.plant.example","Channel":"Security","EventID":4625,"EventRecordID":501,"TimeCreated":"2026-11-21T06:01:00Z","EventData":{"LogonType":"10"}}"#;

/// Three rules: for every host, for some by name, and for some by network and group.
const CONFIG: &str = r#"
state_dir = "state"
[[listeners]]
auth.group = "plant"
[[outputs]]
kind = "file"
name = "soc"
directory = "soc"
[[outputs]]
kind = "file"
name = "ops"
directory = "ops"
[[filter.rules]]
file = "logons.json"
[[filter.rules]]
name = "web servers"
queries = ["System!*", "Security!*[System[EventID=4624]]"]
outputs = ["ops", "soc"]
hosts = ["WEB*"]
[[filter.rules]]
name = "plant"
queries = ["Security!*"]
outputs = ["ops"]
networks = ["10.20.0.0/16"]
groups = ["plant"]
"#;

/// A data collection rule for the workspace `soc` with this query.
fn rule(query: &str) -> String {
    json!({
        "name": "logons",
        "properties": {
            "dataSources": { "windowsEventLogs": [
                { "name": "s", "streams": ["Microsoft-SecurityEvent"], "xPathQueries": [query] } ] },
            "destinations": { "logAnalytics": [
                { "name": "d", "workspaceResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/soc" } ] },
            "dataFlows": [{ "streams": ["Microsoft-SecurityEvent"], "destinations": ["d"] }]
        }
    })
    .to_string()
}

/// A folder of an operator: configuration, rules, events.
fn desk() -> TempDir {
    let desk = tempfile::tempdir().expect("a temporary directory");
    let events = [LOGON, LOGOFF, SERVICE, FAILED].join("\n");
    let files = [
        ("gatepost.toml", CONFIG),
        ("events.ndjson", &events),
        ("logons.json", &rule("Security!*[System[EventID=4624]]")),
        ("wider.json", &rule("Security!*[System[EventID=4624 or EventID=4625]]")),
        ("other.json", &rule("Security!*[System[EventID=4625]]")),
        ("wrong.json", &rule("Security!*[System[EventID=]]")),
    ];
    for (name, content) in files {
        put(desk.path(), name, content);
    }
    desk
}

fn put(folder: &Path, name: &str, content: &str) {
    std::fs::write(folder.join(name), content).expect("a temporary folder");
}

/// The exit code, and what was printed.
fn gatepost(desk: &TempDir, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
    command.args(args).current_dir(desk.path()).env("GATEPOST_CONFIG", "gatepost.toml");
    let output = run(&mut command, b"");
    (output.status.code().unwrap_or(-1), both(&output))
}

/// What a command that must succeed prints with `--json`.
fn told(desk: &TempDir, args: &[&str]) -> Value {
    let (code, text) = gatepost(desk, &[args, &["--json"]].concat());
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The same of a command that lists: the entries.
fn listed(desk: &TempDir, args: &[&str]) -> Value {
    let (code, text) = gatepost(desk, &[args, &["--json"]].concat());
    assert_eq!(code, 0, "{text}");
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{text}"))).collect()
}

#[test]
fn check_tells_sound_rules_from_wrong_ones() {
    let desk = desk();
    assert_eq!(gatepost(&desk, &["rules", "check"]), (0, "rules: 3, warnings: 0\n".to_owned()));
    let (code, text) = gatepost(&desk, &["rules", "check", "logons.json", "wrong.json", "missing.json"]);
    assert_eq!(code, 1, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("wrong.json: properties.dataSources.windowsEventLogs[0].xPathQueries[0]: error: "));
    assert!(lines[0].contains("expected a value to compare with"), "{text}");
    assert!(lines[1].starts_with("missing.json: error: is not there"), "{text}");
    assert_eq!(lines[2], "not usable");

    let (code, text) = gatepost(&desk, &["rules", "check", "--json", "wrong.json"]);
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &said["severity"]), (1, &"error".into()), "{text}");

    put(
        desk.path(),
        "transforms.json",
        &rule("Security!*")
            .replace("\"destinations\":[\"d\"]", "\"destinations\":[\"d\"],\"transformKql\":\"source | take 1\""),
    );
    let (code, text) = gatepost(&desk, &["rules", "check", "transforms.json"]);
    assert_eq!(code, 0, "a warning is no mistake: {text}");
    assert!(text.contains("dataFlows[0].transformKql: warning: is not implemented"), "{text}");

    // A rule of the configuration that is wrong is found without naming its file.
    put(desk.path(), "logons.json", &rule("Security!*[System[EventID=]]"));
    let (code, text) = gatepost(&desk, &["rules", "check"]);
    assert!(code == 78 && text.contains("filter.rules[0].file") && text.contains("logons.json"), "{code} {text}");
    for args in [["rules", "check"], ["hosts", "seen"], ["send", "logons.json"]] {
        let (code, text) = gatepost(&desk, &[&args[..], &["--json"]].concat());
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"));
        assert_eq!((code, &told["ok"]), (78, &Value::Bool(false)), "{args:?}: {text}");
        assert_eq!(told["problems"][0]["key"], "filter.rules[0].file", "{args:?}: {text}");
    }
}

#[test]
fn list_and_show_tell_whose_events_a_rule_takes_and_where_they_go() {
    let desk = desk();
    let rules = listed(&desk, &["rules", "list"]);
    assert_eq!(rules[0]["name"], "logons");
    assert_eq!(rules[0]["outputs"], json!(["soc (Microsoft-SecurityEvent)"]));
    assert_eq!(rules[1]["applies_to"], "hosts named WEB*");
    assert_eq!(rules[2]["applies_to"], "hosts in 10.20.0.0/16 and in group plant");
    let (code, text) = gatepost(&desk, &["rules", "list"]);
    assert!(code == 0 && text.ends_with("rules: 3\n") && text.contains("| hosts named WEB*"), "{text}");

    let (code, text) = gatepost(&desk, &["rules", "show", "web servers"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("  takes       System!*\n") && text.contains("  outputs     ops, soc\n"));
    let (code, text) = gatepost(&desk, &["rules", "show", "nobody"]);
    assert!(code == 1 && text.contains("there is no rule \"nobody\"; there are: \"logons\""), "{code} {text}");
}

/// Where the events of the desk go, by channel and id, as a line each.
fn ways(desk: &TempDir, sender: &[&str]) -> Vec<String> {
    let ways = listed(desk, &[&["rules", "test", "events.ndjson"], sender].concat());
    let line = |of: &Value| {
        let way = &of["way"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} × {} {}: {}", of["events"], way["event_id"], text(&way["rule"]), text(&way["goes_to"]))
    };
    ways.as_array().expect("a list").iter().map(line).collect()
}

#[test]
fn test_tells_where_each_event_would_go_and_by_which_rule() {
    let desk = desk();
    let by_default = [
        "1 × 4624 logons: soc (Microsoft-SecurityEvent)",
        "1 × 4624 web servers: ops",
        "1 × 4625 -: dropped: not_selected",
        "1 × 4634 -: dropped: not_selected",
        "1 × 7036 web servers: ops",
        "1 × 7036 web servers: soc",
    ];
    assert_eq!(ways(&desk, &[]), by_default);
    assert_eq!(ways(&desk, &["--from", "10.20.3.7"]), by_default, "the rule asks for a group as well");
    assert_eq!(ways(&desk, &["--from", "192.0.2.1", "--group", "plant"]), by_default);
    let of_plant = [
        "1 × 4624 logons: soc (Microsoft-SecurityEvent)",
        "1 × 4624 web servers: ops",
        "1 × 4625 plant: ops",
        "1 × 4634 plant: ops",
        "1 × 7036 web servers: ops",
        "1 × 7036 web servers: soc",
    ];
    assert_eq!(ways(&desk, &["--from", "10.20.3.7", "--group", "plant"]), of_plant);

    let (code, text) = gatepost(&desk, &["rules", "test", "--each", "events.ndjson"]);
    assert_eq!(code, 0, "{text}");
    let first: Vec<&str> = text.lines().take(5).collect();
    assert_eq!(
        first,
        [
            "WEB01.dmz.example Security 4624 record 101",
            "  logons -> soc (Microsoft-SecurityEvent): Security!*[System[EventID=4624]]",
            "  web servers -> ops: Security!*[System[EventID=4624]]",
            "  web servers -> soc: Security!*[System[EventID=4624]]   (goes there by another rule)",
            "WEB01.dmz.example Security 4634 record 102",
        ]
    );
}

#[test]
fn diff_counts_events_and_bytes_exactly() {
    let desk = desk();
    let amount =
        |events: &[&str]| json!({ "events": events.len(), "bytes": events.iter().map(|e| e.len()).sum::<usize>() });
    let diff = told(&desk, &["rules", "diff", "logons.json", "wider.json", "events.ndjson"]);
    assert_eq!(diff["days"], 2.0, "the events are of two days");
    assert_eq!(diff["events"], amount(&[LOGON, LOGOFF, SERVICE, FAILED]));
    let soc = json!({ "old": amount(&[LOGON]), "new": amount(&[LOGON, FAILED]), "added": amount(&[FAILED]), "removed": amount(&[]) });
    assert_eq!(diff["outputs"], json!({ "soc": soc }));
    let change = json!({ "output": "soc", "channel": "Security", "event_id": 4625, "added": amount(&[FAILED]), "removed": amount(&[]) });
    assert_eq!(diff["changes"], json!([change]));

    let back = told(&desk, &["rules", "diff", "wider.json", "other.json", "events.ndjson"]);
    assert_eq!(back["outputs"]["soc"]["removed"], amount(&[LOGON]), "{back:#}");
    assert_eq!(back["outputs"]["soc"]["added"], amount(&[]), "{back:#}");

    // A configuration has more rules than one file of it, and outputs of the same names.
    let whole = told(&desk, &["rules", "diff", "logons.json", "gatepost.toml", "events.ndjson"]);
    assert_eq!(whole["outputs"]["ops"]["added"], amount(&[LOGON, SERVICE]), "{whole:#}");
    assert_eq!(whole["outputs"]["soc"]["added"], amount(&[SERVICE]), "{whole:#}");

    let (code, text) =
        gatepost(&desk, &["rules", "diff", "logons.json", "logons.json", "events.ndjson", "--days", "1"]);
    assert!(
        code == 0 && text.starts_with("events: 4, days: 1\n") && text.ends_with("no event goes another way\n"),
        "{text}"
    );
    let (code, text) = gatepost(&desk, &["rules", "diff", "logons.json", "wrong.json", "events.ndjson"]);
    assert!(code == 1 && text.contains("wrong.json cannot be used"), "{code} {text}");
    let (code, text) = gatepost(&desk, &["rules", "diff", "logons.json", "wider.json", "events.ndjson", "--days", "0"]);
    assert!(code == 1 && text.contains("--days must be above 0"), "{code} {text}");
}

#[test]
fn xpath_finds_counts_and_explains() {
    let desk = desk();
    let count = |query: &str| gatepost(&desk, &["xpath", query, "events.ndjson", "--count"]);
    assert_eq!(count("*[System[EventID=4624 or EventID=4625]]"), (0, "2\n".to_owned()));
    assert_eq!(count("System!*"), (0, "1\n".to_owned()));
    assert_eq!(count("*[System[EventID=1]]"), (0, "0\n".to_owned()), "nothing found is no failure");
    assert_eq!(
        gatepost(&desk, &["xpath", "*[EventData[Data[@Name='LogonType']='10']]", "events.ndjson"]),
        (0, format!("{FAILED}\n"))
    );
    let age = ["xpath", "*[System[TimeCreated[timediff(@SystemTime) <= 60000]]]", "events.ndjson", "--count"];
    let now = ["--now", "2026-11-20T06:01:04Z"];
    assert_eq!(
        gatepost(&desk, &[&age[..], &now].concat()),
        (0, "3\n".to_owned()),
        "a minute old at most; one is still to come"
    );

    let list = "<QueryList><Query Id=\"0\" Path=\"Security\"><Select>*</Select><Suppress>*[System[EventID=4634]]</Suppress></Query></QueryList>";
    put(desk.path(), "list.xml", list);
    assert_eq!(count("@list.xml"), (0, "2\n".to_owned()));

    let (code, text) = gatepost(&desk, &["xpath", "--explain", "Security!*[System[EventID=4624]]"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("takes events in the channel Security: *[System[EventID=4624]]\n"), "{text}");
    let (code, text) = gatepost(&desk, &["xpath", "*[System[EventID=]]", "events.ndjson"]);
    assert_eq!(code, 1, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..], ["  *[System[EventID=]]", "                   ^"], "{text}");
}
