//! One connection as its place sees it: is anybody working for it, and has it been told to go?
//!
//! A request whose body does not come costs its client no more than a connection without a request, so while it is waited for
//! nobody works.

use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use crate::limits::ADMIN_BODY_TIMEOUT;
use crate::net::http1_guard::{InFlight, Session};
use crate::net::places::Guest;

/// What is known of a connection that has a place.
#[derive(Debug)]
pub(super) struct Visit {
    session: Arc<Session>,
    waits_for_body: Mutex<Option<Instant>>,
    dismissed: CancellationToken,
}

impl Default for Visit {
    fn default() -> Self {
        Self { session: Session::new(), waits_for_body: Mutex::default(), dismissed: CancellationToken::new() }
    }
}

impl Visit {
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.is_cancelled()
    }

    /// Resolves when it is asked to go.
    pub(super) async fn dismissed(&self) {
        self.dismissed.cancelled().await;
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Instant>> {
        self.waits_for_body.lock()
    }
}

impl Guest for Visit {
    fn quiet_since(&self) -> Option<Instant> {
        self.waiting().or_else(|| self.session.quiet_since())
    }

    fn dismiss(&self) {
        self.dismissed.cancel();
    }
}

/// The body of a request, which has to be here in time.
pub(super) struct Arriving {
    body: Incoming,
    visit: Arc<Visit>,
    /// Runs from the first look that found nothing.
    clock: Option<Pin<Box<Sleep>>>,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// It did not come in time.
    #[error("the body of the request did not arrive in time")]
    Late,
    /// The connection broke, or its bytes are no body.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl Arriving {
    pub(super) fn new(body: Incoming, visit: Arc<Visit>) -> Self {
        Self { body, visit, clock: None }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            *self.visit.waiting() = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        self.visit.waiting().get_or_insert_with(Instant::now);
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(ADMIN_BODY_TIMEOUT)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Some(Err(BodyError::Late)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer, which is under way until it ends.
pub(super) struct Leaving {
    body: axum::body::Body,
    _in_flight: InFlight,
}

impl Leaving {
    pub(super) fn new(body: axum::body::Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        *self.visit.waiting() = None;
    }
}
