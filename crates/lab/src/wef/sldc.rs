//! A compressor for SLDC (ECMA-321): literals, and copies where a pair of bytes came before.

use std::collections::HashMap;

const RING: usize = 1024;
const COPY_MAX: usize = 271;

/// One record, padded to 32 bits.
pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0b1_1111_1111_0101, 13);
    let mut last: HashMap<[u8; 2], usize> = HashMap::new();
    let mut at = 0;
    while at < bytes.len() {
        let (from, length) = longest(bytes, at, &last);
        if length >= 2 {
            bits.put(1, 1);
            bits.count(length);
            bits.put((from % RING) as u64, 10);
        } else {
            bits.put(u64::from(bytes[at]), 9);
        }
        for passed in at..at + length.max(1) {
            if let Some(pair) = bytes.get(passed..passed + 2) {
                last.insert([pair[0], pair[1]], passed);
            }
        }
        at += length.max(1);
    }
    bits.put(0b1_1111_1111_0100, 13);
    bits.padded()
}

/// The copy that begins at the last place where these two bytes stood.
fn longest(bytes: &[u8], at: usize, last: &HashMap<[u8; 2], usize>) -> (usize, usize) {
    let Some(pair) = bytes.get(at..at + 2) else { return (0, 0) };
    let Some(&from) = last.get(&[pair[0], pair[1]]).filter(|from| at - **from <= RING) else { return (0, 0) };
    let same = bytes[from..].iter().zip(&bytes[at..]).take(COPY_MAX).take_while(|(a, b)| a == b).count();
    (from, same)
}

#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    ahead: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u64, width: u32) {
        self.ahead = self.ahead << width | value;
        self.count += width;
        while self.count >= 8 {
            self.count -= 8;
            self.out.push((self.ahead >> self.count) as u8);
        }
    }

    /// The number of bytes of a copy.
    fn count(&mut self, length: usize) {
        let length = length as u64;
        match length {
            2..=3 => self.put(length - 2, 2),
            4..=7 => self.put(0b1000 | (length - 4), 4),
            8..=15 => self.put(0b11_0000 | (length - 8), 6),
            16..=31 => self.put(0b1110_0000 | (length - 16), 8),
            _ => self.put(0b1111_0000_0000 | (length - 32), 12),
        }
    }

    fn padded(mut self) -> Vec<u8> {
        while self.count > 0 || !self.out.len().is_multiple_of(4) {
            self.put(0, 8 - self.count % 8);
        }
        self.out
    }
}
