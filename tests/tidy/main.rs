//! The referee of the house rules that a compiler does not check.
//!
//! The layer table of `ARCHITECTURE.md` stands here as [`LAYERS`]. Each rule is one test that reports every place that
//! breaks it at once, as `file:line: what is wrong`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod alerts;
mod circles;
mod logging;
mod reference;
mod source;

use source::Source;

/// A module imports only from rows below its own, and never from another module of its own row.
const LAYERS: [&[&str]; 9] = [
    &["faults", "fs", "limits", "memory", "metrics", "telemetry", "values"],
    &["access_log", "clock", "event", "net", "shared", "turns"],
    &["filter", "dedup", "spool", "balancer", "outputs", "hosts"],
    &["lab", "replication"],
    &["ingest", "forward"],
    &["admin", "tunnel", "inputs"],
    &["config"],
    &["app"],
    &["main", "cli"],
];

/// The sources of each crate. A crate re-exports what it builds on, so that a module has one name in all of them; that crates
/// do not know who uses them is held by cargo.
const CRATES: [&str; 5] = ["src", "crates/core/src", "crates/spool/src", "crates/net/src", "crates/lab/src"];

/// Files longer than this are split.
const LINES_MAX: usize = 500;

/// Files longer than this are named, so that they are split in time.
const LINES_LONG: usize = 400;

/// Paths that exist only on somebody's machine. In pieces, or this file would break its own rule.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/wt")];

/// Only `metrics` talks to the metrics crate.
const METRIC_MACROS: [&str; 6] =
    ["counter", "gauge", "histogram", "describe_counter", "describe_gauge", "describe_histogram"];

#[test]
fn imports_only_go_down() {
    let sources = Source::product();
    check(sources.iter().flat_map(|source| {
        let climbs = source.imports().into_iter().filter_map(|(line, to)| climb(source.module()?, &to, line));
        climbs.map(|(line, problem)| source.at(line, &problem)).collect::<Vec<_>>()
    }));
}

#[test]
fn every_module_is_declared_and_in_the_table() {
    let mut problems = Vec::new();
    for krate in CRATES {
        problems.extend(declarations_out_of_order(&Source::read(&Path::new(krate).join("lib.rs"))));
    }
    for source in Source::product().iter().filter(|source| !source.only_tests) {
        let Some((parent, name)) = source.parent() else { continue };
        if !Source::read(&parent).declared_modules().iter().any(|(_, declared)| *declared == name) {
            problems
                .push(source.at(1, &format!("`mod {name};` is missing in {}: nothing compiles it", parent.display())));
        }
    }
    check(problems);
}

#[test]
fn files_are_short_and_open_with_their_purpose() {
    let mut problems = Vec::new();
    for source in CRATES.into_iter().chain(["tests", "benches"]).flat_map(Source::all) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            problems.push(source.at(lines, &format!("{lines} lines: split it, {LINES_MAX} is the limit")));
        } else if lines > LINES_LONG {
            println!("{}", source.at(lines, &format!("{lines} lines: soon too long")));
        }
        if !source.only_tests && !source.text.trim_start().starts_with("//!") {
            problems.push(source.at(1, "open with `//!`: what it promises, and why it is built so"));
        }
    }
    check(problems);
}

#[test]
fn metrics_are_named_in_one_place() {
    let names = metric_names();
    let mut problems = Vec::new();
    for source in Source::product().iter().filter(|source| !source.path.starts_with("crates/core/src/metrics")) {
        for (line, literal) in &source.literals {
            let only_a_name = literal.starts_with("gatepost_") && words(literal).count() == 1;
            if words(literal).any(|word| names.contains(word)) || only_a_name {
                problems
                    .push(source.at(*line, &format!("{literal:?} names a metric: use its constant in crate::metrics")));
            }
        }
        for pair in source.tokens.windows(2) {
            if METRIC_MACROS.contains(&pair[0].text.as_str()) && pair[1].text == "!" {
                problems.push(source.at(pair[0].line, &format!("`{}!`: count through crate::metrics", pair[0].text)));
            }
        }
    }
    check(problems);
}

/// Else a relative one would start at the working directory, and a renewed file would not be noticed.
#[test]
fn paths_of_the_configuration_say_what_they_are_of() {
    let mut problems = Vec::new();
    for source in Source::product().iter().filter(|source| source.text.contains("JsonSchema)]")) {
        let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
        for (n, line) in lines.iter().enumerate() {
            let is_path = [": PathBuf,", ": Option<PathBuf>,", ": Vec<PathBuf>,"].iter().any(|end| line.ends_with(end));
            // Errors and the like name the file that they are about.
            let is_key = is_path && !line.starts_with("path:");
            let is_told = lines[n.saturating_sub(3)..n]
                .iter()
                .any(|line| line.contains("FileToRead") || line.contains("PlaceToKeep"));
            if is_key && !is_told {
                problems.push(source.at(n + 1, "say `#[schemars(with = \"Option<FileToRead>\")]`, or PlaceToKeep"));
            }
        }
    }
    check(problems);
}

#[test]
fn log_lines_for_operators_hold_no_debug_text() {
    let mut problems = Vec::new();
    for source in Source::product() {
        let tokens: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
        for at in 0..tokens.len() {
            if let ["tracing", ":", ":", "error" | "warn" | "info", "!", "(", ..] = &tokens[at..]
                && shows_debug_text(&tokens[at + 5..])
            {
                let line = source.tokens[at].line;
                problems.push(source.at(line, "`?` and `{:?}` are for us: give it fields of their own, or Display"));
            }
        }
    }
    check(problems);
}

/// Whether the arguments that begin here are formatted for debugging: `?field`, `field = ?value`, `{value:?}`.
fn shows_debug_text(tokens: &[&str]) -> bool {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate() {
        depth += i32::from(*token == "(") - i32::from(*token == ")");
        let is_field = n > 0 && *token == "?" && matches!(tokens[n - 1], "(" | "," | "=");
        if is_field || token.starts_with('"') && (token.contains(":?}") || token.contains(":#?}")) {
            return true;
        }
        if depth == 0 {
            return false;
        }
    }
    false
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let names = metric_names();
    let mut problems = Vec::new();
    for path in files("dashboards").into_iter().chain(files("deploy/prometheus")) {
        for (number, line) in read(&path).lines().enumerate() {
            for word in words(line).filter(|word| word.starts_with("gatepost_") && !names.contains(*word)) {
                problems.push(format!("{}:{}: no metric is called `{word}`", path.display(), number + 1));
            }
        }
    }
    check(problems);
}

#[test]
fn no_path_of_somebodys_machine_is_tracked() {
    let mut problems = Vec::new();
    for path in tracked() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for found in MACHINE_PATHS.iter().filter(|machine| names_path(line, machine)) {
                problems.push(format!("{}:{}: `{found}` exists only on one machine", path.display(), number + 1));
            }
        }
    }
    check(problems);
}

#[test]
fn the_reader_sees_imports_and_nothing_else() {
    let text = r##"
//! [`crate::app`] in a comment is none.
use crate::{spool::{Spool, reader}, values::Span, self};
use super::super::dedup;
/* crate::cli /* nested */ crate::cli */
const A: &str = "crate::config"; const B: &str = r#"crate::" config"#; const C: char = '"';
fn f<'a>(x: &'a crate::event::Event) { let _ = '\''; crate::some_macro!(x) }
mod inner { use super::super::super::net; use super::sibling; }
#[cfg(test)]
mod tests { use crate::app; fn f() { "gatepost_ready"; } }
#[cfg(test)] #[path = "rules_tests.rs"] mod more;
#[cfg(test)]
use crate::{inputs, config};
pub(in crate::filter) fn g() {}
"##;
    let source = Source::parse(PathBuf::from("src/filter/rules.rs"), text.to_owned());
    let found: Vec<(usize, String)> = source.imports();
    let expected = [(3, "spool"), (3, "values"), (4, "dedup"), (7, "event"), (8, "net"), (14, "filter")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_owned())));
    let literals: Vec<&str> = source.literals.iter().map(|(_, literal)| literal.as_str()).collect();
    assert_eq!(literals, ["crate::config", "crate::\" config"]);
    let allowed = |from, to: &str| climb(from, to, 1).is_none();
    assert!(allowed("filter", "filter") && allowed("filter", "event") && allowed("cli", "limits"));
    assert!(!allowed("filter", "spool") && !allowed("event", "ingest") && !allowed("filter", "nowhere"));
    for (text, shows) in [
        ("(?range, \"x\")", true),
        ("(a = 1, b = ?c, \"x\")", true),
        ("(\"x {c:?}\")", true),
        ("(a = b(c)?, \"x\") ?c", false),
        ("(%a, \"x {c}\")", false),
    ] {
        let source = Source::parse(PathBuf::from("src/app.rs"), format!("g{text}"));
        let tokens: Vec<&str> = source.tokens.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(shows_debug_text(&tokens[1..]), shows, "{text}");
    }
    assert!(names_path(concat!("cd /wo", "rk/main"), MACHINE_PATHS[0]));
    assert!(!names_path(concat!("https://host/a/wo", "rk/b"), MACHINE_PATHS[0]));
}

/// Fails with every problem, one a line.
fn check(problems: impl IntoIterator<Item = String>) {
    let problems: Vec<String> = problems.into_iter().collect();
    assert!(problems.is_empty(), "{} to tidy up:\n{}", problems.len(), problems.join("\n"));
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// What is wrong with the modules that a crate declares: each is in the table, and they stand from the top down.
fn declarations_out_of_order(lib: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    let mut above = usize::MAX;
    for (line, name) in lib.declared_modules().iter().filter(|_| lib.module() != Some("lab")) {
        match layer(name) {
            None => problems.push(lib.at(*line, &format!("`{name}` is in no layer of tests/tidy"))),
            Some(layer) if layer > above => {
                problems.push(lib.at(*line, &format!("`{name}` stands below a module of a lower layer")));
            }
            Some(layer) => above = layer,
        }
        if !lib.text.contains(&format!("pub mod {name};")) {
            problems.push(lib.at(*line, &format!("`{name}` is not `pub mod`")));
        }
    }
    problems
}

/// What is wrong with this import, if anything.
fn climb(from: &str, to: &str, line: usize) -> Option<(usize, String)> {
    if from == to {
        return None;
    }
    let problem = match (layer(from), layer(to)) {
        (Some(own), Some(other)) if other < own => return None,
        (Some(own), Some(other)) if other == own => {
            format!("`{from}` imports `{to}`: both are in layer {own}, and neighbours do not know each other")
        }
        (Some(own), Some(other)) => {
            format!("`{from}` (layer {own}) imports `{to}` (layer {other}): imports only go down")
        }
        (None, _) => format!("`{from}` is in no layer of tests/tidy"),
        (_, None) => format!("`{from}` imports `crate::{to}`, which is in no layer of tests/tidy"),
    };
    Some((line, problem))
}

/// Every name a metric has in a query: its own, and those of the series of a histogram.
fn metric_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for metric in gatepost::metrics::ALL {
        names.insert(metric.name.to_owned());
        if metric.kind == gatepost::metrics::Kind::Histogram {
            names.extend(["bucket", "sum", "count"].map(|series| format!("{}_{series}", metric.name)));
        }
    }
    names
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// True when the line holds the path as the beginning of an absolute path, not as the middle of a longer one.
fn names_path(line: &str, path: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || "._-".contains(c);
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(inside))
}

fn root() -> PathBuf {
    // Asked at run time: one build can judge another tree.
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a folder, relative to the root, in order. None when the folder is absent.
fn files(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { found.extend(files(&path)) } else { found.push(PathBuf::from(path)) }
    }
    found.sort();
    found
}

/// What git tracks; every file of the known folders where there is no git, as in a packaged crate.
fn tracked() -> Vec<PathBuf> {
    match Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output() {
        Ok(listed) if listed.status.success() => {
            let names = String::from_utf8_lossy(&listed.stdout).into_owned();
            names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect()
        }
        _ => {
            ["src", "crates", "tests", "benches", "docs", "deploy", "dashboards"].into_iter().flat_map(files).collect()
        }
    }
}
