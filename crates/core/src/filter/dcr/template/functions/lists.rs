//! Functions about lists and objects.

use serde_json::{Map, Value};

use super::{member, wrong};

/// Numbers that `range` gives: ARM's own limit.
const RANGE: i64 = 10_000;

/// Objects within each other that `union` joins.
const DEPTH: usize = 32;

pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    Some(match (name, arguments) {
        ("concat", lists) => match lists.iter().map(Value::as_array).collect::<Option<Vec<_>>>() {
            Some(lists) => Ok(lists.into_iter().flatten().cloned().collect()),
            // Numbers among texts are written out.
            None if lists.iter().all(|one| one.is_string() || one.is_number()) => Ok(Value::from(
                lists.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect::<String>(),
            )),
            None => Err("concat takes texts alone or lists alone".to_owned()),
        },
        ("createarray", items) => Ok(Value::from(items.to_vec())),
        ("createobject", pairs) => object(pairs),
        ("array", [Value::Array(items)]) => Ok(Value::from(items.clone())),
        ("array", [value]) => Ok(Value::from(vec![value.clone()])),
        ("empty", [value]) => Ok(Value::from(is_empty(value))),
        ("contains", [Value::Object(object), Value::String(key)]) => {
            Ok(Value::from(object.keys().any(|known| known.eq_ignore_ascii_case(key))))
        }
        ("contains", [Value::Array(items), value]) => Ok(Value::from(items.contains(value))),
        ("contains", [Value::String(text), Value::String(part)]) => Ok(Value::from(text.contains(part.as_str()))),
        ("first", [Value::Array(items)]) => Ok(items.first().cloned().unwrap_or_default()),
        ("last", [Value::Array(items)]) => Ok(items.last().cloned().unwrap_or_default()),
        ("first", [Value::String(text)]) => Ok(Value::from(text.chars().next().map(String::from).unwrap_or_default())),
        ("last", [Value::String(text)]) => {
            Ok(Value::from(text.chars().next_back().map(String::from).unwrap_or_default()))
        }
        ("length", [Value::Array(items)]) => Ok(Value::from(items.len())),
        ("length", [Value::Object(object)]) => Ok(Value::from(object.len())),
        ("length", [Value::String(text)]) => Ok(Value::from(text.chars().count())),
        ("skip", [Value::Array(items), Value::Number(n)]) => Ok(items.iter().skip(count(n)).cloned().collect()),
        ("take", [Value::Array(items), Value::Number(n)]) => Ok(items.iter().take(count(n)).cloned().collect()),
        ("skip", [Value::String(text), Value::Number(n)]) => {
            Ok(Value::from(text.chars().skip(count(n)).collect::<String>()))
        }
        ("take", [Value::String(text), Value::Number(n)]) if !super::is_unknown(text) => {
            Ok(Value::from(text.chars().take(count(n)).collect::<String>()))
        }
        ("flatten", [Value::Array(lists)]) => {
            Ok(lists.iter().flat_map(|list| list.as_array().into_iter().flatten()).cloned().collect())
        }
        ("range", [Value::Number(first), Value::Number(n)]) => range(first.as_i64(), n.as_i64()),
        ("union", [Value::Array(_), ..]) => union_of_lists(arguments),
        ("union", [Value::Object(_), ..]) => joined(arguments, DEPTH),
        ("shallowmerge", [Value::Array(objects)]) => joined(objects, 0),
        ("intersection", [Value::Array(one), Value::Array(other)]) => {
            Ok(one.iter().filter(|item| other.contains(item)).cloned().collect())
        }
        ("items", [Value::Object(object)]) => Ok(items(object)),
        ("objectkeys", [Value::Object(object)]) => Ok(object.keys().map(|key| Value::from(key.as_str())).collect()),
        ("tryget", [value, keys @ ..]) => {
            Ok(keys.iter().try_fold(value.clone(), |value, key| member(value, key).ok()).unwrap_or_default())
        }
        (
            "array" | "empty" | "contains" | "first" | "last" | "length" | "skip" | "take" | "flatten" | "range"
            | "union" | "shallowmerge" | "intersection" | "items" | "objectkeys" | "tryget",
            _,
        ) => wrong(name),
        _ => return None,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn count(number: &serde_json::Number) -> usize {
    number.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

/// Names and values by turns.
fn object(pairs: &[Value]) -> Result<Value, String> {
    let mut object = Map::new();
    let (pairs, rest) = pairs.as_chunks::<2>();
    for [key, value] in pairs {
        let Value::String(key) = key else { return wrong("createObject") };
        object.insert(key.clone(), value.clone());
    }
    if rest.is_empty() { Ok(Value::Object(object)) } else { wrong("createObject") }
}

fn range(first: Option<i64>, count: Option<i64>) -> Result<Value, String> {
    match (first, count) {
        (Some(first), Some(count)) if (0..=RANGE).contains(&count) => {
            Ok((0..count).map(|n| Value::from(first.saturating_add(n))).collect())
        }
        _ => Err(format!("range gives up to {RANGE} numbers")),
    }
}

fn union_of_lists(lists: &[Value]) -> Result<Value, String> {
    let mut all: Vec<Value> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for list in lists {
        let Value::Array(items) = list else { return wrong("union") };
        all.extend(items.iter().filter(|item| seen.insert(item.to_string())).cloned());
    }
    Ok(Value::Array(all))
}

/// One object of several, in which the later counts; objects in them are joined too, so deep.
fn joined(objects: &[Value], depth: usize) -> Result<Value, String> {
    let mut all = Map::new();
    for object in objects {
        let Value::Object(object) = object else { return Err("an object was expected beside the others".to_owned()) };
        for (key, value) in object {
            let both = match all.get(key) {
                Some(earlier @ Value::Object(_)) if depth > 0 && value.is_object() => {
                    joined(&[earlier.clone(), value.clone()], depth - 1)?
                }
                _ => value.clone(),
            };
            all.insert(key.clone(), both);
        }
    }
    Ok(Value::Object(all))
}

/// Each member as an object, by the order of their names.
fn items(object: &Map<String, Value>) -> Value {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by_key(|(key, _)| *key);
    members.into_iter().map(|(key, value)| serde_json::json!({ "key": key, "value": value })).collect()
}
