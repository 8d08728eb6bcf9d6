//! An application that proves itself with a certificate.
//!
//! The files are read again when they change, so that a renewed certificate needs no restart; while they do not hold
//! what they should, what was read before is used. An assertion holds for minutes, and this machine's clock may be off by
//! more: when Entra says so, its own clock is taken from the answer, and the assertion is made again.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::IdentityError;
use super::answer::{self, Refusal};
use super::assertion::{ASSERTION_TYPE, sign};
use super::certificate::{Credential, Files, Stamp};
use super::entra::{App, Reply};
use super::source::{Failure, Fetched, Source};
use super::unix_now;
use crate::net::http_client::Answer;

/// "The client assertion is not within its valid time range."
const OUT_OF_TIME: u32 = 700_024;
/// A difference of clocks, in seconds, that is worth a word and a second try.
const SKEW_MIN: i64 = 5;
/// Seconds before the end of a certificate from which on the status page says so.
const WARN_BEFORE: i64 = 30 * 24 * 3600;

/// Asks with assertions.
pub(super) struct ClientCertificate {
    app: App,
    files: Arc<Files>,
    send_chain: bool,
    loaded: Mutex<Loaded>,
    /// What to add to this machine's clock to have Entra's, in seconds.
    skew: AtomicI64,
}

#[derive(Clone)]
struct Loaded {
    stamp: Stamp,
    credential: Arc<Credential>,
}

impl ClientCertificate {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When they cannot be read or do not hold an RSA key and its certificate.
    pub(super) fn new(app: App, files: Files, send_chain: bool) -> Result<Self, IdentityError> {
        // The stamp is taken first: a change while reading is then seen with the next fetch.
        let stamp = files.stamp();
        let loaded = Loaded { stamp, credential: Arc::new(files.load()?) };
        Ok(Self { app, files: Arc::new(files), send_chain, loaded: Mutex::new(loaded), skew: AtomicI64::new(0) })
    }

    async fn ask(&self) -> Result<Fetched, Failure> {
        let (credential, complaint) = self.credential().await;
        let mut reply = self.prove(&credential).await?;
        if let Reply::Refused(refusal, answer) = &reply
            && self.learns_skew(refusal, answer)
        {
            reply = self.prove(&credential).await?;
        }
        match reply {
            Reply::Token(fetched) => Ok(Fetched { notice: self.notice(&credential, complaint), ..fetched }),
            Reply::Refused(refusal, answer) => {
                let mut failure = self.app.failure(refusal, &answer, Some(&credential.thumbprint()));
                failure.error.advice = failure.error.advice.or_else(|| self.notice(&credential, complaint));
                Err(failure)
            }
        }
    }

    /// What the files hold now, or held last, and why it is the latter.
    async fn credential(&self) -> (Arc<Credential>, Option<String>) {
        let known = self.loaded.lock().clone();
        let files = Arc::clone(&self.files);
        let seen = known.stamp.clone();
        let read = tokio::task::spawn_blocking(move || {
            let stamp = files.stamp();
            (stamp != seen).then(|| (stamp, files.load()))
        });
        match read.await {
            Ok(None) => (known.credential, None),
            Ok(Some((stamp, Ok(credential)))) => {
                let credential = Arc::new(credential);
                *self.loaded.lock() = Loaded { stamp, credential: Arc::clone(&credential) };
                (credential, None)
            }
            Ok(Some((_, Err(error)))) => (known.credential, Some(format!("{error}. The one read before is used."))),
            Err(_) => (known.credential, Some("The certificate could not be read again.".to_owned())),
        }
    }

    async fn prove(&self, credential: &Credential) -> Result<Reply, Failure> {
        let now = unix_now() + self.skew.load(Ordering::Relaxed);
        let assertion = sign(credential, &self.app.url(), self.app.client_id(), now, self.send_chain)
            .map_err(|error| Failure::lasting(format!("the assertion cannot be signed: {error}"), None))?;
        self.app.ask(&[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &assertion)]).await
    }

    /// Whether a refusal is about the clock and its answer tells another time than was believed.
    fn learns_skew(&self, refusal: &Refusal, answer: &Answer) -> bool {
        if refusal.code != Some(OUT_OF_TIME) {
            return false;
        }
        let Some(date) = answer::date(answer) else { return false };
        let skew = date - unix_now();
        let before = self.skew.swap(skew, Ordering::Relaxed);
        (skew - before).abs() >= SKEW_MIN
    }

    fn notice(&self, credential: &Credential, complaint: Option<String>) -> Option<String> {
        let skew = self.skew.load(Ordering::Relaxed);
        let left = credential.ends - (unix_now() + skew);
        let clock = (skew.abs() >= SKEW_MIN).then(|| {
            let way = if skew > 0 { "behind" } else { "ahead of" };
            format!(
                "This machine's clock is {} s {way} Entra ID's: set it. Assertions are corrected meanwhile.",
                skew.abs()
            )
        });
        let end = (left < WARN_BEFORE).then(|| match left {
            ..=0 => format!("Certificate {} has expired: renew it.", credential.thumbprint()),
            _ => format!("Certificate {} ends in {} days: renew it.", credential.thumbprint(), left / (24 * 3600)),
        });
        let notices: Vec<String> = [complaint, clock, end].into_iter().flatten().collect();
        (!notices.is_empty()).then(|| notices.join(" "))
    }
}

impl Source for ClientCertificate {
    fn fetch(&self) -> BoxFuture<'_, Result<Fetched, Failure>> {
        self.ask().boxed()
    }

    fn certificate_ends(&self) -> Option<i64> {
        Some(self.loaded.lock().credential.ends)
    }
}

#[cfg(test)]
#[path = "client_certificate_tests.rs"]
mod tests;
