//! What can be configured of the admin plane, and what is wrong with it.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::net::{listen, tls_server};
use crate::values::{Network, Secret};

/// Beside uploads (8443). 9090, the port of former versions, is that of Prometheus itself and of Cockpit, and 9100 to 9999
/// belong to Prometheus' exporters.
const PORT: u16 = 8449;

/// Settings of the admin plane.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port. The default is reachable from this machine only. `/livez` and `/readyz` answer everybody who reaches
    /// it, `/metrics` and `/status` too, unless `require_token` or `check_host` say otherwise.
    pub listen: SocketAddr,
    /// Bearer token for reload, drain, dead letters and rules. Without one they work only while `listen` is a loopback address.
    pub token: Option<Secret>,
    /// What needs the token. Default `"changes"`.
    pub require_token: Scope,
    /// Host names, without port, under which the plane may be called, beside `localhost`, `127.0.0.1`, `[::1]` and the address
    /// that a request arrived at. Other names are refused without the token, so that a web page cannot make an operator's
    /// browser call it.
    pub allowed_hosts: Vec<String>,
    /// For what the Host of a request is compared with these names. Default `"changes"`.
    pub check_host: Scope,
    /// Networks of load balancers and monitoring. 64 connections are kept for them and for this machine, whatever else is open.
    /// Default: none but this machine.
    pub probes_from: Vec<Network>,
    /// TLS of the whole plane. Without this table there is none. `allow_plain_http` is for uploads and means nothing here.
    pub tls: tls_server::Config,
}

/// Which requests a rule is for. To `/livez` and `/readyz` none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// What changes something or shows events: reload, drain, the clock, dead letters, refused hosts, rules, the configuration.
    #[default]
    Changes,
    /// `/`, `/status`, `/live`, `/history`, `/log`, `/hosts` and `/metrics` as well.
    Everything,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], PORT)),
            token: None,
            require_token: Scope::Changes,
            allowed_hosts: Vec::new(),
            check_host: Scope::Changes,
            probes_from: Vec::new(),
            tls: tls_server::Config { mode: tls_server::Mode::Off, ..tls_server::Config::default() },
        }
    }
}

impl Config {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.speaks_tls() { "https" } else { "http" }
    }

    pub(super) fn speaks_tls(&self) -> bool {
        self.tls.mode == tls_server::Mode::On
    }

    /// Everything that is wrong with the address and the files that it names. Makes nothing.
    pub fn faults(&self) -> Vec<Fault> {
        let listen = listen::fault(self.listen).map(|reason| Fault::stops("listen", reason));
        let tls = self.tls.faults().into_iter().map(|fault| fault.within("tls"));
        listen.into_iter().chain(tls).collect()
    }

    /// What is wrong beyond the types of the values: (key, what would be right).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: String, message: &str| problems.push((key, message.to_owned()));
        if self.token.as_ref().is_some_and(|token| token.reveal().len() < 16) {
            wrong("token".to_owned(), "is too short; `gatepost token` makes a good one");
        }
        if self.token.is_none() && self.require_token == Scope::Everything {
            wrong("require_token".to_owned(), "needs a token to ask for; set admin.token");
        }
        for (n, host) in self.allowed_hosts.iter().enumerate() {
            if host.is_empty() || host.contains(['/', ' ', '*']) || (host.contains(':') && !host.starts_with('[')) {
                let message = "is not a host name; write the name alone, such as \"gatepost.example.com\"";
                wrong(format!("allowed_hosts[{n}]"), message);
            }
        }
        for (key, needs) in self.tls.half_given() {
            wrong(key.to_owned(), needs);
        }
        if self.tls.client_ca.is_some() || self.tls.client_certificates == tls_server::ClientCertificates::Required {
            let key = if self.tls.client_ca.is_some() { "tls.client_ca" } else { "tls.client_certificates" };
            wrong(key.to_owned(), "is for uploads; to keep others out of the admin plane set admin.require_token");
        }
        problems
    }

    /// What works, and is yet hardly meant.
    pub fn warnings(&self) -> Vec<(String, String)> {
        let beyond = !self.listen.ip().to_canonical().is_loopback();
        let readable = beyond && self.token.is_some() && !self.speaks_tls();
        let warning = "can be read on the wire: admin.listen is reached by other machines, in plain HTTP; add [admin.tls], \
                       or put a proxy with TLS on this machine and listen on loopback";
        readable.then(|| ("token".to_owned(), warning.to_owned())).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("it can be read")
    }

    #[test]
    fn bad_settings_are_named() {
        for (text, key) in [
            ("token = \"short\"", "token"),
            ("allowed_hosts = [\"https://x\"]", "allowed_hosts[0]"),
            ("require_token = \"everything\"", "require_token"),
            ("tls = { certificate = \"c.pem\" }", "tls.certificate"),
            ("tls = { client_ca = \"c.pem\" }", "tls.client_ca"),
            ("tls = { client_certificates = \"required\" }", "tls.client_certificates"),
        ] {
            let problems = config(text).problems();
            assert_eq!(problems.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), [key], "{text}");
        }
        assert!(Config::default().problems().is_empty());
    }

    #[test]
    fn a_table_of_tls_means_tls_and_none_means_none() {
        assert_eq!(Config::default().scheme(), "http");
        assert_eq!(config("tls = {}").scheme(), "https");
        assert_eq!(config("tls = { mode = \"off\" }").scheme(), "http");
        let text = toml::to_string(&Config::default()).expect("it can be written");
        assert_eq!(config(&text), Config::default());
    }

    #[test]
    fn a_token_that_crosses_the_network_in_plain_text_is_warned_of() {
        let token = "token = \"0123456789abcdef\"\n";
        assert_eq!(config(&format!("{token}listen = \"0.0.0.0:1\"")).warnings().len(), 1);
        for quiet in ["listen = \"127.0.0.1:1\"", "listen = \"0.0.0.0:1\"\n[tls]\n"] {
            assert_eq!(config(&format!("{token}{quiet}")).warnings(), [], "{quiet}");
        }
        assert_eq!(config("listen = \"0.0.0.0:1\"").warnings(), []);
    }

    #[test]
    fn the_default_port_is_nobody_elses() {
        let port = Config::default().listen.port();
        // Prometheus and its own parts, its exporters, and what systems give to outgoing connections.
        let taken = |port: u16| matches!(port, 8080 | 8443 | 5985 | 5986 | 9090..=9099 | 9100..=9999 | 32768..);
        assert!(!taken(port) && port > 1024, "{port}");
    }
}
