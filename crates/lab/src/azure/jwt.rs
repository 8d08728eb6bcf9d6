//! JSON Web Tokens, made and judged by hand.
//!
//! The product has a library for this; its judge must not share that library's mistakes. Only signatures come from
//! elsewhere: aws-lc-rs.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::AzureError;

/// A key of the fake Entra, which signs the tokens that it gives out.
pub(super) struct Mint {
    key: RsaKeyPair,
    kid: String,
}

impl Mint {
    /// A new key.
    pub(super) fn new() -> Result<Self, AzureError> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| AzureError::Entropy)?;
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, key.public_key().as_ref()));
        Ok(Self { key, kid })
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, AzureError> {
        let head = json!({ "typ": "JWT", "alg": "RS256", "kid": self.kid });
        let mut token = format!("{}.{}", part(&head), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| AzureError::Entropy)?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }

    /// The claims of a token of this key; `None` for anything else.
    pub(super) fn claims(&self, token: &str) -> Option<Value> {
        let token = Jwt::parse(token)?;
        let own = token.head["kid"] == self.kid.as_str() && token.is_signed_by(self.key.public_key().as_ref());
        own.then_some(token.claims)
    }

    /// What `jwks_uri` answers.
    pub(super) fn key_set(&self) -> Value {
        let key = self.key.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{
            "kty": "RSA", "use": "sig", "kid": self.kid,
            "n": number(key.modulus().big_endian_without_leading_zero()),
            "e": number(key.exponent().big_endian_without_leading_zero()),
        }]})
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token, taken apart; its signature is not looked at yet.
pub(super) struct Jwt {
    /// Its header.
    pub(super) head: Value,
    /// What it claims.
    pub(super) claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Jwt {
    /// Takes a token apart; `None` when it is none.
    pub(super) fn parse(token: &str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let object = |part: &str| serde_json::from_slice(&decode(part)?).ok().filter(Value::is_object);
        Some(Self {
            head: object(head)?,
            claims: object(claims)?,
            signed: signed.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Whether the holder of this key (PKCS#1) signed it, with the algorithm that the header names.
    pub(super) fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.head["alg"].as_str() {
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, public_key).verify(self.signed.as_bytes(), &self.signature).is_ok()
    }

    /// Whether the header names this certificate (DER) by its thumbprint. MSAL for Python pads it, others do not.
    pub(super) fn names(&self, certificate: &[u8]) -> bool {
        let named = |key: &str| self.head[key].as_str().map(|text| text.trim_end_matches('='));
        let is = |named: &str, thumbprint: aws_lc_rs::digest::Digest| named == URL_SAFE_NO_PAD.encode(thumbprint);
        match (named("x5t#S256"), named("x5t")) {
            (None, None) => false,
            (long, short) => {
                long.is_none_or(|text| is(text, digest(&SHA256, certificate)))
                    && short.is_none_or(|text| is(text, digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate)))
            }
        }
    }
}
