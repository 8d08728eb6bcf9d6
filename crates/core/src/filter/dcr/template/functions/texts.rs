//! Functions about texts.

use serde_json::Value;

use super::super::{is_unknown, unknown};
use super::wrong;

/// Bytes that a function may make of its few.
const MADE: usize = 1 << 20;

pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_str).collect();
    Some(match (name, texts.as_deref(), arguments) {
        ("concat", Some(texts), [_, ..]) => Ok(Value::from(texts.concat())),
        ("format", _, [Value::String(format), values @ ..]) => formatted(format, values),
        ("tolower", Some([text]), _) => Ok(Value::from(text.to_lowercase())),
        ("toupper", Some([text]), _) => Ok(Value::from(text.to_uppercase())),
        ("trim", Some([text]), _) => Ok(Value::from(text.trim())),
        ("replace", Some([text, old, new]), _) => replaced(text, old, new),
        ("split", Some([text, at]), _) => Ok(split(text, &[at])),
        ("split", _, [Value::String(text), Value::Array(at)]) => {
            Ok(split(text, &at.iter().filter_map(Value::as_str).collect::<Vec<_>>()))
        }
        ("join", _, [Value::Array(items), Value::String(between)]) => {
            let items: Vec<String> = items.iter().map(as_text).collect();
            bounded(items.len().saturating_mul(between.len()), || items.join(between))
        }
        ("startswith", Some([text, start]), _) => {
            Ok(Value::from(text.to_lowercase().starts_with(&start.to_lowercase())))
        }
        ("endswith", Some([text, end]), _) => Ok(Value::from(text.to_lowercase().ends_with(&end.to_lowercase()))),
        ("indexof", Some([text, part]), _) => Ok(place(text, text.to_lowercase().find(&part.to_lowercase()))),
        ("lastindexof", Some([text, part]), _) => Ok(place(text, text.to_lowercase().rfind(&part.to_lowercase()))),
        ("substring", _, [Value::String(text), from]) => cut(text, from, None),
        ("substring", _, [Value::String(text), from, length]) => cut(text, from, Some(length)),
        ("padleft", _, [text, width]) => padded(&as_text(text), width, " "),
        ("padleft", _, [text, width, Value::String(with)]) => padded(&as_text(text), width, with),
        ("string", _, [value]) => Ok(Value::from(as_text(value))),
        ("json", Some([text]), _) => {
            serde_json::from_str(text).map_err(|error| format!("json was given what is no JSON: {error}"))
        }
        ("int", Some([text]), _) => {
            text.trim().parse::<i64>().map(Value::from).map_err(|_| format!("{text:?} is no whole number"))
        }
        ("int", _, [Value::Number(number)]) if number.is_i64() => Ok(Value::from(number.as_i64())),
        // Only Azure can tell them; names that are made of them are good enough to be told apart.
        ("guid" | "uniquestring", Some([_, ..]), _) => {
            Ok(Value::from(unknown(&format!("{name} {}", arguments_id(arguments)))))
        }
        ("newguid" | "utcnow", ..) => Ok(Value::from(unknown(name))),
        (
            "format" | "tolower" | "toupper" | "trim" | "replace" | "split" | "join" | "startswith" | "endswith"
            | "indexof" | "lastindexof" | "substring" | "padleft" | "string" | "json" | "int" | "guid" | "uniquestring",
            ..,
        ) => wrong(name),
        _ => return None,
    })
}

/// A value as text: a text as it is, another as JSON.
fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bounded(more: usize, make: impl FnOnce() -> String) -> Result<Value, String> {
    if more > MADE { Err(format!("a text would have more than {MADE} bytes")) } else { Ok(Value::from(make())) }
}

fn replaced(text: &str, old: &str, new: &str) -> Result<Value, String> {
    if old.is_empty() {
        return Err("replace was given an empty text to look for".to_owned());
    }
    bounded(text.matches(old).count().saturating_mul(new.len()), || text.replace(old, new))
}

fn split(text: &str, at: &[&str]) -> Value {
    let mut parts = vec![text];
    for separator in at.iter().filter(|separator| !separator.is_empty()) {
        parts = parts.into_iter().flat_map(|part| part.split(separator)).collect();
    }
    parts.into_iter().map(Value::from).collect()
}

/// Where a part begins, in characters; -1 when it is nowhere.
fn place(text: &str, at: Option<usize>) -> Value {
    at.map_or(Value::from(-1), |at| {
        Value::from(text.chars().count().min(text.get(..at).map_or(at, |head| head.chars().count())))
    })
}

fn cut(text: &str, from: &Value, length: Option<&Value>) -> Result<Value, String> {
    // A part of what is not known is not known.
    if is_unknown(text) {
        return Ok(Value::from(unknown(&format!("substring {}", arguments_id(&[Value::from(text), from.clone()])))));
    }
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let (Some(from), count) = (number(from), text.chars().count()) else { return wrong("substring") };
    let length = match length {
        Some(length) => number(length).ok_or("substring has a length that is no number")?,
        None => count.saturating_sub(from),
    };
    if from.saturating_add(length) > count {
        return Err(format!("substring asks for more than the {count} characters that there are"));
    }
    Ok(Value::from(text.chars().skip(from).take(length).collect::<String>()))
}

fn padded(text: &str, width: &Value, with: &str) -> Result<Value, String> {
    let width = width.as_u64().and_then(|width| usize::try_from(width).ok()).filter(|width| *width <= MADE);
    let (Some(width), Some(with), None) = (width, with.chars().next(), with.chars().nth(1)) else {
        return wrong("padLeft");
    };
    let missing = width.saturating_sub(text.chars().count());
    Ok(Value::from(std::iter::repeat_n(with, missing).chain(text.chars()).collect::<String>()))
}

/// `{0}` is the first value; `{{` is a bracket.
fn formatted(format: &str, values: &[Value]) -> Result<Value, String> {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            text.push_str(&rest[..1]);
            rest = after;
            continue;
        }
        let (index, after) = rest[1..].split_once('}').ok_or("a { has no }, or a } no {")?;
        let value = index.trim().parse::<usize>().ok().and_then(|n| values.get(n));
        match value.ok_or_else(|| format!("format has no value {{{index}}}"))? {
            // As .NET writes them.
            Value::Bool(truth) => text.push_str(if *truth { "True" } else { "False" }),
            value => text.push_str(&as_text(value)),
        }
        if text.len() > MADE {
            return Err(format!("format makes more than {MADE} bytes"));
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(Value::from(text))
}

/// A number for arguments, the same for the same.
fn arguments_id(arguments: &[Value]) -> String {
    let written: Vec<String> = arguments.iter().map(as_text).collect();
    format!("{:08x}", crc32fast::hash(written.join("\n").as_bytes()))
}
