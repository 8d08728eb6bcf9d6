//! Lists, page by page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::error::Refusal;
use super::query::Query;
use super::rules::{Answer, Entry, Meaning, Shelf, key};
use super::target::{Target, Thing};
use crate::limits::AZURE_PAGE_MAX;

/// The resources that a target stands for. `address` is what the client asked for, without its query.
pub(super) fn list(shelf: &Shelf, target: &Target, query: &Query, address: &str) -> Result<Answer, Refusal> {
    let scope = key(&target.scope);
    let within = format!("{scope}/");
    match &target.thing {
        Thing::Rules => page(shelf.rules.iter().filter(|(key, _)| key.starts_with(&within)), query, address),
        Thing::RuleAssociations(_) => {
            let id = target.id();
            let rule = key(&id);
            if !shelf.rules.contains_key(&rule) {
                return Err(Refusal::not_found(&id));
            }
            page(shelf.associations_of(&rule), query, address)
        }
        _ => {
            let of_resource = |entry: &Entry| match &entry.meaning {
                Meaning::Association { resource_uri, .. } => key(resource_uri) == scope,
                Meaning::Rule { .. } => false,
            };
            page(shelf.associations.iter().filter(|(_, entry)| of_resource(entry)), query, address)
        }
    }
}

fn page<'s>(
    entries: impl Iterator<Item = (&'s String, &'s std::sync::Arc<Entry>)>,
    query: &Query,
    address: &str,
) -> Result<Answer, Refusal> {
    let after = query.skip_token.as_deref().map(after).transpose()?.unwrap_or_default();
    let mut entries = entries.skip_while(|(key, _)| **key <= after).peekable();
    let mut value = Vec::new();
    let mut last = "";
    while let Some((key, entry)) = entries.next_if(|_| value.len() < AZURE_PAGE_MAX) {
        last = key;
        value.push(entry.shown());
    }
    let mut body = json!({ "value": value });
    if entries.peek().is_some() {
        let token = URL_SAFE_NO_PAD.encode(last);
        body["nextLink"] = Value::from(format!("{address}?api-version={}&%24skiptoken={token}", query.version));
    }
    Ok(Answer { status: StatusCode::OK, body: Some(body) })
}

/// The key that a page ended with.
fn after(token: &str) -> Result<String, Refusal> {
    let key = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| Refusal::bad("BadRequest", "$skiptoken is not one that a nextLink had; follow nextLink as it is"))
}
