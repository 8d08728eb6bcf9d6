//! What an answer means: from HTTP status to [`Outcome`], the same for every output that speaks HTTP, but for what its
//! protocol says of success and of refusal.
//!
//! An answer that is no success may still come from an endpoint that has the batch: a proxy gave up waiting for it (502,
//! 504), it failed after it had stored it (500, 503), it counted too late (429). So only those answers are taken for a
//! certain no which say that the request itself is refused, or whose protocol promises it.

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

/// By which words an endpoint says that events were taken, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Of any collector: every 2xx is a success, and nothing is known of what others mean.
    Any,
    /// Of the Logs Ingestion API: exactly 204 is a success. A 200 most likely comes from a portal or a proxy in between.
    Ingestion,
    /// The same, of Azure itself: it documents 429 as the answer to a request above a rule's limits, which is not taken.
    /// For 503 and the rest it documents nothing.
    Azure,
}

impl Words {
    /// Whether this status says that everything was taken.
    pub(super) fn is_success(self, status: u16) -> bool {
        match self {
            Self::Any => (200..300).contains(&status),
            Self::Ingestion | Self::Azure => status == 204,
        }
    }

    /// Whether events may have been taken in spite of this status, which is no success. 303 shows where to see what became
    /// of a request that was worked on.
    fn leaves_doubt(self, status: u16) -> bool {
        match status {
            429 => self != Self::Azure,
            501 => false,
            200..=299 | 303 | 408 => true,
            status => status >= 500,
        }
    }
}

/// The outcome of a request to an endpoint.
pub(super) fn of(result: Result<Answer, SendError>, words: Words) -> Outcome {
    match result {
        Ok(answer) => of_answer(&answer, words),
        Err(SendError::Connect(detail)) => {
            Outcome::Retry { after: None, reason: RetryReason::Connect, may_be_taken: false, detail }
        }
        Err(SendError::NoAnswer(detail)) => Outcome::Ambiguous { detail },
    }
}

fn of_answer(answer: &Answer, words: Words) -> Outcome {
    let may_be_taken = words.leaves_doubt(answer.status);
    let retry =
        |reason, after| Outcome::Retry { after, reason, may_be_taken, detail: detail(answer, RETRY_DETAIL_MAX) };
    match answer.status {
        status if words.is_success(status) => Outcome::Accepted,
        // 2xx, 3xx, 405, 407: the URL is not the collector's, or a proxy stands in between. 415, 501: refused even without
        // compression.
        200..=399 | 401 | 403 | 404 | 405 | 407 | 415 | 501 => {
            retry(refused(answer.status), Some(answer.retry_after.unwrap_or(PATIENCE)))
        }
        408 => retry(RetryReason::Failed, answer.retry_after),
        // The events of one request are too far apart in time for the table: halves are closer together.
        400 if error_code(answer).as_deref() == Some(TIME_RANGE) => {
            Outcome::Split { status: Some(400), detail: detail(answer, RETRY_DETAIL_MAX) }
        }
        413 => Outcome::Split { status: Some(413), detail: detail(answer, RETRY_DETAIL_MAX) },
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
            let outcome = of_answer(&answer, Words::Any);
            assert!(
                matches!(outcome, Outcome::Retry { reason, .. } if reason.needs_a_person()),
                "{status}: {outcome:?}"
            );
        }
    }

    #[test]
    fn an_answer_is_a_certain_no_only_where_it_says_so() {
        let leaves_doubt = |words: Words, status| {
            let answer = Answer { status, retry_after: None, headers: HeaderMap::new(), body: Bytes::new() };
            let outcome = of_answer(&answer, words);
            assert!(!matches!(outcome, Outcome::Accepted), "{status}");
            matches!(outcome, Outcome::Retry { may_be_taken: true, .. })
        };
        for words in [Words::Any, Words::Ingestion, Words::Azure] {
            for status in [303, 408, 500, 502, 503, 504, 507, 599] {
                assert!(leaves_doubt(words, status), "{words:?} {status}");
            }
            for status in [301, 302, 307, 400, 401, 403, 404, 413, 415, 422, 501] {
                assert!(!leaves_doubt(words, status), "{words:?} {status}");
            }
        }
        assert!(leaves_doubt(Words::Any, 429) && leaves_doubt(Words::Ingestion, 429));
        assert!(!leaves_doubt(Words::Azure, 429), "Azure documents that it takes nothing then");
        assert!(leaves_doubt(Words::Azure, 200) && leaves_doubt(Words::Ingestion, 202), "who says so is not known");
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
            assert!(matches!(of_answer(&answer(body), Words::Any), Outcome::Split { .. }), "{body}");
        }
        assert!(matches!(
            of_answer(&answer(r#"{"error":{"code":"InvalidPayload"}}"#), Words::Any),
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
        let Outcome::Rejected { status: Some(400), detail } = of_answer(&answer, Words::Any) else {
            panic!("not rejected")
        };
        assert!((4000..=4096).contains(&detail.len()));
    }
}
