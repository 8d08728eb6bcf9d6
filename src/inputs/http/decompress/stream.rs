//! Decompression piece by piece: it gives way to other clients as it goes, and ends when nobody waits for it.

use std::io::{self, BufRead, Read};

use bytes::Bytes;

use super::{DecompressError, damaged};
use crate::event::Presence;
use crate::inputs::http::body::{Share, room};
use crate::turns::Turn;

/// After so many bytes in, or out, others may be due.
const PIECE: usize = 256 << 10;
const BUFFER_MIN: u64 = 16 << 10;

/// A compressed body, handed out in pieces.
#[derive(Clone, Copy)]
pub(super) struct Wire<'b> {
    pub(super) whole: &'b [u8],
    rest: &'b [u8],
    turn: &'b Turn,
    presence: &'b Presence,
}

impl<'b> Wire<'b> {
    pub(super) fn new(whole: &'b [u8], turn: &'b Turn, presence: &'b Presence) -> Self {
        Self { whole, rest: whole, turn, presence }
    }

    /// Gives way to others, and fails where nobody waits for the body.
    pub(super) fn go_on(&self) -> io::Result<()> {
        if self.presence.has_gone() {
            return Err(io::Error::other("the sender has gone"));
        }
        self.turn.give_way();
        Ok(())
    }
}

impl BufRead for Wire<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let read = self.whole.len() - self.rest.len();
        if read.is_multiple_of(PIECE) {
            self.go_on()?;
        }
        // To the end of the piece, so that it is asked at each.
        let piece = PIECE - read % PIECE;
        Ok(&self.rest[..self.rest.len().min(piece)])
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
    }
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let read = piece.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// What comes out, in pieces.
struct Pieces<'w, R> {
    decoder: R,
    wire: Wire<'w>,
}

impl<R: Read> Read for Pieces<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.go_on()?;
        let length = buffer.len().min(PIECE);
        self.decoder.read(&mut buffer[..length])
    }
}

/// Reads to the end, but never more than one byte past the limit. `wire` is what the decoder reads from, and `told` the length
/// that it says will come out, which is believed once an eighth of it has.
pub(super) fn stream(
    decoder: impl Read,
    wire: Wire<'_>,
    told: Option<u64>,
    limit: u64,
    share: &mut Share,
) -> Result<Bytes, DecompressError> {
    let mut reader = Pieces { decoder, wire }.take(limit + 1);
    let failed = |error: io::Error| match wire.presence.has_gone() {
        true => DecompressError::Gone,
        false => damaged(&error.to_string()),
    };
    let mut out = Vec::new();
    loop {
        let length = out.len() as u64;
        // One byte more than is told, to see that it was right.
        let room = room(length.max(BUFFER_MIN / 2), told.map(|told| told + 1), limit + 1);
        share.grow_to(wire.whole.len() as u64 + room)?;
        let step = room.saturating_sub(length).max(1);
        out.reserve_exact(usize::try_from(step).unwrap_or(usize::MAX));
        let read = reader.by_ref().take(step).read_to_end(&mut out).map_err(failed)?;
        if out.len() as u64 > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        if read == 0 {
            return Ok(out.into());
        }
    }
}
