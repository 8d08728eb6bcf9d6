//! What the rules want of a host, as queries that the host itself can run: who is asked to send can leave the rest at home.
//!
//! Nothing that a rule takes is left out; what is asked for may be more than is kept, because the same rules judge it again
//! when it comes.

use super::Rules;
use super::draft::Draft;
use super::hosts::Mask;
use crate::event::Client;
use crate::filter::EventSet;
use crate::filter::xpath::channel_query;

/// What is wanted of one channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The channel.
    pub channel: Box<str>,
    /// The XPath of the events.
    pub select: Box<str>,
    /// The XPaths of those among them that are not wanted.
    pub suppresses: Vec<Box<str>>,
}

/// The queries of every rule, as they can be written to a host.
#[derive(Debug, Default)]
pub(super) struct Written {
    of_rules: Vec<(usize, Wanted)>,
    /// For hosts to which no rule applies.
    others: Vec<Wanted>,
}

impl Written {
    pub(super) fn of(drafts: &[Draft], others: EventSet) -> Self {
        let of_rules = drafts.iter().enumerate().flat_map(|(rule, draft)| {
            draft.queries.iter().flat_map(move |query| {
                let select = query.expr.to_string();
                let on = |channel: &str| {
                    let of_channel = query.suppress.iter().filter(|(suppressed, _)| {
                        suppressed.as_deref().is_none_or(|suppressed| suppressed.eq_ignore_ascii_case(channel))
                    });
                    let suppresses = of_channel.map(|(_, expr)| expr.to_string().into()).collect();
                    Wanted { channel: channel.into(), select: select.as_str().into(), suppresses }
                };
                let wanted: Vec<Wanted> = match query.channel.as_deref() {
                    Some(channel) => vec![on(channel)],
                    None => audited().iter().map(|all| on(&all.channel)).collect(),
                };
                wanted.into_iter().map(move |wanted| (rule, wanted))
            })
        });
        Self { of_rules: of_rules.collect(), others: of_event_set(others) }
    }
}

impl Rules {
    /// What the rules that apply to this computer, when this client uploads its events, want of it. A host is asked by channel;
    /// where a rule names none, it is asked for those of the event set `All`. Sorted, each once.
    pub fn wanted(&self, client: &Client, computer: &str) -> Vec<Wanted> {
        let mut sender = self.hosts.of_sender(client);
        let mask: &Mask = sender.rules_for(&self.hosts, computer);
        let mut wanted: Vec<Wanted> = if mask.is_empty() {
            self.written.others.clone()
        } else {
            let of_host = self.written.of_rules.iter().filter(|(rule, _)| mask.has(*rule));
            of_host.map(|(_, wanted)| wanted.clone()).collect()
        };
        wanted.sort();
        wanted.dedup();
        wanted
    }
}

fn of_event_set(set: EventSet) -> Vec<Wanted> {
    if set == EventSet::Everything {
        return audited();
    }
    let queries = set.queries().into_iter().filter_map(|text| channel_query(&text).ok());
    let wanted = queries.map(|query| Wanted {
        channel: query.channel,
        select: query.expr.to_string().into(),
        suppresses: Vec::new(),
    });
    wanted.collect()
}

/// Every event of the channels that the Security events connector knows.
fn audited() -> Vec<Wanted> {
    of_event_set(EventSet::All)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::rules::{Managed, Material, Text};
    use crate::filter::{Config, RuleConfig};

    fn rules(event_set: EventSet, rules: Vec<RuleConfig>) -> Rules {
        let outputs = ["out".to_owned()];
        let rules =
            rules.into_iter().map(|rule| RuleConfig { name: rule.name, outputs: outputs.to_vec(), ..rule }).collect();
        let config = Config { event_set, rules, ..Config::default() };
        let list = "<QueryList><Query><Select Path='System'>*[System[Level&lt;=3]]</Select>\
                    <Suppress Path='system'>*[System[EventID=7036]]</Suppress></Query></QueryList>";
        let read: &dyn Fn(&std::path::Path) -> _ =
            &|path| Ok(vec![Text { path: path.display().to_string(), stem: "list".to_owned(), text: list.to_owned() }]);
        let material = Material { config: &config, outputs: &outputs, read, managed: &Managed::default() };
        Rules::build(&material).expect("sound rules")
    }

    fn of(rules: &Rules, computer: &str) -> Vec<String> {
        let one = |Wanted { channel, select, suppresses }| match suppresses.first() {
            Some(suppress) => format!("{channel}!{select} but {suppress}"),
            None => format!("{channel}!{select}"),
        };
        rules.wanted(&Client::default(), computer).into_iter().map(one).collect()
    }

    #[test]
    fn a_host_is_asked_for_what_its_rules_take_and_for_nothing_else() {
        let rule = |name: &str, hosts: &str| RuleConfig {
            name: Some(name.to_owned()),
            hosts: vec![hosts.to_owned()],
            ..RuleConfig::default()
        };
        let queries = vec!["Security!*[System[(EventID=4624 OR EventID=4625)]]".to_owned(), "System!*".to_owned()];
        let rules = rules(
            EventSet::None,
            vec![
                RuleConfig { queries: queries.clone(), ..rule("web", "web*") },
                RuleConfig { queries: queries[1..].to_vec(), ..rule("again", "web1") },
                RuleConfig { query_list: Some("list.xml".into()), ..rule("db", "db*") },
                RuleConfig { event_set: Some(EventSet::Everything), ..rule("all", "all*") },
            ],
        );
        assert_eq!(of(&rules, "web1"), ["Security!*[System[EventID=4624 or EventID=4625]]", "System!*"]);
        assert_eq!(of(&rules, "db1"), ["System!*[System[Level <= 3]] but *[System[EventID=7036]]"]);
        assert_eq!(of(&rules, "elsewhere"), Vec::<String>::new(), "the event set for the others is empty");
        assert_eq!(of(&rules, "all1").len(), 3, "a rule without a channel stands for those that are audited");
    }

    #[test]
    fn hosts_without_rules_are_asked_for_the_event_set() {
        assert_eq!(of(&rules(EventSet::All, vec![]), "any")[2], "Security!*");
        assert_eq!(of(&rules(EventSet::Everything, vec![]), "any").len(), 3);
        assert_eq!(of(&rules(EventSet::Common, vec![]), "any").len(), 12);
    }
}
