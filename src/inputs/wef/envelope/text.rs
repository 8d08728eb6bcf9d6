//! An envelope as text in UTF-8.
//!
//! Windows writes UTF-16, little endian with a mark. Half a surrogate pair can stand in an event (a command line holds whatever
//! its author put there); it becomes the replacement character, because an envelope that is refused comes again for ever and
//! nothing after it. Everything else that is no text is refused.

use super::EnvelopeError;
use crate::event::from_utf16::{self, Order, Transcoder};

/// What half of a surrogate pair becomes: as long as what the transcoder writes for it.
const REPLACEMENT: &[u8; 3] = b"\xEF\xBF\xBD";
const MARK: &[u8; 3] = b"\xEF\xBB\xBF";

/// How an envelope is written, and its answer with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// As Windows does.
    Utf16(Order),
    /// As other clients may.
    Utf8,
}

impl Charset {
    /// Told by the mark, or by the zeros beside the first characters.
    pub fn of(body: &[u8]) -> Self {
        from_utf16::order(body).map_or(Self::Utf8, Self::Utf16)
    }
}

/// How many bytes the text of a body can have at most.
pub fn room(body: &[u8]) -> usize {
    match Charset::of(body) {
        Charset::Utf16(_) => body.len() / 2 * 3 + 3,
        Charset::Utf8 => body.len(),
    }
}

/// The text of a body, without a byte order mark.
///
/// # Errors
///
/// When it is no text in UTF-16 or UTF-8.
pub fn read(body: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut text = match Charset::of(body) {
        Charset::Utf8 => body.to_vec(),
        Charset::Utf16(_) if body.len() % 2 == 1 => return Err(EnvelopeError::NoText("half a character at its end")),
        Charset::Utf16(order) => transcoded(body, order),
    };
    if text.starts_with(MARK) {
        text.drain(..MARK.len());
    }
    Ok(text)
}

fn transcoded(body: &[u8], order: Order) -> Vec<u8> {
    // Most of it is ASCII; more room is made only where it is not.
    let mut text = Vec::with_capacity(body.len() / 2 + body.len() / 16);
    let mut transcoder = Transcoder::new(order);
    transcoder.push(body, &mut text);
    transcoder.finish(&mut text);
    replace_halves(&mut text);
    text
}

/// Each half of a pair stands in three bytes that are no UTF-8.
fn replace_halves(text: &mut [u8]) {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        let at = from + error.valid_up_to();
        let Some(half) = text.get_mut(at..at + REPLACEMENT.len()) else { return };
        half.copy_from_slice(REPLACEMENT);
        from = at + REPLACEMENT.len();
    }
}

/// A text as it goes to a client that writes like this.
pub fn write(text: &str, charset: Charset) -> Vec<u8> {
    match charset {
        Charset::Utf8 => text.as_bytes().to_vec(),
        Charset::Utf16(order) => {
            let bytes = |unit: u16| match order {
                Order::Little => unit.to_le_bytes(),
                Order::Big => unit.to_be_bytes(),
            };
            std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(bytes).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_in_every_charset() {
        let text = "<é>😀 text</é>";
        for charset in [Charset::Utf16(Order::Little), Charset::Utf16(Order::Big), Charset::Utf8] {
            let body = write(text, charset);
            assert_eq!(Charset::of(&body), charset);
            assert_eq!(read(&body).as_deref(), Ok(text.as_bytes()), "{charset:?}");
            assert!(room(&body) >= text.len());
        }
        assert_eq!(read(b"\xEF\xBB\xBF<a/>").as_deref(), Ok(&b"<a/>"[..]));
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character_and_nothing_else_changes() {
        let mut body = write("<a>x", Charset::Utf16(Order::Little));
        body.extend([0x3D, 0xD8]);
        body.extend("y".encode_utf16().flat_map(u16::to_le_bytes));
        body.extend([0x00, 0xDE]);
        assert_eq!(read(&body).map(String::from_utf8), Ok(Ok("<a>x\u{FFFD}y\u{FFFD}".to_owned())));
    }

    #[test]
    fn half_a_character_is_refused() {
        let mut body = write("<a/>", Charset::Utf16(Order::Little));
        body.pop();
        assert!(read(&body).is_err());
    }
}
