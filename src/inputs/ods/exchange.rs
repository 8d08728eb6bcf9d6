//! One request of an agent: who it is, what it brings, what it is answered.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Response, header};

use super::registry::{Agent, NotKept, thumbprint};
use super::wanted::Wanted;
use super::watch::Call;
use super::workspaces::{Signed, invalid};
use super::{CLIENT_PLATFORM, CLIENT_VERSION, Ods, answer, text};
use crate::event::Client;
use crate::ingest::accept::Receipt;
use crate::inputs::http::auth::{self, Admitted};
use crate::inputs::intake::Intake;
use crate::inputs::protocol::{Ask, Destination, Head, Reading, Then};
use crate::inputs::reason::{Failure, Reason};
use crate::metrics;

/// Most bytes of a body that brings no records.
const SMALL_MAX: u64 = 64 << 10;
/// What agents are told whose certificate nobody knows.
const UNKNOWN: &str =
    "the client certificate is not registered here; register the agent again with a key of its workspace";

/// One request.
pub(super) struct Exchange {
    pub(super) ods: Arc<Ods>,
    wanted: Wanted,
    pub(super) caller: Caller,
    pub(super) mark: Option<[u8; 32]>,
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Nobody knows yet.
    Nobody,
    /// Whoever has a key of a workspace.
    Signed(Signed),
    /// A registered agent.
    Agent(Arc<Agent>),
    /// A client of the listener's `auth`, by its name there.
    Token(Arc<str>),
}

impl Caller {
    /// What tells its uploads from those of others.
    pub(super) fn own(&self) -> String {
        match self {
            Self::Agent(agent) => agent.own_name(),
            Self::Token(name) => name.to_string(),
            Self::Signed(_) | Self::Nobody => String::new(),
        }
    }

    /// The computer that it is on, where that is known.
    pub(super) fn computer(&self) -> Option<Arc<str>> {
        match self {
            Self::Agent(agent) => Some(Arc::clone(&agent.computer)),
            _ => None,
        }
    }
}

impl Exchange {
    pub(super) fn new(ods: Arc<Ods>, wanted: Wanted) -> Self {
        Self { ods, wanted, caller: Caller::Nobody, mark: None }
    }

    async fn known(&mut self, head: &Head<'_>) -> Result<Admitted, Failure> {
        head.gate.admit_address(head.peer)?;
        let authorization = text(head.headers(), header::AUTHORIZATION.as_str());
        if let (Wanted::Topology(_), Some(_)) = (self.wanted, authorization) {
            let signed = self.ods.workspaces.signed(head.headers(), head.peer, &self.ods.memory.failures)?;
            let client = self.ods.workspaces.at(signed.workspace).signer(head.peer);
            self.caller = Caller::Signed(signed);
            return Ok(Admitted { client, grant: None });
        }
        if let Some((agent, client)) = self.by_certificate(head).await? {
            self.caller = Caller::Agent(agent);
            return Ok(Admitted { client, grant: None });
        }
        if self.wanted.is_upload() && authorization.is_some() {
            return self.by_token(head);
        }
        let what = if head.peer.leaf.is_some() { UNKNOWN } else { "no client certificate was shown, and nothing else" };
        Err(Failure::new(Reason::CERTIFICATE, what))
    }

    /// The agent whose certificate was shown; `None` when that is not registered, or for a workspace that is not here any more.
    async fn by_certificate(&self, head: &Head<'_>) -> Result<Option<(Arc<Agent>, Client)>, Failure> {
        let Some(leaf) = &head.peer.leaf else { return Ok(None) };
        let registry = self.ods.memory.registry().await?;
        let state = registry.state();
        let Some(agent) = state.find(&thumbprint(leaf)).cloned() else { return Ok(None) };
        let is_forgotten = self.ods.forget_after.is_some_and(|after| {
            // Who has called since the start is there, whatever was last written.
            !self.ods.memory.has_called(&agent)
                && registry.use_s().saturating_sub(agent.seen_at_use_s) > after.as_secs()
        });
        let open = self.ods.workspaces.of_id(&agent.workspace).filter(|open| open.takes(&agent.computer));
        let client = open.filter(|_| !is_forgotten).map(|open| open.client(&agent, head.peer));
        Ok(client.map(|client| (agent, Client { agent: auth::agent(head.headers()), ..client })))
    }

    /// Agents in containers show a token in the place of a certificate.
    fn by_token(&mut self, head: &Head<'_>) -> Result<Admitted, Failure> {
        // A listener without tokens is open to this host alone; streams that are handed in come from elsewhere.
        if !self.ods.takes_tokens && !head.peer.address.to_canonical().is_loopback() {
            return Err(Failure::new(Reason::TOKEN, "no tokens are taken here"));
        }
        let Admitted { client, grant } = head.gate.admit(head.peer, head.headers())?;
        self.caller = Caller::Token(Arc::clone(&client.scope));
        Ok(Admitted { client: Client { exact_by_content: true, ..client }, grant })
    }

    /// A body that brings no records, whole.
    pub(super) async fn small(&self, intake: &mut Intake<'_>) -> Result<Bytes, Failure> {
        intake.at_most(SMALL_MAX);
        let body = intake.decompressed().await?;
        if body.len() as u64 > SMALL_MAX {
            return Err(Failure::new(Reason::BODY_TOO_LARGE, format!("the body is larger than {SMALL_MAX} bytes")));
        }
        Ok(body)
    }

    /// A report is about the agent alone: it has been heard of, and that is noted.
    async fn telemetry(&self, intake: &mut Intake<'_>) -> Result<Reading, Failure> {
        let body = self.small(intake).await?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
            return Err(Failure::new(Reason::UNREADABLE, "the report is not JSON"));
        }
        self.heard(intake.head(), 0);
        Ok(Reading::Answer(answer::nothing()))
    }

    /// Notes that an agent called.
    pub(super) fn heard(&self, head: &Head<'_>, events: u64) {
        metrics::AGENT_REQUESTS.add(&[&self.ods.listener, self.wanted.name()], 1);
        if let Caller::Agent(agent) = &self.caller {
            self.ods.memory.called(agent, &call(&self.ods, head, events));
        }
    }

    /// The same, when its records are durable.
    pub(super) fn heard_then(&self, head: &Head<'_>) -> Then {
        let (ods, caller, wanted) = (Arc::clone(&self.ods), self.caller.clone(), self.wanted);
        let (headers, address) = (head.headers(), head.peer.address.to_canonical());
        let own = |told: Option<&str>| told.map(str::to_owned);
        let [version, name, platform] =
            [CLIENT_VERSION, header::USER_AGENT.as_str(), CLIENT_PLATFORM].map(|told| own(text(headers, told)));
        Box::new(move |receipt| {
            metrics::AGENT_REQUESTS.add(&[&ods.listener, wanted.name()], 1);
            if let Caller::Agent(agent) = &caller {
                let (version, name, platform) = (version.as_deref(), name.as_deref(), platform.as_deref());
                let (listener, silent_after, events) = (&ods.listener, ods.silent_after, receipt.received);
                ods.memory.called(agent, &Call { listener, address, version, name, platform, events, silent_after });
            }
            Box::pin(std::future::ready(Ok(())))
        })
    }
}

fn call<'a>(ods: &'a Ods, head: &Head<'a>, events: u64) -> Call<'a> {
    Call {
        listener: &ods.listener,
        address: head.peer.address.to_canonical(),
        version: text(head.headers(), CLIENT_VERSION),
        name: text(head.headers(), header::USER_AGENT.as_str()),
        platform: text(head.headers(), CLIENT_PLATFORM),
        events,
        silent_after: ods.silent_after,
    }
}

impl Ask for Exchange {
    fn admit<'a>(&'a mut self, head: &'a Head<'_>) -> BoxFuture<'a, Result<Admitted, Failure>> {
        Box::pin(self.known(head))
    }

    fn destination(&self, _: &Head<'_>) -> Result<Destination, Failure> {
        if self.wanted == Wanted::Blob {
            let text =
                "this gateway takes no uploads through storage accounts; what was to go there is still with the agent";
            return Err(Failure::named(Reason::NOT_FOUND, "BlobUploadNotSupported", text));
        }
        Ok(Destination::default())
    }

    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            match self.wanted {
                Wanted::Topology(root) => self.topology(intake, root).await,
                Wanted::Renewal => self.renewal(intake).await,
                Wanted::Telemetry => self.telemetry(intake).await,
                Wanted::Json => self.json(intake, false).await,
                Wanted::Diagnostics => self.json(intake, true).await,
                Wanted::Xml => self.xml(intake).await,
                Wanted::Blob => Err(invalid("nothing is read of such an upload")),
            }
        })
    }

    fn mark(&self) -> Option<[u8; 32]> {
        self.mark
    }

    fn taken(&self, _: &Receipt) -> Response<Body> {
        answer::nothing()
    }

    fn refused(&self, failure: &Failure) -> Response<Body> {
        answer::refused(failure)
    }
}

impl From<NotKept> for Failure {
    fn from(not_kept: NotKept) -> Self {
        match not_kept {
            NotKept::Failed(_) | NotKept::Full => Self::new(Reason::AGENTS_FAILED, not_kept.to_string()),
            NotKept::Others | NotKept::Revoked | NotKept::Unknown => {
                Self::new(Reason::CERTIFICATE, not_kept.to_string())
            }
        }
    }
}
