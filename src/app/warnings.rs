//! What a configuration says that works and is yet hardly meant: told by `check`, at the start, by a reload, and on `/status`.
//!
//! Nothing is read here but the configuration itself. What certificates keep out is told where they are loaded.

use std::time::Duration;

use crate::config::Config;

/// Each warning with the key that it is about. Costs nothing worth keeping.
pub fn of(config: &Config) -> Vec<(String, String)> {
    let listeners = config.listeners.iter().enumerate().flat_map(|(n, listener)| {
        let name = &listener.name;
        listener
            .warnings()
            .into_iter()
            .map(move |(key, warning)| (format!("listeners[{n}].{key}"), format!("listener {name:?}: {warning}")))
    });
    let admin = config.admin.warnings().into_iter().map(|(key, warning)| (format!("admin.{key}"), warning));
    let tunnels = config.tunnel.warnings().into_iter().map(|(key, warning)| (format!("tunnel.{key}"), warning));
    let drain = config.drain_grace.get() > UNIT_KILLS_AFTER;
    let drain = drain.then(|| ("drain_grace".to_owned(), OVER_UNIT.to_owned()));
    listeners.chain(admin).chain(tunnels).chain(drain).collect()
}

/// What is left of the `TimeoutStopSec` (75 s) of the unit that comes with Gatepost, for what follows the grace.
const UNIT_KILLS_AFTER: Duration = Duration::from_secs(60);

const OVER_UNIT: &str = "is longer than the service unit that comes with Gatepost waits: it kills the gateway 75 s after the stop began; raise \
                         TimeoutStopSec of the unit as well";
