//! The event log's subset of XPath 1.0: text to tree, tree to program, program against events.
//!
//! Whoever runs queries on Windows hosts has them in three forms, and all are taken as they stand: a bare XPath
//! ([`xpath()`]), a channel and an XPath as in data collection rules ([`channel_query`]), and a structured [`QueryList`], alone or
//! in the subscription or view that holds it. What Gatepost takes but a host or Azure would refuse is said by [`lint()`]. [`Program`] decides.

pub mod ast;
mod forwarded;
pub mod id_set;
pub mod lint;
pub mod literal;
mod near;
pub mod parse;
mod print;
pub mod program;
pub mod query_list;
pub mod view;

pub use forwarded::told_channel;
pub use id_set::IdSet;
pub use lint::{Warning, lint};
pub use literal::Literal;
pub use near::near;
pub use parse::{ChannelQuery, QueryError, channel_query, xpath};
pub use program::{Program, Reach};
pub use query_list::{ListedQuery, QueryList, Selector};
pub use view::View;
