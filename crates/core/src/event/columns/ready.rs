//! JSON that goes out as it came: rows that their sender has made already, and records that are no Windows events.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr2;

use super::convert::is_own_column;
use super::{Additions, Table, columns, escape};
use crate::event::lookup::Lookup;
use crate::event::sound::Cursor;
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
pub(super) fn is_row_of(table: Option<Table>, event: &Event<'_>, text: &str) -> bool {
    let (mut has_id, mut has_computer, mut has_source) = (false, false, false);
    let mut possible = tables(table);
    let id = event.fields.event_id.map(|id| id.to_string());
    let mut members = members(text);
    while let Some(key) = members.key() {
        let key = &*key.text();
        if key != "EventData" {
            possible &= tables_of(key, "");
        }
        // Most records of other shapes say so with their first key, and the rest of them need not be looked at.
        if possible == 0 {
            return false;
        }
        let value = members.raw().unwrap_or_default();
        match key {
            "EventData" => possible &= tables_of(key, value),
            "Computer" => has_computer = true,
            "Channel" | "Provider" | "EventSourceName" | "Source" => has_source = true,
            // What an agent wrote as a float or with its qualifiers is not what the column holds.
            "EventID" => has_id |= Some(value.trim_matches('"')) == id.as_deref(),
            _ => {}
        }
    }
    has_id && has_computer && has_source && possible != 0
}

/// Whether all that a record tells, which is no Windows event, has a column: of this table, or of the site's own. Without a
/// table nobody knows what columns there are.
pub(super) fn fits(table: Option<Table>, text: &str) -> bool {
    let Some(table) = table else { return true };
    let mut members = members(text);
    while let Some(key) = members.key() {
        let (key, value) = (&*key.text(), members.raw().unwrap_or_default());
        let is_free = EVERYWHERE.contains(&key) || is_own_column(key);
        let is_column = tables_with(key) & bit(table) != 0;
        if !(is_free || value == "null" || (is_column && tables_of(key, value) != 0)) {
            return false;
        }
    }
    true
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
static COLUMNS: LazyLock<(Lookup, Vec<u8>)> = LazyLock::new(|| {
    let mut tables: HashMap<&str, u8> = HashMap::new();
    for table in Table::ALL {
        for column in columns(table) {
            *tables.entry(column.name).or_default() |= bit(table);
        }
    }
    (Lookup::new(tables.keys().copied()), tables.values().copied().collect())
});

/// The tables that have a column of this name, as bits.
fn tables_with(name: &str) -> u8 {
    let (names, tables) = &*COLUMNS;
    names.find(name).map_or(0, |place| tables[place])
}

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
    match tables_with(key) {
        0 if from_json::is_field(key) || OTHER_SHAPES.contains(&key) => 0,
        // A column of the site's own, in whatever table.
        0 => ANY,
        tables => tables,
    }
}

/// The record without line breaks, and with the extras. Shares the bytes if nothing changes.
pub(super) fn as_it_came(raw: &Bytes, text: &str, event: &Event<'_>, additions: &Additions<'_>) -> Bytes {
    let mut wanted = additions.of(event);
    let line = one_line(raw);
    if wanted.is_empty() {
        return line;
    }
    let (mut is_empty, mut is_forged) = (true, false);
    let mut members = members(text);
    while let Some(key) = members.key() {
        let key = &*key.text();
        members.raw();
        is_empty = false;
        wanted.retain(|(name, _)| *name != key || tables_with(key) == 0);
        is_forged |= takes_place_of(key, &wanted);
    }
    if wanted.is_empty() {
        return line;
    }
    let mut added = Vec::with_capacity(line.len() + 256);
    let without_end = if is_forged { None } else { line.trim_ascii_end().strip_suffix(b"}") };
    match without_end {
        Some(open) => added.extend_from_slice(open),
        None => is_empty = !copy_without(&wanted, text, &mut added),
    }
    for (name, value) in &wanted {
        if !is_empty {
            added.push(b',');
        }
        is_empty = false;
        escape::string(name, &mut added);
        added.push(b':');
        escape::string(value, &mut added);
    }
    added.push(b'}');
    added.into()
}

/// Copies an object without its end, and without what stands where the gateway has something to say. Whether anything is left.
fn copy_without(ours: &[(&str, String)], text: &str, out: &mut Vec<u8>) -> bool {
    out.push(b'{');
    let mut members = members(text);
    while let Some(key) = members.key() {
        let (key, value) = (&*key.text(), members.raw().unwrap_or_default());
        if takes_place_of(key, ours) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        escape::string(key, out);
        out.push(b':');
        out.extend(value.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    }
    out.len() > 1
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

/// At the first member of an object.
fn members(text: &str) -> Cursor<'_> {
    let mut cursor = Cursor::new(text);
    cursor.enter(b'{');
    cursor
}
