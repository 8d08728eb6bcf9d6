//! From text to tree.
//!
//! The language is the Windows event log's subset of XPath 1.0, whole. Operators pass a query between tools that escape,
//! quote and wrap it, so a mistake is worth more than "syntax error": every error says where it is, what was found there,
//! what was expected, and what to write instead when the mistake is one that people are known to make (`hints.rs`).
//! Depth, steps and length are bounded, so the recursion is too; each character is read at most three times.

use super::ast::Expr;

mod error;
mod grammar;
mod hints;
mod lexer;

pub use error::QueryError;
pub(super) use error::shortened;
pub(super) use grammar::is_place;

/// Most bytes of one query. Windows itself stops at 32 expressions; the longest that is known has 3 KiB.
pub const MAX_QUERY_BYTES: usize = 64 << 10;

/// Most brackets and parentheses that stand in one another.
pub const MAX_NESTING: usize = 64;

/// Most steps of one path. An event's elements are seldom six deep.
pub const MAX_STEPS: usize = 32;

/// Most bytes of a channel's name; Windows takes 255 characters.
pub const MAX_CHANNEL_BYTES: usize = 256;

/// Reads an XPath, such as `*[System[EventID=4624]]`.
pub fn xpath(text: &str) -> Result<Expr, QueryError> {
    grammar::query(text, 0)
}

/// A query with the channel that it is for, as data collection rules write it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelQuery {
    /// What stands before the first `!`.
    pub channel: Box<str>,
    /// What stands behind it.
    pub expr: Expr,
}

/// Reads `Channel!XPath`.
pub fn channel_query(text: &str) -> Result<ChannelQuery, QueryError> {
    let start = text.len() - text.trim_start().len();
    let Some((before, _)) = text.split_once('!') else {
        return Err(QueryError::new(start, hints::no_exclamation_mark(text)));
    };
    let channel = before.trim();
    // An XPath whose first "!" belongs to "!=" is cut there.
    if channel.contains(['*', '[', '=']) {
        return Err(QueryError::new(start, hints::no_exclamation_mark(text)));
    }
    if let Some(problem) = channel_problem(channel) {
        return Err(QueryError::new(start, problem));
    }
    let start = before.len() + 1;
    if text[start..].trim().is_empty() {
        return Err(QueryError::new(start, hints::no_query(channel)));
    }
    let expr = grammar::query(text, start)?;
    Ok(ChannelQuery { channel: channel.into(), expr })
}

/// Why this cannot be a channel's name.
pub(super) fn channel_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("the channel's name is empty; write it out, such as `Security`".to_owned())
    } else if name.len() > MAX_CHANNEL_BYTES {
        Some(format!("the channel's name has {} bytes; at most {MAX_CHANNEL_BYTES} are taken", name.len()))
    } else {
        let control = name.chars().find(|character| character.is_control())?;
        Some(format!("the channel's name holds the control character U+{:04X}; remove it", u32::from(control)))
    }
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod tests;
