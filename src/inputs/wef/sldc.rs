//! SLDC (ECMA-321), in which Windows compresses what it forwards.
//!
//! A stream of bits, the highest of each byte first: control symbols of 13 bits, and between them either literal bytes and
//! copies of what came before (scheme 1) or bytes as they are (scheme 2). A copy names a place in a ring of the last 1,024
//! bytes. 23 bits can stand for 271 bytes, so what comes out has a limit, and room is asked for before it is taken.

/// Bytes that can be copied from.
const RING: usize = 1024;
/// Nine ones begin a control symbol; four bits say which.
const CONTROL: u64 = 0x1FF;
const CONTROL_BITS: u32 = 13;
/// Most bits of a symbol: a copy with its length and its place.
const SYMBOL_MAX: u32 = 23;
/// The first room that is made, at least.
const ROOM_MIN: usize = 4 << 10;

/// Why bytes were not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SldcError {
    /// They are no SLDC.
    #[error("the body claims SLDC and is none: {0}")]
    Damaged(&'static str),
    /// More comes out than the limit.
    #[error("the body is larger than {limit} bytes once it is decompressed")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// There is no room for it now.
    #[error("the memory for uploads is used up")]
    NoRoom,
}

/// How what follows is written.
#[derive(Clone, Copy)]
enum Scheme {
    Copies,
    Plain,
}

/// Decodes one record, up to its end. At most `limit` bytes come out; `room` is asked before the buffer grows to so many bytes.
///
/// # Errors
///
/// When this is no SLDC, does not end, or more comes out than there is room for.
pub fn decode(bytes: &[u8], limit: usize, room: impl FnMut(usize) -> bool) -> Result<Vec<u8>, SldcError> {
    let mut bits = Bits { bytes, at: 0, ahead: 0, count: 0 };
    let mut out = Out { bytes: Vec::new(), base: 0, limit, room };
    let mut scheme = None;
    loop {
        bits.fill();
        if bits.peek(9) == CONTROL {
            match bits.take(CONTROL_BITS)? & 0xF {
                // Flush, file mark, end marker: nothing changes.
                0b0000 | 0b0011 | 0b1111 => {}
                0b0001 => scheme = Some(Scheme::Copies),
                0b0010 => scheme = Some(Scheme::Plain),
                0b0100 => return Ok(out.bytes),
                0b0101 => scheme = Some(out.reset(Scheme::Copies)),
                0b0110 => scheme = Some(out.reset(Scheme::Plain)),
                _ => return Err(SldcError::Damaged("a control symbol is not known")),
            }
            continue;
        }
        match scheme {
            None => return Err(SldcError::Damaged("it does not begin with a scheme")),
            Some(Scheme::Plain) => out.push(plain(&mut bits)?)?,
            Some(Scheme::Copies) if bits.peek(1) == 0 => out.push((bits.take(9)? & 0xFF) as u8)?,
            Some(Scheme::Copies) => {
                let (count, place) = named(&mut bits)?;
                out.copy(place, count)?;
            }
        }
    }
}

/// A byte as it is. All ones have a zero behind them, or they would begin a control symbol.
fn plain(bits: &mut Bits<'_>) -> Result<u8, SldcError> {
    let byte = bits.take(8)? as u8;
    if byte == 0xFF {
        bits.take(1)?;
    }
    Ok(byte)
}

/// How many bytes a copy has and from which place of the ring: behind its flag stand one to four ones, then so many bits of the
/// number, then ten of the place.
fn named(bits: &mut Bits<'_>) -> Result<(usize, usize), SldcError> {
    let ones = (!(bits.peek(5) << 60)).leading_zeros().min(4);
    let (prefix, width, least) = [(1, 1, 2), (2, 2, 4), (3, 3, 8), (4, 4, 16), (4, 8, 32)][ones as usize];
    let all = bits.take(1 + prefix + width + 10)? as usize;
    Ok((least + (all >> 10 & ((1 << width) - 1)), all & (RING - 1)))
}

/// The bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next ones, from the top.
    ahead: u64,
    count: u32,
}

impl Bits<'_> {
    /// Afterwards as many bits are ahead as one symbol can have, or as there are.
    fn fill(&mut self) {
        if self.count >= SYMBOL_MAX {
            return;
        }
        if let Some(next) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            // What of it is not counted yet comes again, at the same place.
            self.ahead |= u64::from_be_bytes(*next) >> self.count;
            let whole = (63 - self.count) / 8;
            self.at += whole as usize;
            self.count += 8 * whole;
            return;
        }
        while self.count <= 56
            && let Some(byte) = self.bytes.get(self.at)
        {
            self.ahead |= u64::from(*byte) << (56 - self.count);
            self.count += 8;
            self.at += 1;
        }
    }

    /// The next bits; zeros beyond the end.
    fn peek(&self, count: u32) -> u64 {
        self.ahead >> (64 - count)
    }

    fn take(&mut self, count: u32) -> Result<u64, SldcError> {
        if self.count < count {
            return Err(SldcError::Damaged("it has no end of record"));
        }
        let taken = self.peek(count);
        self.ahead <<= count;
        self.count -= count;
        Ok(taken)
    }
}

/// What came out. The ring is the end of it.
struct Out<F> {
    bytes: Vec<u8>,
    /// Where the ring began anew.
    base: usize,
    limit: usize,
    room: F,
}

impl<F: FnMut(usize) -> bool> Out<F> {
    fn reset(&mut self, scheme: Scheme) -> Scheme {
        self.base = self.bytes.len();
        scheme
    }

    fn push(&mut self, byte: u8) -> Result<(), SldcError> {
        self.make_room(1)?;
        self.bytes.push(byte);
        Ok(())
    }

    /// Copies so many bytes from this place of the ring on. What was never written there is zero.
    fn copy(&mut self, place: usize, count: usize) -> Result<(), SldcError> {
        self.make_room(count)?;
        let written = self.bytes.len() - self.base;
        let behind = (written + RING - place - 1) % RING + 1;
        let unwritten = behind.saturating_sub(written).min(count);
        self.bytes.resize(self.bytes.len() + unwritten, 0);
        let from = self.bytes.len().saturating_sub(behind);
        let mut left = count - unwritten;
        // What it names can reach into what it makes, which then comes again and again.
        while left > 0 {
            let some = left.min(self.bytes.len() - from);
            self.bytes.extend_from_within(from..from + some);
            left -= some;
        }
        Ok(())
    }

    fn make_room(&mut self, more: usize) -> Result<(), SldcError> {
        let needed = self.bytes.len() + more;
        if needed <= self.bytes.capacity() {
            return Ok(());
        }
        if needed > self.limit {
            return Err(SldcError::TooLarge { limit: self.limit });
        }
        let capacity = (self.bytes.capacity() * 2).max(ROOM_MIN).max(needed).min(self.limit);
        if !(self.room)(capacity) {
            return Err(SldcError::NoRoom);
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lab::wef::sldc::compressed;
    use crate::lab::wef::soap::wide;

    /// Bits as text, for symbols that are written by hand.
    fn packed(symbols: &[&str]) -> Vec<u8> {
        let mut bits: String = symbols.concat();
        bits.retain(|bit| bit != ' ');
        while !bits.len().is_multiple_of(32) {
            bits.push('0');
        }
        let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
        bits.as_bytes().chunks(8).map(byte).collect()
    }

    const RESET_1: &str = "111111111 0101";
    const RESET_2: &str = "111111111 0110";
    const SCHEME_2: &str = "111111111 0010";
    const END: &str = "111111111 0100";

    fn literal(byte: u8) -> String {
        format!("0{byte:08b}")
    }

    fn decoded(symbols: &[&str]) -> Result<Vec<u8>, SldcError> {
        decode(&packed(symbols), 1 << 20, |_| true)
    }

    #[test]
    fn literals_copies_and_plain_bytes_are_decoded() {
        let (a, b) = (literal(b'a'), literal(b'b'));
        // A copy of two bytes from place 0, and one of five that overlaps itself from place 1.
        let text = decoded(&[RESET_1, &a, &b, "1 00 0000000000", "1 1001 0000000011", END]);
        assert_eq!(text.as_deref(), Ok(&b"ababbbbbb"[..]));
        let plain = decoded(&[RESET_2, "01100001", "11111111 0", SCHEME_2, "01100010", END]);
        assert_eq!(plain.as_deref(), Ok(&b"a\xFFb"[..]));
        let never_written = decoded(&[RESET_1, &a, "1 01 0000000101", END]);
        assert_eq!(never_written.as_deref(), Ok(&b"a\0\0\0"[..]));
    }

    #[test]
    fn every_length_of_a_copy_is_read() {
        let count = |code: &str, expected: usize| {
            let copy = format!("1 {code} 0000000000");
            assert_eq!(
                decoded(&[RESET_1, &literal(b'x'), &copy, END]).map(|out| out.len()),
                Ok(expected + 1),
                "{code}"
            );
        };
        count("00", 2);
        count("01", 3);
        count("1000", 4);
        count("1011", 7);
        count("110111", 15);
        count("11101111", 31);
        count("111100000000", 32);
        count("111111101111", 271);
    }

    #[test]
    fn the_ring_turns_and_a_reset_begins_it_anew() {
        let mut symbols = vec![RESET_1.to_owned()];
        symbols.extend((0..1500_u32).map(|n| literal((n % 251) as u8)));
        symbols.push("1 00 0000000000".to_owned());
        symbols.push(RESET_1.to_owned());
        symbols.push(literal(7));
        symbols.push("1 00 0000000000".to_owned());
        symbols.push(END.to_owned());
        let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
        let out = decoded(&symbols).expect("it is sound");
        assert_eq!(out[1500..1502], [(1024 % 251) as u8, (1025 % 251) as u8], "place 0 is the byte 1024");
        assert_eq!(out[1502..], [7, 7, 7]);
    }

    #[test]
    fn what_is_no_sldc_is_told_so() {
        assert!(matches!(decode(b"\xFF\xFE<\0s\0", 1 << 20, |_| true), Err(SldcError::Damaged(_))), "plain UTF-16");
        assert!(matches!(decode(b"<s:Envelope", 1 << 20, |_| true), Err(SldcError::Damaged(_))), "plain UTF-8");
        assert!(matches!(decode(b"", 1 << 20, |_| true), Err(SldcError::Damaged(_))));
        assert!(matches!(decoded(&[RESET_1, &literal(b'a')]), Err(SldcError::Damaged(_))), "it has no end");
        assert!(matches!(decoded(&[RESET_1, "111111111 1000"]), Err(SldcError::Damaged(_))), "a reserved symbol");
    }

    #[test]
    fn a_bomb_hits_the_limit_and_room_is_asked_for_first() {
        let mut symbols = vec![RESET_1.to_owned(), literal(b'x')];
        symbols.extend((0..10_000).map(|_| "1 111111101111 0000000000".to_owned()));
        let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
        let bomb = packed(&symbols);
        let mut most = 0;
        let result = decode(&bomb, 1 << 20, |asked| {
            most = asked;
            true
        });
        assert_eq!(result, Err(SldcError::TooLarge { limit: 1 << 20 }));
        assert!(most <= 1 << 20, "{most}");
        assert_eq!(decode(&bomb, 1 << 30, |asked| asked < 100_000), Err(SldcError::NoRoom));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let seeded = [packed(&[RESET_1]), bytes.clone()].concat();
            for bytes in [bytes, seeded] {
                if let Ok(out) = decode(&bytes, 1 << 16, |_| true) {
                    prop_assert!(out.len() <= bytes.len() * 95 + 64);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_input_decodes_what_hosts_compress(bytes in proptest::collection::vec(0u8..6, 0..3000)) {
            prop_assert_eq!(decode(&compressed(&bytes), 1 << 20, |_| true), Ok(bytes));
        }
    }

    #[test]
    fn every_byte_survives_compression_and_texts_shrink() {
        let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
        assert_eq!(decode(&compressed(&bytes), 1 << 20, |_| true).as_deref(), Ok(&bytes[..]));
        let text = wide(&"<Event><System><EventID>4624</EventID></System></Event>".repeat(40));
        assert!(compressed(&text).len() * 4 < text.len());
    }
}
