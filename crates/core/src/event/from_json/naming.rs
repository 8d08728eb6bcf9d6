//! Every computer that a record in JSON names, found by the scanner that takes the fields: what it reads, this sees.

use std::borrow::Cow;

use super::keys::{Field, Place, Target, target};
use super::{JsonError, Scan, Scanner};
use crate::event::computers::Computers;
use crate::event::quoted;

/// The column of every table that tells a row's computer.
const COLUMN: &str = "Computer";

/// All computers that a record names.
///
/// # Errors
///
/// When the text is no JSON.
pub(in crate::event) fn computers(text: &str) -> Result<Computers<'_>, JsonError> {
    let mut scanner = Scanner::new(text, 0);
    scanner.computers = Some(Computers::default());
    if scanner.peek() == Some(b'{') {
        scanner.object(Place::Root)?;
    } else {
        scanner.skip()?;
    }
    Ok(scanner.computers.unwrap_or_default())
}

impl<'a> Scanner<'a> {
    /// Notes what the member whose value comes next tells about computers. Passes over nothing.
    pub(super) fn note(&mut self, place: Place, key: &str) -> Scan {
        let is_known = matches!(target(place, key), Target::Value(Field::Computer, _));
        // Who takes rows may not mind the letter case of columns.
        let is_computer = is_known || (matches!(place, Place::Root) && key.eq_ignore_ascii_case(COLUMN));
        match self.peek() {
            Some(b'"') => {
                let at = self.pos;
                let text = self.string()?;
                self.pos = at;
                self.note_text(text, is_computer);
            }
            // A null names nobody, and where XML became JSON the name stands inside of an object.
            Some(b'n') => {}
            Some(b'{') if matches!(place, Place::System) => {}
            _ if is_computer => self.noted().has_other = true,
            _ => {}
        }
        Ok(())
    }

    fn note_text(&mut self, text: Cow<'a, str>, is_computer: bool) {
        if is_computer {
            self.noted().take(text);
        } else if quoted::trimmed(&text).starts_with('<') {
            match text {
                Cow::Borrowed(text) => self.noted().take_xml(quoted::trimmed(text).as_bytes()),
                Cow::Owned(text) => {
                    let mut inner = Computers::default();
                    inner.take_xml(quoted::trimmed(&text).as_bytes());
                    let own = inner.names.into_iter().map(|name| Cow::Owned(name.into_owned()));
                    let noted = self.computers.get_or_insert_default();
                    noted.names.extend(own);
                    noted.has_other |= inner.has_other;
                }
            }
        }
    }

    fn noted(&mut self) -> &mut Computers<'a> {
        self.computers.get_or_insert_default()
    }
}
