//! Letters are kept until a person removes them.

use super::super::fs::RealFs;
use super::*;

fn letter(reason: &str) -> Letter {
    Letter {
        id: 0,
        first_seen_ms: 5,
        last_seen_ms: 9,
        tries: 2,
        answer: Some("never".to_owned()),
        client: None,
        source: Source::Output { name: "siem".to_owned() },
        reason: reason.to_owned(),
        status: Some(400),
        detail: "no".to_owned(),
        format: 1,
        stream: String::new(),
        raw: vec![0, 255, 10],
    }
}

const ALL: Page = Page { after: 0, limit: 100 };

#[test]
fn letters_are_kept_listed_and_removed_and_ids_are_not_reused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    let mut letters = open();
    assert_eq!(letters.put(vec![letter("a"), letter("b"), letter("a")]).unwrap(), [1, 2, 3]);
    let mut letters = open();
    let filter = Filter { reason: Some("a".to_owned()), ..Filter::default() };
    let ids: Vec<u64> = letters.list(&filter, ALL).unwrap().iter().map(|l| l.id).collect();
    assert_eq!(ids, [1, 3]);
    assert_eq!(letters.get(2).unwrap(), Some(Letter { id: 2, ..letter("b") }));
    assert_eq!(letters.remove(&[1, 3, 9]).unwrap(), 2);
    assert_eq!((open().totals().count, open().get(1).unwrap()), (1, None));
    assert_eq!(letters.put(vec![letter("c")]).unwrap(), [4]);
}

#[test]
fn a_torn_last_line_is_passed_over_and_not_written_after() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    open().put(vec![letter("a"), letter("b")]).unwrap();
    let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    let mut letters = open();
    assert_eq!(letters.totals().count, 1);
    letters.put(vec![letter("c")]).unwrap();
    let reasons: Vec<String> = open().list(&Filter::default(), ALL).unwrap().into_iter().map(|l| l.reason).collect();
    assert_eq!(reasons, ["a", "c"]);
}

#[test]
fn the_bound_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = DeadLetters::open(Arc::new(RealFs), dir.path(), 500).unwrap();
    letters.put(vec![letter("a")]).unwrap();
    assert!(matches!(letters.put(vec![letter("b"), letter("b"), letter("b")]), Err(PutError::Full)));
    assert_eq!(letters.totals().count, 1);
    let mut reading = DeadLetters::open_read_only(Arc::new(RealFs), dir.path()).unwrap();
    assert!(matches!(reading.put(vec![letter("b")]), Err(PutError::ReadOnly)));
}

#[test]
fn a_file_without_a_whole_letter_does_not_take_the_name_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    // All of the first file's only letter was torn off.
    std::fs::write(dir.path().join(format!("{:020}.ndjson", 1)), b"{\"id\":1,").unwrap();
    let mut letters = open();
    let id = letters.put(vec![letter("a")]).unwrap()[0];
    assert_eq!(letters.put(vec![letter("b")]).unwrap(), [id + 1]);
    let again = open();
    assert_eq!(again.totals().count, 2);
    assert_eq!(again.get(id).unwrap().map(|letter| letter.reason), Some("a".to_owned()));
}

#[test]
fn letters_of_a_former_version_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let old = r#"{"id":4,"first_seen_ms":5,"source":{"output":{"name":"siem"}},"reason":"rejected","status":400,"detail":"no","format":1,"stream":"","raw":"AP8K"}"#;
    std::fs::write(dir.path().join(format!("{:020}.ndjson", 4)), format!("{old}\n")).unwrap();
    let letters = DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    let read = letters.get(4).unwrap().unwrap();
    assert_eq!((read.first_seen_ms, read.last_seen_ms, read.tries, read.answer), (5, 5, 1, None));
}

#[test]
fn letters_are_chosen_by_every_filter_and_counted_by_kind() {
    let dir = tempfile::tempdir().unwrap();
    let mut letters = DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    let at = |first_seen_ms, reason| Letter { first_seen_ms, ..letter(reason) };
    let unreadable = Letter { source: Source::Input { name: "agents".to_owned() }, ..at(20, "a sentence") };
    letters.put(vec![at(10, "rejected"), unreadable, at(30, "expired")]).unwrap();
    let ids = |filter: Filter| -> Vec<u64> { letters.list(&filter, ALL).unwrap().iter().map(|l| l.id).collect() };
    assert_eq!(ids(Filter { before_ms: Some(20), ..Filter::default() }), [1]);
    assert_eq!(ids(Filter { since_ms: Some(20), ..Filter::default() }), [2, 3]);
    assert_eq!(ids(Filter { until: Some(2), ..Filter::default() }), [1, 2]);
    assert_eq!(ids(Filter { reason: Some(NOT_UNDERSTOOD.to_owned()), ..Filter::default() }), [2]);
    assert_eq!(ids(Filter { source: Some("siem".to_owned()), since_ms: Some(11), ..Filter::default() }), [3]);

    letters.remove(&[2, 3]).unwrap();
    letters.put(vec![at(40, "rejected")]).unwrap();
    let kind = |source: &str, reason: &str| (source.to_owned(), reason.to_owned());
    let counted = [(kind("agents", NOT_UNDERSTOOD), 0), (kind("siem", "expired"), 0), (kind("siem", "rejected"), 2)];
    assert_eq!(*letters.waiting(), counted.into());
    let again = DeadLetters::open_read_only(Arc::new(RealFs), dir.path()).unwrap();
    assert_eq!(*again.waiting(), [(kind("siem", "rejected"), 2)].into());
}
