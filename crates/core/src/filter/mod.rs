//! Which events are kept, and where they go.
//!
//! [`Rules`] is the only entry: it is made of event sets, queries, and Azure's data collection rules, and decides about one
//! event after the other. Event sets are pairs of a channel and an event id, never bare ids: id 1 of the Security channel is
//! in the common set, id 1 of Sysmon is not.
//!
//! Nothing here reads a file or a clock: what rules are made of is handed in, and the time comes with the upload.

mod config;
pub mod dcr;
mod event_sets;
pub mod rules;
pub mod xpath;

pub use config::{Config, RuleConfig, Workspace};
pub use event_sets::EventSet;
pub use rules::{Outcome, Route, RouteSet, Rules, Session, Taken};

/// The reason for a record of a host without rules that is outside the configured event set.
pub const NOT_IN_EVENT_SET: &str = "not_in_event_set";

/// The reason for a record that none of its host's rules takes.
pub const NOT_SELECTED: &str = "not_selected";

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Keep it, for the outputs of this set.
    Keep(RouteSet),
    /// Drop it, for this reason: a label value of the metric.
    Drop(&'static str),
}
