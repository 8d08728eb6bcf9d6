//! What token services answer: the same few fields from Entra ID, the metadata service and the Arc agent.
//!
//! An answer is believed only as far as it can be checked, and what it says is shown only after it was cut, stripped of
//! control characters and searched for the secret that was sent: it ends in logs and on the status page.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use super::source::{Failure, Fetched, Mends};
use super::{Token, TokenError, unix_now};
use crate::net::http_client::{self, ANSWER_BYTES_MAX, Answer, SendError};

/// No service gives tokens that live longer; a number beyond is a mistake, and the token is renewed in time all the same.
const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most characters of a description that are shown.
const SHOWN_MAX: usize = 300;

/// An answer that is an error.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The number of the `AADSTS` code, if there is one.
    pub(super) code: Option<u32>,
    /// The OAuth error, such as `invalid_client`; and the first line of its description. Fit to be shown.
    pub(super) text: String,
}

impl Refusal {
    /// Whether time may mend it.
    pub(super) fn mends(&self) -> Mends {
        match (self.status, self.code) {
            // Throttled, a request that ran into a limit, and the directory's own troubles.
            (_, Some(50_196 | 90_006 | 90_012 | 90_025 | 90_033 | 90_055)) => Mends::ByItself,
            (404 | 408 | 410 | 429 | 500.., None) | (408 | 429 | 500.., Some(_)) => Mends::ByItself,
            _ => Mends::ByHand,
        }
    }

    /// The failure that it is, with advice.
    pub(super) fn into_failure(self, asked: &str, answer: &Answer, advice: Option<String>) -> Failure {
        let text = if self.text.is_empty() { String::new() } else { format!(": {}", self.text) };
        Failure {
            mends: self.mends(),
            error: TokenError { detail: format!("{asked} answered {}{text}", self.status), advice },
            retry_after: answer.retry_after,
        }
    }
}

/// The token of an answer with status 200, or the refusal that another is.
pub(super) fn read(asked: &str, answer: &Answer, secrets: &[&str]) -> Result<Result<Fetched, Refusal>, Failure> {
    if answer.status == 200 {
        return token(asked, answer).map(Ok);
    }
    Ok(Err(refusal(answer, secrets)))
}

/// No answer.
pub(super) fn unanswered(asked: &str, error: &SendError) -> Failure {
    Failure::passing(format!("{asked}: {error}"))
}

fn token(asked: &str, answer: &Answer) -> Result<Fetched, Failure> {
    let wrong = |what: &str| Failure::passing(format!("{asked} answered 200, but {what}"));
    if answer.body.len() >= ANSWER_BYTES_MAX {
        return Err(wrong("with more than 64 KiB, which is no token"));
    }
    // The parser's own errors quote what they found; here that may be the token.
    let body: Value =
        serde_json::from_slice(&answer.body).map_err(|_| wrong("not with JSON, or not with all of it"))?;
    let token = body["access_token"].as_str().unwrap_or_default();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("without an access_token that a header can carry"));
    }
    if body["token_type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(wrong("with a token that is not a Bearer token"));
    }
    let life = seconds(&body["expires_in"])
        .or_else(|| Some(seconds(&body["expires_on"])? - date(answer).unwrap_or_else(unix_now)))
        .ok_or_else(|| wrong("it does not say when the token ends (expires_in)"))?;
    let life = u64::try_from(life).ok().filter(|life| *life > 0).ok_or_else(|| wrong("the token has ended already"))?;
    Ok(Fetched { token: Token(token.into()), life: Duration::from_secs(life).min(LIFE_MAX), notice: None })
}

/// A whole number of seconds, from a number or a text: metadata services write texts.
fn seconds(value: &Value) -> Option<i64> {
    const FAR: i64 = 1 << 40;
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    text.split('.').next()?.parse().ok().map(|seconds: i64| seconds.clamp(-FAR, FAR))
}

/// The time of an answer by the other side's clock, in seconds since 1970.
pub(super) fn date(answer: &Answer) -> Option<i64> {
    let since_1970 = http_client::date(&answer.headers)?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_1970.as_secs()).ok()
}

fn refusal(answer: &Answer, secrets: &[&str]) -> Refusal {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let error = body["error"].as_str().or_else(|| body["error"]["code"].as_str()).unwrap_or_default();
    let described = body["error_description"].as_str().or_else(|| body["error"]["message"].as_str());
    let described = described.unwrap_or_default();
    let code = body["error_codes"][0].as_u64().and_then(|code| u32::try_from(code).ok());
    let text = [error, described].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
    Refusal { status: answer.status, code: code.or_else(|| aadsts(described)), text: shown(&text, secrets) }
}

/// The number behind `AADSTS`.
fn aadsts(text: &str) -> Option<u32> {
    let digits = &text[text.find("AADSTS")? + "AADSTS".len()..];
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The first line without the ids that differ each time, without secrets, and not too long.
fn shown(text: &str, secrets: &[&str]) -> String {
    let mut text = text.lines().next().unwrap_or_default().to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        text = text.replace(*secret, "***").replace(&encoded, "***");
    }
    let end = text.find(" Trace ID:").unwrap_or(text.len());
    text[..end].chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
