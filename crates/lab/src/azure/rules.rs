//! What data collection rules say: streams with their columns, who may send, and how much.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What a column holds, in the words of a stream declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Text. Anything else is written as text.
    String,
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A number.
    Real,
    /// True or false.
    Boolean,
    /// A time in ISO 8601.
    Datetime,
    /// Any JSON.
    Dynamic,
}

/// How much a rule takes in one span of time. Azure: 12,000 requests and 2 GB in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Most requests in a span.
    pub requests: u64,
    /// Most bytes in a span, as received.
    pub bytes: u64,
    /// The span.
    pub span: Duration,
}

/// When a role assignment acts.
#[derive(Debug, Clone, Copy)]
enum Role {
    /// After so many more refused requests.
    AfterRequests(u64),
    /// From this moment.
    From(Instant),
}

#[derive(Debug, Clone, Copy)]
struct Used {
    since: Instant,
    requests: u64,
    bytes: u64,
}

/// A data collection rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) id: String,
    streams: BTreeMap<String, Option<Vec<(String, Type)>>>,
    roles: BTreeMap<String, Role>,
    quota: Option<Quota>,
    used: Option<Used>,
}

impl Rule {
    /// A rule without streams that nobody may send to.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), streams: BTreeMap::new(), roles: BTreeMap::new(), quota: None, used: None }
    }

    /// Declares a stream with its columns: other keys are dropped, missing ones become null.
    #[must_use]
    pub fn with_stream(mut self, name: impl Into<String>, columns: &[(&str, Type)]) -> Self {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        self.streams.insert(name.into(), Some(columns));
        self
    }

    /// Declares a stream that keeps rows as they come.
    #[must_use]
    pub fn with_open_stream(mut self, name: impl Into<String>) -> Self {
        self.streams.insert(name.into(), None);
        self
    }

    /// Lets this client id send.
    #[must_use]
    pub fn with_sender(mut self, client_id: impl Into<String>) -> Self {
        self.grant_after_requests(client_id, 0);
        self
    }

    /// Takes no more than this.
    #[must_use]
    pub fn with_quota(mut self, quota: Quota) -> Self {
        self.set_quota(Some(quota));
        self
    }

    /// Lets this client id send once so many of its requests were refused.
    pub fn grant_after_requests(&mut self, client_id: impl Into<String>, refused: u64) {
        self.roles.insert(client_id.into(), Role::AfterRequests(refused));
    }

    /// Lets this client id send once so much time has passed.
    pub fn grant_after(&mut self, client_id: impl Into<String>, wait: Duration) {
        self.roles.insert(client_id.into(), Role::From(Instant::now() + wait));
    }

    /// Lets this client id send no longer.
    pub fn revoke(&mut self, client_id: &str) {
        self.roles.remove(client_id);
    }

    /// Takes no more than this, or anything.
    pub fn set_quota(&mut self, quota: Option<Quota>) {
        self.quota = quota;
        self.used = None;
    }

    /// The columns of a stream: `None` without that stream, `Some(None)` when it takes rows as they come.
    pub(super) fn columns(&self, stream: &str) -> Option<Option<&[(String, Type)]>> {
        self.streams.get(stream).map(|columns| columns.as_deref())
    }

    /// Whether a client may send now. Counts a refusal.
    pub(super) fn admits(&mut self, client_id: &str) -> bool {
        match self.roles.get_mut(client_id) {
            None => false,
            Some(Role::From(start)) => Instant::now() >= *start,
            Some(Role::AfterRequests(0)) => true,
            Some(Role::AfterRequests(left)) => {
                *left -= 1;
                false
            }
        }
    }

    /// Counts a request against the quota. An error tells when to come back.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), Duration> {
        let Some(quota) = self.quota else { return Ok(()) };
        let now = Instant::now();
        let fresh = Used { since: now, requests: 0, bytes: 0 };
        let used = self.used.get_or_insert(fresh);
        if now.duration_since(used.since) >= quota.span {
            *used = fresh;
        }
        if used.requests >= quota.requests || used.bytes + bytes > quota.bytes {
            return Err(quota.span.saturating_sub(now.duration_since(used.since)));
        }
        used.requests += 1;
        used.bytes += bytes;
        Ok(())
    }
}

/// A random id as Azure writes them.
pub(super) fn random_guid() -> String {
    uuid::Builder::from_random_bytes(fastrand::u128(..).to_be_bytes()).into_uuid().to_string()
}
