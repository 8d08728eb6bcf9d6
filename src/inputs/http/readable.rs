//! Bodies that are not text in UTF-8, made readable: UTF-16, as Windows PowerShell writes it, and event log files.
//!
//! It is one more way in which events can be packed, and has the same hard limits as compression: on what comes out, on
//! the listener's memory, and on the time that one upload may take.

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;

use super::body::{NoMemory, Share};
use crate::event::from_evtx::{self, Damage, Found, Log};
use crate::event::from_utf16::{self, Order, Transcoder};
use crate::event::{Damaged, Presence, Syntax};
use crate::turns::{Ended, Turn, Turns, Who};

/// The longest that the reading of one event log may take. 64 MiB of honest log take about a second.
const TIME_MAX: Duration = Duration::from_secs(10);
/// What the reading of a log takes beside the log and its text: the tree of a record, and templates.
const WORKING_ROOM: u64 = 32 << 20;
/// How the text grows, and how much of a text is read before others may be due.
const STEP: u64 = 1 << 20;

/// A body as text, behind it what could not be made text.
#[derive(Debug, PartialEq)]
pub struct Readable {
    /// The text and what stands behind it.
    pub body: Bytes,
    /// What stands behind the text.
    pub damaged: Vec<Damaged>,
}

/// Why a body was not made readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// More comes out than the limit.
    #[error("the body is larger than {limit} bytes once it is read")]
    TooLarge {
        /// `body_max`, or `memory_max` where that is too little.
        limit: u64,
    },
    /// It takes too long.
    #[error("the event log takes longer to read than the {} s that one upload may take", TIME_MAX.as_secs())]
    TooSlow,
    /// Its sender has gone.
    #[error("the sender has gone")]
    Gone,
    /// It is no event log.
    #[error("the body begins as an event log (.evtx) and is none: {0}")]
    Damaged(String),
    /// An event log where JSON is needed.
    #[error("the body is an event log (.evtx); send it to /v1/events, or as JSON: gatepost send does both")]
    NotHere,
    /// No room for it now.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// A fault of ours.
    #[error("the gateway failed at this upload")]
    Failed,
}

/// Whether there is something to do; what there is to do is CPU work.
pub fn is_packed(body: &[u8]) -> bool {
    body.starts_with(from_evtx::MAGIC) || from_utf16::order(body).is_some()
}

/// Makes a body readable in its client's turn.
///
/// # Errors
///
/// As [`read`], and when its turn does not come.
pub async fn in_turn(
    turns: &Turns,
    who: &Who,
    body: Bytes,
    syntax: Syntax,
    limit: u64,
    share: Share,
    presence: Presence,
) -> Result<(Readable, Share), ReadError> {
    if !is_packed(&body) {
        return Ok((Readable { body, damaged: Vec::new() }, share));
    }
    // A log is large work however short it is: what its chunks cost is not told by their bytes.
    let beside = if body.starts_with(from_evtx::MAGIC) { WORKING_ROOM } else { 0 };
    let bytes = body.len() as u64 + beside;
    let run = async |mut share: Share| {
        let (body, presence) = (body.clone(), presence.clone());
        let work = move |turn: &Turn| (read(body, syntax, limit, &mut share, turn, &presence), share);
        turns.run(who, bytes, work).await.map_err(ReadError::from)
    };
    let held = share.bytes();
    let (mut result, mut share) = run(share).await?;
    if matches!(result, Err(ReadError::NoMemory(_))) {
        // Others were in the way. Once there is room it begins again; it must not wait while it is its turn.
        share.shrink_to(held);
        share.grow_or_wait((bytes + limit).min(share.most())).await?;
        (result, share) = run(share).await?;
    }
    result.map(|readable| (readable, share))
}

/// Whatever stopped it is no fault of the upload: the client must keep its copy and come back.
impl From<Ended> for ReadError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Panicked => Self::Failed,
            Ended::Crowded => NoMemory.into(),
        }
    }
}

/// Makes a body readable, with at most `limit` bytes of text. `share` grows with it, before it does, and is in the end what the
/// text takes.
///
/// # Errors
///
/// When it is too large, takes too long, or is not what it begins as.
pub fn read(
    body: Bytes,
    syntax: Syntax,
    limit: u64,
    share: &mut Share,
    turn: &Turn,
    presence: &Presence,
) -> Result<Readable, ReadError> {
    let (text, damaged) = if body.starts_with(from_evtx::MAGIC) {
        if syntax == Syntax::JsonArray {
            return Err(ReadError::NotHere);
        }
        read_log(&body, limit, share, turn, presence)?
    } else if let Some(order) = from_utf16::order(&body) {
        (read_wide(&body, order, limit, share, turn)?, Vec::new())
    } else {
        return Ok(Readable { body, damaged: Vec::new() });
    };
    // What it was made of is gone before its memory is given back.
    drop(body);
    share.shrink_to(text.capacity() as u64);
    Ok(Readable { body: text.into(), damaged })
}

/// Text in UTF-16 as UTF-8.
fn read_wide(body: &[u8], order: Order, limit: u64, share: &mut Share, turn: &Turn) -> Result<Vec<u8>, ReadError> {
    grow(share, body.len() as u64 * 5 / 2)?;
    let mut text = Vec::with_capacity(body.len());
    let mut transcoder = Transcoder::new(order);
    for piece in body.chunks(STEP as usize) {
        turn.give_way();
        transcoder.push(piece, &mut text);
    }
    transcoder.finish(&mut text);
    if text.len() as u64 > limit {
        return Err(ReadError::TooLarge { limit });
    }
    Ok(text)
}

/// The events of a log as XML, one after the other; behind them each chunk that is damaged, with the first reason why.
fn read_log(
    log: &Bytes,
    limit: u64,
    share: &mut Share,
    turn: &Turn,
    presence: &Presence,
) -> Result<(Vec<u8>, Vec<Damaged>), ReadError> {
    let worked_before = turn.used();
    let opened = Log::open(Cursor::new(log)).map_err(ReadError::Damaged)?;
    let mut text = Text { text: Vec::new(), limit, beside: log.len() as u64 + WORKING_ROOM, share };
    let mut damage: Vec<Damage> = Vec::new();
    opened.read(from_evtx::xml, |found| {
        if presence.has_gone() {
            return Err(ReadError::Gone);
        }
        turn.give_way();
        if turn.used() - worked_before > TIME_MAX {
            return Err(ReadError::TooSlow);
        }
        match found {
            Found::Record(xml) => text.push(&xml)?,
            Found::Damaged(more) if damage.last().is_some_and(|last| last.place == more.place) => {}
            Found::Damaged(more) => damage.push(more),
        }
        Ok(())
    })?;
    let damaged = damage
        .into_iter()
        .map(|Damage { place, problem }| text.keep(&log[place.start as usize..place.end as usize], problem));
    let damaged = damaged.collect::<Result<_, _>>()?;
    Ok((text.text, damaged))
}

/// What can never be had is told as a limit, or the sender would come back for ever.
fn grow(share: &mut Share, bytes: u64) -> Result<(), ReadError> {
    if bytes > share.most() {
        return Err(ReadError::TooLarge { limit: share.most() });
    }
    Ok(share.grow_to(bytes)?)
}

/// Text that grows within its limits.
struct Text<'s> {
    text: Vec<u8>,
    limit: u64,
    /// What is in memory beside it.
    beside: u64,
    share: &'s mut Share,
}

impl Text<'_> {
    fn push(&mut self, more: &[u8]) -> Result<(), ReadError> {
        let length = (self.text.len() + more.len()) as u64 + 1;
        if length > self.limit {
            return Err(ReadError::TooLarge { limit: self.limit });
        }
        if length > self.text.capacity() as u64 {
            let most = self.limit.min(self.share.most().saturating_sub(self.beside));
            let room = (length * 3 / 2).next_multiple_of(STEP).min(most).max(length);
            grow(self.share, self.beside + room)?;
            self.text.reserve_exact(room as usize - self.text.len());
        }
        self.text.extend_from_slice(more);
        self.text.push(b'\n');
        Ok(())
    }

    fn keep(&mut self, part: &[u8], reason: String) -> Result<Damaged, ReadError> {
        let start = self.text.len();
        self.push(part)?;
        Ok(Damaged { span: start..start + part.len(), reason })
    }
}

#[cfg(test)]
#[path = "readable_tests.rs"]
mod tests;
