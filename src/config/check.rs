//! Walks values along their schema and finds every mistake: unknown and missing keys, wrong types, bad values.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::document::{Finding, join};
use super::mend::{Mend, stand_in};
use super::schema::{Schema, Shape, Table, Text, Variant};
use crate::values::{ByteSize, Span, SpanOrZero};

/// What a message about a key that nobody knows begins with.
pub(super) const UNKNOWN: &str = "is not known here";

/// What a walk brought to light.
#[derive(Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    /// Paths that hold secrets.
    pub(super) secret: HashSet<String>,
    /// The secrets themselves with their paths, to be kept out of messages.
    pub(super) hidden: Vec<(String, String)>,
    /// Paths of values that are paths of files, and of which kind.
    pub(super) files: Vec<(String, Text)>,
    /// What stands in for values that could not be read, by path.
    pub(super) unread: Vec<(String, Mend)>,
}

/// Checks a whole document.
pub(super) fn check(schema: &Schema, value: &Value) -> Found {
    let mut walk = Walk { schema, found: Found::default() };
    walk.value("", value, &schema.root);
    walk.found
}

struct Walk<'s> {
    schema: &'s Schema,
    found: Found,
}

impl Walk<'_> {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        self.found.findings.push(Finding::shown(path, message));
    }

    fn value(&mut self, path: &str, value: &Value, schema: &Value) {
        if value.is_null() {
            return self.found.unread.push((path.to_owned(), stand_in(self.schema, schema)));
        }
        let before = self.found.findings.len();
        self.value_of(path, value, schema);
        for finding in self.found.findings[before..].iter_mut().filter(|finding| finding.path == path) {
            finding.mend = stand_in(self.schema, schema);
        }
    }

    fn value_of(&mut self, path: &str, value: &Value, schema: &Value) {
        match self.schema.shape(schema) {
            Shape::Table(table) => match value.as_object() {
                Some(map) => self.table(path, map, &table),
                None => self.wrong(path, "must be a table"),
            },
            Shape::Tagged { tag, variants } => match value.as_object() {
                Some(map) => self.tagged(path, map, &tag, &variants),
                None => self.wrong(path, "must be a table"),
            },
            Shape::List(items) => match value.as_array() {
                Some(list) => {
                    for (n, item) in list.iter().enumerate() {
                        self.value(&join(path, &format!("[{n}]")), item, &items);
                    }
                }
                None => self.wrong(path, "must be a list; write it in [ ], or as [[…]] for tables"),
            },
            Shape::Either(shapes) => self.either(path, value, &shapes),
            Shape::Text(kind) => self.text(path, value, kind),
            Shape::Choice(words) => {
                self.choice(path, value, &words.into_iter().map(|(word, _)| word).collect::<Vec<_>>())
            }
            Shape::Whole { min, max } => self.whole(path, value, min, max),
            Shape::Number { min, max } => self.number(path, value, min, max),
            Shape::Flag if !value.is_boolean() => self.wrong(path, "must be true or false, without quotes"),
            Shape::Flag | Shape::Anything => {}
        }
    }

    fn table(&mut self, path: &str, map: &Map<String, Value>, table: &Table) {
        for (key, value) in map {
            let inner = join(path, key);
            match (table.fields.iter().find(|field| field.name == *key), &table.others) {
                (Some(field), _) => self.value(&inner, value, &field.schema),
                (None, Some(schema)) => self.value(&inner, value, schema),
                (None, None) => self.unknown(inner, key, table),
            }
        }
        for field in table.fields.iter().filter(|field| field.required && !map.contains_key(&field.name)) {
            let message = format!("is missing; it must be {}", self.wanted(&field.schema));
            let mend = stand_in(self.schema, &field.schema);
            self.found.findings.push(Finding { mend, ..Finding::hidden(join(path, &field.name), message) });
        }
    }

    fn unknown(&mut self, path: String, key: &str, table: &Table) {
        let known: Vec<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
        let message = match nearest(key, &known) {
            Some(near) => format!("{UNKNOWN}; did you mean {near:?}?"),
            None => format!("{UNKNOWN}; known are {}", known.join(", ")),
        };
        // The value is not shown: it may be a secret under a mistyped name.
        self.found.findings.push(Finding { mend: Mend::LeaveOut, ..Finding::hidden(path, message) });
    }

    fn tagged(&mut self, path: &str, map: &Map<String, Value>, tag: &str, variants: &[Variant]) {
        let names: Vec<String> = variants.iter().map(|variant| variant.name.clone()).collect();
        let inner = join(path, tag);
        match map.get(tag) {
            None => {
                let message = format!("is missing; it must be {}", one_of(&names));
                self.found.findings.push(Finding::hidden(inner, message));
            }
            Some(given) => match variants.iter().find(|variant| given.as_str() == Some(&variant.name)) {
                Some(variant) => self.value(path, &Value::Object(map.clone()), &variant.schema),
                None => self.choice(&inner, given, &names),
            },
        }
    }

    /// Takes the first shape that fits; else tells about the one that comes nearest.
    fn either(&mut self, path: &str, value: &Value, shapes: &[Value]) {
        let tries = shapes.iter().map(|shape| {
            let mut walk = Walk { schema: self.schema, found: Found::default() };
            walk.value(path, value, shape);
            walk.found
        });
        let deepest =
            |found: &Found| found.findings.iter().map(|finding| finding.path.len()).max().unwrap_or(usize::MAX);
        let Some(best) = tries.max_by_key(deepest) else { return };
        if best.findings.iter().any(|finding| finding.path == path) {
            let wanted: Vec<String> = shapes.iter().map(|shape| self.wanted(shape)).collect();
            return self.wrong(path, format!("must be {}", wanted.join(", or ")));
        }
        self.found.findings.extend(best.findings);
        self.found.secret.extend(best.secret);
        self.found.hidden.extend(best.hidden);
        self.found.files.extend(best.files);
        self.found.unread.extend(best.unread);
    }

    fn text(&mut self, path: &str, value: &Value, kind: Text) {
        if kind == Text::Secret {
            self.found.secret.insert(path.to_owned());
            self.found.hidden.extend(value.as_str().map(|text| (path.to_owned(), text.to_owned())));
        }
        if matches!(kind, Text::FileToRead | Text::PlaceToKeep) && value.is_string() {
            self.found.files.push((path.to_owned(), kind));
        }
        let right = match (value.as_str(), kind) {
            (None, _) => false,
            (Some(_), Text::Plain | Text::Secret | Text::FileToRead | Text::PlaceToKeep) => true,
            (Some(text), Text::Size) => text.parse::<ByteSize>().is_ok(),
            (Some(text), Text::Span) => text.parse::<Span>().is_ok(),
            (Some(text), Text::SpanOrZero) => text.parse::<SpanOrZero>().is_ok(),
        };
        if !right {
            self.wrong(path, format!("must be {}", wanted_text(kind)));
        }
    }

    fn choice(&mut self, path: &str, value: &Value, words: &[String]) {
        let given = value.as_str().unwrap_or_default();
        if words.iter().any(|word| word == given) {
            return;
        }
        let known: Vec<&str> = words.iter().map(String::as_str).collect();
        let hint = nearest(given, &known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        self.wrong(path, format!("must be {}{hint}", one_of(words)));
    }

    fn whole(&mut self, path: &str, value: &Value, min: i64, max: i64) {
        if !value.as_i64().is_some_and(|number| (min..=max).contains(&number)) {
            self.wrong(path, format!("must be {}", wanted_whole(min, max)));
        }
    }

    fn number(&mut self, path: &str, value: &Value, min: Option<f64>, max: Option<f64>) {
        let fits = |number: f64| min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max);
        if !value.as_f64().is_some_and(fits) {
            self.wrong(path, format!("must be {}", wanted_number(min, max)));
        }
    }

    fn wanted(&self, schema: &Value) -> String {
        match self.schema.shape(schema) {
            Shape::Table(_) | Shape::Tagged { .. } => "a table".to_owned(),
            Shape::List(_) => "a list".to_owned(),
            Shape::Choice(words) => one_of(&words.into_iter().map(|(word, _)| word).collect::<Vec<_>>()),
            Shape::Text(kind) => wanted_text(kind).to_owned(),
            Shape::Whole { min, max } => wanted_whole(min, max),
            Shape::Number { min, max } => wanted_number(min, max),
            Shape::Flag => "true or false".to_owned(),
            Shape::Either(shapes) => shapes.iter().map(|shape| self.wanted(shape)).collect::<Vec<_>>().join(", or "),
            Shape::Anything => "given".to_owned(),
        }
    }
}

fn wanted_text(kind: Text) -> &'static str {
    match kind {
        Text::Plain => "text in quotes",
        Text::FileToRead | Text::PlaceToKeep => "a path in quotes",
        Text::Size => "a size; write a whole number and a unit in quotes, such as \"64 MiB\"",
        Text::Span => {
            "a span of time; write a whole number above 0 and a unit in quotes, such as \"500 ms\", \"30 s\" or \"24 h\""
        }
        Text::SpanOrZero => {
            "a span of time; write a whole number and a unit in quotes, such as \"10 s\", or \"0 s\" for none"
        }
        Text::Secret => "a secret; write \"${env:NAME}\" or \"${file:/path}\"",
    }
}

fn wanted_whole(min: i64, max: i64) -> String {
    match (min, max) {
        (i64::MIN, _) => "a whole number".to_owned(),
        (min, i64::MAX) => format!("a whole number, {min} or more"),
        (min, max) => format!("a whole number from {min} to {max}"),
    }
}

fn wanted_number(min: Option<f64>, max: Option<f64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("a number from {min} to {max}, such as 0.8"),
        (Some(min), None) => format!("a number, {min} or more"),
        _ => "a number".to_owned(),
    }
}

fn one_of(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

/// The known name that a mistyped one most likely stands for.
pub(super) fn nearest<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let given = plain(given);
    let allowed = given.chars().count().div_ceil(3).min(3);
    let distances = known.iter().map(|name| (distance(&given, &plain(name)), *name));
    distances.filter(|(d, _)| *d <= allowed).min_by_key(|(d, _)| *d).map(|(_, name)| name)
}

/// Edits (insert, remove, replace, swap of neighbours) from one text to another.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let edited = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { edited.min(rows[i - 2][j - 2] + 1) } else { edited }
            };
        }
    }
    rows[a.len()][b.len()]
}
