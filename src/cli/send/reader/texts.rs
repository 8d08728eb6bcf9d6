//! Texts, a piece at a time: what `/v1/events` reads is read here by the same code.

use std::io::{self, Read};

use bytes::Bytes;

use super::{Out, Unwanted};
use crate::event::from_utf16::{self, Transcoder};
use crate::event::{MAX_EVENTS, Pieces, foreign};

/// How much is read before it is looked at.
const PIECE: usize = 8 << 20;
/// The longest record that is waited for. None that long is taken, but what follows it is.
const RECORD_LIMIT: usize = 64 << 20;

pub(super) fn read(reader: impl Read, out: &mut Out<'_>) -> Result<(), Unwanted> {
    let mut text = Text { reader, transcoder: None, text: Vec::new(), before: 0, ended: false };
    let mut records = Pieces::default();
    let mut wanted = PIECE;
    loop {
        if let Err(error) = text.fill(wanted) {
            return out.damaged(format!("{error}; the rest is not read"));
        }
        if text.before == 0
            && let Some(foreign) = foreign::recognise(&text.text)
        {
            return out.damaged(foreign.to_string());
        }
        let (decoded, used) = match records.read(&text.text, text.ended, MAX_EVENTS) {
            Ok(read) => read,
            Err(error) => {
                let at = text.before + error.offset as u64;
                return out.damaged(format!("{}, at byte {at}; the rest is not read", error.message));
            }
        };
        for unreadable in &decoded.unreadable {
            let at = text.before + (unreadable.raw.as_ptr() as usize - text.text.as_ptr() as usize) as u64;
            out.damaged(format!("{}; the record begins at byte {at}", unreadable.reason))?;
        }
        for event in &decoded.events {
            out.record(Bytes::copy_from_slice(event.raw))?;
        }
        wanted = if used > 0 { PIECE } else { text.text.len() * 2 };
        text.pass(used);
        if text.ended && text.text.is_empty() {
            return Ok(());
        }
        if wanted > RECORD_LIMIT {
            return out.damaged(format!("a record is longer than {RECORD_LIMIT} bytes; the rest is not read"));
        }
    }
}

/// A text in UTF-8, whatever it is written in.
struct Text<R> {
    reader: R,
    transcoder: Option<Transcoder>,
    /// What was read and not used.
    text: Vec<u8>,
    /// How much was used.
    before: u64,
    ended: bool,
}

impl<R: Read> Text<R> {
    /// Reads until so many bytes are here, or to the end.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let mut block = Vec::new();
        while !self.ended && self.text.len() < wanted {
            block.clear();
            self.reader.by_ref().take(PIECE as u64).read_to_end(&mut block)?;
            self.ended = block.is_empty();
            if self.before == 0 && self.text.is_empty() {
                self.transcoder = from_utf16::order(&block).map(Transcoder::new);
            }
            match &mut self.transcoder {
                Some(transcoder) => transcoder.push(&block, &mut self.text),
                None => self.text.append(&mut block),
            }
        }
        if self.ended
            && let Some(transcoder) = self.transcoder.take()
        {
            transcoder.finish(&mut self.text);
        }
        Ok(())
    }

    fn pass(&mut self, used: usize) {
        self.text.drain(..used);
        self.before += used as u64;
    }
}
