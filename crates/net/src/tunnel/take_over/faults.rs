//! What is wrong with the authority that a configuration names, and with what it is to sign.

use super::{Authority, AuthorityError};
use crate::faults::Fault;
use crate::net::tls_files::out_of_time;
use crate::tunnel::allow_list::Pattern;
use crate::tunnel::config::Config;

/// Everything that is wrong with the files of the authorities, and hosts that one of them may not sign for. Makes nothing.
pub(in crate::tunnel) fn faults(config: &Config) -> Vec<Fault> {
    let mut found = Vec::new();
    for pair in config.ca.pairs() {
        match Authority::load(pair) {
            Err(error @ AuthorityError::Certificate(_)) => {
                found.push(Fault::stops(format!("ca.{}", pair.certificate_key), error.to_string()));
            }
            Err(error @ AuthorityError::Key(_)) => {
                found.push(Fault::stops(format!("ca.{}", pair.key_key), error.to_string()));
            }
            Ok(authority) => found.extend(not_for(config, &authority, &pair.certificate.display().to_string())),
        }
        let ended = out_of_time(pair.certificate);
        found.extend(ended.map(|reason| Fault::fails(format!("ca.{}", pair.certificate_key), reason)));
    }
    found
}

/// Hosts that no client would believe.
fn not_for(config: &Config, authority: &Authority, file: &str) -> Vec<Fault> {
    let constraints = &authority.facts().constraints;
    let hosts = config.take_over.iter().enumerate().flat_map(|(n, table)| {
        table.hosts.iter().enumerate().map(move |(m, host)| (format!("take_over[{n}].hosts[{m}]"), host))
    });
    let is_wrong = |host: &str| Pattern::parse(host).is_ok_and(|pattern| !constraints.allow_some(&pattern.host));
    let told = |key: String| {
        let permitted = constraints.permitted().join(", ");
        let message = format!(
            "is a host that {file} may not sign for, and every client would refuse it; it may sign for {permitted}, each with \
             everything below: choose another host, or make an authority with `gatepost ca init --domain`"
        );
        Fault::stops(key, message)
    };
    hosts.filter(|(_, host)| is_wrong(host)).map(|(key, _)| told(key)).collect()
}
