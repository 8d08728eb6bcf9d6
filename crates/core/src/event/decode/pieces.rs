//! The same records out of a text that comes in pieces, for whoever reads files that are larger than memory.

use super::{Array, DecodeError, Decoded, Lines, fail, skip_blank, text_at_start};
use crate::event::MAX_RECORD_BYTES;

/// A record that begins so far before the end of a piece is decided by what is there: none that is taken is longer.
const MARGIN: usize = 2 * MAX_RECORD_BYTES;
/// The most bytes of a character whose rest is in the next piece.
const CHARACTER_PART: usize = 3;

/// Reads what [`decode`](super::decode) reads of a body that is an array or records one after the other, however long.
#[derive(Debug, Default)]
pub struct Pieces {
    frame: Frame,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Frame {
    #[default]
    Unknown,
    Lines,
    Array,
    /// Behind an array.
    Ended,
}

impl Pieces {
    /// Reads about `most` records at the beginning of a piece; `last` when nothing comes after it. Tells how much of it is
    /// read: the next piece begins there. Nothing read means that more has to be there.
    ///
    /// # Errors
    ///
    /// When an array is broken. What stood before was handed out by earlier calls.
    pub fn read<'a>(&mut self, piece: &'a [u8], last: bool, most: usize) -> Result<(Decoded<'a>, usize), DecodeError> {
        let start = skip_blank(piece, 0);
        if start == piece.len() {
            return Ok((Decoded::default(), start));
        }
        if self.frame == Frame::Unknown {
            self.frame = if piece[start] == b'[' { Frame::Array } else { Frame::Lines };
            if self.frame == Frame::Array {
                return self.open_array(piece, start, last, most);
            }
        }
        match self.frame {
            Frame::Array => self.array(Array::at(text_at_start(piece), start), piece, last, most),
            Frame::Ended => fail(start, "something follows the array"),
            Frame::Lines | Frame::Unknown => Ok(lines(piece, start, last, most)),
        }
    }

    fn open_array<'a>(
        &mut self,
        piece: &'a [u8],
        start: usize,
        last: bool,
        most: usize,
    ) -> Result<(Decoded<'a>, usize), DecodeError> {
        let text = text_at_start(piece);
        match Array::open(text, start)? {
            // Whether it has an element is not known yet.
            Some(array) if array.pos == text.len() && !last => {
                self.frame = Frame::Unknown;
                Ok((Decoded::default(), 0))
            }
            Some(array) => self.array(array, piece, last, most),
            None => {
                self.frame = Frame::Ended;
                Ok((Decoded::default(), piece.len()))
            }
        }
    }

    fn array<'a>(
        &mut self,
        mut array: Array<'a>,
        piece: &'a [u8],
        last: bool,
        most: usize,
    ) -> Result<(Decoded<'a>, usize), DecodeError> {
        let text = text_at_start(piece).len();
        let mut decoded = Decoded::default();
        while decoded.count() < most {
            match array.step(&mut decoded) {
                Ok(true) => {}
                Ok(false) => {
                    self.frame = Frame::Ended;
                    break;
                }
                // What is whole goes first; the next call finds the same place again.
                Err(_) if decoded.count() > 0 => break,
                Err(error) if error.offset >= text && !last && text + CHARACTER_PART >= piece.len() => break,
                Err(error) if error.offset >= text && text < piece.len() => {
                    return fail(text, "the array is not UTF-8");
                }
                Err(error) => return Err(error),
            }
        }
        Ok((decoded, array.pos))
    }
}

fn lines(piece: &[u8], start: usize, last: bool, most: usize) -> (Decoded<'_>, usize) {
    let until = if last { piece.len() } else { piece.len().saturating_sub(MARGIN) };
    let mut decoded = Decoded::default();
    let mut lines = Lines::new(piece, start);
    while lines.pos < until && decoded.count() < most && lines.step(&mut decoded) {}
    (decoded, lines.pos)
}
