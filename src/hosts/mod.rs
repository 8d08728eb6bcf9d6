//! Who sends events, and who has gone silent.
//!
//! A host that stops sending raises no error anywhere: there is just nothing. So the gateway remembers who sent something, from
//! where, how much and how late, and tells who should have sent again by now. It is a table with a bound, in memory; whoever has
//! a state directory keeps what [`Hosts::encode`] gives, and loses with it nothing but this knowledge.
//!
//! An upload costs it a look at each computer, not at each event: neighbours are mostly of one.

mod config;
mod gaps;
mod list;
mod sighting;
mod table;

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use config::{Config, Group, UNGROUPED};
pub use list::{Filter, Host, PAGE_MAX};
pub use sighting::{Sender, Sightings};

use crate::clock::Clock;
use list::View;
use table::{Moment, Row, Table};

/// A client whose upload was refused within this counts as refused.
const REFUSED_MS: u64 = 3_600_000;

/// The senders of one gateway. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Hosts(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// Since when the gateway listens.
    since_ms: u64,
    state: Mutex<State>,
}

struct State {
    config: Arc<Config>,
    table: Table,
}

/// How many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Computers, by group.
    pub known: BTreeMap<String, u64>,
    /// Those of them that are silent.
    pub silent: BTreeMap<String, u64>,
    /// Clients of which an upload was refused within the last hour, for what it held.
    pub refused: u64,
    /// Senders that were forgotten for want of room since the table began.
    pub forgotten: u64,
}

/// Everybody, as they were at one moment.
struct Seen {
    rows: Vec<Arc<Row>>,
    forgotten: u64,
}

impl Seen {
    fn of(table: &Table) -> Self {
        Self { rows: table.rows.values().cloned().collect(), forgotten: table.forgotten }
    }
}

/// The file, as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    forgotten: u64,
    hosts: Vec<Arc<Row>>,
}

impl Hosts {
    /// Nobody yet.
    pub fn new(config: Config, clock: Clock) -> Self {
        let since_ms = clock.now_ms();
        Self(Arc::new(Inner {
            clock,
            since_ms,
            state: Mutex::new(State { config: Arc::new(config), table: Table::default() }),
        }))
    }

    /// Puts another configuration in force.
    pub fn configure(&self, config: &Config) {
        let mut state = self.state();
        let State { config: mine, table } = &mut *state;
        *mine = Arc::new(config.clone());
        for row in table.rows.values_mut() {
            Arc::make_mut(row).group = row.computer.as_ref().and_then(|computer| config.group_of(computer));
        }
        table.make_room(config);
    }

    /// What to gather of an upload that is being decoded.
    pub fn sightings(&self) -> Sightings {
        Sightings::new(self.state().config.follows_ids())
    }

    /// Notes an upload that is durable, of which so many records were set aside.
    pub fn note(&self, sender: &Sender, sightings: Sightings, set_aside: u64) {
        let at = self.moment();
        let State { config, table } = &mut *self.state();
        // What cannot be read names nobody.
        if sightings.others + set_aside > 0 {
            table.meet(sender, sightings.others, set_aside, at);
        }
        for sighting in sightings.list {
            table.see(config, sender, sighting, at);
        }
        table.make_room(config);
    }

    /// Notes an upload that was refused for what it held.
    pub fn refuse(&self, sender: &Sender) {
        let at = self.moment();
        let State { config, table } = &mut *self.state();
        table.refuse(sender, at);
        table.make_room(config);
    }

    /// Forgets whom nobody expects any more. Call it now and then.
    pub fn tidy(&self) {
        let now_ms = self.0.clock.now_ms();
        let State { config, table } = &mut *self.state();
        table.tidy(config, now_ms);
    }

    /// Those that the filter takes: the silent first, then the busiest.
    pub fn list(&self, filter: &Filter) -> Vec<Host> {
        self.view(|view, seen| view.list(seen.rows.iter().map(|row| &**row), filter))
    }

    /// How many there are. Every group of the configuration is there, also one with nobody in it.
    pub fn counts(&self) -> Counts {
        self.view(|view, seen| {
            let names = || view.config.groups.iter().map(|group| group.name.as_str()).chain([UNGROUPED]);
            let none = || -> BTreeMap<String, u64> { names().map(|name| (name.to_owned(), 0)).collect() };
            let mut counts = Counts { known: none(), silent: none(), refused: 0, forgotten: seen.forgotten };
            for row in &seen.rows {
                let name = view.config.name_of(row.group);
                if row.computer.is_some() {
                    *counts.known.entry(name.to_owned()).or_default() += 1;
                }
                if view.is_silent(row) {
                    *counts.silent.entry(name.to_owned()).or_default() += 1;
                }
                let refused = row.refused_ms.is_some_and(|at| view.now_ms.saturating_sub(at) < REFUSED_MS);
                counts.refused += u64::from(refused);
            }
            counts
        })
    }

    /// Everything, to be kept; none when nothing changed since it was last asked for.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let Seen { rows: hosts, forgotten } = {
            let mut state = self.state();
            if !std::mem::take(&mut state.table.has_changed) {
                return None;
            }
            Seen::of(&state.table)
        };
        // Plain data, of which nothing can fail.
        serde_json::to_vec(&File { forgotten, hosts }).ok()
    }

    /// Asks for everything again, because what [`Hosts::encode`] gave could not be kept.
    pub fn not_kept(&self) {
        self.state().table.has_changed = true;
    }

    /// Takes back what was kept.
    ///
    /// # Errors
    ///
    /// When it is not what [`Hosts::encode`] gives.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        let File { forgotten, hosts } = serde_json::from_slice(bytes)?;
        let now_ms = self.0.clock.now_ms();
        let State { config, table } = &mut *self.state();
        table.forgotten = forgotten;
        for row in hosts {
            let mut row = Arc::unwrap_or_clone(row);
            row.group = row.computer.as_ref().and_then(|computer| config.group_of(computer));
            // From another clock, which was ahead.
            row.last_ms = row.last_ms.min(now_ms);
            table.rows.insert(row.key(), Arc::new(row));
        }
        table.make_room(config);
        Ok(())
    }

    /// Looks at everybody. Uploads wait only until it is known who that is.
    fn view<T>(&self, look: impl FnOnce(&View<'_>, &Seen) -> T) -> T {
        let clock = &self.0.clock;
        let now_ms = clock.now_ms();
        let (config, seen) = {
            let state = self.state();
            (Arc::clone(&state.config), Seen::of(&state.table))
        };
        let shown_ms = |stamp| clock.shown_ms(stamp);
        let view = View { config: &config, now_ms, since_ms: self.0.since_ms, shown_ms: &shown_ms };
        look(&view, &seen)
    }

    fn moment(&self) -> Moment {
        Moment { now_ms: self.0.clock.now_ms(), shown_ms: self.0.clock.shown_now_ms() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

#[cfg(test)]
mod tests;
