//! From text to resources: the forms in which rules leave Azure.
//!
//! A GET and the portal's JSON view give the envelope with `properties`; `az … show` flattens it; lists are bare or in
//! `value`; an export is an ARM template, which may wrap a nested deployment. People also cut out the bare properties.

use std::collections::BTreeMap;

use serde_json::Value;

use super::findings::{Findings, code};
use super::node::Node;
use super::template::Given;
use super::{DataCollectionRule, Finding, Found, RULE_TYPE, check, template, text};
use crate::limits::DCR_RULES_MAX;

/// Reads every rule of a text in any of the forms in which Azure hands them out. `name` is for rules that tell none, `given`
/// for what a template does not tell. The findings of severity error are complete; with any of them no rule is returned.
pub fn read(text: &str, name: &str, given: &Given) -> (Vec<DataCollectionRule>, Vec<Finding>) {
    let mut findings = Findings::default();
    let rules = match text::parse(text) {
        Ok(document) => rules(document, name, given, &mut findings),
        Err(message) => {
            findings.error(code::CONTENT, "", message);
            Vec::new()
        }
    };
    let rules = if findings.refused() { Vec::new() } else { rules };
    (rules, findings.into_vec())
}

fn rules(document: Value, name: &str, given: &Given, findings: &mut Findings) -> Vec<DataCollectionRule> {
    let found = gather(document, given, findings);
    if found.len() > DCR_RULES_MAX {
        let message = format_args!("{} rules are more than {DCR_RULES_MAX}; split the file", found.len());
        findings.error(code::LIMIT, "", message);
        return Vec::new();
    }
    if found.is_empty() && !findings.refused() {
        let message = format_args!(
            "there is no data collection rule ({RULE_TYPE}) here; export one from Azure with \
                                    `az monitor data-collection rule show`"
        );
        findings.error(code::PAYLOAD, "", message);
    }
    let mut taken = BTreeMap::new();
    let mut rules = Vec::new();
    for Found { path, resource } in &found {
        let Some(rule) = check::rule(&Node::new(resource, path), name, findings) else { continue };
        let key = rule.id.as_deref().unwrap_or(&rule.name).to_lowercase();
        if let Some(first) = taken.insert(key, path.as_str()) {
            let message = format_args!("is called {:?} as is {}; give each rule a name", rule.name, place(first));
            findings.error(code::PAYLOAD, path, message);
        }
        rules.push(rule);
    }
    rules
}

fn place(path: &str) -> &str {
    if path.is_empty() { "the first" } else { path }
}

fn gather(document: Value, given: &Given, findings: &mut Findings) -> Vec<Found> {
    let is_template = document.get("resources").is_some();
    if !is_template && !given.is_empty() {
        let message = "this is no template, so parameters and a resource group have no effect on it";
        findings.warning(code::NO_EFFECT, "", message);
    }
    match document {
        Value::Array(items) => listed("", items, findings),
        document if is_template => template::rules(&document, given, findings),
        Value::Object(mut object) if object.get("value").is_some_and(Value::is_array) => {
            if object.get("nextLink").is_some_and(Value::is_string) {
                let message = "the list goes on at this address: export the other pages too";
                findings.warning(code::NO_EFFECT, "nextLink", message);
            }
            match object.remove("value") {
                Some(Value::Array(items)) => listed("value", items, findings),
                _ => Vec::new(),
            }
        }
        Value::Object(object) => {
            let rule_like = ["properties", "dataSources", "destinations", "dataFlows"];
            if rule_like.iter().any(|key| object.contains_key(*key)) {
                listed_one(Found { path: String::new(), resource: Value::Object(object) }, findings)
            } else {
                Vec::new()
            }
        }
        other => {
            // The finding says what it is instead.
            Node::new(&other, "").object(findings);
            Vec::new()
        }
    }
}

fn listed(path: &str, items: Vec<Value>, findings: &mut Findings) -> Vec<Found> {
    let items = items.into_iter().enumerate();
    items.flat_map(|(n, resource)| listed_one(Found { path: format!("{path}[{n}]"), resource }, findings)).collect()
}

/// The resource if it is a rule, or tells no type.
fn listed_one(found: Found, findings: &mut Findings) -> Vec<Found> {
    match found.resource.get("type").and_then(Value::as_str) {
        Some(other) if !other.eq_ignore_ascii_case(RULE_TYPE) => {
            let message = format_args!("is a {other}, no data collection rule, and has no effect here");
            findings.warning(code::NO_EFFECT, &found.path, message);
            Vec::new()
        }
        _ => vec![found],
    }
}
