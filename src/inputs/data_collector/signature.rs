//! Who signed a request: the header `Authorization: SharedKey {workspace}:{signature}`, the string that is signed, and its date.
//!
//! What is signed is the length of the body and not the body, with a date in whole seconds: the signature proves a key and a
//! moment. So nothing can be told about who sends without a `Content-Length`.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The content type that the documents have signed.
const DOCUMENTED_TYPE: &str = "application/json";
/// Bytes of a signature: an HMAC with SHA-256.
const SIGNATURE_BYTES: usize = 32;

/// What an `Authorization` header shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The workspace in whose name the request is made, as it was written. Not proven yet, and not even a GUID.
    pub workspace: &'a str,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Reads the value of an `Authorization` header. `None` when it is no `SharedKey` with a workspace and a signature.
pub fn shown(authorization: &str) -> Option<Shown<'_>> {
    let (scheme, rest) = authorization.trim().split_once(' ')?;
    let (workspace, signature) = rest.trim_start().split_once(':')?;
    let signature = BASE64_STANDARD.decode(signature.trim()).ok()?;
    let is_ours = scheme.eq_ignore_ascii_case("SharedKey") && signature.len() == SIGNATURE_BYTES;
    is_ours.then_some(Shown { workspace, signature })
}

/// Whether a text is a workspace id: a GUID with its dashes.
pub fn is_workspace_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// What clients sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    /// Bytes of the body as they come over the wire.
    pub(super) length: u64,
    /// The content type as it was sent, where one was.
    pub(super) content_type: Option<&'a str>,
    /// `x-ms-date` as it was sent.
    pub(super) date: &'a str,
}

impl Signed<'_> {
    /// The key that made the signature. Compares in constant time.
    ///
    /// The documents sign `application/json` whatever is sent, and clients whose libraries add `; charset=utf-8` to the header
    /// sign either.
    pub(super) fn by<'k, K>(&self, keys: &'k [K], signature: &[u8], key: impl Fn(&K) -> &hmac::Key) -> Option<&'k K> {
        let types = [Some(DOCUMENTED_TYPE), self.content_type.filter(|sent| *sent != DOCUMENTED_TYPE)];
        let texts: Vec<String> = types.into_iter().flatten().map(|content_type| self.text(content_type)).collect();
        keys.iter().find(|each| texts.iter().any(|text| hmac::verify(key(each), text.as_bytes(), signature).is_ok()))
    }

    fn text(&self, content_type: &str) -> String {
        format!("POST\n{}\n{content_type}\nx-ms-date:{}\n/api/logs", self.length, self.date)
    }
}

/// The time that an `x-ms-date` tells, in seconds since 1970. `None` when it is not one of RFC 1123.
pub fn unix_seconds(date: &str) -> Option<i64> {
    OffsetDateTime::parse(date.trim(), &Rfc2822).ok().map(OffsetDateTime::unix_timestamp)
}

/// Signs as clients do; for tests.
#[cfg(test)]
pub(in crate::inputs) fn sign(key: &[u8], length: usize, content_type: &str, date: &str) -> String {
    let signed = Signed { length: length as u64, content_type: None, date };
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.text(content_type).as_bytes());
    BASE64_STANDARD.encode(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Fri, 02 Jan 2026 03:04:05 GMT";
    /// Computed apart from this code, with openssl.
    const VECTOR: &str = "F+0Ak1DF84RfAQT8vXnuFys2OXo71d4MBBKoJRbbsro=";

    fn key() -> Vec<u8> {
        (0..64).collect()
    }

    fn is_signed(length: u64, content_type: Option<&str>, date: &str, signature: &str) -> bool {
        let keys = [hmac::Key::new(hmac::HMAC_SHA256, &[7; 64]), hmac::Key::new(hmac::HMAC_SHA256, &key())];
        let shown = shown(signature).expect("it is shown well");
        Signed { length, content_type, date }.by(&keys, &shown.signature, |key| key).is_some()
    }

    #[test]
    fn the_test_vector_is_signed_by_the_second_key_and_nothing_about_it_may_change() {
        assert_eq!(sign(&key(), 9, "application/json", DATE), VECTOR);
        let authorization = format!("SharedKey 01234567-89ab-cdef-0123-456789abcdef:{VECTOR}");
        assert!(is_signed(9, Some("application/json"), DATE, &authorization));
        assert!(is_signed(9, None, DATE, &authorization));
        assert!(is_signed(9, Some("application/json; charset=utf-8"), DATE, &authorization));
        assert!(!is_signed(10, None, DATE, &authorization));
        assert!(!is_signed(9, None, "Fri, 02 Jan 2026 03:04:06 GMT", &authorization));
        assert!(!is_signed(9, None, DATE, &authorization.replace("F+0", "G+0")));
    }

    #[test]
    fn a_content_type_with_its_character_set_may_be_signed_as_it_is_sent() {
        let with = "application/json; charset=utf-8";
        let authorization = format!("SharedKey x:{}", sign(&key(), 9, with, DATE));
        assert!(is_signed(9, Some(with), DATE, &authorization));
        assert!(!is_signed(9, Some("application/json"), DATE, &authorization));
    }

    #[test]
    fn what_is_no_shared_key_is_none() {
        let good = format!("sharedkey  abc:{VECTOR} ");
        assert_eq!(shown(&good).map(|shown| shown.workspace), Some("abc"));
        for text in ["", "SharedKey", "SharedKey abc", "SharedKey abc:", "SharedKey abc:AAAA", "SharedKey abc:%%%"] {
            assert_eq!(shown(text), None, "{text}");
        }
        assert_eq!(shown(&format!("Bearer abc:{VECTOR}")), None);
    }

    #[test]
    fn dates_of_rfc_1123_are_read() {
        assert_eq!(unix_seconds(DATE), Some(1_767_323_045));
        assert_eq!(unix_seconds(" Thu, 01 Jan 1970 00:00:00 GMT "), Some(0));
        for text in ["", "2026-01-02T03:04:05Z", "Fri, 02 Jan 2026", "Fri, 32 Jan 2026 03:04:05 GMT"] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn workspace_ids_are_guids_with_dashes() {
        assert!(is_workspace_id("01234567-89AB-cdef-0123-456789abcdef"));
        for text in ["", "plant", "0123456789ABcdef0123456789abcdef", "01234567-89AB-cdef-0123-456789abcdeg"] {
            assert!(!is_workspace_id(text), "{text}");
        }
    }
}
