//! What a connection, its place and its requests tell each other.

use std::future::pending;
use std::sync::{Arc, OnceLock};

use http::Version;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::hang_up::Watch;
use crate::net::http1_guard::Session;
use crate::net::places::Guest;

/// One connection, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) session: Arc<Session>,
    /// The version of its first request.
    pub(super) version: OnceLock<Version>,
    /// Cancelled to end it when what has begun is answered.
    pub(super) farewell: CancellationToken,
    /// Cancelled to have its place for somebody else.
    dismissed: CancellationToken,
    /// Cancelled when nobody waits for its answer any more.
    hung_up: CancellationToken,
}

impl Conversation {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            session: Session::new(),
            version: OnceLock::new(),
            farewell: CancellationToken::new(),
            dismissed: CancellationToken::new(),
            hung_up: CancellationToken::new(),
        })
    }

    /// What comes of a greeting, unless its place is needed before.
    pub(super) async fn unless_dismissed<T>(&self, greeting: impl Future<Output = T>) -> Option<T> {
        self.dismissed.run_until_cancelled(greeting).await
    }

    /// Resolves when its place is needed.
    pub(super) async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }

    /// Whether it is to go, and nothing is lost by it.
    pub(super) fn can_go_at_once(&self) -> bool {
        self.dismissed.is_cancelled() && self.quiet_since().is_some()
    }

    /// Resolves when nobody waits for its answer any more.
    pub(super) async fn hung_up(&self) {
        self.hung_up.cancelled().await;
    }

    /// What comes of `work` for its client. If that hangs up before, the conversation ends, and the work with it. HTTP/2 is read
    /// while there is work, and notices by itself.
    pub(super) async fn while_waited_for<T>(&self, watch: &Watch, work: impl Future<Output = T>) -> T {
        if self.version.get() == Some(&Version::HTTP_2) {
            return work.await;
        }
        tokio::select! {
            done = work => done,
            () = watch.hung_up() => {
                self.hung_up.cancel();
                pending().await
            }
        }
    }
}

impl Guest for Conversation {
    fn quiet_since(&self) -> Option<Instant> {
        self.session.quiet_since()
    }

    fn dismiss(&self) {
        self.dismissed.cancel();
    }
}
