//! The life of one connection, from the first byte to the last: [`run`] and [`Visit::tunnel`] tell the story.
//!
//! The order of the decisions is part of the defence. Who may not come in is turned away before anything of his is
//! read; a name that is not on the list is refused before any name server hears of it; the destination is reached
//! before the client is told so; and no byte of the client reaches it before its handshake was looked at.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::arrive::{self, Caller};
use super::door::SHED_MAX;
use super::ledger::{Ledger, Refusal};
use super::refusal::{self, Then};
use super::{Door, Policy, handshake, plain};
use crate::net::listen::{AddressPlace, Place};
use crate::net::stream::Stream;
use crate::tunnel::Reason;
use crate::tunnel::allow_list::{Rule, Verdict};
use crate::tunnel::client_hello;
use crate::tunnel::clients::{Identity, Presented};
use crate::tunnel::config::Authentication;
use crate::tunnel::dial::Connected;
use crate::tunnel::relay::{Relay, Throttles};
use crate::tunnel::request::{self, Authority, Connect, Credentials, Request, Sender};

/// How often a client may come again with other credentials on one connection.
const CHALLENGES_MAX: usize = 3;

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Serves a connection, and leaves behind a tunnel or a refusal.
pub(super) async fn run(door: Arc<Door>, policy: Arc<Policy>, tcp: TcpStream, peer: SocketAddr, place: Place) {
    let ledger = Ledger::new(Arc::clone(&door.shared), Arc::clone(&policy.label), peer);
    let visit = Visit { door, policy, ledger, place };
    // Boxed: the state of getting here is large, and most of a tunnel's life needs none of it.
    Box::pin(visit.serve(tcp, peer)).await;
}

pub(super) struct Visit {
    door: Arc<Door>,
    pub(super) policy: Arc<Policy>,
    pub(super) ledger: Ledger,
    pub(super) place: Place,
}

/// What a request may have.
struct Grant {
    rule: Arc<Rule>,
    _identity: Identity,
}

impl Visit {
    async fn serve(mut self, mut tcp: TcpStream, peer: SocketAddr) {
        let deadline = Instant::now() + self.policy.head_timeout();
        let client = match self.admit(&mut tcp, peer, deadline).await {
            Ok(client) => client,
            Err(refusal) => return self.turn_away(tcp, refusal).await,
        };
        let mut caller = match arrive::greet(&self.policy, tcp, deadline).await {
            Ok(caller) => caller,
            Err(refusal) => return self.ledger.refused(refusal),
        };
        match self.request(&mut caller, client.0, deadline).await {
            Ok((Request::Connect(connect), grant)) => self.connect(caller, connect, grant, client).await,
            Ok((Request::Plain(request), grant)) => plain::serve(self, caller, request, grant.rule, client).await,
            Err(refusal) => self.refuse(caller, refusal).await,
        }
    }

    /// Whether somebody at this address may come in at all: asked before anything of a request is read.
    async fn admit(&mut self, tcp: &mut TcpStream, peer: SocketAddr, deadline: Instant) -> Result<Client, Refusal> {
        let source = arrive::source(&self.policy, tcp, peer, deadline).await?;
        self.ledger.client(source);
        if !self.policy.clients.admits(source.ip()) {
            return Err(Reason::CLIENT.into());
        }
        let max = self.policy.limits().max_tunnels_per_client;
        let place = self.door.shared.admission.admit_from(source.ip(), max).ok_or(Reason::CLIENT_TUNNELS)?;
        Ok((source, place))
    }

    /// Reads the request and decides about it; a client that was asked for credentials may come again with them.
    async fn request(
        &mut self,
        caller: &mut Caller,
        client: SocketAddr,
        mut deadline: Instant,
    ) -> Result<(Request, Grant), Refusal> {
        let mut challenges = 0;
        loop {
            let rules = request::Rules {
                host_header: self.policy.listener.host_header,
                plain_http: self.policy.listener.plain_http,
            };
            let request = caller.request(rules, deadline).await?;
            // What counts is what is in force when somebody asks, not when he connected.
            self.policy = self.door.policy.load_full();
            self.ledger.request(&request);
            let refusal = match self.decide(&request, caller, client).await {
                Ok(grant) => return Ok((request, grant)),
                Err(refusal) => refusal,
            };
            // Bytes behind a request that is refused are somebody else's request: nobody looks at them.
            let again = refusal.reason.status == 407 && challenges < CHALLENGES_MAX && caller.buffer.is_empty();
            if !again {
                return Err(refusal);
            }
            challenges += 1;
            self.ledger.challenged(refusal.reason);
            let challenge = refusal::answer(refusal.reason, Then::Again);
            caller.stream.write_all(&challenge).await.map_err(|_| Reason::CLIENT_GONE)?;
            caller.stream.flush().await.map_err(|_| Reason::CLIENT_GONE)?;
            deadline = Instant::now() + self.policy.head_timeout();
        }
    }

    /// Who asks, and whether he may have what he asks for. No name has been resolved when this ends.
    async fn decide(&mut self, request: &Request, caller: &Caller, client: SocketAddr) -> Result<Grant, Refusal> {
        if self.door.shared.is_draining() {
            return Err(Reason::DRAINING.into());
        }
        let presented = match &request.sender().credentials {
            Credentials::Basic { user, password } if self.policy.listener.authentication == Authentication::Basic => {
                Presented::Basic { user, password: password.reveal() }
            }
            Credentials::Unusable => Presented::Unusable,
            _ => Presented::None,
        };
        let identity = self.policy.clients.identify(client.ip(), &caller.certificate, presented).await?;
        self.ledger.identity(identity.name());
        if self.policy.rules.dialer.is_loop(request.sender().via()) {
            return Err(Reason::LOOP.into());
        }
        let decide = |may: &dyn Fn(usize) -> bool| match request {
            Request::Connect(connect) => self.policy.rules.allow.decide(&connect.authority, may),
            Request::Plain(plain) => self.policy.rules.allow.decide_plain(&plain.authority, may),
        };
        let refused = match decide(&|rule| identity.may_use(rule)) {
            Verdict::Allowed(rule) => {
                self.ledger.rule(&rule);
                return Ok(Grant { rule, _identity: identity });
            }
            Verdict::Port => Reason::PORT,
            Verdict::Host => Reason::HOST,
        };
        match identity.not_authenticated() {
            Some(reason) if matches!(decide(&|rule| identity.might_use(rule)), Verdict::Allowed(_)) => {
                Err(reason.into())
            }
            _ => Err(refused.into()),
        }
    }

    /// Opens the tunnel, or says why not.
    async fn connect(mut self, mut caller: Caller, connect: Connect, grant: Grant, client: Client) {
        let destination = match self.tunnel(&mut caller, &connect, &grant.rule).await {
            Ok(destination) => destination,
            Err(refusal) => return self.refuse(caller, refusal).await,
        };
        let relay = Relay::new(caller.stream, destination.stream, self.policy.timeouts(), self.throttles(&client))
            .with_early(&caller.buffer, &destination.early);
        self.stand(relay, client, Reason::CLOSED);
    }

    /// The bandwidth limits that the client's tunnels are under.
    pub(super) fn throttles(&self, client: &Client) -> Throttles {
        let limit = self.policy.limits().bandwidth_per_client;
        Throttles {
            all: self.policy.rules.bandwidth.clone(),
            client: limit.map(|limit| self.door.shared.throttle_of(client.0.ip(), limit.as_u64())),
        }
    }

    /// Leaves the tunnel to a task of its own, as small as a tunnel can be. `closed` is the reason when it ends well.
    pub(super) fn stand(self, mut relay: Relay, client: Client, closed: Reason) {
        let Self { door, ledger, place, .. } = self;
        let standing = ledger.stands();
        let cut = door.shared.cut.clone();
        door.shared.tasks.spawn(async move {
            let reason = match cut.run_until_cancelled(&mut relay).await {
                Some(Reason::CLOSED) => closed,
                Some(reason) => reason,
                None => Reason::STOPPED,
            };
            let (up, down) = relay.moved();
            standing.ended(reason, up, down);
            drop((place, client));
        });
    }

    /// The destination at the far end of a tunnel that stands and whose handshake was looked at.
    async fn tunnel(&mut self, caller: &mut Caller, request: &Connect, rule: &Rule) -> Result<Connected, Refusal> {
        let to = &request.authority;
        let mut destination = self.dial(to, rule, &request.sender).await?;
        caller.stream.write_all(ESTABLISHED).await.map_err(|_| Reason::CLIENT_GONE)?;
        caller.stream.flush().await.map_err(|_| Reason::CLIENT_GONE)?;
        let within = self.policy.limits().hello_timeout.get();
        handshake::check(caller, &mut destination, rule, to, within, &mut self.ledger).await?;
        Ok(destination)
    }

    /// Reaches the destination.
    pub(super) async fn dial(&mut self, to: &Authority, rule: &Rule, from: &Sender) -> Result<Connected, Refusal> {
        match self.policy.rules.dialer.dial(to, rule, from.via()).await {
            Ok(connected) => {
                self.ledger.dialled(&connected);
                Ok(connected)
            }
            Err(failure) => {
                self.ledger.address(failure.address);
                Err(Refusal { reason: failure.reason, detail: failure.detail })
            }
        }
    }

    /// Turns a connection away that has not been spoken with yet.
    async fn turn_away(self, tcp: TcpStream, refusal: Refusal) {
        let reason = refusal.reason;
        self.ledger.refused(refusal);
        // Who may not come in takes no place from those who may.
        drop(self.place);
        let Some(_place) = self.door.shared.shedding.admit(SHED_MAX) else { return };
        // Who sends no sound PROXY header is no HTTP client; who wants TLS cannot read plain text.
        if reason != Reason::PROXY_HEADER && reason != Reason::CLIENT_GONE && !self.policy.speaks_tls() {
            refusal::refuse(&mut Stream::Plain(tcp), reason).await;
        }
    }

    /// Answers a request that gets no tunnel, or hangs up where the answer has been given.
    pub(super) async fn refuse(self, mut caller: Caller, refusal: Refusal) {
        let reason = refusal.reason;
        self.ledger.refused(refusal);
        if reason.status > 0 {
            refusal::refuse(&mut caller.stream, reason).await;
        } else if reason != Reason::CLIENT_GONE {
            let alert = client_hello::alert(reason);
            refusal::hang_up(&mut caller.stream, alert.as_ref().map_or(&[], |alert| alert)).await;
        }
        drop(self.place);
    }
}

/// The client's address and its place among that address's connections.
pub(super) type Client = (SocketAddr, AddressPlace);
