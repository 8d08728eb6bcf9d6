//! The rule and the table, as Azure describes them, against what the output sends.

use serde_json::Value;

use super::Findings;
use crate::event::columns::{Column, ColumnType};
use crate::outputs::workspace;

/// Names in one finding; the rest is counted.
const NAMED_MAX: usize = 20;

/// Compares the rule. Returns the resource id of the workspace that the output's stream goes to.
pub(super) fn compare(
    output: &workspace::Config,
    columns: &[Column],
    rule: &Value,
    findings: &mut Findings,
) -> Option<String> {
    let properties = &rule["properties"];
    immutable_id(output, properties, findings);
    declared(output, columns, properties, findings);
    destination(output, properties, findings)
}

fn immutable_id(output: &workspace::Config, properties: &Value, findings: &mut Findings) {
    match properties["immutableId"].as_str() {
        Some(id) if id.eq_ignore_ascii_case(&output.dcr) => {
            findings.ok("rule", format!("{id} is the one that is configured"))
        }
        Some(id) => findings.problem(
            "rule",
            format!("its immutable id is {id:?}, and `dcr` is {}", output.dcr),
            "set `dcr` to its immutable id, or name the rule that the output goes to",
        ),
        None => findings.unknown("rule", "it tells no immutable id", "see that `dcr` is its own"),
    }
}

fn declared(output: &workspace::Config, columns: &[Column], properties: &Value, findings: &mut Findings) {
    let streams = &properties["streamDeclarations"];
    let Some(declaration) = streams[&output.stream]["columns"].as_array() else {
        if output.stream.starts_with("Microsoft-") {
            let advice = "declare a stream Custom-… in the rule, and set `stream` to it, to be sure";
            return findings.unknown("stream", format!("{} is Azure's own and not declared", output.stream), advice);
        }
        let names: Vec<&str> = streams.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        return findings.problem(
            "stream",
            format!("the rule does not declare {}; it declares {}", output.stream, listed(&names)),
            "set `stream` to one of them, or add it: `gatepost azure template` prints it",
        );
    };
    findings.ok("stream", format!("{} is declared", output.stream));
    let kind_of = |name: &str| {
        let same = declaration.iter().find(|column| column["name"].as_str() == Some(name))?;
        Some(same["type"].as_str().unwrap_or_default().to_ascii_lowercase())
    };
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    for (name, kind) in wanted(output, columns) {
        let kind = serde_json::to_value(kind).expect("a type is a text");
        let kind = kind.as_str().unwrap_or_default();
        match kind_of(name) {
            None => missing.push(name.to_owned()),
            Some(theirs) if theirs != kind => differing.push(format!("{name} ({theirs}, not {kind})")),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        findings.problem(
            "columns",
            format!("{} not declared: {}", missing.len(), listed(&missing)),
            "Azure drops their values in silence: add them with `gatepost azure template`",
        );
    }
    if !differing.is_empty() {
        let detail = format!("{} declared otherwise: {}", differing.len(), listed(&differing));
        findings.problem(
            "columns",
            detail,
            "Azure empties values of another type: declare them as `gatepost azure template` does",
        );
    }
    if missing.is_empty() && differing.is_empty() {
        findings.ok("columns", format!("all {} are declared", wanted(output, columns).count()));
    }
}

/// The columns of a row: the table's, and those that are added.
fn wanted<'a>(output: &'a workspace::Config, columns: &'a [Column]) -> impl Iterator<Item = (&'a str, ColumnType)> {
    columns.iter().map(|column| (column.name, column.kind)).chain(extras(output))
}

fn extras(output: &workspace::Config) -> impl Iterator<Item = (&str, ColumnType)> {
    let extras = [
        (output.original_time_column.as_str(), ColumnType::Datetime),
        (output.event_key_column.as_str(), ColumnType::String),
        (output.client_column.as_str(), ColumnType::String),
    ];
    extras.into_iter().filter(|(name, _)| !name.is_empty())
}

fn destination(output: &workspace::Config, properties: &Value, findings: &mut Findings) -> Option<String> {
    let named = |list: &Value, name: &str| list.as_array().is_some_and(|items| items.iter().any(|item| item == name));
    let flows = properties["dataFlows"].as_array();
    let Some(flow) = flows.into_iter().flatten().find(|flow| named(&flow["streams"], &output.stream)) else {
        let detail = format!("no data flow takes {}", output.stream);
        findings.problem("flow", detail, "add one: `gatepost azure template` prints it");
        return None;
    };
    let wanted = format!("Microsoft-{}", output.table.unwrap_or_default());
    let goes_to = flow["outputStream"].as_str().unwrap_or(&output.stream);
    if goes_to == wanted {
        findings.ok("flow", format!("{} goes to {goes_to}", output.stream));
    } else {
        findings.problem(
            "flow",
            format!("{} goes to {goes_to}, and rows are made for {wanted}", output.stream),
            "change outputStream in the rule, or `table` of the output",
        );
    }
    let transform = flow["transformKql"].as_str().unwrap_or("source").trim();
    if transform != "source" {
        findings.unknown("transform", "the flow changes what arrives", "see that its transformKql keeps what you need");
    }
    let known = properties["destinations"]["logAnalytics"].as_array();
    let workspace = known
        .into_iter()
        .flatten()
        .find(|place| place["name"].as_str().is_some_and(|name| named(&flow["destinations"], name)));
    let id = workspace.and_then(|place| place["workspaceResourceId"].as_str());
    match id {
        Some(id) => findings.ok("workspace", id),
        None => {
            findings.problem("workspace", "the flow leads to no workspace", "see destinations.logAnalytics of the rule")
        }
    }
    id.map(|id| format!("/{}", id.trim_start_matches('/')))
}

/// Whether the table has the columns that are added to it.
pub(super) fn compare_table(output: &workspace::Config, table: &str, found: &Value, findings: &mut Findings) {
    let schema = &found["properties"]["schema"];
    let lists = [&schema["columns"], &schema["standardColumns"]];
    let has = |name: &str| {
        let mut columns = lists.iter().filter_map(|list| list.as_array()).flatten();
        columns.any(|column| column["name"].as_str() == Some(name))
    };
    let missing: Vec<&str> = extras(output).map(|(name, _)| name).filter(|name| !has(name)).collect();
    if missing.is_empty() {
        findings.ok("table", format!("{table} is there with every added column"));
    } else {
        findings.problem(
            "table",
            format!("{table} lacks {}", listed(&missing)),
            "add them to the table: `gatepost azure template --format az` prints the command",
        );
    }
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED_MAX).map(AsRef::as_ref).collect();
    match names.len() {
        0 => "none".to_owned(),
        all if all > NAMED_MAX => format!("{} and {} more", shown.join(", "), all - NAMED_MAX),
        _ => shown.join(", "),
    }
}
