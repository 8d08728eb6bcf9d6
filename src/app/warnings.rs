//! What a configuration says that works and is yet hardly meant: told by `check`, at the start, by a reload, and on `/status`.
//!
//! Nothing is read here but the configuration itself. What certificates keep out is told where they are loaded.

use crate::config::Config;

/// Each warning with the section that it is about. Costs nothing worth keeping.
pub fn of(config: &Config) -> Vec<String> {
    let listeners = config.listeners.iter().flat_map(|listener| {
        let name = &listener.name;
        listener.warnings().into_iter().map(move |warning| format!("listeners {name:?}: {warning}"))
    });
    listeners.chain(config.admin.warnings()).collect()
}
