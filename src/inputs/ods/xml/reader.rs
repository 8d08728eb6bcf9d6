//! Elements of a document, one after the other, without a tree.
//!
//! Names are compared without their prefixes. Tags must nest, and no deeper than a limit; a document type, and with it every
//! entity of a sender's own, is refused.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memmem;

use super::XmlFault;
use super::event_data::{EventData, Logged};
use crate::event::near::letters;
use crate::event::xml::{Token, Tokens, attributes, near, unescape};

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

    /// Whether nothing stands in it.
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// The value of an attribute, in any letter case.
    pub(super) fn attribute(&self, wanted: &str) -> Option<Cow<'a, str>> {
        let [found] = self.attributes([wanted]);
        found
    }

    /// The values of some attributes, of each the first.
    pub(super) fn attributes<const N: usize>(&self, wanted: [&str; N]) -> [Option<Cow<'a, str>>; N] {
        let mut found = [const { None }; N];
        let mut lacking = N;
        for (name, value) in attributes(self.attributes) {
            let at = wanted.iter().position(|wanted| name.eq_ignore_ascii_case(wanted));
            if let Some(slot) = at.map(|at| &mut found[at]).filter(|slot| slot.is_none()) {
                *slot = Some(value);
                lacking -= 1;
            }
            if lacking == 0 {
                break;
            }
        }
        found
    }
}

/// A position in a document.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    /// The same where all of it is known to be UTF-8: no part of it has to be looked at for that.
    sound: Option<&'a str>,
    tokens: Tokens<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let start = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Self { text, sound: None, tokens: Tokens::new(text, start) }
    }

    /// The same, for a document that is read whole.
    pub(super) fn of_all(text: &'a [u8]) -> Self {
        Self { sound: std::str::from_utf8(text).ok(), ..Self::new(text) }
    }

    /// All of it, where that is known to be text.
    pub(super) fn sound(&self) -> Option<&'a str> {
        self.sound
    }

    /// What stands there.
    pub(super) fn bytes(&self, span: Range<usize>) -> &'a [u8] {
        &self.text[span]
    }

    /// Where reading would go on, did it pass over white space.
    pub(super) fn behind_blanks(&self) -> usize {
        let rest = &self.text[self.tokens.pos..];
        self.text.len() - rest.trim_ascii_start().len()
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
        if of.empty || self.leaf(of.name).is_none() {
            self.walk(of, |_, _| Ok(()))?;
        }
        Ok(from..self.tokens.pos)
    }

    /// The text of an element, without that of elements in it and without white space around it, of at most so many bytes.
    pub(super) fn value(&mut self, of: &Element<'a>, limit: usize) -> Result<Cow<'a, str>, XmlFault> {
        if let Some(text) = self.plain(of, limit) {
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
    fn plain(&mut self, of: &Element<'a>, limit: usize) -> Option<Cow<'a, str>> {
        if of.empty {
            return Some(Cow::Borrowed(""));
        }
        let before = self.tokens.clone();
        match self.leaf(of.name).and_then(|span| self.text(span).ok()) {
            Some(text) if text.len() <= limit => Some(trimmed(unescape(text))),
            _ => {
                self.tokens = before;
                None
            }
        }
    }

    /// Passes over an element that is written as nearly all are: of letters, with at most one attribute, and with one text in it and
    /// nothing else. Its name, and where its text stands; `None`, and nothing is passed, where anything else stands here.
    pub(super) fn short(&mut self) -> Option<(&'a [u8], Range<usize>)> {
        let rest = self.text.get(self.tokens.pos..)?.strip_prefix(b"<")?;
        let (name, behind) = rest.split_at(letters(rest));
        if name.is_empty() || name == b"Event" {
            return None;
        }
        let behind = behind.strip_prefix(b" ").map_or(Some(behind), behind_attribute)?.strip_prefix(b">")?;
        let length = near(b'<', behind)?;
        let end = behind[length..].strip_prefix(b"</")?.strip_prefix(name)?.strip_prefix(b">")?;
        let from = self.text.len() - behind.len();
        (self.tokens.start, self.tokens.pos) = (from + length, self.text.len() - end.len());
        Some((name, from..from + length))
    }

    /// The name and the text, as [`Reader::value`] has it, of such an element in an element, and where the text stands.
    pub(super) fn short_child(
        &mut self,
        of: &Element<'a>,
        limit: usize,
    ) -> Option<(&'a [u8], Cow<'a, str>, Range<usize>)> {
        if of.empty {
            return None;
        }
        let before = self.tokens.clone();
        let (name, span) = self.short()?;
        match self.text(span.clone()) {
            Ok(text) if text.len() <= limit => Some((name, value_of(text), span)),
            _ => {
                self.tokens = before;
                None
            }
        }
    }

    /// Passes over data that is written as nearly all is: where it stands, and what it says of its log. `None`, and nothing is passed,
    /// where anything else stands here.
    pub(super) fn event_data(&mut self) -> Option<(Range<usize>, Option<Logged<'a>>)> {
        let from = self.tokens.pos;
        let EventData { end, logged } = EventData::read(self.sound?, from)?;
        self.tokens.pos = end;
        Some((from..end, logged))
    }

    /// Passes over the rest of an element of this name that has just begun, and tells where its text stands; `None`, and nothing is
    /// passed, where it holds anything else, or its end tag is written in another way.
    fn leaf(&mut self, name: &[u8]) -> Option<Range<usize>> {
        let from = self.tokens.pos;
        let rest = &self.text[from..];
        let length = near(b'<', rest)?;
        let behind = rest[length..].strip_prefix(b"</")?.strip_prefix(name)?.strip_prefix(b">")?;
        (self.tokens.start, self.tokens.pos) = (from + length, self.text.len() - behind.len());
        Some(from..from + length)
    }

    /// Where the item ends in which reading failed there: behind an end tag after which another item begins, or all of them end.
    pub(super) fn item_end(&self, from: usize) -> Option<usize> {
        const END: &[u8] = b"</DataItem>";
        let rest = self.text.get(from..)?;
        memmem::find_iter(rest, END).map(|at| from + at + END.len()).find(|end| {
            let behind = self.text[*end..].trim_ascii_start();
            behind.starts_with(b"<DataItem") || behind.starts_with(b"</DataItems")
        })
    }

    /// The text that stands there.
    pub(super) fn text(&self, span: Range<usize>) -> Result<&'a str, XmlFault> {
        if let Some(text) = self.sound.and_then(|sound| sound.get(span.clone())) {
            return Ok(text);
        }
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
            // Nothing of these is seen, and they nest no deeper than may be.
            while open.len() + 1 < DEPTH_MAX && self.short().is_some() {}
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
                // Most hold a text and nothing else.
                Token::Open { name, .. } if self.leaf(name).is_some() => {}
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

/// What follows an attribute that is written as nearly all are, and is [`harmless`].
fn behind_attribute(text: &[u8]) -> Option<&[u8]> {
    let (quote, value) = match &text[letters(text)..] {
        [b'=', quote @ (b'"' | b'\''), value @ ..] => (*quote, value),
        _ => return None,
    };
    let (value, behind) = value.split_at(near(quote, value)?);
    near(b'<', value).is_none().then(|| &behind[1..])
}

/// Where the first time stands among the attributes of a tag, and its quotes; `None` where the tag is not written as nearly all are.
pub(super) fn time_in(tag: &[u8]) -> Option<(Range<usize>, u8)> {
    let mut rest = tag.strip_prefix(b"<")?;
    rest = &rest[letters(rest)..];
    loop {
        rest = rest.strip_prefix(b" ")?;
        let (name, behind) = rest.split_at(letters(rest));
        let (quote, value) = behind.strip_prefix(b"=")?.split_first()?;
        let length = if matches!(quote, b'"' | b'\'') { near(*quote, value)? } else { return None };
        if name.eq_ignore_ascii_case(b"time") {
            let from = tag.len() - value.len();
            return Some((from..from + length, *quote));
        }
        rest = &value[length + 1..];
    }
}

/// What a text in an element means.
pub(super) fn value_of(text: &str) -> Cow<'_, str> {
    trimmed(unescape(text))
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    // Nearly all begin and end with something.
    let ends = (text.as_bytes().first(), text.as_bytes().last());
    if let (Some(b'!'..=b'~'), Some(b'!'..=b'~')) = ends {
        return text;
    }
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
