//! Strict reading of a small XML document, with the position of everything.
//!
//! The tokenizer of events forgives what a query must not: text between elements, attributes without quotes, entities
//! that nobody declared. All that is checked here on top of it.

use std::borrow::Cow;

use super::{QueryError, shortened};
use crate::event::XmlError;
use crate::event::xml::{Token, Tokens, unescape};

/// Reads elements one after the other.
pub(super) struct Reader<'x> {
    xml: &'x str,
    tokens: Tokens<'x>,
}

/// A start tag.
pub(super) struct Element<'x> {
    pub(super) name: &'x str,
    /// Where its `<` stands.
    pub(super) at: usize,
    attributes: &'x str,
    attributes_at: usize,
    empty: bool,
}

/// Decoded text, which knows where in the document each of its parts stood.
#[derive(Default)]
pub(super) struct Text {
    decoded: String,
    /// Where a part begins: in the decoded text, and in the document. Rising.
    parts: Vec<(usize, usize)>,
}

impl<'x> Reader<'x> {
    pub(super) fn new(xml: &'x str) -> Self {
        let start = if xml.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { xml, tokens: Tokens::new(xml.as_bytes(), start) }
    }

    fn next(&mut self) -> Result<Option<Token<'x>>, QueryError> {
        self.tokens.next_token().map_err(|XmlError { reason, offset }| {
            let hint = if reason.contains("not followed by a name") { "; write `&lt;` for `<` in a query" } else { "" };
            QueryError::new(offset, format!("{reason}{hint}"))
        })
    }

    /// The next element inside `parent` (of the document itself without one); `None` when it ends.
    pub(super) fn child(&mut self, parent: Option<&Element<'_>>) -> Result<Option<Element<'x>>, QueryError> {
        if parent.is_some_and(|parent| parent.empty) {
            return Ok(None);
        }
        loop {
            let before = self.tokens.pos;
            let token = self.next()?;
            let at = self.start_of(token, before);
            match (token, parent) {
                (None, None) => return Ok(None),
                (None, Some(parent)) => return Err(self.open_to_the_end(parent)),
                (Some(Token::Open { name, attributes, empty }), _) => {
                    return Ok(Some(self.element(at, name, attributes, empty)));
                }
                (Some(Token::Close { name }), parent) => {
                    check_close(name, parent, at)?;
                    return Ok(None);
                }
                (Some(Token::Text(text) | Token::Literal(text)), parent) => {
                    if let Some(stray) = text.iter().position(|byte| !byte.is_ascii_whitespace()) {
                        let inside = parent.map_or("outside of the QueryList".into(), |parent| inside(parent.name));
                        return Err(QueryError::new(at + stray, format!("no text is expected {inside}")));
                    }
                }
            }
        }
    }

    /// The text of an element, which must hold nothing else, up to and with its end tag.
    pub(super) fn text(&mut self, element: &Element<'_>) -> Result<Text, QueryError> {
        let mut text = Text::default();
        text.parts.push((0, self.tokens.pos));
        if element.empty {
            return Ok(text);
        }
        loop {
            let before = self.tokens.pos;
            let token = self.next()?;
            let at = self.start_of(token, before);
            match token {
                None => return Err(self.open_to_the_end(element)),
                Some(Token::Open { name, .. }) => {
                    let message = format!(
                        "`<{}` begins no element here: {} holds an XPath; write `&lt;` for `<`",
                        shortened(&String::from_utf8_lossy(name)),
                        element.name
                    );
                    return Err(QueryError::new(at, message));
                }
                Some(Token::Close { name }) => {
                    check_close(name, Some(element), at)?;
                    text.parts.push((text.decoded.len(), at));
                    return Ok(text);
                }
                Some(Token::Text(raw)) => text.push_escaped(&self.xml[at..at + raw.len()], at)?,
                Some(Token::Literal(raw)) => text.push(&self.xml[at..at + raw.len()], at),
            }
        }
    }

    /// Whether what stands inside an element is elements. Passes over nothing.
    pub(super) fn holds_element(&mut self, element: &Element<'_>) -> Result<bool, QueryError> {
        let start = self.tokens.pos;
        let first = loop {
            match self.next()? {
                Some(Token::Text(text)) if text.iter().all(u8::is_ascii_whitespace) => {}
                token => break token,
            }
        };
        self.tokens.pos = start;
        Ok(!element.empty && matches!(first, Some(Token::Open { .. })))
    }

    /// Passes over an element with all that is inside.
    pub(super) fn skip(&mut self, element: &Element<'_>) -> Result<(), QueryError> {
        let mut open = if element.empty { Vec::new() } else { vec![element.name.as_bytes()] };
        while let Some(innermost) = open.last().copied() {
            let before = self.tokens.pos;
            let token = self.next()?;
            match token {
                None => return Err(self.open_to_the_end(element)),
                Some(Token::Open { name, empty: false, .. }) => open.push(name),
                Some(Token::Close { name }) if name == innermost => drop(open.pop()),
                Some(Token::Close { name }) => {
                    let at = self.start_of(token, before);
                    let (wanted, found) = (String::from_utf8_lossy(innermost), String::from_utf8_lossy(name));
                    let message = format!("expected `</{}>`, found `</{}>`", shortened(&wanted), shortened(&found));
                    return Err(QueryError::new(at, message));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Where the token begins that was read from `before` on: comments may stand in between.
    fn start_of(&self, token: Option<Token<'x>>, before: usize) -> usize {
        let end = self.tokens.pos;
        match token {
            None => end,
            Some(Token::Text(text)) => end - text.len(),
            Some(Token::Literal(text)) => end - "]]>".len() - text.len(),
            // Nothing but comments and instructions stands before a tag, and none of these ends in "<".
            Some(Token::Open { name, attributes, empty }) => {
                end - ">".len() - usize::from(empty) - attributes.len() - name.len() - "<".len()
            }
            Some(Token::Close { .. }) => self.xml[before..end].rfind("</").map_or(before, |found| before + found),
        }
    }

    fn element(&self, at: usize, name: &[u8], attributes: &[u8], empty: bool) -> Element<'x> {
        let attributes_at = at + 1 + name.len();
        Element {
            name: &self.xml[at + 1..attributes_at],
            at,
            attributes: &self.xml[attributes_at..attributes_at + attributes.len()],
            attributes_at,
            empty,
        }
    }

    fn open_to_the_end(&self, element: &Element<'_>) -> QueryError {
        let message = format!("expected `</{}>`, found the end of the document", element.name);
        QueryError::new(self.xml.len(), message)
    }
}

fn inside(name: &str) -> Cow<'static, str> {
    match name {
        "QueryList" => "in `<QueryList>`; only `<Query>`".into(),
        "Query" => "in `<Query>`; write it in a `<Select>`".into(),
        other => format!("in `<{}>`", shortened(other)).into(),
    }
}

fn check_close(name: &[u8], open: Option<&Element<'_>>, at: usize) -> Result<(), QueryError> {
    let name_found = String::from_utf8_lossy(name);
    let found = shortened(&name_found);
    match open {
        Some(open) if open.name.as_bytes() == name => Ok(()),
        Some(open) => Err(QueryError::new(at, format!("expected `</{}>`, found `</{found}>`", open.name))),
        None => Err(QueryError::new(at, format!("`</{found}>` closes nothing"))),
    }
}

impl Element<'_> {
    /// Refuses an element of another name.
    pub(super) fn expect_name(&self, known: &[&str]) -> Result<(), QueryError> {
        if known.contains(&self.name) {
            return Ok(());
        }
        let expected: Vec<String> = known.iter().map(|name| format!("`<{name}>`")).collect();
        let case = if known.iter().any(|name| name.eq_ignore_ascii_case(self.name)) { " (case matters)" } else { "" };
        let message = format!("expected {}{case}, found `<{}>`", expected.join(" or "), shortened(self.name));
        Err(QueryError::new(self.at, message))
    }

    /// The values of the known attributes, in their order. Anything else between the name and the end of the tag is refused.
    pub(super) fn attributes<const N: usize>(&self, known: [&str; N]) -> Result<[Option<Text>; N], QueryError> {
        let mut values = [const { None }; N];
        let mut rest = self.attributes;
        loop {
            rest = rest.trim_ascii_start();
            if rest.is_empty() {
                return Ok(values);
            }
            let at = self.attributes_at + self.attributes.len() - rest.len();
            let (name, value, after) = self.attribute(rest, at)?;
            let Some(n) = known.iter().position(|known| *known == name) else {
                return Err(self.unknown_attribute(at, name, &known));
            };
            if values[n].is_some() {
                return Err(QueryError::new(at, format!("{name} stands twice in `<{}>`; remove one", self.name)));
            }
            values[n] = Some(value);
            rest = after;
        }
    }

    /// The attribute at the beginning of `text`, which stands at `at`: name, value, and what follows.
    fn attribute<'t>(&self, text: &'t str, at: usize) -> Result<(&'t str, Text, &'t str), QueryError> {
        let quoted = text.split_once('=').and_then(|(name, after)| {
            let value = after.trim_ascii_start();
            let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            let (value, rest) = value[1..].split_once(quote)?;
            Some((name.trim_ascii_end(), value, rest))
        });
        let Some((name, value, rest)) = quoted else {
            let message =
                format!("`<{}>` has an attribute without a value in quotes; write such as `Path=\"…\"`", self.name);
            return Err(QueryError::new(at, message));
        };
        let mut decoded = Text::default();
        decoded.push_escaped(value, at + text.len() - rest.len() - 1 - value.len())?;
        Ok((name, decoded, rest))
    }

    fn unknown_attribute(&self, at: usize, name: &str, known: &[&str]) -> QueryError {
        let takes = if known.is_empty() { "no attributes".to_owned() } else { known.join(", ") };
        let case = if known.iter().any(|known| known.eq_ignore_ascii_case(name)) { " (case matters)" } else { "" };
        QueryError::new(at, format!("`<{}>` has no attribute {:?}; it takes {takes}{case}", self.name, shortened(name)))
    }
}

impl Text {
    pub(super) fn decoded(&self) -> &str {
        &self.decoded
    }

    pub(super) fn into_decoded(self) -> Box<str> {
        self.decoded.into()
    }

    /// Where in the document this place of the decoded text stood.
    pub(super) fn offset(&self, decoded: usize) -> usize {
        let after = self.parts.partition_point(|(start, _)| *start <= decoded);
        self.parts[..after].last().map_or(0, |(start, at)| at + (decoded - start))
    }

    fn push(&mut self, text: &str, at: usize) {
        self.parts.push((self.decoded.len(), at));
        self.decoded.push_str(text);
    }

    fn push_escaped(&mut self, mut raw: &str, mut at: usize) -> Result<(), QueryError> {
        while let Some(start) = raw.find('&') {
            self.push(&raw[..start], at);
            at += start;
            raw = &raw[start..];
            let length = raw.bytes().take(12).position(|byte| byte == b';').map_or(1, |end| end + 1);
            let (entity, rest) = raw.split_at(length);
            let character = unescape(entity);
            if character == entity {
                let message = "`&` begins no entity; write `&amp;`, or one of `&lt;`, `&gt;`, `&quot;`, `&apos;`";
                return Err(QueryError::new(at, message));
            }
            self.push(&character, at);
            at += length;
            raw = rest;
        }
        self.push(raw, at);
        Ok(())
    }
}
