//! What protocols read bodies with: collected, decompressed and made readable within the limits and the memory of a listener.
//!
//! A body never arrives anywhere but through an [`Intake`], so that no protocol can read one without its limits. Whatever a
//! protocol unpacks by itself (another compression, a seal) it does in [`Intake::work`], with the same share of the memory.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};

use super::access_log::Record;
use super::entra::Grant;
use super::http::body::{Memory, Share, collect};
use super::http::decompress::{self, DecompressError, Encoding};
use super::http::limits;
use super::http::readable::{self, ReadError, Readable};
use super::protocol::{Content, Destination, Head};
use super::reason::{Failure, Reason};
use crate::event::foreign::Foreign;
use crate::event::{KeyMaker, Presence, Syntax, UploadMark};
use crate::metrics::{self, Counter};
use crate::turns::{Ended, Turn, Turns, Who};
use crate::values::ByteSize;

/// What the bodies of a listener share.
pub(super) struct Room {
    pub(super) limits: limits::Config,
    pub(super) memory: Memory,
    turns: Turns,
    keys: Arc<KeyMaker>,
    wire_bytes: Counter,
    decompressed_bytes: Counter,
}

impl Room {
    pub(super) fn new(listener: &str, limits: limits::Config, memory: Memory) -> Self {
        let counted = |how| metrics::INPUT_BYTES.counter(&[listener, how]);
        let (wire_bytes, decompressed_bytes) = (counted("wire"), counted("decompressed"));
        let keys = Arc::new(KeyMaker::new(&[0; 32]));
        Self { limits, memory, turns: Turns::here(), keys, wire_bytes, decompressed_bytes }
    }

    /// With these keys for the marks of uploads.
    pub(super) fn with_keys(self, keys: Arc<KeyMaker>) -> Self {
        Self { keys, ..self }
    }
}

/// The body of one request, and what it may take.
pub struct Intake<'a> {
    head: &'a Head<'a>,
    room: &'a Room,
    /// Whose turn and share it is.
    who: Who,
    destination: &'a Destination,
    grant: Option<&'a Grant>,
    body: &'a mut Body,
    /// Becomes true once the body was read to its end.
    whole: &'a mut bool,
    record: &'a mut Record,
    presence: Presence,
    share: Share,
    wire_max: u64,
}

/// What an [`Intake`] is made of.
pub(super) struct Parts<'a> {
    pub(super) head: &'a Head<'a>,
    pub(super) room: &'a Room,
    pub(super) who: Who,
    pub(super) destination: &'a Destination,
    pub(super) grant: Option<&'a Grant>,
    pub(super) body: &'a mut Body,
    pub(super) whole: &'a mut bool,
    pub(super) record: &'a mut Record,
    pub(super) presence: Presence,
}

impl<'a> Intake<'a> {
    pub(super) fn new(parts: Parts<'a>) -> Self {
        let Parts { head, room, who, destination, grant, body, whole, record, presence } = parts;
        let (share, wire_max) = (room.memory.share(&who), room.limits.wire_max.as_u64());
        Self { head, room, who, destination, grant, body, whole, record, presence, share, wire_max }
    }

    /// Its share of the memory, for as long as what was read is needed.
    pub(super) fn into_share(self) -> Share {
        self.share
    }

    /// The head of the request.
    pub fn head(&self) -> &'a Head<'a> {
        self.head
    }

    /// Where its events are to go.
    pub fn destination(&self) -> &'a Destination {
        self.destination
    }

    /// Whether the sender still waits for the answer.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }

    /// What the upload is known by, where its protocol says of which parts: see [`Client::upload_mark`](crate::event::Client::upload_mark).
    pub fn upload_mark(&self) -> UploadMark {
        self.room.keys.upload_mark()
    }

    /// The most bytes that may come out of whatever a body is packed in.
    pub fn body_max(&self) -> u64 {
        self.room.limits.body_max.as_u64()
    }

    /// Takes at most so many bytes over the wire, where the listener would take more.
    pub fn at_most(&mut self, bytes: u64) {
        self.wire_max = self.wire_max.min(bytes);
    }

    /// The body as it came.
    ///
    /// # Errors
    ///
    /// When it is too large or too slow, breaks off, or has no room; and when its sender has used up what it may send.
    pub async fn wire(&mut self) -> Result<Bytes, Failure> {
        let limits = limits::Config { wire_max: ByteSize::bytes(self.wire_max), ..self.room.limits.clone() };
        let declared = content_length(self.head.headers());
        let wire = collect(&mut *self.body, declared, &limits, &mut self.share).await?;
        *self.whole = true;
        if let Some(grant) = self.grant {
            grant.take_bytes(wire.len())?;
        }
        self.record.bytes = wire.len() as u64;
        self.room.wire_bytes.increment(wire.len() as u64);
        Ok(wire)
    }

    /// The body out of its Content-Encoding. One that is not known is told before anything is read.
    ///
    /// # Errors
    ///
    /// Those of [`Intake::wire`]; and when it is damaged, or too large once decompressed.
    pub async fn decompressed(&mut self) -> Result<Bytes, Failure> {
        Encoding::of(self.head.headers(), &[])?;
        let wire = self.wire().await?;
        let encoding = Encoding::of(self.head.headers(), &wire)?;
        let body = self.decompress(encoding, wire).await?;
        self.room.decompressed_bytes.increment(body.len() as u64);
        Ok(body)
    }

    async fn decompress(&mut self, encoding: Encoding, wire: Bytes) -> Result<Bytes, DecompressError> {
        let body_max = self.body_max();
        if encoding == Encoding::Identity {
            // It has its memory already, and nothing comes out of it that needs more.
            self.share.shrink_to(wire.len() as u64);
            let too_large = wire.len() as u64 > body_max;
            return if too_large { Err(DecompressError::TooLarge { limit: body_max }) } else { Ok(wire) };
        }
        // Beside it there is the byte that shows that it is too large.
        let limit = body_max.min(self.share.most().saturating_sub(wire.len() as u64 + 1));
        let share = self.take_share();
        let (turns, packed) = (&self.room.turns, (encoding, wire));
        let (body, share) = decompress::in_turn(turns, &self.who, packed, limit, share, &self.presence).await?;
        self.share = share;
        Ok(body)
    }

    /// A body as text in UTF-8: that of UTF-16 and of event logs too, in its client's turn.
    ///
    /// # Errors
    ///
    /// When it is not what it begins as, is too large as text, or takes too long.
    pub async fn readable(&mut self, body: Bytes, syntax: Syntax) -> Result<Readable, ReadError> {
        let (limit, share, presence) = (self.body_max(), self.take_share(), self.presence.clone());
        let reading = readable::in_turn(&self.room.turns, &self.who, body, syntax, limit, share, presence);
        let (readable, share) = reading.await?;
        self.share = share;
        Ok(readable)
    }

    /// The whole way of a body that is nothing but events: decompressed, readable, and not known to be something else.
    ///
    /// # Errors
    ///
    /// Those of each step; and when `foreign` knows what the body is instead.
    pub async fn events(
        &mut self,
        syntax: Syntax,
        foreign: impl FnOnce(&[u8]) -> Option<Foreign>,
    ) -> Result<Content, Failure> {
        let body = self.decompressed().await?;
        let Readable { body, damaged } = self.readable(body, syntax).await?;
        match foreign(&body) {
            Some(foreign) => Err(foreign.into()),
            None => {
                let stream = Arc::clone(&self.destination.stream);
                Ok(Content { stream, syntax, body, damaged, known: None, then: None })
            }
        }
    }

    /// Does work of the processor on the body, in its client's turn and off the async runtime, with the share of the memory in
    /// its hands: what it makes must be counted there before it is made.
    ///
    /// # Errors
    ///
    /// When the work panicked or its turn did not come. Whatever stopped it, the share is given back.
    pub async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Share) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let mut share = self.take_share();
        let work = move |_: &Turn| {
            let made = work(&mut share);
            (made, share)
        };
        let (made, share) = self.room.turns.run(&self.who, self.record.bytes, work).await?;
        self.share = share;
        Ok(made)
    }

    fn take_share(&mut self) -> Share {
        std::mem::replace(&mut self.share, self.room.memory.share(&self.who))
    }
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Panicked => Self::new(Reason::INTERNAL, Reason::INTERNAL.text),
            Ended::Crowded => Self::new(Reason::IN_FLIGHT_BYTES, format!("the gateway is busy: {ended}")),
        }
    }
}

/// The length that a request declares.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::http::auth::{self, Gate, Peer};

    #[tokio::test]
    async fn work_that_panics_is_a_fault_of_ours_and_gives_its_memory_back() {
        let room = Room::new("agents", limits::Config::default(), Memory::new(1 << 20));
        let (parts, ()) = http::Request::new(()).into_parts();
        let (listener, gate) = (Arc::from("agents"), Gate::new(&auth::Config::default(), true, false, None));
        let peer = Peer { address: [127, 0, 0, 1].into(), certificate: Arc::default(), leaf: None };
        let head = Head { listener: &listener, parts: &parts, peer: &peer, gate: &gate };
        let mut record = Record::of_connection(&listener, peer.address, "", "");
        let (destination, presence) = (Destination::default(), Presence::default());
        let (mut body, mut whole) = (Body::empty(), false);
        let mut intake = Intake::new(Parts {
            head: &head,
            room: &room,
            who: Who::default(),
            destination: &destination,
            grant: None,
            body: &mut body,
            whole: &mut whole,
            record: &mut record,
            presence,
        });
        let ended = intake.work(|share| -> () {
            share.grow_to(share.most()).expect("all of it");
            panic!("nobody thought of this")
        });
        let failure = Failure::from(ended.await.expect_err("it panics"));
        assert_eq!((failure.reason, failure.status().as_u16()), (Reason::INTERNAL, 503));
        assert_eq!(room.memory.held(), 0, "all of it is given back");
    }
}
