//! The functions of template expressions.
//!
//! They are ARM's own in what they take and give, as far as they are here; a function that is not says so. Texts that depend
//! on an unknown deployment go through those that only put texts together; every other one has no value for them.

mod ids;
mod lists;
mod logic;
mod texts;

use serde_json::Value;

use super::given::Deployment;
use super::{is_unknown, shown};

/// What may be done to a text of which a part is not known.
const TAKE_UNKNOWN: [&str; 21] = [
    "concat",
    "format",
    "tolower",
    "toupper",
    "trim",
    "split",
    "join",
    "string",
    "array",
    "createarray",
    "createobject",
    "empty",
    "union",
    "resourceid",
    "subscriptionresourceid",
    "tenantresourceid",
    "extensionresourceid",
    "guid",
    "uniquestring",
    "substring",
    "take",
];

/// What a function gives; the error says why nothing.
pub(super) fn call(name: &str, arguments: &[Value], deployment: &Deployment) -> Result<Value, String> {
    let unknown = arguments.iter().filter_map(Value::as_str).find(|text| is_unknown(text));
    if let Some(text) = unknown.filter(|_| !TAKE_UNKNOWN.contains(&name)) {
        return Err(format!("{name} needs {:?}, of which a part is only known at the deployment", shown(text)));
    }
    let found = texts::call(name, arguments)
        .or_else(|| lists::call(name, arguments))
        .or_else(|| logic::call(name, arguments))
        .or_else(|| ids::call(name, arguments, deployment));
    found.unwrap_or_else(|| Err(format!("the function {name} is not implemented")))
}

/// What stands under a key, in any letter case, or at a place of a list.
pub(super) fn member(value: Value, key: &Value) -> Result<Value, String> {
    if let Some((_, why)) = super::unresolved(&value) {
        return Err(why.to_owned());
    }
    let found = match (value, key) {
        (Value::Object(mut object), Value::String(key)) => {
            let same = |known: &&String| known.eq_ignore_ascii_case(key);
            let known = object.keys().find(|known| *known == key).or_else(|| object.keys().find(same)).cloned();
            known.and_then(|known| object.remove(&known))
        }
        (Value::Array(items), Value::Number(n)) => {
            let n = n.as_u64().and_then(|n| usize::try_from(n).ok());
            n.and_then(|n| items.into_iter().nth(n))
        }
        _ => None,
    };
    found.ok_or_else(|| format!("there is no {key} in the value"))
}

fn wrong(name: &str) -> Result<Value, String> {
    Err(format!("{name} has other arguments than this reader knows"))
}
