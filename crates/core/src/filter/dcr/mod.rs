//! Azure data collection rules: the resource as Azure writes it, read and checked.
//!
//! A rule is taken whole or refused whole, and every problem is told at once, in Azure's words and at the place that Azure
//! would point at. What Azure takes and Gatepost does not act on is a warning: a part of a rule that is passed over in
//! silence is a promise broken in silence.
//!
//! [`read`] takes a text in any form in which rules leave Azure, templates with what is [`Given`] to them; [`check()`] takes one
//! resource.

mod check;
mod document;
mod findings;
mod node;
mod template;
mod text;
mod unknown;

use serde::Serialize;
use serde_json::Value;

pub use check::check;
pub use document::read;
pub use template::Given;

use super::xpath::ChannelQuery;

/// The type of the resources that are read.
const RULE_TYPE: &str = "Microsoft.Insights/dataCollectionRules";

/// The type of the resources that tie rules to machines.
const ASSOCIATION_TYPE: &str = "Microsoft.Insights/dataCollectionRuleAssociations";

/// A resource that should be a rule, and where it stands.
struct Found {
    path: String,
    resource: Value,
}

/// Something that is to be said about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether the rule cannot be used as it is, or only differs from what its author may expect.
    pub severity: Severity,
    /// Azure's word for it where Azure has one, such as `InvalidStream`.
    pub code: &'static str,
    /// Where, as Azure points: `properties.dataFlows[0].streams[0]`.
    pub target: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rule is refused.
    Error,
    /// The rule is used, and this is said wherever it is shown.
    Warning,
}

/// A data collection rule, as far as Gatepost acts on it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DataCollectionRule {
    /// Its resource id when it has one (with a leading slash).
    pub id: Option<String>,
    /// Its name.
    pub name: String,
    /// The names of `streamDeclarations`, such as `Custom-Fw`, sorted: events may be uploaded to these.
    pub declared: Vec<String>,
    /// `dataSources.windowsEventLogs`.
    pub sources: Vec<Source>,
    /// `destinations.logAnalytics`.
    pub destinations: Vec<Destination>,
    /// `dataFlows`.
    pub flows: Vec<Flow>,
}

/// One of `dataSources.windowsEventLogs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Unique in the rule.
    pub name: String,
    /// The streams it feeds.
    pub streams: Vec<String>,
    /// As written, and read.
    pub queries: Vec<(String, ChannelQuery)>,
}

/// One of `destinations.logAnalytics`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destination {
    /// How flows call it.
    pub name: String,
    /// The workspace's resource id.
    pub workspace_resource_id: Option<String>,
    /// The workspace's GUID, which only Azure writes.
    pub workspace_id: Option<String>,
}

/// One of `dataFlows`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flow {
    /// What it takes.
    pub streams: Vec<String>,
    /// Names of destinations.
    pub destinations: Vec<String>,
    /// The stream of the table it is for; `None`: that of its source.
    pub output_stream: Option<String>,
}

#[cfg(test)]
mod tests;
