//! The configuration of an identity.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{arc, entra, metadata};
use crate::outputs::config::Problems;
use crate::values::{FileToRead, PlaceToKeep, Secret};

/// Who Gatepost is at Microsoft Entra ID. `kind` says how it proves that.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Identity {
    /// Nobody: requests carry no token. For collectors that ask for none, such as another Gatepost.
    #[default]
    None,
    /// A bearer token that is sent as it is.
    Token {
        /// The token. Visible ASCII.
        token: Secret,
    },
    /// An app registration with a client secret.
    ClientSecret {
        /// The tenant: its id, or a verified domain.
        tenant: String,
        /// The application (client) id.
        client_id: String,
        /// The secret's value (not its id).
        client_secret: Secret,
        /// Where tokens are asked for, when it is not the cloud's own, such as another Gatepost: `https://host`.
        #[serde(default)]
        authority: Option<String>,
    },
    /// An app registration with a certificate.
    ClientCertificate {
        /// The tenant: its id, or a verified domain.
        tenant: String,
        /// The application (client) id.
        client_id: String,
        /// The certificate: PEM (with the key, or with the key in `key`), or PKCS#12 (`.pfx`, `.p12`).
        #[schemars(with = "FileToRead")]
        certificate: PathBuf,
        /// The private key in PEM, when it is not in `certificate`.
        #[serde(default)]
        #[schemars(with = "Option<FileToRead>")]
        key: Option<PathBuf>,
        /// The password of a PKCS#12 file. Default: none.
        #[serde(default)]
        password: Option<Secret>,
        /// Whether the certificate's chain goes with each assertion (`x5c`), for subject-name and issuer authentication.
        #[serde(default)]
        send_chain: bool,
        /// Where tokens are asked for, when it is not the cloud's own: `https://host`.
        #[serde(default)]
        authority: Option<String>,
    },
    /// The managed identity of the Azure virtual machine that Gatepost runs on.
    ManagedIdentity {
        /// The client id of a user-assigned identity. Default: the system-assigned one.
        #[serde(default)]
        client_id: Option<String>,
        /// The object id of a user-assigned identity, instead of its client id.
        #[serde(default)]
        object_id: Option<String>,
        /// The resource id of a user-assigned identity, instead of its client id.
        #[serde(default)]
        resource_id: Option<String>,
        /// The instance metadata service. Default `http://169.254.169.254`.
        #[serde(default)]
        endpoint: Option<String>,
    },
    /// The managed identity of an Azure Arc-enabled server.
    Arc {
        /// The agent's metadata service. Default `http://localhost:40342`.
        #[serde(default)]
        endpoint: Option<String>,
        /// The folder of the agent's challenge files. Default: the agent's own on this system.
        #[serde(default)]
        #[schemars(with = "Option<PlaceToKeep>")]
        key_dir: Option<PathBuf>,
    },
    /// A workload identity: a token of another issuer (Kubernetes, GitHub) that Entra trusts, in a file that somebody renews.
    WorkloadIdentity {
        /// The tenant: its id, or a verified domain.
        tenant: String,
        /// The application (client) id.
        client_id: String,
        /// The file with the other issuer's token.
        #[schemars(with = "PlaceToKeep")]
        token_file: PathBuf,
        /// Where tokens are asked for, when it is not the cloud's own: `https://host`.
        #[serde(default)]
        authority: Option<String>,
    },
}

impl Identity {
    /// The kind, as in the configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token { .. } => "token",
            Self::ClientSecret { .. } => "client_secret",
            Self::ClientCertificate { .. } => "client_certificate",
            Self::ManagedIdentity { .. } => "managed_identity",
            Self::Arc { .. } => "arc",
            Self::WorkloadIdentity { .. } => "workload_identity",
        }
    }

    /// Whether it gets its tokens from Entra ID itself, rather than from a service of the machine or a file.
    pub(in crate::outputs) fn asks_entra(&self) -> bool {
        matches!(self, Self::ClientSecret { .. } | Self::ClientCertificate { .. } | Self::WorkloadIdentity { .. })
    }

    /// What is wrong with it, under `identity.…`.
    pub(in crate::outputs) fn find_problems(&self, problems: &mut Problems) {
        match self {
            Self::None => {}
            Self::Token { token } => {
                let fits = !token.reveal().is_empty() && token.reveal().bytes().all(|byte| byte.is_ascii_graphic());
                problems
                    .check("identity.token", fits, || "must be visible ASCII without spaces or line breaks".to_owned());
            }
            Self::ClientSecret { tenant, client_id, client_secret, authority } => {
                check_app(problems, tenant, client_id, authority.as_deref());
                problems.check("identity.client_secret", !client_secret.reveal().trim().is_empty(), || {
                    "must be the value of a client secret".to_owned()
                });
            }
            Self::ClientCertificate { tenant, client_id, certificate, key, authority, .. } => {
                check_app(problems, tenant, client_id, authority.as_deref());
                check_file(problems, "identity.certificate", certificate);
                if let Some(key) = key {
                    check_file(problems, "identity.key", key);
                }
            }
            Self::WorkloadIdentity { tenant, client_id, token_file, authority } => {
                check_app(problems, tenant, client_id, authority.as_deref());
                check_file(problems, "identity.token_file", token_file);
            }
            Self::ManagedIdentity { client_id, object_id, resource_id, endpoint } => {
                for (key, id) in [("identity.client_id", client_id), ("identity.object_id", object_id)] {
                    if let Some(id) = id {
                        check_name(problems, key, id);
                    }
                }
                if let Some(id) = resource_id {
                    let fits = id.starts_with('/') && id.len() <= 512 && id.bytes().all(|byte| byte.is_ascii_graphic());
                    problems.check("identity.resource_id", fits, || {
                        format!("{id:?} must be a resource id: \"/subscriptions/…\"")
                    });
                }
                let named = [client_id, object_id, resource_id].into_iter().flatten().count();
                problems.check("identity.client_id", named <= 1, || {
                    "stands beside another: only one of client_id, object_id and resource_id names the identity"
                        .to_owned()
                });
                if let Some(endpoint) = endpoint {
                    problems.check("identity.endpoint", metadata::is_endpoint(endpoint), || {
                        format!("{endpoint:?} {}", metadata::ENDPOINT_RULE)
                    });
                }
            }
            Self::Arc { endpoint, key_dir } => {
                if let Some(endpoint) = endpoint {
                    problems.check("identity.endpoint", arc::is_endpoint(endpoint), || {
                        format!("{endpoint:?} {}", arc::LOOPBACK_RULE)
                    });
                }
                if let Some(key_dir) = key_dir {
                    problems.check("identity.key_dir", key_dir.is_absolute(), || {
                        format!("{} must be an absolute path", key_dir.display())
                    });
                }
            }
        }
    }
}

fn check_app(problems: &mut Problems, tenant: &str, client_id: &str, authority: Option<&str>) {
    check_name(problems, "identity.tenant", tenant);
    check_name(problems, "identity.client_id", client_id);
    if let Some(authority) = authority {
        problems.check("identity.authority", entra::is_authority(authority), || {
            format!("{authority:?} {}", entra::AUTHORITY_RULE)
        });
    }
}

fn check_name(problems: &mut Problems, key: &str, name: &str) {
    problems.check(key, entra::is_name(name), || format!("{name:?} {}", entra::NAME_RULE));
}

fn check_file(problems: &mut Problems, key: &str, path: &Path) {
    problems.check(key, !path.as_os_str().is_empty(), || "must be the path of a file".to_owned());
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
