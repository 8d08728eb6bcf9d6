//! docs/logging.md lists the lines that the log can hold, as the sources have them; and none of them is Rust's debug text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::reference::{check, filled_in};
use super::source::{Source, Token};

/// Those that are written by default.
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// One call that writes a line.
struct Call {
    level: String,
    line: usize,
    message: String,
    fields: Vec<String>,
    shows_debug: bool,
}

fn calls(source: &Source) -> Vec<Call> {
    let text = |at: usize| source.tokens.get(at).map_or("", |token| token.text.as_str());
    let begins =
        |at: &usize| text(*at) == "tracing" && text(at + 1) == ":" && text(at + 4) == "!" && text(at + 5) == "(";
    let call = |at: usize| {
        let arguments = arguments(&source.tokens[at + 6..]);
        let message = arguments.iter().find(|argument| argument[0].text.starts_with('"'));
        let message = message.map_or(String::new(), |argument| unquoted(&argument[0].text));
        let shows_debug = message.contains(":?") || arguments.iter().any(|argument| shows_debug(argument));
        let fields = arguments.iter().filter_map(|argument| field(argument)).collect();
        Call { level: text(at + 3).to_owned(), line: source.tokens[at].line, message, fields, shows_debug }
    };
    (0..source.tokens.len()).filter(begins).map(call).collect()
}

/// The arguments of a call, from behind its opening parenthesis on.
fn arguments(tokens: &[Token]) -> Vec<Vec<Token>> {
    let (mut depth, mut all, mut one) = (0, Vec::new(), Vec::new());
    for token in tokens {
        match token.text.as_str() {
            ")" | "]" | "}" if depth == 0 => break,
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            "," if depth == 0 => {
                all.push(std::mem::take(&mut one));
                continue;
            }
            _ => {}
        }
        one.push(token.clone());
    }
    all.push(one);
    all.retain(|argument| !argument.is_empty());
    all
}

/// `?value` and `name = ?value` are written as Rust's debug text.
fn shows_debug(argument: &[Token]) -> bool {
    let sign = argument.iter().position(|token| token.text == "=").map_or(0, |equals| equals + 1);
    argument.get(sign).is_some_and(|token| token.text == "?")
}

/// The name of a field: `name = value`, `%name`, `name`, `of.name`.
fn field(argument: &[Token]) -> Option<String> {
    let name = argument.iter().find(|token| token.text.starts_with(|c: char| c.is_ascii_lowercase()))?;
    let is_field = argument.len() <= 2 || argument.get(1).is_some_and(|token| token.text == "=");
    let is_text = argument[0].text.starts_with('"');
    (is_field && !is_text && !name.text.contains('"')).then(|| name.text.clone())
}

/// A literal as it is printed: without quotes, and in one line.
fn unquoted(literal: &str) -> String {
    let text = literal.trim_matches('"').replace("\\\"", "\"");
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + line.trim_start())
}

fn table() -> String {
    let mut rows: BTreeMap<(usize, String, String), BTreeSet<String>> = BTreeMap::new();
    for source in Source::product().iter().filter(|source| !source.only_tests) {
        let module = source.module().unwrap_or("main").to_owned();
        for call in calls(source) {
            let Some(level) = LEVELS.iter().position(|level| *level == call.level) else { continue };
            rows.entry((level, module.clone(), call.message)).or_default().extend(call.fields);
        }
    }
    let mut text = "\n| level | part | message | fields |\n| --- | --- | --- | --- |\n".to_owned();
    for ((level, module, message), fields) in rows {
        let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
        let message = message.replace('|', "\\|");
        writeln!(text, "| {} | {module} | {message} | {} |", LEVELS[level], fields.join(", ")).expect("text");
    }
    text + "\n"
}

#[test]
fn logging_reference() {
    let file = "docs/logging.md";
    let document = std::fs::read_to_string(super::root().join(file)).expect("it is there");
    check(file, &filled_in(&document, "messages", &table()));
}

#[test]
fn no_line_of_the_log_is_rusts_debug_text_and_each_says_what_happened() {
    let mut problems = Vec::new();
    for source in Source::product().iter().filter(|source| !source.only_tests) {
        for call in calls(source) {
            if call.shows_debug {
                problems.push(source.at(call.line, "shows Rust's debug text: write a value that people can read"));
            }
            if call.message.is_empty() {
                problems.push(source.at(call.line, "has no message"));
            }
        }
    }
    super::check(problems);
}

#[test]
fn a_call_is_read_as_it_is_meant() {
    let text = "fn f() { tracing::warn!(output = &*self.name, %error, first = range.start, odd = ?x, \"a {} \\\n   line\", g(1, 2)); }";
    let source = Source::parse("x.rs".into(), text.to_owned());
    let calls = calls(&source);
    let call = &calls[0];
    assert_eq!((call.level.as_str(), call.message.as_str(), call.shows_debug), ("warn", "a {} line", true));
    assert_eq!(call.fields, ["output", "error", "first", "odd"]);
}
