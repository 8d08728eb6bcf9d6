//! An XML event as a row of the `WindowsEvent` table.
//!
//! Azure's tables take JSON with fixed columns; what an event tells beyond `System` goes into the dynamic column `EventData`,
//! by name. Nothing of it is lost: values without a name stand under their element's name, repeated names become lists,
//! attributes stand under `element@attribute`. Only data that is no well-formed XML goes as text, in `RawEventData`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::xml::{Token, Tokens, XmlError, attribute, attributes, unescape, utf8};
use super::{Fields, from_xml};

/// Deepest nesting of data: Windows' own templates need 4.
const MAX_DEPTH: usize = 64;

/// An XML event as a JSON object, in UTF-8 without line feeds. Characters that XML forbids but events hold come out as
/// `\u00XX`. Columns for which the event has nothing are left out.
///
/// # Errors
///
/// When `xml` is no `<Event>` element in UTF-8; the text says why.
pub fn windows_event_row(xml: &[u8]) -> Result<Vec<u8>, String> {
    let (fields, _) = from_xml::scan(xml).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(xml).map_err(|error| format!("the event is not UTF-8: {error}"))?;
    let mut row = Row::of(fields);
    if row.read_body(xml).is_err() {
        row.event_data = None;
        row.rendering_info = None;
        row.raw_event_data = Some(text.trim());
    }
    serde_json::to_vec(&row).map_err(|error| error.to_string())
}

#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_generated: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    computer: Option<Cow<'a, str>>,
    #[serde(rename = "EventID", skip_serializing_if = "Option::is_none")]
    event_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_level: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_level_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opcode: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keywords: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_record_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_process_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_thread_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_user_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_data: Option<Data<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendering_info: Option<Data<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_event_data: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(fields: Fields<'a>) -> Self {
        Self {
            time_generated: fields.time.map(|time| time.to_string()),
            provider: fields.provider,
            channel: fields.channel,
            computer: fields.computer,
            event_id: fields.event_id,
            event_level: fields.level,
            event_level_name: fields.level.and_then(level_name),
            event_record_id: fields.record_id.map(|id| id.to_string()),
            ..Self::default()
        }
    }

    /// Reads what the scan of the fields passed over: the rest of `System`, and all that follows it.
    fn read_body(&mut self, xml: &'a [u8]) -> Result<(), XmlError> {
        let mut tokens = Tokens::new(xml, from_xml::skip_prolog(xml)?);
        if let Some(Token::Open { empty: true, .. }) = tokens.next()? {
            return Ok(());
        }
        loop {
            let at = tokens.pos;
            match tokens.next()? {
                Some(Token::Open { name: b"System", empty, .. }) => {
                    if !empty {
                        self.read_system(&mut tokens)?;
                    }
                }
                Some(Token::Open { name: b"RenderingInfo", attributes, empty }) => {
                    let data = self.rendering_info.get_or_insert_default();
                    data.read(&mut tokens, Frame::new(utf8(b"RenderingInfo", at)?, utf8(attributes, at)?), empty)?;
                }
                Some(Token::Open { name, attributes, empty }) => {
                    let data = self.event_data.get_or_insert_default();
                    data.read(&mut tokens, Frame::new(utf8(name, at)?, utf8(attributes, at)?), empty)?;
                }
                Some(Token::Text(text) | Token::Literal(text)) if text.trim_ascii().is_empty() => {}
                Some(Token::Close { name: b"Event" }) => return Ok(()),
                _ => return Err(XmlError { reason: "expected an element or </Event>", offset: at }),
            }
        }
    }

    fn read_system(&mut self, tokens: &mut Tokens<'a>) -> Result<(), XmlError> {
        loop {
            let (name, attributes, empty) = match tokens.next()? {
                Some(Token::Open { name, attributes, empty }) => (name, attributes, empty),
                Some(Token::Close { .. }) => return Ok(()),
                Some(_) => continue,
                None => return tokens.ended("<System> does not end"),
            };
            let number = |name| attribute(attributes, name).and_then(|text| text.trim().parse().ok());
            match name {
                b"Execution" => {
                    self.system_process_id = number("ProcessID");
                    self.system_thread_id = number("ThreadID");
                }
                b"Security" => self.system_user_id = attribute(attributes, "UserID"),
                b"Correlation" => self.correlation = attribute(attributes, "ActivityID"),
                _ => {}
            }
            let text = tokens.text(empty)?;
            match name {
                b"Task" => self.task = text.trim().parse().ok(),
                b"Version" => self.version = text.trim().parse().ok(),
                b"Opcode" => self.opcode = Some(text),
                b"Keywords" => self.keywords = Some(text),
                _ => {}
            }
        }
    }
}

fn level_name(level: u8) -> Option<&'static str> {
    ["LogAlways", "Critical", "Error", "Warning", "Information", "Verbose"].get(usize::from(level)).copied()
}

/// Names and their values, in the order of the event for values of one name.
#[derive(Default)]
struct Data<'a>(BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, values)| (name, OneOrMany(values))))
    }
}

struct OneOrMany<'v, 'a>(&'v [Cow<'a, str>]);

impl Serialize for OneOrMany<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [one] => serializer.serialize_str(one),
            many => serializer.collect_seq(many),
        }
    }
}

/// An element that has begun and not ended.
struct Frame<'a> {
    element: &'a str,
    attributes: &'a str,
    text: Cow<'a, str>,
    is_leaf: bool,
}

impl<'a> Frame<'a> {
    fn new(element: &'a str, attributes: &'a str) -> Self {
        Self { element, attributes, text: Cow::Borrowed(""), is_leaf: true }
    }
}

impl<'a> Data<'a> {
    /// Reads one element with everything in it; its start tag was the last token.
    fn read(&mut self, tokens: &mut Tokens<'a>, root: Frame<'a>, empty: bool) -> Result<(), XmlError> {
        let mut open = vec![Frame { is_leaf: false, ..root }];
        if empty {
            self.end(open.pop());
            return Ok(());
        }
        while let Some(top) = open.last_mut() {
            let at = tokens.pos;
            match tokens.next()? {
                None => return tokens.ended("an element does not end"),
                Some(Token::Text(raw)) => append(&mut top.text, unescape(utf8(raw, at)?)),
                Some(Token::Literal(raw)) => append(&mut top.text, Cow::Borrowed(utf8(raw, at)?)),
                Some(Token::Open { name, attributes, empty }) => {
                    top.is_leaf = false;
                    let frame = Frame::new(utf8(name, at)?, utf8(attributes, at)?);
                    if empty {
                        self.end(Some(frame));
                    } else if open.len() < MAX_DEPTH {
                        open.push(frame);
                    } else {
                        return Err(XmlError { reason: "the data is nested deeper than 64 levels", offset: at });
                    }
                }
                Some(Token::Close { name }) if name == top.element.as_bytes() => self.end(open.pop()),
                Some(Token::Close { .. }) => {
                    return Err(XmlError { reason: "an end tag has no start tag", offset: at });
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, frame: Option<Frame<'a>>) {
        let Some(frame) = frame else { return };
        let mut key = Cow::Borrowed(frame.element);
        for (name, value) in attributes(frame.attributes.as_bytes()) {
            if frame.element == "Data" && name == "Name" && !value.is_empty() {
                key = value;
            } else if name != "xmlns" && !name.starts_with("xmlns:") {
                self.0.entry(Cow::Owned(format!("{}@{name}", frame.element))).or_default().push(value);
            }
        }
        if frame.is_leaf || !frame.text.trim().is_empty() {
            self.0.entry(key).or_default().push(frame.text);
        }
    }
}

fn append<'a>(text: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if text.is_empty() {
        *text = more;
    } else {
        text.to_mut().push_str(&more);
    }
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
