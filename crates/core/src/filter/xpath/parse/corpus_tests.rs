//! The verdict on published queries.

use std::path::{Path, PathBuf};

use super::{channel_query, xpath};

/// The published queries, if they are here.
fn shared_queries() -> Option<String> {
    let root = std::env::var_os("GATEPOST_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = root.join("data/xpath/queries.tsv");
    let queries = std::fs::read_to_string(&path).ok();
    if queries.is_none() {
        println!("skipped: there is no {}; set GATEPOST_SHARED", path.display());
    }
    queries
}

#[test]
fn every_published_query_gets_the_verdict_that_is_expected() {
    let Some(queries) = shared_queries() else { return };
    let (mut valid, mut invalid) = (0, 0);
    for line in queries.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.splitn(4, '\t').collect();
        let [source, expected, _, query] = columns[..] else { panic!("four columns: {line}") };
        let bare = query.starts_with(['*', '(']) || query.starts_with("Event");
        match expected {
            "valid" if bare => {
                let read = xpath(query).unwrap_or_else(|error| panic!("{source}\n{}", error.pointed(query)));
                assert_eq!(xpath(&read.to_string()), Ok(read), "{query}");
                valid += 1;
            }
            "valid" => {
                let read = channel_query(query).unwrap_or_else(|error| panic!("{source}\n{}", error.pointed(query)));
                assert!(query.starts_with(&*read.channel), "{query}");
                assert_eq!(xpath(&read.expr.to_string()), Ok(read.expr), "{query}");
                valid += 1;
            }
            _ => {
                let errors = [xpath(query).map(drop), channel_query(query).map(drop)];
                for error in errors {
                    println!("{}", error.expect_err(source).pointed(query));
                }
                invalid += 1;
            }
        }
    }
    assert!(valid > 160 && invalid >= 7, "{valid} valid, {invalid} invalid");
}
