//! The other gateways of the installation: what each says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::values::PerMinute;

/// What a gateway says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    pub(crate) name: String,
    pub(crate) version: String,
    /// When, by the engine's clock, in seconds since 1970.
    pub(crate) at: u64,
    pub(crate) pending: u64,
    /// Which process, and since when in milliseconds: of two the older one goes on.
    pub(crate) run: String,
    pub(crate) since: u64,
    /// The hash of the parts of its configuration in which all gateways must agree.
    pub(crate) agreed: String,
    /// What it sends through each data collection rule of Azure.
    pub(crate) quotas: BTreeMap<String, PerMinute>,
}

/// Another gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Its number, in hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How long ago it was seen.
    pub seen_seconds_ago: u64,
    /// Events that it had still to send.
    pub pending: u64,
    /// Whether its configuration agrees with ours where it must.
    pub agrees: bool,
    /// What it sends through each data collection rule of Azure, by the rule's id.
    pub quotas: BTreeMap<String, PerMinute>,
}

/// In the order in which they are shown.
pub(crate) fn sorted(mut neighbours: Vec<Neighbour>) -> Vec<Neighbour> {
    neighbours.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    neighbours
}
