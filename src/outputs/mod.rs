//! The outputs: destinations with their protocols. One folder each, with the same files inside.
//!
//! - [`workspace`]: a Log Analytics or Sentinel workspace, through a data collection endpoint and rule;
//! - [`http`]: any collector that takes a JSON array or NDJSON by POST;
//! - [`mod@file`]: rotated NDJSON files in a directory, for a gateway without any cloud.
//!
//! What they share: [`row`] turns an event into a row, [`body`] rows into a body, [`sender`] posts it, [`outcome`] says
//! what the answer means. All pass one suite, `conformance`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::faults::{self, Fault};
use crate::net::tls_client::{Trust, TrustError, client_config};

mod body;
pub mod config;
pub mod file;
pub mod form;
pub mod http;
pub mod identity;
mod outcome;
pub mod output;
mod row;
mod sender;
mod shared;
pub mod workspace;

#[cfg(test)]
mod collector;
#[cfg(test)]
mod conformance;

pub use config::Config;
pub use output::Output;
pub(crate) use shared::Kept;
pub use shared::Shared;

/// Why an output cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration has a problem that [`Config::problems`] would have told.
    #[error("output {output}: {key}: {message}")]
    Invalid {
        /// The output's name.
        output: String,
        /// The key with the problem.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The identity cannot be used.
    #[error("output {output}: {source}")]
    Identity {
        /// The output's name.
        output: String,
        /// What is wrong with it.
        source: identity::IdentityError,
    },
    /// The trusted certificates cannot be loaded.
    #[error("output {output}: {source}")]
    Trust {
        /// The output's name.
        output: String,
        /// What is wrong with them.
        source: TrustError,
    },
}

impl BuildError {
    /// What it says of the output's keys.
    fn fault(self) -> Fault {
        match self {
            Self::Invalid { key, message, .. } => Fault::stops(key, message),
            Self::Identity { source, .. } => Fault::stops(format!("identity.{}", source.key), source.message),
            Self::Trust { source, .. } => Fault::stops("ca_file", source.to_string()),
        }
    }
}

/// Everything that is wrong with the files that an output names, for a gateway that keeps its state in `state_dir`. Makes nothing.
pub fn faults(config: &Config, state_dir: &Path) -> Vec<Fault> {
    // What cannot be built at all was told as a problem; it hides nothing of the files.
    let is_whole = config.problems().is_empty();
    match config {
        Config::Workspace(config) if is_whole => workspace::faults(config).into_iter().map(BuildError::fault).collect(),
        Config::Workspace(config) => of_trust(config.ca_file.as_ref()),
        Config::Http(config) => of_trust(config.ca_file.as_ref()),
        Config::File(_) if !is_whole => Vec::new(),
        Config::File(config) => {
            let reason = faults::in_folder(&config.directory(state_dir));
            reason.map(|reason| Fault::stops("directory", reason)).into_iter().collect()
        }
    }
}

/// What is wrong with the trusted authorities of a file.
fn of_trust(ca_file: Option<&PathBuf>) -> Vec<Fault> {
    let trust = ca_file.map(|path| Trust::File(path.clone()));
    let error = trust.and_then(|trust| client_config(&trust).err());
    error.map(|error| Fault::stops("ca_file", error.to_string())).into_iter().collect()
}

/// Whether an output writes below this folder.
pub fn lies_in(config: &Config, state_dir: &Path) -> bool {
    matches!(config, Config::File(config) if config.directory(state_dir).starts_with(state_dir))
}

/// The output that `config` describes, with what it shares with others.
///
/// Reads certificate files, sends nothing and creates nothing: a file output opens its directory with its first batch.
pub fn build(config: &Config, shared: &Shared) -> Result<Arc<dyn Output>, BuildError> {
    let output = || config.name().to_owned();
    if let Some((key, message)) = config.problems().into_iter().next() {
        return Err(BuildError::Invalid { output: output(), key, message });
    }
    let trust = |source| BuildError::Trust { output: output(), source };
    Ok(match config {
        Config::Workspace(config) => Arc::new(workspace::Workspace::new(config, shared)?),
        Config::Http(config) => Arc::new(http::Http::new(config).map_err(trust)?),
        Config::File(config) => Arc::new(file::File::new(config, shared.state_dir())),
    })
}
