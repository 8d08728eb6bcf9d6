//! A strict doorman in front of hyper.
//!
//! hyper forgives much that other HTTP implementations read differently (a Content-Length beside a Transfer-Encoding,
//! repeated lengths, bare line feeds), and that is how requests are smuggled. [`Guard`] wraps the decrypted stream of a
//! connection and follows the framing of each HTTP/1 request by itself, as bytes pass. A head reaches hyper only when it
//! was checked whole. HTTP/2, which frames by itself, passes untouched.
//!
//! A refused head must be answered exactly once and in order, even when answers to earlier, pipelined requests are
//! still being written. The guard therefore does not write: in place of the bad head it hands hyper a harmless request
//! and ends the stream, and notes in the [`Session`] which request of the connection that is. The service asks
//! [`Session::begin`] before it routes and gives the refusal as the answer. A client cannot imitate this, because the
//! number of a request is not the client's to choose. A violation inside a body breaks the body instead.
//!
//! The guard also holds the clocks that hyper lacks or couples: a deadline for each head, another for an idle
//! connection, a third for a peer that does not read its answers.
//!
//! hyper keeps its buffers for as long as it has a connection, 24 KiB and what a body made of it. Thousands of hosts are connected and
//! say nothing nearly all the time; so a connection without a request can be taken from hyper and given to it anew
//! ([`Guard::resting_after`]).

mod framing;
mod guard;
mod head;
#[cfg(test)]
mod tests;

use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

use tokio::time::Instant;

pub use framing::Framing;
pub use guard::{Guard, Next, Timeouts};
pub use head::{BodyLength, FIELDS_MAX, HEAD_MAX, check, field, is_token_byte};

/// Why the guard refused a request, as an answer to its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The HTTP status: 400, 408 or 431.
    pub status: u16,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
}

impl Refusal {
    fn bad(message: &str) -> Self {
        Self { status: 400, message: message.to_owned() }
    }

    fn too_large(message: String) -> Self {
        Self { status: 431, message }
    }

    fn slow() -> Self {
        Self { status: 408, message: "the head of the request did not arrive in time".to_owned() }
    }
}

/// What the guard of a connection and the service behind hyper tell each other.
#[derive(Debug)]
pub struct Session {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    begun: u64,
    in_flight: u32,
    is_writing: bool,
    quiet_since: Instant,
    refusal: Option<(u64, Refusal)>,
}

impl Session {
    /// Stands for "no request" where the number of a request is asked for: they count from 1.
    const NO_REQUEST: u64 = 0;

    /// The session of a connection that opens now.
    pub fn new() -> Arc<Self> {
        let state = State { begun: 0, in_flight: 0, is_writing: false, quiet_since: Instant::now(), refusal: None };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Called for each request that hyper delivers, in order. `Err` is what to answer instead of routing it. The
    /// connection does not count as idle until the returned value is dropped.
    pub fn begin(self: &Arc<Self>) -> Result<InFlight, Refusal> {
        let mut state = self.lock();
        state.begun += 1;
        if let Some((number, refusal)) = &state.refusal
            && *number == state.begun
        {
            return Err(refusal.clone());
        }
        state.in_flight += 1;
        Ok(InFlight(Arc::clone(self)))
    }

    /// The refusal that ended the connection, if one did.
    pub fn refusal(&self) -> Option<Refusal> {
        self.lock().refusal.as_ref().map(|(_, refusal)| refusal.clone())
    }

    fn refuse(&self, number: u64, refusal: Refusal) {
        self.lock().refusal = Some((number, refusal));
    }

    /// Since when nothing is in flight and no answer is being written; `None` while something is.
    pub fn quiet_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.in_flight == 0 && !state.is_writing).then_some(state.quiet_since)
    }

    /// Whether bytes of an answer have not gone out yet.
    fn writing(&self, is_writing: bool) {
        let mut state = self.lock();
        if state.is_writing && !is_writing {
            state.quiet_since = Instant::now();
        }
        state.is_writing = is_writing;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct InFlight(Arc<Session>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight -= 1;
        state.quiet_since = Instant::now();
    }
}
