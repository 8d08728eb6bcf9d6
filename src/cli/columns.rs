//! `gatepost columns`: the rows of Azure's tables that events become.
//!
//! For looking before sending: what a workspace will hold of these events, and which columns the stream of its data collection
//! rule has to declare.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use bytes::Bytes;
use serde_json::Value;

use super::event_files;
use super::send::reader::Form;
use super::{Global, json_line, print};
use crate::event::columns::{self, ColumnType, Extras, Source, Table};
use crate::event::{Event, Timestamp};

/// Bytes that are gathered before they are printed.
const PRINTED_AT_ONCE: usize = 64 << 10;

/// All times: files are shown as they are, none goes into an extra.
const ALL_TIMES: RangeInclusive<Timestamp> = Timestamp::from_ticks(i64::MIN)..=Timestamp::from_ticks(i64::MAX);

/// Show the rows of Azure's tables that events become, or the columns of a table.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// .evtx files, folders with .evtx files, texts of NDJSON or event XML; `-` is standard input
    #[arg(required_unless_present = "schema")]
    pub paths: Vec<PathBuf>,
    /// The table
    #[arg(long, default_value_t)]
    pub table: Table,
    /// Print the columns of the table with their types; with --json as `streamDeclarations` of a data collection rule has them
    #[arg(long, conflicts_with = "paths")]
    pub schema: bool,
}

/// Runs the command. The exit code is 1 when not all events could be read.
pub fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let table = args.table;
    if args.schema {
        print(&schema(table, global.json)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut shown = String::new();
    let mut no_rows = Vec::new();
    let damage = event_files::for_each(&args.paths, Form::Xml, |source, event| {
        match row(table, event) {
            Ok(row) if global.json => writeln!(shown, "{}", std::str::from_utf8(&row)?)?,
            Ok(row) => shown.push_str(&listing(table, &row)?),
            Err(reason) => no_rows.push(format!("{source}: {reason}")),
        }
        if shown.len() >= PRINTED_AT_ONCE {
            print(&std::mem::take(&mut shown))?;
        }
        Ok(())
    })?;
    print(&shown)?;
    Ok(event_files::complain(&[damage, no_rows].concat()))
}

fn row(table: Table, event: &Event<'_>) -> Result<Bytes, String> {
    let raw = Bytes::copy_from_slice(event.raw);
    let source = Source { format: event.format, raw: &raw, client: None };
    columns::row(Some(table), source, &Extras::default(), &ALL_TIMES).map(|made| made.bytes)
}

fn schema(table: Table, as_json: bool) -> anyhow::Result<String> {
    let columns = columns::columns(table);
    if as_json {
        return json_line(&serde_json::json!({ "columns": columns }));
    }
    let width = columns.iter().map(|column| column.name.len()).max().unwrap_or_default();
    let line = |column: &columns::Column| format!("{:width$}  {}\n", column.name, type_name(column.kind));
    Ok(columns.iter().map(line).collect())
}

fn type_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::String => "string",
        ColumnType::Int => "int",
        ColumnType::Long => "long",
        ColumnType::Real => "real",
        ColumnType::Boolean => "boolean",
        ColumnType::Datetime => "datetime",
        ColumnType::Dynamic => "dynamic",
    }
}

/// A row for people: its columns in their order, then those that the table does not have, and an empty line. Line breaks in
/// values are escaped, as everything that a terminal would obey is.
fn listing(table: Table, row: &[u8]) -> anyhow::Result<String> {
    let Value::Object(mut members) = serde_json::from_slice(row)? else { return Err(anyhow!("a row is no object")) };
    let known = columns::columns(table).iter().filter_map(|column| members.remove_entry(column.name));
    let known: Vec<(String, Value)> = known.collect();
    let lines: Vec<(String, Value)> = known.into_iter().chain(members).collect();
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in lines {
        match value {
            Value::Object(data) => {
                let data: BTreeMap<String, Value> = data.into_iter().collect();
                for (datum, value) in data {
                    writeln!(text, "{:width$}  {}: {}", shown(&name), shown(&datum), plain(&value))?;
                }
            }
            value => writeln!(text, "{:width$}  {}", shown(&name), plain(&value))?,
        }
    }
    text.push('\n');
    Ok(text)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), shown)
}

fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
