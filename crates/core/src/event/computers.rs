//! Every computer that a record names, wherever it does.
//!
//! A record may name several: under keys of different agents, twice under one key, in XML inside of JSON. The fields know the
//! one that counts; who compares a record with what its sender may say must know all of them, because another receiver may
//! take another one for the one that counts.

use std::borrow::Cow;

use super::xml::{Token, Tokens};
use super::{Event, Format, from_json, trimmed};

/// What a record says about where it is from.
#[derive(Debug, Default)]
pub(super) struct Computers<'a> {
    /// Every name that is not empty, in the order of the record.
    pub(super) names: Vec<Cow<'a, str>>,
    /// Whether something else than text stands where a name belongs.
    pub(super) has_other: bool,
}

impl<'a> Computers<'a> {
    /// All of a record; `None` when it cannot be read.
    pub(super) fn of(event: &Event<'a>) -> Option<Self> {
        let mut found = match event.format {
            Format::Json => from_json::computers(std::str::from_utf8(event.raw).ok()?).ok()?,
            Format::Xml => {
                let mut found = Self::default();
                found.take_xml(event.raw);
                found
            }
        };
        // The one that counts is among them; this costs nothing and trusts nobody.
        found.names.extend(event.fields.computer.clone());
        Some(found)
    }

    /// Takes one name.
    pub(super) fn take(&mut self, name: Cow<'a, str>) {
        let name = trimmed(name);
        if !name.is_empty() {
            self.names.push(name);
        }
    }

    /// Takes every `Computer` of every `System`, with and without prefixes. What follows damage is no element for anybody.
    pub(super) fn take_xml(&mut self, xml: &'a [u8]) {
        let mut tokens = Tokens::new(xml, 0);
        // The open elements: whether each is a `System`.
        let mut open = Vec::new();
        while let Ok(Some(token)) = tokens.next_token() {
            match token {
                Token::Open { name, empty, .. } => match local(name) {
                    b"Computer" if open.last() == Some(&true) => match tokens.text(empty) {
                        Ok(text) => self.take(text),
                        Err(_) => {
                            self.has_other = true;
                            return;
                        }
                    },
                    name if !empty => open.push(name == b"System"),
                    _ => {}
                },
                Token::Close { .. } => {
                    open.pop();
                }
                Token::Text(_) | Token::Literal(_) => {}
            }
        }
    }
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}
