//! What a listener's TLS is configured to be: its files, and whom it lets connect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client_trust::{ClientCertificates, Trust};
use super::own_certificate;
use super::revocation;
use super::tls_choice::{FOR_OLD_WINDOWS, is_rsa};
use super::tls_error::TlsError;
use super::tls_files::{certificates, certified_key, out_of_time, private_key};
use crate::faults::Fault;
use crate::values::FileToRead;

/// TLS of one listener.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `"on"` or `"off"`. Off means plain HTTP, where tokens can be read on the wire: allowed on a loopback address, and
    /// elsewhere only together with `allow_plain_http`. Default `"on"`: agents refuse plain HTTP anyway.
    pub mode: Mode,
    /// Allows `mode = "off"` on an address that other machines reach. Default false.
    pub allow_plain_http: bool,
    /// PEM file with the server's certificate, followed by its intermediates. Default: a self-signed certificate for
    /// this host is made in `state_dir/tls` and kept.
    #[schemars(with = "Option<FileToRead>")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of `certificate`. The two are given together.
    #[schemars(with = "Option<FileToRead>")]
    pub key: Option<PathBuf>,
    /// PEM file with a second certificate, whose key is of another kind: ECDSA beside RSA. Each client gets the one that it
    /// can use; Windows Server 2012 R2 and older can use ECDSA only. Default: none.
    #[schemars(with = "Option<FileToRead>")]
    pub second_certificate: Option<PathBuf>,
    /// PEM file with the private key of `second_certificate`. The two are given together.
    #[schemars(with = "Option<FileToRead>")]
    pub second_key: Option<PathBuf>,
    /// PEM file with the authorities whose client certificates are accepted. Default: none is asked for.
    #[schemars(with = "Option<FileToRead>")]
    pub client_ca: Option<PathBuf>,
    /// Files with the revocation lists (CRL) of these authorities, in PEM or DER form. A client certificate is then taken only
    /// if a list of its authority, not past its time, says nothing against it; so a list is needed for each authority between
    /// the client and `client_ca`, and for each key of an authority that renewed its key. A reload reads them again, and ends
    /// connections that showed a certificate when what decides about them has changed. Default: nothing is compared.
    #[schemars(with = "Vec<FileToRead>")]
    pub client_crl: Vec<PathBuf>,
    /// Whether a client must show a certificate of `client_ca` to connect at all (`"required"`), or whether `auth`
    /// decides for each request (`"optional"`). Default `"optional"`: the refusal is then a readable 403.
    pub client_certificates: ClientCertificates,
}

impl Config {
    /// Keys that are given without the other that they need, and what they need.
    pub fn half_given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let given = [&self.certificate, &self.key, &self.second_certificate, &self.second_key].map(Option::is_some);
        let [certificate, key, second, second_key] = given;
        let halves = [
            (certificate && !key, "tls.certificate", "needs tls.key beside it"),
            (key && !certificate, "tls.key", "needs tls.certificate beside it"),
            (second && !second_key, "tls.second_certificate", "needs tls.second_key beside it"),
            (second_key && !second, "tls.second_key", "needs tls.second_certificate beside it"),
            (second && second_key && !certificate, "tls.second_certificate", "needs tls.certificate beside it"),
            (
                !self.client_crl.is_empty() && self.client_ca.is_none(),
                "tls.client_crl",
                "needs tls.client_ca, whose lists these are",
            ),
        ];
        halves.into_iter().filter(|(wrong, ..)| *wrong).map(|(_, key, needs)| (key, needs))
    }

    /// Everything that is wrong with the files that it names. Makes nothing.
    pub fn faults(&self) -> Vec<Fault> {
        if self.mode == Mode::Off {
            return Vec::new();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let stops = |key: &str, error: &TlsError| Fault::stops(key, error.to_string());
        let mut found = Vec::new();
        for (certificate, key) in [("certificate", "key"), ("second_certificate", "second_key")] {
            // Each is judged alone first, so that what is wrong with one hides nothing of the other.
            let [of_certificate, of_key] = [self.file(certificate), self.file(key)];
            let chain = of_certificate.and_then(|path| certificates(path).err());
            let private = of_key.and_then(|path| private_key(path).err());
            if let (Some(of_certificate), Some(of_key), None, None) = (of_certificate, of_key, &chain, &private)
                && let Err(error) = certified_key(of_certificate, of_key, &provider)
            {
                let blamed = if error.path() == Some(of_certificate) { certificate } else { key };
                found.push(stops(blamed, &error));
            }
            found.extend(chain.iter().map(|error| stops(certificate, error)));
            found.extend(private.iter().map(|error| stops(key, error)));
            let ended = of_certificate.and_then(out_of_time);
            found.extend(ended.map(|reason| Fault::fails(certificate, reason)));
        }
        found.extend(self.client_faults(provider));
        found.extend(self.warnings().into_iter().map(|(key, warning)| Fault::warns(key, warning)));
        found
    }

    /// What is wrong with the authorities of clients, and with their lists.
    fn client_faults(&self, provider: Arc<rustls::crypto::CryptoProvider>) -> Vec<Fault> {
        let mut found = Vec::new();
        for (n, list) in self.client_crl.iter().enumerate() {
            let error = revocation::lists(std::slice::from_ref(list)).err();
            found.extend(error.map(|error| Fault::stops(format!("client_crl[{n}]"), error.to_string())));
        }
        let Some(authorities) = &self.client_ca else { return found };
        let error = match certificates(authorities) {
            Ok(_) if found.is_empty() => {
                Trust::load(authorities, &self.client_crl, self.client_certificates, &provider).err()
            }
            judged => judged.err(),
        };
        found.extend(error.map(|error| Fault::stops("client_ca", error.to_string())));
        found
    }

    /// The file that a key names.
    fn file(&self, key: &str) -> Option<&Path> {
        let named = match key {
            "certificate" => &self.certificate,
            "key" => &self.key,
            "second_certificate" => &self.second_certificate,
            _ => &self.second_key,
        };
        named.as_deref()
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let pairs = [(&self.certificate, &self.key), (&self.second_certificate, &self.second_key)];
        pairs.into_iter().filter_map(|(certificate, key)| Some((certificate.as_deref()?, key.as_deref()?)))
    }

    /// The files with the certificates that it shows: those that are named, or the one that is made in the state folder.
    pub fn certificate_files(&self, state_dir: &Path) -> Vec<PathBuf> {
        let named: Vec<PathBuf> =
            [&self.certificate, &self.second_certificate].into_iter().flatten().cloned().collect();
        if named.is_empty() { vec![own_certificate::path_in(&state_dir.join("tls"))] } else { named }
    }

    /// What works and yet keeps some clients out, each with its key. Reads the certificates that are named.
    pub fn warnings(&self) -> Vec<(String, String)> {
        if self.mode == Mode::Off {
            return Vec::new();
        }
        let named = [&self.certificate, &self.second_certificate].into_iter().flatten();
        let rsa: Vec<bool> = named.filter_map(|path| is_rsa(path)).collect();
        let only_rsa = !rsa.is_empty() && rsa.iter().all(|is_rsa| *is_rsa);
        let of_keys = only_rsa.then(|| format!("the certificate has an RSA key; {FOR_OLD_WINDOWS}"));
        let mut told: Vec<_> = of_keys.map(|warning| ("certificate".to_owned(), warning)).into_iter().collect();
        for (n, list) in self.client_crl.iter().enumerate() {
            told.extend(revocation::out_of_time(list).map(|warning| (format!("client_crl[{n}]"), warning)));
        }
        let authorities = self.client_ca.as_deref().and_then(|path| certificates(path).ok()).unwrap_or_default();
        let unlisted = revocation::unlisted(&self.client_crl, &authorities);
        told.extend(unlisted.into_iter().map(|warning| ("client_crl".to_owned(), warning)));
        told
    }
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// HTTPS.
    #[default]
    On,
    /// Plain HTTP.
    Off,
}
