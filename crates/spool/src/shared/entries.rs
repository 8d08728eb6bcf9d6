//! Many small values that several gateways have together: the trait.
//!
//! Unlike a document nobody watches them, and none is ever merged: whoever writes one names the version that he has seen, and is
//! refused where somebody has written since. What has to be known of a value that is *not* there is whether there may have been
//! one. So each answer says so: nothing is there and never was ([`Found::Nothing`]), or that cannot be told ([`Found::Unclear`]).

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Away, Document};

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Values of one group belong together: where one of them is, another one that is missing may have been.
    pub group: String,
    /// Whose value of the group it is. How many one owner can have is bounded.
    pub owner: String,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This.
    Here(Document),
    /// Nothing, and nothing was ever there.
    Nothing,
    /// Nothing now. There may have been something: another one of the group is there, its owner has no room for more, or values
    /// were lost within the last month.
    Unclear,
}

/// Something that is to be put at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub place: Place,
    /// The revision of what was seen there; it is put there too where nothing is.
    pub seen: Option<String>,
    /// What. Its revision is another one than any before.
    pub document: Document,
}

/// Where values are.
pub trait Entries: Send + Sync + 'static {
    /// What is at these places.
    fn read(&self, places: Vec<Place>) -> BoxFuture<'static, Result<Vec<Found>, Away>>;

    /// Puts these at their places; which of them were put there. The others found something that was written since, or no room.
    fn write(&self, writes: Vec<Write>) -> BoxFuture<'static, Result<Vec<bool>, Away>>;

    /// Tells everybody that values may have been lost: what is not there is unclear for a month.
    fn doubt(&self) -> BoxFuture<'static, Result<(), Away>>;

    /// Which filling of it answers; none while nobody can be asked. Another one may lack what the one before had.
    fn filling(&self) -> watch::Receiver<Option<u64>>;
}
