//! What outputs of one form share: rows and bodies are made once for all of them.
//!
//! Ten workspaces that want the same events in the same table want the same bytes, and to make these is nearly all that a
//! batch costs. So what one output has made is kept for the others of its form, within a bound. Whoever comes when it is gone
//! makes its own: no output waits for another one, except for a row or a body that somebody is making at this moment. Whoever
//! comes second has less to do, and so catches up with the first and stays with it.
//!
//! A row is known by its record, whose payload is compared, and its place in it; a body by the positions of its events, each of which
//! names one event for as long as the log lives. Rows that were shortened are as the limits of one output want them, and are
//! not shared, nor are bodies with them.
//!
//! Batches are the same only when they begin at the same event. So outputs that share end a batch at marks in the log as
//! well: however they went apart, behind the next mark they are together again.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::ahead::Made;
use crate::outputs::Kept;
use crate::outputs::form::Form;
use crate::outputs::output::Body;
use crate::spool::Ordinal;

/// A mark in the log: every so many events. A batch of usual events holds some 1,200, so that marks cut one batch in fifty.
const MARK: Ordinal = 1 << 16;
/// Bytes of the records whose rows are kept, as they were uploaded. The rows themselves take as much again, or less.
const ROWS_BYTES_MAX: usize = 8 << 20;
/// Records whose rows are kept: each is looked at in turn.
const RECORDS_MAX: usize = 64;
/// Bytes of the bodies that are kept, and how many are.
const BODIES_BYTES_MAX: usize = 8 << 20;
const BODIES_MAX: usize = 32;

/// The groups of outputs of one form, for as long as somebody is in them.
#[derive(Debug, Default)]
pub struct Groups(Kept<Form, Group>);

impl Groups {
    /// A place in the group of this form.
    pub fn join(&self, form: Form) -> Member {
        let Ok(group) = self.0.get_or_make(form, || Ok::<_, std::convert::Infallible>(Group::default()));
        group.members.fetch_add(1, Ordering::Relaxed);
        Member(group)
    }
}

/// An output's place in its group.
#[derive(Debug)]
pub struct Member(Arc<Group>);

#[derive(Debug, Default)]
struct Group {
    members: AtomicUsize,
    rows: Mutex<VecDeque<(Ordinal, Arc<RowsOfRecord>)>>,
    bodies: Mutex<VecDeque<KeptBody>>,
}

/// A body, once it is made, and the positions of its events.
type KeptBody = (Vec<Range<Ordinal>>, Arc<OnceLock<Body>>);

impl Member {
    /// Whether there is anybody to share with.
    fn shares(&self) -> bool {
        self.0.members.load(Ordering::Relaxed) > 1
    }

    /// Whether a batch that begins with the first of these events has to end before the other one.
    pub(super) fn have_mark_between(&self, first: Ordinal, next: Ordinal) -> bool {
        self.shares() && first / MARK != next / MARK
    }

    /// The rows of a record of so many events, as far as they are made; `None` when they are not shared.
    pub(super) fn rows_of(&self, first: Ordinal, payload: &Bytes, events: usize) -> Option<Arc<RowsOfRecord>> {
        if !self.shares() || payload.len() > ROWS_BYTES_MAX / 2 {
            return None;
        }
        let mut kept = self.0.rows.lock();
        let known = kept.iter().rev().find(|(of, rows)| *of == first && rows.are_of(payload, events));
        if let Some((_, rows)) = known {
            return Some(Arc::clone(rows));
        }
        let rows = Arc::new(RowsOfRecord {
            payload: payload.clone(),
            rows: std::iter::repeat_with(OnceLock::new).take(events).collect(),
        });
        kept.push_back((first, Arc::clone(&rows)));
        keep_to(&mut kept, RECORDS_MAX, ROWS_BYTES_MAX, |(_, rows)| rows.payload.len());
        Some(rows)
    }

    /// The body of the events at these positions, which `make` makes unless another one has.
    pub(super) fn body_of(&self, runs: Vec<Range<Ordinal>>, make: impl FnOnce() -> Body) -> Body {
        if !self.shares() {
            return make();
        }
        let body = {
            let mut kept = self.0.bodies.lock();
            if let Some((_, body)) = kept.iter().rev().find(|(of, _)| *of == runs) {
                Arc::clone(body)
            } else {
                let body = Arc::<OnceLock<Body>>::default();
                kept.push_back((runs, Arc::clone(&body)));
                let size = |(_, body): &KeptBody| body.get().map_or(0, |body| body.bytes.len());
                keep_to(&mut kept, BODIES_MAX, BODIES_BYTES_MAX, size);
                body
            }
        };
        body.get_or_init(make).clone()
    }
}

impl Drop for Member {
    /// The last one but one leaves nobody to keep anything for.
    fn drop(&mut self) {
        if self.0.members.fetch_sub(1, Ordering::Relaxed) <= 2 {
            self.0.rows.lock().clear();
            self.0.bodies.lock().clear();
        }
    }
}

/// Forgets the oldest ones until no more are kept than may be.
fn keep_to<T>(kept: &mut VecDeque<T>, count: usize, bytes: usize, size: impl Fn(&T) -> usize) {
    let mut held: usize = kept.iter().map(&size).sum();
    while kept.len() > count || held > bytes {
        let Some(oldest) = kept.pop_front() else { break };
        held -= size(&oldest);
    }
}

/// The rows of one record, as far as they are made.
#[derive(Debug)]
pub(super) struct RowsOfRecord {
    payload: Bytes,
    rows: Box<[OnceLock<Made>]>,
}

impl RowsOfRecord {
    fn are_of(&self, payload: &Bytes, events: usize) -> bool {
        // What was unpacked once for several readers is one and the same memory.
        let is_same = || self.payload.as_ptr() == payload.as_ptr() && self.payload.len() == payload.len();
        self.rows.len() == events && (is_same() || self.payload == payload)
    }
}

/// Where the row of an event is kept.
#[derive(Debug)]
pub(super) struct Place {
    record: Arc<RowsOfRecord>,
    at: usize,
}

impl Place {
    /// The place of the event at `at` of the record.
    pub(super) fn of(record: &Arc<RowsOfRecord>, at: usize) -> Self {
        Self { record: Arc::clone(record), at }
    }

    /// The row, if it is made.
    pub(super) fn row(&self) -> Option<Made> {
        self.record.rows[self.at].get().cloned()
    }

    /// The row, which `make` makes unless another one has.
    pub(super) fn row_or(&self, make: impl FnOnce() -> Made) -> Made {
        self.record.rows[self.at].get_or_init(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outputs::output::Row;

    fn body(of: &str) -> Body {
        Body { bytes: Bytes::copy_from_slice(of.as_bytes()), events: 1, plain_bytes: of.len() }
    }

    fn run(of: Range<Ordinal>) -> Vec<Range<Ordinal>> {
        std::iter::once(of).collect()
    }

    fn never() -> Body {
        panic!("it is made already")
    }

    #[test]
    fn a_body_is_made_once_for_all_outputs_of_a_form_and_again_for_other_events() {
        let groups = Groups::default();
        let first = groups.join(Form::for_tests());
        assert_eq!(first.body_of(run(0..5), || body("alone")), body("alone"));
        let second = groups.join(Form::for_tests());
        assert_eq!(first.body_of(run(0..5), || body("0..5")), body("0..5"), "nothing was kept while it was alone");
        assert_eq!(second.body_of(run(0..5), never), body("0..5"));
        assert_eq!(second.body_of(vec![0..3, 4..5], || body("other")), body("other"));
        assert_eq!(second.body_of(run(0..6), || body("more")), body("more"));
        drop(first);
        assert!(second.0.bodies.lock().is_empty() && second.0.rows.lock().is_empty(), "alone again");
    }

    #[test]
    fn a_body_whose_making_failed_is_made_by_the_next_output() {
        let groups = Groups::default();
        let (first, second) = (groups.join(Form::for_tests()), groups.join(Form::for_tests()));
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| first.body_of(run(0..5), never)));
        assert!(failed.is_err());
        assert_eq!(second.body_of(run(0..5), || body("made")), body("made"));
    }

    #[test]
    fn what_is_kept_for_outputs_of_the_same_form_is_bounded() {
        let groups = Groups::default();
        let (member, _other) = (groups.join(Form::for_tests()), groups.join(Form::for_tests()));
        let payload = Bytes::from(vec![b'x'; 1 << 20]);
        for at in 0..200_u64 {
            member.rows_of(at, &payload, 1).unwrap();
            let bytes = Bytes::from(vec![0; 600 << 10]);
            member.body_of(run(at..at + 1), || Body { bytes, events: 1, plain_bytes: 0 });
            let (rows, bodies) = (member.0.rows.lock(), member.0.bodies.lock());
            assert!(rows.len() << 20 <= ROWS_BYTES_MAX && rows.len() <= RECORDS_MAX);
            assert!(bodies.len() * (600 << 10) <= BODIES_BYTES_MAX + (600 << 10) && bodies.len() <= BODIES_MAX);
        }
        assert!(member.rows_of(0, &Bytes::from(vec![0; ROWS_BYTES_MAX / 2 + 1]), 1).is_none(), "one would fill it");
    }

    #[test]
    fn a_row_is_another_one_when_its_record_has_other_bytes() {
        let groups = Groups::default();
        let (member, _other) = (groups.join(Form::for_tests()), groups.join(Form::for_tests()));
        let rows = |payload: &'static str, events| member.rows_of(7, &payload.into(), events).unwrap();
        let row = |of: &'static str| Ok(Row::timeless(of.into()));
        assert_eq!(Place::of(&rows("one", 2), 1).row_or(|| row("one")), row("one"));
        assert_eq!(Place::of(&rows("one", 2), 1).row(), Some(row("one")));
        assert_eq!(Place::of(&rows("one", 2), 0).row(), None);
        assert_eq!(Place::of(&rows("two", 2), 1).row(), None, "another payload");
        assert_eq!(Place::of(&rows("one", 3), 1).row(), None, "another number of events");
    }
}
