//! Looking at letters. Which files there are is asked for in a moment; reading them may take minutes, and keeps nobody from
//! writing: a file that goes meanwhile takes its letters along, and one that is written anew is read as it was or as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::lines::{self, Head};
use super::shares::{Owner, Segment};
use super::{Chosen, DeadLetters, FILE_MAX, Filter, Letter, Page};
use crate::fs::{self, Fs};

/// The files that may have letters somebody asks for, as they were at one moment.
#[derive(Debug)]
pub struct Listing {
    fs: Arc<dyn Fs>,
    chosen: Chosen,
    files: Vec<(Owner, Segment)>,
    /// A higher id was not acknowledged then.
    last_id: u64,
}

impl DeadLetters {
    /// The files that may have these letters.
    pub fn listing(&self, chosen: Chosen) -> Listing {
        let files = self.shares.files().into_iter().filter(|(owner, file)| chosen.may_be_in(owner, file));
        let files = files.map(|(owner, file)| (owner.clone(), file.clone())).collect();
        Listing { fs: Arc::clone(&self.fs), chosen, files, last_id: self.last_id() }
    }

    /// Letters that match, oldest first.
    pub fn list(&self, filter: &Filter, page: Page) -> io::Result<Vec<Letter>> {
        self.listing(Chosen::Matching(filter.clone())).read(page)
    }

    /// The letter of this id.
    pub fn get(&self, id: u64) -> io::Result<Option<Letter>> {
        let all = Page { after: 0, limit: 1 };
        Ok(self.listing(Chosen::Ids(BTreeSet::from([id]))).read(all)?.pop())
    }
}

impl Listing {
    /// Without what only inputs have: their letters can never be sent.
    pub fn without_inputs(mut self) -> Self {
        self.files.retain(|(owner, _)| !owner.is_sender());
        self
    }

    /// Only what inputs have.
    pub fn of_inputs(mut self) -> Self {
        self.files.retain(|(owner, _)| owner.is_sender());
        self
    }

    /// The letters, oldest first.
    pub fn read(&self, page: Page) -> io::Result<Vec<Letter>> {
        let mut found: BTreeMap<u64, Letter> = BTreeMap::new();
        for (_, segment) in &self.files {
            let is_complete = found.len() >= page.limit;
            if is_complete && found.last_key_value().is_none_or(|(last, _)| segment.number > *last) {
                break;
            }
            if segment.last <= page.after {
                continue;
            }
            let bytes = self.bytes_of(segment)?;
            let wanted = |head: &Head<'_>| head.id > page.after && self.has(head);
            for letter in lines::letters(&bytes, wanted).take(page.limit) {
                found.insert(letter.id, letter);
            }
            while found.len() > page.limit {
                found.pop_last();
            }
        }
        Ok(found.into_values().collect())
    }

    /// How many letters there are. A file whose letters all count is not read.
    pub fn count(&self) -> io::Result<u64> {
        let mut count = 0;
        for (owner, file) in &self.files {
            count += if owner.is_sender() && self.chosen.has_all_of(file) {
                file.count
            } else {
                lines::lines(&self.bytes_of(file)?).filter_map(lines::head).filter(|head| self.has(head)).count() as u64
            };
        }
        Ok(count)
    }

    fn has(&self, head: &Head<'_>) -> bool {
        head.id <= self.last_id && self.chosen.has(head)
    }

    fn bytes_of(&self, file: &Segment) -> io::Result<Vec<u8>> {
        match fs::read(&*self.fs, &file.path, FILE_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => bytes,
        }
    }
}
