//! Registrations: made with a key of a workspace, refreshed and renewed with the certificate that was registered.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Response;

use super::answer::{self, Topology};
use super::exchange::{Caller, Exchange};
use super::registry::{Agent, Change, Proof};
use super::signature::content_hash;
use super::workspaces::{Signed, invalid};
use super::xml::{Registration, registration, renewal};
use crate::clock::wall_s;
use crate::inputs::intake::Intake;
use crate::inputs::protocol::{Head, Reading};
use crate::inputs::reason::{Failure, Reason};

impl Exchange {
    /// Registers, or refreshes what is registered.
    pub(super) async fn topology(&self, intake: &mut Intake<'_>, root: &str) -> Result<Reading, Failure> {
        let body = self.small(intake).await?;
        let head = *intake.head();
        let (agent, renew) = match &self.caller {
            Caller::Signed(signed) => {
                let agent = self.register(signed, &body, &head).await?;
                self.heard(&head, 0);
                (agent, false)
            }
            Caller::Agent(agent) => {
                // It tells the same as when it registered. What it says of itself then was signed; this is not.
                registration(&body)?;
                self.heard(&head, 0);
                let is_first = self.ods.memory.first_refresh(agent);
                (Arc::clone(agent), ends_soon(agent, self.ods.renew_before) && !is_first)
            }
            Caller::Nobody | Caller::Token(_) => return Err(invalid("nobody signed, and no certificate was shown")),
        };
        Ok(Reading::Answer(self.told(&head, root, &agent, renew)?))
    }

    fn told(&self, head: &Head<'_>, root: &str, agent: &Agent, renew: bool) -> Result<Response<Body>, Failure> {
        let base = answer::asked_at(&head.parts.uri, head.headers());
        let base = base.ok_or_else(|| Failure::new(Reason::PARAMETER, "the header Host is missing, or no name"))?;
        Ok(answer::topology(&Topology {
            root,
            agent,
            base: &base,
            renew,
            refresh_every_s: self.ods.refresh_every.as_secs(),
            telemetry_every_s: self.ods.telemetry_every.as_secs(),
        }))
    }

    async fn register(&self, signed: &Signed, body: &[u8], head: &Head<'_>) -> Result<Arc<Agent>, Failure> {
        if content_hash(body) != signed.content {
            return Err(invalid("the body is not the one that was signed: x-ms-SHA256_Content is another"));
        }
        let Registration { computer, agent, certificate, system } = registration(body)?;
        if head.peer.leaf.as_ref().is_some_and(|shown| **shown != *certificate) {
            return Err(invalid("the certificate in the body is not the one that was shown"));
        }
        let workspace = self.ods.workspaces.at(signed.workspace);
        if !workspace.takes(&computer) {
            return Err(Failure::new(Reason::RESTRICTED, "the workspace takes no agent of this computer"));
        }
        let id = &workspace.config.id;
        let made = Agent::new(&certificate, id, &agent, &computer, system.as_deref(), wall_s());
        let proof = if head.peer.leaf.is_some() { Proof::Shown } else { Proof::Missing };
        self.keep(made, proof).await
    }

    /// Takes another certificate of the agent that shows this one. Both are good until the new one is seen.
    pub(super) async fn renewal(&self, intake: &mut Intake<'_>) -> Result<Reading, Failure> {
        let body = self.small(intake).await?;
        let Caller::Agent(agent) = &self.caller else {
            return Err(invalid("a certificate is renewed by who shows the one before it"));
        };
        let certificate = renewal(&body)?;
        let Agent { workspace, agent: id, computer, system, .. } = &**agent;
        let made = Agent::new(&certificate, workspace, id, computer, system.as_deref(), wall_s());
        self.keep(made, Proof::Missing).await?;
        self.heard(intake.head(), 0);
        Ok(Reading::Answer(answer::nothing()))
    }

    /// Makes a registration durable.
    async fn keep(&self, agent: Option<Agent>, proof: Proof) -> Result<Arc<Agent>, Failure> {
        let agent = agent.ok_or_else(|| Failure::new(Reason::UNREADABLE, "the certificate cannot be read"))?;
        self.ods.memory.change(Change::Register(Box::new(agent.clone()), proof)).await?;
        Ok(Arc::new(agent))
    }
}

/// Whether an agent should renew its certificate: it ends within this time, or within a third of its life.
fn ends_soon(agent: &Agent, before: Duration) -> bool {
    let [from, until] = agent.valid_s;
    let third = until.saturating_sub(from).max(0) / 3;
    let before = i64::try_from(before.as_secs()).unwrap_or(i64::MAX).min(third);
    let now = i64::try_from(wall_s()).unwrap_or(i64::MAX);
    until.saturating_sub(now) <= before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_before_its_end_and_a_new_one_never_at_once() {
        let now = i64::try_from(wall_s()).expect("it is after 1970");
        const DAY: i64 = 86_400;
        let agent = |valid_s: [i64; 2]| {
            let made = rcgen::generate_simple_self_signed(vec!["web01".to_owned()]).expect("a certificate");
            Agent { valid_s, ..Agent::new(made.cert.der(), "w", "a", "web01", None, 1).expect("it is one") }
        };
        let within = Duration::from_secs(30 * 86_400);
        assert!(!ends_soon(&agent([now, now + 365 * DAY]), within));
        assert!(ends_soon(&agent([now - 340 * DAY, now + 25 * DAY]), within));
        assert!(ends_soon(&agent([now - 10 * DAY, now - DAY]), within), "it has ended");
        assert!(!ends_soon(&agent([now, now + DAY]), within), "it lives for a day, and is new");
    }
}
