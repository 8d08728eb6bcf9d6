//! What outputs share: one token cache for each identity, one quota for each data collection rule.
//!
//! Two outputs that feed two tables through one rule share its limits at Azure, and so must share them here. Kept weakly:
//! what no output uses any more is gone, what a reload leaves in use keeps its token.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use super::identity::{Identity, Tokens};
use super::workspace::Quota;
use crate::net::http_proxy;
use crate::values::PerMinute;

/// Handed to every output that is built.
#[derive(Debug)]
pub struct Shared {
    state_dir: PathBuf,
    tokens: Kept<TokenHolder, Tokens>,
    quotas: Kept<String, Quota>,
}

impl Shared {
    /// For outputs of a gateway that keeps its state in `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), tokens: Kept::default(), quotas: Kept::default() }
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The tokens of `holder`, or what `make` makes.
    pub(super) fn tokens<E>(
        &self,
        holder: TokenHolder,
        make: impl FnOnce() -> Result<Tokens, E>,
    ) -> Result<Arc<Tokens>, E> {
        self.tokens.get_or_make(holder, make)
    }

    /// The quota of the rule of this id.
    pub(super) fn quota(&self, rule: &str) -> Arc<Quota> {
        let made =
            self.quotas.get_or_make(rule.to_ascii_lowercase(), || Ok::<_, std::convert::Infallible>(Quota::new()));
        let Ok(quota) = made;
        quota
    }

    /// What is sent through each data collection rule, by its id.
    pub fn quotas_used(&self) -> BTreeMap<String, PerMinute> {
        self.quotas.all().into_iter().map(|(rule, quota)| (rule, quota.used())).collect()
    }

    /// Shares the limits of each rule with other gateways, which use this much of them.
    pub fn share_quotas_with(&self, others: &[BTreeMap<String, PerMinute>]) {
        for (rule, quota) in self.quotas.all() {
            let used =
                || others.iter().filter_map(|used| used.get(&rule)).filter(|used| **used != PerMinute::default());
            quota.leave_to(used().count(), used().copied().sum());
        }
    }
}

/// What makes tokens the same: who asks for what, by which way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenHolder {
    pub(super) identity: Identity,
    pub(super) scope: String,
    pub(super) proxy: Option<http_proxy::Config>,
    /// What the file of trusted authorities holds: a renewed one is another way.
    pub(super) authorities: Option<Vec<u8>>,
}

/// Values by key, for as long as somebody holds them. There are a few.
#[derive(Debug)]
pub(crate) struct Kept<K, V>(Mutex<Vec<(K, Weak<V>)>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq + Clone, V> Kept<K, V> {
    /// All that somebody holds.
    fn all(&self) -> Vec<(K, Arc<V>)> {
        self.0.lock().iter().filter_map(|(key, value)| Some((key.clone(), value.upgrade()?))).collect()
    }

    /// What is kept under the key, or what `make` makes.
    pub(crate) fn get_or_make<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let mut kept = self.0.lock();
        kept.retain(|(_, value)| value.strong_count() > 0);
        if let Some(value) = kept.iter().find(|(known, _)| *known == key).and_then(|(_, value)| value.upgrade()) {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        kept.push((key, Arc::downgrade(&value)));
        Ok(value)
    }
}
