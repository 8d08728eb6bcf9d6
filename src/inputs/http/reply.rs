//! Answers in Azure's shape: an error as JSON with its code in a header too, a request id on every answer.
//!
//! It is the shape of the Logs Ingestion API and of the plain door, and of whatever is no protocol's: paths at which nothing
//! is, and requests that the front door refused.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::inputs::reason::{Failure, Reason};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// The name that a failure has in Azure's shape. Where Azure has one for the reason it is Azure's.
pub fn code(failure: &Failure) -> &'static str {
    failure.name.unwrap_or_else(|| name(failure.reason))
}

fn name(reason: &'static Reason) -> &'static str {
    NAMES.iter().find(|(named, _)| *named == reason).map_or(reason.code, |(_, name)| name)
}

const NAMES: &[(&Reason, &str)] = &[
    (Reason::TOKEN, "AuthenticationFailed"),
    (Reason::ISSUED_TOKEN, "InvalidAuthenticationToken"),
    (Reason::CREDENTIALS, "AuthenticationFailed"),
    (Reason::CERTIFICATE, "CertificateNotAllowed"),
    (Reason::TICKET_MISSING, "AuthenticationFailed"),
    (Reason::TICKET_REFUSED, "AuthenticationFailed"),
    (Reason::PRINCIPAL, "PrincipalNotAllowed"),
    (Reason::SEAL, "InvalidPayload"),
    (Reason::ADDRESS, "AddressNotAllowed"),
    (Reason::RESTRICTED, "OperationFailed"),
    (Reason::FOREIGN_EVENTS, "OperationFailed"),
    (Reason::HEAD_MALFORMED, "BadRequest"),
    (Reason::HEAD_SLOW, "RequestTimeout"),
    (Reason::HEAD_TOO_LARGE, "BadRequest"),
    (Reason::NOT_FOUND, "NotFound"),
    (Reason::METHOD, "MethodNotAllowed"),
    (Reason::PARAMETER, "InvalidParameter"),
    (Reason::DESTINATION, "NotFound"),
    (Reason::BODY_TOO_LARGE, "ContentLengthLimitExceeded"),
    (Reason::BODY_SLOW, "RequestTimeout"),
    (Reason::BODY_BROKEN, "IncompleteBody"),
    (Reason::ENCODING, "UnsupportedContentEncoding"),
    (Reason::FORMAT, "UnsupportedFormat"),
    (Reason::UNREADABLE, "InvalidPayload"),
    (Reason::READ_TOO_LONG, "UploadTakesTooLong"),
    (Reason::EVENT_TOO_LARGE, "ContentLengthLimitExceeded"),
    (Reason::GONE, "RequestTimeout"),
    (Reason::CLIENT_RATE, "TooManyRequests"),
    (Reason::IN_FLIGHT_BYTES, "ServerBusy"),
    (Reason::BODY_MEMORY, "ServerBusy"),
    (Reason::STOPPING, "ServerStopping"),
    (Reason::TICKETS_BUSY, "ServerBusy"),
    (Reason::BOOKMARKS_FAILED, "BookmarksFailed"),
    (Reason::AGENTS_FAILED, "AgentsFailed"),
    (Reason::DEDUP_UNAVAILABLE, "ServerNotReady"),
    (Reason::NOT_REPLICATED, "ServerNotReady"),
    (Reason::LOADING, "ServerNotReady"),
    (Reason::HELD, "ServerNotReady"),
    (Reason::SPOOL_FULL, "SpoolFull"),
    (Reason::SPOOL_FAILED, "SpoolFailed"),
    (Reason::DEAD_LETTERS_FULL, "DeadLettersFull"),
    (Reason::DEAD_LETTERS_FAILED, "DeadLettersFailed"),
    (Reason::STATE_REMOVED, "StateRemoved"),
    (Reason::INTERNAL, "InternalError"),
];

/// The ids of one request: ours, and the client's own if it sent one that is safe to echo.
#[derive(Debug, Clone)]
pub struct Ids {
    ours: HeaderValue,
    client: Option<HeaderValue>,
}

impl Ids {
    /// New ids for the request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let sane = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.{}".contains(b))
        };
        Self { ours: request_id(), client: headers.get(CLIENT_REQUEST_ID).filter(sane).cloned() }
    }

    /// Ours.
    pub fn ours(&self) -> &str {
        self.ours.to_str().unwrap_or_default()
    }

    /// The client's own.
    pub fn clients(&self) -> Option<&str> {
        self.client.as_ref()?.to_str().ok()
    }

    /// Puts the ids on an answer.
    pub fn put_on(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.ours);
        if let Some(client) = self.client {
            headers.insert(CLIENT_REQUEST_ID, client);
        }
    }
}

/// A random UUID. It only has to be unlike others, not hard to guess.
pub(crate) fn request_id() -> HeaderValue {
    let bits = (fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let text = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    HeaderValue::try_from(text).expect("hexadecimal digits and dashes are a header value")
}

/// 204 without a body.
pub fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 200 with a JSON body.
pub fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(to_json(value)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain structs of numbers and strings always serialise")
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorDetail<'a>,
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    code: &'a str,
    message: &'a str,
}

/// A failure as an answer.
pub fn failure(failure: &Failure) -> Response<Body> {
    let code = code(failure);
    let mut response = json(&ErrorBody { error: ErrorDetail { code, message: &failure.message } });
    *response.status_mut() = failure.status();
    put_on(failure, &mut response);
    response.headers_mut().insert(ERROR_CODE, HeaderValue::from_static(code));
    response
}

/// Puts on an answer what HTTP says of a failure beside its status: when to come back, which methods would do, what to show
/// instead.
pub fn put_on(failure: &Failure, response: &mut Response<Body>) {
    let status = response.status();
    let headers = response.headers_mut();
    if let Some(after) = failure.retry_after {
        let seconds = after.as_millis().div_ceil(1000).max(1);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    }
    if let Some(allow) = failure.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(failure.challenge));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name() {
        for reason in Reason::ALL {
            assert_ne!(name(reason), reason.code);
        }
    }
}
