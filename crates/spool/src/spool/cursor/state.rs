//! What a journal says, in memory: entries are applied one after the other, and the shortest journal that leads to the
//! same state can be written.

use std::ops::Range;

use super::journal::{Entry, FileHeader};
use super::ranges::Ranges;
use super::{Boot, Loss};
use crate::spool::{LogId, Ordinal};

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Settlement {
    /// An endpoint took it.
    Forwarded = 0,
    /// It is kept as a dead letter.
    DeadLettered = 1,
    /// The spool could not read it any more.
    Damaged = 2,
    /// This output does not want it.
    Skipped = 3,
    /// It was settled before the position was lost; how, is lost with it.
    Forgotten = 4,
    /// Another gateway has taken it over.
    HandedOver = 5,
}

impl Settlement {
    pub(super) const ALL: [Self; 6] =
        [Self::Forwarded, Self::DeadLettered, Self::Damaged, Self::Skipped, Self::Forgotten, Self::HandedOver];

    pub(super) fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|settlement| *settlement as u8 == code)
    }
}

/// Items settled since the cursor began, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// An endpoint took them.
    pub forwarded: u64,
    /// Kept as dead letters.
    pub dead_lettered: u64,
    /// Not readable any more.
    pub damaged: u64,
    /// Not wanted by this output.
    pub skipped: u64,
    /// Settled before the position was lost.
    pub forgotten: u64,
    /// Taken over by other gateways.
    pub handed_over: u64,
}

impl Totals {
    /// All settled items.
    pub fn sum(&self) -> u64 {
        self.forwarded + self.dead_lettered + self.damaged + self.skipped + self.forgotten + self.handed_over
    }

    fn of(&mut self, settlement: Settlement) -> &mut u64 {
        match settlement {
            Settlement::Forwarded => &mut self.forwarded,
            Settlement::DeadLettered => &mut self.dead_lettered,
            Settlement::Damaged => &mut self.damaged,
            Settlement::Skipped => &mut self.skipped,
            Settlement::Forgotten => &mut self.forgotten,
            Settlement::HandedOver => &mut self.handed_over,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) start: Ordinal,
    pub(super) low: Ordinal,
    pub(super) settled: Ranges,
    /// Batches of this life and of former ones, with their borders.
    pub(super) begun: Ranges,
    /// What a former life may have sent, beyond the begun batches that are known.
    pub(super) doubt: Ranges,
    pub(super) totals: Totals,
    pub(super) high: Ordinal,
    pub(super) ceiling: Ordinal,
    pub(super) log: LogId,
    pub(super) life: u64,
    pub(super) boot: Boot,
    pub(super) closed: bool,
    pub(super) lost: Option<Loss>,
}

impl State {
    pub(super) fn at(start: Ordinal) -> Self {
        Self { start, low: start, high: start, ..Self::default() }
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Low { low, start } => {
                self.start = *start;
                self.low = *low;
                self.high = self.high.max(*low);
            }
            Entry::High(high) => self.high = self.high.max(*high),
            Entry::Total(settlement, n) => *self.totals.of(*settlement) = *n,
            Entry::Settled(range) => self.settled.join(range.clone()),
            Entry::Begin(range) => self.begin(range.clone()),
            Entry::Abandon(range) => self.begun.remove(range.clone()),
            Entry::Settle(range, settlement) => self.settle(range.clone(), *settlement),
            Entry::Log(log) => self.log = *log,
            Entry::Ceiling(ceiling) => self.ceiling = self.ceiling.max(*ceiling),
            Entry::Life(life) => self.life = *life,
            Entry::Opened(boot) => (self.boot, self.closed) = (*boot, false),
            Entry::Closed => self.closed = true,
            Entry::Doubt(range) => self.doubt.join(range.clone()),
            Entry::Lost(loss) => self.lost = Some(*loss),
        }
    }

    fn begin(&mut self, range: Range<Ordinal>) {
        self.high = self.high.max(range.end);
        self.closed = false;
        self.doubt.remove(range.clone());
        self.begun.add(range.start.max(self.low)..range.end);
    }

    pub(super) fn settle(&mut self, range: Range<Ordinal>, settlement: Settlement) {
        self.high = self.high.max(range.end);
        self.begun.remove(range.clone());
        self.doubt.remove(range.clone());
        let range = range.start.max(self.low)..range.end;
        let fresh: u64 = self.settled.gaps(range.clone()).map(|gap| gap.end - gap.start).sum();
        *self.totals.of(settlement) += fresh;
        self.settled.join(range);
        self.rise();
    }

    /// Moves the low mark over what is settled from there on.
    pub(super) fn rise(&mut self) {
        if let Some(end) = self.settled.take_from(self.low) {
            self.low = end;
            self.begun.remove(0..end);
            self.doubt.remove(0..end);
        }
    }

    /// Doubts everything up to here that is not settled.
    pub(super) fn doubt_below(&mut self, end: Ordinal) {
        for gap in self.settled.gaps(self.low..end) {
            self.doubt.join(gap);
        }
    }

    /// The shortest journal that leads to this state.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut entries = vec![Entry::Low { low: self.low, start: self.start }, Entry::High(self.high)];
        let mut totals = self.totals;
        entries.extend(Settlement::ALL.map(|settlement| Entry::Total(settlement, *totals.of(settlement))));
        entries.extend([Entry::Log(self.log), Entry::Life(self.life), Entry::Ceiling(self.ceiling)]);
        entries.extend(self.lost.map(Entry::Lost));
        entries.extend(self.settled.iter().map(Entry::Settled));
        entries.extend(self.begun.iter().map(Entry::Begin));
        // Behind the begins, which take doubt away.
        entries.extend(self.doubt.iter().map(Entry::Doubt));
        entries.push(Entry::Opened(self.boot));
        entries.extend(self.closed.then_some(Entry::Closed));
        let mut bytes = FileHeader::encode().to_vec();
        for (entry, number) in entries.iter().zip(1..) {
            bytes.extend_from_slice(&entry.encode(number));
        }
        bytes
    }
}
