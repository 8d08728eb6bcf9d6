//! Where the members of a record come from while it becomes a row: a walk that proves it, or a search that does not.
//!
//! The walk notes on the way what decoding finds in the row: a member counts for that under the name that it has there, and only
//! names without a suffix are fields of an event.

use super::rewrite::RewriteError;
use crate::event::from_json::JsonError;
use crate::event::from_json::walk::{Plain, Walk};
use crate::event::{Fields, Timestamp, near};
use crate::inputs::grown::NoRoom;
use crate::inputs::members::{Broken, Members, Seen};

/// Why a record becomes no row.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is no JSON, as far as was read: others have to say what it is instead.
    NotProven,
    /// The body is refused for it.
    Refused(RewriteError),
}

/// The members of one record.
pub(super) trait Source<'a> {
    /// The next member, where it is written as nearly all are; `None` where it is not, or nobody looks for that.
    #[inline(always)]
    fn plain(&mut self) -> Option<Plain> {
        None
    }

    /// The next member; `None` behind the record.
    fn next(&mut self, is_first: bool) -> Result<Option<Seen<'a>>, Fault>;

    /// The last member stands in the row as it is written, under this name.
    fn keeps(&mut self, name: &str, seen: &Seen<'a>) -> Result<(), Fault>;

    /// The row gets a member that the record does not have, with this time.
    fn adds_time(&mut self, name: &str, time: Option<Timestamp>);
}

/// A record that is passed over.
pub(super) struct Unproven<'m, 'a>(pub(super) &'m mut Members<'a>);

impl<'a> Source<'a> for Unproven<'_, 'a> {
    #[inline]
    fn next(&mut self, is_first: bool) -> Result<Option<Seen<'a>>, Fault> {
        Ok(self.0.seen_with(is_first, near::word)?)
    }

    fn keeps(&mut self, _: &str, _: &Seen<'a>) -> Result<(), Fault> {
        Ok(())
    }

    fn adds_time(&mut self, _: &str, _: Option<Timestamp>) {}
}

/// A record that is proven.
pub(super) struct Proven<'a> {
    text: &'a str,
    walk: Walk<'a>,
    /// Whether members keep their names.
    keeps_names: bool,
}

impl<'a> Proven<'a> {
    /// The record that begins there.
    pub(super) fn open(text: &'a str, at: usize, keeps_names: bool) -> Result<Self, Fault> {
        Ok(Self { text, walk: Walk::open(text, at)?, keeps_names })
    }

    /// Where reading goes on.
    pub(super) fn pos(&self) -> usize {
        self.walk.pos()
    }

    /// What decoding finds in the row; `None` where that has to read it.
    pub(super) fn fields(self) -> Option<Fields<'a>> {
        self.walk.end()
    }
}

impl<'a> Source<'a> for Proven<'a> {
    #[inline(always)]
    fn plain(&mut self) -> Option<Plain> {
        // What keeps its name may be a field, and is looked at for that.
        if self.keeps_names { None } else { self.walk.plain() }
    }

    fn next(&mut self, _: bool) -> Result<Option<Seen<'a>>, Fault> {
        let Some(name) = self.walk.name(near::word)? else { return Ok(None) };
        let kept = self.keeps_names.then(|| self.walk.text_of(&name));
        Ok(Some(Seen::by(&mut self.walk, self.text, &name, kept.as_deref())?))
    }

    fn keeps(&mut self, name: &str, seen: &Seen<'a>) -> Result<(), Fault> {
        Ok(self.walk.keep_after_all(seen.value_at, name)?)
    }

    fn adds_time(&mut self, name: &str, time: Option<Timestamp>) {
        self.walk.add_time(name, time);
    }
}

impl From<Fault> for RewriteError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotProven => Self::Malformed("a record is no JSON".to_owned()),
            Fault::Refused(refused) => refused,
        }
    }
}

impl From<JsonError> for Fault {
    fn from(_: JsonError) -> Self {
        Self::NotProven
    }
}

impl From<RewriteError> for Fault {
    fn from(refused: RewriteError) -> Self {
        Self::Refused(refused)
    }
}

impl From<NoRoom> for Fault {
    fn from(no_room: NoRoom) -> Self {
        Self::Refused(no_room.into())
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Refused(broken.into())
    }
}
