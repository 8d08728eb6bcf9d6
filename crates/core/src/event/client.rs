//! Who sent an upload, and for which computers it may speak.
//!
//! Without a binding anybody who may upload can write events in anybody's name. A binding tells the computers and the Azure
//! resources whose events a client carries; what does not fit is *foreign*. A list that is empty fits nothing: whoever
//! binds a client says all that it may name. An event that names no computer and no resource says nothing that could be
//! wrong, and passes. One that names several must fit with each of them, and one that cannot be understood here is foreign:
//! it might be understood elsewhere.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use memchr::memmem;
use schemars::JsonSchema;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer as _, Serialize};
use serde_json::value::RawValue;

use super::computers::Computers;
use super::names::{fits, host_fits, is_named, short_name_fits};
use super::{Event, Format};

/// The column that ties a row to an Azure resource.
const RESOURCE_ID: &str = "_ResourceId";

/// Who sent an upload, as far as the listener could tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// A name for logs and the status page: a token's name, a certificate's subject, an address.
    pub name: Arc<str>,
    /// The scope of its event keys: events are only compared within one scope, so that a stranger cannot make
    /// someone else's coming event look like a duplicate. Agents that may carry the same events share a group.
    pub scope: Arc<str>,
    /// What tells this upload of it from others, where records that have no identity of their own are known by their upload and
    /// their place in it; `None` where they are known by their content. Equal marks mean that an upload is repeated.
    pub upload_mark: Option<[u8; 32]>,
    /// The source address; `None` where there is none (files, replays).
    pub address: Option<IpAddr>,
    /// What it calls itself (`User-Agent`), where it tells: at most 128 printable characters.
    pub agent: Option<Arc<str>>,
    /// The names in its verified certificate, common name first; empty without one.
    pub identities: Arc<[String]>,
    /// The agent group that its credentials belong to.
    pub group: Option<Arc<str>>,
    /// What is done about events that are not this client's to send.
    pub policy: IdentityPolicy,
    /// Whose events it carries.
    pub binding: Binding,
}

/// What is done about events that are not their sender's to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityPolicy {
    /// Nothing is compared, and nobody's name is kept.
    #[default]
    Off,
    /// Every event is kept with the name of the client that sent it; those of foreign computers are counted.
    Tag,
    /// An upload with an event of a foreign computer is refused whole; what is kept is kept with its client's name.
    Enforce,
}

/// The computers and resources that a client speaks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Binding {
    /// Names of computers, short or in full, with `*` for any part: what a configuration says.
    pub hosts: Arc<[String]>,
    /// Names of computers that stand for themselves, whatever is in them: what a certificate says. Who asks an authority for
    /// the name `*` must not get every computer.
    pub names: Arc<[String]>,
    /// Azure resource ids, with `*` for any part.
    pub resource_ids: Arc<[String]>,
    /// What binds it beside this, where it had to show two things. What that says nothing about it leaves to this.
    pub also: Option<Arc<Binding>>,
}

/// What an event names that is not its sender's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// This computer.
    Computer(String),
    /// This value of `_ResourceId`.
    Resource(String),
    /// A computer, in a value that is no text.
    NoText,
    /// Nobody knows what.
    Unclear,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computer(name) => write!(f, "computer {name:?}"),
            Self::Resource(id) => write!(f, "{RESOURCE_ID} {id:?}"),
            Self::NoText => f.write_str("computer in a value that is no text"),
            Self::Unclear => f.write_str("computer or the resource in a way that cannot be read"),
        }
    }
}

impl Binding {
    /// Whether the client is bound to nothing at all.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.names.is_empty() && self.resource_ids.is_empty()
    }

    /// Whether a client so bound may call itself by this computer's name.
    pub fn speaks_for(&self, computer: &str) -> bool {
        self.has_host(computer)
    }

    /// What an event names beyond this binding.
    pub fn foreign(&self, event: &Event<'_>) -> Option<Foreign> {
        let Some(computers) = Computers::of(event) else { return Some(Foreign::Unclear) };
        if let Some(name) = computers.names.iter().find(|name| !self.has_host(name)) {
            return Some(Foreign::Computer(shown(name)));
        }
        if computers.has_other {
            return Some(Foreign::NoText);
        }
        if event.format != Format::Json {
            return None;
        }
        let Ok(ids) = resource_ids(event.raw) else { return Some(Foreign::Unclear) };
        let foreign = ids.into_iter().find(|id| !self.has_resource(id))?;
        Some(Foreign::Resource(shown(&foreign)))
    }

    /// A short name in an event is that of a host that is listed in full, too: agents differ in what they send.
    fn has_host(&self, computer: &str) -> bool {
        let is_here = self.hosts.iter().any(|host| host_fits(host, computer) || short_name_fits(host, computer))
            || self.names.iter().any(|name| is_named(name, computer));
        let leaves_it = |also: &Self| also.hosts.is_empty() && also.names.is_empty();
        is_here && self.also.as_deref().is_none_or(|also| leaves_it(also) || also.has_host(computer))
    }

    fn has_resource(&self, id: &str) -> bool {
        let is_here = self.resource_ids.iter().any(|pattern| fits(pattern, id));
        is_here && self.also.as_deref().is_none_or(|also| also.resource_ids.is_empty() || also.has_resource(id))
    }
}

/// As much of a name as an answer to a stranger repeats.
fn shown(name: &str) -> String {
    name.chars().take(128).collect()
}

/// Every resource id that stands in an object at its top level, in any letter case; nothing where it is null or empty. What
/// is no text stands here as JSON.
fn resource_ids(raw: &[u8]) -> serde_json::Result<Vec<String>> {
    // A key may be written with escapes: only without any the search can rule it out.
    let could_be_there = memmem::find(raw, b"\\u").is_some()
        || memchr::memchr_iter(b'_', raw)
            .any(|at| raw[at..].get(..11).is_some_and(|key| key.eq_ignore_ascii_case(b"_ResourceId")));
    if !could_be_there {
        return Ok(Vec::new());
    }
    serde_json::Deserializer::from_slice(raw).deserialize_map(ResourceIds)
}

struct ResourceIds;

impl<'de> Visitor<'de> for ResourceIds {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// Values stay as they are written but for texts: numbers beyond measure are no reason to see nothing.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        let mut found = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value::<&RawValue>()?.get();
            if !key.eq_ignore_ascii_case(RESOURCE_ID) || value == "null" {
                continue;
            }
            let id = if value.starts_with('"') {
                serde_json::from_str(value).map_err(A::Error::custom)?
            } else {
                value.to_owned()
            };
            if !id.is_empty() {
                found.push(id);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
