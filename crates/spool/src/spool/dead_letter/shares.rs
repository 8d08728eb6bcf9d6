//! Who may keep how much: each output has its share, and within that of the inputs each sender has one.
//!
//! Each file holds letters of one owner, so what is given up for newer ones goes by whole files, the oldest of a sender
//! first: it costs the same however small and many the letters are. A sender's file counts as a few blocks of the disk even
//! when it is nearly empty, and that bounds the number of senders. When the inputs' share is full, whoever has the most gives
//! way: a sender that has little loses nothing to one that sends much.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;

use super::{SENT_BY, Totals};

/// A sender's file counts as so many bytes at least.
pub(super) const FILE_CHARGE: u64 = 16 << 10;

/// A smaller share would not hold a handful of records.
pub(super) const CLIENT_MIN: u64 = 64 << 10;

/// A new file is begun when the last one is longer; those of senders are shorter, see [`Room::roll_at`].
const ROLL_AT: u64 = 8 << 20;

/// Parts of a sender's share that go at once.
const PARTS: u64 = 8;

/// Most bytes of a record that an input could not understand. Who wants to know what is wrong with it needs no more.
const RAW_MAX: u64 = 1 << 20;

/// How the bytes of all letters are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// For all inputs.
    pub inputs: u64,
    /// Of that, for one client of one input.
    pub client: u64,
    /// For all outputs, in equal shares.
    pub outputs: u64,
}

impl Room {
    /// A quarter for the inputs, and of that a sixteenth for each client.
    pub fn within(max_bytes: u64) -> Self {
        let inputs = max_bytes / 4;
        Self { inputs, client: Self::client_of(inputs), outputs: max_bytes - inputs }
    }

    /// A client's share of what the inputs have.
    pub(super) fn client_of(inputs: u64) -> u64 {
        (inputs / 16).max(CLIENT_MIN).min(inputs)
    }

    /// A file of this owner that is so long is followed by another one.
    pub(super) fn roll_at(&self, owner: &Owner) -> u64 {
        match owner {
            Owner::Sender { .. } => (self.client / PARTS).clamp(FILE_CHARGE, ROLL_AT),
            Owner::Output(_) | Owner::Several => ROLL_AT,
        }
    }

    /// Most bytes of a record of an input: several of the longest fit into a sender's share.
    pub(super) fn raw_max(&self) -> usize {
        usize::try_from((self.client / PARTS).min(RAW_MAX)).unwrap_or(usize::MAX)
    }
}

/// Whose letters they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// Those that an output buried.
    Output(String),
    /// Those that an input could not understand, by who sent them.
    Sender { input: String, client: String },
    /// Those of a file of the version before that could not be divided yet, or of one without letters.
    Several,
}

impl Owner {
    pub(super) fn sender(input: &str, client: &str) -> Self {
        Self::Sender { input: input.to_owned(), client: client.to_owned() }
    }

    /// The input or output.
    pub(super) fn source(&self) -> Option<&str> {
        match self {
            Self::Output(name) | Self::Sender { input: name, .. } => Some(name),
            Self::Several => None,
        }
    }

    /// The name of the client, where it is one's.
    pub(super) fn client(&self) -> Option<&str> {
        match self {
            Self::Sender { client, .. } => Some(client.strip_prefix(SENT_BY).unwrap_or(client)),
            Self::Output(_) | Self::Several => None,
        }
    }

    pub(super) fn is_sender(&self) -> bool {
        matches!(self, Self::Sender { .. })
    }
}

/// A file of letters.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// What it is called: no letter in it has a lower id.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Bytes of whole lines.
    pub(super) len: u64,
    pub(super) count: u64,
    /// The highest id in it, or the one before its name.
    pub(super) last: u64,
}

/// What one owner has.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    /// Oldest first.
    pub(super) files: VecDeque<Segment>,
    /// The last file failed to be written, or was emptied: the next letters go to a new one.
    pub(super) roll: bool,
    sum: Sum,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    totals: Totals,
    /// Bytes as a sender's share counts them.
    charged: u64,
}

impl Held {
    /// Bytes of its letters.
    pub(super) fn bytes(&self) -> u64 {
        self.sum.totals.bytes
    }

    fn count_up(&mut self) {
        let files = self.files.iter();
        self.sum = files.fold(Sum::default(), |mut sum, file| {
            sum.totals.count += file.count;
            sum.totals.bytes += file.len;
            sum.charged += charge(file);
            sum
        });
    }
}

fn held_files<'s>(owner: &'s Owner, held: &'s Held) -> impl Iterator<Item = (&'s Owner, &'s Segment)> {
    held.files.iter().map(move |file| (owner, file))
}

fn charge(file: &Segment) -> u64 {
    file.len.max(FILE_CHARGE)
}

/// The files of all owners, and their sums.
#[derive(Debug, Default)]
pub(super) struct Shares {
    held: BTreeMap<Owner, Held>,
    totals: Totals,
    /// Of all senders.
    charged: u64,
}

impl Shares {
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn of(&self, owner: &Owner) -> Option<&Held> {
        self.held.get(owner)
    }

    /// Bytes that senders have, as their share counts them.
    pub(super) fn charged(&self) -> u64 {
        self.charged
    }

    pub(super) fn charged_to(&self, owner: &Owner) -> u64 {
        self.of(owner).map_or(0, |held| held.sum.charged)
    }

    /// The outputs that have letters.
    pub(super) fn outputs(&self) -> impl Iterator<Item = (&str, u64)> {
        self.held.iter().filter_map(|(owner, held)| match owner {
            Owner::Output(name) => Some((name.as_str(), held.bytes())),
            _ => None,
        })
    }

    /// All files, those with the lowest numbers first.
    pub(super) fn files(&self) -> Vec<(&Owner, &Segment)> {
        let of_one = |(owner, held)| held_files(owner, held);
        let mut files: Vec<_> = self.held.iter().flat_map(of_one).collect();
        files.sort_unstable_by_key(|(_, file)| file.number);
        files
    }

    /// The highest number of a file.
    pub(super) fn last_number(&self) -> u64 {
        let last = self.held.values().filter_map(|held| held.files.back()).map(|file| file.number);
        last.max().unwrap_or(0)
    }

    /// Changes what an owner has, and the sums with it.
    pub(super) fn change<T>(&mut self, owner: &Owner, change: impl FnOnce(&mut Held) -> T) -> T {
        let held = self.held.entry(owner.clone()).or_default();
        let before = held.sum;
        let changed = change(held);
        held.count_up();
        let after = held.sum;
        if held.files.is_empty() {
            self.held.remove(owner);
        }
        let moved = |sum: u64, before: u64, after: u64| sum - before + after;
        self.totals.count = moved(self.totals.count, before.totals.count, after.totals.count);
        self.totals.bytes = moved(self.totals.bytes, before.totals.bytes, after.totals.bytes);
        if owner.is_sender() {
            self.charged = moved(self.charged, before.charged, after.charged);
        }
        changed
    }

    /// The files that have to go before a sender may write so many bytes: its own oldest ones down to its share, then
    /// those of whoever has the most.
    pub(super) fn in_the_way(&self, owner: &Owner, bytes: u64, room: &Room) -> Vec<(Owner, Segment)> {
        let needed = bytes + FILE_CHARGE;
        let mut plan = Plan { shares: self, gone: HashMap::new(), freed: 0, files: Vec::new() };
        while plan.left_to(owner) + needed > room.client && plan.drop_oldest_of(owner) {}
        while self.charged - plan.freed + needed > room.inputs {
            let Some(largest) = plan.largest() else { break };
            plan.drop_oldest_of(&largest);
        }
        plan.files
    }
}

/// Files that are to go.
struct Plan<'s> {
    shares: &'s Shares,
    /// Of each owner so many of its oldest files, and so many bytes.
    gone: HashMap<Owner, (usize, u64)>,
    freed: u64,
    files: Vec<(Owner, Segment)>,
}

impl Plan<'_> {
    fn left_to(&self, owner: &Owner) -> u64 {
        self.shares.charged_to(owner) - self.gone.get(owner).map_or(0, |(_, bytes)| *bytes)
    }

    fn drop_oldest_of(&mut self, owner: &Owner) -> bool {
        let gone = self.gone.entry(owner.clone()).or_default();
        let Some(file) = self.shares.of(owner).and_then(|held| held.files.get(gone.0)) else { return false };
        gone.0 += 1;
        gone.1 += charge(file);
        self.freed += charge(file);
        self.files.push((owner.clone(), file.clone()));
        true
    }

    /// The sender that has the most left; of several the one whose file is the oldest.
    fn largest(&self) -> Option<Owner> {
        let senders = self.shares.held.iter().filter(|(owner, _)| owner.is_sender());
        let left = senders.filter_map(|(owner, held)| {
            let gone = self.gone.get(owner).map_or(0, |(files, _)| *files);
            Some((self.left_to(owner), std::cmp::Reverse(held.files.get(gone)?.number), owner))
        });
        left.max().map(|(_, _, owner)| owner.clone())
    }
}
