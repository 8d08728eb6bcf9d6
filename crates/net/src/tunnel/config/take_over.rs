//! Hosts whose tunnels end at this gateway, as they are written in the configuration.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Rule;
use crate::values::FileToRead;

/// The authority in whose name this gateway answers for hosts that it takes over. `gatepost ca init` makes one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// PEM file with the authority's certificate, followed by those between it and the root that clients trust. Default:
    /// none, so nothing can be taken over.
    #[schemars(with = "Option<FileToRead>")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. Nobody but the gateway may read it: whoever can is every host that
    /// the authority may sign for.
    #[schemars(with = "Option<FileToRead>")]
    pub key: Option<PathBuf>,
    /// PEM file with a second authority, whose key is of another kind: RSA for clients that know no ECDSA. Each client is
    /// shown what it can use. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub second_certificate: Option<PathBuf>,
    /// PEM file with the private key of `second_certificate`.
    #[schemars(with = "Option<FileToRead>")]
    pub second_key: Option<PathBuf>,
}

impl Authority {
    /// The files of each authority that is given whole.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let pairs = [
            ("certificate", &self.certificate, "key", &self.key),
            ("second_certificate", &self.second_certificate, "second_key", &self.second_key),
        ];
        pairs.into_iter().filter_map(|(certificate_key, certificate, key_key, key)| {
            let (certificate, key) = (certificate.as_ref()?, key.as_ref()?);
            Some(Pair { certificate_key, certificate, key_key, key })
        })
    }
}

/// The two files of an authority, with the keys of the configuration that name them.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'c> {
    /// The key that names `certificate`.
    pub certificate_key: &'static str,
    /// The certificate's file.
    pub certificate: &'c PathBuf,
    /// The key that names `key`.
    pub key_key: &'static str,
    /// The private key's file.
    pub key: &'c PathBuf,
}

/// Hosts whose tunnels end at this gateway: for the clients of some groups, their TLS is answered in the name of
/// `tunnel.ca`, and what they send goes to an upload listener. For agents and scripts that cannot be given another address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeOver {
    /// A name for logs, metrics and the status page; no rule in `allow` has the same.
    pub name: String,
    /// Hosts, as in `allow`: `"*.ods.opinsights.azure.com"`, each optionally with a port. Default port 443. Addresses cannot
    /// be taken over.
    pub hosts: Vec<String>,
    /// The groups whose clients are taken over. To all others these hosts are what they were: tunnelled, or refused.
    pub groups: Vec<String>,
    /// The upload listener, by its name, that serves what comes.
    pub input: String,
    /// Takes over also hosts of the Azure Monitor Agent and of Arc, which their vendor does not support. Default false.
    #[serde(default)]
    pub force: bool,
}

impl TakeOver {
    /// Its hosts as a rule of an allow-list, by which they are found.
    pub fn as_rule(&self) -> Rule {
        Rule { name: self.name.clone(), hosts: self.hosts.clone(), ..Rule::default() }
    }
}
