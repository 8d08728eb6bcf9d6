//! When what a listener's TLS stands on ends: its certificates, the authorities of its clients, their revocation lists.
//!
//! At that moment all clients of the listener fail together, so it has to be known long before.

use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::revocation;
use super::tls_files::certificates;
use super::tls_server::{Config, Mode};

/// The ends of one listener's files, in seconds since 1970: of several that which comes first. None where no such file is named,
/// or where it cannot be read; that is told where it is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// Of the certificates that it shows, and those between them and their authority.
    pub certificate: Option<i64>,
    /// Of the authorities of client certificates. One that has ended beside its successor can be taken out of the file.
    pub client_ca: Option<i64>,
    /// The next update of the newest revocation list of each authority: from then on none of its certificates is taken.
    pub client_crl: Option<i64>,
}

impl Ends {
    /// Reads the files that `config` names, or that were made in the state folder in their place.
    pub fn of(config: &Config, state_dir: &Path) -> Self {
        if config.mode == Mode::Off {
            return Self::default();
        }
        Self {
            certificate: first_end(&config.certificate_files(state_dir)),
            client_ca: first_end(config.client_ca.as_slice()),
            client_crl: revocation::next_update(&config.client_crl),
        }
    }
}

fn first_end(files: &[PathBuf]) -> Option<i64> {
    let all = files.iter().filter_map(|file| certificates(file).ok()).flatten();
    let end = |der: rustls::pki_types::CertificateDer<'_>| {
        X509Certificate::from_der(&der).ok().map(|(_, certificate)| certificate.validity().not_after.timestamp())
    };
    all.filter_map(end).min()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pem(ends_in_year: i32) -> String {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(ends_in_year, 1, 1);
        params.self_signed(&KeyPair::generate().expect("entropy")).expect("signed").pem()
    }

    #[test]
    fn of_several_certificates_the_first_end_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("written");
            Some(path)
        };
        let config = Config {
            certificate: file("chain.pem", pem(2041) + &pem(2037)),
            second_certificate: file("second.pem", pem(2039)),
            client_ca: file("ca.pem", pem(2036) + &pem(2050)),
            ..Config::default()
        };
        let year = |year| Some(date_time_ymd(year, 1, 1).unix_timestamp());
        let ends = Ends::of(&config, dir.path());
        assert_eq!(ends, Ends { certificate: year(2037), client_ca: year(2036), client_crl: None });
        assert_eq!(Ends::of(&Config { mode: Mode::Off, ..config }, dir.path()), Ends::default());
    }

    #[test]
    fn the_certificate_that_is_made_in_the_state_folder_ends_too() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("tls")).expect("a folder");
        std::fs::write(dir.path().join("tls/cert.pem"), pem(2038)).expect("written");
        let ends = Ends::of(&Config::default(), dir.path());
        assert_eq!(ends.certificate, Some(date_time_ymd(2038, 1, 1).unix_timestamp()));
    }
}
