use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use proptest::prelude::*;

use super::*;

fn second() -> impl Strategy<Value = i64> {
    prop_oneof![1_000i64..1_100, 0i64..100_000, -5i64..5_000_000_000, any::<i64>()]
}

fn id(width: u32) -> impl Strategy<Value = u32> {
    prop_oneof![9 => 0..1u32 << width, 1 => any::<u32>()]
}

/// Ids close together or far apart, in any order; most seconds rise with the ids.
fn steps() -> impl Strategy<Value = Vec<(bool, u32, i64, i64, u16)>> {
    (1u32..20)
        .prop_flat_map(|width| prop::collection::vec((any::<bool>(), id(width), 0i64..3, second(), event_id()), 0..900))
}

fn event_id() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 4_600u16..4_612, 1 => any::<u16>()]
}

proptest! {
    #[test]
    fn a_chunk_is_a_map_from_id_to_stamp(base in second(), per_second in 1i64..5_000, steps in steps()) {
        let (mut chunk, mut model) = (Chunk::new(), BTreeMap::new());
        for (i, (remove, id, small, wide, event_id)) in steps.into_iter().enumerate() {
            if remove && i % 4 == 0 {
                chunk.remove(id);
                model.remove(&id);
            } else if let Entry::Vacant(vacant) = model.entry(id) {
                let near = base.saturating_add(i64::from(id) / per_second).saturating_add(small);
                let stamp = Stamp { second: if i % 50 == 0 { wide } else { near }, event_id };
                chunk.insert(id, stamp);
                vacant.insert(stamp);
            }
            prop_assert_eq!(usize::from(chunk.len()), model.len());
        }
        is_the_same(&chunk, &model)?;
        let all: Vec<_> = model.iter().map(|(id, stamp)| (*id, *stamp)).collect();
        if all.is_empty() {
            return Ok(());
        }
        is_the_same(&Chunk::of(&all), &model)?;
        let (front, back) = all.split_at(all.len() / 3);
        let mut extended = Chunk::of(front);
        extended.extend(back);
        is_the_same(&extended, &model)?;
        let mut sealed = Chunk::Sealed(Sealed::of(&all));
        is_the_same(&sealed, &model)?;
        for (id, _) in all.iter().step_by(3) {
            sealed.remove(*id);
            sealed.insert(*id, Stamp { second: base, event_id: 1 });
            model.insert(*id, Stamp { second: base, event_id: 1 });
        }
        is_the_same(&sealed, &model)?;
    }
}

fn is_the_same(chunk: &Chunk, model: &BTreeMap<u32, Stamp>) -> Result<(), TestCaseError> {
    prop_assert_eq!(usize::from(chunk.len()), model.len());
    prop_assert_eq!(chunk.stamps(), model.iter().map(|(id, stamp)| (*id, *stamp)).collect::<Vec<_>>());
    for id in model.keys().flat_map(|id| [id.saturating_sub(1), *id, id.saturating_add(1)]).chain([0, u32::MAX]) {
        prop_assert_eq!(chunk.stamp(id), model.get(&id).copied(), "{}", id);
    }
    Ok(())
}

fn sealed_bytes(chunk: &Chunk) -> usize {
    let sealed = Chunk::smallest_of(&chunk.stamps());
    assert_eq!(sealed.stamps(), chunk.stamps());
    sealed.heap_bytes()
}

fn filled(ids: impl Iterator<Item = u32>, stamp: impl Fn(u32) -> Stamp) -> Chunk {
    let mut chunk = Chunk::new();
    ids.for_each(|id| chunk.insert(id, stamp(id)));
    chunk
}

#[test]
fn a_full_chunk_takes_what_its_seconds_and_event_ids_need_and_can_be_emptied() {
    let stamp = |id: u32, a_second: u32, event_ids: u32| Stamp {
        second: 1_700_000_000 + i64::from(id / a_second),
        event_id: (4_624 + id % event_ids) as u16,
    };
    for (a_second, event_ids, most) in [(1, 1, 84), (1, 12, 234), (10, 1, 56), (10, 12, 206), (50, 12, 203)] {
        let mut chunk = filled(0..256, |id| stamp(id, a_second, event_ids));
        let bytes = sealed_bytes(&chunk);
        assert!(bytes <= most, "{a_second} a second, {event_ids} event ids: {bytes}");
        assert_eq!(chunk.stamp(200), Some(stamp(200, a_second, event_ids)));
        (0..256).for_each(|id| chunk.remove(id));
        assert_eq!((chunk.len(), chunk.stamp(200)), (0, None));
    }
}

#[test]
fn a_log_that_is_read_backwards_takes_no_more() {
    let stamp = |id: u32| Stamp { second: 1_700_000_000 + i64::from(id), event_id: 4_624 };
    let chunk = filled((0..256).rev(), stamp);
    assert_eq!(sealed_bytes(&chunk), sealed_bytes(&filled(0..256, stamp)));
    (0..256).for_each(|id| assert_eq!(chunk.stamp(id), Some(stamp(id))));
}

#[test]
fn seconds_that_go_back_now_and_then_cost_a_bit_each_and_those_without_order_what_they_span() {
    let bytes = |second: fn(u32) -> i64| sealed_bytes(&filled(0..256, |id| Stamp { second: second(id), event_id: 1 }));
    let rising = bytes(|id| 1_000 + i64::from(id));
    assert!(bytes(|id| 1_000 + i64::from(id) - i64::from(id % 7 == 3)) <= rising + 32);
    assert!(bytes(|id| i64::from(id * 7_919 % 1_024)) <= 320 + 24);
}

#[test]
fn event_ids_that_came_and_went_leave_nothing() {
    let mut chunk = filled(0..10, |id| Stamp { second: 5, event_id: id as u16 });
    for event_id in 0..=u16::MAX {
        chunk.insert(77, Stamp { second: 5, event_id });
        assert_eq!(chunk.stamp(77), Some(Stamp { second: 5, event_id }));
        chunk.remove(77);
    }
    assert!(chunk.heap_bytes() < 128, "{}", chunk.heap_bytes());
}

#[test]
fn what_a_chunk_takes_in_the_list_of_a_stream_stays_small() {
    assert_eq!(size_of::<Chunk>(), 40);
}
