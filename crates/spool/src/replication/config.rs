//! What an operator can set about replication.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::Credentials;
use crate::faults::Fault;
use crate::values::{ByteSize, FileToRead, PlaceToKeep, Secret, Span};

/// Where the log is replicated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nowhere: what is acknowledged lies on the disk of this gateway.
    #[default]
    None,
    /// At servers of NATS JetStream.
    Jetstream,
}

/// A second place for what is acknowledged and not forwarded yet, so that it outlives the machine of the gateway. With it an upload
/// is acknowledged when the disk of this gateway and a quorum of the servers have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where: `none`, or `jetstream` for servers of NATS, 2.10 or later, that are named in `servers`. Default `none`.
    pub kind: Kind,
    /// `"host:port"` of the servers. Required with `jetstream`.
    pub servers: Vec<String>,
    /// How many servers keep each event; a majority of them must have it. Default 3, at most 5.
    pub replicas: usize,
    /// Most bytes that the servers keep for all gateways of the installation. From seven eighths of it on uploads are refused with
    /// 503 until outputs have come on; the rest is for takeovers. It is set when the first gateway makes the stream. Default `"10 GiB"`.
    pub max_size: ByteSize,
    /// Whether gateways have the same rules, agents, signing keys and bookmarks through these servers, as `dedup.kind = "redis"` would
    /// let them have. Default `false`. It needs a `dedup.secret`, which seals what must not be read at the servers, and is for
    /// installations without Redis or Valkey: where these are used, they share it.
    pub share_state: bool,
    /// What the streams at the servers begin with: gateways with the same prefix are one installation, and take each other's
    /// logs over. Letters, digits, `-` and `_`. Default `gatepost`.
    pub prefix: String,
    /// The name of this gateway, for people. Default: the name of the host.
    pub name: Option<String>,
    /// After so long without a sign of life another gateway takes the log of this one over. A gateway that cannot reach the
    /// servers stops forwarding after half of it. At least `"10 s"`, default `"30 s"`: restarts and elections are shorter.
    pub takeover_after: Span,
    /// Longest wait of an upload for the servers; then it is refused with 503, and the client sends it again. Default `"10 s"`:
    /// servers that elect a leader need 5 to 7 s.
    pub wait_max: Span,
    /// Longest wait for one answer of the servers. Default `"5 s"`.
    pub timeout: Span,
    /// Whether connections are TLS. Default `false`. Events stand in messages as they were uploaded, compressed and not
    /// encrypted.
    pub tls: bool,
    /// PEM file of the certificate authorities to trust beside the system's. Default: only the system's.
    #[schemars(with = "Option<FileToRead>")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with a client certificate and the authorities between. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub client_certificate_file: Option<PathBuf>,
    /// PEM file with the key of the client certificate. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub client_key_file: Option<PathBuf>,
    /// The user name at the servers. Default: none.
    pub user: Option<String>,
    /// The password of `user`. Default: none.
    pub password: Option<Secret>,
    /// A token instead of a user and a password. Default: none.
    pub token: Option<Secret>,
    /// A file with the credentials of a user instead of the above, as `nsc generate creds` writes it (a token and the seed of its
    /// key), or the seed of an nkey alone. It is read anew with each connection. Default: none.
    #[schemars(with = "Option<PlaceToKeep>")]
    pub credentials_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::None,
            servers: Vec::new(),
            replicas: 3,
            max_size: ByteSize::gib(10),
            share_state: false,
            prefix: "gatepost".to_owned(),
            name: None,
            takeover_after: Span::secs(30),
            wait_max: Span::secs(10),
            timeout: Span::secs(5),
            tls: false,
            ca_file: None,
            client_certificate_file: None,
            client_key_file: None,
            user: None,
            password: None,
            token: None,
            credentials_file: None,
        }
    }
}

impl Config {
    /// Whether the log is replicated.
    pub fn is_on(&self) -> bool {
        self.kind == Kind::Jetstream
    }

    /// Whether gateways share what is not events through the servers.
    pub fn shares_state(&self) -> bool {
        self.is_on() && self.share_state
    }

    /// What keeps replication from starting.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut wrong = |key: &str, why: String| faults.push(Fault::stops(key, why));
        if !self.is_on() {
            if self.share_state {
                wrong("share_state", "is true, and kind is none: set kind = \"jetstream\", or leave it out".to_owned());
            }
            return faults;
        }
        if self.servers.is_empty() {
            wrong("servers", "is missing; it must be a list of \"host:port\"".to_owned());
        }
        for (at, server) in self.servers.iter().enumerate().filter(|(_, server)| !is_host_and_port(server)) {
            wrong(&format!("servers[{at}]"), format!("{server:?} is not \"host:port\""));
        }
        if !(1..=5).contains(&self.replicas) {
            wrong("replicas", format!("{} is not from 1 to 5", self.replicas));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.bytes().all(is_plain) {
            wrong("prefix", "must be 1 to 64 of letters, digits, - and _".to_owned());
        }
        if self.takeover_after.get().as_secs() < 10 {
            wrong("takeover_after", format!("{} is less than 10 s, which an election may take", self.takeover_after));
        }
        if self.max_size.as_u64() < 16 << 20 || i64::try_from(self.max_size.as_u64()).is_err() {
            wrong("max_size", format!("{} is less than 16 MiB, or too much", self.max_size));
        }
        if self.client_certificate_file.is_some() != self.client_key_file.is_some() {
            wrong("client_key_file", "goes with client_certificate_file: name both or neither".to_owned());
        }
        if self.user.is_some() != self.password.is_some() {
            wrong("password", "goes with user: name both or neither".to_owned());
        }
        if self.user.is_some() && self.token.is_some() {
            wrong("token", "is instead of user and password: name one of them".to_owned());
        }
        if let Some(path) = &self.credentials_file {
            if self.user.is_some() || self.token.is_some() {
                wrong("credentials_file", "is instead of user, password and token: name it, or those".to_owned());
            }
            if let Err(error) = Credentials::read(path) {
                wrong("credentials_file", format!("{}: {error}", path.display()));
            }
        }
        if !self.tls && (self.ca_file.is_some() || self.client_certificate_file.is_some()) {
            wrong("tls", "is false, and certificates are named: set it to true, or leave them out".to_owned());
        }
        let files = [("ca_file", &self.ca_file), ("client_certificate_file", &self.client_certificate_file)];
        for (key, path) in files.into_iter().chain([("client_key_file", &self.client_key_file)]) {
            if let Some((path, error)) = path.as_ref().and_then(|path| Some((path, std::fs::read(path).err()?))) {
                wrong(key, format!("{}: {error}", path.display()));
            }
        }
        faults
    }

    /// The name of this gateway.
    pub fn shown_name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.name.clone().unwrap_or_else(host)
    }
}

fn is_host_and_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_told_with_its_key() {
        assert!(Config::default().faults().is_empty());
        let config = Config {
            kind: Kind::Jetstream,
            servers: vec!["nats".to_owned()],
            replicas: 6,
            prefix: "a.b".to_owned(),
            takeover_after: Span::secs(9),
            max_size: ByteSize::mib(1),
            ca_file: Some("/nowhere/ca.pem".into()),
            user: Some("gatepost".to_owned()),
            ..Config::default()
        };
        let keys: Vec<String> = config.faults().iter().map(|fault| fault.key.clone()).collect();
        assert_eq!(
            keys,
            ["servers[0]", "replicas", "prefix", "takeover_after", "max_size", "password", "tls", "ca_file"]
        );
        let good = Config { kind: Kind::Jetstream, servers: vec!["nats:4222".to_owned()], ..Config::default() };
        assert!(good.faults().is_empty());
    }

    #[test]
    fn credentials_are_read_before_anybody_connects_and_stand_alone() {
        let said = |token: Option<Secret>| {
            let (servers, credentials_file) = (vec!["nats:4222".to_owned()], Some("/nowhere/gatepost.creds".into()));
            let faults =
                Config { kind: Kind::Jetstream, servers, token, credentials_file, ..Config::default() }.faults();
            faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>()
        };
        assert!(matches!(&said(None)[..], [away] if away.contains("/nowhere/gatepost.creds: No such file")));
        assert!(matches!(&said(Some(Secret::new("token")))[..], [two, _] if two.contains("instead of")));
    }

    #[test]
    fn nothing_is_shared_where_there_are_no_servers() {
        let config = Config { share_state: true, ..Config::default() };
        assert!(!config.shares_state());
        assert_eq!(config.faults().len(), 1);
        assert_eq!(config.faults()[0].key, "share_state");
    }
}
