//! The committed documents say what the code says. `UPDATE=1 cargo test --test tidy reference` writes them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gatepost::config::{example, reference};
use gatepost::event::{MAX_EVENTS, MAX_JSON_DEPTH, MAX_RECORD_BYTES};
use gatepost::inputs::entra::request::FORMS_MAX;
use gatepost::limits::{
    AZURE_BODY_MAX_BYTES, AZURE_PAGE_MAX, DCR_ASSOCIATIONS_MAX, DCR_FINDINGS_MAX, DCR_RULES_MAX,
    DCR_TEMPLATE_GROWTH_MAX_BYTES, DCR_TEXT_MAX_BYTES,
};
use gatepost::tunnel::Reason;

#[path = "../faults/state_table/table.rs"]
mod state_table;

fn of_checkout(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

pub(crate) fn check(file: &str, made: &str) {
    let path = of_checkout(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().expect("a folder")).expect("make the folder");
        fs::write(&path, made).expect("write the document");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).position(|(a, b)| a != b);
    let line = differs.unwrap_or(committed.lines().count().min(made.lines().count())) + 1;
    assert!(committed == made, "{file} is stale from line {line} on; run `UPDATE=1 cargo test --test tidy reference`");
}

#[test]
fn configuration_reference() {
    check("docs/configuration.md", &reference::configuration());
}

#[test]
fn example_configuration() {
    check("docs/gatepost.example.toml", &example::text());
}

#[test]
fn metrics_reference() {
    check("docs/metrics.md", &reference::metrics());
}

/// A document with what stands between `<!-- mark -->` and the next `<!-- end -->` replaced.
pub(crate) fn filled_in(document: &str, mark: &str, made: &str) -> String {
    let begin = format!("<!-- {mark} -->\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("there is no {begin}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("the mark has an end");
    format!("{before}{begin}{made}<!-- end -->{after}")
}

fn reasons() -> String {
    let mut table = "\n| code | status | id | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for reason in Reason::ALL {
        let status = if reason.status == 0 { "–".to_owned() } else { reason.status.to_string() };
        writeln!(table, "| `{}` | {status} | {} | {} |", reason.code, reason.oms_event_id, reason.text).expect("text");
    }
    table + "\n"
}

#[test]
fn reasons_of_tunnels() {
    let file = "docs/protocols/connect-proxy.md";
    let document = fs::read_to_string(of_checkout(file)).expect("it is there");
    check(file, &filled_in(&document, "reasons", &reasons()));
}

#[test]
fn state_directory() {
    let file = "docs/runbook.md";
    let document = fs::read_to_string(of_checkout(file)).expect("it is there");
    check(file, &filled_in(&document, "state table", &state_table::printed()));
}

#[test]
fn the_guide_for_people_who_migrate_names_each_reason_beside_its_event() {
    let guide = fs::read_to_string(of_checkout("docs/migrate-from-oms-gateway.md")).expect("it is there");
    for Reason { code, status, oms_event_id, .. } in Reason::ALL {
        let mut rows = guide.lines().filter(|line| line.starts_with(&format!("| {oms_event_id} |")));
        assert!(rows.any(|row| row.contains(&format!("`{code}`"))), "{code} ({status}) is not at {oms_event_id}");
    }
}

#[test]
fn the_threat_model_names_tests_that_exist() {
    let model = fs::read_to_string(of_checkout("docs/threat-model.md")).expect("it is there");
    let mut sources = String::new();
    for folder in super::CRATES.into_iter().chain(["tests"]) {
        read_all(&of_checkout(folder), &mut sources);
    }
    let mut named = 0;
    for row in model.lines().filter(|line| line.starts_with('|') && line.matches(" | ").count() == 2) {
        let proof = row.trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        for name in proof.split('`').skip(1).step_by(2) {
            named += 1;
            let folders =
                super::CRATES.into_iter().chain(["tests", "tests/e2e", "tests/faults", "fuzz/fuzz_targets", "."]);
            let mut places = folders.flat_map(|folder| [format!("{folder}/{name}"), format!("{folder}/{name}.rs")]);
            let there = places.any(|place| of_checkout(&place).exists());
            assert!(there || sources.contains(&format!("fn {name}()")), "there is no {name}: {row}");
        }
    }
    assert!(named > 30, "only {named} are named");
}

/// A number as the documents write it.
fn number(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).map(|group| std::str::from_utf8(group).expect("digits")).collect();
    groups.into_iter().rev().collect::<Vec<_>>().join(",")
}

#[test]
fn the_threat_model_names_the_limits_that_are_in_force() {
    let model = fs::read_to_string(of_checkout("docs/threat-model.md")).expect("it is there");
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let (rules, page) = (number(DCR_RULES_MAX), number(AZURE_PAGE_MAX));
    let told = [
        format!("{} levels; {} an event; {} events;", MAX_JSON_DEPTH, mib(MAX_RECORD_BYTES), number(MAX_EVENTS)),
        format!("{} a file, {rules} rules, ", mib(DCR_TEXT_MAX_BYTES)),
        format!("grow to {} in all", mib(DCR_TEMPLATE_GROWTH_MAX_BYTES)),
        format!("{} findings are told", number(DCR_FINDINGS_MAX)),
        format!("{} a body, {rules} rules, {} associations", mib(AZURE_BODY_MAX_BYTES), number(DCR_ASSOCIATIONS_MAX)),
        format!("associations, pages of {page}"),
        format!("forms have {} of their own", mib(usize::try_from(FORMS_MAX).expect("it is small"))),
    ];
    for told in told {
        assert!(model.contains(&told), "docs/threat-model.md does not say {told:?}");
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).expect("UTF-8"));
        }
    }
}
