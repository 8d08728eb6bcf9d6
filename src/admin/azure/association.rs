//! Associations: which machine a rule is for.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::resource::{self, Presumed};
use super::rule::keep;
use super::rules::{Answer, Edit, Plan, Shelf, Write, key};
use super::target::ASSOCIATION_TYPE;
use crate::event::Timestamp;
use crate::limits::AZURE_TEXT_MAX_CHARS;

const MEMBERS: [&str; 6] = ["id", "name", "type", "etag", "systemData", "properties"];

const PROPERTIES: [&str; 5] =
    ["dataCollectionRuleId", "dataCollectionEndpointId", "description", "provisioningState", "metadata"];

/// The association with this id, as it is.
pub(super) fn get(shelf: &Shelf, id: &str) -> Result<Answer, Refusal> {
    let entry = shelf.associations.get(&key(id)).ok_or_else(|| Refusal::not_found(id))?;
    Ok(Answer { status: StatusCode::OK, body: Some(entry.shown()) })
}

/// Makes or replaces an association.
pub(super) fn put(id: String, body: &[u8], presumed: Presumed, now: Timestamp) -> Result<Edit, Refusal> {
    let mut body = resource::object(body)?;
    resource::only(&body, &MEMBERS, "what an association does stands in \"properties\"")?;
    let properties = resource::part(&mut body, "properties")?;
    let mut properties = properties.ok_or_else(|| Refusal::content("properties are missing").at("properties"))?;
    resource::only(&properties, &PROPERTIES, "an association has a dataCollectionRuleId and a description")?;
    if resource::text(&mut properties, "dataCollectionEndpointId")?.is_some() {
        let message = "data collection endpoints are not implemented: hosts reach Gatepost itself; give a \
                       dataCollectionRuleId";
        return Err(Refusal::invalid_association("NotImplemented", ENDPOINT, message.to_owned()));
    }
    let description = description(&mut properties)?;
    let wanted = resource::text(&mut properties, "dataCollectionRuleId")?.ok_or_else(|| {
        let message = "is missing; give the resource id of the rule";
        Refusal::invalid_association("InvalidDataCollectionRuleId", RULE, message.to_owned())
    })?;
    Ok(Box::new(move |shelf: &Shelf| {
        let before = shelf.associations.get(&key(&id));
        presumed.check(before.map(Arc::as_ref))?;
        let rule = shelf.rules.get(&key(wanted.trim_end_matches('/'))).ok_or_else(|| {
            let message = format!("there is no data collection rule {wanted:?}; PUT it first");
            Refusal::invalid_association("InvalidDataCollectionRuleId", RULE, message)
        })?;
        let id = before.map_or(id, |entry| entry.id.clone());
        let name = id.rsplit('/').next().unwrap_or_default();
        let properties = json!({ "dataCollectionRuleId": rule.id, "provisioningState": "Succeeded" });
        let mut resource = json!({ "id": id, "name": name, "type": ASSOCIATION_TYPE, "properties": properties });
        if let Some(description) = description {
            resource["properties"]["description"] = Value::from(description);
        }
        resource::stamp(&mut resource, before.map(Arc::as_ref), now);
        keep(before.map(Arc::as_ref), resource)
    }))
}

const RULE: &str = "properties.dataCollectionRuleId";
const ENDPOINT: &str = "properties.dataCollectionEndpointId";

fn description(properties: &mut Map<String, Value>) -> Result<Option<String>, Refusal> {
    let description = resource::text(properties, "description")?;
    match &description {
        Some(text) if text.chars().count() > AZURE_TEXT_MAX_CHARS => {
            let message = format!("is longer than {AZURE_TEXT_MAX_CHARS} characters; shorten it");
            Err(Refusal::invalid_association("InvalidDescription", "properties.description", message))
        }
        _ => Ok(description),
    }
}

/// Deletes an association.
pub(super) fn delete(id: String, presumed: Presumed) -> Edit {
    Box::new(move |shelf: &Shelf| {
        let key = key(&id);
        let before = shelf.associations.get(&key);
        presumed.check(before.map(Arc::as_ref))?;
        let status = if before.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT };
        // Also one that is not on the shelf: what is left of it may be unreadable.
        Ok(Plan { writes: vec![Write::Delete(key)], answer: Answer { status, body: None } })
    })
}
