//! The protocol, checked in every interleaving: two gateways, uploads of one event, deaths, failed appends, answers that never came, words
//! that arrive late, and a stream that is emptied.
//!
//! What is explored is a model of [`super`], as `dedup/several/model_tests.rs` is one of the protocol with claims. The test of the test are the
//! variants that look right and are not. `GATEPOST_MODEL=all` (make soak) explores with more faults.

use crate::interleavings::{self, Bad, Steps, at_the_end};

/// A way to get it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    LastWordCounts,
    WinsWhenSaid,
    SaysBeforeItStores,
    LateIsLost,
    ForwardsBeforeItWins,
    NothingAskedAtRecovery,
    OwnWordIsOfAnother,
    DropsUnderAnotherFilling,
    HasNoSignOfItsOwn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    None,
    Unsure { filling: u8 },
    Won,
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    Idle,
    Held {
        filling: u8,
    },
    Stored,
    /// Its word is under way, or there.
    Said,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Gateway {
    up: bool,
    record: Record,
    forwarded: bool,
    upload: Work,
    /// Its words that have not arrived.
    under_way: u8,
    /// Words of the stream that it has read: from, to.
    read: [u8; 2],
    filling: u8,
    is_contesting: bool,
}

const WORDS: usize = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Who said that the event is his, in order. What was removed stays in the row, before `first`.
    words: [u8; WORDS],
    count: u8,
    first: u8,
    filling: u8,
    gateways: [Gateway; 2],
    acknowledged: bool,
    uploads: u8,
    faults: Faults,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Faults {
    deaths: u8,
    failed_appends: u8,
    lost_answers: u8,
    emptied: u8,
}

impl State {
    fn new(uploads: u8, faults: Faults) -> Self {
        let gateway = Gateway {
            up: true,
            record: Record::None,
            forwarded: false,
            upload: Work::Idle,
            under_way: 0,
            read: [0, 0],
            filling: 0,
            is_contesting: false,
        };
        Self {
            words: [9; WORDS],
            count: 0,
            first: 0,
            filling: 0,
            gateways: [gateway; 2],
            acknowledged: false,
            uploads,
            faults,
        }
    }

    fn forwarded(&self) -> usize {
        self.gateways.iter().filter(|gateway| gateway.forwarded).count()
    }

    /// Whose the event is, as far as a gateway has read.
    fn owner(&self, me: usize, wrong: Wrong) -> Option<usize> {
        let [from, to] = self.gateways[me].read;
        let read = &self.words[usize::from(from)..usize::from(to)];
        let word = if wrong == Wrong::LastWordCounts { read.last() } else { read.first() };
        word.map(|word| usize::from(*word))
    }

    fn reads_all(&mut self, me: usize) {
        self.gateways[me].read = [self.first, self.count];
        self.gateways[me].filling = self.filling;
    }
}

fn steps(state: &State, wrong: Wrong) -> Steps<State> {
    let mut steps = Steps::none();
    for me in 0..2 {
        arrive(state, me, &mut steps);
        if state.gateways[me].up {
            read(state, me, &mut steps);
            upload(state, me, wrong, &mut steps);
            contest(state, me, wrong, &mut steps);
            forward(state, me, wrong, &mut steps);
            die(state, me, &mut steps);
        } else {
            begin_again(state, me, wrong, &mut steps);
        }
    }
    if state.faults.emptied > 0 {
        let mut next = *state;
        next.faults.emptied -= 1;
        (next.first, next.filling) = (next.count, next.filling + 1);
        steps.faults.push(next);
    }
    steps
}

fn arrive(state: &State, me: usize, steps: &mut Steps<State>) {
    if state.gateways[me].under_way > 0 && usize::from(state.count) < WORDS {
        let mut next = *state;
        next.gateways[me].under_way -= 1;
        next.words[usize::from(next.count)] = me as u8;
        next.count += 1;
        steps.fair.push(next);
    }
}

fn read(state: &State, me: usize, steps: &mut Steps<State>) {
    if state.gateways[me].read[1] < state.count {
        let mut next = *state;
        next.gateways[me].read[1] += 1;
        steps.fair.push(next);
    }
    // It finds that its sign is gone.
    if state.gateways[me].filling != state.filling {
        let mut next = *state;
        next.reads_all(me);
        steps.fair.push(next);
    }
}

fn upload(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    let mut next = *state;
    match state.gateways[me].upload {
        Work::Idle if state.uploads > 0 => {
            next.uploads -= 1;
            if state.gateways[me].record != Record::None || state.owner(me, wrong).is_some() {
                next.acknowledged = true;
                return steps.fair.push(next);
            }
            next.gateways[me].upload = Work::Held { filling: state.gateways[me].filling };
            if wrong == Wrong::SaysBeforeItStores {
                next.gateways[me].under_way += 1;
            }
            steps.fair.push(next);
        }
        Work::Idle => {}
        Work::Held { filling } => {
            next.gateways[me].record = Record::Unsure { filling };
            next.gateways[me].upload = Work::Stored;
            next.acknowledged = true;
            steps.fair.push(next);
            if state.faults.failed_appends > 0 {
                let mut next = *state;
                next.faults.failed_appends -= 1;
                next.uploads += 1;
                next.gateways[me].upload = Work::Idle;
                steps.faults.push(next);
            }
        }
        Work::Stored => {
            next.gateways[me].upload = Work::Said;
            if wrong != Wrong::SaysBeforeItStores {
                next.gateways[me].under_way += 1;
            }
            if wrong == Wrong::WinsWhenSaid {
                next.gateways[me].record = Record::Won;
            }
            steps.fair.push(next);
        }
        Work::Said => {
            let is_read = state.words[usize::from(state.gateways[me].read[0])..usize::from(state.gateways[me].read[1])]
                .contains(&(me as u8));
            if is_read {
                next.gateways[me].upload = Work::Idle;
                if state.owner(me, wrong) == Some(me) {
                    next.gateways[me].record = Record::Won;
                }
                return steps.fair.push(next);
            }
            let is_forgotten = state.gateways[me].under_way == 0;
            if is_forgotten || state.faults.lost_answers > 0 {
                if !is_forgotten {
                    next.faults.lost_answers -= 1;
                }
                next.gateways[me].upload = Work::Idle;
                if wrong == Wrong::LateIsLost {
                    next.gateways[me].record = Record::Dropped;
                }
                if is_forgotten { steps.fair.push(next) } else { steps.faults.push(next) }
            }
        }
    }
}

fn contest(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    let Record::Unsure { filling } = state.gateways[me].record else { return };
    if state.gateways[me].upload != Work::Idle || usize::from(state.count) == WORDS {
        return;
    }
    let mut next = *state;
    let is_old = filling != state.gateways[me].filling && wrong != Wrong::DropsUnderAnotherFilling;
    match state.owner(me, wrong) {
        Some(owner) => {
            let is_mine = owner == me && wrong != Wrong::OwnWordIsOfAnother;
            next.gateways[me].record = if is_mine || is_old { Record::Won } else { Record::Dropped };
            next.gateways[me].is_contesting = false;
            steps.fair.push(next);
        }
        None if !state.gateways[me].is_contesting => {
            next.gateways[me].is_contesting = true;
            next.gateways[me].under_way += 1;
            steps.fair.push(next);
        }
        // What it said was removed before it was read: it says so again.
        None if state.gateways[me].under_way == 0 && state.gateways[me].read[1] == state.count => {
            next.gateways[me].is_contesting = false;
            steps.fair.push(next);
        }
        None => {}
    }
}

fn forward(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    let gateway = &state.gateways[me];
    let may = match gateway.record {
        Record::Won => true,
        Record::Unsure { .. } => wrong == Wrong::ForwardsBeforeItWins,
        Record::None | Record::Dropped => false,
    };
    if may && !gateway.forwarded {
        let mut next = *state;
        next.gateways[me].forwarded = true;
        steps.fair.push(next);
    }
}

/// What it said may arrive after its end.
fn die(state: &State, me: usize, steps: &mut Steps<State>) {
    if state.faults.deaths > 0 {
        let mut next = *state;
        next.faults.deaths -= 1;
        let gateway = &mut next.gateways[me];
        if matches!(gateway.upload, Work::Held { .. }) {
            // Nobody was answered: the agent sends again.
            next.uploads += 1;
        }
        (gateway.up, gateway.upload, gateway.is_contesting) = (false, Work::Idle, false);
        steps.faults.push(next);
    }
}

fn begin_again(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    let mut next = *state;
    let before = next.gateways[me].filling;
    next.reads_all(me);
    if wrong == Wrong::HasNoSignOfItsOwn {
        next.gateways[me].filling = before;
    }
    next.gateways[me].up = true;
    if wrong == Wrong::NothingAskedAtRecovery && matches!(next.gateways[me].record, Record::Unsure { .. }) {
        next.gateways[me].record = Record::Won;
    }
    steps.fair.push(next);
}

/// Explores everything that can happen.
fn explore(uploads: u8, faults: Faults, wrong: Wrong) -> Result<usize, Bad> {
    let judge = |state: &State, is_end: bool| match faults.emptied {
        0 if state.forwarded() > 1 => Some(Bad::Twice),
        _ if is_end && usize::from(state.count) < WORDS => at_the_end(state.acknowledged, state.forwarded()),
        _ => None,
    };
    interleavings::explore(State::new(uploads, faults), |state| steps(state, wrong), judge)
}

const fn faults(deaths: u8, failed_appends: u8, lost_answers: u8, emptied: u8) -> Faults {
    Faults { deaths, failed_appends, lost_answers, emptied }
}

fn assert_good(uploads: u8, faults: Faults) {
    interleavings::assert_good((uploads, faults), explore(uploads, faults, Wrong::Nothing));
}

#[test]
fn whatever_fails_but_the_stream_each_event_is_forwarded_exactly_once() {
    assert_good(3, faults(1, 1, 1, 0));
    assert_good(3, faults(2, 0, 1, 0));
}

#[test]
fn a_stream_that_is_emptied_costs_duplicates_and_never_an_event() {
    assert_good(2, faults(1, 0, 1, 1));
    assert_good(2, faults(1, 0, 0, 2));
}

#[test]
fn with_more_faults_it_is_the_same() {
    if std::env::var("GATEPOST_MODEL").is_ok_and(|which| which == "all") {
        assert_good(3, faults(2, 1, 2, 0));
        assert_good(3, faults(1, 0, 1, 1));
        assert_good(2, faults(1, 1, 1, 2));
    }
}

#[test]
fn each_variant_that_looks_right_and_is_not_is_found() {
    use Bad::{Lost, Twice};
    let usual = faults(1, 1, 1, 0);
    for (wrong, bad) in [
        (Wrong::LastWordCounts, Twice),
        (Wrong::WinsWhenSaid, Twice),
        (Wrong::SaysBeforeItStores, Lost),
        (Wrong::LateIsLost, Lost),
        (Wrong::ForwardsBeforeItWins, Twice),
        (Wrong::NothingAskedAtRecovery, Twice),
        (Wrong::OwnWordIsOfAnother, Lost),
    ] {
        assert_eq!(explore(3, usual, wrong), Err(bad), "{wrong:?}");
    }
    for wrong in [Wrong::DropsUnderAnotherFilling, Wrong::HasNoSignOfItsOwn] {
        assert_eq!(explore(3, faults(1, 0, 1, 1), wrong), Err(Lost), "{wrong:?}");
    }
}
