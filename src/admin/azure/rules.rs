//! What the interface works on: the rules and associations that are kept, and how they are changed.
//!
//! The interface knows what a change means; whoever keeps the rules knows how to make it durable and live. So a change is
//! a function over everything that is kept: it is run alone, and what it answers is answered only once it is in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;

use super::error::Refusal;
use super::target::{Target, Thing};
use crate::filter::dcr::{self, DataCollectionRule, Severity};

/// Who keeps the rules; made by `app`.
pub trait RuleBook: Send + Sync + 'static {
    /// Everything that is kept, as it is now.
    fn shelf(&self) -> Arc<Shelf>;
    /// Runs a change, one at a time: validates the whole, makes it durable, puts it in force, then answers. Once begun it
    /// is brought to its end, also when nobody waits any more.
    fn change(&self, edit: Edit) -> BoxFuture<'_, Result<Answer, Refusal>>;
}

/// A change: what is to be written, given what is there.
pub type Edit = Box<dyn FnOnce(&Shelf) -> Result<Plan, Refusal> + Send>;

/// What a change comes to.
#[derive(Debug)]
pub struct Plan {
    /// In this order; between any two the whole must make sense, since a crash may fall there.
    pub writes: Vec<Write>,
    /// What to say when all is done.
    pub answer: Answer,
}

/// One resource that changes.
#[derive(Debug, Clone)]
pub enum Write {
    /// Make it, or replace it.
    Put(Arc<Entry>),
    /// Remove the one with this key.
    Delete(String),
}

/// A success.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// 200, 201 or 204.
    pub status: StatusCode,
    /// The resource, or a list of them.
    pub body: Option<Value>,
}

/// A resource as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its resource id, in the letter case of who made it.
    pub id: String,
    /// As it is answered, but for the warnings.
    pub resource: Value,
    /// What it says.
    pub meaning: Meaning,
}

/// What a resource says.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A data collection rule.
    Rule {
        /// As far as Gatepost acts on it.
        rule: DataCollectionRule,
        /// What its author should know.
        warnings: Vec<String>,
    },
    /// The association of a resource with a rule.
    Association {
        /// The resource, percent-decoded; its last segment is the host's name.
        resource_uri: String,
        /// The rule, in the letter case of the rule's own id.
        rule_id: String,
    },
}

/// Everything that is kept, by [`key`].
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    /// Rules.
    pub rules: BTreeMap<String, Arc<Entry>>,
    /// Associations.
    pub associations: BTreeMap<String, Arc<Entry>>,
}

/// What ids are compared by: Azure does not mind their letter case.
pub fn key(id: &str) -> String {
    id.to_lowercase()
}

impl Entry {
    /// Reads a resource as it is kept. The error says what is wrong with it.
    pub fn read(id: &str, resource: Value) -> Result<Self, Refusal> {
        let target = Target::of_id(id)?;
        let meaning = match &target.thing {
            Thing::Rule(name) => {
                let (rule, findings) = dcr::check(&resource, name);
                let Some(rule) = rule else { return Err(Refusal::invalid_rule(findings)) };
                let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning);
                let warnings = warnings.map(|warning| format!("{}: {}", warning.target, warning.message)).collect();
                Meaning::Rule { rule, warnings }
            }
            Thing::Association(_) => {
                let rule_id = resource["properties"]["dataCollectionRuleId"].as_str().unwrap_or_default().to_owned();
                Meaning::Association { resource_uri: target.scope, rule_id }
            }
            _ => return Err(Refusal::bad("InvalidResourceId", format!("{id:?} is neither a rule nor an association"))),
        };
        Ok(Self { id: id.to_owned(), resource, meaning })
    }

    /// The resource as it is answered: with warnings, where there are any.
    pub(super) fn shown(&self) -> Value {
        let mut resource = self.resource.clone();
        if let Meaning::Rule { warnings, .. } = &self.meaning
            && !warnings.is_empty()
        {
            resource["properties"]["metadata"] = serde_json::json!({ "gatepost": { "warnings": warnings } });
        }
        resource
    }
}

impl Shelf {
    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.associations.is_empty()
    }

    /// Whether it has a resource with this key.
    pub fn has(&self, key: &str) -> bool {
        self.rules.contains_key(key) || self.associations.contains_key(key)
    }

    /// Makes a change to what is kept.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Put(entry) => {
                let shelf = match entry.meaning {
                    Meaning::Rule { .. } => &mut self.rules,
                    Meaning::Association { .. } => &mut self.associations,
                };
                shelf.insert(key(&entry.id), Arc::clone(entry));
            }
            Write::Delete(key) => {
                self.rules.remove(key);
                self.associations.remove(key);
            }
        }
    }

    /// What removes a rule together with its associations, also one that is not on the shelf: what is left of it may be
    /// unreadable. The rule goes last: after a crash no association names a rule that is gone.
    pub fn removal(&self, rule_key: &str) -> Vec<Write> {
        let keys = self.associations_of(rule_key).map(|(key, _)| key.clone());
        keys.chain([rule_key.to_owned()]).map(Write::Delete).collect()
    }

    /// The ids of associations whose rule is missing, each with the id of that rule.
    pub fn orphans(&self) -> impl Iterator<Item = (&str, &str)> {
        self.associations.values().filter_map(|entry| match &entry.meaning {
            Meaning::Association { rule_id, .. } if !self.rules.contains_key(&key(rule_id)) => {
                Some((entry.id.as_str(), rule_id.as_str()))
            }
            _ => None,
        })
    }

    /// The associations with this rule.
    pub(super) fn associations_of(&self, rule_key: &str) -> impl Iterator<Item = (&String, &Arc<Entry>)> {
        self.associations.iter().filter(move |(_, entry)| match &entry.meaning {
            Meaning::Association { rule_id, .. } => key(rule_id) == rule_key,
            Meaning::Rule { .. } => false,
        })
    }
}
