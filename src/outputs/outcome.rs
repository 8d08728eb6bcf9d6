//! What an answer means: from HTTP status to [`Outcome`], the same for every output that speaks HTTP.

use std::time::Duration;

use serde_json::Value;

use super::output::{Outcome, RetryReason};
use crate::net::http_client::{Answer, SendError};

/// How long to leave an endpoint alone that does not know us: a person has to act, and Azure takes up to 30 minutes
/// to spread a new role.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer in the detail of a retry: it is logged each time.
const RETRY_DETAIL_MAX: usize = 400;
/// Most bytes of an answer kept with a dead letter.
const REJECTED_DETAIL_MAX: usize = 4096;

/// Azure's code for a request whose events span more than 30 minutes, where the table takes no more.
const TIME_RANGE: &str = "RecordsTimeRangeIsMoreThan30Minutes";

/// Which answers say that events were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Success {
    /// Any 2xx.
    Any,
    /// Exactly 204, as Azure answers. A 200 comes from a portal or a proxy in between, which has taken nothing.
    NoContent,
}

impl Success {
    /// Whether this status does.
    pub(super) fn is(self, status: u16) -> bool {
        match self {
            Self::Any => (200..300).contains(&status),
            Self::NoContent => status == 204,
        }
    }
}

/// The outcome of a request to an endpoint.
pub(super) fn of(result: Result<Answer, SendError>, success: Success) -> Outcome {
    match result {
        Ok(answer) => of_answer(&answer, success),
        Err(SendError::Connect(detail)) => Outcome::Retry { after: None, reason: RetryReason::Connect, detail },
        Err(SendError::NoAnswer(detail)) => Outcome::Ambiguous { detail },
    }
}

fn of_answer(answer: &Answer, success: Success) -> Outcome {
    let retry = |reason, after| Outcome::Retry { after, reason, detail: detail(answer, RETRY_DETAIL_MAX) };
    match answer.status {
        status if success.is(status) => Outcome::Accepted,
        // 2xx, 3xx, 405, 407: the URL is not the collector's, or a proxy stands in between. 415, 501: refused even without
        // compression.
        200..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 501 => {
            retry(refused(answer.status), Some(answer.retry_after.unwrap_or(PATIENCE)))
        }
        408 => retry(RetryReason::Failed, answer.retry_after),
        // The events of one request are too far apart in time for the table: halves are closer together.
        400 if error_code(answer).as_deref() == Some(TIME_RANGE) => {
            Outcome::Split { detail: detail(answer, RETRY_DETAIL_MAX) }
        }
        413 => Outcome::Split { detail: detail(answer, RETRY_DETAIL_MAX) },
        429 => retry(RetryReason::Throttled, answer.retry_after),
        503 => retry(RetryReason::Busy, answer.retry_after),
        400..=499 => Outcome::Rejected { status: Some(answer.status), detail: detail(answer, REJECTED_DETAIL_MAX) },
        _ => retry(RetryReason::Failed, answer.retry_after),
    }
}

fn refused(status: u16) -> RetryReason {
    match status {
        401 => RetryReason::Unauthorized,
        403 => RetryReason::Forbidden,
        404 => RetryReason::NotFound,
        _ => RetryReason::Refused,
    }
}

/// Whether an answer says that the endpoint does not take compressed bodies.
pub(super) fn dislikes_compression(result: &Result<Answer, SendError>) -> bool {
    matches!(result, Ok(Answer { status: 415 | 501, .. }))
}

/// Azure's own code for what is wrong: from the header, else from the body. Some front ends write the members with capitals.
pub(super) fn error_code(answer: &Answer) -> Option<String> {
    let header = answer.headers.get("x-ms-error-code").and_then(|value| value.to_str().ok());
    header.map(str::to_owned).or_else(|| {
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(member(member(&body, "error")?, "code")?.as_str()?.to_owned())
    })
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Status, Azure's error code if there is one, and the start of the body, safe to log: no control characters.
pub(super) fn detail(answer: &Answer, max_bytes: usize) -> String {
    let mut text = answer.status.to_string();
    if let Some(code) = error_code(answer) {
        text.push(' ');
        text.push_str(&code);
    }
    if !answer.body.is_empty() {
        text.push_str(": ");
        let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(max_bytes)]);
        text.extend(body.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    text.truncate(text.floor_char_boundary(max_bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    #[test]
    fn a_wrong_address_or_a_proxy_in_between_is_no_fault_of_the_events() {
        for status in [302, 401, 403, 404, 405, 407] {
            let answer = Answer { status, retry_after: None, headers: HeaderMap::new(), body: Bytes::new() };
            let outcome = of_answer(&answer, Success::Any);
            assert!(
                matches!(outcome, Outcome::Retry { reason, .. } if reason.needs_a_person()),
                "{status}: {outcome:?}"
            );
        }
    }

    #[test]
    fn azures_code_is_found_in_the_header_and_in_both_spellings_of_the_body() {
        let answer = |body: &'static str| Answer {
            status: 400,
            retry_after: None,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        for body in [
            r#"{"error":{"code":"RecordsTimeRangeIsMoreThan30Minutes","message":"no"}}"#,
            r#"{"Error":{"Code":"RecordsTimeRangeIsMoreThan30Minutes","Message":"no"}}"#,
        ] {
            assert!(matches!(of_answer(&answer(body), Success::Any), Outcome::Split { .. }), "{body}");
        }
        assert!(matches!(
            of_answer(&answer(r#"{"error":{"code":"InvalidPayload"}}"#), Success::Any),
            Outcome::Rejected { .. }
        ));
        assert_eq!(error_code(&answer("<html>")), None);
    }

    #[test]
    fn what_an_endpoint_says_is_safe_to_log_and_short() {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", "InvalidPayload".parse().unwrap());
        let body = Bytes::from(format!("a\r\nb\u{1b}{}", "é".repeat(5000)));
        let answer = Answer { status: 400, retry_after: None, headers, body };
        let text = detail(&answer, 100);
        assert!(text.starts_with("400 InvalidPayload: a  b é") && text.len() <= 100, "{text}");
        let Outcome::Rejected { status: Some(400), detail } = of_answer(&answer, Success::Any) else {
            panic!("not rejected")
        };
        assert!((4000..=4096).contains(&detail.len()));
    }
}
