//! UTF-16 into UTF-8: what Windows PowerShell writes with `>`, and many tools of Windows beside it.
//!
//! A surrogate without its other half, and half a character at the end, become bytes that are no UTF-8: the record that
//! holds them is set aside with that reason, and the others are read.

use std::io;

/// As much as is looked at at once, in bytes.
const BLOCK: usize = 32;

/// Which byte of a unit comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lower one, as Windows writes.
    Little,
    /// The higher one.
    Big,
}

/// The byte order of a text in UTF-16; `None` for everything else. Told by the byte order mark, or by the zeros beside its
/// first two characters: no text in UTF-8 that is taken here begins with those.
pub fn order(text: &[u8]) -> Option<Order> {
    match text {
        [0xFF, 0xFE, ..] => Some(Order::Little),
        [0xFE, 0xFF, ..] => Some(Order::Big),
        [1..=0x7F, 0, 1..=0x7F, 0, ..] => Some(Order::Little),
        [0, 1..=0x7F, 0, 1..=0x7F, ..] => Some(Order::Big),
        _ => None,
    }
}

/// A file's text, whether it is written in UTF-8 or in UTF-16, without its byte order mark.
///
/// # Errors
///
/// When it is written in neither.
pub fn text_of(file: Vec<u8>) -> io::Result<String> {
    let utf8 = match order(&file) {
        None => file,
        Some(order) => {
            let (mut transcoder, mut utf8) = (Transcoder::new(order), Vec::with_capacity(file.len()));
            transcoder.push(&file, &mut utf8);
            transcoder.finish(&mut utf8);
            utf8
        }
    };
    let mut text = String::from_utf8(utf8)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is neither UTF-8 nor UTF-16; save it as UTF-8"))?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

/// Makes UTF-8 of a text that may come in pieces.
#[derive(Debug)]
pub struct Transcoder {
    order: Order,
    /// The first byte of a unit whose second is still to come.
    byte: Option<u8>,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

impl Transcoder {
    /// For a text in this order.
    pub fn new(order: Order) -> Self {
        Self { order, byte: None, high: None }
    }

    /// Appends the UTF-8 of the next piece: at most three bytes for two.
    pub fn push(&mut self, mut piece: &[u8], out: &mut Vec<u8>) {
        if let (Some(first), [second, rest @ ..]) = (self.byte, piece) {
            self.byte = None;
            self.unit([first, *second], out);
            piece = rest;
        }
        let (blocks, rest) = piece.as_chunks::<BLOCK>();
        for block in blocks {
            let ascii = if self.order == Order::Little { ascii::<0, 1>(block) } else { ascii::<1, 0>(block) };
            match ascii.filter(|_| self.high.is_none()) {
                Some(ascii) => out.extend_from_slice(&ascii),
                None => self.units(block, out),
            }
        }
        self.units(rest, out);
    }

    fn units(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let (units, odd) = piece.as_chunks::<2>();
        for unit in units {
            self.unit(*unit, out);
        }
        self.byte = odd.first().copied().or(self.byte);
    }

    /// Ends the text.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.end_pair(out);
        if self.byte.is_some() {
            out.push(0xFF);
        }
    }

    fn unit(&mut self, bytes: [u8; 2], out: &mut Vec<u8>) {
        let unit = match self.order {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        };
        if unit < 0x80 && self.high.is_none() {
            out.push(unit as u8);
            return;
        }
        match (self.high.take(), unit) {
            (Some(high), 0xDC00..=0xDFFF) => {
                let number = 0x1_0000 + (u32::from(high & 0x3FF) << 10 | u32::from(unit & 0x3FF));
                character(number, out);
            }
            (high, unit) => {
                self.high = high;
                self.end_pair(out);
                match unit {
                    0xD800..=0xDBFF => self.high = Some(unit),
                    _ => character(u32::from(unit), out),
                }
            }
        }
    }

    fn end_pair(&mut self, out: &mut Vec<u8>) {
        if let Some(high) = self.high.take() {
            character(u32::from(high), out);
        }
    }
}

/// A block that is nothing but ASCII, which most of every text is. `LOW` and `HIGH`: where in a unit its bytes stand.
fn ascii<const LOW: usize, const HIGH: usize>(block: &[u8; BLOCK]) -> Option<[u8; BLOCK / 2]> {
    let (mut ascii, mut other) = ([0; BLOCK / 2], 0);
    for (byte, unit) in ascii.iter_mut().zip(block.as_chunks::<2>().0) {
        *byte = unit[LOW];
        other |= unit[HIGH] | unit[LOW] & 0x80;
    }
    (other == 0).then_some(ascii)
}

fn character(number: u32, out: &mut Vec<u8>) {
    match char::from_u32(number) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        // Half a pair, in the form of a character that UTF-8 does not have.
        None => out.extend_from_slice(&[
            0xE0 | (number >> 12) as u8,
            0x80 | (number >> 6 & 0x3F) as u8,
            0x80 | (number & 0x3F) as u8,
        ]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(units: impl Iterator<Item = u16>, order: Order) -> Vec<u8> {
        let bytes = |unit: u16| if order == Order::Little { unit.to_le_bytes() } else { unit.to_be_bytes() };
        units.flat_map(bytes).collect()
    }

    /// The UTF-8 of a text that comes in pieces of so many bytes.
    fn transcoded(text: &[u8], order: Order, piece: usize) -> Vec<u8> {
        let (mut out, mut transcoder) = (Vec::new(), Transcoder::new(order));
        text.chunks(piece).for_each(|piece| transcoder.push(piece, &mut out));
        transcoder.finish(&mut out);
        out
    }

    #[test]
    fn the_order_is_told_by_the_mark_or_by_the_zeros() {
        for (text, expected) in [
            (&b"\xFF\xFEx"[..], Some(Order::Little)),
            (b"\xFE\xFF", Some(Order::Big)),
            (b"<\0E\0", Some(Order::Little)),
            (b"\0\r\0\n\0{", Some(Order::Big)),
            (b"<Event/>", None),
            (b"\xEF\xBB\xBF{}", None),
            (b"ElfFile\0", None),
            (b"", None),
            (b"\0\0\0\0", None),
        ] {
            assert_eq!(order(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_in_utf_16_or_utf_8_is_a_text_without_its_mark() {
        let little = [&b"\xFF\xFE"[..], &bytes("{\"ä\"}".encode_utf16(), Order::Little)].concat();
        let big = [&b"\xFE\xFF"[..], &bytes("{\"ä\"}".encode_utf16(), Order::Big)].concat();
        for file in [little, big, "\u{feff}{\"ä\"}".into(), "{\"ä\"}".into()] {
            assert_eq!(text_of(file).expect("a text"), "{\"ä\"}");
        }
        let refused = text_of(b"{\"\xE4\"}".to_vec()).expect_err("Windows-1252");
        assert!(refused.to_string().contains("save it as UTF-8"), "{refused}");
        assert!(text_of(b"\xFF\xFE{\0\"\0\x00\xD8".to_vec()).is_err(), "half of a character");
    }

    #[test]
    fn what_is_no_character_is_no_utf_8() {
        let lone = |units: &[u16]| transcoded(&bytes(units.iter().copied(), Order::Little), Order::Little, 3);
        for units in [&[0xD83D][..], &[0xDE00], &[0xD83D, 0x41], &[0xD83D, 0xD83D, 0xDE00]] {
            assert!(std::str::from_utf8(&lone(units)).is_err(), "{units:x?}");
        }
        assert!(lone(&[0xD83D, 0x41]).ends_with(b"A"), "what follows stays");
        assert!(std::str::from_utf8(&transcoded(b"<\0E", Order::Little, 2)).is_err(), "half a character is no text");
    }

    proptest! {
        #[test]
        fn every_text_is_the_same_in_utf_8(text in "[ -~]{0,60}\\PC{0,40}[ -~]{0,60}", piece in 1usize..200, big: bool) {
            let order = if big { Order::Big } else { Order::Little };
            let utf16 = bytes(text.encode_utf16(), order);
            let out = transcoded(&utf16, order, piece);
            prop_assert!(out.len() <= utf16.len() * 3 / 2);
            prop_assert_eq!(String::from_utf8(out), Ok(text));
        }
    }
}
