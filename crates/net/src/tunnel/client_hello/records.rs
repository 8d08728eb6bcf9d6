//! The first handshake message of a TLS stream, put together from records.
//!
//! Peers may cut a message into records, and the network records into segments, at any byte. Each record is looked at
//! once, when it is whole; a partial one costs a look at its five bytes of header.

/// The most bytes on the wire, record headers included, that are looked at for one message.
pub(super) const WIRE_MAX: usize = 64 << 10;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// The longest fragment of a record that is not encrypted.
const FRAGMENT_MAX: usize = 1 << 14;
/// TLS 1.3 forbids empty handshake records, some old stacks have sent them; a flood of them is an attack.
const EMPTY_RECORDS_MAX: u8 = 16;

const HANDSHAKE: u8 = 22;
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=24;
const MAJOR: u8 = 3;

/// Collects the records of one direction until its first handshake message is whole.
#[derive(Debug, Default)]
pub(super) struct FirstMessage {
    message: Vec<u8>,
    taken: usize,
    empty_records: u8,
}

/// What a direction begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not decided yet.
    More,
    /// A handshake message, which is whole and ends with the byte before `end`, the end of a record.
    Message {
        /// Where the record ends that holds the end of the message.
        end: usize,
    },
    /// A record of another type, before any handshake message.
    Other(u8),
    /// No TLS.
    NotTls,
    /// A message that needs more than [`WIRE_MAX`].
    TooLarge,
    /// TLS, but not as it should be.
    Malformed(&'static str),
}

impl FirstMessage {
    /// Looks at the records of `bytes` that it has not seen. Call it again with the same bytes and more.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Found {
        while !self.is_whole() {
            let rest = bytes.get(self.taken..).unwrap_or_default();
            let length = match self.record_length(rest) {
                Ok(Some(length)) => length,
                Ok(None) => return self.more(bytes.len()),
                Err(found) => return found,
            };
            if length == 0 {
                // It is not taken, so that the answer stays the same however often somebody asks.
                if self.empty_records == EMPTY_RECORDS_MAX {
                    return Found::Malformed("too many empty records");
                }
                self.empty_records += 1;
            }
            let Some(fragment) = rest.get(RECORD_HEADER..RECORD_HEADER + length) else { return self.more(bytes.len()) };
            if self.taken + RECORD_HEADER + length > WIRE_MAX {
                return Found::TooLarge;
            }
            self.message.extend_from_slice(fragment);
            self.taken += RECORD_HEADER + length;
            if self.length().is_some_and(|length| length > WIRE_MAX) {
                return Found::TooLarge;
            }
        }
        Found::Message { end: self.taken }
    }

    /// The type of the message, as soon as it is known.
    pub(super) fn kind(&self) -> Option<u8> {
        self.message.first().copied()
    }

    /// The message without its header, once it is whole.
    pub(super) fn body(&self) -> &[u8] {
        let end = MESSAGE_HEADER + self.length().unwrap_or(0);
        self.message.get(MESSAGE_HEADER..end).unwrap_or_default()
    }

    /// Whether another message begins in the record in which this one ends.
    pub(super) fn is_followed(&self) -> bool {
        self.length().is_some_and(|length| self.message.len() > MESSAGE_HEADER + length)
    }

    fn is_whole(&self) -> bool {
        self.length().is_some_and(|length| self.message.len() >= MESSAGE_HEADER + length)
    }

    fn length(&self) -> Option<usize> {
        let [_, a, b, c] = *self.message.first_chunk::<MESSAGE_HEADER>()?;
        usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
    }

    fn more(&self, received: usize) -> Found {
        if received >= WIRE_MAX { Found::TooLarge } else { Found::More }
    }

    /// The length that the header of a handshake record claims; none while the header is not all there. Each wrong byte
    /// is seen when it comes.
    ///
    /// What looks like a record of TLS, but not like one that may stand here, is not taken for another protocol: where
    /// rules let other protocols pass, a lenient server would read on to a ClientHello that nobody has checked.
    fn record_length(&self, header: &[u8]) -> Result<Option<usize>, Found> {
        let is_first = self.taken == 0;
        match header {
            [kind, ..] if is_first && !RECORD_TYPES.contains(kind) => return Err(Found::NotTls),
            [kind, ..] if !is_first && *kind != HANDSHAKE => {
                return Err(Found::Malformed("a record of another type stands within a handshake message"));
            }
            [kind, major, ..] if is_first && *kind != HANDSHAKE && *major != MAJOR => return Err(Found::NotTls),
            [_, major, ..] if *major != MAJOR => {
                return Err(Found::Malformed("the version of a record is none of TLS"));
            }
            [kind, _, ..] if is_first && *kind != HANDSHAKE => return Err(Found::Other(*kind)),
            _ => {}
        }
        let Some(&[high, low]) = header.get(3..RECORD_HEADER) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > FRAGMENT_MAX {
            return Err(Found::Malformed("a record is longer than 16 KiB"));
        }
        Ok(Some(length))
    }
}
