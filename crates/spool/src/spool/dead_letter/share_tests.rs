//! What one fills is its own share: nobody else's letters go for it, and nobody waits for it.

use std::collections::BTreeSet;

use super::*;
use crate::fs::RealFs;
use crate::fs::faulty::FaultyFs;

const KIB: u64 = 1 << 10;

pub(super) const ROOM: Room = Room { inputs: 512 * KIB, client: 64 * KIB, outputs: 256 * KIB };

pub(super) const ALL: Page = Page { after: 0, limit: usize::MAX };

/// A directory within another: beside the letters stands their note.
pub(super) fn place() -> (tempfile::TempDir, PathBuf) {
    let own = tempfile::tempdir().unwrap();
    let path = own.path().join("dead-letters");
    (own, path)
}

fn open(dir: &Path) -> DeadLetters {
    DeadLetters::open_with(Arc::new(RealFs), dir, ROOM).unwrap()
}

fn letter(source: Source, detail: &str, raw: &[u8]) -> Letter {
    Letter {
        id: 0,
        first_seen_ms: 1_790_000_000_000,
        last_seen_ms: 1_790_000_000_000,
        tries: 1,
        answer: None,
        client: None,
        source,
        reason: "not an event".to_owned(),
        status: None,
        detail: detail.to_owned(),
        format: 0,
        stream: String::new(),
        raw: raw.to_vec(),
    }
}

/// What an input could not understand.
pub(super) fn unread(client: &str) -> Letter {
    letter(Source::Input { name: "agents".to_owned() }, &format!("sent by {client}"), b"x")
}

/// What an output buried.
pub(super) fn buried(output: &str) -> Letter {
    letter(Source::Output { name: output.to_owned() }, "400", &[b'x'; 8 * KIB as usize])
}

pub(super) fn of_client(letters: &DeadLetters, client: &str) -> Vec<u64> {
    let all = letters.list(&Filter::default(), ALL).unwrap();
    all.iter().filter(|letter| letter.detail == format!("sent by {client}")).map(|letter| letter.id).collect()
}

#[test]
fn a_sender_that_sends_much_loses_its_own_oldest_letters_and_no_other_one() {
    let (_own, dir) = place();
    let mut letters = open(&dir);
    let good = letters.put(vec![unread("good"), unread("good")]).unwrap();
    let mut put = 0;
    for _ in 0..60 {
        put += letters.put(vec![unread("hostile"); 50]).unwrap().len() as u64;
    }
    assert_eq!(of_client(&letters, "good"), good);
    let left = of_client(&letters, "hostile");
    assert!(left.len() > 100, "its share is used: {}", left.len());
    let newest = (2 + put - left.len() as u64 + 1)..=(2 + put);
    assert_eq!(left, newest.collect::<Vec<_>>(), "the oldest went, and no gap is left");
    assert!(letters.totals().bytes < ROOM.client + 4 * KIB, "{:?}", letters.totals());

    // Every letter is one that is kept or one that was displaced, also after a restart.
    let displaced = put - left.len() as u64;
    for letters in [letters, open(&dir), DeadLetters::open_read_only(Arc::new(RealFs), &dir).unwrap()] {
        assert_eq!(letters.displaced()["agents"], displaced);
        assert_eq!((letters.totals().count, letters.damage().letters), (put + 2 - displaced, 0));
        assert_eq!(letters.waiting()[&("agents".to_owned(), NOT_UNDERSTOOD.to_owned())], put + 2 - displaced);
    }
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    assert_eq!(displaced_of(&fs, &dir), displaced);
}

fn displaced_of(fs: &Arc<dyn Fs>, dir: &Path) -> u64 {
    displaced(fs, dir)["agents"]
}

#[test]
fn one_upload_larger_than_a_share_leaves_its_last_letters_and_the_rest_is_counted() {
    let (_own, dir) = place();
    let mut letters = open(&dir);
    let put = letters.put(vec![unread("hostile"); 5_000]).unwrap();
    let left = of_client(&letters, "hostile");
    assert!(!left.is_empty() && letters.totals().bytes <= ROOM.client, "{:?}", letters.totals());
    assert_eq!(left[..], put[put.len() - left.len()..]);
    assert_eq!(letters.displaced()["agents"], (put.len() - left.len()) as u64);
    assert_eq!(letters.waiting()[&("agents".to_owned(), NOT_UNDERSTOOD.to_owned())], left.len() as u64);
}

#[test]
fn what_is_left_out_is_counted_once_although_its_write_fails_and_is_tried_again() {
    let (_own, dir) = place();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut letters = DeadLetters::open_with(fs, &dir, ROOM).unwrap();
    for fails_at in 1..=3 {
        faults.fail_syncs(fails_at, 1);
        letters.put(vec![unread("hostile"); 5_000]).unwrap_err();
        assert_eq!(letters.displaced().get("agents").copied().unwrap_or(0), 0, "sync {fails_at}");
    }
    let put = letters.put(vec![unread("hostile"); 5_000]).unwrap().len() as u64;
    for letters in [letters, open(&dir)] {
        assert_eq!(letters.displaced()["agents"], put - letters.totals().count);
    }
}

#[test]
fn on_a_full_disk_what_is_given_up_goes_although_it_cannot_be_noted_first() {
    let (_own, dir) = place();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut letters = DeadLetters::open_with(fs, &dir, ROOM).unwrap();
    let mut put = 0;
    while letters.displaced().is_empty() {
        put += letters.put(vec![unread("hostile"); 50]).unwrap().len() as u64;
    }
    let used = letters.totals().bytes;
    faults.disk_full(true);
    // Larger than the room that the last one found.
    assert!(matches!(letters.put(vec![unread("hostile"); 300]), Err(PutError::Full)));
    assert!(letters.totals().bytes < used, "{:?}", letters.totals());
    assert_eq!(letters.displaced()["agents"], put - letters.totals().count);
    faults.disk_full(false);
    letters.note().unwrap();
    let again = open(&dir);
    assert_eq!((again.displaced(), again.totals()), (letters.displaced(), letters.totals()));
    assert_eq!(again.damage(), &Damage::default());
}

#[test]
fn letters_of_an_upload_that_is_refused_after_all_are_taken_back_also_on_a_full_disk() {
    let (_own, dir) = place();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut letters = DeadLetters::open_with(fs, &dir, ROOM).unwrap();
    let kept = letters.put(vec![unread("a"), unread("a")]).unwrap();
    for _ in 0..3 {
        let put = letters.put(vec![unread("a"), unread("a")]).unwrap();
        let many = letters.put(vec![unread("b"); 5_000]).unwrap();
        faults.disk_full(true);
        letters.withdraw("agents", &put).unwrap();
        letters.withdraw("agents", &many).unwrap();
        faults.disk_full(false);
    }
    letters.note().unwrap();
    for letters in [letters, open(&dir)] {
        assert_eq!((of_client(&letters, "a"), letters.totals().count), (kept.clone(), 2));
        assert_eq!(letters.displaced().get("agents").copied().unwrap_or(0), 0, "nothing of them was ever acknowledged");
        assert_eq!(letters.damage(), &Damage::default());
    }
}

#[test]
fn many_senders_are_bounded_by_what_inputs_have_and_who_has_most_gives_way() {
    let (_own, dir) = place();
    let mut letters = open(&dir);
    letters.put(vec![unread("hostile"); 5_000]).unwrap();
    let before = of_client(&letters, "hostile").len();
    let mut room_for_more = 0;
    for n in 0..100 {
        letters.put(vec![unread(&format!("10.0.0.{n}"))]).unwrap();
        if of_client(&letters, "hostile").len() == before {
            room_for_more = n;
        }
        assert!(letters.shares.charged() <= ROOM.inputs, "{}", letters.shares.charged());
        // As long as somebody has more than one file, who has one loses nothing.
        if n < 28 {
            assert_eq!(of_client(&letters, "10.0.0.0").len(), 1, "after {n}");
        }
    }
    assert!(room_for_more > 20 && room_for_more < 30, "{room_for_more}");
    assert!(letters.shares.files().len() as u64 <= ROOM.inputs / (16 * KIB));
}

#[test]
fn each_output_has_its_share_whatever_inputs_and_other_outputs_fill() {
    let (_own, dir) = place();
    let mut letters = open(&dir);
    letters.share_among(["one".to_owned(), "two".to_owned()]);
    assert_eq!(letters.share_of("one"), 128 * KIB);
    letters.put(vec![unread("hostile"); 5_000]).unwrap();
    let mut kept = 0;
    while letters.put(vec![buried("one")]).is_ok() {
        kept += 1;
    }
    assert!((8..=16).contains(&kept), "{kept}");
    let full = letters.put(vec![buried("one")]).unwrap_err();
    assert!(matches!(&full, PutError::ShareFull { output, share } if output == "one" && *share == 128 * KIB), "{full}");
    assert!(full.to_string().contains("raise dead_letters.max_size"), "{full}");
    let two = letters.put(vec![buried("two")]).unwrap();
    letters.put(vec![unread("hostile"); 5_000]).unwrap();
    assert!(letters.get(two[0]).unwrap().is_some());
    assert_eq!(letters.list(&Filter { source: Some("one".to_owned()), ..Filter::default() }, ALL).unwrap().len(), kept);
    // Also the first letter of an output that came when others had theirs, and that is larger than its share.
    let mut large = buried("three");
    large.raw = vec![0; 300 * KIB as usize];
    letters.put(vec![large]).unwrap();
    // There is room again for one that was purged.
    letters.purge(&Filter { source: Some("one".to_owned()), ..Filter::default() }).unwrap();
    letters.put(vec![buried("one")]).unwrap();
}

#[test]
fn tiny_letters_cost_the_same_work_each_however_many_there_are() {
    let (_own, dir) = place();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut letters = DeadLetters::open_with(fs, &dir, ROOM).unwrap();
    let mut syncs = |puts: u64| {
        let before = faults.syncs();
        for _ in 0..puts {
            letters.put(vec![unread("hostile"); 10]).unwrap();
        }
        faults.syncs() - before
    };
    let (while_empty, while_full) = (syncs(30), (syncs(300), syncs(300)).1);
    // One for a letter, and one for a note about a whole file of others. Nothing is written anew.
    assert!(while_empty >= 30 && while_full <= 300 + 300 / 2, "{while_empty}, {while_full}");
}

#[test]
fn a_letter_of_a_byte_is_small_and_one_of_a_long_record_says_that_it_is_a_part() {
    let (_own, dir) = place();
    let mut letters = open(&dir);
    letters.put(vec![unread("10.1.2.3")]).unwrap();
    assert!(letters.totals().bytes <= 200, "{:?}", letters.totals());
    let long = Letter { raw: vec![b'y'; 100_000], ..unread("10.1.2.3") };
    let id = letters.put(vec![long]).unwrap()[0];
    let kept = letters.get(id).unwrap().unwrap();
    assert_eq!(kept.raw.len(), 8 * KIB as usize);
    assert_eq!(kept.reason, "not an event (of its 100000 bytes the first 8192 are kept)");
    // An event that was acknowledged is kept whole.
    let id = letters.put(vec![buried("one")]).unwrap()[0];
    assert_eq!(letters.get(id).unwrap().unwrap().raw, buried("one").raw);
}

/// A file as the version before wrote it: letters of several owners.
fn mixed(dir: &Path) -> (PathBuf, Vec<u8>) {
    let mut bytes = Vec::new();
    let all = [unread("a"), buried("siem"), unread("b"), unread("a"), buried("siem")];
    for (id, letter) in (7..).zip(all) {
        lines::push(&mut bytes, &Letter { id, ..letter });
    }
    std::fs::create_dir_all(dir).unwrap();
    let path = path_of(dir, 7);
    std::fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

#[test]
fn letters_of_the_version_before_are_divided_between_their_owners_and_none_is_lost() {
    let (_own, dir) = place();
    let (path, before) = mixed(&dir);
    let ids = |letters: &DeadLetters| -> Vec<u64> {
        letters.list(&Filter::default(), ALL).unwrap().iter().map(|letter| letter.id).collect()
    };
    let looking = DeadLetters::open_read_only(Arc::new(RealFs), &dir).unwrap();
    assert_eq!((ids(&looking), looking.totals().count), (vec![7, 8, 9, 10, 11], 5));
    // Also after a crash in the middle of it, which leaves the file as it was beside new ones.
    for _ in 0..2 {
        std::fs::write(&path, &before).unwrap();
        let letters = open(&dir);
        assert_eq!((ids(&letters), letters.totals().count, letters.damage().letters), (vec![7, 8, 9, 10, 11], 5, 0));
        assert_eq!(of_client(&letters, "a"), [7, 10]);
        assert_eq!(letters.shares.files().len(), 3);
        assert!(letters.kept_of("siem") > 16 * KIB, "its share is taken");
    }
    let mut letters = open(&dir);
    assert_eq!(letters.put(vec![unread("b")]).unwrap(), [12]);
    assert_eq!(ids(&open(&dir)), [7, 8, 9, 10, 11, 12]);
}

#[test]
fn a_division_left_half_done_costs_no_letter_that_comes_after_it_and_counts_none_twice() {
    let (_own, dir) = place();
    // Each of the three files is one sync.
    for fails_at in 1..=3 {
        mixed(&dir);
        let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
        faults.fail_syncs(fails_at, 1);
        let mut letters = DeadLetters::open_with(fs, &dir, ROOM).unwrap();
        assert_eq!(letters.totals().count, 5, "sync {fails_at}");
        let new = letters.put(vec![buried("siem"), unread("b"), buried("siem")]).unwrap();
        let all: Vec<u64> = (7..=11).chain(new).collect();
        for letters in [open(&dir), open(&dir)] {
            let there = letters.list(&Filter::default(), ALL).unwrap();
            assert_eq!(there.iter().map(|letter| letter.id).collect::<Vec<_>>(), all, "sync {fails_at}");
            assert_eq!((letters.totals().count, letters.damage().letters), (8, 0), "sync {fails_at}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::remove_file(dir.with_extension("kept")).ok();
    }
}

#[test]
fn letters_behind_a_part_that_a_start_before_left_are_kept() {
    let (_own, dir) = place();
    let (path, before) = mixed(&dir);
    let new = open(&dir).put(vec![buried("siem")]).unwrap();
    std::fs::write(&path, before).unwrap();
    let letters = open(&dir);
    assert!(letters.get(new[0]).unwrap().is_some());
    assert_eq!(letters.totals().count, 6);
}

#[test]
fn what_was_displaced_is_counted_once_although_a_crash_brings_its_file_back() {
    let (_own, dir) = place();
    let mut letters = open(&dir);
    letters.put(vec![unread("hostile"); 50]).unwrap();
    let first = path_of(&dir, 1);
    let bytes = std::fs::read(&first).unwrap();
    while first.exists() {
        letters.put(vec![unread("hostile"); 50]).unwrap();
    }
    let (count, displaced) = (letters.totals().count, letters.displaced().clone());
    std::fs::write(&first, bytes).unwrap();
    let looking = DeadLetters::open_read_only(Arc::new(RealFs), &dir).unwrap();
    assert_eq!(looking.totals().count, count);
    let mut letters = open(&dir);
    assert!(!first.exists());
    assert_eq!((letters.totals().count, letters.displaced()), (count, &displaced));
    letters.note().unwrap();
    assert_eq!((open(&dir).totals().count, open(&dir).displaced()), (count, &displaced));
    assert!(letters.note.written().dropping.is_empty(), "{:?}", letters.note.written());
}

#[test]
fn a_write_that_fails_leaves_no_letter_and_takes_none_away() {
    let (_own, dir) = place();
    let (fs, faults) = FaultyFs::new(Arc::new(RealFs));
    let mut letters = DeadLetters::open_with(fs, &dir, ROOM).unwrap();
    let kept = letters.put(vec![unread("a"), unread("a")]).unwrap();
    faults.disk_full(true);
    assert!(matches!(letters.put(vec![unread("a"), buried("siem")]), Err(PutError::Full)));
    faults.disk_full(false);
    // One of the two is written, or none.
    faults.fail_syncs(2, 1);
    assert!(matches!(letters.put(vec![unread("a"), buried("siem")]), Err(PutError::Io(_))));
    let ids = |letters: &DeadLetters| -> BTreeSet<u64> {
        letters.list(&Filter::default(), ALL).unwrap().iter().map(|letter| letter.id).collect()
    };
    assert_eq!(ids(&letters), kept.iter().copied().collect());
    assert_eq!((letters.totals().count, open(&dir).totals().count), (2, 2));
    let more = letters.put(vec![unread("a"), buried("siem")]).unwrap();
    assert_eq!(ids(&open(&dir)), kept.into_iter().chain(more).collect());
}
