//! Who Gatepost is at Microsoft Entra ID: identities and their tokens.
//!
//! [`Tokens`] keeps one token for one identity. It is asked for before each request, answers from memory, renews early, and
//! asks Entra once however many batches wait. No token, secret or assertion is ever logged or shown.
//!
//! [`cache`] decides when to ask, and knows nothing of how. How is a [`source::Source`], one file for each kind of
//! identity. An identity is never given up: a person can mend it at Entra without touching Gatepost, so a failure only
//! makes the pause before the next try, and the advice.

use std::sync::Arc;

use serde::Serialize;

mod advice;
mod answer;
mod arc;
mod assertion;
mod cache;
mod certificate;
mod client_certificate;
mod client_secret;
pub mod cloud;
mod config;
mod entra;
mod managed_identity;
mod metadata;
mod source;
mod workload_identity;

#[cfg(test)]
mod issuer;

pub use cloud::Cloud;
pub use config::Identity;

use self::arc::ArcServer;
use self::cache::Cache;
use self::client_certificate::ClientCertificate;
use self::client_secret::ClientSecret;
use self::entra::App;
use self::managed_identity::{Identifier, ManagedIdentity};
use self::source::Source;
use self::workload_identity::WorkloadIdentity;
use crate::clock;
use crate::net::http_client::HttpClient;

/// A bearer token, ready for `Authorization`. Cheap to clone; not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// The token itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token: {detail}")]
pub struct TokenError {
    /// What was tried and what came back; never a secret.
    pub detail: String,
    /// What a person should do, if waiting is not enough.
    pub advice: Option<String>,
}

/// Why an identity cannot be used at all: its files.
#[derive(Debug, thiserror::Error)]
#[error("identity.{key}: {message}")]
pub struct IdentityError {
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// What the status page shows.
#[derive(Debug, Clone, Serialize)]
pub struct TokenStatus {
    /// The kind of identity, as in the configuration.
    pub kind: &'static str,
    /// Whether there is a token that is still good.
    pub has_token: bool,
    /// Seconds until it ends.
    pub expires_in_seconds: Option<u64>,
    /// When the certificate ends that proves the identity, in seconds since 1970; none where it has none.
    pub certificate_ends: Option<i64>,
    /// How often a token was fetched.
    pub fetched: u64,
    /// Why the last try failed, unless a later one went well.
    pub last_error: Option<String>,
    /// What to do about that; or about something that will fail soon, such as a certificate or a clock.
    pub advice: Option<String>,
}

/// The tokens of one identity for one scope.
#[derive(Debug)]
pub struct Tokens {
    kind: &'static str,
    keeping: Keeping,
}

/// Where tokens of an identity come from.
#[derive(Debug)]
enum Keeping {
    /// There are none.
    Nothing,
    /// The configuration.
    Fixed(Token),
    /// Somebody who is asked.
    Fetched(Arc<Cache>),
}

impl Tokens {
    /// Reads certificate files. `outward` is the client for Entra (with the output's proxy and trust); metadata services on
    /// this machine are asked without a proxy. `scope` is such as `https://monitor.azure.com/.default`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or does not hold what it should.
    pub fn new(config: &Identity, cloud: Cloud, scope: &str, outward: HttpClient) -> Result<Self, IdentityError> {
        let app = |tenant: &String, client_id: &String, authority: &Option<String>| {
            let authority = authority.as_deref().unwrap_or(cloud.authority());
            App::new(outward, authority, tenant, client_id, scope)
        };
        let source: Box<dyn Source> = match config {
            Identity::None => return Ok(Self { kind: config.kind(), keeping: Keeping::Nothing }),
            Identity::Token { token } => {
                return Ok(Self { kind: config.kind(), keeping: Keeping::Fixed(Token(token.reveal().into())) });
            }
            Identity::ClientSecret { tenant, client_id, client_secret, authority } => {
                Box::new(ClientSecret::new(app(tenant, client_id, authority)?, client_secret.clone()))
            }
            Identity::ClientCertificate { tenant, client_id, certificate, key, password, send_chain, authority } => {
                let files = certificate::Files {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    password: password.clone(),
                };
                Box::new(ClientCertificate::new(app(tenant, client_id, authority)?, files, *send_chain)?)
            }
            Identity::WorkloadIdentity { tenant, client_id, token_file, authority } => {
                Box::new(WorkloadIdentity::new(app(tenant, client_id, authority)?, token_file.clone()))
            }
            Identity::ManagedIdentity { client_id, object_id, resource_id, endpoint } => {
                let which = [
                    (Identifier::Client, client_id),
                    (Identifier::Object, object_id),
                    (Identifier::Resource, resource_id),
                ];
                let which = which.into_iter().find_map(|(kind, id)| Some((kind, id.clone()?)));
                Box::new(ManagedIdentity::new(endpoint.as_deref(), which, scope)?)
            }
            Identity::Arc { endpoint, key_dir } => {
                Box::new(ArcServer::new(endpoint.as_deref(), key_dir.clone(), scope)?)
            }
        };
        Ok(Self { kind: config.kind(), keeping: Keeping::Fetched(Cache::new(config.kind(), source)) })
    }

    /// A token that is good now; `None` when the configuration wants none. From memory, or fetched; callers at one time
    /// share one fetch. After a failure the next fetch waits a while, and callers get the last error at once.
    pub async fn token(&self) -> Result<Option<Token>, TokenError> {
        match &self.keeping {
            Keeping::Nothing => Ok(None),
            Keeping::Fixed(token) => Ok(Some(token.clone())),
            Keeping::Fetched(cache) => cache.token().await.map(Some),
        }
    }

    /// A token in the place of one that an endpoint did not take: the kept one if that is another by now, else a fetched one.
    /// `None` when there is no other. At most one fetch in 30 s: an endpoint that takes no token at all must not make us ask
    /// Entra for each batch.
    pub async fn instead_of(&self, refused: &Token) -> Result<Option<Token>, TokenError> {
        let other = match &self.keeping {
            Keeping::Fetched(cache) => cache.instead_of(refused).await?,
            Keeping::Nothing | Keeping::Fixed(_) => None,
        };
        Ok(other.filter(|other| other != refused))
    }

    /// What the status page shows.
    pub fn status(&self) -> TokenStatus {
        match &self.keeping {
            Keeping::Fetched(cache) => cache.status(),
            fixed => TokenStatus {
                kind: self.kind,
                has_token: matches!(fixed, Keeping::Fixed(_)),
                expires_in_seconds: None,
                certificate_ends: None,
                fetched: 0,
                last_error: None,
                advice: None,
            },
        }
    }
}

/// Seconds since 1970 by this machine's clock, which may be wrong: Entra judges by its own.
fn unix_now() -> i64 {
    clock::wall_s().cast_signed()
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
