//! What the bytes that an output sends depend on, beside the events.

use super::body::{Compression, Shape};
use crate::event::columns::{Extras, Table};

/// How an output writes rows, and rows as a body. Outputs of equal form send the same bytes for the same events, so that what one
/// of them has made serves the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    rows: Rows,
    shape: Shape,
    compression: Compression,
    level: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rows {
    AsUploaded,
    OfTable(Option<Table>, Extras),
}

impl Form {
    /// Rows as [`super::row`] makes them.
    pub(super) fn as_uploaded(shape: Shape, compression: Compression, level: u8) -> Self {
        Self { rows: Rows::AsUploaded, shape, compression, level }
    }

    /// Rows of a table, or of none, with these extras.
    pub(super) fn of_table(table: Option<Table>, extras: Extras, compression: Compression, level: u8) -> Self {
        Self { rows: Rows::OfTable(table, extras), shape: Shape::JsonArray, compression, level }
    }

    /// Some form.
    #[cfg(test)]
    pub fn for_tests() -> Self {
        Self::as_uploaded(Shape::Ndjson, Compression::None, 0)
    }
}
