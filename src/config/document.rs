//! A TOML text as plain values, with the place of every key and value in the text.
//!
//! Values are kept as JSON values because schemas speak JSON; places are kept beside them, by dotted path, because no
//! deserialiser carries spans through tagged enums. A value that was already reported as wrong becomes null, which TOML
//! does not have, so that later steps pass over it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::expand::{Sources, Unexpanded, expand, files_in};
use super::mend::Mend;
use super::problem::Problem;
use super::redact::{redacted, without_credentials};

/// A finding about a dotted path, not yet tied to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) message: String,
    /// Whether the value as written helps to understand the message (and may be shown).
    pub(super) show: bool,
    /// What becomes of the value while the rest of its section is judged.
    pub(super) mend: Mend,
    /// It is about something that is not on this machine, and may be there on another.
    pub(super) is_missing: bool,
}

impl Finding {
    /// With the value as written.
    pub(super) fn shown(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), show: true, mend: Mend::Nothing, is_missing: false }
    }

    /// Without the value.
    pub(super) fn hidden(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { show: false, ..Self::shown(path, message) }
    }
}

struct Place {
    key: Range<usize>,
    value: Range<usize>,
    scalar: bool,
}

/// A parsed file.
pub(super) struct Document<'t> {
    text: &'t str,
    /// The values, expanded.
    pub(super) value: Value,
    places: HashMap<String, Place>,
    /// Paths whose value must not be shown.
    pub(super) secret: HashSet<String>,
    /// Texts that must not be shown, with the paths at which they stand.
    pub(super) hidden: Vec<(String, String)>,
    /// The files that `${file:…}` names.
    pub(super) files: Vec<PathBuf>,
    /// What was found while reading: missing variables, numbers out of range.
    pub(super) findings: Vec<Finding>,
}

/// The path of a key within a table.
pub(super) fn join(parent: &str, key: &str) -> String {
    match parent.is_empty() {
        true => key.to_owned(),
        false if key.starts_with('[') => format!("{parent}{key}"),
        false => format!("{parent}.{key}"),
    }
}

impl<'t> Document<'t> {
    /// Reads a text. Mistakes of the syntax end here, because what follows them cannot be trusted.
    pub(super) fn parse(text: &'t str, sources: &Sources<'_>) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors.iter().map(|error| syntax(text, error)).collect());
        }
        let mut document = Self {
            text,
            value: Value::Null,
            places: HashMap::new(),
            secret: HashSet::new(),
            hidden: Vec::new(),
            files: Vec::new(),
            findings: Vec::new(),
        };
        document.value = document.table("", table.get_ref(), sources);
        Ok(document)
    }

    fn table(&mut self, path: &str, table: &DeTable<'_>, sources: &Sources<'_>) -> Value {
        let mut map = Map::new();
        for (key, value) in table {
            let inner = join(path, key.get_ref());
            let converted = self.value(&inner, key.span(), value, sources);
            map.insert(key.get_ref().to_string(), converted);
        }
        Value::Object(map)
    }

    fn value(
        &mut self,
        path: &str,
        key: Range<usize>,
        value: &toml::Spanned<DeValue<'_>>,
        sources: &Sources<'_>,
    ) -> Value {
        let scalar = !matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
        self.places.insert(path.to_owned(), Place { key, value: value.span(), scalar });
        let converted = match value.get_ref() {
            DeValue::Table(table) => return self.table(path, table, sources),
            DeValue::Array(items) => {
                let items = items.iter().enumerate();
                return items
                    .map(|(n, item)| self.value(&join(path, &format!("[{n}]")), item.span(), item, sources))
                    .collect();
            }
            DeValue::String(text) => return self.text(path, text, sources),
            DeValue::Boolean(flag) => Ok(Value::Bool(*flag)),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map(Value::from)
                .map_err(|_| "is too large; write a whole number below 9223372036854775808".to_owned()),
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Value::from(number)),
                _ => Err("is not a number that can be used; write one such as 0.8".to_owned()),
            },
            DeValue::Datetime(_) => Err("is a date, which no key takes; write text in quotes".to_owned()),
        };
        converted.unwrap_or_else(|message| {
            self.findings.push(Finding { mend: Mend::LeaveOut, ..Finding::shown(path, message) });
            Value::Null
        })
    }

    fn text(&mut self, path: &str, text: &str, sources: &Sources<'_>) -> Value {
        self.files.extend(files_in(text, sources));
        match expand(text, sources) {
            Ok(expanded) => {
                // The text as written shows only the reference; what was put in stays hidden.
                if !expanded.inserted.is_empty() {
                    self.hidden.extend(expanded.inserted.into_iter().map(|text| (path.to_owned(), text)));
                    self.hidden.push((path.to_owned(), expanded.text.clone()));
                }
                Value::String(expanded.text)
            }
            Err(Unexpanded { message, is_missing }) => {
                // Not shown: around the reference there may be the rest of a secret.
                self.findings.push(Finding { mend: Mend::LeaveOut, is_missing, ..Finding::hidden(path, message) });
                Value::Null
            }
        }
    }

    /// Ties a finding to its line. A path that is not in the file stands where its nearest parent stands.
    pub(super) fn problem(&self, finding: Finding) -> Problem {
        let (place, exact) = self.place(&finding.path);
        let at = match place {
            Some(place) if exact && finding.show && place.scalar => place.value.start,
            Some(place) => place.key.start,
            None => 0,
        };
        let value = place.filter(|place| exact && finding.show && place.scalar).and_then(|place| {
            let written = &self.text[place.value.clone()];
            if self.secret.contains(&finding.path) {
                return Some("***".to_owned());
            }
            (!written.contains('\n') && written.len() <= 120).then(|| without_credentials(written))
        });
        let (line, column) = position(self.text, at);
        let message = redacted(finding.message, &finding.path, &self.hidden);
        Problem { line, column, key: finding.path, value, message }
    }

    fn place(&self, path: &str) -> (Option<&Place>, bool) {
        if let Some(place) = self.places.get(path) {
            return (Some(place), true);
        }
        let mut parent = path;
        while let Some(cut) = parent.rfind(['.', '[']) {
            parent = &parent[..cut];
            if let Some(place) = self.places.get(parent) {
                return (Some(place), false);
            }
        }
        (None, false)
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> Problem {
    let (line, column) = position(text, error.span().map_or(0, |span| span.start));
    let said = error.message().replace('\n', ", ");
    let key = error.span().and_then(|span| text.get(span)).filter(|_| said == "duplicate key");
    let message = match key {
        Some(key) => format!("is not TOML: the key {:?} stands here a second time; remove one of the two", key.trim()),
        None => format!("is not TOML: {said}"),
    };
    Problem { line, column, key: String::new(), value: None, message }
}

/// Line and column, from 1; columns count characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
