//! What agents send in XML, read in one pass and without a tree: uploads, registrations and renewals.

mod alike;
mod event_data;
mod items;
mod linked;
mod places;
mod reader;
mod registration;

pub use items::{How, Rows, data_type, rewrite, rewrite_each};
pub use registration::{Registration, registration, renewal};

use crate::event::{MAX_EVENTS, MAX_RECORD_BYTES};
use crate::inputs::grown::NoRoom;
use crate::inputs::reason::{Failure, Reason};

/// Longest value of a property, or of an element of an event.
const VALUE_MAX: usize = MAX_RECORD_BYTES;

/// Why a document is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    /// It breaks a rule of XML, or of what it should be.
    #[error("the body cannot be read: {0}, at byte {1}")]
    Malformed(&'static str, usize),
    /// It is something else than what the path takes.
    #[error("the body is not {0}")]
    Other(&'static str),
    /// Something that it must have is missing or wrong.
    #[error("the body has no usable {0}")]
    Lacks(&'static str),
    /// More items than one upload may have.
    #[error("the upload holds more than {MAX_EVENTS} items; send them in several")]
    TooMany,
    /// No room for what is made of it.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl From<XmlFault> for Failure {
    fn from(fault: XmlFault) -> Self {
        match fault {
            XmlFault::NoRoom(no_room) => no_room.into(),
            XmlFault::TooMany => Self::new(Reason::BODY_TOO_LARGE, fault.to_string()),
            _ => Self::new(Reason::UNREADABLE, fault.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
