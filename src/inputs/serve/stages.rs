//! How a listener ends: in stages, so that no upload is lost to its end.
//!
//! First clients are told to close their connections while everything is still served; then the door closes; last, what is
//! open and has nothing to do is closed. A connection is closed on its client's own terms wherever that can be had: whoever is
//! told with an answer sends nothing more, while a connection that is closed between two requests may take one with it that
//! was on its way.

use tokio_util::sync::CancellationToken;

/// The stages of an end. Clones are one; those of a [`child`](Self::child) follow it, and may run ahead.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    leaving: CancellationToken,
    closed: CancellationToken,
    ended: CancellationToken,
}

impl Stages {
    /// Those of one among many.
    pub fn child(&self) -> Self {
        let Self { leaving, closed, ended } = self;
        Self { leaving: leaving.child_token(), closed: closed.child_token(), ended: ended.child_token() }
    }

    /// Clients are told to close their connections; new ones are still served.
    pub fn leave(&self) {
        self.leaving.cancel();
    }

    /// No connection is taken any more; those that are open are served.
    pub fn close(&self) {
        self.leave();
        self.closed.cancel();
    }

    /// Connections end when they have nothing to do.
    pub fn end(&self) {
        self.close();
        self.ended.cancel();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
    }

    pub(super) async fn left(&self) {
        self.leaving.cancelled().await;
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What comes of `work`, unless the door closes before.
    pub(super) async fn while_open<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.closed.run_until_cancelled(work).await
    }
}
