//! What a chunk knows of a record beside its id.

/// What tells records with one record id apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) second: i64,
    pub(super) event_id: u16,
}

/// A chunk with so many keys is full.
pub(super) const FULL: u16 = 512;
