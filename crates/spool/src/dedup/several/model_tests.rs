//! The protocol, checked in every interleaving: two gateways, uploads of one event, deaths, leases that end, appends that fail,
//! answers that are lost, and an engine that forgets.
//!
//! What is explored is a model of `docs/several-gateways.md`, not the code; `tests/e2e/cluster` has that with a real engine. The test of the test
//! are the variants that look right and are not: each must be found. `GATEPOST_MODEL=all` (make soak) explores with more faults.

use crate::interleavings::{self, Bad, Steps, at_the_end};

/// A way to get it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    PendingIsDuplicate,
    ConfirmsBeforeItStores,
    PendingDropsTheDurable,
    NoOwner,
    LostIsDuplicate,
    NothingAskedAtRecovery,
    ForwardsBeforeItWins,
    ConfirmsWithoutClaim,
    ReleasesOthers,
    BelievesANewEngine,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Claim {
    None,
    Open { durable: bool, ended: bool },
}

/// What the engine has of the event: open claims (of each gateway one for an upload and one for a contest), and who won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Engine {
    claims: [[Claim; 2]; 2],
    won: [bool; 2],
}

const EMPTY: Engine = Engine { claims: [[Claim::None; 2]; 2], won: [false; 2] };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    None,
    Unsure { engine: u8 },
    Won,
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Work {
    Idle,
    Held { engine: u8 },
    Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Gateway {
    up: bool,
    record: Record,
    forwarded: bool,
    upload: Work,
    /// A contest that saw these winners.
    contest: Option<[bool; 2]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Faults {
    deaths: u8,
    ends: u8,
    failed_appends: u8,
    lost_answers: u8,
    engine_losses: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    engine: Engine,
    /// What a replica has, which may become the engine.
    replica: Engine,
    identity: u8,
    gateways: [Gateway; 2],
    acknowledged: bool,
    uploads: u8,
    faults: Faults,
}

const SLOT_UPLOAD: usize = 0;
const SLOT_CONTEST: usize = 1;

impl State {
    fn new(uploads: u8, faults: Faults) -> Self {
        let gateway = Gateway { up: true, record: Record::None, forwarded: false, upload: Work::Idle, contest: None };
        Self {
            engine: EMPTY,
            replica: EMPTY,
            identity: 0,
            gateways: [gateway; 2],
            acknowledged: false,
            uploads,
            faults,
        }
    }

    fn forwarded(&self) -> usize {
        self.gateways.iter().filter(|gateway| gateway.forwarded).count()
    }

    /// Whether a claim of the other gateway is in the way; those that give way go.
    fn is_blocked(&mut self, me: usize, durable: bool) -> bool {
        let mut blocked = false;
        for claim in &mut self.engine.claims[1 - me] {
            if let Claim::Open { durable: theirs, ended } = *claim {
                if ended || (durable && !theirs) { *claim = Claim::None } else { blocked = true }
            }
        }
        blocked
    }

    /// A confirmation; whether the claim stood.
    fn confirm(&mut self, me: usize, slot: usize, wrong: Wrong) -> bool {
        let stood = self.engine.claims[me][slot] != Claim::None || wrong == Wrong::ConfirmsWithoutClaim;
        if stood {
            self.engine.claims[me][slot] = Claim::None;
            self.engine.won[me] = true;
            if wrong == Wrong::ConfirmsWithoutClaim {
                self.engine.won[1 - me] = false;
            }
        }
        stood
    }
}

fn steps(state: &State, wrong: Wrong) -> Steps<State> {
    let mut steps = Steps::none();
    for me in 0..2 {
        if state.gateways[me].up {
            upload(state, me, wrong, &mut steps);
            contest(state, me, wrong, &mut steps);
            forward(state, me, wrong, &mut steps);
            die(state, me, &mut steps);
        } else {
            let mut next = *state;
            next.gateways[me].up = true;
            if wrong == Wrong::NothingAskedAtRecovery && matches!(next.gateways[me].record, Record::Unsure { .. }) {
                next.gateways[me].record = Record::Won;
            }
            steps.fair.push(next);
        }
    }
    end_leases(state, &mut steps);
    forget(state, &mut steps);
    steps
}

fn upload(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    match state.gateways[me].upload {
        Work::Idle if state.uploads > 0 => begin(state, me, wrong, steps),
        Work::Idle => {}
        Work::Held { engine } => {
            let mut next = *state;
            if wrong == Wrong::ConfirmsBeforeItStores {
                next.confirm(me, SLOT_UPLOAD, wrong);
                next.gateways[me].upload = Work::Stored;
                return steps.fair.push(next);
            }
            next.gateways[me].record = Record::Unsure { engine };
            next.gateways[me].upload = Work::Stored;
            next.acknowledged = true;
            steps.fair.push(next);
            if state.faults.failed_appends > 0 {
                let mut next = *state;
                next.faults.failed_appends -= 1;
                next.uploads += 1;
                next.gateways[me].upload = Work::Idle;
                next.engine.claims[me][SLOT_UPLOAD] = Claim::None;
                if wrong == Wrong::ReleasesOthers {
                    next.engine = EMPTY;
                }
                steps.faults.push(next);
            }
        }
        Work::Stored => {
            let mut next = *state;
            next.gateways[me].upload = Work::Idle;
            if wrong == Wrong::ConfirmsBeforeItStores {
                next.gateways[me].record = Record::Won;
                next.acknowledged = true;
                return steps.fair.push(next);
            }
            let stood = next.confirm(me, SLOT_UPLOAD, wrong);
            answer(next, me, stood, wrong, steps);
        }
    }
}

fn begin(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    let mut next = *state;
    next.uploads -= 1;
    if state.gateways[me].record != Record::None {
        next.acknowledged = true;
        return steps.fair.push(next);
    }
    if next.is_blocked(me, false) {
        if wrong == Wrong::PendingIsDuplicate {
            next.acknowledged = true;
            steps.fair.push(next);
        }
        return;
    }
    if next.engine.won != [false; 2] {
        next.acknowledged = true;
        return steps.fair.push(next);
    }
    next.engine.claims[me][SLOT_UPLOAD] = Claim::Open { durable: false, ended: false };
    next.gateways[me].upload = Work::Held { engine: state.identity };
    steps.fair.push(next);
}

/// A confirmation was answered, or its answer is lost.
fn answer(mut next: State, me: usize, stood: bool, wrong: Wrong, steps: &mut Steps<State>) {
    let lost = next;
    if stood {
        next.gateways[me].record = Record::Won;
    } else if wrong == Wrong::LostIsDuplicate {
        next.gateways[me].record = Record::Dropped;
    }
    steps.fair.push(next);
    if stood && lost.faults.lost_answers > 0 {
        let mut lost = lost;
        lost.faults.lost_answers -= 1;
        if wrong == Wrong::LostIsDuplicate {
            // It asks again with the same claim, and hears that it stands no more.
            lost.gateways[me].record = Record::Dropped;
        }
        steps.faults.push(lost);
    }
}

fn contest(state: &State, me: usize, wrong: Wrong, steps: &mut Steps<State>) {
    let Record::Unsure { engine } = state.gateways[me].record else { return };
    if state.gateways[me].upload == Work::Stored {
        return;
    }
    let mut next = *state;
    let Some(saw) = state.gateways[me].contest else {
        let is_held = next.engine.claims[1 - me].iter().any(|claim| *claim != Claim::None);
        if wrong == Wrong::PendingDropsTheDurable && is_held {
            next.gateways[me].record = Record::Dropped;
            return steps.fair.push(next);
        }
        if !next.is_blocked(me, true) {
            next.engine.claims[me][SLOT_CONTEST] = Claim::Open { durable: true, ended: false };
            next.gateways[me].contest = Some(next.engine.won);
            steps.fair.push(next);
        }
        return;
    };
    next.gateways[me].contest = None;
    let is_old = engine != state.identity && wrong != Wrong::BelievesANewEngine;
    let mine = saw[me] && wrong != Wrong::NoOwner;
    if mine || saw != [false; 2] {
        next.engine.claims[me][SLOT_CONTEST] = Claim::None;
        next.gateways[me].record = if mine || is_old { Record::Won } else { Record::Dropped };
        return steps.fair.push(next);
    }
    let stood = next.confirm(me, SLOT_CONTEST, wrong);
    answer(next, me, stood, wrong, steps);
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

fn die(state: &State, me: usize, steps: &mut Steps<State>) {
    if state.faults.deaths > 0 {
        let mut next = *state;
        next.faults.deaths -= 1;
        let gateway = &mut next.gateways[me];
        if gateway.upload != Work::Idle && !matches!(gateway.record, Record::Unsure { .. } | Record::Won) {
            // Nobody was answered: the agent sends again.
            next.uploads += 1;
        }
        (gateway.up, gateway.upload, gateway.contest) = (false, Work::Idle, None);
        steps.faults.push(next);
    }
}

/// A lease of who is busy ends only when something hangs; an abandoned one ends for sure.
fn end_leases(state: &State, steps: &mut Steps<State>) {
    for (me, slot) in (0..2).flat_map(|me| [(me, SLOT_UPLOAD), (me, SLOT_CONTEST)]) {
        let Claim::Open { durable, ended: false } = state.engine.claims[me][slot] else { continue };
        let gateway = &state.gateways[me];
        let busy = if slot == SLOT_UPLOAD { gateway.upload != Work::Idle } else { gateway.contest.is_some() };
        let mut next = *state;
        next.engine.claims[me][slot] = Claim::Open { durable, ended: true };
        if !busy {
            steps.fair.push(next);
        } else if state.faults.ends > 0 {
            next.faults.ends -= 1;
            steps.faults.push(next);
        }
    }
}

/// The engine is emptied, or a replica that lacks the last writes takes its place.
fn forget(state: &State, steps: &mut Steps<State>) {
    if state.faults.engine_losses == 0 {
        return;
    }
    if state.replica != state.engine {
        steps.faults.push(State { replica: state.engine, ..*state });
    }
    for engine in [EMPTY, state.replica] {
        let mut next = State { engine, identity: state.identity + 1, ..*state };
        next.faults.engine_losses -= 1;
        steps.faults.push(next);
    }
}

/// Explores everything that can happen.
fn explore(uploads: u8, faults: Faults, wrong: Wrong) -> Result<usize, Bad> {
    let judge = |state: &State, is_end: bool| {
        let open =
            |me: usize| state.engine.claims[me].iter().any(|claim| matches!(claim, Claim::Open { ended: false, .. }));
        match faults.engine_losses {
            0 if state.forwarded() > 1 => Some(Bad::Twice),
            0 if wrong == Wrong::Nothing && open(0) && open(1) => Some(Bad::ClaimsOverlap),
            _ if is_end => at_the_end(state.acknowledged, state.forwarded()),
            _ => None,
        }
    };
    interleavings::explore(State::new(uploads, faults), |state| steps(state, wrong), judge)
}

const fn faults(deaths: u8, ends: u8, failed_appends: u8, lost_answers: u8, engine_losses: u8) -> Faults {
    Faults { deaths, ends, failed_appends, lost_answers, engine_losses }
}

fn assert_good(uploads: u8, faults: Faults) {
    interleavings::assert_good((uploads, faults), explore(uploads, faults, Wrong::Nothing));
}

#[test]
fn whatever_fails_but_the_engine_each_event_is_forwarded_exactly_once() {
    assert_good(3, faults(1, 1, 1, 1, 0));
}

#[test]
fn an_engine_that_forgets_costs_duplicates_and_never_an_event() {
    assert_good(3, faults(1, 1, 0, 0, 1));
    assert_good(2, faults(1, 0, 0, 1, 1));
}

#[test]
fn with_more_faults_it_is_the_same() {
    if std::env::var("GATEPOST_MODEL").is_ok_and(|which| which == "all") {
        assert_good(3, faults(2, 2, 1, 1, 0));
        assert_good(4, faults(2, 2, 2, 2, 0));
        assert_good(3, faults(1, 1, 1, 1, 1));
        assert_good(3, faults(1, 1, 0, 2, 2));
    }
}

#[test]
fn each_variant_that_looks_right_and_is_not_is_found() {
    use Bad::{Lost, Twice};
    let usual = faults(1, 1, 1, 1, 0);
    for (wrong, bad) in [
        (Wrong::PendingIsDuplicate, Lost),
        (Wrong::ConfirmsBeforeItStores, Lost),
        (Wrong::PendingDropsTheDurable, Lost),
        (Wrong::NoOwner, Lost),
        (Wrong::LostIsDuplicate, Lost),
        (Wrong::NothingAskedAtRecovery, Twice),
        (Wrong::ForwardsBeforeItWins, Twice),
        (Wrong::ConfirmsWithoutClaim, Twice),
        (Wrong::ReleasesOthers, Twice),
    ] {
        assert_eq!(explore(3, usual, wrong), Err(bad), "{wrong:?}");
    }
    // Two engine losses and two answers that never came.
    assert_eq!(explore(2, faults(0, 0, 0, 2, 2), Wrong::BelievesANewEngine), Err(Lost));
}
