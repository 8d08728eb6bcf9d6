//! The rules for people: what there is, and why an event goes where it goes.

use serde::Serialize;

use super::{Applying, Origin, Place, Problem, Rules};
use crate::event::document::Document;
use crate::event::{Client, Event, Timestamp};
use crate::filter::xpath::View;

/// A rule, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Where it comes from: `configuration`, a file's path, or a resource id.
    pub origin: String,
    /// To which hosts it applies, in words.
    pub applies_to: String,
    /// The outputs that it feeds, with the stream if it names one.
    pub outputs: Vec<String>,
    /// What it takes.
    pub queries: Vec<ShownQuery>,
    /// What differs from what its author may expect.
    pub warnings: Vec<String>,
}

/// A query, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownQuery {
    /// As written.
    pub query: String,
    /// How many Suppress clauses limit it.
    #[serde(skip_serializing_if = "is_zero")]
    pub suppressed_by: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One query that takes an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The rule.
    pub rule: String,
    /// Its query.
    pub query: String,
    /// The output that gets the event through it.
    pub output: String,
    /// In which stream; that of the upload when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Whether the event goes by this way; else another rule takes it to the same output.
    pub goes: bool,
}

impl Rules {
    /// Every rule, in order.
    pub fn list(&self) -> Vec<Shown> {
        let shown = self.rules.iter().enumerate().map(|(number, rule)| Shown {
            name: rule.name.to_string(),
            origin: rule.origin.to_string(),
            applies_to: self.applies_to(number),
            outputs: self.routes.iter().filter(|of| of.rule == number).map(|of| of.route.to_string()).collect(),
            queries: (self.index.queries().iter().filter(|query| query.rule == number))
                .map(|query| ShownQuery { query: query.text.to_string(), suppressed_by: query.suppress.len() })
                .collect(),
            warnings: rule.warnings.clone(),
        });
        shown.collect()
    }

    /// How many rules there are.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// Everything that differs from what the authors of the rules may expect, each with the name of its rule.
    pub fn warnings(&self) -> impl Iterator<Item = (&str, &str)> {
        let of_rules = self.rules.iter().flat_map(|rule| rule.warnings.iter().map(|warning| (&*rule.name, &**warning)));
        of_rules.chain(self.notes.iter().map(|note| ("filter", &**note)))
    }

    /// The names of the rules that apply to this computer's events when this client uploads them.
    pub fn applying(&self, client: &Client, computer: &str) -> Vec<&str> {
        let mut sender = self.hosts.of_sender(client);
        let mask = sender.rules_for(&self.hosts, computer);
        (self.rules.iter().enumerate()).filter(|(n, _)| mask.has(*n)).map(|(_, rule)| &*rule.name).collect()
    }

    /// Every query that takes an event, whether or not it matters.
    pub fn explain(&self, client: &Client, stream: &str, now: Timestamp, event: &Event<'_>) -> Vec<Explained> {
        let mut sender = self.hosts.of_sender(client);
        let computer = event.fields.computer.as_deref().unwrap_or_default();
        let mask = sender.rules_for(&self.hosts, computer);
        let mut document = Document::default();
        let mut view = View::new(event, now, &mut document);
        if mask.is_empty() {
            return Vec::new();
        }
        let applying = Applying { rules: mask, stream };
        let mut chosen = super::Chosen::default();
        self.index.take(&mut view, &applying, &mut chosen);
        let goes: Vec<usize> = chosen.routes().collect();
        let mut explained = Vec::new();
        let sees = |query: &&super::Query| applying.has(query) && query.sees(event.fields.channel.as_deref());
        for query in self.index.queries().iter().filter(sees) {
            if !query.takes(&mut view) {
                continue;
            }
            explained.extend(query.routes.iter().map(|&route| {
                let of = &self.routes[route];
                Explained {
                    rule: self.rules[query.rule].name.to_string(),
                    query: query.text.to_string(),
                    output: of.route.output.to_string(),
                    stream: of.route.stream.as_deref().map(str::to_owned),
                    goes: goes.contains(&route),
                }
            }));
        }
        explained
    }

    fn applies_to(&self, number: usize) -> String {
        let rule = &self.rules[number];
        if rule.is_idle {
            return "no host: it takes nothing".to_owned();
        }
        if rule.default {
            return "hosts to which no other rule applies".to_owned();
        }
        let each = rule.associations.iter().map(|association| {
            let lists = [
                ("named", association.hosts.clone()),
                ("in", association.networks.iter().map(ToString::to_string).collect()),
                ("with a certificate for", association.identities.clone()),
                ("in group", association.groups.clone()),
            ];
            let given = lists.iter().filter(|(_, list)| !list.is_empty());
            let words: Vec<String> = given.map(|(word, list)| format!("{word} {}", list.join(" or "))).collect();
            if words.is_empty() { "every host".to_owned() } else { format!("hosts {}", words.join(" and ")) }
        });
        let each: Vec<String> = each.collect();
        if each.is_empty() { "no host: it has no association".to_owned() } else { each.join("; ") }
    }
}

impl std::fmt::Display for super::Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.stream {
            Some(stream) => write!(f, "{} ({stream})", self.output),
            None => f.write_str(&self.output),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config => f.write_str("configuration"),
            Self::File { path } => f.write_str(path),
            Self::Managed { id } => f.write_str(id),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.place {
            Place::Key(key) => write!(f, "filter.{key}: {}", self.message),
            Place::Resource { id, target } => write!(f, "{id}: {target}: {}", self.message),
        }
    }
}
