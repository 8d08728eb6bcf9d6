//! Real events, one of each id and version of the shared logs, and the rows that they have to become.

use std::path::Path;

use super::*;

/// Pairs of `{name}.xml` and `{name}.json`; the latter holds a row for each table that it names.
#[test]
fn real_events_become_the_rows_that_were_written_down_for_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/columns");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let (mut ids, mut cases) = (std::collections::BTreeSet::new(), 0);
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "xml")) {
        let xml = std::fs::read_to_string(path).expect("readable");
        let expected = std::fs::read_to_string(path.with_extension("json")).expect("rows beside the event");
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        for (table, want) in expected.as_object().expect("tables") {
            let table = match table.as_str() {
                "WindowsEvent" => Table::WindowsEvent,
                "SecurityEvent" => Table::SecurityEvent,
                "Event" => Table::Event,
                other => panic!("{}: there is no table {other}", path.display()),
            };
            assert_eq!(&row_of(table, xml.trim_end()), want, "{}", path.display());
            ids.insert(want["EventID"].as_i64().expect("an id"));
            cases += 1;
        }
    }
    assert!(ids.len() >= 40 && cases >= 80, "{} ids, {cases} rows", ids.len());
}
