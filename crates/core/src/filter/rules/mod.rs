//! The rules in force, ready to decide.
//!
//! [`Rules::build`] makes them from everything that says something about rules, or reports every mistake at once; then
//! they never fail. An upload opens a [`Session`]: which rules apply to its sender is found once, which to a computer once
//! for each run of its events, and each event then costs a lookup by channel and id. Deciding allocates nothing once a
//! session has seen its first events.
//!
//! An event goes once to each output that any rule names for it, however many rules take it: Azure's own agent sends it, and
//! its owner pays for it, once for each rule.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Config, EventSet};
use crate::filter::xpath::Program;

mod draft;
mod hosts;
mod index;
mod session;
mod show;
mod wanted;

pub use draft::{Managed, ManagedRule, Material, Text, paired};
pub use hosts::Association;
pub use index::OUTPUTS_MAX;
pub use session::{Outcome, RouteSet, Session, Taken};
pub use show::{Explained, Shown, ShownQuery};
pub use wanted::Wanted;

use draft::{Draft, DraftQuery, listed};
use hosts::{Hosts, Mask};
use index::{Applying, Chosen, Index, Query, RouteTo};
use wanted::Written;

/// The rules, ready to use.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    hosts: Hosts,
    index: Index,
    routes: Vec<OfRule>,
    /// What is kept of hosts to which no rule applies.
    others: Others,
    /// What is to be said about the rules together.
    notes: Vec<String>,
    /// Its queries in words that a host understands.
    written: Written,
}

#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    /// It takes nothing, and applies to nobody.
    is_idle: bool,
    origin: Origin,
    associations: Vec<Association>,
    default: bool,
    warnings: Vec<String>,
}

impl Rule {
    fn of(draft: Draft) -> Self {
        let is_idle = draft.is_idle();
        let Draft { name, origin, associations, default, warnings, .. } = draft;
        Self { name: name.into(), is_idle, origin, associations, default, warnings }
    }
}

/// A route, and the rule it is of.
#[derive(Debug, PartialEq, Eq)]
struct OfRule {
    rule: usize,
    route: Route,
}

#[derive(Debug)]
enum Others {
    Everything,
    /// An event set: its queries, as the one rule of an index of their own.
    Set(Box<Index>, Mask),
}

/// Where a rule comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the configuration.
    Config,
    /// A data collection rule in a file.
    File {
        /// Its path.
        path: String,
    },
    /// A data collection rule that is kept over the admin plane.
    Managed {
        /// Its resource id.
        id: String,
    },
}

/// Where an event goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The output's name.
    pub output: Arc<str>,
    /// The stream that the rule names for it; `None`: the one it was uploaded to.
    pub stream: Option<Arc<str>>,
}

/// Why there are no rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is to be mended.
    pub place: Place,
    /// Azure's word for it where Azure has one.
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Where something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this key of the section `filter`.
    Key(String),
    /// In a resource that is kept over the admin plane.
    Resource {
        /// Its id.
        id: String,
        /// Where in it.
        target: String,
    },
}

impl Rules {
    /// Makes the rules, or says everything that is wrong with them.
    ///
    /// # Errors
    ///
    /// With every mistake of the configuration's rules, of the files that it names and of what is kept over the admin plane.
    pub fn build(material: &Material<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        check_workspaces(material, &mut problems);
        let drafts = draft::drafts(material, &mut problems);
        check_names(&drafts, &mut problems);
        if material.outputs.len() > OUTPUTS_MAX && !drafts.is_empty() {
            let message = format!("rules can feed {OUTPUTS_MAX} outputs; there are {}", material.outputs.len());
            problems.push(Problem { place: Place::Key("rules".to_owned()), code: "TooManyOutputs", message });
        }
        if problems.is_empty() { Ok(assemble(material, drafts)) } else { Err(problems) }
    }

    /// Rules of a configuration that names no files and no outputs: for tests and tools.
    pub fn of_event_set(event_set: EventSet) -> Self {
        let config = Config { event_set, ..Config::default() };
        let read: &dyn Fn(&std::path::Path) -> _ = &|_| Ok(Vec::new());
        let material = Material { config: &config, outputs: &[], read, managed: &Managed::default() };
        Self::build(&material).expect("an event set names nothing that could be missing")
    }
}

fn check_workspaces(material: &Material<'_>, problems: &mut Vec<Problem>) {
    for (n, entry) in material.config.workspaces.iter().enumerate() {
        if !material.outputs.contains(&entry.output) {
            let message = format!("{:?} is no output; there are {}", entry.output, listed(material.outputs));
            let place = Place::Key(format!("workspaces[{n}].output"));
            problems.push(Problem { place, code: "InvalidDestination", message });
        }
    }
}

fn check_names(drafts: &[Draft], problems: &mut Vec<Problem>) {
    for (n, draft) in drafts.iter().enumerate() {
        let Some(other) = drafts[..n].iter().find(|other| other.name == draft.name) else { continue };
        let message = format!(
            "the rule {:?} of {} has the name of one of {}; metrics could not tell them apart",
            draft.name, draft.origin, other.origin
        );
        let place = Place::Key(draft.section.map_or_else(|| "rules".to_owned(), |section| format!("rules[{section}]")));
        problems.push(Problem { place, code: "DuplicateName", message });
    }
}

/// What is to be said about the rules together.
fn notes(material: &Material<'_>, drafts: &[Draft], routes: &[OfRule]) -> Vec<String> {
    let mut notes = Vec::new();
    let for_every_host = |draft: &Draft| draft.default || draft.associations.contains(&Association::default());
    let some_get_all = material.config.event_set == EventSet::Everything && material.outputs.len() > 1;
    if !drafts.is_empty() && some_get_all && !drafts.iter().any(for_every_host) {
        notes.push(
            "hosts to which no rule applies send everything to every output; to change that, set filter.event_set, or add a rule with default = true".to_owned(),
        );
    }
    for output in material.outputs {
        let streams =
            routes.iter().filter(|of| *of.route.output == **output).filter_map(|of| of.route.stream.as_deref());
        let streams: BTreeSet<&str> = streams.collect();
        if streams.len() > 1 {
            let streams = streams.into_iter().collect::<Vec<_>>().join(", ");
            notes.push(format!(
                "output {output:?} gets events of several streams ({streams}) and feeds one table with all of them; to part them, give each stream an output in filter.workspaces"
            ));
        }
    }
    notes
}

fn assemble(material: &Material<'_>, drafts: Vec<Draft>) -> Rules {
    let outputs: Vec<Arc<str>> = material.outputs.iter().map(|name| name.as_str().into()).collect();
    let number = |name: &str| outputs.iter().position(|output| &**output == name).expect("drafts name known outputs");
    let mut routes: Vec<OfRule> = Vec::new();
    let mut queries = Vec::new();
    let mut rules = Vec::new();
    let mut associations = Vec::new();
    let mut rest = Vec::new();
    for (rule, draft) in drafts.iter().enumerate() {
        for query in &draft.queries {
            let numbers = query.routes.iter().map(|(output, stream)| {
                let output = Arc::clone(&outputs[number(output)]);
                let of = OfRule { rule, route: Route { output, stream: stream.as_deref().map(Arc::from) } };
                routes.iter().position(|known| *known == of).unwrap_or_else(|| {
                    routes.push(of);
                    routes.len() - 1
                })
            });
            let numbers = numbers.collect();
            queries.push(compile(rule, query, numbers));
        }
        // What takes nothing by mistake must not take its hosts away from other rules.
        if draft.default && !draft.is_idle() {
            rest.push(rule);
        } else if !draft.is_idle() {
            associations.extend(draft.associations.iter().map(|association| (rule, association.clone())));
        }
    }
    let notes = notes(material, &drafts, &routes);
    let written = Written::of(&drafts, material.config.event_set);
    rules.extend(drafts.into_iter().map(Rule::of));
    let alike = |output: &Arc<str>| {
        let mut streams = routes.iter().map(|of| &of.route).filter(|route| route.output == *output);
        let first = streams.next().map(|route| &route.stream);
        streams.all(|route| Some(&route.stream) == first)
    };
    let to = routes.iter().map(|of| RouteTo { output: number(&of.route.output), alike: alike(&of.route.output) });
    Rules {
        hosts: Hosts::new(rules.len(), associations, rest),
        index: Index::new(queries, to.collect()),
        rules,
        routes,
        others: others(material.config.event_set),
        notes,
        written,
    }
}

fn compile(rule: usize, query: &DraftQuery, routes: Vec<usize>) -> Query {
    let suppress = query.suppress.iter().map(|(channel, expr)| (channel.clone(), Program::compile(expr)));
    Query {
        rule,
        text: query.text.as_str().into(),
        channel: query.channel.clone(),
        stream: query.upload_stream.as_deref().map(Into::into),
        program: Program::compile(&query.expr),
        suppress: suppress.collect(),
        routes,
    }
}

fn others(event_set: EventSet) -> Others {
    if event_set == EventSet::Everything {
        return Others::Everything;
    }
    let queries = event_set.queries().into_iter().map(|text| {
        let query = crate::filter::xpath::channel_query(&text).expect("the built-in queries are sound");
        let draft = DraftQuery { channel: Some(query.channel), expr: query.expr, ..DraftQuery::everything(text) };
        compile(0, &draft, vec![0])
    });
    let only = Mask::of(1, [0]);
    Others::Set(Box::new(Index::new(queries.collect(), vec![RouteTo { output: 0, alike: true }])), only)
}

#[cfg(test)]
mod tests;
