//! The picture of a mistake.

use super::*;

fn pointed(query: &str, offset: usize) -> String {
    QueryError::new(offset, "wrong").pointed(query)
}

#[test]
fn the_caret_stands_under_the_place() {
    let long = format!("{}x{}", "a".repeat(300), "b".repeat(300));
    let cut = format!("wrong\n  …{}x{}…\n  {}^", "a".repeat(SHOWN), "b".repeat(SHOWN - 1), " ".repeat(SHOWN + 1));
    for (what, query, offset, expected) in [
        ("the beginning", "*[a=]", 0, "wrong\n  *[a=]\n  ^"),
        ("the middle", "*[a=]", 4, "wrong\n  *[a=]\n      ^"),
        ("the end", "*[a", 3, "wrong\n  *[a\n     ^"),
        ("beyond the end", "*[a", 99, "wrong\n  *[a\n     ^"),
        ("an empty query", "", 0, "wrong\n  \n  ^"),
        ("the first of two lines", "*[a\n=1]", 1, "wrong (line 1)\n  *[a\n   ^"),
        ("the second of two lines", "*[a\r\n=1]", 5, "wrong (line 2)\n  =1]\n  ^"),
        ("a newline at the end, which makes no second line", "*[\n", 2, "wrong\n  *[\n    ^"),
        ("letters of two bytes", "*[Größe=]", 10, "wrong\n  *[Größe=]\n          ^"),
        ("within a letter", "*[ö=]", 3, "wrong\n  *[ö=]\n    ^"),
        ("a tab", "*\t[a", 2, "wrong\n  * [a\n    ^"),
        ("what a terminal would obey", "*\u{1b}[2J", 1, "wrong\n  *\u{fffd}[2J\n   ^"),
        ("a long line", &long, 300, &cut),
    ] {
        assert_eq!(pointed(query, offset), expected, "{what}");
    }
}

#[test]
fn a_message_does_not_grow_with_the_query() {
    let name = "ü".repeat(20_000);
    for query in [name.clone(), format!("*[System[x={name}]]"), format!("*[{name}(1)]"), format!("*['{name}'=x]")] {
        let message = crate::filter::xpath::xpath(&query).expect_err("no query").message;
        assert!(message.len() < 600, "{message}");
    }
    assert_eq!(shortened("short"), "short");
    assert_eq!(shortened(&name).chars().count(), 61);
}
