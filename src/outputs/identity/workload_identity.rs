//! An application that proves itself with the token of another issuer, from a file that somebody renews.
//!
//! The file is read for each request: such tokens live for minutes, and whoever renews them tells nobody.

use std::io::Read;
use std::path::{Path, PathBuf};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::assertion::ASSERTION_TYPE;
use super::entra::App;
use super::source::{Failure, Fetched, Source};

/// Most bytes of the file. Tokens of Kubernetes have one or two thousand.
const FILE_MAX: u64 = 64 << 10;

/// Asks with the token of the file.
pub(super) struct WorkloadIdentity {
    app: App,
    token_file: PathBuf,
}

impl WorkloadIdentity {
    pub(super) fn new(app: App, token_file: PathBuf) -> Self {
        Self { app, token_file }
    }

    async fn ask(&self) -> Result<Fetched, Failure> {
        let path = self.token_file.clone();
        let read = tokio::task::spawn_blocking(move || read(&path)).await;
        let token = read.map_err(|_| "the reader ended".to_owned()).and_then(|read| read).map_err(|reason| {
            let detail = format!("identity.token_file {}: {reason}", self.token_file.display());
            Failure::lasting(detail, "Have the file written by the issuer's agent, readable for Gatepost.".to_owned())
        })?;
        self.app.fetch(&[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &token)]).await
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let token = text.trim();
    let fits = !token.is_empty() && text.len() as u64 <= FILE_MAX && token.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(token.to_owned()) } else { Err("does not hold one token of at most 64 KiB".to_owned()) }
}

impl Source for WorkloadIdentity {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>> {
        self.ask().boxed()
    }
}
