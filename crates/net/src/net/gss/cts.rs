//! AES in CBC mode with ciphertext stealing, as Kerberos uses it (RFC 3962, CBC-CS3): as long as the text, its last two blocks
//! exchanged.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;

/// The block of AES, in bytes.
pub(super) const BLOCK: usize = 16;

/// What is said of steps that cannot fail: lengths are whole blocks, and the mode is given what it takes.
const SOUND: &str = "whole blocks of AES can be encrypted";

/// The key for one purpose, in both directions.
pub(super) struct Aes {
    to: EncryptingKey,
    from: DecryptingKey,
}

impl Aes {
    /// With a key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Self {
        let unbound = || {
            let algorithm = if key.len() == BLOCK { &AES_128 } else { &AES_256 };
            UnboundCipherKey::new(algorithm, key).expect("the key has 16 or 32 bytes")
        };
        let to = EncryptingKey::cbc(unbound()).expect(SOUND);
        Self { to, from: DecryptingKey::cbc(unbound()).expect(SOUND) }
    }

    /// Whole blocks, from a vector of zeros.
    fn chain(&self, blocks: &mut [u8]) {
        let zeros = EncryptionContext::Iv128(FixedLength::from(&[0; BLOCK]));
        self.to.less_safe_encrypt(blocks, zeros).expect(SOUND);
    }

    fn unchain(&self, blocks: &mut [u8]) {
        let zeros = DecryptionContext::Iv128(FixedLength::from(&[0; BLOCK]));
        self.from.decrypt(blocks, zeros).expect(SOUND);
    }

    /// One block by itself.
    pub(super) fn block(&self, mut block: [u8; BLOCK]) -> [u8; BLOCK] {
        self.chain(&mut block);
        block
    }

    /// Encrypts in place. `text` has at least one block.
    pub(super) fn encrypt(&self, text: &mut [u8]) {
        let Some((before, rest)) = last_two(text.len()) else { return self.chain(text) };
        let mut last = [0; BLOCK];
        last[..rest].copy_from_slice(&text[before + BLOCK..]);
        self.chain(&mut text[..before + BLOCK]);
        let stolen = &text[before..before + BLOCK];
        last.iter_mut().zip(stolen).for_each(|(byte, of)| *byte ^= of);
        let last = self.block(last);
        text.copy_within(before..before + rest, before + BLOCK);
        text[before..before + BLOCK].copy_from_slice(&last);
    }

    /// Decrypts in place. `text` has at least one block.
    pub(super) fn decrypt(&self, text: &mut [u8]) {
        let Some((before, rest)) = last_two(text.len()) else { return self.unchain(text) };
        let mut last = [0; BLOCK];
        last.copy_from_slice(&text[before..before + BLOCK]);
        self.unchain(&mut last);
        for at in 0..rest {
            let stolen = text[before + BLOCK + at];
            text[before + BLOCK + at] = last[at] ^ stolen;
            last[at] = stolen;
        }
        text[before..before + BLOCK].copy_from_slice(&last);
        self.unchain(&mut text[..before + BLOCK]);
    }
}

/// Of a text of more than one block: where its last two begin, and how long the last one is.
fn last_two(length: usize) -> Option<(usize, usize)> {
    let last = (length.checked_sub(BLOCK + 1)?) % BLOCK + 1;
    Some((length - last - BLOCK, last))
}

/// Stretches a short constant to a block, so that each bit of it counts (RFC 3961, 5.1).
pub(super) fn stretched(constant: &[u8]) -> [u8; BLOCK] {
    let mut sum = [0; BLOCK];
    fold(constant, &mut sum);
    sum
}

/// The n-fold of RFC 3961: copies of the text, each turned right by 13 bits against the one before, added in ones' complement.
fn fold(text: &[u8], sum: &mut [u8]) {
    let (bits, whole) = (text.len() * 8, text.len() * sum.len() / common_divisor(text.len(), sum.len()));
    let byte_at = |at: usize| {
        let turned = at * 8 + bits * 13 - (at / text.len()) * 13 % bits;
        let bit = |n: usize| text[(turned + n) % bits / 8] >> (7 - (turned + n) % 8) & 1;
        (0..8).fold(0, |byte: u8, n| byte << 1 | bit(n))
    };
    for chunk in (0..whole).step_by(sum.len()) {
        let mut carry = 0;
        for at in (0..sum.len()).rev() {
            let total = u16::from(sum[at]) + u16::from(byte_at(chunk + at)) + carry;
            (sum[at], carry) = (total.to_be_bytes()[1], total >> 8);
        }
        for at in (0..sum.len()).rev() {
            let total = u16::from(sum[at]) + carry;
            (sum[at], carry) = (total.to_be_bytes()[1], total >> 8);
        }
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 3961, A.1.
    #[test]
    fn constants_are_stretched_as_published() {
        for (text, length, expected) in [
            ("012345", 8, "be072631276b1955"),
            ("password", 7, "78a07b6caf85fa"),
            ("Rough Consensus, and Running Code", 8, "bb6ed30870b7f0e0"),
            ("password", 21, "59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"),
            ("kerberos", 8, "6b65726265726f73"),
            ("kerberos", 16, "6b65726265726f737b9b5b2b93132b93"),
        ] {
            let mut sum = vec![0; length];
            fold(text.as_bytes(), &mut sum);
            assert_eq!(hex::encode(&sum), expected, "{text}");
        }
    }

    /// The vectors of RFC 3962, B.
    #[test]
    fn texts_of_any_length_are_encrypted_as_published_and_come_back() {
        let aes = Aes::new(b"chicken teriyaki");
        let text = b"I would like the General Gau's Chicken, please, and wonton soup.";
        for (length, expected) in [
            (17, "c6353568f2bf8cb4d8a580362da7ff7f97"),
            (31, "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
            (32, "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
        ] {
            let mut buffer = text[..length].to_vec();
            aes.encrypt(&mut buffer);
            assert_eq!(hex::encode(&buffer), expected, "{length}");
        }
        for length in BLOCK..=text.len() {
            let mut buffer = text[..length].to_vec();
            aes.encrypt(&mut buffer);
            aes.decrypt(&mut buffer);
            assert_eq!(buffer, text[..length], "{length}");
        }
    }
}
