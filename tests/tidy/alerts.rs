//! Alerts ring when they should and are silent when they should; each says what it means, and leads to what the runbook says
//! about it.

use std::path::{Path, PathBuf};
use std::process::Command;

const RUNBOOK: &str = "https://github.com/gatepost/gatepost/blob/main/docs/runbook.md#";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).expect("it is committed")
}

/// The parts of a text that begin with this, each as a name and what follows it.
fn parts<'t>(text: &'t str, begin: &'t str, name_ends: char) -> Vec<(&'t str, &'t str)> {
    let named = |part: &'t str| part.split_at(part.find(name_ends).expect("a name that ends"));
    text.split(begin).skip(1).map(named).collect()
}

/// Each alert, with its lines.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let alerts = parts(rules, "- alert: ", '\n');
    assert!(alerts.len() > 33, "only {} alerts", alerts.len());
    alerts
}

/// The text of an annotation, without its quotes.
fn annotation<'r>(rule: &'r str, key: &str) -> Option<&'r str> {
    let begin = format!("          {key}: \"");
    rule.lines().find_map(|line| line.strip_prefix(begin.as_str())?.strip_suffix('"'))
}

#[test]
fn alerts_ring_also_for_series_that_begin_late() {
    let test = file("deploy/prometheus/alerts_test.yml");
    let ran =
        Command::new("promtool").args(["test", "rules"]).arg(test).output().expect("`make test` installs promtool");
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn every_alert_has_a_test_in_which_it_rings_and_one_in_which_it_is_silent() {
    let (rules, tests) = (read("deploy/prometheus/alerts.yml"), read("deploy/prometheus/alerts_test.yml"));
    assert!(!tests.contains("alert_rule_test:"), "the other style compares texts, and is not counted here");
    let cases = parts(&tests, "expr: 'ALERTS{alertname=\"", '"');
    for (name, _) in alerts(&rules) {
        let expects = |silence: bool| {
            let is_silent = |case: &str| case.lines().nth(1).is_some_and(|line| line.trim() == "exp_samples: []");
            cases.iter().any(|(of, case)| *of == name && is_silent(case) == silence)
        };
        assert!(expects(false), "{name} rings in no test");
        assert!(expects(true), "{name} is silent in no test");
    }
}

#[test]
fn every_alert_says_what_it_means_and_leads_to_its_row_of_the_runbook() {
    let (rules, runbook) = (read("deploy/prometheus/alerts.yml"), read("docs/runbook.md"));
    for (name, rule) in alerts(&rules) {
        for key in ["summary", "description"] {
            let text = annotation(rule, key).unwrap_or_else(|| panic!("{name} has no {key}"));
            assert!(text.len() > 20, "{name}: {key}: {text:?}");
        }
        let url = annotation(rule, "runbook_url").unwrap_or_else(|| panic!("{name} has no runbook_url"));
        let anchor = url.strip_prefix(RUNBOOK).unwrap_or_else(|| panic!("{name}: {url} is not in the runbook"));
        let row = format!("\n| <a id=\"{anchor}\"></a>{name} |");
        assert!(runbook.contains(&row), "{name}: docs/runbook.md has no row{row}");
    }
}
