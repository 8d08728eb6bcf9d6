//! What an operator can set about Redis or Valkey.

use std::path::PathBuf;

use redis::{ClientTlsConfig, TlsCertificates};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dedup::several::WhenUnavailable;
use crate::faults::Fault;
use crate::values::{FileToRead, Secret, Span};

/// The Redis or Valkey that gateways share, version 6 or later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `"host:port"` of the server; of a primary and its replicas all of them: the one that is the primary is used, also
    /// after a failover; of a Redis Cluster some of its servers. Required with `dedup.kind = "redis"`, unless Sentinel is asked.
    pub addresses: Vec<String>,
    /// `"host:port"` of the Sentinels, instead of `addresses`: they are asked which server is the primary.
    pub sentinels: Vec<String>,
    /// What the Sentinels call the primary. Default `mymaster`.
    pub sentinel_master: String,
    /// The user name at the Sentinels. Default: none.
    pub sentinel_user: Option<String>,
    /// The password at the Sentinels. Default: none.
    pub sentinel_password: Option<Secret>,
    /// Whether connections are TLS, those to Sentinels too. Default `false`. Keys are keyed hashes, so what is seen in the clear are the record ids and
    /// times of events, and the password.
    pub tls: bool,
    /// PEM file of the certificate authorities to trust, instead of the system's. Default: the system's.
    #[schemars(with = "Option<FileToRead>")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with a client certificate and the authorities between. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub client_certificate_file: Option<PathBuf>,
    /// PEM file with the key of the client certificate. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub client_key_file: Option<PathBuf>,
    /// The user name of the engine's access list. Default: none, which is its user `default`.
    pub user: Option<String>,
    /// The password. Default: none.
    pub password: Option<Secret>,
    /// What every key in the engine begins with: gateways with the same prefix are one installation. Letters, digits, `-`,
    /// `_`, `.` and `:`; with a Redis Cluster the whole in braces, as in `{gatepost}`, which keeps all keys at one of its servers.
    /// Default `gatepost`.
    pub prefix: String,
    /// The name of this gateway, for `/status` of the others. Default: the name of the host.
    pub name: Option<String>,
    /// For how long a gateway that does not come back holds the events of an upload that it was storing; others that get the
    /// same events wait so long at most. From 1 s to 60 s, default 10 s: ten times what a disk in trouble takes.
    pub lease: Span,
    /// `available` takes uploads while the engine is away and deduplicates them alone: what reaches two gateways meanwhile
    /// may be forwarded twice, and is counted when the engine is back. `strict` refuses them with 503, and forwards nothing
    /// that was not won. Default `available`. Neither loses an event.
    pub when_unavailable: WhenUnavailable,
    /// Longest wait for an answer of the engine, and for a connection. Default 2 s.
    pub timeout: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            sentinels: Vec::new(),
            sentinel_master: "mymaster".to_owned(),
            sentinel_user: None,
            sentinel_password: None,
            tls: false,
            ca_file: None,
            client_certificate_file: None,
            client_key_file: None,
            user: None,
            password: None,
            prefix: "gatepost".to_owned(),
            name: None,
            lease: Span::secs(10),
            when_unavailable: WhenUnavailable::Available,
            timeout: Span::secs(2),
        }
    }
}

impl Config {
    /// What keeps it from being used.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut wrong = |key: &str, why: String| faults.push(Fault::stops(format!("redis.{key}"), why));
        match (self.addresses.is_empty(), self.sentinels.is_empty()) {
            (true, true) => wrong("addresses", "is missing; it must be a list of \"host:port\"".to_owned()),
            (false, false) => wrong("sentinels", "say which server is the primary: leave addresses out".to_owned()),
            _ => {}
        }
        for (key, addresses) in [("addresses", &self.addresses), ("sentinels", &self.sentinels)] {
            for (at, address) in addresses.iter().enumerate().filter(|(_, address)| host_and_port(address).is_none()) {
                wrong(&format!("{key}[{at}]"), format!("{address:?} is not \"host:port\""));
            }
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let name = self.tag().unwrap_or(&self.prefix);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_plain) {
            wrong("prefix", "must be 1 to 64 of letters, digits, -, _, . and :, or these in braces".to_owned());
        }
        if !(1..=60).contains(&self.lease.get().as_secs()) {
            wrong("lease", format!("{} is not from 1 s to 60 s", self.lease));
        }
        if self.client_certificate_file.is_some() != self.client_key_file.is_some() {
            wrong("client_key_file", "goes with client_certificate_file: name both or neither".to_owned());
        }
        if !self.tls && (self.ca_file.is_some() || self.client_certificate_file.is_some()) {
            wrong("tls", "is false, and certificates are named: set it to true, or leave them out".to_owned());
        }
        if let Err(error) = self.certificates() {
            wrong("ca_file", error.to_string());
        }
        faults
    }

    /// What stands in braces, where the prefix does: all keys with it are in one slot of a cluster.
    fn tag(&self) -> Option<&str> {
        self.prefix.strip_prefix('{')?.strip_suffix('}')
    }

    pub(super) fn is_tagged(&self) -> bool {
        self.tag().is_some()
    }

    /// The certificates to trust and to show.
    pub(super) fn certificates(&self) -> std::io::Result<TlsCertificates> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|error| std::io::Error::other(format!("{}: {error}", path.display())))
        };
        let client_tls = match (&self.client_certificate_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => {
                Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
            }
            _ => None,
        };
        Ok(TlsCertificates { client_tls, root_cert: self.ca_file.as_ref().map(read).transpose()? })
    }

    /// The name of this gateway.
    pub(super) fn shown_name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.name.clone().unwrap_or_else(host)
    }
}

/// The parts of `host:port`, also of `[::1]:6379`.
pub(super) fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        assert_eq!(host_and_port("redis.example:6379"), Some(("redis.example".to_owned(), 6379)));
        assert_eq!(host_and_port("[::1]:1"), Some(("::1".to_owned(), 1)));
        assert!(["redis", "redis:", ":1", "redis:70000"].iter().all(|address| host_and_port(address).is_none()));
    }

    #[test]
    fn each_mistake_is_told_with_its_key() {
        let config = Config {
            addresses: vec!["redis".to_owned()],
            prefix: "a{b}".to_owned(),
            lease: Span::secs(61),
            ca_file: Some("/nowhere/ca.pem".into()),
            ..Config::default()
        };
        let keys: Vec<String> = config.faults().iter().map(|fault| fault.key.clone()).collect();
        assert_eq!(keys, ["addresses[0]", "prefix", "lease", "tls", "ca_file"].map(|key| format!("redis.{key}")));
        let good = Config { addresses: vec!["redis:6379".to_owned()], ..Config::default() };
        assert!(good.faults().is_empty());
    }
}
