//! From characters to words.
//!
//! Whether `and` is an operator or an element is for the grammar to say: here it is a name. What no query can hold at any
//! place is refused here, with the hint that belongs to it.

use super::super::ast::Op;
use super::{QueryError, hints};

/// A word of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Word<'q> {
    /// A name, or an operator or function that is spelled like one.
    Name(&'q str),
    /// What begins like a number.
    Number(&'q str),
    /// What stood in quotes, without them.
    Quoted(&'q str),
    /// `=`, `!=`, `<` …
    Op(Op),
    /// One of `( ) [ ] / @ , *`.
    Sign(char),
    /// `::`
    Axis,
    /// The end of the query.
    End,
}

/// Reads words from a position on.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'q> {
    pub(super) text: &'q str,
    pos: usize,
}

impl<'q> Lexer<'q> {
    pub(super) fn new(text: &'q str, pos: usize) -> Self {
        Self { text, pos }
    }

    /// The next word and where it begins. At the end of the query, that is behind its last character that is no space.
    pub(super) fn next(&mut self) -> Result<(usize, Word<'q>), QueryError> {
        let rest = &self.text[self.pos..];
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let Some(first) = trimmed.chars().next() else { return Ok((self.pos, Word::End)) };
        let start = self.pos + rest.len() - trimmed.len();
        let (length, word) = match first {
            '(' | ')' | '[' | ']' | '/' | '@' | ',' | '*' => (1, Word::Sign(first)),
            '=' | '!' | '<' | '>' => operator(trimmed, start)?,
            '\'' | '"' => quoted(trimmed, first, start)?,
            ':' if trimmed.starts_with("::") => (2, Word::Axis),
            _ if starts_number(trimmed) => number(trimmed),
            _ if starts_name(first) => name(trimmed, start)?,
            _ => return Err(QueryError::new(start, hints::foreign(trimmed, first))),
        };
        self.pos = start + length;
        Ok((start, word))
    }

    /// The word after the one that was read last, if it is one.
    pub(super) fn peek(&self) -> Option<Word<'q>> {
        self.clone().next().ok().map(|(_, word)| word)
    }
}

fn operator(text: &str, start: usize) -> Result<(usize, Word<'_>), QueryError> {
    let two: &str = &text[..text.ceil_char_boundary(2)];
    if let Some(hint) = hints::foreign_operator(two) {
        return Err(QueryError::new(start, hint));
    }
    let (length, op) = match two {
        "!=" => (2, Op::Ne),
        "<=" => (2, Op::Le),
        ">=" => (2, Op::Ge),
        _ if two.starts_with('=') => (1, Op::Eq),
        _ if two.starts_with('<') => (1, Op::Lt),
        _ if two.starts_with('>') => (1, Op::Gt),
        _ => return Err(QueryError::new(start, hints::LONE_EXCLAMATION_MARK)),
    };
    Ok((length, Word::Op(op)))
}

fn quoted(text: &str, quote: char, start: usize) -> Result<(usize, Word<'_>), QueryError> {
    let inside = &text[1..];
    match inside.find(quote) {
        Some(length) => Ok((length + 2, Word::Quoted(&inside[..length]))),
        None => Err(QueryError::new(start, hints::open_quote(quote))),
    }
}

fn starts_number(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).starts_with(|character: char| character.is_ascii_digit())
}

/// As far as anything goes that could be meant as one constant, so that an error shows it whole: `2021-01-01T10:00:00Z`.
fn number(text: &str) -> (usize, Word<'_>) {
    let belongs = |character: char| continues_name(character) || character == ':';
    let length = text[1..].find(|character| !belongs(character)).map_or(text.len(), |length| length + 1);
    (length, Word::Number(&text[..length]))
}

fn name(text: &str, start: usize) -> Result<(usize, Word<'_>), QueryError> {
    let length = text.find(|character| !continues_name(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    if rest.starts_with(':') && !rest.starts_with("::") {
        return Err(QueryError::new(start, hints::prefix(name, &rest[1..])));
    }
    Ok((length, Word::Name(name)))
}

fn starts_name(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

/// Whether a name may go on with this character.
pub(super) fn continues_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '-' | '.' | '\u{b7}')
}
