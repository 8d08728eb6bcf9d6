//! What a connection, its place and its requests tell each other.

use std::future::pending;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use http::Version;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::hang_up::Watch;
use crate::net::http1_guard::Session;
use crate::net::places::Guest;

/// How long a certificate's end is looked for at a time, because the clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Until when a certificate that was shown is believed.
#[derive(Debug)]
pub(super) struct Shown {
    /// When it, or one between it and its authority, is past its time.
    pub(super) until: Option<SystemTime>,
    /// Cancelled when other certificates are believed than at the handshake.
    pub(super) trust_changed: CancellationToken,
}

/// One connection, from its first byte to its last.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) session: Arc<Session>,
    /// The version of its first request.
    pub(super) version: OnceLock<Version>,
    /// Cancelled to end it when what has begun is answered.
    pub(super) farewell: CancellationToken,
    /// Set when its client has shown a certificate.
    pub(super) shown: OnceLock<Shown>,
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
            shown: OnceLock::new(),
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

    /// Resolves when the certificate that its client showed would have to be judged again.
    pub(super) async fn is_believed_no_more(&self) {
        let Some(Shown { until, trust_changed }) = self.shown.get() else { return pending().await };
        let past_its_time = async {
            let Some(until) = until else { return pending().await };
            while let Ok(left) = until.duration_since(SystemTime::now()) {
                tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK_AGAIN)).await;
            }
        };
        tokio::select! {
            () = trust_changed.cancelled() => {}
            () = past_its_time => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_certificate_is_believed_until_its_end_or_another_trust() {
        let second = Duration::from_secs(1);
        let believed = async |until: Option<SystemTime>, trust_changed: CancellationToken| {
            let conversation = Conversation::new();
            conversation.shown.set(Shown { until, trust_changed }).expect("nothing was shown before");
            tokio::time::timeout(Duration::from_millis(100), conversation.is_believed_no_more()).await.is_err()
        };
        let now = SystemTime::now();
        assert!(believed(Some(now + 60 * second), CancellationToken::new()).await);
        assert!(!believed(Some(now - second), CancellationToken::new()).await);
        assert!(!believed(Some(now + second / 50), CancellationToken::new()).await);
        let changed = CancellationToken::new();
        changed.cancel();
        assert!(!believed(None, changed).await);
    }
}
