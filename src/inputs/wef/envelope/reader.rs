//! Elements of an envelope, one after the other, without a tree.
//!
//! Names are compared without their prefixes, which every writer chooses anew. What is inside an element that nobody asks for
//! is passed over; its tags must nest, and so must those of what is read.

use std::borrow::Cow;
use std::ops::Range;

use super::EnvelopeError;
use crate::event::xml::{Token, Tokens, unescape};

/// Deepest nesting. Windows' own envelopes need 6, an event that stands in one in the open some more.
const DEPTH_MAX: usize = 64;

/// An element that begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    /// Its name as written.
    name: &'a [u8],
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
}

/// What stands in an element, piece by piece.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// Text, with entities.
    Text(Range<usize>),
    /// Text without entities.
    Literal(Range<usize>),
    /// An element. It must be read or passed over next.
    Element(Element<'a>),
}

/// A position in the text of an envelope.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, tokens: Tokens::new(text, 0) }
    }

    /// The element that is the document. Afterwards nothing but white space may follow; see [`Self::end`].
    pub(super) fn root(&mut self) -> Result<Element<'a>, EnvelopeError> {
        loop {
            match self.token()? {
                Some(Token::Open { name, empty, .. }) => return Ok(Element { name, empty }),
                Some(Token::Text(text)) if text.trim_ascii().is_empty() => {}
                _ => return Err(EnvelopeError::Malformed("it does not begin with an element", self.tokens.start)),
            }
        }
    }

    /// Whether the document ends here.
    pub(super) fn end(&mut self) -> Result<(), EnvelopeError> {
        loop {
            match self.token()? {
                None => return Ok(()),
                Some(Token::Text(text)) if text.trim_ascii().is_empty() => {}
                Some(_) => return Err(EnvelopeError::Malformed("something follows the envelope", self.tokens.start)),
            }
        }
    }

    /// The next piece of an element; `None` at its end.
    pub(super) fn node(&mut self, of: &Element<'a>) -> Result<Option<Node<'a>>, EnvelopeError> {
        if of.empty {
            return Ok(None);
        }
        match self.token()? {
            None => Err(EnvelopeError::Malformed("it breaks off", self.text.len())),
            Some(Token::Close { name }) if name == of.name => Ok(None),
            Some(Token::Close { .. }) => Err(self.wrong_end()),
            Some(Token::Text(text)) => Ok(Some(Node::Text(self.span(text)))),
            Some(Token::Literal(text)) => Ok(Some(Node::Literal(self.span(text)))),
            Some(Token::Open { name, empty, .. }) => Ok(Some(Node::Element(Element { name, empty }))),
        }
    }

    /// The next element in an element; `None` at its end. Text between them does not count.
    pub(super) fn child(&mut self, of: &Element<'a>) -> Result<Option<Element<'a>>, EnvelopeError> {
        loop {
            match self.node(of)? {
                None => return Ok(None),
                Some(Node::Element(element)) => return Ok(Some(element)),
                Some(_) => {}
            }
        }
    }

    /// Passes over the rest of an element. What stood in it, tags included.
    pub(super) fn pass(&mut self, of: &Element<'a>) -> Result<Range<usize>, EnvelopeError> {
        let from = self.tokens.pos;
        if of.empty {
            return Ok(from..from);
        }
        let mut open = vec![of.name];
        while let Some(innermost) = open.last() {
            match self.token()? {
                None => return Err(EnvelopeError::Malformed("it breaks off", self.text.len())),
                Some(Token::Open { empty: true, .. } | Token::Text(_) | Token::Literal(_)) => {}
                Some(Token::Open { .. }) if open.len() == DEPTH_MAX => {
                    return Err(EnvelopeError::Malformed("its elements nest too deeply", self.tokens.start));
                }
                Some(Token::Open { name, .. }) => open.push(name),
                Some(Token::Close { name }) if name == *innermost => {
                    open.pop();
                }
                Some(Token::Close { .. }) => return Err(self.wrong_end()),
            }
        }
        Ok(from..self.tokens.start)
    }

    /// Passes over an element that has just begun. Where it stands, its own tags included.
    pub(super) fn whole(&mut self, of: &Element<'a>) -> Result<Range<usize>, EnvelopeError> {
        let from = self.tokens.start;
        self.pass(of)?;
        Ok(from..self.tokens.pos)
    }

    /// The text of an element without the white space around it, of at most so many bytes. Elements in it are passed over.
    pub(super) fn value(&mut self, of: &Element<'a>, limit: usize) -> Result<String, EnvelopeError> {
        let mut value = String::new();
        let at = self.tokens.pos;
        while let Some(node) = self.node(of)? {
            match node {
                Node::Text(span) => value.push_str(&unescape(self.utf8(span)?)),
                Node::Literal(span) => value.push_str(self.utf8(span)?),
                Node::Element(element) => _ = self.pass(&element)?,
            }
            if value.len() > limit {
                return Err(EnvelopeError::Malformed("a header is too long", at));
            }
        }
        Ok(value.trim().to_owned())
    }

    /// The text of a span.
    pub(super) fn utf8(&self, span: Range<usize>) -> Result<&'a str, EnvelopeError> {
        let start = span.start;
        std::str::from_utf8(&self.text[span])
            .map_err(|error| EnvelopeError::Malformed("it is not UTF-8", start + error.valid_up_to()))
    }

    fn token(&mut self) -> Result<Option<Token<'a>>, EnvelopeError> {
        self.tokens.next_token().map_err(|error| EnvelopeError::Malformed(error.reason, error.offset))
    }

    fn span(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        start..start + part.len()
    }

    fn wrong_end(&self) -> EnvelopeError {
        EnvelopeError::Malformed("an end tag has no start tag", self.tokens.start)
    }
}

/// Text of a message with its entities decoded.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    unescape(text)
}
