//! The certificates for hosts that are taken over: made when a host is asked for first, kept, and made anew before they end.
//!
//! Hosts are named by clients, so their number is bounded: at the limit the one that was made first goes. Making one costs a
//! signature, and whoever makes the gateway do that was let in and is in the group.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rustls::server::ResolvesServerCert;
use time::OffsetDateTime;

use super::authority::{Authority, AuthorityError, Facts, LEAF_BEGINS_BEFORE, LEAF_LIVES};
use crate::metrics;
use crate::net::tls_choice::Choice;
use crate::tunnel::config;

/// Hosts whose certificates are kept.
const KEPT_MAX: usize = 1_024;

/// The authorities, and what they have signed.
#[derive(Debug)]
pub struct Leaves {
    authorities: Vec<Authority>,
    /// What the files held that this was made of.
    files: Vec<Vec<u8>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    by_host: HashMap<String, Leaf>,
    /// In the order in which they were made.
    order: VecDeque<String>,
}

#[derive(Debug, Clone)]
struct Leaf {
    certificates: Arc<Choice>,
    good_until: OffsetDateTime,
}

impl Leaves {
    /// Reads the authorities of a configuration. Where their files hold what `before` was made of, that goes on.
    ///
    /// # Errors
    ///
    /// When there is none, or one cannot be used.
    pub fn load(config: &config::Authority, before: Option<&Arc<Self>>) -> Result<Arc<Self>, AuthorityError> {
        let paths = || config.pairs().flat_map(|pair| [pair.certificate, pair.key]);
        let files: Vec<Vec<u8>> = paths().map(|path| std::fs::read(path).unwrap_or_default()).collect();
        let authorities = config.pairs().map(Authority::load).collect::<Result<Vec<_>, _>>()?;
        if authorities.is_empty() {
            return Err(AuthorityError::Certificate("there is no authority".to_owned()));
        }
        match before {
            Some(before) if before.files == files => Ok(Arc::clone(before)),
            _ => Ok(Arc::new(Self { authorities, files, kept: Mutex::default() })),
        }
    }

    /// What is shown to clients of this host.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn of(&self, host: &str) -> Result<Arc<dyn ResolvesServerCert>, rcgen::Error> {
        self.of_at(host, OffsetDateTime::now_utc())
    }

    fn of_at(&self, host: &str, now: OffsetDateTime) -> Result<Arc<dyn ResolvesServerCert>, rcgen::Error> {
        // One that begins later was made while the clock was ahead: no client would take it for as long as it lives.
        let fresh = |leaf: &&Leaf| {
            let left = leaf.good_until - now;
            left > LEAF_LIVES / 2 && left <= LEAF_LIVES + LEAF_BEGINS_BEFORE
        };
        if let Some(leaf) = self.kept().by_host.get(host).filter(fresh) {
            return Ok(Arc::clone(&leaf.certificates) as _);
        }
        let keys = self.authorities.iter().map(|authority| authority.certify(host, now)).collect::<Result<_, _>>()?;
        metrics::TUNNEL_TAKE_OVER_CERTIFICATES.add(&[], 1);
        let certificates = Arc::new(Choice::new(keys));
        self.kept().keep(host, Leaf { certificates: Arc::clone(&certificates), good_until: now + LEAF_LIVES });
        Ok(certificates)
    }

    /// What people are told of the authorities.
    pub fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.authorities.iter().map(Authority::facts)
    }

    /// Hosts that a certificate is kept for.
    pub fn kept_for(&self) -> usize {
        self.kept().by_host.len()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock()
    }
}

impl Kept {
    fn keep(&mut self, host: &str, leaf: Leaf) {
        if self.by_host.insert(host.to_owned(), leaf).is_some() {
            return;
        }
        self.order.push_back(host.to_owned());
        if self.order.len() > KEPT_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.by_host.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests;
