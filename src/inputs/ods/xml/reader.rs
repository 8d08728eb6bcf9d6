//! Elements of a document, one after the other, without a tree.
//!
//! Names are compared without their prefixes. Tags must nest, and no deeper than a limit; a document type, and with it every
//! entity of a sender's own, is refused.

use std::borrow::Cow;
use std::ops::Range;

use super::XmlFault;
use crate::event::xml::{Token, Tokens, attributes, unescape};

/// Deepest nesting. What agents send needs 8.
const DEPTH_MAX: usize = 64;

/// An element that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    name: &'a [u8],
    attributes: &'a [u8],
    empty: bool,
}

impl<'a> Element<'a> {
    /// Its name without a prefix.
    pub(super) fn local(&self) -> &'a [u8] {
        match memchr::memchr(b':', self.name) {
            Some(colon) => &self.name[colon + 1..],
            None => self.name,
        }
    }

    /// The value of an attribute, in any letter case.
    pub(super) fn attribute(&self, wanted: &str) -> Option<Cow<'a, str>> {
        attributes(self.attributes).find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
    }
}

/// A position in a document.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let start = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Self { text, tokens: Tokens::new(text, start) }
    }

    /// Where the last tag or text begins.
    pub(super) fn start(&self) -> usize {
        self.tokens.start
    }

    /// Where reading goes on.
    pub(super) fn pos(&self) -> usize {
        self.tokens.pos
    }

    /// Goes on at another place.
    pub(super) fn go_to(&mut self, pos: usize) {
        self.tokens.pos = pos;
    }

    /// The element that is the document.
    pub(super) fn root(&mut self) -> Result<Element<'a>, XmlFault> {
        loop {
            match self.token()? {
                Some(Token::Open { name, attributes, empty }) => return Ok(Element { name, attributes, empty }),
                Some(Token::Text(text)) if text.trim_ascii().is_empty() => {}
                _ => return Err(self.fault("it does not begin with an element")),
            }
        }
    }

    /// Whether the document ends here.
    pub(super) fn end(&mut self) -> Result<(), XmlFault> {
        loop {
            match self.token()? {
                None => return Ok(()),
                Some(Token::Text(text)) if text.trim_ascii().is_empty() => {}
                Some(_) => return Err(self.fault("something follows the document")),
            }
        }
    }

    /// The next element in an element; `None` at its end. Text between them does not count.
    pub(super) fn child(&mut self, of: &Element<'a>) -> Result<Option<Element<'a>>, XmlFault> {
        if of.empty {
            return Ok(None);
        }
        loop {
            match self.token()? {
                None => return Err(XmlFault::Malformed("it breaks off", self.text.len())),
                Some(Token::Close { name }) if name == of.name => return Ok(None),
                Some(Token::Close { .. }) => return Err(self.fault("an end tag has no start tag")),
                Some(Token::Open { name, attributes, empty }) => return Ok(Some(Element { name, attributes, empty })),
                Some(Token::Text(_) | Token::Literal(_)) => {}
            }
        }
    }

    /// Whether the tag of an element may go on as it came.
    pub(super) fn check(&self, of: &Element<'a>) -> Result<(), XmlFault> {
        harmless(of.name, of.attributes).map_err(|reason| self.fault(reason))
    }

    /// Passes over the rest of an element that has just begun. Where it stands, its own tags included.
    pub(super) fn whole(&mut self, of: &Element<'a>) -> Result<Range<usize>, XmlFault> {
        let from = self.tokens.start;
        self.check(of)?;
        self.walk(of, |_, _| Ok(()))?;
        Ok(from..self.tokens.pos)
    }

    /// The text of an element, without that of elements in it and without white space around it, of at most so many bytes.
    pub(super) fn value(&mut self, of: &Element<'a>, limit: usize) -> Result<Cow<'a, str>, XmlFault> {
        if let Some(text) = self.plain(of, limit)? {
            return Ok(text);
        }
        let mut value = Cow::Borrowed("");
        self.walk(of, |depth, token| {
            let (text, is_literal) = match token {
                Token::Text(text) if depth == 1 => (text, false),
                Token::Literal(text) if depth == 1 => (text, true),
                _ => return Ok(()),
            };
            let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
            let text = if is_literal { Cow::Borrowed(text) } else { unescape(text) };
            if value.len() + text.len() > limit {
                return Err("a value is too long");
            }
            if value.is_empty() {
                value = text;
            } else {
                value.to_mut().push_str(&text);
            }
            Ok(())
        })?;
        Ok(trimmed(value))
    }

    /// The same where the element holds one text and nothing else, as nearly all do; `None`, and nothing is read, where it does not.
    fn plain(&mut self, of: &Element<'a>, limit: usize) -> Result<Option<Cow<'a, str>>, XmlFault> {
        if of.empty {
            return Ok(Some(Cow::Borrowed("")));
        }
        let before = self.tokens.clone();
        let (text, end) = match self.token()? {
            Some(Token::Text(text)) => (text, self.token()?),
            other => (&[][..], other),
        };
        let ends = matches!(end, Some(Token::Close { name }) if name == of.name);
        match std::str::from_utf8(text) {
            Ok(text) if ends && text.len() <= limit => Ok(Some(trimmed(unescape(text)))),
            _ => {
                self.tokens = before;
                Ok(None)
            }
        }
    }

    /// The text that stands there.
    pub(super) fn text(&self, span: Range<usize>) -> Result<&'a str, XmlFault> {
        let start = span.start;
        std::str::from_utf8(&self.text[span])
            .map_err(|error| XmlFault::Malformed("it is not UTF-8", start + error.valid_up_to()))
    }

    /// Goes through the rest of an element; `see` gets each token and how deep it stands.
    fn walk(
        &mut self,
        of: &Element<'a>,
        mut see: impl FnMut(usize, Token<'a>) -> Result<(), &'static str>,
    ) -> Result<(), XmlFault> {
        if of.empty {
            return Ok(());
        }
        // Those that are open inside of it.
        let mut open: Vec<&[u8]> = Vec::new();
        loop {
            let Some(token) = self.token()? else {
                return Err(XmlFault::Malformed("it breaks off", self.text.len()));
            };
            see(open.len() + 1, token).map_err(|reason| self.fault(reason))?;
            if let Token::Open { name, attributes, .. } = token {
                harmless(name, attributes).map_err(|reason| self.fault(reason))?;
            }
            match token {
                Token::Open { empty: true, .. } | Token::Text(_) | Token::Literal(_) => {}
                Token::Open { .. } if open.len() + 1 == DEPTH_MAX => {
                    return Err(self.fault("its elements nest too deeply"));
                }
                Token::Open { name, .. } => open.push(name),
                Token::Close { name } => match open.pop() {
                    Some(innermost) if innermost == name => {}
                    None if of.name == name => return Ok(()),
                    _ => return Err(self.fault("an end tag has no start tag")),
                },
            }
        }
    }

    fn token(&mut self) -> Result<Option<Token<'a>>, XmlFault> {
        self.tokens.next_token().map_err(|error| XmlFault::Malformed(error.reason, error.offset))
    }

    pub(super) fn fault(&self, reason: &'static str) -> XmlFault {
        XmlFault::Malformed(reason, self.tokens.start)
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// What an event holds goes on as it came: it must not look like another one to whoever reads it next.
fn harmless(name: &[u8], attributes: &[u8]) -> Result<(), &'static str> {
    if name == b"Event" {
        return Err("an event stands in it");
    }
    if memchr::memchr(b'<', attributes).is_some() { Err("a tag stands in an attribute") } else { Ok(()) }
}
