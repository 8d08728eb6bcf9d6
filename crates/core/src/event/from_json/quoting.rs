//! Records that quote an event instead of telling it: which of their texts it is.

use std::borrow::Cow;

use super::{Scan, Scanner};
use crate::event::{Fields, quoted};

/// So many texts of a record are tried: no agent has two, and a body of nothing but such texts must not take several times its
/// memory. Which computers a record names does not depend on this: `naming` looks into each text itself, noted or not.
const QUOTES_MAX: usize = 16;

impl Scanner<'_> {
    /// Passes over a text, and notes it if it may be an event in XML; whether it is written without escapes.
    #[inline]
    pub(super) fn pass_text(&mut self) -> Scan<bool> {
        let text = self.pass_string()?;
        let is_plain = !text.has_escapes;
        if self.quotes.len() < QUOTES_MAX && quoted::may_begin(&self.bytes[text.start..text.end]) {
            self.quotes.push(text);
        }
        Ok(is_plain)
    }

    /// Takes the first event among the noted texts for the record, which begins at `at`, unless the record is one by itself.
    pub(super) fn take_quoted(&mut self, at: usize) {
        if self.quotes.is_empty() || self.fields.is_windows_event() {
            return;
        }
        for quote in std::mem::take(&mut self.quotes) {
            // Both ends are ASCII quotes, so the slice begins and ends between characters.
            let string = quote.start - 1..quote.end + 1;
            let fields = match quoted::unescaped(&self.text[string.clone()]) {
                Cow::Borrowed(text) => quoted::read(text).map(|(fields, _)| fields),
                Cow::Owned(text) => quoted::read(&text).map(|(fields, _)| fields.into_owned()),
            };
            if let Some(fields) = fields {
                // Of a record in JSON, nothing ends where its `System` does.
                let quoted = Some(string.start - at..string.end - at);
                self.fields = Fields { quoted, system_end: None, ..fields };
                return;
            }
        }
    }
}
