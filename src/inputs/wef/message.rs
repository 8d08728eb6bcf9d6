//! A body of a request, as far as it can be read without knowing whose it is: decompressed, as text, its events moved together.

use bytes::Bytes;
use http::{HeaderMap, header};

use super::envelope::{Charset, ENVELOPE_MAX, Envelope, EnvelopeError, Gathered, Header, text};
use super::forwarder;
use super::sldc::{self, SldcError};
use crate::inputs::http::body::Share;
use crate::inputs::reason::{Failure, Reason};

/// What a host says.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) charset: Charset,
    pub(super) header: Header,
    pub(super) fault: Option<String>,
    pub(super) events: Gathered,
    /// Events of the forwarder itself, which are left out.
    pub(super) own: u64,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is.
    None,
    /// In SLDC.
    Sldc,
}

impl Packing {
    /// What the headers say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut given = headers.get_all(header::CONTENT_ENCODING).iter();
        let (Some(first), None) = (given.next(), given.next()) else {
            return Ok(Self::None);
        };
        match first.as_bytes().trim_ascii() {
            b"" => Ok(Self::None),
            name if name.eq_ignore_ascii_case(b"sldc") => Ok(Self::Sldc),
            name if name.eq_ignore_ascii_case(b"identity") => Ok(Self::None),
            _ => Err(Failure::new(Reason::ENCODING, "forwarded events are compressed with SLDC or not at all")),
        }
    }
}

impl Message {
    /// Reads a body. `share` grows with what comes out, before it does.
    pub(super) fn read(wire: Bytes, packing: Packing, share: &mut Share) -> Result<Self, Failure> {
        let body = match packing {
            Packing::None => wire,
            Packing::Sldc => unpacked(wire, share)?,
        };
        share.grow_to((body.len() + text::room(&body)) as u64)?;
        let envelope = Envelope::read(&body)?;
        let charset = Charset::of(&body);
        drop(body);
        let (header, fault) = (envelope.header.clone(), envelope.fault.clone());
        let mut own = 0;
        let events = envelope.gather(|event| {
            let is_own = forwarder::is_own(event);
            own += u64::from(is_own);
            !is_own
        });
        share.shrink_to(events.text.capacity() as u64);
        Ok(Self { charset, header, fault, events, own })
    }
}

/// Windows says SLDC of the `End` behind a `SubscriptionEnd`, which is plain.
fn unpacked(wire: Bytes, share: &mut Share) -> Result<Bytes, Failure> {
    let length = wire.len();
    match sldc::decode(&wire, ENVELOPE_MAX, |bytes| share.grow_to((length + bytes) as u64).is_ok()) {
        Ok(plain) => Ok(plain.into()),
        Err(SldcError::Damaged(_)) if is_plain(&wire) => Ok(wire),
        Err(error) => Err(error.into()),
    }
}

fn is_plain(wire: &[u8]) -> bool {
    matches!(Charset::of(wire), Charset::Utf16(_)) || wire.trim_ascii_start().starts_with(b"<")
}

impl From<SldcError> for Failure {
    fn from(error: SldcError) -> Self {
        let reason = match error {
            SldcError::Damaged(_) => Reason::UNREADABLE,
            SldcError::TooLarge { .. } => Reason::BODY_TOO_LARGE,
            SldcError::NoRoom => Reason::BODY_MEMORY,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<EnvelopeError> for Failure {
    fn from(error: EnvelopeError) -> Self {
        let reason = if error == EnvelopeError::TooLarge { Reason::BODY_TOO_LARGE } else { Reason::UNREADABLE };
        Self::new(reason, error.to_string())
    }
}
