//! Data collection rules: made, read, tagged, deleted.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::resource::{self, Presumed};
use super::rules::{Answer, Edit, Entry, Plan, Shelf, Write, key};
use super::target::RULE_TYPE;
use crate::event::Timestamp;

/// Members of a resource. Those that are not read here are Azure's own business: who may use it, what it costs.
const MEMBERS: [&str; 15] = [
    "id",
    "name",
    "type",
    "location",
    "tags",
    "kind",
    "properties",
    "etag",
    "systemData",
    "identity",
    "sku",
    "plan",
    "managedBy",
    "apiVersion",
    "resourceGroup",
];

/// Properties that Azure writes and ignores when they are sent.
const READ_ONLY: [&str; 5] = ["immutableId", "provisioningState", "metadata", "endpoints", "ingestionQuotas"];

/// The rule with this id, as it is.
pub(super) fn get(shelf: &Shelf, id: &str) -> Result<Answer, Refusal> {
    let entry = shelf.rules.get(&key(id)).ok_or_else(|| Refusal::not_found(id))?;
    Ok(Answer { status: StatusCode::OK, body: Some(entry.shown()) })
}

/// Makes or replaces a rule.
pub(super) fn put(id: String, body: &[u8], presumed: Presumed, now: Timestamp) -> Result<Edit, Refusal> {
    let mut body = resource::object(body)?;
    resource::only(&body, &MEMBERS, "what a rule does stands in \"properties\"")?;
    let tags = resource::tags(&mut body)?;
    let kind = resource::text(&mut body, "kind")?;
    let location = resource::text(&mut body, "location")?.filter(|location| !location.trim().is_empty());
    let location = location.ok_or_else(|| {
        Refusal::bad("LocationRequired", "the location property is required, such as \"eastus\"").at("location")
    })?;
    let properties = resource::part(&mut body, "properties")?;
    let mut properties = properties.ok_or_else(|| Refusal::content("properties are missing").at("properties"))?;
    properties.retain(|key, value| !READ_ONLY.contains(&key.as_str()) && !value.is_null());
    let parts = Parts { id, location, tags, kind, properties };
    Ok(Box::new(move |shelf: &Shelf| {
        let before = shelf.rules.get(&key(&parts.id)).cloned();
        presumed.check(before.as_deref())?;
        let resource = parts.resource(before.as_deref(), now)?;
        keep(before.as_deref(), resource)
    }))
}

/// What a PUT says.
struct Parts {
    id: String,
    location: String,
    tags: Option<Map<String, Value>>,
    kind: Option<String>,
    properties: Map<String, Value>,
}

impl Parts {
    fn resource(self, before: Option<&Entry>, now: Timestamp) -> Result<Value, Refusal> {
        let Self { id, location, tags, kind, properties } = self;
        if let Some(there) = before.and_then(|entry| entry.resource["location"].as_str())
            && plain(there) != plain(&location)
        {
            let message = format!("the rule is in {there:?} and cannot be moved to {location:?}; delete it first");
            return Err(Refusal::new(StatusCode::CONFLICT, "InvalidResourceLocation", message).at("location"));
        }
        let id = before.map_or(id, |entry| entry.id.clone());
        let name = id.rsplit('/').next().unwrap_or_default();
        let mut resource = json!({ "id": id, "name": name, "type": RULE_TYPE, "location": location });
        if let Some(tags) = tags {
            resource["tags"] = Value::Object(tags);
        }
        if let Some(kind) = kind {
            resource["kind"] = Value::from(kind);
        }
        let immutable = before.map(|entry| entry.resource["properties"]["immutableId"].clone());
        let made = || Value::from(format!("dcr-{}", &resource::hash(format!("{} {now}", key(&id)).as_bytes())[..32]));
        resource["properties"] = Value::Object(properties);
        resource["properties"]["immutableId"] = immutable.unwrap_or_else(made);
        resource["properties"]["provisioningState"] = Value::from("Succeeded");
        resource::stamp(&mut resource, before, now);
        Ok(resource)
    }
}

/// "East US" and "eastus" are one place.
fn plain(location: &str) -> String {
    location.replace(' ', "").to_ascii_lowercase()
}

/// The plan that keeps this resource.
pub(super) fn keep(before: Option<&Entry>, resource: Value) -> Result<Plan, Refusal> {
    let status = if before.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let id = resource["id"].as_str().unwrap_or_default().to_owned();
    let entry = Arc::new(Entry::read(&id, resource)?);
    let body = Some(entry.shown());
    Ok(Plan { writes: vec![Write::Put(entry)], answer: Answer { status, body } })
}

/// Changes the tags of a rule.
pub(super) fn patch(id: String, body: &[u8], presumed: Presumed, now: Timestamp) -> Result<Edit, Refusal> {
    let mut body = resource::object(body)?;
    let hint = "PATCH changes tags only; PUT the whole rule to change anything else";
    resource::only(&body, &["tags", "identity"], hint)?;
    if body.get("identity").is_some_and(|identity| !identity.is_null()) {
        return Err(Refusal::content(format!("identities are not implemented; {hint}")).at("identity"));
    }
    let tags = resource::tags(&mut body)?;
    Ok(Box::new(move |shelf: &Shelf| {
        let before = shelf.rules.get(&key(&id)).ok_or_else(|| Refusal::not_found(&id))?;
        presumed.check(Some(before))?;
        let mut resource = before.resource.clone();
        if let Some(tags) = tags {
            resource["tags"] = Value::Object(tags);
        }
        resource::stamp(&mut resource, Some(before), now);
        keep(Some(before), resource)
    }))
}

/// Deletes a rule; with its associations if that is asked for.
pub(super) fn delete(id: String, with_associations: bool, presumed: Presumed) -> Edit {
    Box::new(move |shelf: &Shelf| {
        let key = key(&id);
        let before = shelf.rules.get(&key);
        presumed.check(before.map(Arc::as_ref))?;
        let is_there = before.is_some();
        let writes = shelf.removal(&key);
        let count = writes.len() - 1;
        if count > 0 && !with_associations {
            let message =
                format!("the rule has {count} associations; delete them first, or ask with deleteAssociations=true");
            return Err(Refusal::conflict(message));
        }
        let status = if is_there { StatusCode::OK } else { StatusCode::NO_CONTENT };
        Ok(Plan { writes, answer: Answer { status, body: None } })
    })
}
