//! What becomes of a row between its acceptance and its table.

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::rules::Type;

/// The longest text of a column; the rest is cut off.
const FIELD_LIMIT: usize = 64 * 1024;

/// How far `TimeGenerated` may lie back, and ahead.
const KEPT_BEFORE: Duration = Duration::days(2);
const KEPT_AFTER: Duration = Duration::days(1);

/// A stored row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The columns, as a query would show them.
    pub value: Value,
    /// `x-ms-client-request-id` of the request that brought it.
    pub client_request_id: Option<String>,
    /// The `TimeGenerated` that was sent, where the time of arrival stands in its place.
    pub original_time: Option<Value>,
    /// Keys that no column is declared for, and that are gone.
    pub dropped: Vec<String>,
    /// Columns that were cut to 64 KB.
    pub cut: Vec<String>,
    /// Columns that are null because what was sent does not fit their type.
    pub mismatched: Vec<String>,
}

/// Stores what was sent as the service does.
pub(super) fn stored(
    sent: Map<String, Value>,
    columns: Option<&[(String, Type)]>,
    now: OffsetDateTime,
    client_request_id: Option<&str>,
) -> Row {
    let mut row = Row {
        value: Value::Null,
        client_request_id: client_request_id.map(str::to_owned),
        original_time: None,
        dropped: Vec::new(),
        cut: Vec::new(),
        mismatched: Vec::new(),
    };
    let mut kept = match columns {
        None => sent,
        Some(columns) => declared(sent, columns, &mut row),
    };
    for (name, value) in &mut kept {
        if cut(value) {
            row.cut.push(name.clone());
        }
    }
    let time = kept.get("TimeGenerated").and_then(as_time);
    let fits = time.is_some_and(|time| (now - KEPT_BEFORE..=now + KEPT_AFTER).contains(&time));
    if !fits {
        let arrival = now.format(&Rfc3339).map_or(Value::Null, Value::String);
        row.original_time = kept.insert("TimeGenerated".to_owned(), arrival);
    }
    row.value = Value::Object(kept);
    row
}

/// The declared columns, with null for those that are missing.
fn declared(mut sent: Map<String, Value>, columns: &[(String, Type)], row: &mut Row) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, kind) in columns {
        let value = sent.remove(name).unwrap_or(Value::Null);
        let fitted = if value.is_null() { Some(Value::Null) } else { fitted(value, *kind) };
        if fitted.is_none() {
            row.mismatched.push(name.clone());
        }
        kept.insert(name.clone(), fitted.unwrap_or(Value::Null));
    }
    row.dropped.extend(sent.into_iter().map(|(name, _)| name));
    kept
}

/// A value in the type of its column; `None` when it does not fit.
fn fitted(value: Value, kind: Type) -> Option<Value> {
    let whole = |value: &Value| value.as_i64().or_else(|| value.as_str()?.trim().parse().ok());
    match kind {
        Type::Dynamic => Some(value),
        Type::String => Some(match value {
            Value::String(_) => value,
            other => Value::String(other.to_string()),
        }),
        Type::Int => whole(&value).and_then(|number| i32::try_from(number).ok()).map(Value::from),
        Type::Long => whole(&value).map(Value::from),
        Type::Real => value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).map(Value::from),
        Type::Boolean => value.as_bool().or_else(|| value.as_str()?.to_ascii_lowercase().parse().ok()).map(Value::from),
        Type::Datetime => as_time(&value).map(|_| value),
    }
}

fn as_time(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}

/// Cuts a value that is too long; tells whether it was.
fn cut(value: &mut Value) -> bool {
    let text = match value {
        Value::String(text) => text,
        Value::Object(_) | Value::Array(_) => &mut value.to_string(),
        _ => return false,
    };
    if text.len() <= FIELD_LIMIT {
        return false;
    }
    text.truncate(text.floor_char_boundary(FIELD_LIMIT));
    *value = Value::String(std::mem::take(text));
    true
}
