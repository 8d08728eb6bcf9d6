//! Who signs a registration: `Authorization: {workspace}; {signature}`, over the date and the hash of the body.
//!
//! The hash stands in a header, so the signature is judged before the body is read; the body must then be the one that was
//! hashed.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::event::Timestamp;

/// Bytes of a signature: an HMAC with SHA-256.
const SIGNATURE_BYTES: usize = 32;

/// What an `Authorization` header shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The workspace in whose name the request is made, as it was written. Not proven yet.
    pub workspace: &'a str,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Reads the value of an `Authorization` header. `None` when it is no workspace with a signature.
pub fn shown(authorization: &str) -> Option<Shown<'_>> {
    let (workspace, signature) = authorization.trim().split_once(';')?;
    let signature = BASE64_STANDARD.decode(signature.trim()).ok()?;
    (signature.len() == SIGNATURE_BYTES).then_some(Shown { workspace: workspace.trim(), signature })
}

/// Whether this key made the signature. Compares in constant time.
pub(super) fn is_by(key: &hmac::Key, date: &str, content: &str, signature: &[u8]) -> bool {
    hmac::verify(key, format!("{date}\n{content}\n").as_bytes(), signature).is_ok()
}

/// The value of `x-ms-SHA256_Content` for a body.
pub fn content_hash(body: &[u8]) -> String {
    BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body))
}

/// The time that an `x-ms-Date` tells, in seconds since 1970: ISO 8601 with its offset.
pub fn unix_seconds(date: &str) -> Option<i64> {
    Timestamp::parse(date).map(Timestamp::unix_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed apart from this code, with openssl.
    const SIGNATURE: &str = "zyQng9iJPK1nlOd70g5kGggGFPnCC6esC1gyFY9QJGs=";
    const HASH: &str = "7kSUMAmZbdI92RWH6CpoWRNzNClfY1qx15qYBD10HO0=";
    const DATE: &str = "2026-01-02T03:04:05.678901234+00:00";

    #[test]
    fn the_test_vector_is_signed_and_nothing_about_it_may_change() {
        let key = |first: u8| hmac::Key::new(hmac::HMAC_SHA256, &(first..first + 64).collect::<Vec<_>>());
        assert_eq!(content_hash(b"<AgentTopologyRequest/>"), HASH);
        let authorization = format!("01234567-89ab-cdef-0123-456789abcdef; {SIGNATURE}");
        let Shown { workspace, signature } = shown(&authorization).expect("it is shown well");
        assert_eq!(workspace, "01234567-89ab-cdef-0123-456789abcdef");
        assert!(is_by(&key(0), DATE, HASH, &signature));
        assert!(!is_by(&key(1), DATE, HASH, &signature));
        assert!(!is_by(&key(0), "2026-01-02T03:04:05.678901235+00:00", HASH, &signature));
        assert!(!is_by(&key(0), DATE, &content_hash(b"<AgentTopologyRequest />"), &signature));
    }

    #[test]
    fn the_head_of_the_published_example_is_read() {
        assert_eq!(unix_seconds("2015-10-09T22:51:19.259645500-07:00"), Some(1_444_456_279));
        let published = shown("x; K6h/Cxyr4lYZPX4WiKwgbwUnumOSAFa71AQIz6VnDpw=").expect("it is shown well");
        assert_eq!((published.workspace, published.signature.len()), ("x", SIGNATURE_BYTES));
    }

    #[test]
    fn what_is_no_workspace_with_a_signature_is_none() {
        for text in ["", ";", "x", "x;", "x; AAAA", "Bearer abc", "SharedKey a:AAAA"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn dates_of_shells_and_of_dotnet_are_read() {
        assert_eq!(unix_seconds(DATE), Some(1_767_323_045));
        assert_eq!(unix_seconds("2026-01-02T03:04:05.6789012Z"), Some(1_767_323_045));
        assert_eq!(unix_seconds("2026-01-01T20:04:05.678901234-07:00"), Some(1_767_323_045));
        for text in ["", "yesterday", "Fri, 02 Jan 2026 03:04:05 GMT"] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }
}
