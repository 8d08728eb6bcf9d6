//! From text to JSON, and what to do with texts that are written in something else.
//!
//! Templates may have comments, as Azure's tools allow. People keep rules in Bicep and Terraform too; there is no reader for
//! these here, but a command that makes JSON of them.

use serde_json::Value;

use crate::limits::DCR_TEXT_MAX_BYTES;

const XML: &str = "is XML, and a data collection rule is JSON; a structured query is named with query_list";
const BICEP: &str = "is Bicep; make JSON of it with `az bicep build --file FILE`, and name that";
const BICEP_PARAMETERS: &str =
    "is a file of parameters in Bicep; make JSON of it with `az bicep build-params --file FILE`, and name that";
const TERRAFORM: &str = "is Terraform; export the rule that it made with `az monitor data-collection rule show --ids ID` \
                         (`terraform show -json` tells the id), and name that";

/// Reads a text; the error says what it is instead of JSON.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > DCR_TEXT_MAX_BYTES {
        return Err(format!("is longer than {DCR_TEXT_MAX_BYTES} bytes; split the file"));
    }
    // Windows' editors put a byte order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_comments(text)));
    let document = read.map_err(|error| foreign(text).map_or_else(|| format!("is no JSON: {error}"), str::to_owned))?;
    if is_terraform(&document) { Err(TERRAFORM.to_owned()) } else { Ok(document) }
}

/// The text with blanks in the place of comments, so that everything else stands where it stood.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        let length = match &rest.as_bytes()[at..] {
            [b'"', ..] => string_length(&rest[at..]),
            [b'/', b'/', ..] => rest[at..].find('\n').unwrap_or(rest.len() - at),
            [b'/', b'*', ..] => rest[at + 2..].find("*/").map_or(rest.len() - at, |end| end + 4),
            _ => 1,
        };
        let (before, piece, after) = (&rest[..at], &rest[at..at + length], &rest[at + length..]);
        plain.push_str(before);
        if length > 1 && piece.starts_with('/') {
            plain.extend(piece.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        } else {
            plain.push_str(piece);
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// How long the string is that a text begins with, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// What to do with a text in another language.
fn foreign(text: &str) -> Option<&'static str> {
    let text = text.trim_start();
    match text.chars().next()? {
        '{' | '[' => None,
        '<' => Some(XML),
        _ => text.lines().find_map(language),
    }
}

fn language(line: &str) -> Option<&'static str> {
    let (first, rest) = line.trim().split_once([' ', '(']).unwrap_or((line.trim(), ""));
    match (first, rest.trim_start().chars().next()) {
        ("resource" | "data" | "provider" | "variable" | "module" | "output", Some('"')) => Some(TERRAFORM),
        ("terraform" | "locals", Some('{')) => Some(TERRAFORM),
        ("using", Some('\'' | 'n')) => Some(BICEP_PARAMETERS),
        (
            "param" | "var" | "resource" | "module" | "metadata" | "output" | "targetScope" | "type" | "func",
            Some(_),
        ) => Some(BICEP),
        ("@description" | "@sys.description" | "@secure" | "@allowed" | "@minLength", _) => Some(BICEP),
        _ => None,
    }
}

/// Whether a document is what Terraform tells of its state or plans, or a configuration of its in JSON.
fn is_terraform(document: &Value) -> bool {
    document["terraform_version"].is_string()
        || document["resource"]["azurerm_monitor_data_collection_rule"].is_object()
}
