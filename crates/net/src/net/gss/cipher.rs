//! The encryption types of Kerberos that are taken here, which are those with AES: RFC 3962 (SHA-1) and RFC 8009 (SHA-2).
//!
//! RC4 and DES are not among them. What was sealed with those is refused wherever it comes.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::cts::{Aes, BLOCK, stretched};

/// An encryption type, by its number in Kerberos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enctype {
    /// aes128-cts-hmac-sha1-96
    Aes128Sha1 = 17,
    /// aes256-cts-hmac-sha1-96
    Aes256Sha1 = 18,
    /// aes128-cts-hmac-sha256-128
    Aes128Sha2 = 19,
    /// aes256-cts-hmac-sha384-192
    Aes256Sha2 = 20,
}

/// Why there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Of another type than those with AES.
    #[error("encryption type {0} is not one with AES; enable AES for the account, and make its ticket and keytab anew")]
    Type(i64),
    /// Of the wrong length.
    #[error("a key has the wrong length")]
    Length,
}

/// The seal is not right: the message was made with another key, or changed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal is not right")]
pub struct Forged;

impl Enctype {
    /// The one of this number.
    ///
    /// # Errors
    ///
    /// When it is none with AES.
    pub fn of(number: i64) -> Result<Self, KeyError> {
        let all = [Self::Aes128Sha1, Self::Aes256Sha1, Self::Aes128Sha2, Self::Aes256Sha2];
        all.into_iter().find(|kind| *kind as i64 == number).ok_or(KeyError::Type(number))
    }

    fn key_length(self) -> usize {
        if matches!(self, Self::Aes128Sha1 | Self::Aes128Sha2) { 16 } else { 32 }
    }

    /// How long the code is that seals a message.
    pub fn tag_length(self) -> usize {
        match self {
            Self::Aes128Sha1 | Self::Aes256Sha1 => 12,
            Self::Aes128Sha2 => 16,
            Self::Aes256Sha2 => 24,
        }
    }

    fn hash(self) -> hmac::Algorithm {
        match self {
            Self::Aes128Sha1 | Self::Aes256Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Aes128Sha2 => hmac::HMAC_SHA256,
            Self::Aes256Sha2 => hmac::HMAC_SHA384,
        }
    }

    fn is_sha1(self) -> bool {
        matches!(self, Self::Aes128Sha1 | Self::Aes256Sha1)
    }
}

/// A key, from which one for each purpose is derived.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    enctype: Enctype,
    bytes: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("enctype", &self.enctype).finish_non_exhaustive()
    }
}

impl Key {
    /// From its type and its bytes.
    ///
    /// # Errors
    ///
    /// When the type is none with AES, or they do not go together.
    pub fn new(enctype: i64, bytes: &[u8]) -> Result<Self, KeyError> {
        let enctype = Enctype::of(enctype)?;
        if bytes.len() != enctype.key_length() {
            return Err(KeyError::Length);
        }
        Ok(Self { enctype, bytes: bytes.to_vec() })
    }

    /// Its type.
    pub fn enctype(&self) -> Enctype {
        self.enctype
    }

    /// Its bytes: they belong into no log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What encrypts for one purpose, by the number that it has in Kerberos.
    pub fn cipher(&self, usage: u32) -> Cipher {
        let (encrypts, seals) = (self.derived(usage, 0xaa), self.derived(usage, 0x55));
        Cipher { enctype: self.enctype, aes: Aes::new(&encrypts), mac: hmac::Key::new(self.enctype.hash(), &seals) }
    }

    fn derived(&self, usage: u32, purpose: u8) -> Vec<u8> {
        let [a, b, c, d] = usage.to_be_bytes();
        let constant = [a, b, c, d, purpose];
        if self.enctype.is_sha1() {
            return self.derived_by_aes(&constant);
        }
        let length = match (self.enctype, purpose) {
            (Enctype::Aes256Sha2, 0x55) => 24,
            (kind, _) => kind.key_length(),
        };
        let bits = u32::try_from(length * 8).expect("a key is short").to_be_bytes();
        let input = [&[0, 0, 0, 1][..], &constant, &[0], &bits].concat();
        let made = hmac::sign(&hmac::Key::new(self.enctype.hash(), &self.bytes), &input);
        made.as_ref()[..length].to_vec()
    }

    /// RFC 3961, 5.1: the constant, encrypted as often as it takes.
    fn derived_by_aes(&self, constant: &[u8]) -> Vec<u8> {
        let aes = Aes::new(&self.bytes);
        let first = aes.block(stretched(constant));
        let mut made = first.to_vec();
        if self.enctype.key_length() > BLOCK {
            made.extend_from_slice(&aes.block(first));
        }
        made
    }
}

/// A key for one purpose.
pub struct Cipher {
    enctype: Enctype,
    aes: Aes,
    mac: hmac::Key,
}

impl Cipher {
    /// Encrypts in place and gives the code that seals it. The first block of `text` must be random.
    pub fn encrypt(&self, text: &mut [u8]) -> Vec<u8> {
        if self.enctype.is_sha1() {
            let tag = self.tag(text);
            self.aes.encrypt(text);
            return tag;
        }
        self.aes.encrypt(text);
        self.tag(text)
    }

    /// Decrypts in place.
    ///
    /// # Errors
    ///
    /// When the code is not that of this text, or it is too short to be one; what stands in `text` then means nothing.
    pub fn decrypt(&self, text: &mut [u8], tag: &[u8]) -> Result<(), Forged> {
        if text.len() < BLOCK || tag.len() != self.enctype.tag_length() {
            return Err(Forged);
        }
        if self.enctype.is_sha1() {
            self.aes.decrypt(text);
            return self.verify(text, tag);
        }
        self.verify(text, tag)?;
        self.aes.decrypt(text);
        Ok(())
    }

    /// A message as it stands in tickets and the like: encrypted, with its code behind it.
    ///
    /// # Errors
    ///
    /// When the code is not that of this text.
    pub fn opened(&self, message: &[u8]) -> Result<Vec<u8>, Forged> {
        let length = message.len().checked_sub(self.enctype.tag_length()).ok_or(Forged)?;
        let (text, tag) = message.split_at(length);
        let mut text = text.to_vec();
        self.decrypt(&mut text, tag)?;
        Ok(text.split_off(BLOCK))
    }

    fn tag(&self, text: &[u8]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.mac);
        if !self.enctype.is_sha1() {
            context.update(&[0; BLOCK]);
        }
        context.update(text);
        context.sign().as_ref()[..self.enctype.tag_length()].to_vec()
    }

    fn verify(&self, text: &[u8], tag: &[u8]) -> Result<(), Forged> {
        constant_time::verify_slices_are_equal(&self.tag(text), tag).map_err(|_| Forged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
    }

    /// The vectors of RFC 8009, A.
    #[test]
    fn keys_of_sha2_are_derived_as_published() {
        let key = Key::new(19, &bytes("3705d96080c17728a0e800eab6e0d23c")).expect("a key");
        assert_eq!(key.derived(2, 0xaa), bytes("9b197dd1e8c5609d6e67c3e37c62c72e"));
        assert_eq!(key.derived(2, 0x55), bytes("9fda0e56ab2d85e1569a688696c26a6c"));
        let key = "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52";
        let key = Key::new(20, &bytes(key)).expect("a key");
        assert_eq!(key.derived(2, 0x55), bytes("69b16514e3cd8e56b82010d5c73012b622c4d00ffc23ed1f"));
    }

    #[test]
    fn messages_are_sealed_as_published() {
        let key = Key::new(19, &bytes("3705d96080c17728a0e800eab6e0d23c")).expect("a key");
        let message = bytes("ef85fb890bb8472f4dab20394dca781dad877eda39d50c870c0d5a0a8e48c718");
        assert_eq!(key.cipher(2).opened(&message), Ok(Vec::new()));
    }

    #[test]
    fn what_was_changed_or_made_with_another_key_is_not_opened() {
        for (enctype, length) in [(17, 16), (18, 32), (19, 16), (20, 32)] {
            let cipher = Key::new(enctype, &vec![7; length]).expect("a key").cipher(24);
            let text: Vec<u8> = (0..50).collect();
            let mut sealed = text.clone();
            let tag = cipher.encrypt(&mut sealed);
            let whole = [sealed.clone(), tag].concat();
            assert_eq!(cipher.opened(&whole).as_deref(), Ok(&text[BLOCK..]), "{enctype}");
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 1;
                assert_eq!(cipher.opened(&changed), Err(Forged), "{enctype} {at}");
            }
            for short in 0..whole.len() {
                assert_eq!(cipher.opened(&whole[..short]), Err(Forged), "{enctype} {short}");
            }
            let other = Key::new(enctype, &vec![8; length]).expect("a key");
            assert_eq!(other.cipher(24).opened(&whole), Err(Forged));
            assert_eq!(Key::new(enctype, &[7; 15]), Err(KeyError::Length));
        }
        assert_eq!(Key::new(23, &[0; 16]), Err(KeyError::Type(23)));
    }
}
