//! Answers in Azure's shape: an error as JSON with its code in a header too, a request id on every answer.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::auth::Denied;
use super::body::{BodyError, NoMemory};
use super::decompress::DecompressError;
use super::readable::ReadError;
use crate::event::foreign::Foreign;
use crate::ingest::accept::Refusal;

const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// A request that is not answered with success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: StatusCode,
    /// A short name for programs, also in `x-ms-error-code`.
    pub code: &'static str,
    /// What is wrong and what would be right, for people.
    pub message: String,
    /// When to come back; always there with 429 and 503.
    pub retry_after: Option<Duration>,
    /// The methods that would do; only with 405.
    pub allow: Option<&'static str>,
    /// What to show instead; only with 401.
    pub challenge: &'static str,
}

impl Failure {
    /// A failure with nothing but its code and message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, allow: None, challenge: "Bearer" }
    }

    /// A failure that passes by itself, and when.
    pub fn later(status: StatusCode, code: &'static str, message: impl Into<String>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(status, code, message) }
    }

    /// A request whose method is not the one that the path takes.
    pub fn method(allow: &'static str) -> Self {
        let message = format!("this path takes {allow} only");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message) }
    }

    /// A body that is written in something that is not understood here.
    fn unsupported(message: String) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedFormat", message)
    }

    /// A request that the front door refused before it was read.
    pub fn front_door(status: u16, message: String) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let code = if status == StatusCode::REQUEST_TIMEOUT { "RequestTimeout" } else { "BadRequest" };
        Self::new(status, code, message)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Token => Self::new(StatusCode::UNAUTHORIZED, "AuthenticationFailed", denied.to_string()),
            Denied::Issued(_) => Self {
                challenge: "Bearer error=\"invalid_token\"",
                ..Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", denied.to_string())
            },
            Denied::Certificate => Self::new(StatusCode::FORBIDDEN, "CertificateNotAllowed", denied.to_string()),
            Denied::Network => Self::new(StatusCode::FORBIDDEN, "AddressNotAllowed", denied.to_string()),
        }
    }
}

impl From<NoMemory> for Failure {
    fn from(no_memory: NoMemory) -> Self {
        let after = Duration::from_secs(2);
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", no_memory.to_string(), after)
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ContentLengthLimitExceeded", message)
            }
            BodyError::Slow { .. } => Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message),
            BodyError::Broken(_) => Self::new(StatusCode::BAD_REQUEST, "IncompleteBody", message),
            BodyError::NoMemory(no_memory) => no_memory.into(),
        }
    }
}

impl From<DecompressError> for Failure {
    fn from(error: DecompressError) -> Self {
        let message = error.to_string();
        match error {
            DecompressError::Unsupported(_) => {
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedContentEncoding", message)
            }
            DecompressError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ContentLengthLimitExceeded", message)
            }
            DecompressError::Damaged(_) => Self::new(StatusCode::BAD_REQUEST, "InvalidPayload", message),
            // Nobody hears it.
            DecompressError::Gone => Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message),
            DecompressError::NoMemory(no_memory) => no_memory.into(),
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ContentLengthLimitExceeded", message)
            }
            ReadError::TooSlow => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "UploadTakesTooLong", message),
            // Nobody hears it.
            ReadError::Gone => Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message),
            ReadError::Damaged(_) => Self::new(StatusCode::BAD_REQUEST, "InvalidPayload", message),
            ReadError::NotHere => Self::unsupported(message),
            ReadError::NoMemory(no_memory) => no_memory.into(),
        }
    }
}

impl From<Foreign> for Failure {
    fn from(foreign: Foreign) -> Self {
        Self::unsupported(foreign.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match refusal {
            Refusal::Malformed(_) => Self::new(StatusCode::BAD_REQUEST, "InvalidPayload", message),
            Refusal::TooSlow { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "UploadTakesTooLong", message),
            // Nobody hears it.
            Refusal::Gone => Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message),
            Refusal::TooLarge => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ContentLengthLimitExceeded", message),
            Refusal::Foreign(_) => Self::new(StatusCode::FORBIDDEN, "OperationFailed", message),
            Refusal::Busy { retry_after, .. } => {
                Self::later(StatusCode::TOO_MANY_REQUESTS, "ServerBusy", message, retry_after)
            }
            Refusal::Stopping => Self::later(unavailable, "ServerStopping", message, Duration::from_secs(5)),
            Refusal::Held(_) => Self::later(unavailable, "ServerNotReady", message, Duration::from_secs(30)),
            Refusal::SpoolFull => Self::later(unavailable, "SpoolFull", message, Duration::from_secs(30)),
            // What the disk said is for the operator's log, not for clients.
            Refusal::SpoolFailed(_) => {
                Self::later(unavailable, "SpoolFailed", "the spool cannot write", Duration::from_secs(30))
            }
        }
    }
}

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
    let mut response = json(&ErrorBody { error: ErrorDetail { code: failure.code, message: &failure.message } });
    *response.status_mut() = failure.status;
    let headers = response.headers_mut();
    headers.insert(ERROR_CODE, HeaderValue::from_static(failure.code));
    if let Some(after) = failure.retry_after {
        let seconds = after.as_millis().div_ceil(1000).max(1);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX)));
    }
    if let Some(allow) = failure.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if failure.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(failure.challenge));
    }
    response
}
