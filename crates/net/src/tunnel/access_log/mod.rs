//! One line for each tunnel: who, where, by which rule, how much, how long, and why it ended.

mod line;
mod record;

pub use record::Record;

pub use crate::access_log::{AccessLog, Config, Prepared};
