//! Any text as a structured query: never panics, errors point inside, and what is read keeps the rules of a QueryList.
#![no_main]

use gatepost::filter::xpath::{QueryList, xpath};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|document: &str| {
    let list = match QueryList::parse(document) {
        Ok(list) => list,
        Err(error) => {
            assert!(error.offset <= document.len());
            assert!(error.pointed(document).starts_with(&error.message));
            return;
        }
    };
    assert!(!list.queries.is_empty());
    for query in &list.queries {
        assert!(!query.selects.is_empty());
        for selector in query.selects.iter().chain(&query.suppresses) {
            assert_eq!(xpath(&selector.text).as_ref(), Ok(&selector.expr));
            assert!(selector.channel.as_deref().is_none_or(|channel| !channel.is_empty()));
        }
    }
    let selectors = list.queries.iter().flat_map(|query| query.selects.iter().chain(&query.suppresses));
    let named = selectors.clone().filter(|selector| selector.channel.is_some()).count();
    assert!(named == 0 || named == selectors.count());
});
