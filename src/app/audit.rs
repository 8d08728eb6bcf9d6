//! The account, recomputed from what is on disk and compared with what the gateway wrote down.
//!
//! It reads the records of the log one by one, not the running totals, wherever both exist: received = filtered +
//! duplicate + set aside + spooled for each input; every ordinal between the first and the last event is there and
//! its record whole; and for each output, what it settled and what is pending make up everything that was spooled for
//! it. An account whose ledger was lost begins anew, with the oldest event that was kept then. An output that is no
//! longer configured needs nothing: what it has not sent may have left the spool.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context;
use serde::Serialize;

use crate::config::Config;
use crate::event::Timestamp;
use crate::fs::{Fs, RealFs};
use crate::ingest::ledger::{Ledger, Note, Tally};
use crate::spool::cursor::registry::Registry;
use crate::spool::cursor::{Cursor, Loss};
use crate::spool::dead_letter;
use crate::spool::inspect::Inspection;
use crate::spool::{HeadItem, Item, Ordinal};

/// The account and what is wrong with it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What became of the events of each input.
    pub inputs: Vec<InputAccount>,
    /// What became of the spooled events at each output.
    pub outputs: Vec<OutputAccount>,
    /// Events ever spooled.
    pub spooled: u64,
    /// The first event of the account: 0, unless the ledger was lost.
    pub began: Ordinal,
    /// Events that a gateway found to be lost to damage of the spool's files while some output still had to send them.
    pub damaged: u64,
    /// Events that the inputs' numbers lack, because their records were lost before they were counted.
    pub uncounted: u64,
    /// Every difference, in words. Empty when everything adds up.
    pub differences: Vec<String>,
    /// What happened and is accounted for, in words.
    pub notes: Vec<String>,
}

/// One input's side.
#[derive(Debug, Serialize)]
pub struct InputAccount {
    /// The listener's name; `replay` for dead letters that were sent again.
    pub name: String,
    /// Its numbers.
    #[serde(flatten)]
    pub tally: Tally,
    /// Of those set aside, how many were given up since for newer ones: their dead letters are gone, their number is not.
    pub displaced: u64,
}

impl InputAccount {
    /// What is given up is noted at once, and what is set aside within a second: of that, no more can be gone.
    fn of(name: &str, tally: Tally, displaced: &BTreeMap<String, u64>) -> Self {
        let displaced = displaced.get(name).copied().unwrap_or(0).min(tally.set_aside);
        Self { name: name.to_owned(), tally, displaced }
    }
}

/// One output's side.
#[derive(Debug, Serialize)]
pub struct OutputAccount {
    /// The output's name.
    pub name: String,
    /// Whether the configuration no longer has it.
    pub removed: bool,
    /// The first event that was spooled for it.
    pub start: Ordinal,
    /// Events it took.
    pub forwarded: u64,
    /// Events kept as dead letters.
    pub dead_lettered: u64,
    /// Events lost to damage.
    pub damaged: u64,
    /// Events meant for another output.
    pub skipped: u64,
    /// Events that it settled before its position was lost.
    pub forgotten: u64,
    /// Events that another gateway has taken over.
    pub handed_over: u64,
    /// When its position was lost last, and how.
    pub position_lost: Option<Loss>,
    /// Events it still has to send, counted in the log.
    pub pending: u64,
}

/// So often the state directory is looked at while a gateway lets events go.
const LOOKS_MAX: u32 = 10;

/// Recomputes the account of the configured state directory. Reads only; may run beside a gateway, whose last second
/// may then be missing on both sides.
pub fn audit(config: &Config) -> anyhow::Result<Report> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let mut looks = 0;
    loop {
        let first = open_log(config, &fs)?.range().start;
        let report = look(config, &fs);
        looks += 1;
        let balances = report.as_ref().is_ok_and(|report| report.differences.is_empty());
        // A gateway writes its next events into the files of those that nobody needs any more: whoever reads there sees damage.
        if balances || looks == LOOKS_MAX || open_log(config, &fs)?.range().start == first {
            return report;
        }
    }
}

fn open_log(config: &Config, fs: &Arc<dyn Fs>) -> anyhow::Result<Inspection> {
    Inspection::open(&config.state_dir.join("spool"), Arc::clone(fs)).context("the spool cannot be read")
}

fn look(config: &Config, fs: &Arc<dyn Fs>) -> anyhow::Result<Report> {
    let state_dir = config.state_dir.as_path();
    // Positions first: what happens meanwhile is then in the log but not yet settled, and counts as pending.
    let cursors = cursors(state_dir, fs)?;
    // Before the ledger, which counts what is set aside.
    let displaced = dead_letter::displaced(fs, &state_dir.join("dead-letters"));
    let ledger = Ledger::load(&**fs, &Ledger::path(state_dir)).context("the ledger cannot be read")?;
    let log = open_log(config, fs)?;
    let mut ledger = ledger.unwrap_or_else(|| Ledger::beginning_at(log.range().start));
    let mut differences = Vec::new();
    let kept = Kept::read(&log, &mut ledger, &mut differences)?;
    differences.extend(damaged_records(&log)?);

    let total = ledger.total();
    let end = kept.end;
    let Ledger { began, uncounted, .. } = ledger;
    if began + total.spooled + uncounted != end {
        differences.push(format!(
            "from event {began} on the inputs spooled {} events ({uncounted} were lost uncounted), the log ends at {end}",
            total.spooled
        ));
    }
    for (name, tally) in &ledger.tallies {
        if !tally.balances() {
            differences.push(format!(
                "input {name}: received {} is not filtered {} + duplicate {} + set aside {} + spooled {}",
                tally.received, tally.filtered, tally.duplicate, tally.set_aside, tally.spooled
            ));
        }
    }
    let is_configured = |name: &str| config.outputs.iter().any(|output| output.output.name() == name);
    let account =
        |(name, cursor): &(String, Cursor)| kept.account(name, cursor, !is_configured(name), &mut differences);
    let outputs: Vec<OutputAccount> = cursors.iter().map(account).collect();
    differences.extend(missing_positions(state_dir, fs, &outputs, is_configured)?);
    let notes = outputs.iter().filter_map(lost_position).collect();
    let inputs = ledger.tallies.iter().map(|(name, tally)| InputAccount::of(name, *tally, &displaced)).collect();
    Ok(Report { inputs, outputs, spooled: end, began, damaged: log.lost(), uncounted, differences, notes })
}

fn cursors(state_dir: &Path, fs: &Arc<dyn Fs>) -> anyhow::Result<Vec<(String, Cursor)>> {
    let dir = state_dir.join("outputs");
    let mut cursors = Vec::new();
    if !dir.is_dir() {
        return Ok(cursors);
    }
    for entry in std::fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cursor") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let cursor = Cursor::look(Arc::clone(fs), &path)
                .with_context(|| format!("the position of output {name} cannot be read"))?;
            cursors.push((name, cursor));
        }
    }
    cursors.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(cursors)
}

/// Outputs that have had a position and have none: the next start begins with the oldest event that is kept.
fn missing_positions(
    state_dir: &Path,
    fs: &Arc<dyn Fs>,
    outputs: &[OutputAccount],
    is_configured: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<String>> {
    let (registry, _) = Registry::open(Arc::clone(fs), state_dir);
    let is_missing = |name: &&str| is_configured(name) && !outputs.iter().any(|output| output.name == *name);
    let difference =
        |name| format!("output {name}: its position is missing; the next start begins with the oldest event kept");
    Ok(registry.outputs().filter(is_missing).map(difference).collect())
}

fn lost_position(output: &OutputAccount) -> Option<String> {
    let Loss { cause, at_ms, events } = output.position_lost?;
    let (name, cause, forgotten) = (&output.name, cause.as_str(), output.forgotten);
    let at = Timestamp::of(UNIX_EPOCH + Duration::from_millis(at_ms));
    Some(format!(
        "output {name}: its position was lost ({cause}) at {at}: {events} events that were kept then may have been sent before; {forgotten} that it had settled are forgotten"
    ))
}

/// Reads every record whole: a head can be sound and the events behind it not.
fn damaged_records(log: &Inspection) -> anyhow::Result<Vec<String>> {
    let mut reader = log.reader(log.range().start);
    let mut damaged = Vec::new();
    while let Some(item) = reader.next()? {
        if let Item::Damaged { first, until, reason } = item {
            damaged.push(format!("events {first} to {until} are lost: {reason}"));
        }
    }
    Ok(damaged)
}

/// What the log still holds.
struct Kept {
    /// Ranges of events in records that can be read, in order.
    records: Vec<std::ops::Range<Ordinal>>,
    /// The ordinal behind the last event.
    end: Ordinal,
}

impl Kept {
    /// Reads the heads of all records and folds those that the ledger has not seen into it.
    fn read(log: &Inspection, ledger: &mut Ledger, differences: &mut Vec<String>) -> anyhow::Result<Self> {
        let range = log.range();
        let counted = ledger.position;
        let mut reader = log.reader(range.start);
        let mut records: Vec<std::ops::Range<Ordinal>> = Vec::new();
        let mut next = range.start;
        while let Some(item) = reader.next_head()? {
            match item {
                HeadItem::Head(head) => {
                    if head.first != next {
                        differences.push(format!("after event {next} comes event {}", head.first));
                    }
                    next = head.first + Ordinal::from(head.items);
                    match records.last_mut() {
                        Some(last) if last.end == head.first => last.end = next,
                        _ => records.push(head.first..next),
                    }
                    if head.first >= counted {
                        match Note::decode(&head.note) {
                            Ok(note) => ledger.count(next, &note),
                            Err(error) => {
                                differences.push(format!("the record of event {}: {error}", head.first));
                                ledger.pass(head.ordinals());
                            }
                        }
                    }
                }
                HeadItem::Damaged { first, until, .. } => {
                    ledger.pass(first..until);
                    next = until;
                }
            }
        }
        if ledger.position > next {
            differences.push(format!("the ledger counted up to event {}, the log ends at {next}", ledger.position));
        }
        Ok(Self { records, end: next.max(range.end) })
    }

    fn account(&self, name: &str, cursor: &Cursor, removed: bool, differences: &mut Vec<String>) -> OutputAccount {
        let totals = cursor.totals();
        let pending = self.pending(cursor);
        let spooled = self.end.saturating_sub(cursor.start());
        if cursor.found().loss.is_some() {
            differences.push(format!(
                "output {name}: its position is damaged; the next start sends again what it may have sent"
            ));
        } else if !removed && totals.sum() + pending != spooled {
            differences.push(format!(
                "output {name}: forwarded {} + dead-lettered {} + damaged {} + skipped {} + forgotten {} + handed over {} + pending {pending} is not the {spooled} events spooled since it began",
                totals.forwarded, totals.dead_lettered, totals.damaged, totals.skipped, totals.forgotten, totals.handed_over
            ));
        }
        OutputAccount {
            name: name.to_owned(),
            removed,
            start: cursor.start(),
            forwarded: totals.forwarded,
            dead_lettered: totals.dead_lettered,
            damaged: totals.damaged,
            skipped: totals.skipped,
            forgotten: totals.forgotten,
            handed_over: totals.handed_over,
            position_lost: cursor.lost(),
            pending,
        }
    }

    /// Events of the log that this output has not settled, counted record by record.
    fn pending(&self, cursor: &Cursor) -> u64 {
        let gaps = cursor.unsettled(cursor.low(), self.end);
        gaps.map(|gap| {
            let overlap =
                |record: &std::ops::Range<Ordinal>| record.end.min(gap.end).saturating_sub(record.start.max(gap.start));
            self.records.iter().map(overlap).sum::<u64>()
        })
        .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_set_aside_no_more_is_gone_than_there_was() {
        let tally = Tally { received: 2137, set_aside: 2137, ..Tally::default() };
        let gone = |displaced| InputAccount::of("agents", tally, &[("agents".to_owned(), displaced)].into()).displaced;
        assert_eq!((gone(2000), gone(2434)), (2000, 2137));
    }
}
