//! Any text as a query: never panics, errors point inside, and what is read prints as a query for the same tree.
#![no_main]

use gatepost::filter::xpath::{QueryError, channel_query, lint, xpath};
use libfuzzer_sys::fuzz_target;

fn check(error: &QueryError, query: &str) {
    assert!(error.offset <= query.len());
    assert!(error.pointed(query).starts_with(&error.message));
}

fuzz_target!(|query: &str| {
    match xpath(query) {
        Ok(expr) => {
            let printed = expr.to_string();
            match xpath(&printed) {
                Ok(again) => assert_eq!(again, expr),
                // Masks print in hexadecimal, so what is printed may be longer than what was read.
                Err(error) => assert!(error.message.contains("at most"), "{printed}: {error}"),
            }
            lint(None, &expr);
        }
        Err(error) => check(&error, query),
    }
    match channel_query(query) {
        Ok(read) => {
            let again = channel_query(&format!("{}!{}", read.channel, read.expr));
            assert!(again.is_ok_and(|again| again == read) || query.len() > 1 << 15);
            lint(Some(&read.channel), &read.expr);
        }
        Err(error) => check(&error, query),
    }
});
