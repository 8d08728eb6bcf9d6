//! JSON that goes out as it came: rows that their sender has made already, and records that are no Windows events.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr2;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::convert::is_own_column;
use super::{Additions, Table, columns};
use crate::event::{Event, Fields, from_json};

/// Keys under which agents keep a Windows event, or parts of one, that are columns of no table.
const OTHER_SHAPES: [&str; 12] = [
    "Event",
    "winlog",
    "event",
    "log",
    "event_data",
    "eventdata",
    "user_data",
    "UserData",
    "StringInserts",
    "RawXml",
    "EventXml",
    "xml",
];

/// Keys that tell nothing about the shape: columns of every table in Azure, and what Fluent Bit adds to every record.
const EVERYWHERE: [&str; 2] = ["SourceSystem", "@timestamp"];

/// The fields of a record, which has to be one JSON object and nothing else, and its text without white space around it.
pub(super) fn read(text: &str) -> Result<(&str, Fields<'_>), String> {
    let text = text.trim_ascii();
    let scanned = from_json::scan(text, 0).map_err(|error| error.to_string())?;
    if !scanned.is_object {
        return Err("the record is JSON, but no object".to_owned());
    }
    if scanned.unpaired_surrogate {
        return Err("a string of the record holds half of a surrogate pair".to_owned());
    }
    if scanned.end < text.len() {
        return Err("something follows the JSON value".to_owned());
    }
    Ok((text, scanned.fields))
}

/// Whether a Windows event is a row of this table already, or of any when none is named: it has the columns that every row
/// has, and none of the keys that another table or an agent would have given it.
pub(super) fn is_row_of(table: Option<Table>, event: &Event<'_>, text: &str) -> Result<bool, String> {
    let (mut has_id, mut has_computer, mut has_source) = (false, false, false);
    let possible = Cell::new(tables(table));
    let id = event.fields.event_id.map(|id| id.to_string());
    // Most records of other shapes say so with their first key, and the rest of them need not be looked at.
    let rules_out = |key: &str| key != "EventData" && possible.get() & tables_of(key, "") == 0;
    let all = each_key_until(text, rules_out, |key, value| {
        // What an agent wrote as a float or with its qualifiers is not what the column holds.
        has_id |= key == "EventID" && Some(value.trim_matches('"')) == id.as_deref();
        has_computer |= key == "Computer";
        has_source |= matches!(key, "Channel" | "Provider" | "EventSourceName" | "Source");
        possible.set(possible.get() & tables_of(key, value));
    })?;
    Ok(all && has_id && has_computer && has_source && possible.get() != 0)
}

/// Whether all that a record tells, which is no Windows event, has a column: of this table, or of the site's own. Without a
/// table nobody knows what columns there are.
pub(super) fn fits(table: Option<Table>, text: &str) -> Result<bool, String> {
    let Some(table) = table else { return Ok(true) };
    let mut fits = true;
    each_key(text, |key, value| {
        let is_column = COLUMNS.get(key).is_some_and(|tables| tables & bit(table) != 0) && tables_of(key, value) != 0;
        fits &= is_column || value == "null" || EVERYWHERE.contains(&key) || is_own_column(key);
    })?;
    Ok(fits)
}

fn tables(table: Option<Table>) -> u8 {
    match table {
        Some(table) => bit(table),
        None => Table::ALL.into_iter().map(bit).sum(),
    }
}

fn bit(table: Table) -> u8 {
    1 << table as u8
}

/// The columns of all tables, with their tables as bits.
static COLUMNS: LazyLock<HashMap<&str, u8>> = LazyLock::new(|| {
    let mut tables: HashMap<&str, u8> = HashMap::new();
    for table in Table::ALL {
        for column in columns(table) {
            *tables.entry(column.name).or_default() |= bit(table);
        }
    }
    tables
});

/// The tables whose rows may have this key with this value, as bits.
fn tables_of(key: &str, value: &str) -> u8 {
    const ANY: u8 = u8::MAX;
    if key == "EventData" {
        return match value {
            "null" | "\"\"" => ANY,
            value if value.starts_with('{') => bit(Table::WindowsEvent),
            _ => !bit(Table::WindowsEvent),
        };
    }
    if EVERYWHERE.contains(&key) {
        return ANY;
    }
    match COLUMNS.get(key) {
        Some(tables) => *tables,
        None if from_json::is_field(key) || OTHER_SHAPES.contains(&key) => 0,
        // A column of the site's own, in whatever table.
        None => ANY,
    }
}

/// The record without line breaks, and with the extras. Shares the bytes if nothing changes.
pub(super) fn as_it_came(
    raw: &Bytes,
    text: &str,
    event: &Event<'_>,
    additions: &Additions<'_>,
) -> Result<Bytes, String> {
    let mut wanted = additions.of(event);
    let line = one_line(raw);
    if wanted.is_empty() {
        return Ok(line);
    }
    let (mut is_empty, mut is_forged) = (true, false);
    each_key(text, |key, _| {
        is_empty = false;
        wanted.retain(|(name, _)| *name != key || !COLUMNS.contains_key(key));
        is_forged |= takes_place_of(key, &wanted);
    })?;
    if wanted.is_empty() {
        return Ok(line);
    }
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let added = wanted.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)));
    if is_forged {
        let mut members = Vec::new();
        each_key(text, |key, value| {
            if !takes_place_of(key, &wanted) {
                members.push(format!("{}:{value}", quoted(key)));
            }
        })?;
        members.extend(added);
        return Ok(one_line(&format!("{{{}}}", members.join(",")).into()));
    }
    let Some(open) = line.trim_ascii_end().strip_suffix(b"}") else { return Ok(line) };
    let added = added.collect::<Vec<_>>().join(",");
    Ok([open, if is_empty { b"" } else { b"," }, added.as_bytes(), b"}"].concat().into())
}

/// Whether a member of the record stands where the gateway has something to say.
fn takes_place_of(key: &str, ours: &[(&str, String)]) -> bool {
    ours.iter().any(|(name, _)| name.eq_ignore_ascii_case(key))
}

/// JSON in one line: raw line breaks are allowed nowhere but in white space. Shares the bytes if there are none.
pub fn one_line(json: &Bytes) -> Bytes {
    if memchr2(b'\n', b'\r', json).is_none() {
        return json.clone();
    }
    json.iter().copied().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect()
}

/// Hands out the keys of an object and the JSON of their values.
fn each_key(text: &str, take: impl FnMut(&str, &str)) -> Result<(), String> {
    each_key_until(text, |_| false, take).map(drop)
}

/// The same up to a key at which `ends`, whose value is not looked at. Whether there was none.
fn each_key_until(text: &str, ends: impl FnMut(&str) -> bool, take: impl FnMut(&str, &str)) -> Result<bool, String> {
    struct Keys<'s, E, F> {
        ends: E,
        take: F,
        has_ended: &'s mut bool,
    }

    impl<'de, E: FnMut(&str) -> bool, F: FnMut(&str, &str)> Visitor<'de> for Keys<'_, E, F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Key(key)) = map.next_key::<Key<'de>>()? {
                if (self.ends)(&key) {
                    *self.has_ended = true;
                    // There is no other way to leave an object before its end.
                    return Err(serde::de::Error::custom("enough"));
                }
                (self.take)(&key, map.next_value::<&RawValue>()?.get());
            }
            Ok(())
        }
    }

    let mut has_ended = false;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer.deserialize_map(Keys { ends, take, has_ended: &mut has_ended });
    match (has_ended, read) {
        (true, _) => Ok(false),
        (false, Ok(())) => Ok(true),
        (false, Err(error)) => Err(error.to_string()),
    }
}

/// A key that is copied only when it is written with escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
