//! A value of a resource and where it stands, read by its type.
//!
//! `null` is the same as nothing: Azure's own tools print it for every property that is not set.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::findings::{Findings, code};
use super::unknown;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'v> {
    pub(super) value: &'v Value,
    pub(super) path: String,
}

impl<'v> Node<'v> {
    pub(super) fn new(value: &'v Value, path: &str) -> Self {
        Self { value, path: path.to_owned() }
    }

    /// The place of a property of this.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A property, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { value, path: self.at(key) })
    }

    /// A property that has to be there.
    pub(super) fn need(&self, key: &str, right: impl Display, findings: &mut Findings) -> Option<Self> {
        let found = self.get(key);
        if found.is_none() {
            findings.error(code::PAYLOAD, &self.at(key), format_args!("is missing; {right}"));
        }
        found
    }

    /// The properties of an object.
    pub(super) fn object(&self, findings: &mut Findings) -> Option<&'v Map<String, Value>> {
        if unknown::unresolved(self.value).is_some() {
            self.mismatch("an object", findings);
            return None;
        }
        let object = self.value.as_object();
        if object.is_none() {
            self.mismatch("an object", findings);
        }
        object
    }

    /// The items of a list; none when it is no list.
    pub(super) fn items(&self, findings: &mut Findings) -> impl Iterator<Item = Self> + use<'v> {
        let items = self.value.as_array();
        if items.is_none() {
            self.mismatch("a list", findings);
        }
        let path = self.path.clone();
        let items = items.map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(move |(n, value)| Self { value, path: format!("{path}[{n}]") })
    }

    /// A text, all of which is known.
    pub(super) fn text(&self, findings: &mut Findings) -> Option<&'v str> {
        let text = self.value.as_str().filter(|text| !unknown::is_unknown(text));
        if text.is_none() {
            self.mismatch("a text", findings);
        }
        text
    }

    /// A text that says something.
    pub(super) fn word(&self, findings: &mut Findings) -> Option<&'v str> {
        let text = self.text(findings)?;
        if text.trim().is_empty() {
            findings.error(code::PAYLOAD, &self.path, "is empty; write a text");
            return None;
        }
        Some(text)
    }

    /// A word by which things of one rule know each other; that only the deployment knows a part of it does not matter.
    pub(super) fn label(&self, findings: &mut Findings) -> Option<&'v str> {
        match self.value.as_str().filter(|text| unknown::is_unknown(text)) {
            Some(label) => Some(label),
            None => self.word(findings),
        }
    }

    /// Warns of properties that nobody knows.
    pub(super) fn only(&self, known: &[&str], findings: &mut Findings) {
        let Some(object) = self.value.as_object() else { return };
        for (key, value) in object.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            if value.is_null() {
                continue;
            }
            let near = known.iter().find(|known| known.eq_ignore_ascii_case(key));
            match near {
                Some(near) => findings.warning(
                    code::UNKNOWN,
                    &self.at(key),
                    format_args!("is not known here and has no effect; did you mean {near:?}?"),
                ),
                None => findings.warning(code::UNKNOWN, &self.at(key), "is not known here and has no effect"),
            }
        }
    }

    fn mismatch(&self, wanted: &str, findings: &mut Findings) {
        if let Some(text) = self.value.as_str().filter(|text| unknown::is_unknown(text)) {
            let message = format_args!(
                "is {:?}: what stands in brackets is only known at the deployment; say to which resource group that was, with \
                 resource_group (`--resource-group`), or deploy the template and export the rule with \
                 `az monitor data-collection rule show`",
                unknown::shown(text)
            );
            findings.error(code::TEMPLATE, &self.path, message);
            return;
        }
        match unknown::unresolved(self.value) {
            Some((expression, why)) => findings.error(
                code::TEMPLATE,
                &self.path,
                format_args!(
                    "the expression {expression} cannot be resolved here: {why}; deploy the template and export the rule \
                     with `az monitor data-collection rule show`"
                ),
            ),
            None => {
                findings.error(code::PAYLOAD, &self.path, format_args!("must be {wanted}, not {}", kind(self.value)));
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
