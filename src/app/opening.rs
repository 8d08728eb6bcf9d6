//! Everything that a gateway opens at its start, looked at: what `gatepost check`, a start and a reload find wrong.
//!
//! Each component says itself what is wrong with what its configuration names (see [`crate::faults`]). This is the list of them;
//! a component that opens something has its line here.

use super::memory;
use super::rules;
use super::sharing;
use super::state::{self, StateDir};
use super::state_sharing;
use super::traces;
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
    let state_is_wrong = running.is_none() && !StateDir::faults(&config.state_dir).is_empty();
    for (n, output) in config.outputs.iter().enumerate() {
        // What keeps the state directory from being used keeps what lies in it too, and is told once.
        if !(state_is_wrong && crate::outputs::lies_in(&output.output, &config.state_dir)) {
            add(&format!("outputs[{n}]"), crate::outputs::faults(&output.output, &config.state_dir));
        }
    }
    add("dedup", config.dedup.faults());
    add("replication", config.replication.faults());
    add("", state_sharing::faults(config));
    add("", sharing::faults(config));
    add("tunnel", config.tunnel.faults());
    add("access_log", config.access_log.faults());
    add("telemetry", traces::faults(&config.telemetry));
    add("", warnings::of(config).into_iter().map(|(key, warning)| Fault::warns(key, warning)).collect());
    if running.is_none() {
        add("admin", config.admin.faults());
        add("", state(config));
        add("", memory::warning(config, &Shares::here()).map(|reason| Fault::warns("", reason)).into_iter().collect());
    }
    faults.retain(|fault| !running.is_some_and(|running| is_open(&fault.key, config, running)));
    faults
}

/// The same for a check, which starts nothing. Root, who looks at the state of a gateway that runs as another user, would not
/// start one on it, but may well check it, and must not be told to take it away from that user.
pub fn look_beside(config: &Config) -> Vec<Fault> {
    let mut faults = look(config, None);
    if let Some(uid) = state::owner_beside_root(&config.state_dir) {
        let told = format!(
            "{} belongs to user {uid}; run this check as that user to have it judged",
            config.state_dir.display()
        );
        faults.retain(|fault| fault.key != STATE_DIR);
        faults.push(Fault::warns(STATE_DIR, told));
    }
    faults
}

const STATE_DIR: &str = "state_dir";

/// The state directory, and the rules in it.
fn state(config: &Config) -> Vec<Fault> {
    let found = StateDir::faults(&config.state_dir);
    if found.is_empty() {
        return rules::faults(config);
    }
    found.into_iter().map(|reason| Fault::stops(STATE_DIR, reason)).collect()
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
    fn a_check_by_root_beside_the_state_of_another_user_gives_no_harmful_advice() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Config { state_dir: dir.path().to_owned(), ..Config::default() };
        // Only root can give something away.
        if std::os::unix::fs::chown(dir.path(), Some(4242), None).is_err() {
            return;
        }
        let of_state =
            |found: Vec<Fault>| found.into_iter().filter(|fault| fault.key == "state_dir").collect::<Vec<_>>();
        let (checked, started) = (of_state(look_beside(&config)), of_state(look(&config, None)));
        assert!(checked.len() == 1 && checked[0].weight == crate::faults::Weight::Warns, "{checked:?}");
        assert!(checked[0].message.contains("user 4242; run this check as that user"), "{checked:?}");
        assert!(!checked[0].message.contains("chown"), "{checked:?}");
        assert!(started.iter().any(|fault| fault.weight == crate::faults::Weight::Stops), "{started:?}");
    }

    #[test]
    fn a_state_directory_that_cannot_be_made_is_told_once() {
        let config = Config { state_dir: "/proc/gatepost".into(), ..Config::default() };
        let found: Vec<Fault> =
            look(&config, None).into_iter().filter(|fault| fault.message.contains("/proc")).collect();
        assert!(found.len() == 1 && found[0].key == "state_dir", "{found:?}");
        assert!(found[0].weight == crate::faults::Weight::Stops, "{found:?}");
    }

    #[test]
    fn looking_makes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let config = Config { state_dir: dir.path().join("state"), ..Config::default() };
        assert!(look(&config, None).iter().all(|fault| fault.weight == crate::faults::Weight::Warns));
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
