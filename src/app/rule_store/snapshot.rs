//! What is kept, in the form in which it is compiled.

use super::{Meaning, Shelf, key};
use crate::filter::dcr::Finding;
use crate::filter::rules::ManagedRule;

/// Rules and associations at one moment, both sorted by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::app) struct Snapshot {
    /// The rules, with what is to be said about them.
    pub(in crate::app) rules: Vec<ManagedRule>,
    /// Which hosts they are for.
    pub(in crate::app) associations: Vec<Association>,
}

/// One association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Association {
    /// Its resource id.
    pub(in crate::app) id: String,
    /// The resource that the rule is for.
    pub(in crate::app) resource_uri: String,
    /// The last segment of `resource_uri`: the host's name, which may hold `*`.
    pub(in crate::app) host: String,
    /// The id of a rule of the same snapshot.
    pub(in crate::app) rule_id: String,
}

/// Who validates a snapshot together with everything else that is in force, and swaps it in.
pub(in crate::app) trait Activate: Send + Sync + 'static {
    /// Validates and compiles, and changes nothing yet. Findings of severity error are the reason why not.
    fn prepare(&self, snapshot: &Snapshot) -> Result<Commit, Vec<Finding>>;
}

/// Puts in force what was prepared.
pub(in crate::app) type Commit = Box<dyn FnOnce() + Send>;

impl Snapshot {
    pub(super) fn of(shelf: &Shelf) -> Self {
        let mut snapshot = Self::default();
        for entry in shelf.rules.values().chain(shelf.associations.values()) {
            match &entry.meaning {
                Meaning::Rule { rule, warnings } => snapshot.rules.push(ManagedRule {
                    id: entry.id.clone(),
                    rule: rule.clone(),
                    warnings: warnings.clone(),
                }),
                // Of one whose rule is missing the store tells.
                Meaning::Association { rule_id, .. } if !shelf.rules.contains_key(&key(rule_id)) => {}
                Meaning::Association { resource_uri, rule_id } => snapshot.associations.push(Association {
                    id: entry.id.clone(),
                    resource_uri: resource_uri.clone(),
                    host: resource_uri.rsplit('/').next().unwrap_or_default().to_owned(),
                    rule_id: rule_id.clone(),
                }),
            }
        }
        snapshot.rules.sort_by(|a, b| a.id.cmp(&b.id));
        snapshot.associations.sort_by(|a, b| a.id.cmp(&b.id));
        snapshot
    }
}
