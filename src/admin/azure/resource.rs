//! What Azure adds to a resource: ids, times, etags.

use aws_lc_rs::digest;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::rules::Entry;
use crate::event::Timestamp;

/// The body of a request as an object.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::content("the request content must be a JSON object")),
        Err(error) => {
            Err(Refusal::content(format!("the request content was invalid and could not be deserialized: {error}")))
        }
    }
}

/// A part of a request body that is an object; `None` when it is absent.
pub(super) fn part(body: &mut Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, Refusal> {
    match body.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(part)) => Ok(Some(part)),
        Some(_) => Err(Refusal::content(format!("{key} must be an object")).at(key)),
    }
}

/// A part of a request body that is a text; `None` when it is absent.
pub(super) fn text(body: &mut Map<String, Value>, key: &str) -> Result<Option<String>, Refusal> {
    match body.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::content(format!("{key} must be a text")).at(key)),
    }
}

/// The tags of a request body.
pub(super) fn tags(body: &mut Map<String, Value>) -> Result<Option<Map<String, Value>>, Refusal> {
    let tags = part(body, "tags")?;
    match tags.iter().flatten().find(|(_, value)| !value.is_string()) {
        Some((key, _)) => Err(Refusal::content("the values of tags must be texts").at(&format!("tags.{key}"))),
        None => Ok(tags),
    }
}

/// Refuses members that Azure's resources do not have.
pub(super) fn only(body: &Map<String, Value>, known: &[&str], hint: &str) -> Result<(), Refusal> {
    match body.iter().find(|(key, value)| !value.is_null() && !known.contains(&key.as_str())) {
        Some((key, _)) => Err(Refusal::content(format!("{key:?} is not known here; {hint}")).at(key)),
        None => Ok(()),
    }
}

/// Gives a resource its times and its etag. What it was before keeps its creation.
pub(super) fn stamp(resource: &mut Value, before: Option<&Entry>, now: Timestamp) {
    let now = now.to_string();
    let created = before.and_then(|entry| entry.resource["systemData"]["createdAt"].as_str()).unwrap_or(&now);
    resource["systemData"] = json!({ "createdAt": created, "lastModifiedAt": now });
    // The etag of before is hashed too: two changes within one tick of the clock still differ.
    resource["etag"] = before.map_or(Value::Null, |entry| entry.resource["etag"].clone());
    let hash = hash(resource.to_string().as_bytes());
    let etag = format!("\"{}-{}-{}-{}-{}\"", &hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32]);
    resource["etag"] = Value::from(etag);
}

/// SHA-256 in hexadecimal digits.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

/// What a request presumes about the resource (RFC 9110, section 13).
#[derive(Debug, Clone, Default)]
pub(super) struct Presumed {
    matches: Option<String>,
    none_matches: Option<String>,
}

impl Presumed {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Self { matches: text(header::IF_MATCH), none_matches: text(header::IF_NONE_MATCH) }
    }

    /// Whether it holds; 412 when it does not.
    pub(super) fn check(&self, present: Option<&Entry>) -> Result<(), Refusal> {
        let etag = present.map(|entry| entry.resource["etag"].as_str().unwrap_or_default());
        let fails = match (&self.matches, &self.none_matches) {
            (Some(wanted), _) if !names(wanted, etag) => "If-Match names another state of the resource; read it again",
            (_, Some(unwanted)) if names(unwanted, etag) => "If-None-Match names the state that the resource is in",
            _ => return Ok(()),
        };
        Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", fails))
    }
}

fn names(list: &str, etag: Option<&str>) -> bool {
    let Some(etag) = etag else { return false };
    let bare = |text: &str| text.trim().trim_matches('"').to_owned();
    list.split(',').any(|item| item.trim() == "*" || bare(item) == bare(etag))
}
