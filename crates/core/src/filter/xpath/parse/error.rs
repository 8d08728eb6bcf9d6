//! What is wrong with a query, and a picture of where.

use std::borrow::Cow;

/// Characters of a long line that are shown on each side of the mistake.
const SHOWN: usize = 50;

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// What is wrong there, what was expected, and a hint when the mistake is a known one.
    pub message: String,
}

impl QueryError {
    pub(in super::super) fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into() }
    }

    /// The error above the line of the query that it is in, with a caret under the place. Of a long line, the part around
    /// the place is shown.
    pub fn pointed(&self, query: &str) -> String {
        let offset = query.floor_char_boundary(self.offset);
        let (before, after) = query.split_at(offset);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let left: Vec<char> = before[line_start..].chars().collect();
        let right: Vec<char> = after.lines().next().unwrap_or("").chars().take(SHOWN + 1).collect();
        let cut_left = left.len() > SHOWN;
        let left = &left[left.len().saturating_sub(SHOWN)..];
        let (right, cut_right) = if right.len() > SHOWN { (&right[..SHOWN], true) } else { (&right[..], false) };

        let mut picture = self.message.clone();
        if query.trim_end().contains('\n') {
            let line = 1 + before.matches('\n').count();
            picture.push_str(&format!(" (line {line})"));
        }
        picture.push_str("\n  ");
        picture.push_str(if cut_left { "…" } else { "" });
        picture.extend(left.iter().chain(right).map(|character| printable(*character)));
        picture.push_str(if cut_right { "…" } else { "" });
        picture.push_str("\n  ");
        picture.extend(std::iter::repeat_n(' ', left.len() + usize::from(cut_left)));
        picture.push('^');
        picture
    }
}

/// Enough of a text to find it again in a query; a message must not grow with what it is about.
pub(in super::super) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((cut, _)) => Cow::Owned(format!("{}…", &text[..cut])),
        None => Cow::Borrowed(text),
    }
}

/// The character, or one of the same width that does nothing to a terminal.
fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        character if character.is_control() => char::REPLACEMENT_CHARACTER,
        character => character,
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
