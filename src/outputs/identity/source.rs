//! Where tokens come from: one way to ask, whatever the kind of identity.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Token, TokenError};

/// Asks for tokens. One request at a time: the cache sees to that.
pub(super) trait Source: Send + Sync {
    /// A new token, or why there is none. Makes no second try that waits: pauses are the cache's.
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>>;

    /// When the certificate ends that it proves itself with, in seconds since 1970; none where it has none.
    fn certificate_ends(&self) -> Option<i64> {
        None
    }
}

/// A token that came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) token: Token,
    /// How long it lives from the moment of asking; above zero.
    pub(super) life: Duration,
    /// What a person should know although it went well.
    pub(super) notice: Option<String>,
}

/// What mends a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mends {
    /// Time: a network, a service.
    ByItself,
    /// A person. Asking again soon is no use.
    ByHand,
}

/// Why no token came.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: TokenError,
    pub(super) mends: Mends,
    /// The wait that the other side asks for.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    /// Something that time mends.
    pub(super) fn passing(detail: String) -> Self {
        Self { error: TokenError { detail, advice: None }, mends: Mends::ByItself, retry_after: None }
    }

    /// Something that only a person mends.
    pub(super) fn lasting(detail: String, advice: impl Into<Option<String>>) -> Self {
        Self { error: TokenError { detail, advice: advice.into() }, mends: Mends::ByHand, retry_after: None }
    }
}
