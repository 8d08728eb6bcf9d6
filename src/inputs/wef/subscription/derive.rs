//! Subscriptions from rules: what the rules that apply to a host want of it, as query lists that Windows takes.

use super::query_list::{EVERY, PATHS_MAX, Query, Selector, whole, written};
use super::{Manner, Subscription};
use crate::filter::rules::Wanted;
use crate::inputs::wef::ids;

/// Most subscriptions that the rules of one host are split into.
pub(in crate::inputs::wef) const PARTS_MAX: usize = 256;

/// The subscriptions for what is wanted; none when nothing is. The same wishes make the same subscriptions.
pub(in crate::inputs::wef) fn derived(wanted: &[Wanted], listener: &str, manner: Manner) -> Vec<Subscription> {
    let queries = queries(wanted);
    let parts = parts(&queries);
    if parts.len() > PARTS_MAX {
        tracing::error!(
            listener,
            "the rules name more channel paths than one host can subscribe to; the rest are left out"
        );
    }
    let parts = parts.into_iter().take(PARTS_MAX).enumerate();
    let subscription = |(part, queries): (usize, &[Query])| Subscription {
        id: id(listener, part),
        name: if part == 0 { "Gatepost rules".to_owned() } else { format!("Gatepost rules {}", part + 1) },
        query_list: written(queries),
        whole: whole(queries),
        content: manner.content,
        compress: manner.compress,
        read_existing_events: manner.read_existing_events,
        pace: manner.pace(),
    };
    parts.map(subscription).collect()
}

/// The id of one part, whatever it asks for.
pub(in crate::inputs::wef) fn id(listener: &str, part: usize) -> String {
    ids::of(&["rules", listener, &part.to_string()])
}

/// Selects of one channel stand together; those with a Suppress stand alone, because it holds for its query. Beside one that
/// takes every event of a channel no other is needed.
fn queries(wanted: &[Wanted]) -> Vec<Query> {
    let takes_all = |other: &Wanted| &*other.select == EVERY && other.suppresses.is_empty();
    let whole: Vec<&str> = wanted.iter().filter(|other| takes_all(other)).map(|other| &*other.channel).collect();
    let mut queries: Vec<Query> = Vec::new();
    for one in wanted {
        let selector = |xpath: &str| Selector { channel: one.channel.to_string(), xpath: xpath.to_owned() };
        let is_whole = whole.iter().any(|channel| channel.eq_ignore_ascii_case(&one.channel));
        let joins = |query: &&mut Query| {
            query.suppresses.is_empty() && query.paths() < PATHS_MAX && query.selects[0].is_of(&one.channel)
        };
        match queries.iter_mut().find(joins).filter(|_| one.suppresses.is_empty()) {
            _ if is_whole && !takes_all(one) => {}
            Some(_) if is_whole => {}
            Some(query) => query.selects.push(selector(&one.select)),
            None => queries.push(Query {
                selects: vec![selector(&one.select)],
                suppresses: one.suppresses.iter().map(|suppress| selector(suppress)).collect(),
            }),
        }
    }
    queries
}

/// Cut so that none names too many paths.
fn parts(queries: &[Query]) -> Vec<&[Query]> {
    let mut parts = Vec::new();
    let (mut start, mut paths) = (0, 0);
    for (at, query) in queries.iter().enumerate() {
        if paths + query.paths() > PATHS_MAX && at > start {
            parts.push(&queries[start..at]);
            (start, paths) = (at, 0);
        }
        paths += query.paths();
    }
    if start < queries.len() {
        parts.push(&queries[start..]);
    }
    parts
}
