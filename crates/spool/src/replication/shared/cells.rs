//! What is asked of the servers: places that each keep their last message, in one stream.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::super::connection::{Connection, View};
use super::super::servers::{Away, Refused, Stored};
use super::super::streams::Which;

/// Places of a stream. A place is a subject without what all of the stream begin with.
pub(super) trait Cells: Send + Sync + 'static {
    /// Puts this in the place of the message at `after` (0: of none; none: of whatever is there). Where it is, once a quorum has it.
    fn put<'a>(&'a self, place: &'a str, after: Option<u64>, bytes: Bytes) -> BoxFuture<'a, Result<u64, Refused>>;

    /// What is at a place. A server that leads no more may answer for some seconds, with what was there before.
    fn get<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<Option<Stored>, Away>>;

    /// The stream, and which of these places are there; they may have wildcards.
    fn look<'a>(&'a self, places: &'a str) -> BoxFuture<'a, Result<View, Away>>;

    /// Empties those of these places that were written before this; they may have wildcards.
    fn remove<'a>(&'a self, places: &'a str, before: u64) -> BoxFuture<'a, Result<(), Away>>;

    /// Most bytes of a message.
    fn message_max(&self) -> usize;
}

/// Those of a stream at servers of NATS.
pub(super) struct AtServers {
    pub(super) connection: Arc<Connection>,
    pub(super) which: Which,
}

impl Cells for AtServers {
    fn put<'a>(&'a self, place: &'a str, after: Option<u64>, bytes: Bytes) -> BoxFuture<'a, Result<u64, Refused>> {
        Box::pin(self.connection.put(self.which, place, after, bytes))
    }

    fn get<'a>(&'a self, place: &'a str) -> BoxFuture<'a, Result<Option<Stored>, Away>> {
        Box::pin(self.connection.get(self.which, place, None))
    }

    fn look<'a>(&'a self, places: &'a str) -> BoxFuture<'a, Result<View, Away>> {
        Box::pin(self.connection.look(self.which, places))
    }

    fn remove<'a>(&'a self, places: &'a str, before: u64) -> BoxFuture<'a, Result<(), Away>> {
        Box::pin(self.connection.remove(self.which, places, before))
    }

    fn message_max(&self) -> usize {
        self.connection.message_max()
    }
}

/// A name as one word of a subject: what may not stand there, and `_`, is written as its bytes.
pub(super) fn word(name: &str) -> String {
    let mut word = String::from("n");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            word.push(char::from(byte));
        } else {
            word.push_str(&format!("_{byte:02x}"));
        }
    }
    word
}

/// What a word was made of; `None` where it was not made so.
pub(super) fn name(word: &str) -> Option<String> {
    let mut parts = word.strip_prefix('n')?.split('_');
    let mut name = parts.next()?.as_bytes().to_vec();
    for part in parts {
        name.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        name.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_word_and_is_read_as_it_was() {
        for given in ["", "token-keys", "a.b", "a b", "*", ">", "_", "a_2e", "ü\0", "$"] {
            let word = word(given);
            assert!(word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{word}");
            assert_eq!(name(&word).as_deref(), Some(given), "{word}");
        }
        assert_eq!([name("token"), name("na_"), name("na_zz")], [None, None, None]);
    }
}
