//! The managed identity of an Azure Arc-enabled server: its agent gives tokens to whoever can read a file.
//!
//! The agent names the file in a challenge. Whoever answers at its port could name any file of this machine and be sent
//! what is in it. So only a small `.key` file in the agent's own folder is read, links resolved first, and its content
//! goes to loopback only.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::IdentityError;
use super::answer;
use super::entra::{is_loopback, origin};
use super::metadata::Metadata;
use super::source::{Failure, Fetched, Source};
use crate::net::http_client::Answer;

const ENDPOINT: &str = "http://localhost:40342";
const API_VERSION: &str = "2020-06-01";
/// Most bytes of a challenge file.
const KEY_MAX: u64 = 4096;

/// What must hold for the agent's address.
pub(super) const LOOPBACK_RULE: &str = "must be http:// and this machine, such as \"http://localhost:40342\"";

/// Whether it can be the agent's address.
pub(super) fn is_endpoint(text: &str) -> bool {
    super::metadata::is_endpoint(text) && origin(text).is_some_and(|uri| is_loopback(&uri))
}

/// Asks the agent.
pub(super) struct ArcServer {
    metadata: Metadata,
    key_dir: Arc<Path>,
}

impl ArcServer {
    /// # Errors
    ///
    /// When `endpoint` is not this machine.
    pub(super) fn new(endpoint: Option<&str>, key_dir: Option<PathBuf>, scope: &str) -> Result<Self, IdentityError> {
        let endpoint = endpoint.unwrap_or(ENDPOINT);
        if !is_endpoint(endpoint) {
            return Err(IdentityError { key: "endpoint", message: format!("{endpoint:?} {LOOPBACK_RULE}") });
        }
        let metadata = Metadata::new(endpoint, scope, &[("api-version", API_VERSION)])?;
        Ok(Self { metadata, key_dir: key_dir.unwrap_or_else(agents_key_dir).into() })
    }

    /// Asks, solves the challenge, and asks again.
    async fn ask(&self) -> Result<Fetched, Failure> {
        let challenge = self.metadata.ask(None).await?;
        if challenge.status != 401 {
            return self.read(&challenge);
        }
        let named = realm(&challenge).ok_or_else(|| {
            let detail = format!("{} sent no challenge that names a file (Basic realm=…)", self.metadata.shown());
            Failure::lasting(detail, "Check what answers at identity.endpoint: the Arc agent does.".to_owned())
        })?;
        let key_dir = Arc::clone(&self.key_dir);
        let solved = tokio::task::spawn_blocking(move || solve(&key_dir, &named)).await;
        let authorization = solved.unwrap_or_else(|_| Err(Failure::passing("the reader ended".to_owned())))?;
        self.read(&self.metadata.ask(Some(authorization)).await?)
    }

    fn read(&self, answer: &Answer) -> Result<Fetched, Failure> {
        let asked = self.metadata.shown();
        answer::read(&asked, answer, &[])?.map_err(|refusal| {
            let advice = match refusal.status {
                400 | 403 | 404 => Some("Check the agent on this machine: azcmagent show.".to_owned()),
                _ => None,
            };
            refusal.into_failure(&asked, answer, advice)
        })
    }
}

impl Source for ArcServer {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>> {
        self.ask().boxed()
    }
}

#[cfg(windows)]
fn agents_key_dir() -> PathBuf {
    let data = std::env::var_os("ProgramData").unwrap_or_else(|| r"C:\ProgramData".into());
    Path::new(&data).join("AzureConnectedMachineAgent").join("Tokens")
}

#[cfg(not(windows))]
fn agents_key_dir() -> PathBuf {
    PathBuf::from("/var/opt/azcmagent/tokens")
}

/// The file of `Basic realm=FILE`, with or without quotation marks.
fn realm(challenge: &Answer) -> Option<PathBuf> {
    let text = challenge.headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    let (scheme, rest) = text.trim().split_once(' ')?;
    let (key, file) = rest.trim().split_once('=')?;
    let file = file.trim().trim_matches('"');
    let sound = scheme.eq_ignore_ascii_case("basic") && key.trim().eq_ignore_ascii_case("realm") && !file.is_empty();
    sound.then(|| PathBuf::from(file))
}

/// The authorization that the named file holds, if it is one that may be read.
fn solve(key_dir: &Path, named: &Path) -> Result<HeaderValue, Failure> {
    let refused = |why: &str| {
        let detail = format!("the challenge names {}, which {why}; it was not read", named.display());
        Failure::lasting(detail, "Check what answers at identity.endpoint, and identity.key_dir.".to_owned())
    };
    if named.extension().is_none_or(|extension| extension != "key") {
        return Err(refused("is no .key file"));
    }
    let folder = key_dir.canonicalize().map_err(|error| unreadable(key_dir, &error))?;
    // What is outside of the folder is not even looked for: an error would tell whether it exists.
    if !named.starts_with(key_dir) && !named.starts_with(&folder) {
        return Err(refused(&format!("is not in {}", key_dir.display())));
    }
    let path = named.canonicalize().map_err(|error| unreadable(named, &error))?;
    if !path.starts_with(&folder) || path.extension().is_none_or(|extension| extension != "key") {
        return Err(refused(&format!("leads out of {}", key_dir.display())));
    }
    let file = std::fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
    let about = file.metadata().map_err(|error| unreadable(&path, &error))?;
    if !about.is_file() || about.len() > KEY_MAX {
        return Err(refused("is no file of at most 4,096 bytes"));
    }
    let mut content = Vec::new();
    file.take(KEY_MAX).read_to_end(&mut content).map_err(|error| unreadable(&path, &error))?;
    let value = [b"Basic ", content.trim_ascii()].concat();
    HeaderValue::from_bytes(&value)
        .map_err(|_| Failure::lasting(format!("{} holds what no header can carry", path.display()), None))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let advice = (error.kind() == ErrorKind::PermissionDenied).then(|| {
        "Let Gatepost read the agent's files: put its user into the group himds (Linux), or into \"Hybrid agent extension applications\" (Windows)."
            .to_owned()
    });
    Failure::lasting(format!("{}: {error}", path.display()), advice)
}

#[cfg(test)]
#[path = "arc_tests.rs"]
mod tests;
