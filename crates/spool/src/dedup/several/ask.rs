//! What is asked of an engine, and what it answers.

use std::time::Duration;

use tokio::sync::oneshot;

use super::grouped::{Found, Part};
use super::segment::Gateway;

/// What is asked of the engine for the parts of one upload.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) what: What,
    pub(crate) parts: Vec<Held>,
    /// For how long keys are remembered.
    pub(crate) window: Duration,
}

/// A part with the name of its claim. Each part is a claim of its own: of two in one stream the second would else take the
/// place of the first, and what the first holds would be anybody's.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) me: String,
    /// Whose keys they become.
    pub(crate) gateway: Gateway,
    pub(crate) part: Part,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Claim; a durable claim is for events that are stored already, and pushes those aside that are not.
    Claim {
        /// Whether its events are stored already.
        durable: bool,
    },
    /// The events are durable: the keys become those of the part's gateway.
    Confirm,
    /// The events were not stored after all.
    Release,
}

/// What the engine says of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is claimed; what is known of its keys.
    Claimed(Found),
    /// Another gateway has some of it, for so long at most.
    Blocked(Duration),
    /// The claim stood, and is confirmed or released.
    Ended,
    /// The claim did not stand any more.
    Lost,
}

/// Why the engine did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Away {
    pub(crate) reason: String,
    /// Whether only a person can mend it.
    pub(crate) refused: bool,
}

/// Somebody who waits for an answer.
pub(crate) struct Job {
    pub(crate) ask: Ask,
    pub(crate) reply: oneshot::Sender<Result<Vec<Answer>, Away>>,
}

impl Job {
    /// Nobody is left to tell when the upload has gone.
    pub(crate) fn fail(self, away: &Away) {
        drop(self.reply.send(Err(away.clone())));
    }
}
