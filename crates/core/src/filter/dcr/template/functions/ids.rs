//! Functions about where a template is deployed to, and the ids of resources there.

use serde_json::{Value, json};

use super::super::given::Deployment;
use super::super::unknown;
use super::wrong;

pub(super) fn call(name: &str, arguments: &[Value], deployment: &Deployment) -> Option<Result<Value, String>> {
    let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_str).collect();
    let subscription = || format!("/subscriptions/{}", deployment.subscription());
    Some(match (name, texts.as_deref()) {
        ("subscription", Some([])) => Ok(json!({
            "id": subscription(), "subscriptionId": deployment.subscription(), "tenantId": unknown("tenant"),
            "displayName": unknown("subscription's name"),
        })),
        ("resourcegroup", Some([])) => Ok(json!({
            "id": deployment.group_id(), "name": deployment.group(), "location": unknown("location"),
            "type": "Microsoft.Resources/resourceGroups",
        })),
        ("deployment", Some([])) => Ok(json!({ "name": unknown("deployment"), "location": unknown("location") })),
        ("tenant", Some([])) => Ok(json!({ "tenantId": unknown("tenant") })),
        ("resourceid", Some(texts)) => in_group(texts, deployment),
        ("subscriptionresourceid", Some([kind, names @ ..])) if kind.contains('/') => {
            below(&subscription(), kind, names)
        }
        ("subscriptionresourceid", Some([of, kind, names @ ..])) => below(&format!("/subscriptions/{of}"), kind, names),
        ("tenantresourceid", Some([kind, names @ ..])) => below("", kind, names),
        ("extensionresourceid", Some([of, kind, names @ ..])) => below(of, kind, names),
        ("reference" | "managementgroup" | "environment" | "list" | "listkeys" | "pickzones", _) => {
            Err(format!("{name}() is only known at the deployment"))
        }
        (
            "subscription"
            | "resourcegroup"
            | "deployment"
            | "tenant"
            | "resourceid"
            | "subscriptionresourceid"
            | "tenantresourceid"
            | "extensionresourceid",
            _,
        ) => wrong(name),
        _ => return None,
    })
}

/// `resourceId([subscription], [group], type, name, …)`.
fn in_group(texts: &[&str], deployment: &Deployment) -> Result<Value, String> {
    match texts {
        [kind, names @ ..] if kind.contains('/') => below(&deployment.group_id(), kind, names),
        [group, kind, names @ ..] if kind.contains('/') => {
            below(&format!("/subscriptions/{}/resourceGroups/{group}", deployment.subscription()), kind, names)
        }
        [subscription, group, kind, names @ ..] if kind.contains('/') => {
            below(&format!("/subscriptions/{subscription}/resourceGroups/{group}"), kind, names)
        }
        _ => wrong("resourceId"),
    }
}

/// The id of a resource: each part of its type is followed by a name.
fn below(scope: &str, kind: &str, names: &[&str]) -> Result<Value, String> {
    let (provider, kinds) = kind.trim_end_matches('/').split_once('/').ok_or("a resource's type has no /")?;
    let kinds: Vec<&str> = kinds.split('/').collect();
    if kinds.len() != names.len() {
        return Err(format!(
            "{kind} is the type of a resource with {} names, and {} are given",
            kinds.len(),
            names.len()
        ));
    }
    let parts: String = kinds.iter().zip(names).map(|(kind, name)| format!("/{kind}/{name}")).collect();
    Ok(Value::from(format!("{scope}/providers/{provider}{parts}")))
}
