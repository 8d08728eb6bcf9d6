//! What the columns of every table are made of: the fields of an event, and the rest of its `System`.

use std::borrow::Cow;

use crate::event::document::{Document, Node};
use crate::event::{Fields, Timestamp};

/// The parts of `System` beside the fields; empty where the event has none.
#[derive(Debug, Default)]
pub(super) struct System<'d> {
    /// `Task`.
    pub(super) task: &'d str,
    /// `Version`.
    pub(super) version: &'d str,
    /// `Opcode`.
    pub(super) opcode: &'d str,
    /// `Keywords`.
    pub(super) keywords: Cow<'d, str>,
    /// `Correlation/@ActivityID`.
    pub(super) activity_id: &'d str,
    /// `Execution/@ProcessID`.
    pub(super) process_id: &'d str,
    /// `Execution/@ThreadID`.
    pub(super) thread_id: &'d str,
    /// `Security/@UserID`.
    pub(super) user_id: &'d str,
}

impl<'d> System<'d> {
    /// Looks the parts up in `Event/System`.
    pub(super) fn of(document: &'d Document, event: Node) -> Self {
        let mut system = Self::default();
        let elements = document.children(event).find(|child| document.name(*child) == Some("System"));
        for part in elements.into_iter().flat_map(|element| document.children(element)) {
            let attribute = |wanted| {
                let mut attributes = document.attributes(part);
                attributes.find(|node| document.name(*node) == Some(wanted)).map_or("", |node| document.value(node))
            };
            match document.name(part) {
                Some("Task") => system.task = document.value(part),
                Some("Version") => system.version = document.value(part),
                Some("Opcode") => system.opcode = document.value(part),
                Some("Keywords") => system.keywords = Cow::Borrowed(document.value(part)),
                Some("Correlation") => system.activity_id = attribute("ActivityID"),
                Some("Execution") => {
                    system.process_id = attribute("ProcessID");
                    system.thread_id = attribute("ThreadID");
                }
                Some("Security") => system.user_id = attribute("UserID"),
                _ => {}
            }
        }
        system
    }
}

/// The `Event` element of a document; the root of one that has none.
pub(super) fn event_node(document: &Document) -> Node {
    document.children(Node::ROOT).find(|child| document.name(*child) == Some("Event")).unwrap_or(Node::ROOT)
}

/// The number that a text in decimal or, after `0x`, hexadecimal digits means, if it fits into a column of 32 bits.
pub(super) fn int(text: &str) -> Option<i32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => i32::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    }
}

/// The name of a level. Audit events have level 0.
pub(super) fn level_name(level: Option<u8>) -> &'static str {
    const NAMES: [&str; 6] = ["LogAlways", "Critical", "Error", "Warning", "Information", "Verbose"];
    level.and_then(|level| NAMES.get(usize::from(level)).copied()).unwrap_or_default()
}

/// The time of an event as a `datetime`, which knows the years 1 to 9999.
pub(super) fn time_generated(fields: &Fields<'_>) -> String {
    fields.time.and_then(datetime).unwrap_or_default()
}

/// A time as a `datetime`.
pub(super) fn datetime(time: Timestamp) -> Option<String> {
    is_datetime(time).then(|| time.to_string())
}

/// Whether a time is one that a `datetime` can be.
pub(super) fn is_datetime(time: Timestamp) -> bool {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    (FIRST..=LAST).contains(&time.unix_seconds())
}
