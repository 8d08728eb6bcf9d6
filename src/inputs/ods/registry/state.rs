//! What is registered at a moment, and what a change makes of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Agent, CERTIFICATES_MAX, Change, NotKept, Proof, Thumbprint};

/// Most certificates of one agent on one computer: the one in use, and those that nobody has seen yet.
const OF_AGENT_MAX: usize = 4;
/// Most agents that are remembered as revoked.
const REVOKED_MAX: usize = 10_000;

/// Everything that is registered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub(super) by_certificate: HashMap<Thumbprint, Arc<Agent>>,
    /// GUIDs that are let in no more, and since when.
    revoked: BTreeMap<Arc<str>, u64>,
    /// For how long the registry had been in use when this was written, in seconds.
    pub(super) use_s: u64,
    /// Which version of what several gateways have it is; the empty text where it is nobody else's.
    pub(super) revision: String,
}

/// The state as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    revision: String,
    use_s: u64,
    revoked: BTreeMap<Arc<str>, u64>,
    agents: Vec<Arc<Agent>>,
}

impl From<&State> for Written {
    fn from(state: &State) -> Self {
        let mut agents: Vec<Arc<Agent>> = state.by_certificate.values().cloned().collect();
        agents.sort_by(|one, other| one.certificate.cmp(&other.certificate));
        Self { revision: state.revision.clone(), use_s: state.use_s, revoked: state.revoked.clone(), agents }
    }
}

impl From<Written> for State {
    fn from(written: Written) -> Self {
        let by_certificate = written.agents.into_iter().map(|agent| (Arc::clone(&agent.certificate), agent)).collect();
        Self { by_certificate, revoked: written.revoked, use_s: written.use_s, revision: written.revision }
    }
}

impl State {
    /// What is shared of it: all but its revision.
    pub(super) fn content(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Written { revision: String::new(), ..Written::from(self) })
    }

    /// What others shared, under its revision.
    pub(super) fn of(content: &[u8], revision: &str) -> Result<Self, serde_json::Error> {
        let written: Written = serde_json::from_slice(content)?;
        Ok(Self { revision: revision.to_owned(), ..written.into() })
    }

    /// Adds what another registry has that grew apart from this one: its agents as far as there is room for them, and who was
    /// revoked in either. Where both have a certificate, this one's counts.
    pub(super) fn add(&mut self, other: &Self) {
        for (agent, at) in &other.revoked {
            self.by_certificate.retain(|_, known| known.agent != *agent);
            self.revoked.entry(Arc::clone(agent)).or_insert(*at);
        }
        for (certificate, agent) in &other.by_certificate {
            if self.by_certificate.len() < CERTIFICATES_MAX && !self.revoked.contains_key(&agent.agent) {
                self.by_certificate.entry(Arc::clone(certificate)).or_insert_with(|| Arc::clone(agent));
            }
        }
    }
}

impl State {
    /// Whose a certificate is.
    pub fn find(&self, certificate: &str) -> Option<&Arc<Agent>> {
        self.by_certificate.get(certificate)
    }

    /// Every certificate that is registered, in no order.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.by_certificate.values()
    }

    /// The GUIDs that are let in no more, and since when.
    pub fn revoked(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.revoked
    }

    /// Makes a change; how many certificates it was about.
    pub(in crate::inputs::ods) fn apply(&mut self, change: Change, use_s: u64) -> Result<usize, NotKept> {
        self.use_s = use_s;
        match change {
            Change::Register(agent, proof) => self.register(Agent { seen_at_use_s: use_s, ..*agent }, proof),
            Change::Seen(certificate, at) => Ok(self.seen(&certificate, at, use_s)),
            Change::Revoke(agent, at) => self.revoke(agent, at),
            Change::Restore(agent) => match self.revoked.remove(&agent) {
                Some(_) => Ok(1),
                None => Err(NotKept::Unknown),
            },
            Change::Expire(after_s) => {
                let before = self.by_certificate.len();
                self.by_certificate.retain(|_, agent| agent.seen_at_use_s.saturating_add(after_s) > use_s);
                Ok(before - self.by_certificate.len())
            }
        }
    }

    fn register(&mut self, mut agent: Agent, proof: Proof) -> Result<usize, NotKept> {
        if self.revoked.contains_key(&agent.agent) {
            return Err(NotKept::Revoked);
        }
        if let Some(known) = self.by_certificate.get(&agent.certificate) {
            // The very same certificate again: its answer may have been lost, or its computer has another name now.
            let is_same = known.is_same(&agent);
            if !is_same && proof == Proof::Missing {
                return Err(NotKept::Others);
            }
            agent.is_confirmed = is_same && known.is_confirmed;
        } else {
            self.make_room_for(&mut agent);
            if self.by_certificate.len() >= CERTIFICATES_MAX && !self.forget_one_never_used() {
                return Err(NotKept::Full);
            }
        }
        self.by_certificate.insert(Arc::clone(&agent.certificate), Arc::new(agent));
        Ok(1)
    }

    /// Of the certificates of an agent that nobody has seen the oldest goes when it has too many. What is new is younger than they
    /// are, also within one second and after a clock was put back: the order decides which of them a call ends.
    fn make_room_for(&mut self, agent: &mut Agent) {
        let same: Vec<&Arc<Agent>> = self.by_certificate.values().filter(|other| other.is_same(agent)).collect();
        let youngest = same.iter().map(|other| other.registered_s.saturating_add(1)).max();
        agent.registered_s = agent.registered_s.max(youngest.unwrap_or_default());
        if same.len() < OF_AGENT_MAX {
            return;
        }
        let oldest = same.into_iter().min_by_key(|other| (other.is_confirmed, other.registered_s));
        if let Some(oldest) = oldest.map(|oldest| Arc::clone(&oldest.certificate)) {
            self.by_certificate.remove(&oldest);
        }
    }

    /// At the limit the oldest goes of those that were registered and never used. Whoever has a key can make any number of them, and
    /// would keep all others out with them.
    fn forget_one_never_used(&mut self) -> bool {
        let unused = self.by_certificate.values().filter(|agent| !agent.is_confirmed);
        let oldest = unused.min_by_key(|agent| agent.registered_s).map(|agent| Arc::clone(&agent.certificate));
        oldest.is_some_and(|oldest| self.by_certificate.remove(&oldest).is_some())
    }

    /// Notes that a certificate is in use. Those of the same agent that were registered before it go.
    fn seen(&mut self, certificate: &str, at: u64, use_s: u64) -> usize {
        let Some(agent) = self.by_certificate.get(certificate).map(|agent| Agent::clone(agent)) else { return 0 };
        if !agent.is_confirmed {
            self.by_certificate.retain(|_, other| {
                !other.is_same(&agent)
                    || other.certificate == agent.certificate
                    || other.registered_s > agent.registered_s
            });
        }
        let agent = Agent { seen_s: agent.seen_s.max(at), seen_at_use_s: use_s, is_confirmed: true, ..agent };
        self.by_certificate.insert(Arc::clone(&agent.certificate), Arc::new(agent));
        1
    }

    fn revoke(&mut self, agent: Arc<str>, at: u64) -> Result<usize, NotKept> {
        let before = self.by_certificate.len();
        self.by_certificate.retain(|_, other| other.agent != agent);
        let gone = before - self.by_certificate.len();
        if gone == 0 && !self.revoked.contains_key(&agent) {
            return Err(NotKept::Unknown);
        }
        self.revoked.insert(agent, at);
        if self.revoked.len() > REVOKED_MAX {
            // Their certificates are gone either way.
            let oldest = self.revoked.iter().min_by_key(|(_, at)| **at).map(|(agent, _)| Arc::clone(agent));
            oldest.and_then(|oldest| self.revoked.remove(&oldest));
        }
        Ok(gone)
    }
}
