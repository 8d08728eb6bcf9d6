//! What a remembered key takes, by how a host's record ids come.

use super::*;

/// What half a million events of one host's log take, in bytes a key, when only a share of its record ids comes.
fn bytes_a_key(a_second: u64, event_ids: u64, share: f64) -> f64 {
    let (store, _) = store();
    let mut rng = fastrand::Rng::with_seed(3);
    for batch in 0..1_000u64 {
        let ids: Vec<u64> = (batch * 500..(batch + 1) * 500).filter(|_| rng.f64() < share).collect();
        let keys = ids.into_iter().map(|id| record_of(4_624 + rng.u64(..event_ids) as u16, id, (id / a_second) as i64));
        confirmed(&store, &keys.collect::<Vec<_>>());
    }
    let remembered = store.remembered();
    remembered.bytes as f64 / remembered.keys as f64
}

#[test]
fn a_run_takes_one_to_two_bytes_a_key_event_ids_included() {
    for (a_second, event_ids, share, most) in [
        (1, 1, 1.0, 1.5),
        (1, 12, 1.0, 2.1),
        (10, 12, 1.0, 1.7),
        (50, 12, 1.0, 1.45),
        (500, 12, 1.0, 1.2),
        (10, 12, 0.3, 4.0),
    ] {
        let bytes = bytes_a_key(a_second, event_ids, share);
        println!("{a_second} events a second of {event_ids} event ids, {share} of them: {bytes:.2} bytes a key");
        assert!(bytes < most, "{a_second} a second, {event_ids} event ids: {bytes}");
    }
}

/// What a hundred thousand events of one host's log take, in bytes a key, of which so many come of a log of 10 events a second.
fn bytes_a_key_at(gap: u64) -> f64 {
    let (store, _) = store();
    let mut rng = fastrand::Rng::with_seed(5);
    let mut id = 0;
    for _ in 0..200 {
        let keys = (0..500).map(|_| {
            while rng.u64(..gap) != 0 {
                id += 1;
            }
            id += 1;
            record_of(4_624 + rng.u64(..12) as u16, id, (id / 10) as i64)
        });
        confirmed(&store, &keys.collect::<Vec<_>>());
    }
    let remembered = store.remembered();
    remembered.bytes as f64 / remembered.keys as f64
}

#[test]
fn where_an_event_set_keeps_little_of_a_log_a_key_takes_two_to_four_bytes() {
    for (gap, most) in [(1, 1.1), (10, 2.0), (50, 2.5), (100, 2.8), (300, 3.2), (600, 3.5)] {
        let bytes = bytes_a_key_at(gap);
        println!("one of {gap} record ids: {bytes:.2} bytes a key");
        assert!(bytes < most, "one of {gap}: {bytes}");
    }
}

/// What a hundred thousand records take, in bytes a key, that are known by their places in uploads of so many.
fn bytes_a_place_of(records: u64) -> f64 {
    let (store, _) = store();
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..100_000 / records {
        let stream = rng.u128(..);
        let place = |record_id| EventKey::Record { stream, record_id, second: 0, event_id: None };
        confirmed(&store, &(0..records).map(place).collect::<Vec<_>>());
    }
    let remembered = store.remembered();
    remembered.bytes as f64 / remembered.keys as f64
}

#[test]
fn places_in_an_upload_take_less_than_hashes_and_next_to_nothing_where_there_are_hundreds() {
    for (records, most) in [(8, 18.0), (50, 3.0), (500, 0.35), (5_000, 0.2)] {
        let bytes = bytes_a_place_of(records);
        println!("places in uploads of {records}: {bytes:.2} bytes a key");
        assert!(bytes < most, "uploads of {records}: {bytes}");
    }
}

#[test]
fn a_log_that_comes_in_two_parts_with_neighbours_in_each_takes_little_and_is_told_apart() {
    let (store, _) = store();
    let part = |odd: u64| -> Vec<EventKey> { run(1, 0..40_000, 0).into_iter().skip(odd as usize).step_by(2).collect() };
    for uploads in [part(0), part(1)] {
        uploads.chunks(500).for_each(|keys| confirmed(&store, keys));
    }
    assert_eq!(seen(&store, &run(1, 0..40_001, 0)), "D".repeat(40_000) + "N");
    let remembered = store.remembered();
    assert!(remembered.bytes < 4 * remembered.keys, "{remembered:?}");
}

#[test]
fn keys_of_a_slow_log_do_not_wait_for_each_other_for_more_than_half_a_window() {
    let (store, clock) = store();
    confirmed(&store, &run(1, 0..1, 0));
    for id in 1..100 {
        clock.pass(WINDOW_S / 16);
        confirmed(&store, &run(1, id * 100..id * 100 + 1, 0));
    }
    assert!(store.remembered().keys <= 16 * 3 / 2 + 2, "{:?}", store.remembered());
    assert_eq!(seen(&store, &run(1, 9_900..9_901, 0)), "D");
}

#[test]
fn a_thousand_seconds_of_one_record_id_stay_cheap_and_apart() {
    let (store, _) = store();
    let keys: Vec<_> = (0..1_000).map(|second| record(0, second)).collect();
    confirmed(&store, &keys);
    assert_eq!(seen(&store, &keys), "D".repeat(1_000));
    assert_eq!(seen(&store, &[record(0, 1_000)]), "N");
    assert!(store.remembered().bytes < 40_000);
}
