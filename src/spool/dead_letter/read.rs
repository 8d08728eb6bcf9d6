//! Looking at letters, and removing them for a person.

use std::collections::BTreeMap;
use std::io;

use super::kept::Kept;
use super::lines::{self, Head};
use super::shares::{Owner, Segment};
use super::{DeadLetters, FILE_MAX, Filter, Letter, Page};
use crate::fs::{self, Readers};

impl DeadLetters {
    /// Letters that match, oldest first.
    pub fn list(&self, filter: &Filter, page: Page) -> io::Result<Vec<Letter>> {
        let mut found: BTreeMap<u64, Letter> = BTreeMap::new();
        for (owner, segment) in self.shares.files() {
            let is_complete = found.len() >= page.limit;
            if is_complete && found.last_key_value().is_none_or(|(last, _)| segment.number > *last) {
                break;
            }
            if segment.last <= page.after || !may_match(filter, owner, segment) {
                continue;
            }
            let bytes = fs::read(&*self.fs, &segment.path, FILE_MAX)?;
            let wanted = |head: &Head<'_>| head.id > page.after && filter.matches(head);
            for letter in lines::letters(&bytes, wanted).take(page.limit) {
                found.insert(letter.id, letter);
            }
            while found.len() > page.limit {
                found.pop_last();
            }
        }
        Ok(found.into_values().collect())
    }

    /// The letter of this id.
    pub fn get(&self, id: u64) -> io::Result<Option<Letter>> {
        let only = Filter { until: Some(id), ..Filter::default() };
        Ok(self.list(&only, Page { after: id.saturating_sub(1), limit: 1 })?.pop())
    }

    /// Removes letters; how many there were.
    pub fn remove(&mut self, ids: &[u64]) -> io::Result<u64> {
        let wanted: std::collections::BTreeSet<u64> = ids.iter().copied().collect();
        let may = |_: &Owner, file: &Segment| wanted.range(file.number..).next().is_some_and(|id| *id <= file.last);
        self.remove_where(may, wanted.len() as u64, |head| wanted.contains(&head.id))
    }

    /// Removes all letters that match; how many there were. Each file is read once, however many letters it has.
    pub fn purge(&mut self, filter: &Filter) -> io::Result<u64> {
        self.remove_where(|owner, file| may_match(filter, owner, file), u64::MAX, |head| filter.matches(head))
    }

    /// Removes letters of the files that may have such, at most so many.
    fn remove_where(
        &mut self,
        may: impl Fn(&Owner, &Segment) -> bool,
        at_most: u64,
        unwanted: impl Fn(&Head<'_>) -> bool,
    ) -> io::Result<u64> {
        if self.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let files: Vec<(Owner, Segment)> =
            self.shares.files().into_iter().filter(|(owner, file)| may(owner, file)).map(clone).collect();
        let fewer = files.iter().map(|(_, file)| file.count).sum::<u64>().min(at_most);
        let letters = self.totals().count.saturating_sub(fewer);
        self.note.write(Kept { letters, last_id: self.last_id(), ..self.note.written().clone() })?;
        let mut removed = 0;
        for (owner, file) in files {
            let (kept, gone) = lines::without(&fs::read(&*self.fs, &file.path, FILE_MAX)?, &unwanted);
            if gone.is_empty() {
                continue;
            }
            fs::replace(&*self.fs, &file.path, &kept, Readers::Owner)?;
            let count: u64 = gone.values().sum();
            removed += count;
            self.shares.change(&owner, |held| {
                if let Some(file) = held.files.iter_mut().find(|other| other.number == file.number) {
                    file.len = kept.len() as u64;
                    file.count -= count.min(file.count);
                }
            });
            for (kind, count) in gone {
                let waiting = self.waiting.entry(kind).or_default();
                *waiting -= count.min(*waiting);
            }
        }
        self.drop_empty()?;
        Ok(removed)
    }

    /// Removes files without letters, but not the last one: its name keeps the numbering going.
    fn drop_empty(&mut self) -> io::Result<()> {
        let last = self.shares.last_number();
        let empty: Vec<(Owner, Segment)> =
            self.shares.files().into_iter().filter(|(_, file)| file.len == 0).map(clone).collect();
        for (owner, file) in empty {
            if file.number == last {
                // Its name is no letter's any more.
                self.shares.change(&owner, |held| held.roll = true);
                continue;
            }
            self.fs.remove(&file.path)?;
            self.shares.change(&owner, |held| held.files.retain(|other| other.number != file.number));
        }
        Ok(())
    }
}

fn clone((owner, file): (&Owner, &Segment)) -> (Owner, Segment) {
    (owner.clone(), file.clone())
}

fn may_match(filter: &Filter, owner: &Owner, file: &Segment) -> bool {
    filter.until.is_none_or(|until| file.number <= until)
        && filter.source.as_ref().is_none_or(|name| owner.source().is_none_or(|source| source == name))
}
