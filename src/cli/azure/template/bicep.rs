//! The plan as a Bicep file.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::{ROLE, ROLE_NAME};
use super::az;
use super::output::{Piece, pieces};
use super::plan::Plan;
use super::rule::{Hole, properties};

/// The file.
pub(super) fn text(plan: &Plan) -> String {
    let mut out = format!(
        "// What Gatepost needs in Azure. Deploy it into the resource group of the rule:\n//   {}\n",
        az::deployment(plan, "gatepost.bicep")
    );
    out.push_str("// Then print the outputs for the configuration of Gatepost:\n");
    writeln!(out, "//   {}\n", az::printed(plan)).expect("a String takes all");
    parameters(plan, &mut out);
    if plan.endpoint {
        endpoint(plan, &mut out);
    }
    columns(plan, &mut out);
    rule(plan, &mut out);
    role(&mut out);
    outputs(plan, &mut out);
    out
}

fn parameters(plan: &Plan, out: &mut String) {
    let location = plan.location.as_deref().map_or("resourceGroup().location".to_owned(), quoted);
    let workspace = plan.workspace.as_ref().map_or_else(String::new, |workspace| match &workspace.id {
        Some(id) => format!(" = {}", quoted(id)),
        None => format!(" = resourceId('Microsoft.OperationalInsights/workspaces', {})", quoted(&workspace.name)),
    });
    let principal = quoted(plan.principal.as_deref().unwrap_or_default());
    let name = quoted(&plan.name);
    *out += &format!(
        "@description('The name of the data collection rule.')\nparam name string = {name}\n\n\
         @description('The region; it must be the workspace\\'s.')\nparam location string = {location}\n\n\
         @description('The resource id of the workspace.')\nparam workspaceResourceId string{workspace}\n\n\
         @description('The object id of who uploads: a service principal or a managed identity. Empty: no role is assigned.')\n\
         param principalId string = {principal}\n\n"
    );
}

fn endpoint(plan: &Plan, out: &mut String) {
    let name = quoted(&plan.name);
    *out += &format!(
        "resource endpoint 'Microsoft.Insights/dataCollectionEndpoints@2023-03-11' = {{\n  name: {name}\n  location: location\n  \
         properties: {{\n    networkAcls: {{\n      publicNetworkAccess: 'Enabled'\n    }}\n  }}\n}}\n\n"
    );
}

fn columns(plan: &Plan, out: &mut String) {
    if plan.workspace_is_elsewhere() {
        out.push_str("// The workspace is in another resource group: add the columns to its tables with\n");
        for line in az::table_commands(plan).lines() {
            writeln!(out, "//   {line}").expect("a String takes all");
        }
        out.push('\n');
        return;
    }
    out.push_str("resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' existing = {\n  name: last(split(workspaceResourceId, '/'))\n}\n\n");
    out.push_str("// Name every custom column that the table has: those that are not named may go.\n");
    for stream in plan.streams.iter().filter(|stream| !stream.extras().is_empty()) {
        let table = stream.table.name();
        let mut lines = String::new();
        for (name, kind) in stream.extras() {
            let kind = az::table_type(kind);
            writeln!(lines, "        {{ name: {}, type: '{kind}' }}", quoted(name)).expect("a String takes all");
        }
        *out += &format!(
            "resource table{table} 'Microsoft.OperationalInsights/workspaces/tables@2022-10-01' = {{\n  parent: workspace\n  \
             name: '{table}'\n  properties: {{\n    schema: {{\n      name: '{table}'\n      columns: [\n{lines}      ]\n    }}\n  }}\n}}\n\n"
        );
    }
}

fn rule(plan: &Plan, out: &mut String) {
    let after: String = plan
        .streams
        .iter()
        .filter(|stream| !plan.workspace_is_elsewhere() && !stream.extras().is_empty())
        .map(|stream| format!("    table{}\n", stream.table.name()))
        .collect();
    let depends = if after.is_empty() { String::new() } else { format!("  dependsOn: [\n{after}  ]\n") };
    let body = literal(&properties(plan), 2);
    *out += &format!(
        "resource rule 'Microsoft.Insights/dataCollectionRules@2023-03-11' = {{\n  name: name\n  location: location\n  \
         kind: 'Direct'\n  properties: {body}\n{depends}}}\n\n"
    );
}

fn role(out: &mut String) {
    *out += &format!(
        "// {ROLE_NAME}, on the rule alone. It may take half an hour to act.\n\
         resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(principalId)) {{\n  \
         name: guid(rule.id, principalId, '{ROLE}')\n  scope: rule\n  properties: {{\n    \
         roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{ROLE}')\n    \
         principalId: principalId\n    principalType: 'ServicePrincipal'\n  }}\n}}\n\n"
    );
}

fn outputs(plan: &Plan, out: &mut String) {
    let url = if plan.endpoint {
        "endpoint.properties.logsIngestion.endpoint"
    } else {
        "rule.properties.endpoints.logsIngestion"
    };
    let text: String = pieces(plan)
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => escaped(text),
            Piece::Dcr => "${rule.properties.immutableId}".to_owned(),
            Piece::Url => format!("${{{url}}}"),
        })
        .collect();
    *out += &format!(
        "output dcr string = rule.properties.immutableId\noutput url string = {url}\n\n\
         @description('The outputs for the configuration of Gatepost.')\noutput gatepost string = '{text}'\n"
    );
}

/// A JSON value as Bicep writes it, with its holes filled by names.
fn literal(value: &Value, indent: usize) -> String {
    let pad = " ".repeat(indent + 2);
    let end = " ".repeat(indent);
    match value {
        Value::String(text) => match Hole::of(text) {
            Some(Hole::Workspace) => "workspaceResourceId".to_owned(),
            Some(Hole::Endpoint) => "endpoint.id".to_owned(),
            None => quoted(text),
        },
        Value::Array(items) => {
            let lines: String = items.iter().map(|item| format!("{pad}{}\n", inline(item, indent + 2))).collect();
            format!("[\n{lines}{end}]")
        }
        Value::Object(map) => {
            let lines: String = map
                .iter()
                .map(|(name, value)| format!("{pad}{}: {}\n", key(name), literal(value, indent + 2)))
                .collect();
            format!("{{\n{lines}{end}}}")
        }
        other => other.to_string(),
    }
}

/// An object of a list: in one line when it has only texts without holes.
fn inline(value: &Value, indent: usize) -> String {
    match value {
        Value::Object(map) if map.values().all(|value| value.as_str().is_some_and(|text| Hole::of(text).is_none())) => {
            let fields: Vec<String> =
                map.iter().map(|(name, value)| format!("{}: {}", key(name), literal(value, 0))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => literal(other, indent),
    }
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    format!("'{}'", escaped(text))
}

/// As Bicep wants texts between single quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '$' if chars.peek() == Some(&'{') => out.push_str("\\$"),
            c => out.push(c),
        }
    }
    out
}
