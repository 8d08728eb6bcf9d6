//! How a listener ends: in stages, so that no upload is lost to its end.
//!
//! First clients are told to close their connections while everything is still served; then the door closes; last, what is
//! open and has nothing to do is closed. A connection is closed on its client's own terms wherever that can be had: whoever is
//! told with an answer sends nothing more, while a connection that is closed between two requests may take one with it that
//! was on its way.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The stages of an end. Clones are one; those of a [`child`](Self::child) follow it, and may run ahead. The first one can be taken
/// back, the others cannot.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    leaving: Leaving,
    closed: CancellationToken,
    ended: CancellationToken,
}

impl Stages {
    /// Those of one among many.
    pub fn child(&self) -> Self {
        let Self { leaving, closed, ended } = self;
        Self { leaving: leaving.child(), closed: closed.child_token(), ended: ended.child_token() }
    }

    /// Clients are told to close their connections; new ones are still served.
    pub fn leave(&self) {
        self.leaving.own.send_replace(true);
    }

    /// They are not told so any more, while the door has not closed.
    pub fn stay(&self) {
        self.leaving.own.send_replace(false);
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

    /// Whether no connection is taken any more.
    pub fn are_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.all().any(|leaving| *leaving.borrow())
    }

    pub(super) async fn left(&self) {
        let left = |leaving: &Arc<watch::Sender<bool>>| {
            let mut leaving = leaving.subscribe();
            // The sender is ours, so it is there.
            async move { drop(leaving.wait_for(|leaving| *leaving).await) }
        };
        futures_util::future::select_all(self.leaving.all().map(left).map(Box::pin)).await;
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// What comes of `work`, unless the door closes before.
    pub(super) async fn while_open<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.closed.run_until_cancelled(work).await
    }
}

/// Whether clients are told to close their connections: because of these stages, or of those that they follow.
#[derive(Debug, Clone, Default)]
struct Leaving {
    own: Arc<watch::Sender<bool>>,
    followed: Vec<Arc<watch::Sender<bool>>>,
}

impl Leaving {
    fn child(&self) -> Self {
        Self { own: Arc::default(), followed: self.all().cloned().collect() }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<watch::Sender<bool>>> {
        std::iter::once(&self.own).chain(&self.followed)
    }
}
