//! What a collector holds: the identity of each event it accepted, and how often.
//!
//! Identities are read with serde_json and not with the gateway's own scanners, so that the judge of the gateway does
//! not share its mistakes.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::events::Identity;

/// Events by identity, with how often each was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// How often each event was accepted.
    pub events: HashMap<Identity, u32>,
    /// Records without a computer, a channel and a record id.
    pub strangers: u64,
}

impl Held {
    /// Adds everything that another collector holds.
    pub fn merge(&mut self, other: &Self) {
        self.strangers += other.strangers;
        for (identity, times) in &other.events {
            *self.events.entry(identity.clone()).or_default() += times;
        }
    }

    /// Records held, repeats and strangers included.
    pub fn records(&self) -> u64 {
        self.events.values().map(|times| u64::from(*times)).sum::<u64>() + self.strangers
    }

    /// Events that are held more than once.
    pub fn repeated(&self) -> u64 {
        self.events.values().filter(|times| **times > 1).count() as u64
    }

    /// How often events were accepted beyond the first time.
    pub fn copies(&self) -> u64 {
        self.events.values().map(|times| u64::from(*times) - 1).sum()
    }

    /// Takes in the records of a body and tells how many there are. Nothing is taken when any of it cannot be read.
    pub fn take(&mut self, body: &[u8]) -> Result<u64, String> {
        let found = identities(body)?;
        let records = found.len() as u64;
        for identity in found {
            match identity {
                Some(identity) => *self.events.entry(identity).or_default() += 1,
                None => self.strangers += 1,
            }
        }
        Ok(records)
    }
}

/// The identities in a body: a JSON array, or JSON objects and `<Event>` elements one after the other.
fn identities(body: &[u8]) -> Result<Vec<Option<Identity>>, String> {
    let body = body.trim_ascii();
    if body.starts_with(b"[") {
        let records: Vec<Record<'_>> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        return Ok(records.iter().map(Record::identity).collect());
    }
    if body.starts_with(b"<") {
        let text = std::str::from_utf8(body).map_err(|e| e.to_string())?;
        return Ok(text.split("</Event>").filter(|e| !e.trim().is_empty()).map(xml_identity).collect());
    }
    let records = serde_json::Deserializer::from_slice(body).into_iter::<Record<'_>>();
    records.map(|record| record.map(|r| r.identity()).map_err(|e| e.to_string())).collect()
}

fn xml_identity(event: &str) -> Option<Identity> {
    let text = |tag: &str| event.split_once(&format!("<{tag}>"))?.1.split_once('<').map(|(text, _)| text);
    Some(Identity::new(text("Computer")?, text("Channel")?, text("EventRecordID")?.parse().ok()?))
}

/// The identifying members of a row, or of the `System` object inside a nested event.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "Event")]
    event: Option<Nested<'a>>,
    #[serde(borrow, rename = "Computer")]
    computer: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "Channel")]
    channel: Option<Cow<'a, str>>,
    #[serde(default, rename = "EventRecordId", alias = "EventRecordID", deserialize_with = "number_or_text")]
    record_id: Option<u64>,
}

#[derive(Deserialize)]
struct Nested<'a> {
    #[serde(borrow, rename = "System")]
    system: Box<Record<'a>>,
}

impl Record<'_> {
    fn identity(&self) -> Option<Identity> {
        match &self.event {
            Some(nested) => nested.system.identity(),
            None => Some(Identity::new(self.computer.as_deref()?, self.channel.as_deref()?, self.record_id?)),
        }
    }
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value<'a> {
        Number(u64),
        #[serde(borrow)]
        Text(Cow<'a, str>),
        Other(IgnoredAny),
    }
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(n) => Some(n),
        Value::Text(text) => text.parse().ok(),
        Value::Other(_) => None,
    })
}
