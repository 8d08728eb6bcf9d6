//! Messages sealed under the key of a context, as Windows lays them out (RFC 4121, 4.2.4, turned right by the length of the
//! tail):
//!
//! ```text
//! u32 length of the signature, least first | header 16 | tail: header encrypted 16, code | confounder 16 | the message
//!                                          └──────────────────── signature ────────────────────────────┘
//! ```
//!
//! The library of Kerberos opens some 110 MB in a second of a core, and its form for streams ends the process on forged tokens
//! of an old kind. These few steps of AES are taken here instead, several times as fast, on bytes whose lengths were looked at
//! before. Messages are numbered: one that is missing, late or repeated ends the channel, as does one that is forged.

use aws_lc_rs::rand;
use bytes::{Buf as _, BytesMut};

use super::cipher::Key;
use super::cts::BLOCK;

/// The number of a purpose, as RFC 4121, 2 has it.
const FROM_ACCEPTOR: u32 = 22;
const FROM_INITIATOR: u32 = 24;

const HEADER: usize = 16;
const LENGTH: usize = 4;
/// Sealed, under a key that the acceptor made.
const OF_INITIATOR: u8 = 6;
/// The same, from the acceptor.
const OF_ACCEPTOR: u8 = 7;

/// Why a message cannot be opened. Whatever it is, the channel is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is shorter than its signature says, or its signature has another length than this key makes.
    #[error("a sealed message is shorter than it says, or its signature has a wrong length")]
    Length,
    /// It is of another kind: not encrypted, sealed by the other side, or laid out otherwise.
    #[error("a sealed message is not of the kind that Windows sends")]
    Kind,
    /// It was made with another key, or changed on its way.
    #[error("the seal of a message is not right")]
    Forged,
    /// It is not the next one.
    #[error("a sealed message is missing, late or repeated")]
    Order,
    /// One before could not be opened.
    #[error("the connection is no longer good, since a sealed message before could not be opened")]
    Ended,
}

/// Both directions of a context, seen from the acceptor.
#[derive(Debug)]
pub struct Channel {
    key: Key,
    next: u64,
    /// How many messages the library may have numbered already.
    may_skip: u64,
    seals: u64,
    is_ended: bool,
}

impl Channel {
    /// Under this key. The other side numbers from `next` on, or `may_skip` later; this one from `seals` on.
    pub fn new(key: Key, next: u64, may_skip: u64, seals: u64) -> Self {
        Self { key, next, may_skip, seals, is_ended: false }
    }

    /// How long a signature is.
    fn signature(&self) -> usize {
        HEADER + self.tail() + BLOCK
    }

    fn tail(&self) -> usize {
        HEADER + self.key.enctype().tag_length()
    }

    /// The message in `sealed`, which begins with the length of its signature.
    ///
    /// # Errors
    ///
    /// When it is not the next message of the other side. The channel is at its end then.
    pub fn open(&mut self, sealed: BytesMut) -> Result<BytesMut, OpenError> {
        if self.is_ended {
            return Err(OpenError::Ended);
        }
        let opened = self.opened(sealed);
        self.is_ended = opened.is_err();
        opened
    }

    fn opened(&mut self, mut sealed: BytesMut) -> Result<BytesMut, OpenError> {
        let header = self.header_of(&sealed)?;
        let tail = sealed[LENGTH + HEADER..LENGTH + HEADER + self.tail()].to_vec();
        sealed.advance(LENGTH + HEADER + self.tail());
        sealed.extend_from_slice(&tail[..HEADER]);
        let cipher = self.key.cipher(FROM_INITIATOR);
        cipher.decrypt(&mut sealed, &tail[HEADER..]).map_err(|_| OpenError::Forged)?;
        let end = sealed.len() - HEADER;
        let unturned = Header { turned: 0, ..header };
        if sealed[end..] != unturned.bytes() {
            return Err(OpenError::Forged);
        }
        self.count(header.number)?;
        sealed.truncate(end);
        sealed.advance(BLOCK);
        Ok(sealed)
    }

    /// The header, if everything that can be known before opening is right.
    fn header_of(&self, sealed: &[u8]) -> Result<Header, OpenError> {
        let (length, rest) = sealed.split_first_chunk::<LENGTH>().ok_or(OpenError::Length)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| OpenError::Length)?;
        if length != self.signature() || rest.len() < length {
            return Err(OpenError::Length);
        }
        let header = Header::read(rest).ok_or(OpenError::Kind)?;
        let is_right = header.flags == OF_INITIATOR && usize::from(header.turned) == self.tail();
        if is_right { Ok(header) } else { Err(OpenError::Kind) }
    }

    fn count(&mut self, number: u64) -> Result<(), OpenError> {
        let skipped = number.wrapping_sub(self.next);
        if skipped > self.may_skip {
            return Err(OpenError::Order);
        }
        (self.next, self.may_skip) = (number.wrapping_add(1), 0);
        Ok(())
    }

    /// Seals the next message of this side; the length of the signature stands in front.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        let header = Header { flags: OF_ACCEPTOR, turned: self.tail() as u16, number: self.seals };
        self.seals = self.seals.wrapping_add(1);
        sealed(&self.key, FROM_ACCEPTOR, header, message)
    }

    /// Whether a token of the library, as it makes them for any other protocol, is the next message of this side: then the key
    /// is the one that the library has, and its number is where this side begins.
    pub fn knows_own(key: &Key, token: &[u8], message: &[u8]) -> Option<u64> {
        let header = Header::read(token)?;
        let (text, tag) = token.get(HEADER..)?.split_at_checked(BLOCK + message.len() + HEADER)?;
        let mut text = text.to_vec();
        key.cipher(FROM_ACCEPTOR).decrypt(&mut text, tag).ok()?;
        let is_right = header.flags == OF_ACCEPTOR && header.turned == 0 && text[BLOCK..].starts_with(message);
        is_right.then_some(header.number)
    }
}

/// Where a token begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    flags: u8,
    turned: u16,
    number: u64,
}

impl Header {
    fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [5, 4, self.flags, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[6..8].copy_from_slice(&self.turned.to_be_bytes());
        bytes[8..].copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    /// One that is of this kind, and has nothing to fill up a block.
    fn read(token: &[u8]) -> Option<Self> {
        let bytes: [u8; HEADER] = *token.first_chunk()?;
        let turned = u16::from_be_bytes([bytes[6], bytes[7]]);
        let number = u64::from_be_bytes(*bytes.last_chunk()?);
        let header = Self { flags: bytes[2], turned, number };
        (header.bytes() == bytes).then_some(header)
    }
}

fn sealed(key: &Key, usage: u32, header: Header, message: &[u8]) -> Vec<u8> {
    let tail = HEADER + key.enctype().tag_length();
    let signature = HEADER + tail + BLOCK;
    let mut confounder = [0; BLOCK];
    rand::fill(&mut confounder).expect("the system has random numbers");
    let unturned = Header { turned: 0, ..header }.bytes();
    let mut text = [&confounder[..], message, &unturned].concat();
    let tag = key.cipher(usage).encrypt(&mut text);
    let (text, encrypted_header) = text.split_at(BLOCK + message.len());
    let length = u32::try_from(signature).expect("a signature is short").to_le_bytes();
    [&length[..], &header.bytes(), encrypted_header, &tag, text].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [(i64, usize, usize); 4] = [(17, 16, 60), (18, 32, 60), (19, 16, 64), (20, 32, 72)];

    fn key(kind: i64, length: usize) -> Key {
        Key::new(kind, &vec![5; length]).expect("a key")
    }

    /// As a host seals.
    fn from_host(key: &Key, number: u64, message: &[u8]) -> BytesMut {
        let turned = (HEADER + key.enctype().tag_length()) as u16;
        sealed(key, FROM_INITIATOR, Header { flags: OF_INITIATOR, turned, number }, message)[..].into()
    }

    #[test]
    fn messages_come_out_as_they_went_in_whatever_their_length() {
        for (kind, length, signature) in KINDS {
            let key = key(kind, length);
            let mut channel = Channel::new(key.clone(), 7, 0, 40);
            for (number, size) in [0, 1, 15, 16, 17, 31, 32, 33, 3240, 70_000].into_iter().enumerate() {
                let message: Vec<u8> = (0..size).map(|at| at as u8).collect();
                let sealed = from_host(&key, 7 + number as u64, &message);
                assert_eq!(sealed.len(), LENGTH + signature + size);
                assert_eq!(channel.open(sealed).as_deref(), Ok(&message[..]), "{kind} {size}");
            }
            let answer = channel.seal(b"answer");
            assert_eq!(answer.len(), LENGTH + signature + 6);
            assert_eq!(answer[LENGTH..LENGTH + 4], [5, 4, OF_ACCEPTOR, 0xff]);
            assert_ne!(channel.seal(b"answer"), answer);
        }
    }

    #[test]
    fn what_is_changed_anywhere_or_cut_is_refused_and_ends_the_channel() {
        let key = key(18, 32);
        let sealed = from_host(&key, 1, b"some message");
        for at in 0..sealed.len() {
            let mut channel = Channel::new(key.clone(), 1, 0, 0);
            let mut changed = sealed.clone();
            changed[at] ^= 0x10;
            assert!(channel.open(changed).is_err(), "{at}");
            assert_eq!(channel.open(sealed.clone()), Err(OpenError::Ended));
            assert!(Channel::new(key.clone(), 1, 0, 0).open(sealed[..at].into()).is_err(), "{at}");
        }
        let mut reflected = Channel::new(key.clone(), 0, 0, 0);
        let own = reflected.seal(b"own");
        assert_eq!(reflected.open(own[..].into()), Err(OpenError::Kind), "its own message comes back");
    }

    #[test]
    fn messages_that_are_missing_late_or_repeated_are_refused() {
        let key = key(17, 16);
        let message = |number| from_host(&key, number, b"m");
        let first = |number, may_skip| Channel::new(key.clone(), 5, may_skip, 0).open(message(number)).map(drop);
        assert_eq!([4, 5, 6].map(|number| first(number, 0).is_ok()), [false, true, false]);
        assert_eq!([5, 6, 7].map(|number| first(number, 1).is_ok()), [true, true, false]);
        for then in [5, 6, 8] {
            let mut channel = Channel::new(key.clone(), 5, 1, 0);
            assert!(channel.open(message(6)).is_ok());
            assert_eq!(channel.open(message(then)).map(drop), Err(OpenError::Order), "{then}");
        }
    }

    #[test]
    fn a_token_without_encryption_or_of_an_old_kind_is_refused_before_it_is_opened() {
        let key = key(18, 32);
        for start in [[1, 1, 0, 0], [2, 1, 0x11, 0], [5, 4, 4, 0xff], [5, 4, 2, 0xff], [4, 4, 6, 0xff]] {
            let mut sealed = from_host(&key, 0, b"m");
            sealed[LENGTH..LENGTH + 4].copy_from_slice(&start);
            assert_eq!(Channel::new(key.clone(), 0, 0, 0).open(sealed), Err(OpenError::Kind), "{start:?}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_before_they_are_believed() {
        let key = key(18, 32);
        for length in [0, 16, 59, 61, 64, 72, 1 << 20, u32::MAX] {
            let mut sealed = from_host(&key, 0, b"m");
            sealed[..LENGTH].copy_from_slice(&length.to_le_bytes());
            assert_eq!(Channel::new(key.clone(), 0, 0, 0).open(sealed), Err(OpenError::Length), "{length}");
        }
    }
}
