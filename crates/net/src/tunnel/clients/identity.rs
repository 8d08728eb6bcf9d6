//! A client that was let in: its name for the log, and the rules it may use. There is no other way to a tunnel.

use std::sync::Arc;

use super::rules::Grant;
use crate::tunnel::reason::Reason;

/// A client that was let in.
#[derive(Debug, Clone)]
pub struct Identity {
    name: Option<Arc<str>>,
    grant: Arc<Grant>,
    missed: Option<Missed>,
}

/// What a client that did not authenticate could have had.
#[derive(Debug, Clone)]
struct Missed {
    grant: Option<Arc<Grant>>,
    reason: Reason,
}

impl Identity {
    pub(super) fn new(name: Option<Arc<str>>, grant: Arc<Grant>) -> Self {
        Self { name, grant, missed: None }
    }

    pub(super) fn unauthenticated(
        name: Option<Arc<str>>,
        grant: Arc<Grant>,
        more: Option<Arc<Grant>>,
        reason: Reason,
    ) -> Self {
        Self { name, grant, missed: Some(Missed { grant: more, reason }) }
    }

    /// The user that authenticated, else the first name in the client certificate, else none.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The names of the groups that the client is in; none where no groups are configured.
    pub fn groups(&self) -> &[Arc<str>] {
        &self.grant.groups
    }

    /// Whether the client may use this rule, an index into `tunnel.allow`.
    pub fn may_use(&self, rule: usize) -> bool {
        self.grant.rules.contains(rule)
    }

    /// Whether the client may not use this rule, but might if it authenticated.
    pub fn might_use(&self, rule: usize) -> bool {
        let more = self.missed.as_ref().and_then(|missed| missed.grant.as_ref());
        !self.may_use(rule) && more.is_some_and(|grant| grant.rules.contains(rule))
    }

    /// Why the client did not authenticate where it could have: the answer for a rule that it [`might
    /// use`](Self::might_use). [`Reason::AUTHENTICATION`], [`Reason::CREDENTIALS`] or
    /// [`Reason::AUTHENTICATION_BUSY`].
    pub fn not_authenticated(&self) -> Option<Reason> {
        self.missed.as_ref().map(|missed| missed.reason)
    }
}
