//! A query's error in one sentence, for messages that do not show the query.

use super::parse::QueryError;

/// Characters of a query that are shown behind a mistake.
const SHOWN: usize = 24;

/// What is wrong with a query, and where.
pub fn near(query: &str, error: &QueryError) -> String {
    let before = query.get(..error.offset).unwrap_or(query);
    let rest = &query[before.len()..];
    let near = match rest.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("near {:?}", &rest[..end]),
        None if rest.is_empty() => "at its end".to_owned(),
        None => format!("near {rest:?}"),
    };
    format!("character {} of the query, {near}: {}", before.chars().count() + 1, error.message)
}
