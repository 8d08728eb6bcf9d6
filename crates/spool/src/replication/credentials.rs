//! A file of credentials, as `nsc` writes them for a user of NATS: a token that says who it is, and the seed of the key that signs
//! for it. A file with nothing but a seed is for servers that know users by their key alone.
//!
//! It is read with each connection, so that tokens that end can be followed by others while the gateway runs.

use std::io;
use std::path::Path;

use async_nats::{Auth, AuthError};
use nkeys::{KeyPair, KeyPairType};

use crate::fs::{self, RealFs};

/// More than a token of any size that servers take.
const FILE_MAX: u64 = 64 << 10;
const TOKEN: &str = "NATS USER JWT";
const SEED: &str = "USER NKEY SEED";

/// Why no credentials are in a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialsError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// Nothing in it is the seed of a user.
    #[error(
        "no seed of a user is in it: name a file as `nsc generate creds` writes it, or one with a seed (SU…) alone"
    )]
    NoSeed,
    /// The seed is not right.
    #[error("its seed cannot be used: {0}")]
    Seed(String),
    /// The seed is for somebody else.
    #[error("its seed is not that of a user: those begin with SU")]
    NotOfUser,
}

/// Who a gateway is at the servers, and what proves it.
pub(super) struct Credentials {
    token: Option<String>,
    key: KeyPair,
}

impl Credentials {
    /// Reads a file. Blocks on the disk.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let bytes = fs::read(&RealFs, path, FILE_MAX)?;
        Self::parse(std::str::from_utf8(&bytes).map_err(|_| CredentialsError::NoSeed)?)
    }

    fn parse(text: &str) -> Result<Self, CredentialsError> {
        let token = section(text, TOKEN).map(str::to_owned);
        let seed = match (&token, section(text, SEED)) {
            (_, Some(seed)) => seed,
            (None, None) if text.trim().starts_with('S') => text.trim(),
            _ => return Err(CredentialsError::NoSeed),
        };
        let key = KeyPair::from_seed(seed).map_err(|error| CredentialsError::Seed(error.to_string()))?;
        if key.key_pair_type() != KeyPairType::User {
            return Err(CredentialsError::NotOfUser);
        }
        Ok(Self { token, key })
    }

    /// What a server is answered that sent `nonce`.
    fn answer(&self, nonce: &[u8]) -> Result<Auth, AuthError> {
        let mut auth = Auth::new();
        auth.signature = Some(self.key.sign(nonce).map_err(AuthError::new)?);
        match &self.token {
            Some(token) => auth.jwt = Some(token.clone()),
            None => auth.nkey = Some(self.key.public_key()),
        }
        Ok(auth)
    }
}

/// Reads the file anew, and answers a server that sent `nonce`.
pub(super) async fn answer(path: &Path, nonce: Vec<u8>) -> Result<Auth, AuthError> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || Credentials::read(&file)).await.map_err(AuthError::new)?;
    read.map_err(|error| AuthError::new(format!("credentials_file {}: {error}", path.display())))?.answer(&nonce)
}

/// What stands between the lines that begin and end a part with this title.
fn section<'a>(text: &'a str, title: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("BEGIN {title}"))?;
    let (_, rest) = rest.split_once('\n')?;
    let (inside, _) = rest.split_once(&format!("END {title}"))?;
    Some(inside.trim_end_matches('-').trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `nsc` writes it, with a warning between.
    fn file(token: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             NKEY Seed printed below can be used to sign and prove identity.\n\
             NKEYs are sensitive and should be treated as secrets.\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n\n\
             *************************************************************\n"
        )
    }

    #[test]
    fn a_server_is_answered_with_the_token_and_a_signature_over_what_it_sent() {
        let key = KeyPair::new_user();
        let seed = key.seed().unwrap();
        for text in [file("e30.e30.AA", &seed), file("e30.e30.AA", &seed).replace('\n', "\r\n")] {
            let auth = Credentials::parse(&text).unwrap().answer(b"nonce").unwrap();
            assert_eq!((auth.jwt.as_deref(), auth.nkey), (Some("e30.e30.AA"), None));
            key.verify(b"nonce", &auth.signature.unwrap()).unwrap();
        }
        let auth = Credentials::parse(&format!("{seed}\n")).unwrap().answer(b"nonce").unwrap();
        assert_eq!((auth.jwt, auth.nkey), (None, Some(key.public_key())));
    }

    #[test]
    fn what_is_no_file_of_credentials_is_told_with_what_is() {
        let said = |text: &str| Credentials::parse(text).err().expect("it is none").to_string();
        let seed = KeyPair::new_user().seed().unwrap();
        assert!(said("").contains("nsc generate creds"));
        assert!(said("gatepost:password").contains("nsc generate creds"));
        assert!(said(&file("e30.e30.AA", &seed)[..60]).contains("nsc generate creds"));
        assert!(said(&file("e30.e30.AA", "").replace("SEED", "")).contains("nsc generate creds"));
        assert!(said(&file("e30.e30.AA", &seed[..40])).contains("its seed cannot be used"));
        assert!(said(&KeyPair::new_account().seed().unwrap()).contains("begin with SU"));
        let told = said(&seed.replace(&seed[10..14], "AAAA"));
        assert!(told.contains("its seed cannot be used") && !told.contains(&seed[20..]), "{told}");
    }

    #[test]
    fn a_file_that_is_away_or_too_long_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatepost.creds");
        let said = || Credentials::read(&path).err().expect("it is none").to_string();
        assert!(said().contains("No such file"));
        std::fs::write(&path, vec![b'S'; 70_000]).unwrap();
        assert!(said().contains("longer than 65536 bytes"));
        std::fs::write(&path, b"S\xff").unwrap();
        assert!(said().contains("nsc generate creds"));
    }
}
