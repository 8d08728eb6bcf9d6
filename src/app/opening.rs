//! Everything that a gateway opens at its start, looked at: what `gatepost check`, a start and a reload find wrong.
//!
//! Each component says itself what is wrong with what its configuration names (see [`crate::faults`]). This is the list of them;
//! a component that opens something has its line here.

use super::memory;
use super::rules;
use super::state::{self, StateDir};
use super::warnings;
use crate::config::Config;
use crate::faults::Fault;
use crate::memory::Shares;

/// Everything that is wrong with what a configuration names. Makes nothing and locks nothing. `running` is the configuration of
/// this process: what it has open already is not judged again.
pub fn look(config: &Config, running: Option<&Config>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add =
        |section: &str, found: Vec<Fault>| faults.extend(found.into_iter().map(|fault| fault.within(section)));
    for (n, listener) in config.listeners.iter().enumerate() {
        add(&format!("listeners[{n}]"), listener.faults());
    }
    for (n, output) in config.outputs.iter().enumerate() {
        add(&format!("outputs[{n}]"), crate::outputs::faults(&output.output, &config.state_dir));
    }
    add("tunnel", config.tunnel.faults());
    add("access_log", config.access_log.faults());
    add("", warnings::of(config).into_iter().map(|warning| Fault::warns("", warning)).collect());
    if running.is_none() {
        add("admin", config.admin.faults());
        add("", state(config));
        add("", memory::warning(config, &Shares::here()).map(|reason| Fault::warns("", reason)).into_iter().collect());
    }
    faults.retain(|fault| !running.is_some_and(|running| is_open(&fault.key, config, running)));
    faults
}

/// The state directory, and the rules in it.
fn state(config: &Config) -> Vec<Fault> {
    let found = StateDir::faults(&config.state_dir);
    if found.is_empty() {
        return rules::faults(config);
    }
    // Root, who looks at the state of a gateway that runs as another user, would not start one on it, but may well check it.
    let weigh = if state::belongs_to_another_than_root(&config.state_dir) { Fault::warns } else { Fault::stops };
    found.into_iter().map(|reason| weigh("state_dir", reason)).collect()
}

/// Whether a key is that of an address that this process listens on already: it may have gone from the machine since.
fn is_open(key: &str, wanted: &Config, running: &Config) -> bool {
    let number = |rest: &str| rest.strip_suffix("].listen").and_then(|n| n.parse::<usize>().ok());
    let upload = key.strip_prefix("listeners[").and_then(number).and_then(|n| wanted.listeners.get(n));
    let tunnel = key.strip_prefix("tunnel.listeners[").and_then(number).and_then(|n| wanted.tunnel.listeners.get(n));
    upload.is_some_and(|wanted| running.listeners.iter().any(|open| open.listen == wanted.listen))
        || tunnel.is_some_and(|wanted| running.tunnel.listeners.iter().any(|open| open.listen == wanted.listen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_open_already_is_not_judged_again() {
        let mut config = Config::default();
        config.listeners[0].listen = "192.0.2.1:8443".parse().expect("an address");
        let keys = |running: Option<&Config>| -> Vec<String> {
            look(&config, running).into_iter().map(|fault| fault.key).filter(|key| key.contains("listen")).collect()
        };
        assert_eq!(keys(None), ["listeners[0].listen"]);
        assert_eq!(keys(Some(&Config::default())), ["listeners[0].listen"]);
        assert_eq!(keys(Some(&config)), Vec::<String>::new());
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        assert!(look(&config, None).iter().all(|fault| fault.weight == crate::faults::Weight::Warns));
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
