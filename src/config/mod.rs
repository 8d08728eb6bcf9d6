//! The configuration: TOML in, checked values out.
//!
//! - [`tree`]: what the file may say; one field for each component's own `Config`. The only file to touch for a new
//!   section.
//! - [`mod@load`]: text → values → [`Config`]. Every mistake is reported, in one report, where it stands in the file.
//! - [`mod@reference`]: the same types as documents: the reference, a commented example, the list of metrics.
//! - [`rule_files`]: the rules that the configuration names, read and checked with it.
//! - [`files`]: the files that the configuration names, to see when another content comes into them.
//!
//! The checks are driven by the JSON schemas of the components (`schema.rs`, `check.rs`), because deserialising stops
//! at the first mistake, and an operator wants all of them. The very same schemas make the reference, so that a key
//! cannot be accepted and undocumented. The same schemas say which texts are paths. Secrets are never shown: not in a problem, not in
//! a printed configuration.

mod address;
mod blame;
mod check;
mod document;
pub mod example;
mod expand;
pub mod files;
pub mod load;
mod mend;
mod paths;
pub mod problem;
mod redact;
pub mod reference;
pub mod rule_files;
mod schema;
pub mod tree;

#[cfg(test)]
mod tests;

pub use load::{DEFAULTS, LoadError, Loaded, Look, defaults_and_look, load, load_and_look, load_text, parse};
pub use problem::{Problem, Problems};
pub use tree::{Config, Output};
