//! How the Data Collector API says what became of a post: the statuses, codes and bodies that Microsoft documents.
//!
//! Clients look at the status; many know only 200, 429, 500 and 503, so what passes by itself is one of the last three. A body that
//! is too large is 404 there.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::inputs::http::reply;
use crate::inputs::reason::{Failure, Reason};

/// The code of whatever is wrong with who signs.
pub(super) const INVALID_AUTHORIZATION: &str = "InvalidAuthorization";
/// What the service says then, and nothing else.
const SIGNATURE_TEXT: &str = "An invalid signature was specified in the Authorization header";
const INVALID_DATA_FORMAT: &str = "InvalidDataFormat";
const NOT_FOUND: &str = "NotFound";
const UNAVAILABLE: (u16, &str) = (503, "ServiceUnavailable");

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody<'a> {
    error: &'a str,
    message: &'a str,
}

/// 200 with nothing.
pub(super) fn taken() -> Response<Body> {
    Response::new(Body::empty())
}

/// A failure as an answer.
pub(super) fn refused(failure: &Failure) -> Response<Body> {
    let (status, error) = said(failure);
    // Why a signature is not taken stands in the access log: a stranger learns nothing from it.
    let message = if error == INVALID_AUTHORIZATION { SIGNATURE_TEXT } else { &failure.message };
    let body = serde_json::to_vec(&ErrorBody { error, message }).expect("plain texts always serialise");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    reply::put_on(failure, &mut response);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The code of a failure.
pub(super) fn code(failure: &Failure) -> &'static str {
    said(failure).1
}

fn said(failure: &Failure) -> (StatusCode, &'static str) {
    let (status, code) = of_reason(failure.reason);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), failure.name.unwrap_or(code))
}

fn of_reason(reason: &'static Reason) -> (u16, &'static str) {
    let listed = SAID.iter().find(|(reasons, _)| reasons.contains(&reason)).map(|(_, said)| *said);
    match listed {
        Some(said) => said,
        None if reason.passes() => UNAVAILABLE,
        None => (400, INVALID_DATA_FORMAT),
    }
}

/// What is neither wrong data nor passes by itself, and what of the latter has a name of its own.
const SAID: &[(&[&Reason], (u16, &str))] = &[
    (
        &[Reason::TOKEN, Reason::ISSUED_TOKEN, Reason::CREDENTIALS, Reason::CERTIFICATE, Reason::ADDRESS],
        (403, INVALID_AUTHORIZATION),
    ),
    (&[Reason::RESTRICTED, Reason::FOREIGN_EVENTS], (403, "OperationFailed")),
    (&[Reason::NOT_FOUND, Reason::BODY_TOO_LARGE, Reason::READ_TOO_LONG, Reason::EVENT_TOO_LARGE], (404, NOT_FOUND)),
    (&[Reason::METHOD], (405, "MethodNotAllowed")),
    (&[Reason::DESTINATION], (400, "InvalidLogType")),
    (&[Reason::CLIENT_RATE, Reason::IN_FLIGHT_BYTES], (429, "TooManyRequests")),
    (&[Reason::INTERNAL], (500, "UnspecifiedError")),
];

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(failure: &Failure) -> (u16, String) {
        let (parts, body) = refused(failure).into_parts();
        let body = axum::body::to_bytes(body, 1 << 16).await.expect("a body");
        (parts.status.as_u16(), String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn who_signs_wrongly_gets_the_documented_body_whatever_was_wrong() {
        let body = r#"{"Error":"InvalidAuthorization","Message":"An invalid signature was specified in the Authorization header"}"#;
        for (reason, text) in [(Reason::CREDENTIALS, "the key is off"), (Reason::ADDRESS, "not from here")] {
            assert_eq!(answer(&Failure::new(reason, text)).await, (403, body.to_owned()));
        }
    }

    #[tokio::test]
    async fn every_reason_has_a_status_that_is_documented() {
        for reason in Reason::ALL {
            let (status, body) = answer(&Failure::new(reason, reason.text)).await;
            let want: &[u16] = if reason.passes() { &[429, 500, 503] } else { &[400, 403, 404, 405] };
            assert!(want.contains(&status), "{}: {status}", reason.code);
            let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
            assert!(body["Error"].is_string() && body["Message"].is_string(), "{body}");
        }
        let large = answer(&Failure::new(Reason::BODY_TOO_LARGE, "the body is larger than 31457280 bytes")).await;
        assert_eq!(large.0, 404);
        let named = Failure::named(Reason::PARAMETER, "MissingApiVersion", "x");
        assert_eq!((answer(&named).await.0, code(&named)), (400, "MissingApiVersion"));
    }
}
