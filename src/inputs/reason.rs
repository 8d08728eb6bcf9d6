//! Every reason for which a request to an upload listener is not answered with success: one row for each, which metrics, log,
//! answers and tests share.
//!
//! A reason says what happened and nothing of any protocol: each [`Protocol`](super::protocol::Protocol) has words of its own
//! for it. What a row says about sending again is the same in all of them.

use std::time::Duration;

use http::StatusCode;

use super::http::auth::Denied;
use super::http::body::{BodyError, NoMemory};
use super::http::decompress::DecompressError;
use super::http::readable::ReadError;
use crate::event::foreign::Foreign;
use crate::ingest::Trouble;
use crate::ingest::accept::Refusal;

/// Why a request is not answered with success. The code is stable: alerts are written against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Stable code, in snake case: the label in metrics.
    pub code: &'static str,
    /// The status that HTTP has for it, for protocols that have none of their own.
    pub status: u16,
    /// Seconds after which the same request may succeed without anybody's doing; 0 when sending it again does not help.
    pub again_after: u16,
    /// What happened, in one line for a person, without a full stop and without anything that the client sent.
    pub text: &'static str,
    /// Who mends it, and how.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ({ $($id:ident $code:literal $status:literal $again_after:literal $text:literal, $remedy:literal;)+ }
     and of ingest { $($trouble:ident $trouble_status:literal $trouble_again_after:literal;)+ }) => {
        impl Reason {
            $(#[doc = $text] pub const $id: &'static Self =
                &Self { code: $code, status: $status, again_after: $again_after, text: $text, remedy: $remedy };)+
            $(/// The trouble of this name.
            pub const $trouble: &'static Self = &Self {
                code: Trouble::$trouble.code,
                status: $trouble_status,
                again_after: $trouble_again_after,
                text: Trouble::$trouble.text,
                remedy: Trouble::$trouble.remedy,
            };)+
            /// Every reason, in the order of this file.
            pub const ALL: &[&'static Self] = &[$(Self::$id,)+ $(Self::$trouble),+];
        }
    };
}

reasons! { {
    // Who sends.
    TOKEN "token_unknown" 401 0 "no token, or one that is not known", "sender: show a token of auth.tokens";
    ISSUED_TOKEN "issued_token_invalid" 401 0 "a token of the local Entra that is not valid, or not any more", "sender: ask for another token";
    CREDENTIALS "credentials_wrong" 403 0 "a signature or key that is not right", "sender: see that its key, its clock and what it signs are right";
    CERTIFICATE "certificate_not_allowed" 403 0 "no client certificate, or one that is not named", "name it in auth.client_certificates";
    TICKET_MISSING "ticket_missing" 401 0 "no Kerberos ticket yet: the host is asked for one", "nothing, as long as hosts come through";
    TICKET_REFUSED "ticket_refused" 401 0 "a Kerberos ticket that is not taken", "see tickets_refused on /status: the message says what to do";
    PRINCIPAL "principal_not_allowed" 403 0 "a Kerberos principal that is not let in", "name it in wef.kerberos.principals";
    SEAL "seal_broken" 400 0 "a body that is not sealed under Kerberos as it should be", "nothing: the host connects anew; if it stays, look at the proxy between";
    ADDRESS "address_not_allowed" 403 0 "an address outside of the networks", "see auth.networks";
    RESTRICTED "destination_not_allowed" 403 0 "a rule or stream that this client may not name", "name it at the client, or correct the sender";
    FOREIGN_EVENTS "foreign_events" 403 0 "an event of a computer that this client may not speak for", "add the computer to hosts of the client";

    // The request.
    HEAD_MALFORMED "head_malformed" 400 0 "the head of the request is malformed", "mend the client, or the proxy between";
    HEAD_SLOW "head_slow" 408 1 "the head of the request did not arrive in time", "look at the network; limits.head_timeout";
    HEAD_TOO_LARGE "head_too_large" 431 0 "the head of the request is too large", "sender: send fewer headers";
    NOT_FOUND "not_found" 404 0 "nothing is at this path", "sender: correct its URL; or enable the protocol at the listener";
    METHOD "method_not_allowed" 405 0 "the method is not one that this path takes", "sender: use the method that Allow names";
    PARAMETER "parameter_wrong" 400 0 "a parameter or header is missing or wrong", "sender: correct its request, as the message says";
    DESTINATION "destination_unknown" 404 0 "a rule or stream that is malformed or not listed", "name it at the listener, or correct the sender";

    // The body.
    BODY_TOO_LARGE "body_too_large" 413 0 "the body is too large, or too large once decompressed", "sender: send less at once; limits.wire_max, limits.body_max";
    BODY_SLOW "body_slow" 408 1 "the body came too slowly", "look at the network; limits.body_timeout, limits.rate_min";
    BODY_BROKEN "body_broken" 400 0 "the body broke off, or its framing is wrong", "look at the network and at the proxy between";
    ENCODING "encoding_unknown" 415 0 "a Content-Encoding that is not known here, or more than one", "sender: use gzip, deflate or zstd";
    FORMAT "format_unknown" 415 0 "the body is known to be something else than events", "sender: send what the message says";
    UNREADABLE "body_unreadable" 400 0 "the body cannot be read, or nothing of it was understood", "sender: correct what it sends, as the message says";
    READ_TOO_LONG "read_too_long" 413 0 "the body takes too long to read", "sender: send less at once";
    EVENT_TOO_LARGE "event_too_large" 413 0 "an event is larger than a record of the spool may be", "raise ingest.record_max, or send smaller events";
    GONE "gone" 408 1 "the sender has gone before anything was kept", "sender: wait longer for the answer";

    // Load, and what of the gateway a person must mend.
    CLIENT_RATE "client_rate" 429 1 "the client has used up what it may send", "see requests_per_second and bytes_per_minute of the client";
    IN_FLIGHT_BYTES "in_flight_bytes" 429 2 "too much work is inside", "more memory (ingest.in_flight_max), or more gateways";
    BODY_MEMORY "body_memory" 503 2 "the memory for bodies is used up", "more memory (limits.memory_max), or more gateways";
    STOPPING "stopping" 503 5 "the gateway drains or stops", "nothing: a load balancer finds another gateway";
    TICKETS_BUSY "tickets_busy" 503 2 "too many hosts show Kerberos tickets at once, or tickets cannot be looked at", "see the log; wef.kerberos.max_contexts; or more gateways";
    BOOKMARKS_FAILED "bookmarks_failed" 503 30 "the bookmark of a forwarding host cannot be kept", "mend the disk";
    AGENTS_FAILED "agents_failed" 503 30 "the registry of agents cannot be read or kept, or is full", "mend the disk; gatepost agents expire";
    DEDUP_UNAVAILABLE "dedup_unavailable" 503 2 "the shared deduplication engine is unreachable, or cannot be used", "mend Redis or Valkey; see dedup.redis.when_unavailable";
    NOT_REPLICATED "not_replicated" 503 5 "the servers that replicate the log do not answer, or have no room", "mend the servers of replication.servers; see /status";
    LOADING "loading" 503 2 "the gateway has just begun and reads what it saw before", "nothing: a start is over in seconds; /readyz says how far it is";
    HELD "held" 503 30 "a rule, or the state, cannot be read", "see /readyz: a person must mend it";
} and of ingest {
    SPOOL_FULL 503 30;
    SPOOL_FAILED 503 30;
    STATE_REMOVED 503 30;
    DEAD_LETTERS_FULL 503 30;
    DEAD_LETTERS_FAILED 503 30;
    INTERNAL 503 30;
} }

impl Reason {
    /// Whether the same request may succeed later.
    pub fn passes(&self) -> bool {
        self.again_after > 0
    }
}

/// A request that is not answered with success: the reason, and what is said of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: &'static Reason,
    /// What is wrong and what would be right, for people.
    pub message: String,
    /// The protocol's own name for it, where that says more than the reason.
    pub name: Option<&'static str>,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// The methods that would do; only with [`Reason::METHOD`].
    pub allow: Option<&'static str>,
    /// What to show instead, in the words of `WWW-Authenticate`.
    pub challenge: &'static str,
}

impl Failure {
    /// With this message.
    pub fn new(reason: &'static Reason, message: impl Into<String>) -> Self {
        let after = matches!(reason.status, 429 | 503).then(|| Duration::from_secs(reason.again_after.into()));
        let message = message.into();
        Self { reason, message, name: None, retry_after: after, allow: None, challenge: "Bearer" }
    }

    /// One that has a name of its own in a protocol.
    pub fn named(reason: &'static Reason, name: &'static str, message: impl Into<String>) -> Self {
        Self { name: Some(name), ..Self::new(reason, message) }
    }

    /// One that passes, and when.
    pub fn later(reason: &'static Reason, message: impl Into<String>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(reason, message) }
    }

    /// A request whose method is not one that the path takes.
    pub fn method(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(Reason::METHOD, format!("this path takes {allow} only")) }
    }

    /// A request that the front door refused before it was read.
    pub fn front_door(status: u16, message: String) -> Self {
        let reason = match status {
            408 => Reason::HEAD_SLOW,
            431 => Reason::HEAD_TOO_LARGE,
            _ => Reason::HEAD_MALFORMED,
        };
        Self::new(reason, message)
    }

    /// The status that HTTP has for it.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.reason.status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let reason = match denied {
            Denied::Token => Reason::TOKEN,
            Denied::Issued(_) => Reason::ISSUED_TOKEN,
            Denied::Certificate => Reason::CERTIFICATE,
            Denied::Network => Reason::ADDRESS,
        };
        let challenge = if reason == Reason::ISSUED_TOKEN { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        Self { challenge, ..Self::new(reason, denied.to_string()) }
    }
}

impl From<NoMemory> for Failure {
    fn from(no_memory: NoMemory) -> Self {
        Self::new(Reason::BODY_MEMORY, no_memory.to_string())
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let reason = match error {
            BodyError::TooLarge { .. } => Reason::BODY_TOO_LARGE,
            BodyError::Slow { .. } => Reason::BODY_SLOW,
            BodyError::Broken(_) => Reason::BODY_BROKEN,
            BodyError::NoMemory(_) => Reason::BODY_MEMORY,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<DecompressError> for Failure {
    fn from(error: DecompressError) -> Self {
        let reason = match error {
            DecompressError::Unsupported(_) => Reason::ENCODING,
            DecompressError::TooLarge { .. } => Reason::BODY_TOO_LARGE,
            DecompressError::Damaged(_) => Reason::UNREADABLE,
            DecompressError::Gone => Reason::GONE,
            DecompressError::NoMemory(_) => Reason::BODY_MEMORY,
            DecompressError::Failed => Reason::INTERNAL,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let reason = match error {
            ReadError::TooLarge { .. } => Reason::BODY_TOO_LARGE,
            ReadError::TooSlow => Reason::READ_TOO_LONG,
            ReadError::Gone => Reason::GONE,
            ReadError::Damaged(_) => Reason::UNREADABLE,
            ReadError::NotHere => Reason::FORMAT,
            ReadError::NoMemory(_) => Reason::BODY_MEMORY,
            ReadError::Failed => Reason::INTERNAL,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<Foreign> for Failure {
    fn from(foreign: Foreign) -> Self {
        Self::new(Reason::FORMAT, foreign.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::Malformed(_) => Reason::UNREADABLE,
            Refusal::TooSlow { .. } => Reason::READ_TOO_LONG,
            Refusal::Gone => Reason::GONE,
            Refusal::TooLarge => Reason::EVENT_TOO_LARGE,
            Refusal::Foreign(_) => Reason::FOREIGN_EVENTS,
            Refusal::Busy { .. } => Reason::IN_FLIGHT_BYTES,
            Refusal::Unjudged { .. } => Reason::DEDUP_UNAVAILABLE,
            Refusal::Unreplicated { .. } => Reason::NOT_REPLICATED,
            Refusal::Stopping => Reason::STOPPING,
            Refusal::Loading => Reason::LOADING,
            Refusal::Held(_) => Reason::HELD,
            Refusal::SpoolFull => Reason::SPOOL_FULL,
            Refusal::SpoolFailed(_) => Reason::SPOOL_FAILED,
            Refusal::DeadLettersFull => Reason::DEAD_LETTERS_FULL,
            Refusal::DeadLettersFailed(_) => Reason::DEAD_LETTERS_FAILED,
            Refusal::StateRemoved => Reason::STATE_REMOVED,
            Refusal::Internal(_) => Reason::INTERNAL,
        };
        match refusal {
            Refusal::Busy { retry_after, .. } | Refusal::Unjudged { retry_after, .. } => {
                Self::later(reason, refusal.to_string(), retry_after)
            }
            // What the disk said is for the operator's log, not for clients.
            Refusal::SpoolFailed(_) => Self::new(reason, "the spool cannot write"),
            Refusal::DeadLettersFailed(_) => {
                Self::new(reason, "a record was not understood, and dead letters cannot be written")
            }
            Refusal::Internal(_) => Self::new(reason, "the gateway failed at this upload"),
            _ => Self::new(reason, refusal.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_snake_case() {
        let mut codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code).collect();
        assert!(codes.iter().all(|code| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{codes:?}");
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
    }

    #[test]
    fn the_runbook_has_every_reason_and_what_to_do() {
        let runbook = include_str!("../../docs/runbook.md");
        for Reason { code, text, remedy, .. } in Reason::ALL {
            let row = format!("| `{code}` | {text} | {remedy} |");
            assert!(runbook.lines().any(|line| line == row), "docs/runbook.md lacks: {row}");
        }
    }

    #[test]
    fn what_sheds_load_says_when_to_come_back() {
        for reason in Reason::ALL {
            assert!(!matches!(reason.status, 429 | 503) || reason.passes(), "{}", reason.code);
            let failure = Failure::new(reason, reason.text);
            assert_eq!(failure.retry_after.is_some(), matches!(reason.status, 429 | 503), "{}", reason.code);
            assert!(!reason.text.ends_with('.') && !reason.remedy.ends_with('.'), "{}", reason.code);
        }
    }
}
