//! Rules as they are written, brought into one form: from the configuration, from files of Azure, from the admin plane.

use std::collections::HashMap;
use std::io;
use std::path::Path;

mod azure;
mod templates;

pub use templates::paired;

use azure::{Namesakes, from_azure, group_and_name};

use super::hosts::Association;
use super::{Origin, Place, Problem};
use crate::faults::unread;
use crate::filter::EventSet;
use crate::filter::config::{Config, RuleConfig};
use crate::filter::dcr::{self, DataCollectionRule, Finding, Given, Severity};
use crate::filter::xpath::ast::{Axis, Expr, LocationPath, NodeTest, Operand, Step};
use crate::filter::xpath::{self, QueryList, Selector};

/// What rules are made of.
pub struct Material<'a> {
    /// The section of the configuration.
    pub config: &'a Config,
    /// The names of the configured outputs.
    pub outputs: &'a [String],
    /// Reads a file, or all of a folder.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<Text>>,
    /// What is kept over the admin plane.
    pub managed: &'a Managed,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its path, for messages.
    pub path: String,
    /// Its name without extension, for rules that tell none.
    pub stem: String,
    /// What it holds.
    pub text: String,
}

/// A rule that is kept over the admin plane.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ManagedRule {
    /// Its resource id.
    pub id: String,
    /// What it says.
    pub rule: DataCollectionRule,
    /// What was said when it was read.
    pub warnings: Vec<String>,
}

/// Rules and associations that are kept over the admin plane.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Managed {
    /// In order of their ids.
    pub rules: Vec<ManagedRule>,
    /// Each with the host name pattern and the resource id of its rule.
    pub associations: Vec<(String, String)>,
}

/// An output, and the stream that the rule names for it.
pub(in crate::filter::rules) type Way = (String, Option<String>);

/// A rule in the one form.
pub(in crate::filter::rules) struct Draft {
    pub(in crate::filter::rules) name: String,
    /// Which of `filter.rules` it stands in.
    pub(in crate::filter::rules) section: Option<usize>,
    pub(in crate::filter::rules) origin: Origin,
    pub(in crate::filter::rules) queries: Vec<DraftQuery>,
    pub(in crate::filter::rules) associations: Vec<Association>,
    pub(in crate::filter::rules) default: bool,
    pub(in crate::filter::rules) warnings: Vec<String>,
}

/// One query of a rule, and where its events go.
pub(in crate::filter::rules) struct DraftQuery {
    /// As written, for people.
    pub(in crate::filter::rules) text: String,
    pub(in crate::filter::rules) channel: Option<Box<str>>,
    pub(in crate::filter::rules) expr: Expr,
    pub(in crate::filter::rules) suppress: Vec<(Option<Box<str>>, Expr)>,
    /// Only what was uploaded to this stream.
    pub(in crate::filter::rules) upload_stream: Option<String>,
    /// Outputs, each with the stream.
    pub(in crate::filter::rules) routes: Vec<Way>,
}

impl DraftQuery {
    /// A query that takes every record, and sends it nowhere yet.
    pub(in crate::filter::rules) fn everything(text: String) -> Self {
        let step = Step { axis: Axis::Child, test: NodeTest::Any, predicates: Vec::new() };
        let expr = Expr::Holds(Operand::Path(LocationPath { steps: vec![step] }));
        Self { text, channel: None, expr, suppress: Vec::new(), upload_stream: None, routes: Vec::new() }
    }
}

impl Draft {
    /// Whether it takes nothing because nothing in it is for Gatepost; an event set of nothing is meant.
    pub(in crate::filter::rules) fn is_idle(&self) -> bool {
        self.queries.is_empty() && !matches!(self.origin, Origin::Config)
    }
}

/// All rules, in order: those of the configuration first.
pub(in crate::filter::rules) fn drafts(material: &Material<'_>, problems: &mut Vec<Problem>) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut namesakes = Namesakes::new();
    for (n, rule) in material.config.rules.iter().enumerate() {
        let mut wrong = |key: &str, message: String| {
            problems.push(Problem { place: Place::Key(format!("rules[{n}].{key}")), code: "InvalidRule", message });
        };
        if let Some(file) = &rule.file {
            let given = templates::given(material, rule, &mut wrong);
            let texts = read(material, file, &mut |message| wrong("file", message));
            for template in paired(texts, &given, |message| wrong("file", message)) {
                let found = from_file(material, rule, &template, &mut namesakes, &mut |message| wrong("file", message));
                drafts.extend(found.into_iter().map(|draft| Draft { section: Some(n), ..draft }));
            }
        } else {
            let draft = from_config(material, rule, &mut wrong);
            drafts.extend(draft.map(|draft| Draft { section: Some(n), ..draft }));
        }
    }
    let mut hosts_of: HashMap<String, Vec<Association>> = HashMap::new();
    for (host, rule) in &material.managed.associations {
        let association = Association { hosts: vec![host.clone()], ..Association::default() };
        hosts_of.entry(rule.to_ascii_lowercase()).or_default().push(association);
    }
    for ManagedRule { id, rule, warnings } in &material.managed.rules {
        let associations = hosts_of.remove(&id.to_ascii_lowercase()).unwrap_or_default();
        let mut findings = Vec::new();
        let origin = Origin::Managed { id: id.clone() };
        let mut draft = from_azure(material, rule, origin, &mut namesakes, &mut findings);
        // Names repeat over subscriptions; metrics must tell them apart.
        draft.name = Some(group_and_name(id))
            .filter(|name| drafts.iter().all(|other| other.name != *name))
            .unwrap_or_else(|| id.clone());
        draft.associations = associations;
        draft.warnings.splice(0..0, warnings.iter().cloned());
        for Finding { severity, code, target, message } in findings {
            match severity {
                Severity::Warning => draft.warnings.push(format!("{target}: {message}")),
                Severity::Error => {
                    problems.push(Problem { place: Place::Resource { id: id.clone(), target }, code, message });
                }
            }
        }
        drafts.push(draft);
    }
    drafts
}

fn read(material: &Material<'_>, path: &Path, wrong: &mut dyn FnMut(String)) -> Vec<Text> {
    match (material.read)(path) {
        Ok(texts) => texts,
        Err(error) => {
            wrong(format!("{} {}", path.display(), unread(&error)));
            Vec::new()
        }
    }
}

fn from_file(
    material: &Material<'_>,
    rule: &RuleConfig,
    (text, given): &(Text, Given),
    namesakes: &mut Namesakes,
    wrong: &mut dyn FnMut(String),
) -> Vec<Draft> {
    let (rules, findings) = dcr::read(&text.text, &text.stem, given);
    let mut warnings = Vec::new();
    let mut sort = |finding: Finding, warnings: &mut Vec<String>| {
        let said = format!("{}: {}: {}", text.path, finding.target, finding.message);
        match finding.severity {
            Severity::Error => wrong(said),
            Severity::Warning => warnings.push(said),
        }
    };
    findings.into_iter().for_each(|finding| sort(finding, &mut warnings));
    let mut drafts: Vec<Draft> = Vec::new();
    for azure in &rules {
        let mut findings = Vec::new();
        let origin = Origin::File { path: text.path.clone() };
        let mut draft = from_azure(material, azure, origin, namesakes, &mut findings);
        findings.into_iter().for_each(|finding| sort(finding, &mut draft.warnings));
        draft.associations = vec![association(rule)];
        draft.default = rule.default;
        drafts.push(draft);
    }
    if let Some(first) = drafts.first_mut() {
        first.warnings.splice(0..0, warnings);
    }
    drafts
}

fn from_config(material: &Material<'_>, rule: &RuleConfig, wrong: &mut dyn FnMut(&str, String)) -> Option<Draft> {
    for (n, output) in rule.outputs.iter().enumerate() {
        if !material.outputs.contains(output) {
            wrong(&format!("outputs[{n}]"), format!("{output:?} is no output; there are {}", listed(material.outputs)));
        }
    }
    let routes: Vec<Way> = rule.outputs.iter().map(|output| (output.clone(), None)).collect();
    let mut warnings = Vec::new();
    let mut queries = Vec::new();
    let texts = rule.event_set.map_or_else(|| rule.queries.clone(), EventSet::queries);
    if rule.event_set == Some(EventSet::Everything) {
        queries.push(DraftQuery { routes: routes.clone(), ..DraftQuery::everything("*".to_owned()) });
    }
    for text in texts {
        // Queries that cannot be read have been reported with the section.
        let Ok(query) = xpath::channel_query(&text) else { continue };
        if rule.event_set.is_none() {
            let said = xpath::lint(Some(&query.channel), &query.expr);
            warnings.extend(said.into_iter().map(|warning| format!("{text}: {}", warning.message)));
        }
        queries.push(DraftQuery {
            channel: xpath::told_channel(&query.channel).map(Box::from),
            expr: query.expr,
            routes: routes.clone(),
            ..DraftQuery::everything(text)
        });
    }
    if let Some(file) = &rule.query_list {
        for text in read(material, file, &mut |message| wrong("query_list", message)) {
            match QueryList::parse(&text.text) {
                Err(error) => wrong("query_list", format!("{}: {}", text.path, xpath::near(&text.text, &error))),
                Ok(list) => queries.extend(from_query_list(list, &routes, &mut warnings)),
            }
        }
    }
    Some(Draft {
        name: rule.name.clone()?,
        section: None,
        origin: Origin::Config,
        queries,
        associations: vec![association(rule)],
        default: rule.default,
        warnings,
    })
}

fn from_query_list(list: QueryList, routes: &[Way], warnings: &mut Vec<String>) -> Vec<DraftQuery> {
    let mut queries = Vec::new();
    for query in list.queries {
        let mut read = |selector: Selector| {
            let text = match &selector.channel {
                Some(channel) => format!("{channel}!{}", selector.text),
                None => selector.text.to_string(),
            };
            let said = xpath::lint(selector.channel.as_deref(), &selector.expr);
            warnings.extend(said.into_iter().map(|warning| format!("{text}: {}", warning.message)));
            let channel = selector.channel.as_deref().and_then(xpath::told_channel).map(Box::from);
            (text, channel, selector.expr)
        };
        let suppress: Vec<_> =
            query.suppresses.into_iter().map(&mut read).map(|(_, channel, expr)| (channel, expr)).collect();
        queries.extend(query.selects.into_iter().map(&mut read).map(|(text, channel, expr)| DraftQuery {
            channel,
            expr,
            suppress: suppress.clone(),
            routes: routes.to_vec(),
            ..DraftQuery::everything(text)
        }));
    }
    queries
}

fn association(rule: &RuleConfig) -> Association {
    Association {
        hosts: rule.hosts.clone(),
        networks: rule.networks.clone(),
        identities: rule.identities.clone(),
        groups: rule.groups.clone(),
    }
}

/// Names in quotes, for messages.
pub(in crate::filter::rules) fn listed(names: &[String]) -> String {
    match names {
        [] => "none; add it to [[outputs]]".to_owned(),
        names => names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
    }
}
