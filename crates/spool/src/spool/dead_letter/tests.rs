//! Letters are kept until a person removes them.

use super::*;
use crate::fs::RealFs;

/// A directory within another: beside the letters stands their note.
struct Place {
    path: PathBuf,
    _own: tempfile::TempDir,
}

impl Place {
    fn path(&self) -> &Path {
        &self.path
    }
}

fn place() -> Place {
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("dead-letters");
    std::fs::create_dir(&path).unwrap();
    Place { path, _own: own }
}

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
    let dir = place();
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
    let dir = place();
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
fn a_flipped_bit_costs_at_most_the_letters_it_hits_and_is_counted() {
    let dir = place();
    let open = || DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    open().put(vec![letter("a"), letter("b"), letter("c")]).unwrap();
    let path = dir.path().join(format!("{:020}.ndjson", 1));
    let whole = std::fs::read(&path).unwrap();
    for bit in (0..whole.len() * 8).step_by(5) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).unwrap();
        std::fs::remove_file(path.with_extension("damaged")).ok();
        let mut letters = open();
        let found = letters.list(&Filter::default(), ALL).unwrap();
        assert_eq!(found.len() as u64 + letters.damage().letters, 3, "bit {bit}");
        assert!(found.iter().all(|found| *found == Letter { id: found.id, ..letter(&found.reason) }), "bit {bit}");
        assert!(found.iter().all(|found| ["a", "b", "c"].contains(&found.reason.as_str())), "bit {bit}");
        let damaged = letters.damage().letters > 0;
        assert_eq!(damaged, path.with_extension("damaged").exists(), "bit {bit}: what is damaged is put aside");
        letters.put(vec![letter("d")]).unwrap();
        assert_eq!(open().totals().count, letters.totals().count, "bit {bit}");
        assert_eq!(open().damage(), &Damage::default(), "bit {bit}: it is told once");
        std::fs::read_dir(dir.path()).unwrap().for_each(|entry| std::fs::remove_file(entry.unwrap().path()).unwrap());
        std::fs::remove_file(dir.path().with_extension("kept")).ok();
    }
}

#[test]
fn letters_that_have_gone_are_missed_and_their_numbers_are_not_given_again() {
    let dir = place();
    let open = || DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    let mut letters = open();
    letters.put(vec![letter("a"), letter("b"), letter("c")]).unwrap();
    letters.note().unwrap();
    letters.remove(&[2]).unwrap();
    assert_eq!(open().damage().letters, 0, "what was removed is not missed");
    let path = dir.path().join(format!("{:020}.ndjson", 1));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2 + 1]).unwrap();
    assert_eq!((open().totals().count, open().damage().letters), (1, 1));
    std::fs::remove_dir_all(dir.path()).unwrap();
    let mut letters = open();
    assert_eq!((letters.totals().count, letters.damage().letters), (0, 2));
    assert_eq!(letters.put(vec![letter("d")]).unwrap(), [4]);
}

#[test]
fn a_file_that_cannot_be_read_keeps_the_others_from_nothing() {
    let dir = place();
    let open = || DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    open().put(vec![letter("a")]).unwrap();
    // What a damaged file system can say of a file.
    let huge = std::fs::File::create(dir.path().join(format!("{:020}.ndjson", 2))).unwrap();
    huge.set_len(1 << 40).unwrap();
    let mut letters = open();
    assert_eq!(letters.totals().count, 1);
    assert_eq!(letters.damage().files.len(), 1, "{:?}", letters.damage());
    let id = letters.put(vec![letter("b")]).unwrap()[0];
    assert!(id > 2, "{id}");
}

#[test]
fn the_bound_holds() {
    let dir = place();
    let mut letters = DeadLetters::open(Arc::new(RealFs), dir.path(), 600).unwrap();
    letters.put(vec![letter("a")]).unwrap();
    assert!(matches!(letters.put(vec![letter("b"), letter("b"), letter("b")]), Err(PutError::ShareFull { .. })));
    assert_eq!(letters.totals().count, 1);
    let mut reading = DeadLetters::open_read_only(Arc::new(RealFs), dir.path()).unwrap();
    assert!(matches!(reading.put(vec![letter("b")]), Err(PutError::ReadOnly)));
}

#[test]
fn a_file_without_a_whole_letter_does_not_take_the_name_of_the_next() {
    let dir = place();
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
    let dir = place();
    let old = r#"{"id":4,"first_seen_ms":5,"source":{"output":{"name":"siem"}},"reason":"rejected","status":400,"detail":"no","format":1,"stream":"","raw":"AP8K"}"#;
    std::fs::write(dir.path().join(format!("{:020}.ndjson", 4)), format!("{old}\n")).unwrap();
    let letters = DeadLetters::open(Arc::new(RealFs), dir.path(), 1 << 20).unwrap();
    let read = letters.get(4).unwrap().unwrap();
    assert_eq!((read.first_seen_ms, read.last_seen_ms, read.tries, read.answer), (5, 5, 1, None));
}

#[test]
fn letters_are_chosen_by_every_filter_and_counted_by_kind() {
    let dir = place();
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
