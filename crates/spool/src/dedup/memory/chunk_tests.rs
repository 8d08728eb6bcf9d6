use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use proptest::prelude::*;

use super::*;

fn second() -> impl Strategy<Value = i64> {
    prop_oneof![1_000i64..1_100, 0i64..100_000, -5i64..5_000_000_000, any::<i64>()]
}

proptest! {
    #[test]
    fn a_chunk_is_a_map_from_id_to_stamp(
        base in second(),
        steps in prop::collection::vec((any::<bool>(), any::<u8>(), 0i64..3, second(), event_id()), 0..600),
    ) {
        let (mut chunk, mut model) = (Chunk::new(), BTreeMap::new());
        for (i, (remove, id, small, wide, event_id)) in steps.into_iter().enumerate() {
            if remove && i % 4 == 0 {
                chunk.remove(id);
                model.remove(&id);
            } else if let Entry::Vacant(vacant) = model.entry(id) {
                let second = if i % 50 == 0 { wide } else { base.saturating_add(small) };
                chunk.insert(id, Stamp { second, event_id });
                vacant.insert(Stamp { second, event_id });
            }
            prop_assert_eq!(usize::from(chunk.len()), model.len());
        }
        let all: Vec<_> = model.iter().map(|(id, stamp)| (*id, *stamp)).collect();
        prop_assert_eq!(chunk.stamps(), all.clone());
        let mut whole = Chunk::of(&all);
        prop_assert_eq!(usize::from(whole.len()), model.len());
        for id in 0..=255 {
            prop_assert_eq!(chunk.stamp(id), model.get(&id).copied());
            prop_assert_eq!(whole.stamp(id), model.get(&id).copied());
        }
        for id in (0..=255).step_by(3) {
            whole.remove(id);
            whole.insert(id, Stamp { second: base, event_id: 1 });
            model.insert(id, Stamp { second: base, event_id: 1 });
        }
        let all: Vec<_> = model.into_iter().collect();
        prop_assert_eq!(whole.stamps(), all);
    }
}

fn event_id() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 4_600u16..4_612, 1 => any::<u16>()]
}

fn full(ids: impl Iterator<Item = u8>, stamp: impl Fn(u16) -> Stamp) -> Chunk {
    let mut chunk = Chunk::new();
    ids.for_each(|id| chunk.insert(id, stamp(u16::from(id))));
    chunk
}

#[test]
fn a_full_chunk_takes_what_its_seconds_and_event_ids_need_and_can_be_emptied() {
    let stamp = |id: u16, a_second: u16, event_ids: u16| Stamp {
        second: 1_700_000_000 + i64::from(id / a_second),
        event_id: 4_624 + id % event_ids,
    };
    for (a_second, event_ids, bytes) in [(1, 1, 258), (1, 12, 408), (10, 1, 162), (10, 12, 312), (50, 12, 248)] {
        let mut chunk = full(0..=255, |id| stamp(id, a_second, event_ids));
        assert_eq!(chunk.bytes.as_ref().len(), bytes, "{a_second} a second, {event_ids} event ids");
        assert_eq!(chunk.stamp(200), Some(stamp(200, a_second, event_ids)));
        (0..=255).for_each(|id| chunk.remove(id));
        assert_eq!((chunk.len(), chunk.stamp(200)), (0, None));
    }
}

#[test]
fn a_log_that_is_read_backwards_takes_no_more() {
    let stamp = |id: u16| Stamp { second: 1_700_000_000 + i64::from(id), event_id: 4_624 };
    let chunk = full((0..=255).rev(), stamp);
    assert_eq!(chunk.bytes.as_ref().len(), full(0..=255, stamp).bytes.as_ref().len());
    (0..=255).for_each(|id| assert_eq!(chunk.stamp(id), Some(stamp(u16::from(id)))));
}

#[test]
fn event_ids_that_came_and_went_leave_nothing() {
    let mut chunk = full(0..=9, |id| Stamp { second: 5, event_id: id });
    for event_id in 0..=u16::MAX {
        chunk.insert(77, Stamp { second: 5, event_id });
        assert_eq!(chunk.stamp(77), Some(Stamp { second: 5, event_id }));
        chunk.remove(77);
    }
    assert!(chunk.bytes.as_ref().len() < 64, "{}", chunk.bytes.as_ref().len());
}
