//! `dataSources`: where events come from, and which of them.

use serde_json::Value;

use super::super::Source;
use super::super::findings::{Findings, NoSuch, code};
use super::super::node::Node;
use super::super::unknown;
use super::{Unique, is_stream, transforms, within};
use crate::filter::xpath::{ChannelQuery, channel_query, lint, near};

/// Azure's limits in one rule.
const SOURCES: usize = 10;
const QUERIES: usize = 100;

/// What the sources of a rule come to.
pub(super) struct Sources<'v> {
    pub(super) windows: Vec<Source>,
    /// Every stream that some source feeds, also one that Gatepost does not read.
    pub(super) fed: Vec<&'v str>,
    /// Something is so wrong that `fed` may be short of a stream; to complain about flows too would mislead.
    pub(super) unsure: bool,
}

/// Reads `dataSources`.
pub(super) fn read<'v>(properties: &Node<'v>, declared: &[&'v str], findings: &mut Findings) -> Sources<'v> {
    let mut reader =
        Reader { declared, names: Unique::default(), fed: Vec::new(), unsure: false, count: 0, queries: 0 };
    let mut windows = Vec::new();
    let Some(node) = properties.get("dataSources") else { return Sources { windows, fed: Vec::new(), unsure: false } };
    for key in node.object(findings).into_iter().flat_map(|object| object.keys()) {
        let Some(sources) = node.get(key) else { continue };
        if key == "windowsEventLogs" {
            reader.unsure |= !sources.value.is_array();
            windows = sources.items(findings).filter_map(|source| reader.windows(&source, findings)).collect();
        } else {
            reader.other(&sources, findings);
        }
    }
    reader.unsure |= !node.value.is_object();
    within(SOURCES, reader.count, "data sources", &node.path, findings);
    within(QUERIES, reader.queries, "XPath queries", &node.at("windowsEventLogs"), findings);
    reader.fed.sort_unstable();
    reader.fed.dedup();
    Sources { windows, fed: reader.fed, unsure: reader.unsure }
}

struct Reader<'v, 'd> {
    /// Sorted.
    declared: &'d [&'v str],
    names: Unique<'v>,
    fed: Vec<&'v str>,
    unsure: bool,
    count: usize,
    queries: usize,
}

impl<'v> Reader<'v, '_> {
    fn windows(&mut self, source: &Node<'v>, findings: &mut Findings) -> Option<Source> {
        self.count += 1;
        self.unsure |= !source.value["streams"].is_array();
        source.object(findings)?;
        source.only(&["name", "streams", "xPathQueries", "transformKql", "transform"], findings);
        transforms(source, &["transformKql", "transform"], findings);
        let name_node = source.need("name", "give the source a name that no other of the rule has", findings);
        let name = name_node.as_ref().and_then(|node| node.label(findings));
        if let (Some(node), Some(name)) = (&name_node, name) {
            self.names.claim(name, node, findings);
        }
        let streams = self.streams(source, findings);
        let queries = self.queries(source, findings);
        Some(Source { name: unknown::shown(name?).into_owned(), streams, queries })
    }

    fn streams(&mut self, source: &Node<'v>, findings: &mut Findings) -> Vec<String> {
        let right = "write a list of streams, such as [\"Microsoft-SecurityEvent\"]";
        let Some(node) = source.need("streams", right, findings) else { return Vec::new() };
        let mut streams = Vec::new();
        let mut empty = true;
        for item in node.items(findings) {
            empty = false;
            let Some(stream) = item.word(findings) else { continue };
            if !is_stream(stream) {
                let message = format_args!(
                    "{stream:?} is no stream; Windows events have Microsoft-SecurityEvent, Microsoft-WindowsEvent and \
                     Microsoft-Event"
                );
                findings.error(code::STREAM, &item.path, message);
            } else if stream.starts_with("Custom-") && self.declared.binary_search(&stream).is_err() {
                let message = NoSuch { what: "is not in streamDeclarations", name: stream, known: self.declared };
                findings.error(code::STREAM, &item.path, message);
            }
            self.fed.push(stream);
            streams.push(stream.to_owned());
        }
        if empty && node.value.is_array() {
            findings.error(code::STREAM, &node.path, format_args!("is empty; {right}"));
        }
        streams
    }

    fn queries(&mut self, source: &Node<'v>, findings: &mut Findings) -> Vec<(String, ChannelQuery)> {
        let right = "write a list of queries, such as [\"Security!*[System[(EventID=4624)]]\"]";
        let Some(node) = source.need("xPathQueries", right, findings) else { return Vec::new() };
        let mut queries = Vec::new();
        let mut empty = true;
        for item in node.items(findings) {
            empty = false;
            self.queries += 1;
            let Some(text) = item.word(findings) else { continue };
            match channel_query(text) {
                Ok(query) => {
                    for warning in lint(Some(&query.channel), &query.expr) {
                        findings.warning(code::LINT, &item.path, warning.message);
                    }
                    queries.push((text.to_owned(), query));
                }
                Err(error) => findings.error(code::QUERY, &item.path, near(text, &error)),
            }
        }
        if empty && node.value.is_array() {
            findings.error(code::PAYLOAD, &node.path, format_args!("is empty; {right}"));
        }
        queries
    }

    /// Sources that Gatepost does not read still have names and feed streams, so the rest of the rule can be checked.
    fn other(&mut self, sources: &Node<'v>, findings: &mut Findings) {
        let items: Vec<&'v Value> = match sources.value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => vec![sources.value],
        };
        if items.is_empty() {
            return;
        }
        self.count += items.len();
        let message = "is not implemented and has no effect here: Gatepost reads windowsEventLogs";
        findings.warning(code::NOT_IMPLEMENTED, &sources.path, message);
        for item in items {
            if let Some(name) = item["name"].as_str() {
                self.names.claim(name, sources, findings);
            }
            let streams = item["streams"].as_array().into_iter().flatten();
            self.fed.extend(streams.chain([&item["stream"]]).filter_map(Value::as_str));
        }
    }
}
