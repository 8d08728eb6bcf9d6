//! The left side of the account: what became of every received event, by input.
//!
//! Each record of the spool carries, as its note, what its upload added to the account; the events and their account
//! become durable in one fsync and cannot disagree after a crash. Uploads without a new event have no record: their
//! share waits here and rides on the next one. Totals are folded from the notes in the order of the log and saved
//! with the position they stand for, so that a note is counted exactly once whatever happens in between.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::accept::Receipt;
use crate::fs::sealed::{self, Seal};
use crate::fs::{self, Fs, Readers};
use crate::spool::Ordinal;

/// Longer than the tallies of any number of inputs that a configuration has room for.
const FILE_MAX: u64 = 64 << 20;

/// What became of the events of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Records in uploads.
    pub received: u64,
    /// Dropped by a rule.
    pub filtered: u64,
    /// Dropped because they were seen before.
    pub duplicate: u64,
    /// Kept as dead letters because they could not be understood.
    pub set_aside: u64,
    /// Appended to the spool.
    pub spooled: u64,
}

impl Tally {
    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.filtered += other.filtered;
        self.duplicate += other.duplicate;
        self.set_aside += other.set_aside;
        self.spooled += other.spooled;
    }

    /// Whether every received event is accounted for.
    pub fn balances(&self) -> bool {
        self.received == self.filtered + self.duplicate + self.set_aside + self.spooled
    }

    /// The same numbers as the sender sees them, of an upload whose new events are in the spool from `positions.start` to
    /// `positions.end`.
    pub fn receipt(&self, positions: &Range<Ordinal>) -> Receipt {
        let Self { received, filtered, duplicate, set_aside, spooled } = *self;
        Receipt { received, filtered, duplicate, set_aside, spooled, first: positions.start, end: positions.end }
    }
}

/// What one record of the spool adds to the account, by input.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Note {
    /// Tallies by input.
    #[serde(rename = "t")]
    tallies: BTreeMap<String, Tally>,
    /// The number of a record that has no events; positions alone cannot tell such records apart.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
}

/// A note that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the note of a spool record cannot be read: {0}")]
pub struct NoteError(#[from] serde_json::Error);

impl Note {
    /// A note with one share.
    pub fn of(input: &str, tally: Tally) -> Self {
        Self { tallies: [(input.to_owned(), tally)].into(), number: None }
    }

    /// The note as it stands in the spool.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys and numbers always serialise")
    }

    /// Reads a note of the spool; an empty one is an empty note.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.is_empty() { Ok(Self::default()) } else { Ok(serde_json::from_slice(bytes)?) }
    }

    fn add(&mut self, input: &str, tally: &Tally) {
        match self.tallies.get_mut(input) {
            Some(sum) => sum.add(tally),
            None => {
                self.tallies.insert(input.to_owned(), *tally);
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        for (input, tally) in &other.tallies {
            self.add(input, tally);
        }
    }
}

/// Shares of the account that wait for a record to ride on.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<Note>);

impl Waiting {
    /// Leaves a share here; the next record takes it along.
    pub fn leave(&self, input: &str, tally: &Tally) {
        if tally.received == 0 {
            return;
        }
        self.0.lock().add(input, tally);
    }

    /// The note for a record: what waited, and the record's own share.
    pub fn take_with(&self, input: &str, tally: &Tally) -> Boarded<'_> {
        let waited = std::mem::take(&mut *self.0.lock());
        let mut note = waited.clone();
        note.add(input, tally);
        Boarded { home: self, waited: Some(waited), note }
    }

    /// The note for a record without events, if anything waits.
    pub fn take_alone(&self, number: u64) -> Option<Boarded<'_>> {
        let waited = std::mem::take(&mut *self.0.lock());
        if waited.tallies.is_empty() {
            return None;
        }
        let note = Note { number: Some(number), ..waited.clone() };
        Some(Boarded { home: self, waited: Some(waited), note })
    }
}

/// A note on its way to the spool. Unless it is told that it arrived, the share that had waited goes back to wait.
#[derive(Debug)]
pub struct Boarded<'a> {
    home: &'a Waiting,
    waited: Option<Note>,
    note: Note,
}

impl Boarded<'_> {
    /// The note as it stands in the spool.
    pub fn encode(&self) -> Vec<u8> {
        self.note.encode()
    }

    /// The record is durable, and its note with it.
    pub fn arrived(mut self) {
        self.waited = None;
    }
}

impl Drop for Boarded<'_> {
    fn drop(&mut self) {
        if let Some(waited) = self.waited.take() {
            self.home.0.lock().merge(&waited);
        }
    }
}

/// The account so far, and the position in the spool up to which it was folded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Every record below this ordinal has been counted.
    pub position: u64,
    /// The number of the last counted record without events.
    #[serde(default)]
    pub last_number: u64,
    /// The first event of this account: 0, or where it began anew after the ledger was lost.
    #[serde(default)]
    pub began: u64,
    /// Events that could not be read any more when the account came to them: the tallies do not have them.
    #[serde(default, rename = "damaged")]
    pub uncounted: u64,
    /// Totals by input, since the account began.
    pub tallies: BTreeMap<String, Tally>,
}

impl Ledger {
    /// The file in the state directory.
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("ledger.json")
    }

    /// An account that begins with the event of this ordinal.
    pub fn beginning_at(first: u64) -> Self {
        Self { position: first, began: first, ..Self::default() }
    }

    /// Reads the ledger; `None` when there is none, and invalid data when it is damaged.
    pub fn load(fs: &dyn Fs, path: &Path) -> io::Result<Option<Self>> {
        match fs::read(fs, path, FILE_MAX) {
            Ok(bytes) if sealed::check(&bytes) == Seal::Broken => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"))
            }
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file whole: a crash leaves the old one or the new one.
    pub fn save(&self, fs: &dyn Fs, path: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        sealed::seal(&mut bytes, 0);
        fs::replace(fs, path, &bytes, Readers::Owner)
    }

    /// Counts one record: its position after it, and its note.
    pub fn count(&mut self, after: u64, note: &Note) {
        self.position = after;
        if let Some(number) = note.number {
            if number <= self.last_number {
                return;
            }
            self.last_number = number;
        }
        for (input, tally) in &note.tallies {
            self.tallies.entry(input.clone()).or_default().add(tally);
        }
    }

    /// Passes over events whose share of the account cannot be read.
    pub fn pass(&mut self, ordinals: Range<u64>) {
        self.uncounted += ordinals.end.saturating_sub(ordinals.start.max(self.position));
        self.position = self.position.max(ordinals.end);
    }

    /// The sum over all inputs.
    pub fn total(&self) -> Tally {
        self.tallies.values().fold(Tally::default(), |mut sum, tally| {
            sum.add(tally);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fs::RealFs;
    use crate::fs::trial::{self, Durable};

    /// A ledger, as far as its position tells what it holds.
    struct Positioned;

    impl Durable for Positioned {
        fn write(&self, fs: &Arc<dyn Fs>, version: u8) -> io::Result<()> {
            Ledger::beginning_at(version.into()).save(&**fs, &Ledger::path(trial::folder()))
        }

        fn read(&self, fs: &Arc<dyn Fs>) -> Result<Option<u8>, String> {
            let ledger = Ledger::load(&**fs, &Ledger::path(trial::folder())).map_err(|error| error.to_string())?;
            Ok(ledger.and_then(|ledger| u8::try_from(ledger.position).ok()))
        }
    }

    #[test]
    fn the_ledger_survives_a_failing_disk_and_a_power_cut() {
        trial::pass(&Positioned);
    }

    fn tally(duplicate: u64, spooled: u64) -> Tally {
        Tally { received: duplicate + spooled, duplicate, spooled, ..Tally::default() }
    }

    #[test]
    fn a_share_without_events_rides_on_the_next_record() {
        let waiting = Waiting::default();
        waiting.leave("dmz", &tally(5, 0));
        let boarded = waiting.take_with("plant", &tally(0, 3));
        let mut ledger = Ledger::default();
        ledger.count(3, &Note::decode(&boarded.encode()).unwrap());
        boarded.arrived();
        assert_eq!(ledger.tallies["dmz"], tally(5, 0));
        assert_eq!(ledger.tallies["plant"], tally(0, 3));
        assert!(waiting.take_alone(1).is_none(), "it went once");
    }

    #[test]
    fn a_share_whose_record_failed_waits_again_but_the_refused_upload_does_not_count() {
        let waiting = Waiting::default();
        waiting.leave("dmz", &tally(5, 0));
        drop(waiting.take_with("plant", &tally(0, 3)));
        let alone = waiting.take_alone(1).expect("the share waits again");
        let note = Note::decode(&alone.encode()).unwrap();
        assert_eq!(note.tallies.keys().collect::<Vec<_>>(), ["dmz"]);
    }

    #[test]
    fn a_record_without_events_is_counted_once_although_it_has_no_position_of_its_own() {
        let waiting = Waiting::default();
        waiting.leave("dmz", &tally(5, 0));
        let note = Note::decode(&waiting.take_alone(1).unwrap().encode()).unwrap();
        let mut ledger = Ledger::default();
        ledger.count(0, &note);
        ledger.count(0, &note);
        assert_eq!(ledger.total(), tally(5, 0));
    }

    #[test]
    fn what_a_former_version_wrote_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path());
        std::fs::write(&path, r#"{"position":9,"damaged":2,"tallies":{}}"#).unwrap();
        let ledger = Ledger { position: 9, uncounted: 2, ..Ledger::default() };
        assert_eq!(Ledger::load(&RealFs, &path).unwrap(), Some(ledger));
    }

    #[test]
    fn the_file_holds_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path());
        assert_eq!(Ledger::load(&RealFs, &path).unwrap(), None);
        let mut ledger = Ledger::default();
        ledger.count(7, &Note { tallies: [("dmz".to_owned(), tally(1, 7))].into(), number: None });
        ledger.save(&RealFs, &path).unwrap();
        assert_eq!(Ledger::load(&RealFs, &path).unwrap(), Some(ledger.clone()));
        assert!(ledger.total().balances());
    }

    #[test]
    fn a_number_that_was_changed_on_the_disk_is_damage_and_the_file_of_a_former_version_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = Ledger::path(dir.path());
        let mut ledger = Ledger::default();
        ledger.count(7, &Note { tallies: [("dmz".to_owned(), tally(1, 7))].into(), number: None });
        ledger.save(&RealFs, &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"position\": 7", "\"position\": 5", 1)).unwrap();
        assert_eq!(Ledger::load(&RealFs, &path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        std::fs::write(&path, serde_json::to_vec_pretty(&ledger).unwrap()).unwrap();
        assert_eq!(Ledger::load(&RealFs, &path).unwrap(), Some(ledger));
    }
}
