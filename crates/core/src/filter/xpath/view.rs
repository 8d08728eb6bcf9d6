//! An event as a query sees it.

use crate::event::document::Document;
use crate::event::{Event, Timestamp};

/// An event, the time that counts as now, and a document that is read as far as a query needs it.
#[derive(Debug)]
pub struct View<'a> {
    /// The event.
    pub event: &'a Event<'a>,
    /// What `timediff` with one argument counts to.
    pub now: Timestamp,
    document: &'a mut Document,
}

impl<'a> View<'a> {
    /// A view of an event. What `document` held before is forgotten, its memory is used again.
    pub fn new(event: &'a Event<'a>, now: Timestamp, document: &'a mut Document) -> Self {
        document.clear();
        Self { event, now, document }
    }

    /// The event's tree, of which at least `System` is read.
    pub fn system(&mut self) -> &Document {
        self.document.read_system(self.event);
        self.document
    }

    /// The event's tree, read to its end; what is in `System` may be missing.
    pub fn body(&mut self) -> &Document {
        self.document.read_body(self.event);
        self.document
    }

    /// The event's tree, read to its end.
    pub fn whole(&mut self) -> &Document {
        self.document.read_all(self.event);
        self.document
    }
}
