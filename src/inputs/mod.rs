//! Listeners for uploads: the protocols that agents speak, over HTTP/1.1 and HTTP/2.
//!
//! A request is routed, its sender admitted, its body collected and decompressed within limits, and handed to
//! [`Accept`] as an [`Upload`]. The answer is a success only when `Accept` says that the upload is durable.
//!
//! [`plane`] has the listeners that run, and [`serve`] each one's connections, TLS and strict HTTP/1 front door. It puts a
//! [`Peer`] into the extensions of each request that it hands to [`router`]. A request without one is denied.

pub mod access_log;
#[cfg(test)]
mod agreement;
#[cfg(test)]
mod conformance;
pub mod data_collector;
pub mod entra;
pub mod events;
mod forms;
pub mod grown;
pub mod http;
pub mod identity;
pub mod intake;
#[cfg(test)]
mod lines;
pub mod logs_ingestion;
pub mod members;
pub mod ods;
pub mod plane;
pub mod protocol;
pub mod reason;
pub mod registry;
mod routes;
pub mod serve;
mod traced;
pub mod wef;

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use http::auth::Peer;
pub use plane::Uploads;
pub use routes::{Opened, router};

use crate::faults::Fault;
use crate::net::{listen, tls_server};
use crate::values::Network;

#[expect(unused_imports, reason = "named by the module's documentation")]
use crate::{event::Upload, ingest::accept::Accept};

/// One listener for uploads.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name of the listener in logs, metrics and the status page. Default `"agents"`.
    pub name: String,
    /// The address and port to listen on. Default `127.0.0.1:8443`: a first start is reachable from this host only.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Load balancers that put a PROXY protocol header (version 1 or 2) before each connection. From their addresses
    /// the header is demanded and believed, so that networks, limits and the access log see the clients behind; from others
    /// it is an error. Default: none.
    pub proxy_protocol_from: Vec<Network>,
    /// The server's certificate and client certificates.
    pub tls: tls_server::Config,
    /// Who may upload.
    pub auth: http::auth::Config,
    /// Whose events a client may send.
    pub identity: identity::Config,
    /// A local Entra.
    pub entra: entra::Config,
    /// Sizes, times and numbers.
    pub limits: http::limits::Config,
    /// The protocols that it speaks.
    #[serde(flatten)]
    pub protocols: registry::Protocols,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "agents".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            proxy_protocol_from: Vec::new(),
            tls: tls_server::Config::default(),
            auth: http::auth::Config::default(),
            identity: identity::Config::default(),
            entra: entra::Config::default(),
            limits: http::limits::Config::default(),
            protocols: registry::Protocols::default(),
        }
    }
}

impl Config {
    /// Everything about this listener that cannot work, each with its key and what would be right.
    pub fn problems(&self) -> Vec<(String, String)> {
        let tls_off = self.tls.mode == tls_server::Mode::Off;
        let client_ca = self.asks_client_certificates();
        let mut problems = Vec::new();
        let mut check = |wrong: bool, message: &str| {
            if wrong {
                problems.push(message.to_owned());
            }
        };
        let name_is_sound = (1..=64).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        check(!name_is_sound, "name: write 1 to 64 letters, digits, \"-\" or \"_\"");
        check(
            tls_off && !self.may_be_plain(),
            "tls.mode is \"off\" on an address that other machines reach, where tokens could be read on the wire; \
             remove it, listen on a loopback address, or set tls.allow_plain_http = true",
        );
        for (key, needs) in self.tls.half_given() {
            check(true, &format!("{key} {needs}"));
        }
        check(tls_off && self.tls.client_ca.is_some(), "tls.client_ca needs TLS; remove it or tls.mode = \"off\"");
        check(
            self.tls.client_certificates == tls_server::ClientCertificates::Required && self.tls.client_ca.is_none(),
            "tls.client_certificates is \"required\"; set tls.client_ca",
        );
        let brings = self.protocols.bring_credentials();
        problems.extend(self.auth.problems(self.is_for_this_host() || brings, client_ca, self.entra.issues()));
        problems.extend(self.entra.problems());
        // Each agent is bound to the computer that it registered.
        let bound = client_ca
            || self.protocols.ods.enabled
            || self.protocols.wef.kerberos.is_enabled()
            || !self.protocols.bound_clients().is_empty();
        problems.extend(self.identity.problems(&self.auth, &self.entra, bound));
        problems.extend(self.limits.problems());
        problems.extend(self.protocols.problems());
        if self.protocols.wef.enabled && !client_ca && !self.protocols.wef.kerberos.is_enabled() {
            let message = "wef.enabled needs client certificates or Kerberos, which say who a host is; set tls.client_ca or wef.kerberos.keytab";
            problems.push(message.to_owned());
        }
        if self.protocols.wef.kerberos.is_enabled() && !tls_off {
            let message = "wef.kerberos.keytab: hosts seal what they send under Kerberos themselves, and speak no TLS then; \
                           set tls.mode = \"off\" here, and add a listener of its own for hosts with certificates";
            problems.push(message.to_owned());
        }
        problems.extend(self.problems_of_agents());
        problems.into_iter().map(keyed).collect()
    }

    /// Agents show certificates that nobody signed, so that nothing else can be known by one there.
    fn problems_of_agents(&self) -> Vec<String> {
        let (ods, tls) = (&self.protocols.ods, &self.tls);
        let mut problems = Vec::new();
        let mut check = |wrong: bool, message: &str| {
            if wrong {
                problems.push(message.to_owned());
            }
        };
        check(
            ods.has_no_workspace(&self.protocols.data_collector),
            "ods.workspaces is empty, so no agent could register; add a workspace, or data_collector.workspaces beside it",
        );
        check(
            ods.enabled && tls.mode == tls_server::Mode::Off,
            "ods.enabled needs TLS, in which agents show their certificates; remove tls.mode = \"off\"",
        );
        check(
            ods.enabled && (tls.client_ca.is_some() || self.protocols.wef.enabled),
            "ods.enabled takes certificates that no authority has signed; remove tls.client_ca and wef here, and give them a listener \
             of their own",
        );
        problems
    }

    /// Whether clients may show any certificate, which then proves nothing but that they have its key.
    fn takes_any_certificate(&self) -> bool {
        self.protocols.ods.enabled
    }

    /// Everything that is wrong with the files and the address that it names. Makes nothing.
    pub fn faults(&self) -> Vec<Fault> {
        let listen = listen::fault(self.listen).map(|reason| Fault::stops("listen", reason));
        let tls = self.tls.faults().into_iter().map(|fault| fault.within("tls"));
        let entra = self.entra.faults().into_iter().map(|fault| fault.within("entra"));
        let wef = self.protocols.wef.faults(&self.name).into_iter().map(|fault| fault.within("wef"));
        listen.into_iter().chain(tls).chain(entra).chain(wef).collect()
    }

    /// What works, and is yet hardly meant.
    pub fn warnings(&self) -> Vec<(String, String)> {
        self.identity.warning(&self.auth, &self.entra, &self.protocols.bound_clients()).into_iter().collect()
    }

    /// Who is let in, for people who ask before anybody comes. Tokens of a local Entra are not known to it.
    pub fn gate(&self) -> http::auth::Gate {
        http::auth::Gate::new(&self.auth, self.is_for_this_host(), self.asks_client_certificates(), None)
    }

    /// The agent groups that clients can belong to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.auth.groups().chain(self.entra.groups()).chain(self.protocols.groups())
    }

    /// Whether it lets in whoever is on this host, and nobody else: nothing says who others may be.
    pub fn admits_only_this_host(&self) -> bool {
        let asks_client_ca = self.asks_client_certificates();
        let of_others = self.auth.problems(self.protocols.bring_credentials(), asks_client_ca, self.entra.issues());
        self.is_for_this_host() && !of_others.is_empty()
    }

    /// Whether it may speak HTTP without TLS: to clients on this host, where that is allowed, and where Kerberos seals everything.
    pub(crate) fn may_be_plain(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
            || self.tls.allow_plain_http
            || (self.protocols.wef.kerberos.is_enabled() && self.protocols.only_wef())
    }

    /// Whether only clients on this host can reach it: on loopback, and no balancer speaks for others.
    fn is_for_this_host(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback() && self.proxy_protocol_from.is_empty()
    }

    fn asks_client_certificates(&self) -> bool {
        self.tls.client_ca.is_some() && self.tls.mode == tls_server::Mode::On
    }
}

/// A problem begins with the key it is about: cut there.
fn keyed(problem: String) -> (String, String) {
    match problem.split_once([':', ' ']) {
        Some((key, message)) => (key.to_owned(), message.trim_start().to_owned()),
        None => (String::new(), problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let found = toml::from_str::<Config>(text).expect("it can be read").problems();
        found.into_iter().map(|(key, message)| format!("{key} {message}")).collect()
    }

    #[test]
    fn the_defaults_have_no_problems_and_read_back() {
        let defaults = Config::default();
        assert_eq!(defaults.problems(), []);
        let text = toml::to_string(&defaults).expect("it can be written");
        assert_eq!(toml::from_str::<Config>(&text).expect("it can be read"), defaults);
    }

    /// A listener for agents, and what else is said of it.
    fn agents(rest: &str) -> String {
        let (id, key) = ("01234567-89ab-cdef-0123-456789abcdef", "AAECAwQFBgcICQoLDA0ODw==");
        format!("ods = {{ enabled = true, workspaces = [{{ id = \"{id}\", keys = [\"{key}\"] }}] }}\n{rest}")
    }

    #[test]
    fn each_agent_is_bound_to_its_computer_so_that_identities_may_be_enforced() {
        assert_eq!(problems(&agents("identity.policy = \"enforce\"")), Vec::<String>::new());
    }

    #[test]
    fn each_problem_names_its_key_and_what_would_be_right() {
        for (text, key) in [
            ("name = \"a b\"", "name"),
            ("listen = \"0.0.0.0:8443\"", "auth"),
            ("proxy_protocol_from = [\"127.0.0.1/32\"]", "without proxy_protocol_from"),
            ("listen = \"0.0.0.0:80\"\nauth.networks = [\"10.0.0.0/8\"]\ntls.mode = \"off\"", "tls.allow_plain_http"),
            ("tls.certificate = \"cert.pem\"", "tls.key"),
            ("tls.mode = \"off\"\ntls.client_ca = \"ca.pem\"", "tls.client_ca"),
            ("tls.client_certificates = \"required\"", "tls.client_ca"),
            ("events.enabled = false\nlogs_ingestion.enabled = false", "logs_ingestion"),
            ("auth.tokens = [{ name = \"plant\", sha256 = \"secret\" }]", "sha256sum"),
            ("auth.require = [\"network\"]", "auth.networks"),
            ("entra.enabled = true", "entra.clients"),
            ("identity.policy = \"enforce\"", "identity.policy"),
            ("limits.memory_max = \"1 MiB\"", "limits.memory_max"),
            ("limits.max_connections = 0", "limits.max_connections"),
            ("logs_ingestion.streams = [\"a/b\"]", "logs_ingestion.streams"),
            ("ods.enabled = true", "ods.workspaces"),
            (&*agents("tls.mode = \"off\""), "ods.enabled needs TLS"),
            (&*agents("tls.client_ca = \"ca.pem\""), "ods.enabled takes certificates"),
        ] {
            let found = problems(text);
            assert!(found.len() == 1 && found[0].contains(key), "{text}: {found:?}");
        }
    }

    #[test]
    fn unknown_keys_and_networks_that_are_none_are_refused() {
        for text in [
            "nmae = \"x\"",
            "auth.networks = [\"10.0.0.0/99\"]",
            "proxy_protocol_from = [\"lb\"]",
            "limits.wire_mx = \"1 MiB\"",
        ] {
            assert!(toml::from_str::<Config>(text).is_err(), "{text}");
        }
        assert!(problems("auth.networks = [\"10.0.0.1\", \"2001:db8::/32\"]").is_empty());
    }
}
