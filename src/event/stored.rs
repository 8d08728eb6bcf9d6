//! An upload as it is kept: the payload of one record of the spool.
//!
//! ```text
//! payload := version:u8 stream:text input:text only_output:(0 | 1 text) events:varint event*
//! event   := format:u8 length:varint raw
//! text    := length:varint UTF-8
//! ```
//!
//! Reading copies no event: each is a slice of the payload.

use std::sync::Arc;

use bytes::Bytes;

use super::Format;
use super::key::codec::{put_varint, take_varint};

/// The version that is written. Others are refused, so that an old gateway never misreads a newer spool.
const VERSION: u8 = 1;

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpload<'a> {
    /// The stream the events were uploaded to.
    pub stream: &'a str,
    /// The input they came by.
    pub input: &'a str,
    /// The one output they are for (a replay of dead letters); `None` for every output.
    pub only_output: Option<&'a str>,
    /// The events, in order.
    pub events: &'a [(Format, &'a [u8])],
}

/// What is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUploadOwned {
    /// The stream the events were uploaded to.
    pub stream: Arc<str>,
    /// The input they came by.
    pub input: Arc<str>,
    /// The one output they are for; `None` for every output.
    pub only_output: Option<Arc<str>>,
    /// The events, in order: slices of the payload.
    pub events: Vec<(Format, Bytes)>,
}

/// Why a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Written by a later version of the gateway.
    #[error("the stored upload has version {0}; this gateway reads version 1")]
    Version(u8),
    /// The bytes are not what [`encode`] writes.
    #[error("the stored upload is corrupt: {0}")]
    Corrupt(&'static str),
}

/// Writes an upload.
pub fn encode(upload: &StoredUpload<'_>) -> Vec<u8> {
    let size: usize = upload.events.iter().map(|(_, raw)| raw.len() + 4).sum();
    let mut payload = Vec::with_capacity(size + upload.stream.len() + upload.input.len() + 32);
    payload.push(VERSION);
    put_text(&mut payload, upload.stream);
    put_text(&mut payload, upload.input);
    payload.push(u8::from(upload.only_output.is_some()));
    if let Some(output) = upload.only_output {
        put_text(&mut payload, output);
    }
    put_varint(&mut payload, upload.events.len() as u64);
    for (format, raw) in upload.events {
        payload.push(*format as u8);
        put_varint(&mut payload, raw.len() as u64);
        payload.extend_from_slice(raw);
    }
    payload
}

/// Reads an upload.
///
/// # Errors
///
/// When the payload is of another version, or not what [`encode`] writes.
pub fn decode(payload: Bytes) -> Result<StoredUploadOwned, StoredError> {
    let mut input = Input { payload, pos: 0 };
    let version = input.byte()?;
    if version != VERSION {
        return Err(StoredError::Version(version));
    }
    let stream = input.text()?;
    let name = input.text()?;
    let only_output = match input.byte()? {
        0 => None,
        1 => Some(input.text()?),
        _ => return Err(StoredError::Corrupt("an unknown mark before the output")),
    };
    let count = input.varint()?;
    // Two bytes an event at least: this bounds what a corrupt count can allocate.
    if count > (input.payload.len() - input.pos) / 2 {
        return Err(StoredError::Corrupt("more events than bytes"));
    }
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        let format = match input.byte()? {
            1 => Format::Xml,
            2 => Format::Json,
            _ => return Err(StoredError::Corrupt("an event of unknown format")),
        };
        events.push((format, input.bytes()?));
    }
    if input.pos < input.payload.len() {
        return Err(StoredError::Corrupt("bytes follow the last event"));
    }
    Ok(StoredUploadOwned { stream, input: name, only_output, events })
}

fn put_text(payload: &mut Vec<u8>, text: &str) {
    put_varint(payload, text.len() as u64);
    payload.extend_from_slice(text.as_bytes());
}

struct Input {
    payload: Bytes,
    pos: usize,
}

impl Input {
    fn byte(&mut self) -> Result<u8, StoredError> {
        let byte = self.payload.get(self.pos).copied().ok_or(StoredError::Corrupt("it is cut off"))?;
        self.pos += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<usize, StoredError> {
        let (number, length) = take_varint(&self.payload[self.pos..]).ok_or(StoredError::Corrupt("it is cut off"))?;
        self.pos += length;
        usize::try_from(number).map_err(|_| StoredError::Corrupt("a length beyond memory"))
    }

    fn bytes(&mut self) -> Result<Bytes, StoredError> {
        let length = self.varint()?;
        if length > self.payload.len() - self.pos {
            return Err(StoredError::Corrupt("it is cut off"));
        }
        self.pos += length;
        Ok(self.payload.slice(self.pos - length..self.pos))
    }

    fn text(&mut self) -> Result<Arc<str>, StoredError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| StoredError::Corrupt("a name is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back_what_was_written(stream in ".{0,20}", input in ".{0,20}", output in proptest::option::of(".{0,9}"), raws in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..20)) {
            let events: Vec<_> = raws.iter().map(|(xml, raw)| (if *xml { Format::Xml } else { Format::Json }, &raw[..])).collect();
            let upload = StoredUpload { stream: &stream, input: &input, only_output: output.as_deref(), events: &events };
            let payload = Bytes::from(encode(&upload));
            let read = decode(payload.clone()).expect("reads back");
            prop_assert_eq!((&*read.stream, &*read.input, read.only_output.as_deref()), (&*stream, &*input, output.as_deref()));
            let back: Vec<_> = read.events.iter().map(|(format, raw)| (*format, &raw[..])).collect();
            prop_assert_eq!(back, events);
            for (_, raw) in &read.events {
                prop_assert!(raw.is_empty() || payload.as_ptr_range().contains(&raw.as_ptr()), "events are slices of the payload");
            }
            for cut in 0..payload.len() {
                prop_assert!(decode(payload.slice(..cut)).is_err());
            }
        }

        #[test]
        fn hostile_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut payload = vec![VERSION];
            payload.extend(bytes);
            if let Ok(read) = decode(Bytes::from(payload.clone())) {
                prop_assert!(read.events.len() <= payload.len());
            }
        }
    }
}
