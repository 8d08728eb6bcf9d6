//! An upload as it is kept: the payload of one record of the spool.
//!
//! ```text
//! payload := version:u8 stream:text input:text client:(0 | 1 text) first_seen_ms:varint tries:varint
//!            routes sets events
//! routes  := count:varint (output:text (0 | 1 stream:text))*     a route without a stream keeps the upload's
//! sets    := count:varint (count:varint route:varint*)*          routes by their place in the table, from 0
//! events  := count:varint event*
//! event   := [set:varint] format:u8 length:varint raw
//! text    := length:varint UTF-8
//! ```
//!
//! The set of an event is 0 for every output in the upload's stream, else the place of its set, from 1. Without sets no
//! event tells one, so that who has no rules does not pay for them. The decision is kept with the event because it was
//! made when the event was acknowledged: a later change of the rules neither takes an event away from a workspace nor
//! sends it to another one.
//!
//! Versions 1 and 2 are read too: a spool outlives an upgrade. Neither had `client`, `first_seen_ms` and `tries`; version 1 had
//! `only_output:(0 | 1 text)` in place of routes and sets.
//!
//! Reading copies no event: each is a slice of the payload.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Format;
use super::key::codec::{put_varint, take_varint};

/// The version that is written. Later ones are refused, so that an old gateway never misreads a newer spool.
const VERSION: u8 = 3;
/// The version before clients.
const VERSION_WITHOUT_CLIENT: u8 = 2;
/// The version before routes.
const VERSION_WITHOUT_ROUTES: u8 = 1;

/// Most routes of one record.
pub const MAX_ROUTES: usize = 4096;
/// Most route sets of one record.
pub const MAX_SETS: usize = 4096;

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpload<'a> {
    /// The stream the events were uploaded to.
    pub stream: &'a str,
    /// The input they came by.
    pub input: &'a str,
    /// Who uploaded them, where the input's policy wants that kept.
    pub client: Option<&'a str>,
    /// When they were first seen, in milliseconds since 1970, for those that were dead letters in between; else 0.
    pub first_seen_ms: u64,
    /// How often they were dead letters; else 0.
    pub tries: u32,
    /// Where they go.
    pub routing: Routing<'a>,
    /// The events, in order.
    pub events: &'a [(Format, &'a [u8])],
}

/// Where the events of an upload go. By default each goes to every output, in the stream of the upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Routing<'a> {
    /// The sets 1, 2, …, each with at most one route to an output: [`MAX_SETS`] of them, and [`MAX_ROUTES`] different
    /// routes in all.
    pub sets: &'a [Vec<StoredRoute<'a>>],
    /// The set of each event; 0, also where the list ends too early, is every output in the stream of the upload.
    pub of_events: &'a [u16],
}

/// One way out of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredRoute<'a> {
    /// The output.
    pub output: &'a str,
    /// The stream there; `None` for the one that the event was uploaded to.
    pub stream: Option<&'a str>,
}

/// What is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUploadOwned {
    /// The stream the events were uploaded to.
    pub stream: Arc<str>,
    /// The input they came by.
    pub input: Arc<str>,
    /// Who uploaded them, where the input's policy wanted that kept.
    pub client: Option<Arc<str>>,
    /// When they were first seen, in milliseconds since 1970, for those that were dead letters in between; else 0.
    pub first_seen_ms: u64,
    /// How often they were dead letters; else 0.
    pub tries: u32,
    /// The events, in order: slices of the payload.
    pub events: Vec<(Format, Bytes)>,
    routes: Vec<OwnedRoute>,
    sets: Vec<Box<[u16]>>,
    /// One for each event, or none at all when there are no sets.
    set_numbers: Vec<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnedRoute {
    output: Arc<str>,
    stream: Option<Arc<str>>,
}

impl StoredUploadOwned {
    /// The number of the set of the event at this place; 0 for every output.
    pub fn set_of(&self, at: usize) -> usize {
        self.set_numbers.get(at).map_or(0, |number| usize::from(*number))
    }

    /// The sets 1, 2, … with their routes.
    pub fn sets(&self) -> impl Iterator<Item = Vec<StoredRoute<'_>>> {
        self.sets.iter().map(|set| {
            let routes = set.iter().map(|route| &self.routes[usize::from(*route)]);
            routes.map(|route| StoredRoute { output: &route.output, stream: route.stream.as_deref() }).collect()
        })
    }

    /// What each set, from 0 on, means for one output: the stream in which the events of the set go there, or `None`
    /// when they do not. Found once for a record, so that an event costs a look into a table.
    pub fn streams_to(&self, output: &str) -> Vec<Option<Arc<str>>> {
        let of_sets = self.sets.iter().map(|set| self.stream_to(output, set));
        std::iter::once(Some(Arc::clone(&self.stream))).chain(of_sets).collect()
    }

    /// Whether events of this set, from 0 on, go to more than one output.
    pub fn is_for_several(&self, set: usize) -> bool {
        set.checked_sub(1).is_none_or(|set| self.sets.get(set).is_some_and(|routes| routes.len() > 1))
    }

    fn stream_to(&self, output: &str, set: &[u16]) -> Option<Arc<str>> {
        let mut routes = set.iter().map(|route| &self.routes[usize::from(*route)]);
        let route = routes.find(|route| &*route.output == output)?;
        Some(Arc::clone(route.stream.as_ref().unwrap_or(&self.stream)))
    }
}

/// Why a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// Written by a later version of the gateway.
    #[error("the stored upload has version {0}; this gateway reads the versions 1 to 3")]
    Version(u8),
    /// The bytes are not what [`encode`] writes.
    #[error("the stored upload is corrupt: {0}")]
    Corrupt(&'static str),
}

/// Writes an upload.
pub fn encode(upload: &StoredUpload<'_>) -> Vec<u8> {
    let size: usize = upload.events.iter().map(|(_, raw)| raw.len() + 6).sum();
    let mut payload = Vec::with_capacity(size + upload.stream.len() + upload.input.len() + 32);
    payload.push(VERSION);
    put_text(&mut payload, upload.stream);
    put_text(&mut payload, upload.input);
    payload.push(u8::from(upload.client.is_some()));
    if let Some(client) = upload.client {
        put_text(&mut payload, client);
    }
    put_varint(&mut payload, upload.first_seen_ms);
    put_varint(&mut payload, u64::from(upload.tries));
    let Routing { sets, of_events } = upload.routing;
    put_routes_and_sets(&mut payload, sets);
    put_varint(&mut payload, upload.events.len() as u64);
    let numbers = of_events.iter().copied().chain(std::iter::repeat(0));
    for ((format, raw), number) in upload.events.iter().zip(numbers) {
        if !sets.is_empty() {
            put_varint(&mut payload, u64::from(number));
        }
        payload.push(*format as u8);
        put_varint(&mut payload, raw.len() as u64);
        payload.extend_from_slice(raw);
    }
    payload
}

fn put_routes_and_sets(payload: &mut Vec<u8>, sets: &[Vec<StoredRoute<'_>>]) {
    let mut places = HashMap::new();
    let mut routes = Vec::new();
    for route in sets.iter().flatten() {
        places.entry(route).or_insert_with(|| {
            routes.push(route);
            routes.len() - 1
        });
    }
    debug_assert!(routes.len() <= MAX_ROUTES && sets.len() <= MAX_SETS, "the caller keeps to the limits of a record");
    put_varint(payload, routes.len() as u64);
    for route in routes {
        put_text(payload, route.output);
        payload.push(u8::from(route.stream.is_some()));
        if let Some(stream) = route.stream {
            put_text(payload, stream);
        }
    }
    put_varint(payload, sets.len() as u64);
    for set in sets {
        put_varint(payload, set.len() as u64);
        for route in set {
            put_varint(payload, places[route] as u64);
        }
    }
}

/// Reads an upload.
///
/// # Errors
///
/// When the payload is of a later version, or not what [`encode`] writes.
pub fn decode(payload: Bytes) -> Result<StoredUploadOwned, StoredError> {
    decode_part(payload, None)
}

/// Reads what of an upload goes to one output: the other events are there without their bytes.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_for(output: &str, payload: Bytes) -> Result<StoredUploadOwned, StoredError> {
    decode_part(payload, Some(output))
}

fn decode_part(payload: Bytes, output: Option<&str>) -> Result<StoredUploadOwned, StoredError> {
    let mut bytes = Input { payload, pos: 0 };
    let version = bytes.byte()?;
    if !(VERSION_WITHOUT_ROUTES..=VERSION).contains(&version) {
        return Err(StoredError::Version(version));
    }
    let stream = bytes.text()?;
    let input = bytes.text()?;
    let mut upload = StoredUploadOwned {
        stream,
        input,
        client: None,
        first_seen_ms: 0,
        tries: 0,
        events: Vec::new(),
        routes: Vec::new(),
        sets: Vec::new(),
        set_numbers: Vec::new(),
    };
    if version > VERSION_WITHOUT_CLIENT {
        upload.client = bytes.optional_text("an unknown mark before the client")?;
        upload.first_seen_ms = bytes.varint()? as u64;
        upload.tries = u32::try_from(bytes.varint()?).map_err(|_| StoredError::Corrupt("too many tries"))?;
    }
    if version == VERSION_WITHOUT_ROUTES {
        if let Some(output) = bytes.optional_text("an unknown mark before the output")? {
            upload.routes.push(OwnedRoute { output, stream: None });
            upload.sets.push(Box::new([0]));
        }
        bytes.events(&mut upload, false, output)?;
        upload.set_numbers = vec![1; if upload.sets.is_empty() { 0 } else { upload.events.len() }];
    } else {
        upload.routes = bytes.routes()?;
        upload.sets = bytes.sets(upload.routes.len())?;
        let numbered = !upload.sets.is_empty();
        bytes.events(&mut upload, numbered, output)?;
    }
    if bytes.left() > 0 {
        return Err(StoredError::Corrupt("bytes follow the last event"));
    }
    Ok(upload)
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
    fn left(&self) -> usize {
        self.payload.len() - self.pos
    }

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

    /// How many of something follow. Each takes `least` bytes or more: this bounds what a corrupt count can allocate.
    fn count(&mut self, least: usize, too_many: &'static str) -> Result<usize, StoredError> {
        let count = self.varint()?;
        if count > self.left() / least { Err(StoredError::Corrupt(too_many)) } else { Ok(count) }
    }

    /// Where the bytes stand that come next, with their length before them.
    fn range(&mut self) -> Result<Range<usize>, StoredError> {
        let length = self.varint()?;
        if length > self.left() {
            return Err(StoredError::Corrupt("it is cut off"));
        }
        self.pos += length;
        Ok(self.pos - length..self.pos)
    }

    fn text(&mut self) -> Result<Arc<str>, StoredError> {
        let range = self.range()?;
        let text =
            std::str::from_utf8(&self.payload[range]).map_err(|_| StoredError::Corrupt("a name is not UTF-8"))?;
        Ok(Arc::from(text))
    }

    fn optional_text(&mut self, unknown_mark: &'static str) -> Result<Option<Arc<str>>, StoredError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(StoredError::Corrupt(unknown_mark)),
        }
    }

    fn routes(&mut self) -> Result<Vec<OwnedRoute>, StoredError> {
        let count = self.count(2, "more routes than bytes")?;
        if count > MAX_ROUTES {
            return Err(StoredError::Corrupt("more routes than a record may have"));
        }
        let route = |input: &mut Self| {
            let output = input.text()?;
            let stream = input.optional_text("an unknown mark before the stream of a route")?;
            Ok(OwnedRoute { output, stream })
        };
        (0..count).map(|_| route(self)).collect()
    }

    fn sets(&mut self, routes: usize) -> Result<Vec<Box<[u16]>>, StoredError> {
        let count = self.count(1, "more route sets than bytes")?;
        if count > MAX_SETS {
            return Err(StoredError::Corrupt("more route sets than a record may have"));
        }
        let set = |input: &mut Self| {
            let count = input.count(1, "a route set has more routes than bytes")?;
            (0..count).map(|_| input.number_below(routes, "a route set names a route that is not there")).collect()
        };
        (0..count).map(|_| set(self)).collect()
    }

    fn number_below(&mut self, end: usize, beyond: &'static str) -> Result<u16, StoredError> {
        let number = self.varint()?;
        if number >= end {
            return Err(StoredError::Corrupt(beyond));
        }
        u16::try_from(number).map_err(|_| StoredError::Corrupt(beyond))
    }

    /// Reads the events; the bytes of those that do not go to `output` are passed over, if there is one.
    fn events(
        &mut self,
        upload: &mut StoredUploadOwned,
        numbered: bool,
        output: Option<&str>,
    ) -> Result<(), StoredError> {
        let count = self.count(if numbered { 3 } else { 2 }, "more events than bytes")?;
        upload.events.reserve_exact(count);
        upload.set_numbers.reserve_exact(if numbered { count } else { 0 });
        let goes = |stream: Option<Arc<str>>| stream.is_some();
        let wanted: Option<Vec<bool>> =
            output.filter(|_| numbered).map(|output| upload.streams_to(output).into_iter().map(goes).collect());
        for _ in 0..count {
            let mut is_wanted = true;
            if numbered {
                let end = upload.sets.len() + 1;
                let set = self.number_below(end, "an event names a route set that is not there")?;
                is_wanted = wanted.as_ref().is_none_or(|wanted| wanted[usize::from(set)]);
                upload.set_numbers.push(set);
            }
            let format = match self.byte()? {
                1 => Format::Xml,
                2 => Format::Json,
                _ => return Err(StoredError::Corrupt("an event of unknown format")),
            };
            let raw = self.range()?;
            upload.events.push((format, if is_wanted { self.payload.slice(raw) } else { Bytes::new() }));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "stored_tests.rs"]
mod tests;
