//! App registrations, and how they prove who they are.

use std::collections::{BTreeMap, BTreeSet};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::AzureError;
use super::jwt::Jwt;

/// An app registration of one tenant.
#[derive(Debug, Clone)]
pub struct App {
    pub(super) tenant: String,
    pub(super) client_id: String,
    /// Secrets, and whether they have expired.
    secrets: BTreeMap<String, bool>,
    /// Certificates in DER.
    certificates: Vec<Vec<u8>>,
    /// Tokens of other issuers that are taken for this app.
    federated: BTreeSet<String>,
}

/// An error of Entra: its number, what `error` says, and the words after `AADSTS…: `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) number: u32,
    pub(super) error: &'static str,
    pub(super) message: String,
}

impl Refusal {
    /// A request that is wrong.
    pub(super) fn bad(number: u32, error: &'static str, message: String) -> Self {
        Self { status: 400, number, error, message }
    }

    fn credentials(number: u32, message: String) -> Self {
        Self { status: 401, number, error: "invalid_client", message }
    }
}

impl App {
    /// An app without credentials.
    pub fn new(tenant: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            tenant: tenant.into(),
            client_id: client_id.into(),
            secrets: BTreeMap::new(),
            certificates: Vec::new(),
            federated: BTreeSet::new(),
        }
    }

    /// Adds a client secret.
    #[must_use]
    pub fn with_secret(mut self, secret: impl Into<String>) -> Self {
        self.add_secret(secret);
        self
    }

    /// Adds the first certificate of a PEM text.
    ///
    /// # Errors
    ///
    /// When there is none in it.
    pub fn with_certificate(mut self, pem: &str) -> Result<Self, AzureError> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        let certificate = certificate.map_err(|error| AzureError::Certificate(error.to_string()))?;
        self.certificates.push(certificate.to_vec());
        Ok(self)
    }

    /// Trusts this very token of another issuer.
    #[must_use]
    pub fn with_federated_token(mut self, token: impl Into<String>) -> Self {
        self.add_federated_token(token);
        self
    }

    /// Adds a client secret.
    pub fn add_secret(&mut self, secret: impl Into<String>) {
        self.secrets.insert(secret.into(), false);
    }

    /// Lets a secret expire: Entra then says so, instead of calling it wrong.
    pub fn expire_secret(&mut self, secret: &str) {
        self.secrets.entry(secret.to_owned()).and_modify(|expired| *expired = true);
    }

    /// Takes a secret away.
    pub fn revoke_secret(&mut self, secret: &str) {
        self.secrets.remove(secret);
    }

    /// Takes all certificates away.
    pub fn revoke_certificates(&mut self) {
        self.certificates.clear();
    }

    /// Trusts this very token of another issuer.
    pub fn add_federated_token(&mut self, token: impl Into<String>) {
        self.federated.insert(token.into());
    }

    /// Trusts a token of another issuer no longer.
    pub fn revoke_federated_token(&mut self, token: &str) {
        self.federated.remove(token);
    }

    pub(super) fn check_secret(&self, secret: &str) -> Result<(), Refusal> {
        let app = &self.client_id;
        match self.secrets.get(secret) {
            Some(false) => Ok(()),
            Some(true) => Err(Refusal::credentials(
                7_000_222,
                format!("The provided client secret keys for app '{app}' are expired."),
            )),
            None => Err(Refusal::credentials(
                7_000_215,
                format!(
                    "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                     value, not the client secret ID, for a secret added to app '{app}'."
                ),
            )),
        }
    }

    /// Judges an assertion at this Unix time: a token of another issuer, or a JWT that a certificate of the app signed
    /// for one of these audiences.
    pub(super) fn check_assertion(&self, assertion: &str, now: i64, audiences: &[String]) -> Result<(), Refusal> {
        if self.federated.contains(assertion) {
            return Ok(());
        }
        let Some(jwt) = Jwt::parse(assertion) else {
            return Err(Refusal::credentials(50_027, "JWT token is invalid or malformed.".to_owned()));
        };
        let claim = |name: &str| jwt.claims[name].as_str().unwrap_or_default().to_owned();
        if claim("iss") != self.client_id {
            return Err(Refusal::credentials(
                700_213,
                format!(
                    "No matching federated identity record found for presented assertion subject '{}'.",
                    claim("sub")
                ),
            ));
        }
        let Some(certificate) = self.certificates.iter().find(|certificate| jwt.names(certificate)) else {
            return Err(Refusal::credentials(
                700_027,
                format!(
                    "The certificate with identifier '{}' used to sign the client assertion is not registered on \
                     application '{}'. [Reason - The key was not found.]",
                    jwt.head["x5t"].as_str().unwrap_or_default(),
                    self.client_id
                ),
            ));
        };
        let signed = X509Certificate::from_der(certificate)
            .is_ok_and(|(_, certificate)| jwt.is_signed_by(&certificate.public_key().subject_public_key.data));
        if !signed {
            return Err(Refusal::credentials(
                700_027,
                "Client assertion failed signature validation. [Reason - The key used is not the certificate's.]"
                    .to_owned(),
            ));
        }
        if claim("sub") != self.client_id {
            return Err(Refusal::credentials(
                700_021,
                "Client assertion application identifier doesn't match 'client_id' parameter.".to_owned(),
            ));
        }
        if !audiences.contains(&claim("aud")) {
            return Err(Refusal::credentials(
                700_023,
                format!("Client assertion audience claim does not match Realm issuer: '{}'.", claim("aud")),
            ));
        }
        let time = |name: &str| jwt.claims[name].as_i64();
        let from = time("nbf").or_else(|| time("iat")).unwrap_or(i64::MIN);
        let until = time("exp").unwrap_or(i64::MIN);
        if now < from || now >= until {
            return Err(Refusal::credentials(
                700_024,
                format!(
                    "Client assertion is not within its valid time range. Current time: {now}, assertion valid from \
                     {from}, expiry time of assertion {until}."
                ),
            ));
        }
        match jwt.claims["jti"].as_str() {
            Some(id) if !id.is_empty() => Ok(()),
            _ => Err(Refusal::credentials(50_027, "JWT token is invalid: 'jti' claim is missing.".to_owned())),
        }
    }
}
