//! JSON Web Tokens, as far as they are needed here: three parts, one signature, a key that is already known.
//!
//! The key decides which algorithms are possible, never the token alone: an RSA key takes RS256 and PS256, a P-256 key
//! ES256, nothing takes "none" or a shared secret. Nothing inside a token is believed before its signature was checked.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest token that is looked at: with a chain of certificates in its header some are several thousand bytes.
pub(super) const LENGTH_MAX: usize = 32 << 10;

/// A key that checks signatures.
#[derive(Debug, Clone)]
pub(super) enum PublicKey {
    /// RSA, as PKCS #1.
    Rsa(Vec<u8>),
    /// A point on P-256, uncompressed.
    P256(Vec<u8>),
}

/// A token that has the right form; what is in it is not believed yet.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    /// What is signed: header and claims as they were sent.
    pub(super) signed: &'t str,
    /// The algorithm that the token names.
    pub(super) algorithm: String,
    /// The id of the key that the token names.
    pub(super) key_id: Option<String>,
    claims: &'t str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
}

impl PublicKey {
    /// Whether it checks signatures of this algorithm.
    pub(super) fn takes(&self, algorithm: &str) -> bool {
        match self {
            Self::Rsa(_) => matches!(algorithm, "RS256" | "PS256"),
            Self::P256(_) => algorithm == "ES256",
        }
    }
}

impl<'t> Unverified<'t> {
    /// Takes a token apart; `None` when it is none.
    pub(super) fn parse(token: &'t str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.').filter(|_| token.len() <= LENGTH_MAX)?;
        let (header, claims) = signed.split_once('.').filter(|(_, claims)| !claims.contains('.'))?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Self { signed, algorithm: header.alg, key_id: header.kid, claims, signature: decode(signature)? })
    }

    /// The claims, if the key signed them.
    pub(super) fn verify<C: DeserializeOwned>(&self, key: &PublicKey) -> Option<C> {
        let (algorithm, bytes): (&'static dyn VerificationAlgorithm, &[u8]) = match (key, &*self.algorithm) {
            (PublicKey::Rsa(bytes), "RS256") => (&signature::RSA_PKCS1_2048_8192_SHA256, bytes),
            (PublicKey::Rsa(bytes), "PS256") => (&signature::RSA_PSS_2048_8192_SHA256, bytes),
            (PublicKey::P256(bytes), "ES256") => (&signature::ECDSA_P256_SHA256_FIXED, bytes),
            _ => return None,
        };
        UnparsedPublicKey::new(algorithm, bytes).verify(self.signed.as_bytes(), &self.signature).ok()?;
        serde_json::from_slice(&decode(self.claims)?).ok()
    }
}

/// Signs claims with RS256. `None` when the key cannot.
pub(super) fn sign(key: &KeyPair, key_id: &str, claims: &impl Serialize) -> Option<String> {
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "kid": key_id });
    let claims = serde_json::to_vec(claims).ok()?;
    let mut token = format!("{}.{}", encode(header.to_string().as_bytes()), encode(&claims));
    let mut made = vec![0; key.public_modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut made).ok()?;
    token.push('.');
    token.push_str(&encode(&made));
    Some(token)
}

/// Base64 as tokens write it.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Some clients pad, although they must not.
fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::KeyPair as _;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_key_that_signed_opens_a_token_and_only_by_its_own_algorithm() {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let key = PublicKey::Rsa(pair.public_key().as_ref().to_vec());
        let token = sign(&pair, "k", &json!({ "sub": "a" })).expect("it signs");
        let parsed = Unverified::parse(&token).expect("three parts");
        assert_eq!(parsed.key_id.as_deref(), Some("k"));
        assert_eq!(parsed.verify::<Value>(&key), Some(json!({ "sub": "a" })));
        let other = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        assert_eq!(parsed.verify::<Value>(&PublicKey::Rsa(other.public_key().as_ref().to_vec())), None);

        let (head, signature) = token.rsplit_once('.').expect("three parts");
        let (_, claims) = head.split_once('.').expect("three parts");
        for (header, signature) in [("{\"alg\":\"none\"}", ""), ("{\"alg\":\"HS256\"}", signature)] {
            let forged = format!("{}.{claims}.{signature}", encode(header.as_bytes()));
            let parsed = Unverified::parse(&forged).expect("it has the form");
            assert_eq!(parsed.verify::<Value>(&key), None, "{header}");
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        let long = format!("e30.{}.x", "a".repeat(LENGTH_MAX));
        for text in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", &*long] {
            assert!(Unverified::parse(text).is_none(), "{}", &text[..text.len().min(20)]);
        }
    }
}
