//! What the configuration says about Kerberos on a listener of forwarded events.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::net::gss::{self, keytab};
use crate::values::FileToRead;

/// Kerberos, for hosts of a domain without certificates. Windows' port for it is 5985.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The keys of the gateway's own account in the domain, as `ktpass`, `ktutil` or Samba write them. With it hosts show tickets
    /// in place of certificates and seal what they send; the listener needs `tls.mode = "off"` then, and no `tls.client_ca`.
    /// A new file at the same place holds from the next host on. Default: hosts show certificates.
    #[schemars(with = "Option<FileToRead>")]
    pub keytab: Option<PathBuf>,
    /// The service names that hosts ask the domain for, such as `["HTTP/gateway.example.com", "HOST/gateway.example.com"]`; Windows
    /// Server 2025 asks for the second. Each must be in the keytab, and hosts are told to deliver at no other name than theirs (see
    /// `notify_to`). Default: none is looked for, since one account's key opens the tickets of all of its names.
    pub services: Vec<String>,
    /// Who is let in, the first that fits. Default: the computers (`*$`) of the realms that the keytab is of.
    pub principals: Vec<Principal>,
    /// The domains in DNS that hosts' names end with: with `"example.com"`, `PC1$` speaks for `PC1.example.com` and `PC1`. Default:
    /// the realm of its ticket.
    pub domains: Vec<String>,
    /// Hosts at once that have shown a ticket, each by each of its connections; above it 503. Default 16384.
    pub max_contexts: usize,
}

/// Principals that are let in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Their name, such as `"WEC1$@EXAMPLE.COM"`, with `*` for any part.
    pub name: String,
    /// Clients of one group share duplicate detection. Default: each principal is on its own.
    #[serde(default)]
    pub group: Option<String>,
    /// Computers that they may speak for, with `*` for any part; see `identity.policy`. Default: the computer of their name.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Azure resource ids that they may name, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub resource_ids: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let (services, principals, domains) = (Vec::new(), Vec::new(), Vec::new());
        Self { keytab: None, services, principals, domains, max_contexts: 16_384 }
    }
}

impl Config {
    /// Whether hosts show tickets.
    pub fn is_enabled(&self) -> bool {
        self.keytab.is_some()
    }

    /// Whether `authority`, a name or an address with or without a port, is one of the gateway's, as far as its services tell.
    pub(in crate::inputs::wef) fn is_called(&self, authority: &str) -> bool {
        let name = authority.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']'));
        let name = name.map_or(authority, |(name, _)| name);
        let host = |service: &str| {
            let (_, host) = service.split_once('/')?;
            host.split(['@', ':', '/']).next().map(|host| host.eq_ignore_ascii_case(name))
        };
        let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        // Nobody gets a ticket for an address that the domain does not know.
        self.services.is_empty() || is_address || self.services.iter().any(|service| host(service) == Some(true))
    }

    /// What cannot work; each begins with its key.
    pub(in crate::inputs::wef) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |wrong: bool, message: String| {
            if wrong {
                problems.push(format!("wef.kerberos.{message}"));
            }
        };
        let is_alone = self.keytab.is_none() && *self != Self::default();
        check(is_alone, "keytab: it is missing, and the other keys do nothing without it; name the keytab".to_owned());
        check(
            self.is_enabled() && !gss::IS_BUILT_IN,
            "keytab: this gatepost was built without Kerberos; take a package that has it, build with --features kerberos \
             where the headers of MIT Kerberos are, or let hosts show certificates (tls.client_ca)"
                .to_owned(),
        );
        check(self.max_contexts == 0, "max_contexts: it is 0; write 1 or more".to_owned());
        for (n, service) in self.services.iter().enumerate() {
            let is_one = service.split_once('/').is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty());
            check(
                !is_one,
                format!("services[{n}]: {service:?} is no service; write one such as \"HTTP/gateway.example.com\""),
            );
        }
        for (n, Principal { name, .. }) in self.principals.iter().enumerate() {
            let told = "is no principal; write one such as \"WEC1$@EXAMPLE.COM\" or \"*$@EXAMPLE.COM\"";
            check(!name.contains('@'), format!("principals[{n}].name: {name:?} {told}"));
        }
        for (n, domain) in self.domains.iter().enumerate() {
            let is_one = !domain.is_empty() && !domain.starts_with('.') && !domain.contains('*');
            check(!is_one, format!("domains[{n}]: {domain:?} is no domain; write one such as \"example.com\""));
        }
        problems
    }

    /// What is wrong with the keytab.
    pub(in crate::inputs::wef) fn faults(&self) -> Vec<Fault> {
        let Some(path) = &self.keytab else { return Vec::new() };
        let entries = match keytab::load(path) {
            Ok(entries) => entries,
            Err(error) => {
                return vec![Fault::stops("keytab", format!("{}: {error}; export it anew", path.display()))];
            }
        };
        if !entries.iter().any(|entry| entry.key().is_some()) {
            let told = "holds no key with AES; export it with AES keys (ktpass /crypto AES256-SHA1)";
            return vec![Fault::stops("keytab", format!("{} {told}", path.display()))];
        }
        let missing = |service: &&String| !entries.iter().any(|entry| entry.key().is_some() && entry.is_of(service));
        let numbered = self.services.iter().enumerate().filter(|(_, service)| missing(service));
        let mut known: Vec<&str> = entries.iter().map(|entry| entry.service.as_str()).collect();
        known.dedup();
        let told = |service: &str| {
            format!(
                "{service:?} has no key with AES in {}, which holds {}; add it to the account (setspn -S) and export the keytab anew",
                path.display(),
                known.join(", ")
            )
        };
        let faults = numbered.map(|(n, service)| Fault::stops(format!("services[{n}]"), told(service)));
        faults.chain(readable_by_others(path)).collect()
    }

    /// The agent groups that principals can belong to.
    pub(in crate::inputs::wef) fn groups(&self) -> Vec<&str> {
        self.principals.iter().filter_map(|principal| principal.group.as_deref()).collect()
    }
}

#[cfg(unix)]
fn readable_by_others(path: &std::path::Path) -> Option<Fault> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = path.metadata().ok()?.permissions().mode();
    let told = "can be read by everybody on this machine, who could then pass for the gateway; set its mode to 0600";
    (mode & 0o004 != 0).then(|| Fault::warns("keytab", format!("{} {told}", path.display())))
}

#[cfg(not(unix))]
fn readable_by_others(_: &std::path::Path) -> Option<Fault> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Weight;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("it can be read")
    }

    #[test]
    fn each_problem_names_its_key_and_what_would_be_right() {
        for (text, key) in [
            ("max_contexts = 0", "max_contexts"),
            ("services = [\"gateway\"]", "services[0]"),
            ("principals = [{ name = \"PC1$\" }]", "principals[0].name"),
            ("domains = [\".example.com\"]", "domains[0]"),
        ] {
            let found = config(&format!("keytab = \"a\"\n{text}")).problems();
            assert!(found.iter().any(|told| told.starts_with(&format!("wef.kerberos.{key}: "))), "{text}: {found:?}");
            let alone = config(text).problems();
            assert!(alone[0].starts_with("wef.kerberos.keytab: it is missing"), "{text}: {alone:?}");
        }
        assert_eq!(Config::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn the_gateway_is_called_by_the_names_of_its_services_and_no_other() {
        let named = config("services = [\"HTTP/gate.example.test@EXAMPLE.TEST\", \"HOST/GATE:5985\"]");
        for own in
            ["gate.example.test:5985", "GATE.example.test", "gate", "10.0.0.7:5985", "[fd00::7]:5985", "[fd00::7]"]
        {
            assert!(named.is_called(own), "{own}");
        }
        for other in ["gate.example.test.evil.test:5985", "evil.test", "", ":5985"] {
            assert!(!named.is_called(other), "{other}");
        }
        assert!(Config::default().is_called("any.test"), "nobody has said");
    }

    #[test]
    fn a_keytab_is_refused_by_a_program_without_kerberos() {
        let found = config("keytab = \"a\"").problems();
        assert_eq!(found.is_empty(), gss::IS_BUILT_IN, "{found:?}");
        assert!(found.iter().all(|told| told.contains("was built without Kerberos")), "{found:?}");
    }

    #[test]
    fn a_keytab_is_looked_into() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("gateway.keytab");
        let text = format!("keytab = {path:?}\nservices = [\"HTTP/gate.example.test\", \"HOST/gate.example.test\"]");
        let found = |content: Option<&[u8]>| {
            if let Some(content) = content {
                std::fs::write(&path, content).expect("it can be written");
            }
            let stops = config(&text).faults().into_iter().filter(|fault| fault.weight == Weight::Stops);
            stops.map(|fault| format!("{}: {}", fault.key, fault.message)).collect::<Vec<_>>()
        };
        assert!(found(None)[0].starts_with("keytab: "), "it is missing");
        assert!(found(Some(b"hello"))[0].contains("it is no keytab"));
        assert!(found(Some(&[5, 2]))[0].contains("no key with AES"));
        let entry = |name: &str| {
            let (realm, kind, host) = ("EXAMPLE.TEST", name, "gate.example.test");
            let text = |text: &str| [&[0, text.len() as u8][..], text.as_bytes()].concat();
            let head = [&[0, 2][..], &text(realm), &text(kind), &text(host), &[0; 8], &[1, 0, 18, 0, 32], &[7; 32]];
            let entry = head.concat();
            [&(entry.len() as i32).to_be_bytes()[..], &entry].concat()
        };
        let half = [&[5, 2][..], &entry("HTTP")].concat();
        assert!(found(Some(&half))[0].starts_with("services[1]: \"HOST/gate.example.test\""), "{:?}", found(None));
        assert_eq!(found(Some(&[half.clone(), entry("HOST")].concat())), Vec::<String>::new());
    }
}
