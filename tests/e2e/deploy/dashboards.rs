//! Dashboards and Prometheus files: valid, and every query names metrics that exist.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use gatepost::metrics::{ALL, Kind};
use serde_json::Value;

use crate::tools::{of_checkout, run_well, tool};

const DATA_SOURCE: &str = "${datasource}";

fn dashboards() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(of_checkout("dashboards")).expect("it is there") {
        let path = entry.expect("a readable folder").path();
        let text = std::fs::read_to_string(&path).expect("UTF-8");
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        found.push((path, value));
    }
    for name in ["overview", "outputs", "inputs", "tunnel", "internals"] {
        assert!(found.iter().any(|(path, _)| path.ends_with(format!("{name}.json"))), "there is no {name}");
    }
    found
}

const RUNBOOK: &str = "https://github.com/gatepost/gatepost/blob/main/docs/runbook.md#";

/// Where links into the runbook may lead: its headings, as GitHub names them, and the rows of its alerts.
fn anchors() -> BTreeSet<String> {
    let runbook = std::fs::read_to_string(of_checkout("docs/runbook.md")).expect("it is there");
    let headings = runbook.lines().filter(|line| line.starts_with('#')).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    });
    let rows = runbook.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    headings.chain(rows).collect()
}

/// Every panel, those inside rows too.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let below = |value: &'_ Value| -> usize { value["panels"].as_array().map_or(0, Vec::len) };
    let outer: Vec<&Value> = (0..below(dashboard)).map(|at| &dashboard["panels"][at]).collect();
    outer.into_iter().flat_map(|it| std::iter::once(it).chain((0..below(it)).map(|at| &it["panels"][at]))).collect()
}

fn queries(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).into_iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().expect("each target has an expr").to_owned()).collect()
}

/// A query as Grafana would send it.
fn filled_in(query: &str) -> String {
    query
        .replace("$__rate_interval", "5m")
        .replace("$__interval", "1m")
        .replace("$__range", "1h")
        .replace("$instance", ".+")
        .replace("$output", ".+")
}

fn metric_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for metric in ALL {
        match metric.kind {
            Kind::Histogram => names.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name))),
            _ => _ = names.insert(metric.name.to_owned()),
        }
    }
    names
}

#[test]
fn panels_have_ids_of_their_own_a_place_a_unit_and_lead_to_the_runbook() {
    let anchors = anchors();
    for (path, dashboard) in dashboards() {
        let name = path.display();
        assert!(dashboard["uid"].as_str().is_some_and(|uid| (1..=40).contains(&uid.len())), "{name}");
        assert!(dashboard["title"].as_str().is_some_and(|title| !title.is_empty()), "{name}");
        assert!(dashboard["id"].is_null(), "{name}: an id belongs to one Grafana");
        let variables = dashboard["templating"]["list"].as_array().expect("variables");
        assert!(variables.iter().any(|it| it["name"] == "datasource" && it["type"] == "datasource"), "{name}");
        assert!(variables.iter().any(|it| it["name"] == "instance"), "{name}");
        let uses_output = dashboard.to_string().contains("$output");
        assert_eq!(
            variables.iter().any(|it| it["name"] == "output"),
            uses_output,
            "{name}: output is offered where it is used"
        );
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = &panel["title"];
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{name}: {title}: its id is taken");
            let place = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place"));
            assert!(place[0] + place[2] <= 24, "{name}: {title} is wider than the page");
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["datasource"]["uid"], DATA_SOURCE, "{name}: {title}");
            assert!(panel["description"].as_str().is_some_and(|text| text.len() > 10), "{name}: {title}: what is it?");
            let link = panel["links"][0]["url"].as_str().unwrap_or_default();
            let anchor =
                link.strip_prefix(RUNBOOK).unwrap_or_else(|| panic!("{name}: {title} leads to no row of the runbook"));
            assert!(anchors.contains(anchor), "{name}: {title}: the runbook has no {anchor}");
            assert!(
                panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0].is_object(),
                "{name}: {title}: no thresholds"
            );
            let unit = &panel["fieldConfig"]["defaults"]["unit"];
            assert!(unit.as_str().is_some_and(|unit| !unit.is_empty()), "{name}: {title} has no unit");
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{name}: {title} shows nothing");
            let mut letters = BTreeSet::new();
            for target in targets {
                assert_eq!(target["datasource"]["uid"], DATA_SOURCE, "{name}: {title}");
                let expr = target["expr"].as_str().expect("a query");
                let split = expr.contains("instance")
                    && target["legendFormat"].as_str().is_some_and(|text| text.contains("{{"));
                assert!(split && expr.contains("$instance"), "{name}: {title}: {expr} is not split by instance");
                assert!(letters.insert(target["refId"].to_string()), "{name}: {title}: a refId is taken");
            }
        }
    }
}

#[test]
fn panels_do_not_lie_on_top_of_each_other() {
    for (path, dashboard) in dashboards() {
        let mut cells = BTreeSet::new();
        for panel in panels(&dashboard) {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place"));
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{}: {} lies on another at {cell:?}", path.display(), panel["title"]);
            }
        }
    }
}

#[test]
fn every_query_is_promql_about_metrics_that_exist() {
    let names = metric_names();
    let mut rules = String::from("groups:\n  - name: dashboards\n    rules:\n");
    for (path, dashboard) in dashboards() {
        let queries = queries(&dashboard);
        assert!(queries.len() > 10, "{}: only {} queries", path.display(), queries.len());
        for (number, query) in queries.iter().enumerate() {
            let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let named: Vec<&str> =
                words.filter(|it| it.starts_with("gatepost_") || it.starts_with("process_")).collect();
            assert!(!named.is_empty(), "{query} asks for nothing of ours");
            for name in named.iter().filter(|name| name.starts_with("gatepost_")) {
                assert!(names.contains(*name), "{}: {query}: there is no {name}", path.display());
            }
            let query = serde_json::to_string(&filled_in(query)).expect("text");
            _ = writeln!(rules, "      - record: dashboard:query:{number}\n        expr: {query}");
        }
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, &rules).expect("a temporary file");
    run_well(Command::new(tool("promtool", "prometheus")).args(["check", "rules"]).arg(&file));
}

#[test]
fn the_prometheus_files_are_right() {
    let promtool = || Command::new(tool("promtool", "prometheus"));
    run_well(promtool().args(["check", "rules"]).arg(of_checkout("deploy/prometheus/alerts.yml")));
    run_well(promtool().args(["check", "rules"]).arg(of_checkout("deploy/prometheus/recording.yml")));
    run_well(promtool().args(["check", "config"]).arg(of_checkout("deploy/prometheus/prometheus.yml")));
}
