//! Whom the HTTP client believes: the certificate authorities behind an `https` endpoint.
//!
//! Either the system's roots or one file, never both: a site with its own authority wants that one and no other. What a file
//! holds is believed as [`Named`] tells.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::tls_error::TlsError;
use super::tls_files::certificates;
use super::tls_named::Named;

/// Where the trusted certificate authorities come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Nobody is trusted: every `https` connection fails. For clients that only speak plain `http`, so that a machine
    /// without a certificate store can run them.
    Nobody,
    /// The certificate store of the system.
    System,
    /// Only the certificates of this PEM file.
    File(PathBuf),
}

/// Why the trusted certificate authorities could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or holds no certificate in PEM form.
    #[error(transparent)]
    File(#[from] TlsError),
    /// What the file holds cannot be believed.
    #[error("cannot read certificates from {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no usable certificate store.
    #[error("the system has no trusted certificates ({reason}); install them (ca-certificates) or set ca_file")]
    NoSystemRoots {
        /// What the search for them met.
        reason: String,
    },
}

/// A TLS client configuration (TLS 1.2 and 1.3, no client certificate, no ALPN) that believes `trust`.
///
/// Reads files; call it at start-up, not while serving.
pub fn client_config(trust: &Trust) -> Result<ClientConfig, TrustError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs supports the default versions");
    let builder = match trust {
        Trust::Nobody => builder.with_root_certificates(RootCertStore::empty()),
        Trust::System => builder.with_root_certificates(system_roots()?),
        Trust::File(path) => {
            let certificates = certificates(path)?;
            let unreadable = |reason| TrustError::Unreadable { path: path.clone(), reason };
            let named = Named::new(certificates, provider).map_err(unreadable)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(named))
        }
    };
    Ok(builder.with_no_client_auth())
}

/// The system's trusted certificate authorities. Reads files; call it at start-up, not while serving.
pub fn system_roots() -> Result<RootCertStore, TrustError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Stores hold odd certificates now and then; those that can be used are enough.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable > 0 {
        return Ok(roots);
    }
    let reason = found.errors.first().map_or_else(|| "the store is empty".to_owned(), ToString::to_string);
    Err(TrustError::NoSystemRoots { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_must_hold_a_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let told = || client_config(&Trust::File(path.clone())).expect_err("it is wrong").to_string();
        assert!(told().contains("is not there"), "{}", told());
        std::fs::write(&path, "no PEM at all\n").unwrap();
        assert!(told().contains("must hold a certificate"), "{}", told());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&path, made.cert.der()).unwrap();
        assert!(told().contains("openssl x509 -inform der"), "{}", told());
        std::fs::write(&path, made.cert.pem()).unwrap();
        assert!(client_config(&Trust::File(path)).is_ok());
    }
}
