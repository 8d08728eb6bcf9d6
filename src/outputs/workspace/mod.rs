//! The workspace output: the client side of Azure's Logs Ingestion API.
//!
//! One POST per batch to a data collection endpoint: a JSON array, gzip, answered with 204. The batch's id travels as
//! `x-ms-client-request-id`, equal for every try. Azure removes no duplicates; whoever reads its logs can tell by the
//! id which requests were the same.

mod advice;
mod client;
mod config;
mod quota;
pub mod reach;
mod shorten;
mod wire;

pub use client::Workspace;
pub(in crate::outputs) use client::faults;
pub use config::{Config, Target};
pub(in crate::outputs) use quota::Quota;
