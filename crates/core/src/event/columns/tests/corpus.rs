//! Every event of the shared logs, against the schema of the tables and their own data.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::*;

/// The columns that are no text, by table, as Microsoft's references have them.
const TYPES: [(Table, &str, &[&str]); 5] = [
    (Table::WindowsEvent, "int", &["EventID", "EventLevel", "Task", "Version", "SystemProcessId", "SystemThreadId"]),
    (Table::WindowsEvent, "dynamic", &["EventData"]),
    (
        Table::SecurityEvent,
        "int",
        &[
            "AuditsDiscarded",
            "AuthenticationLevel",
            "AuthenticationService",
            "ErrorCode",
            "EventID",
            "KeyLength",
            "LogonType",
            "ServiceStartType",
            "SystemProcessId",
            "SystemThreadId",
            "Task",
            "Version",
        ],
    ),
    (Table::Event, "int", &["EventID", "EventLevel", "EventCategory"]),
    (Table::Event, "dynamic", &[]),
];

/// Every column that a reference has, whether it is text or not, in names that are no Rust.
fn reference(table: Table) -> Vec<&'static str> {
    let text = include_str!("../../../../../../tests/data/columns/reference.txt");
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).expect("the table has a line");
    match table {
        Table::WindowsEvent => line("WindowsEvent:").split_whitespace().collect(),
        Table::SecurityEvent => line("SecurityEvent:").split_whitespace().collect(),
        Table::Event => line("Event:").split_whitespace().collect(),
    }
}

/// Checks a row against what Azure would take, without asking the product.
pub(super) fn check_schema(table: Table, row: &Value) {
    let known = reference(table);
    for (name, value) in row.as_object().expect("a row is an object") {
        assert!(known.contains(&name.as_str()), "{table:?} has no column {name}");
        let kind = TYPES
            .iter()
            .find(|(of, _, names)| *of == table && names.contains(&name.as_str()))
            .map(|(_, kind, _)| *kind);
        let is_right = match kind {
            Some("int") => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
            Some(_) => value.is_object(),
            None if name == "TimeGenerated" => value.as_str().is_some_and(is_utc),
            None => value.as_str().is_some_and(|text| !text.is_empty()),
        };
        assert!(is_right, "{table:?}.{name} is {value}");
    }
}

fn is_utc(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.0000000Z"
}

/// Where the shared logs lie, if they are here.
fn logs() -> Option<PathBuf> {
    let root = std::env::var_os("GATEPOST_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let logs = root.join("data/evtx");
    if !logs.is_dir() {
        println!("skipped: there is no {}; set GATEPOST_SHARED", logs.display());
    }
    logs.is_dir().then_some(logs)
}

/// Every event as XML, and as JSON where the reader makes the same of it.
fn each_event(logs: &Path, mut take: impl FnMut(&str, Option<&str>)) -> usize {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(logs).expect("readable").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let mut count = 0;
    for path in paths {
        let read = || {
            let settings = evtx::ParserSettings::default().indent(false).num_threads(1);
            evtx::EvtxParser::from_path(&path).map(|parser| parser.with_configuration(settings))
        };
        let (Ok(mut xml), Ok(mut json)) = (read(), read()) else { continue };
        let json: HashMap<u64, String> =
            json.records_json().flatten().map(|record| (record.event_record_id, record.data)).collect();
        for record in xml.records().flatten() {
            take(&record.data, json.get(&record.event_record_id).map(String::as_str));
            count += 1;
        }
    }
    count
}

/// The texts and attributes of the data in an event, read by another parser; `None` when that cannot read it.
fn texts(xml: &str) -> Option<Vec<String>> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut found, mut depth, mut in_data) = (Vec::new(), 0, false);
    let mut text = String::new();
    loop {
        use quick_xml::events::Event as Xml;
        match reader.read_event().ok()? {
            Xml::Start(start) => {
                depth += 1;
                in_data |= depth == 2 && !matches!(start.name().as_ref(), "System" | "RenderingInfo");
                text.clear();
            }
            Xml::Text(piece) => text.push_str(&piece),
            Xml::GeneralRef(entity) => match entity.resolve_char_ref().ok()? {
                Some(character) => text.push(character),
                None => text.push_str(quick_xml::escape::resolve_predefined_entity(&entity)?),
            },
            Xml::End(_) => {
                if in_data && !text.trim().is_empty() {
                    found.push(std::mem::take(&mut text));
                }
                text.clear();
                in_data &= depth != 2;
                depth -= 1;
            }
            Xml::Eof => return Some(found),
            _ => {}
        }
    }
}

fn strings<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(members) => members.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

#[test]
fn every_shared_event_becomes_sound_rows_and_loses_nothing() {
    let Some(logs) = logs() else { return };
    let (mut compared, mut alike) = (0, 0);
    let count = each_event(&logs, |xml, json| {
        let rows = Table::ALL.map(|table| row_of(table, xml));
        for (table, row) in Table::ALL.into_iter().zip(&rows) {
            check_schema(table, row);
            assert!(row.to_string().len() <= 3 * xml.len() + 2_000, "{table:?} {xml}");
            for name in ["TimeGenerated", "Computer", "EventID"] {
                assert!(row.get(name).is_some(), "{table:?} without {name}: {xml}");
            }
        }
        if let Some(wanted) = texts(xml) {
            compared += 1;
            let mut dynamic = Vec::new();
            strings(&rows[0], &mut dynamic);
            let in_xml: Vec<Vec<String>> = rows[1..]
                .iter()
                .map(|row| {
                    texts(&format!("<Event>{}</Event>", row["EventData"].as_str().unwrap_or_default()))
                        .expect("EventData is XML")
                })
                .collect();
            for text in wanted {
                assert!(dynamic.contains(&text.as_str()), "{text:?} is not in WindowsEvent: {xml}");
                assert!(in_xml.iter().all(|found| found.contains(&text)), "{text:?} is not in EventData: {xml}");
            }
        }
        if let Some(json) = json {
            for (table, row) in Table::ALL.into_iter().zip(&rows) {
                let from_json = row_of(table, json);
                check_schema(table, &from_json);
                assert_eq!(from_json["EventID"], row["EventID"]);
                alike += usize::from(
                    from_json.as_object().map(|row| row.keys().len()) == row.as_object().map(|row| row.keys().len()),
                );
            }
        }
    });
    println!("{count} events, {compared} compared by text, {alike} rows with the same columns from JSON");
    assert!(count > 10_000, "{count}");
    assert!(compared * 100 > count * 95, "{compared} of {count}");
    assert!(alike * 100 > count * 3 * 95, "{alike} of {count}");
}
