//! Which tunnels are taken over: the tables of the configuration, compiled.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Leaves;
use crate::tunnel::allow_list::{AllowList, Rule, Verdict};
use crate::tunnel::clients::Identity;
use crate::tunnel::config::{self, Config};
use crate::tunnel::request::Authority;

/// The hosts that are taken over, and for whom.
#[derive(Debug, Default)]
pub(in crate::tunnel) struct TakeOvers {
    hosts: AllowList,
    tables: Vec<config::TakeOver>,
    leaves: Option<Arc<Leaves>>,
}

/// A tunnel that is taken over.
#[derive(Debug, Clone)]
pub(in crate::tunnel) struct Found {
    /// The table that says so, as a rule: its name, and what its ClientHello must be.
    pub(in crate::tunnel) rule: Arc<Rule>,
    /// The upload listener that gets it.
    pub(in crate::tunnel) input: String,
    /// Who makes certificates.
    pub(in crate::tunnel) leaves: Arc<Leaves>,
}

impl TakeOvers {
    /// Those of a configuration.
    pub(in crate::tunnel) fn new(config: &Config, leaves: Option<Arc<Leaves>>) -> Self {
        let rules: Vec<_> = config.take_over.iter().map(config::TakeOver::as_rule).collect();
        Self { hosts: AllowList::new(&rules, Config::DIRECT), tables: config.take_over.clone(), leaves }
    }

    /// Whether the tunnel that a client asks for is taken over.
    pub(in crate::tunnel) fn find(&self, asked: &Authority, client: &Identity) -> Option<Found> {
        self.first(asked, |group| client.groups().iter().any(|of| **of == *group))
    }

    /// Whether it would be if the client authenticated.
    pub(in crate::tunnel) fn might_find(&self, asked: &Authority, client: &Identity) -> bool {
        self.first(asked, |group| client.might_be_in(group)).is_some()
    }

    fn first(&self, asked: &Authority, is_in: impl Fn(&str) -> bool) -> Option<Found> {
        let leaves = self.leaves.as_ref()?;
        let may = |at: usize| self.tables[at].groups.iter().any(|group| is_in(group));
        let Verdict::Allowed(rule) = self.hosts.decide(asked, may) else { return None };
        let input = self.tables[rule.index].input.clone();
        Some(Found { rule, input, leaves: Arc::clone(leaves) })
    }

    /// What goes on, for the status page. `taken` tells how many tunnels a table has taken over.
    pub(in crate::tunnel) fn status(&self, taken: impl Fn(&str) -> u64) -> Value {
        let hosts = self.tables.iter().map(|table| {
            json!({
                "name": table.name,
                "hosts": table.hosts,
                "groups": table.groups,
                "input": table.input,
                "forced": table.force,
                "taken": taken(&table.name),
            })
        });
        let authorities = self.leaves.iter().flat_map(|leaves| leaves.facts()).map(|facts| {
            json!({
                "subject": facts.subject,
                "key": facts.key,
                "may_sign_for": facts.constraints.permitted(),
                "ends_s": facts.ends_s,
                "sha256": facts.sha256,
            })
        });
        json!({
            "hosts": hosts.collect::<Vec<_>>(),
            "authorities": authorities.collect::<Vec<_>>(),
            "certificates": self.leaves.as_ref().map_or(0, |leaves| leaves.kept_for()),
        })
    }

    /// Says in the log what is taken over.
    pub(in crate::tunnel) fn tell(&self) {
        for table in &self.tables {
            let config::TakeOver { name, hosts, groups, input, force } = table;
            tracing::warn!(
                name,
                ?hosts,
                ?groups,
                input,
                forced = force,
                "tunnels of these groups to these hosts end at this gateway, which answers in the hosts' name and reads what comes"
            );
        }
    }
}
