//! A row while it is written: one line of JSON, column by column.
//!
//! Rows are made once for each event that is forwarded, so they are written straight into their bytes. A column is written
//! once, and never without its type.

use std::ops::Range;

use super::escape;

/// A JSON object in one line.
pub(super) struct Line<'n> {
    bytes: Vec<u8>,
    /// The columns, and where their values stand.
    names: Vec<(&'n str, Range<usize>)>,
}

impl<'n> Line<'n> {
    /// An empty row that will take about so many bytes.
    pub(super) fn new(size: usize) -> Self {
        let mut bytes = Vec::with_capacity(size);
        bytes.push(b'{');
        Self { bytes, names: Vec::with_capacity(48) }
    }

    /// Begins a member of the object that is open; its value has to follow.
    pub(super) fn member(&mut self, name: &str) {
        if !self.bytes.ends_with(b"{") {
            self.bytes.push(b',');
        }
        self.string(name);
        self.bytes.push(b':');
    }

    /// A text as a value.
    pub(super) fn string(&mut self, text: &str) {
        escape::string(text, &mut self.bytes);
    }

    /// A value that is JSON in one line.
    pub(super) fn json(&mut self, json: &str) {
        self.bytes.extend_from_slice(json.as_bytes());
    }

    /// A list as a value.
    pub(super) fn list<T>(&mut self, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.bytes.push(b'[');
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                self.bytes.push(b',');
            }
            write(self, value);
        }
        self.bytes.push(b']');
    }

    /// A column of the table, whose value `write` writes.
    fn put(&mut self, name: &'n str, write: impl FnOnce(&mut Self)) {
        if self.bytes.len() > 1 {
            self.bytes.push(b',');
        }
        // No table has a column whose name needs escapes.
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\":");
        let start = self.bytes.len();
        write(self);
        self.names.push((name, start..self.bytes.len()));
    }

    /// A column of an object, whose members `write` writes.
    pub(super) fn object(&mut self, name: &'n str, write: impl FnOnce(&mut Self)) {
        self.put(name, |line| {
            line.bytes.push(b'{');
            write(line);
            line.bytes.push(b'}');
        });
    }

    /// A column whose value `write` writes as JSON in one line.
    pub(super) fn raw(&mut self, name: &'n str, write: impl FnOnce(&mut Vec<u8>)) {
        self.put(name, |line| write(&mut line.bytes));
    }

    /// A column of text, if there is any: an empty text is no different from none in a query.
    pub(super) fn text(&mut self, name: &'n str, text: &str) {
        if !text.is_empty() {
            self.put(name, |line| line.string(text));
        }
    }

    /// A column of a number, if there is one that fits.
    pub(super) fn int(&mut self, name: &'n str, number: Option<impl TryInto<i32>>) {
        if let Some(number) = number.and_then(|number| number.try_into().ok()) {
            self.put(name, |line| escape::number(number, &mut line.bytes));
        }
    }

    /// Whether a column of this name is there.
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|(known, _)| *known == name)
    }

    /// Whether a column of this name, in any letter case, holds this text, or the number that it is written like.
    pub(super) fn tells(&self, name: &str, text: &str) -> bool {
        self.names.iter().any(|(known, at)| {
            let value = &self.bytes[at.clone()];
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
            known.eq_ignore_ascii_case(name) && value == text.as_bytes()
        })
    }

    /// Adds a column whose name is not one of the table's own, unless it is there already.
    pub(super) fn add(&mut self, name: &str, text: &str) {
        if !self.has(name) {
            self.member(name);
            self.string(text);
        }
    }

    /// Adds such a column with a value that is JSON.
    pub(super) fn add_json(&mut self, name: &str, json: &str) {
        if !self.has(name) {
            self.member(name);
            // In strings, line breaks are always escaped.
            self.bytes.extend(json.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        }
    }

    /// The row.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'}');
        self.bytes
    }
}
