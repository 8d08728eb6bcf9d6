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
/// The first room that is made: so many times what came, and at least so many bytes. Texts of Windows become two to four times as
/// large, and whoever makes room in one step copies nothing.
const ROOM_FIRST: usize = 3;
const ROOM_MIN: usize = 4 << 10;
/// Most copies are shorter. A step of this size is a move of the processor; what it writes too much is written over.
const STEP: usize = 16;

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
    let first = bytes.len().saturating_mul(ROOM_FIRST).max(ROOM_MIN);
    let mut out = Out { bytes: Vec::new(), length: 0, base: 0, first, limit, room };
    let mut scheme = None;
    loop {
        bits.fill();
        if bits.peek(9) == CONTROL {
            match bits.take(CONTROL_BITS)? & 0xF {
                // Flush, file mark, end marker: nothing changes.
                0b0000 | 0b0011 | 0b1111 => {}
                0b0001 => scheme = Some(Scheme::Copies),
                0b0010 => scheme = Some(Scheme::Plain),
                0b0100 => return Ok(out.finish()),
                0b0101 => scheme = Some(out.reset(Scheme::Copies)),
                0b0110 => scheme = Some(out.reset(Scheme::Plain)),
                _ => return Err(SldcError::Damaged("a control symbol is not known")),
            }
            continue;
        }
        match scheme {
            None => return Err(SldcError::Damaged("it does not begin with a scheme")),
            Some(Scheme::Plain) => out.push(plain(&mut bits)?)?,
            Some(Scheme::Copies) => copies(&mut bits, &mut out)?,
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

/// Bytes and copies: the next one, which is there, and all up to a control symbol or near the end.
fn copies(bits: &mut Bits<'_>, out: &mut Out<impl FnMut(usize) -> bool>) -> Result<(), SldcError> {
    loop {
        if bits.peek(1) == 0 {
            out.push((bits.take(9)? & 0xFF) as u8)?;
        } else {
            let (count, place) = named(bits)?;
            out.copy(place, count)?;
        }
        bits.fill();
        if bits.count < SYMBOL_MAX || bits.peek(9) == CONTROL {
            return Ok(());
        }
    }
}

/// How many bytes a copy has and from which place of the ring: behind its flag stand one to four ones, then so many bits of the
/// number, then ten of the place.
fn named(bits: &mut Bits<'_>) -> Result<(usize, usize), SldcError> {
    /// By the number of ones: bits of the whole symbol, bits of the number, the least that it means.
    static LENGTHS: [(u32, u32, usize); 5] = [(13, 1, 2), (15, 2, 4), (17, 3, 8), (19, 4, 16), (23, 8, 32)];
    let ones = (bits.ahead << 1).leading_ones().min(4);
    let (whole, width, least) = LENGTHS[ones as usize];
    let all = bits.take(whole)? as usize;
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
        self.fill_at_the_end();
    }

    #[cold]
    fn fill_at_the_end(&mut self) {
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
    /// What came out, and behind it room in which anything may stand: a step writes further than it copies.
    bytes: Vec<u8>,
    length: usize,
    /// Where the ring began anew.
    base: usize,
    /// The first room that is made.
    first: usize,
    limit: usize,
    room: F,
}

impl<F: FnMut(usize) -> bool> Out<F> {
    fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.length);
        self.bytes
    }

    fn reset(&mut self, scheme: Scheme) -> Scheme {
        self.base = self.length;
        scheme
    }

    fn push(&mut self, byte: u8) -> Result<(), SldcError> {
        if self.length == self.bytes.len() {
            self.make_room(1)?;
        }
        self.bytes[self.length] = byte;
        self.length += 1;
        Ok(())
    }

    /// Copies so many bytes from this place of the ring on.
    fn copy(&mut self, place: usize, count: usize) -> Result<(), SldcError> {
        let written = self.length - self.base;
        let behind = (written + RING - place - 1) % RING + 1;
        if (STEP..=written).contains(&behind)
            && count <= STEP
            && let Some((before, after)) = self.bytes.split_at_mut_checked(self.length)
            && let Some(to) = after.first_chunk_mut::<STEP>()
            && let Some(from) = before.get(before.len() - behind..).and_then(<[u8]>::first_chunk)
        {
            *to = *from;
            self.length += count;
            return Ok(());
        }
        self.copy_any(behind, written, count)
    }

    /// The same, however long it is and from wherever it comes. What was never written in the ring is zero.
    fn copy_any(&mut self, behind: usize, written: usize, count: usize) -> Result<(), SldcError> {
        if self.bytes.len() - self.length < count {
            self.make_room(count)?;
        }
        let end = self.length + count;
        let unwritten = behind.saturating_sub(written).min(count);
        self.bytes[self.length..self.length + unwritten].fill(0);
        self.length += unwritten;
        let from = self.length.saturating_sub(behind);
        // What it names can reach into what it makes, which then comes again and again.
        while self.length < end {
            let some = (end - self.length).min(self.length - from);
            self.bytes.copy_within(from..from + some, self.length);
            self.length += some;
        }
        Ok(())
    }

    #[cold]
    fn make_room(&mut self, more: usize) -> Result<(), SldcError> {
        let needed = self.length + more;
        if needed > self.limit {
            return Err(SldcError::TooLarge { limit: self.limit });
        }
        let size = (self.bytes.len() * 2).max(self.first).max(needed).min(self.limit);
        if !(self.room)(size) {
            return Err(SldcError::NoRoom);
        }
        self.bytes.reserve_exact(size - self.bytes.len());
        self.bytes.resize(size, 0);
        Ok(())
    }
}

#[cfg(test)]
#[path = "sldc_tests.rs"]
mod tests;
