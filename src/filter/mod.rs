//! Which events are kept.
//!
//! Event sets are pairs of a channel and an event id, never bare ids: id 1 of the Security channel is in the common set, id 1
//! of Sysmon is not. [`Rules`] is the only entry: rules by XPath and data collection rules will be decided behind it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Fields;

pub mod dcr;
mod event_sets;
pub mod xpath;

pub use event_sets::EventSet;

/// The reason for a record that is outside the configured event set.
pub const NOT_IN_EVENT_SET: &str = "not_in_event_set";

/// What to keep.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The events to keep: `"Everything"` (all records, also those that are no Windows events), or one of the sets of the
    /// Security events connector: `"All"`, `"Common"`, `"Minimal"`, `"None"`. The sets hold events of the Security channel
    /// and of the two AppLocker channels; everything else is dropped and counted. The default is `"Everything"`: what to
    /// leave out is a decision, not an accident.
    pub event_set: EventSet,
}

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Keep it.
    Keep,
    /// Drop it, for this reason: a label value of the metric.
    Drop(&'static str),
}

/// The rules, ready to use: deciding allocates nothing.
#[derive(Debug, Clone)]
pub struct Rules {
    event_set: EventSet,
}

impl Rules {
    /// Rules as configured.
    pub fn new(config: &Config) -> Self {
        Self { event_set: config.event_set }
    }

    /// Whether to keep an event with these fields.
    pub fn decide(&self, fields: &Fields<'_>) -> Decision {
        if self.event_set.holds(fields.channel.as_deref(), fields.event_id) {
            Decision::Keep
        } else {
            Decision::Drop(NOT_IN_EVENT_SET)
        }
    }
}
