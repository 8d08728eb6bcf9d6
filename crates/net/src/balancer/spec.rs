//! What the balancer has to know of an endpoint.

use super::event_rate::SharedRate;

/// One endpoint. Its index in the list given to the balancer is how the balancer names it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// A short name for the status page.
    pub name: String,
    /// Relative share of traffic among endpoints of one priority. What is not above 0 counts as 1.
    pub weight: f64,
    /// Lower numbers are used first; the next one only while none of these is available.
    pub priority: u32,
    /// Most events a second, if capped; 0 counts as 1.
    pub events_per_second: Option<u32>,
    /// What it shares with others of its address: their caps are one.
    pub rate: SharedRate,
    /// Most requests in flight; 0 counts as 1.
    pub max_in_flight: usize,
}
