//! The signed statement by which an application proves that it has the key of its certificate (RFC 7523).

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;

use super::certificate::Credential;

/// What the form calls such a statement.
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long it holds, in seconds: as in Microsoft's libraries.
const HOLDS: i64 = 600;

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    iat: i64,
    exp: i64,
}

/// The assertion of `client_id` for the token endpoint `audience`, made at `now` (seconds since 1970). `send_chain` puts the
/// certificates into it.
pub(super) fn sign(
    credential: &Credential,
    audience: &str,
    client_id: &str,
    now: i64,
    send_chain: bool,
) -> Result<String, jsonwebtoken::errors::Error> {
    let own = &credential.chain[0];
    let hash = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, own));
    let mut header = Header::new(Algorithm::RS256);
    // Entra looks the certificate up by SHA-1; newer issuers by SHA-256.
    header.x5t = Some(hash(&digest::SHA1_FOR_LEGACY_USE_ONLY));
    header.x5t_s256 = Some(hash(&digest::SHA256));
    header.x5c = send_chain.then(|| credential.chain.iter().map(|der| STANDARD.encode(der)).collect());
    let claims = Claims {
        aud: audience,
        iss: client_id,
        sub: client_id,
        jti: random_uuid(),
        nbf: now,
        iat: now,
        exp: now + HOLDS,
    };
    jsonwebtoken::encode(&header, &claims, &credential.key)
}

fn random_uuid() -> String {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system has random numbers");
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
