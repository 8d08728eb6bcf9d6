//! What a listener's token issuer is told: who its clients are, and what each may do.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::Certificate;
use super::keys;
use crate::faults::Fault;
use crate::inputs::http::auth::parse_hex;
use crate::inputs::logs_ingestion::is_name;
use crate::values::{ByteSize, FileToRead, PlaceToKeep, Span};

/// The shortest and the longest life of a token.
const TOKEN_LIFETIME: [Duration; 2] = [Duration::from_secs(5 * 60), super::keys::TOKEN_LIFETIME_MAX];

/// The shortest time after which keys change.
const KEY_LIFETIME_MIN: Duration = Duration::from_secs(60 * 60);

/// A local Entra: clients that want a token before they upload get it here, on the listener itself, with no way out.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener issues tokens and takes them. Default false.
    pub enabled: bool,
    /// Tenants that may stand in the path of a request for a token; letter case does not matter. Empty, the default, means
    /// any well-formed name: clients keep the one they were set up with.
    pub tenants: Vec<String>,
    /// How long a token is good: 5 min to 24 h. Default 1 h. A client that is taken out of `clients` is refused at once.
    pub token_lifetime: Span,
    /// The folder of the keys that sign tokens. Default `entra` in the state directory. Gateways behind one load balancer
    /// need the same keys, so that each takes the tokens of the others: with `dedup.kind = "redis"` those in the default folder
    /// are shared in the engine; without, name a folder that all of them mount.
    #[schemars(with = "Option<PlaceToKeep>")]
    pub keys_dir: Option<PathBuf>,
    /// How long a key signs before another one does; at least 1 h. Default 30 d. An old key is kept until the last token
    /// that it signed has ended.
    pub key_lifetime: Span,
    /// Who gets tokens.
    pub clients: Vec<ClientEntry>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            tenants: Vec::new(),
            token_lifetime: Span::secs(60 * 60),
            keys_dir: None,
            key_lifetime: Span::secs(30 * 24 * 60 * 60),
            clients: Vec::new(),
        }
    }
}

/// A client that gets tokens for a secret or a certificate.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    /// The client id, as the client sends it.
    pub id: String,
    /// A name for logs and the status page. Default: the id.
    #[serde(default)]
    pub name: Option<String>,
    /// Its secrets. Several at a time let it change from one to the next; `gatepost token --for-client ID` makes one.
    #[serde(default)]
    pub secrets: Vec<SecretHash>,
    /// PEM files with its certificates, for clients that sign an assertion instead of sending a secret. Each file holds one
    /// certificate or more; no authority is asked.
    #[serde(default)]
    #[schemars(with = "Vec<FileToRead>")]
    pub certificates: Vec<PathBuf>,
    /// The only tenant in whose name it may ask. Default: any that the listener takes.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Clients of one group share duplicate detection. Default: each client is on its own.
    #[serde(default)]
    pub group: Option<String>,
    /// Computers that it may speak for, with `*` for any part; see `identity.policy`. A name without a dot stands for that
    /// computer in any domain: write the full name where several domains share one.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Azure resource ids that it may name, with `*` for any part; see `identity.policy`.
    #[serde(default)]
    pub resource_ids: Vec<String>,
    /// Immutable ids of the only data collection rules that it may name. Empty means any.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The only streams that it may name. Empty means any.
    #[serde(default)]
    pub streams: Vec<String>,
    /// Most requests a second; above it 429 with Retry-After. Default: no limit of its own.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
    /// Most bytes a minute as they come over the wire; above it 429 with Retry-After. Default: no limit of its own.
    #[serde(default)]
    pub bytes_per_minute: Option<ByteSize>,
}

/// A secret, as its hash.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretHash {
    /// The SHA-256 of the secret in hexadecimal. The secret itself is stored nowhere.
    pub sha256: String,
}

impl Config {
    /// Whether anybody can get a token here.
    pub fn issues(&self) -> bool {
        self.enabled && !self.clients.is_empty()
    }

    /// The agent groups that clients can belong to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.clients.iter().filter_map(|client| client.group.as_deref())
    }

    /// Everything that is wrong with the files that it names. Makes nothing.
    pub fn faults(&self) -> Vec<Fault> {
        if !self.enabled {
            return Vec::new();
        }
        let keys = self.keys_dir.as_deref().and_then(keys::fault).map(|reason| Fault::stops("keys_dir", reason));
        let clients = self.clients.iter().enumerate();
        let certificates = clients.flat_map(|(n, client)| {
            let files = client.certificates.iter().enumerate();
            files.filter_map(move |(m, path)| {
                let reason = Certificate::read(path).err()?;
                let key = format!("clients[{n}].certificates[{m}]");
                Some(Fault::stops(key, format!("{}: {reason}", path.display())))
            })
        });
        keys.into_iter().chain(certificates).collect()
    }

    /// What cannot work, with the key and what would be right.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let lifetime = self.token_lifetime.get();
        if lifetime < TOKEN_LIFETIME[0] || lifetime > TOKEN_LIFETIME[1] {
            problems
                .push(format!("entra.token_lifetime is {}; write something from 5 min to 24 h", self.token_lifetime));
        }
        if self.key_lifetime.get() < KEY_LIFETIME_MIN {
            problems.push(format!("entra.key_lifetime is {}; write 1 h or more", self.key_lifetime));
        }
        if self.enabled && self.clients.is_empty() {
            problems.push(
                "entra.clients is empty, so nobody could get a token; add a client, or remove entra.enabled".to_owned(),
            );
        }
        for tenant in self.tenants.iter().filter(|tenant| !is_tenant(tenant)) {
            problems.push(format!("entra.tenants: {tenant:?} is not a tenant; write its id or its domain name"));
        }
        let mut seen = HashSet::new();
        for client in &self.clients {
            if !seen.insert(client.id.to_ascii_lowercase()) {
                problems.push(format!("entra.clients: the id {:?} is there twice; write one entry for it", client.id));
            }
            problems.extend(client.problems(&self.tenants));
        }
        problems
    }
}

impl ClientEntry {
    fn problems(&self, tenants: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |wrong: bool, message: &str| {
            if wrong {
                found.push(format!("entra.clients: {message} (client {:?})", self.id));
            }
        };
        check(
            !is_name(&self.id),
            "id is not 1 to 128 letters, digits, \"_\", \".\" or \"-\"; write it as the client does",
        );
        let nameless = self.name.as_deref().is_some_and(|name| name.is_empty() || name.len() > 128);
        check(nameless, "name is empty or longer than 128 bytes; write a short one, or none");
        check(
            self.secrets.is_empty() && self.certificates.is_empty(),
            "it has neither secrets nor certificates; add one, as gatepost token --for-client prints it",
        );
        let not_hashes = self.secrets.iter().any(|secret| parse_hex(&secret.sha256).is_none());
        check(not_hashes, "sha256 of a secret is not 64 hexadecimal digits; write what gatepost token prints");
        let tenant = self.tenant.as_deref();
        check(tenant.is_some_and(|tenant| !is_tenant(tenant)), "tenant is none; write its id or its domain name");
        let known = |tenant: &str| tenants.is_empty() || tenants.iter().any(|t| t.eq_ignore_ascii_case(tenant));
        check(tenant.is_some_and(|tenant| !known(tenant)), "tenant is not among entra.tenants; add it there");
        let lists = self.hosts.iter().chain(&self.resource_ids);
        check(lists.clone().any(String::is_empty), "hosts and resource_ids must not hold an empty text; remove it");
        let names = self.rules.iter().chain(&self.streams);
        check(
            names.clone().any(|name| !is_name(name)),
            "rules and streams hold what is not a name; write letters, digits, \"_\", \".\" or \"-\"",
        );
        check(self.requests_per_second == Some(0), "requests_per_second is 0; write 1 or more, or remove it");
        let no_bytes = self.bytes_per_minute.is_some_and(|bytes| bytes.as_u64() == 0);
        check(no_bytes, "bytes_per_minute is 0; write a size, or remove it");
        found
    }
}

/// Whether a text can be a tenant: an id or a domain name.
pub(super) fn is_tenant(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_names_its_key_and_what_would_be_right() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
        let sound =
            format!("enabled = true\nclients = [{{ id = \"a\", secrets = [{{ sha256 = \"{}\" }}] }}]", "0".repeat(64));
        assert_eq!(toml::from_str::<Config>(&sound).expect("it reads").problems(), Vec::<String>::new());
        for (text, key) in [
            ("enabled = true", "entra.clients is empty"),
            ("token_lifetime = \"1 min\"", "5 min to 24 h"),
            ("key_lifetime = \"1 min\"", "1 h or more"),
            ("tenants = [\"a/b\"]", "entra.tenants"),
            ("clients = [{ id = \"a\" }]", "neither secrets nor certificates"),
            ("clients = [{ id = \"a\", secrets = [{ sha256 = \"x\" }] }]", "64 hexadecimal"),
            ("clients = [{ id = \"\", certificates = [\"a.pem\"] }]", "id is not"),
            ("clients = [{ id = \"a\", certificates = [\"a.pem\"], requests_per_second = 0 }]", "requests_per_second"),
            ("clients = [{ id = \"a\", certificates = [\"a.pem\"], streams = [\"a b\"] }]", "rules and streams"),
            (
                "tenants = [\"a\"]\nclients = [{ id = \"a\", certificates = [\"a.pem\"], tenant = \"b\" }]",
                "entra.tenants",
            ),
            (
                "clients = [{ id = \"a\", certificates = [\"a.pem\"] }, { id = \"A\", certificates = [\"a.pem\"] }]",
                "there twice",
            ),
        ] {
            let found = toml::from_str::<Config>(text).expect("it reads").problems();
            assert!(found.len() == 1 && found[0].contains(key), "{text}: {found:?}");
        }
    }
}
