use std::convert::Infallible;
use std::io::Cursor;

use super::*;
use gatepost_lab::events::{Host, SimulatedEvent};
use gatepost_lab::evtx;

const WHOLE: (u64, u64) = (HEADER, CHUNK);

fn events(count: usize) -> Vec<SimulatedEvent> {
    Host::new("log.example", 11).take(count).collect()
}

/// The records that a log shows, and its damage.
fn read(log: &[u8]) -> (Vec<Bytes>, Vec<Damage>) {
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    let log = Log::open(Cursor::new(log)).expect("it begins as a log does");
    let found = |found| {
        match found {
            Found::Record(record) => records.push(record),
            Found::Damaged(some) => damage.push(some),
        }
        Ok::<(), Infallible>(())
    };
    log.read(xml, found).expect("it cannot fail");
    (records, damage)
}

fn chunks_of(log: &[u8]) -> u64 {
    (log.len() as u64 - WHOLE.0) / WHOLE.1
}

#[test]
fn a_whole_log_shows_its_events_and_no_damage() {
    let events = events(120);
    let log = evtx::log(&events);
    assert!(chunks_of(&log) >= 3);
    let (written, damage) = read(&log);
    assert_eq!((written.len(), damage), (120, vec![]));
    assert_eq!(read(&evtx::log(&[])), (vec![], vec![]), "an empty log is a log");
    for (event, xml) in events.iter().zip(written) {
        let (fields, end) = from_xml::scan(&xml).expect("an event");
        assert_eq!(end, xml.len());
        assert_eq!(fields.record_id, Some(event.record_id()));
        assert_eq!(fields.computer.as_deref(), Some("log.example"));
    }
}

#[test]
fn a_log_that_is_cut_anywhere_shows_what_is_there_and_says_that_it_is_cut() {
    let log = evtx::log(&events(120));
    let last = log.len() - CHUNK as usize;
    let (whole, _) = read(&log);
    let mut seen = Vec::new();
    for there in [CHUNK as usize - 1, 40_000].into_iter().chain((600..12_000).step_by(97).rev()).chain([512, 100, 8, 0])
    {
        let (records, damage) = read(&log[..last + there]);
        assert!(!damage.is_empty(), "{there} bytes of the last chunk");
        let told = &damage[damage.len() - 1].problem;
        assert!(told.contains("ends inside its chunk") || told.contains("promises"), "{there}: {told}");
        assert!(damage.iter().all(|damage| damage.place.end <= (last + there) as u64), "{damage:?}");
        // Whole records, and never one that zeros stand in.
        assert_eq!(records, whole[..records.len()], "{there} bytes of the last chunk");
        seen.push(records.len());
    }
    assert!(seen[2] > seen[seen.len() - 1], "whole records of the cut chunk are read: {seen:?}");
    assert!(seen.is_sorted_by(|more, less| more >= less), "{seen:?}");
}

#[test]
fn a_header_that_promises_more_than_there_is_is_damage() {
    let log = evtx::log(&events(120));
    let (whole, _) = read(&log);
    let fewer = &log[..log.len() - CHUNK as usize];
    let (records, damage) = read(fewer);
    assert!(records.len() < whole.len() && damage.len() == 1, "{damage:?}");
    assert!(damage[0].problem.contains("promises"), "{damage:?}");

    // Zeros instead of a chunk, or of the second half of one, as a copy leaves them that was given its size before.
    let mut hollow = log.clone();
    hollow[HEADER as usize + CHUNK as usize..][..CHUNK as usize].fill(0);
    let (records, damage) = read(&hollow);
    assert!(records.len() < whole.len() && damage.len() == 1, "{damage:?}");
    let mut hollow = log;
    hollow[HEADER as usize + CHUNK as usize..][30_000..CHUNK as usize].fill(0);
    let (records, damage) = read(&hollow);
    assert!(records.len() < whole.len() && !damage.is_empty(), "{damage:?}");
    assert!(records.iter().all(|record| whole.contains(record)), "a record that zeros stand in is none");
}

#[test]
fn bytes_that_were_changed_are_damage() {
    let log = evtx::log(&events(60));
    for (at, part) in [(20, "checksum of the log's header"), (HEADER as usize, "chunk"), (HEADER as usize + 4000, "")] {
        let mut changed = log.clone();
        changed[at] ^= 0x40;
        let (_, damage) = read(&changed);
        assert!(damage.iter().any(|damage| damage.problem.contains(part)), "{at}: {damage:?}");
    }
    for no_log in [&b"ElfFile\0"[..], b"", &[b'x'; 5000]] {
        assert!(Log::open(Cursor::new(no_log)).is_err());
    }
}

#[test]
fn the_shared_logs_have_no_damage() {
    let root = std::env::var_os("GATEPOST_SHARED")
        .map_or_else(|| std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), Into::into);
    let Ok(folder) = std::fs::read_dir(root.join("data/evtx")) else {
        println!("skipped: there are no shared logs; set GATEPOST_SHARED");
        return;
    };
    let logs = folder.map(|file| file.expect("a readable folder").path());
    for path in logs.filter(|path| path.extension().is_some_and(|extension| extension == "evtx")) {
        let (_, damage) = read(&std::fs::read(&path).expect("a readable file"));
        assert_eq!(damage, [], "{}", path.display());
    }
}
