//! One request of a host, from its head to its answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt as _, TryFutureExt as _};
use http::{HeaderMap, Response, StatusCode, header};

use super::answer::{self, Start, Subscribe};
use super::bookmarks::{Bookmarks, Known as Place, NotKept, Owner, Seen};
use super::envelope::{Charset, ENVELOPE_MAX, Gathered, Header};
use super::gaps;
use super::hosts::{Heard, Who};
use super::kerberos::Visit;
use super::message::{Message, Packing};
use super::relays;
use super::subscription::Subscription;
use super::words::Action;
use super::{Known, Wef, status};
use crate::event::{Client, IdentityPolicy, Syntax};
use crate::ingest::accept::Receipt;
use crate::inputs::http::auth::Admitted;
use crate::inputs::intake::Intake;
use crate::inputs::protocol::{Ask, Content, Head, Reading, Then};
use crate::inputs::reason::{Failure, Reason};
use crate::metrics;

/// A request.
pub(super) struct Exchange {
    wef: Arc<Wef>,
    client: Client,
    machine: String,
    charset: Charset,
    message_id: String,
    wants_answer: bool,
    /// Where the host shows a ticket.
    visit: Option<Visit>,
}

impl Exchange {
    pub(super) fn new(wef: Arc<Wef>) -> Self {
        let (client, machine, message_id) = (Client::default(), String::new(), String::new());
        let visit = wef.tickets.clone().map(Visit::new);
        Self { wef, client, machine, charset: Charset::Utf8, message_id, wants_answer: false, visit }
    }

    fn who(&self) -> Who {
        Who { client: self.client.name.to_string(), machine: self.machine.clone() }
    }

    fn owner(&self, subscription: &str) -> Owner {
        Owner::of(&self.client.name, &self.machine, subscription)
    }

    fn note(&self, heard: Heard<'_>) {
        self.wef.memory.hosts.note(&self.who(), self.client.address, heard);
    }

    async fn message(&mut self, intake: &mut Intake<'_>) -> Result<Reading, Failure> {
        let packing = Packing::of(intake.head().headers())?;
        intake.at_most(ENVELOPE_MAX as u64);
        let wire = intake.wire().await?;
        if wire.is_empty() {
            // Windows opens a connection so when it looks for how to show who it is.
            return Ok(Reading::Answer(answer::nothing(StatusCode::OK)));
        }
        let opening = self.visit.as_ref().and_then(Visit::opening);
        let read = intake.work(move |share| match opening {
            Some(opening) => Message::read(opening.open(wire)?, packing, share),
            None => Message::read(wire, packing, share),
        });
        let read = read.await;
        let message = read.map_err(|ended| Failure::new(Reason::INTERNAL, ended.to_string()))??;
        self.learn(&message)?;
        self.act(message, intake).await
    }

    /// Who it is and how it is answered.
    fn learn(&mut self, message: &Message) -> Result<(), Failure> {
        let header = &message.header;
        self.charset = message.charset;
        self.message_id.clone_from(&header.message_id);
        self.wants_answer = header.wants_answer;
        self.machine = header.machine_id.clone().unwrap_or_else(|| self.client.name.to_string());
        if self.wef.policy == IdentityPolicy::Off || self.client.binding.speaks_for(&self.machine) {
            return Ok(());
        }
        let enforced = self.wef.policy == IdentityPolicy::Enforce;
        metrics::WEF_FOREIGN_MACHINES.add(&[&self.wef.listener, if enforced { "refused" } else { "tagged" }], 1);
        if !enforced {
            return Ok(());
        }
        let text = format!(
            "the host calls itself {:?}, for which the certificate or ticket of {:?} may not speak",
            self.machine, self.client.name
        );
        Err(Failure::new(Reason::FOREIGN_EVENTS, text))
    }

    async fn act(&mut self, message: Message, intake: &mut Intake<'_>) -> Result<Reading, Failure> {
        let unknown = || Failure::new(Reason::UNREADABLE, "the action of this message is none of event forwarding");
        let action = Action::of(&message.header.action).ok_or_else(unknown)?;
        metrics::WEF_MESSAGES.add(&[&self.wef.listener, action.name()], 1);
        match action {
            Action::Enumerate => self.enumerate(intake.head()).await.map(Reading::Answer),
            Action::End => Ok(Reading::Answer(answer::nothing(StatusCode::NO_CONTENT))),
            Action::Heartbeat => {
                let known = self.known(&message.header, intake.head())?;
                self.note(Heard::Heartbeat { subscription: &known.name });
                Ok(Reading::Answer(self.acknowledgement()))
            }
            Action::Events => self.deliver(message, intake).await,
            Action::SubscriptionEnd => {
                let reason = message.fault.unwrap_or_default();
                let known = self.known(&message.header, intake.head());
                let subscription = known.map_or_else(|_| "unknown".to_owned(), |known| known.name);
                self.note(Heard::Ended { subscription: &subscription, reason: &reason });
                Ok(Reading::Answer(answer::nothing(StatusCode::OK)))
            }
        }
    }

    /// Tells a host what it is asked for.
    async fn enumerate(&self, head: &Head<'_>) -> Result<Response<Body>, Failure> {
        let wef = &self.wef;
        let leaf = head.peer.leaf.as_deref().unwrap_or_default();
        let issuer = wef.authorities.issuer(leaf);
        if issuer.is_none() && self.visit.is_none() {
            let text = "the authority that issued the host's certificate is not in tls.client_ca itself; add it there, also where it is an intermediate one";
            return Err(Failure::new(Reason::CERTIFICATE, text));
        }
        let base = match &wef.notify_to {
            Some(base) => base.clone(),
            None => self.asked_at(head.headers())?,
        };
        let subscriptions = wef.subscriptions_of(&self.client, &self.machine);
        let bookmarks = wef.memory.bookmarks().await?;
        let mut told = Vec::new();
        self.note(Heard::Enumerated);
        for subscription in &subscriptions {
            let place = self.place(&*bookmarks, subscription).await;
            let bookmark_s = if let Place::At(_, at) = &place { Some(*at) } else { None };
            self.note(Heard::Told { subscription: &subscription.name, bookmark_s });
            let start = match place {
                Place::At(bookmark, _) => Start::Behind(bookmark.to_string()),
                Place::Lost => Start::Earliest,
                Place::Never if subscription.read_existing_events => Start::Earliest,
                Place::Never => Start::Now,
            };
            let notify_to = format!("{base}/wsman/subscriptions/{}/1", subscription.id);
            let version = subscription.version(&notify_to, issuer.unwrap_or("kerberos"));
            told.push(Subscribe { subscription, version, notify_to, issuer, start });
        }
        Ok(answer::subscriptions(&self.message_id, &told, self.charset))
    }

    /// Where the host asked: it can reach that. With a ticket no seal is on the head of a request, so it must not lead hosts to
    /// anybody else.
    fn asked_at(&self, headers: &HeaderMap) -> Result<String, Failure> {
        let wrong = |text: &str| Failure::new(Reason::PARAMETER, text);
        let host = named_host(headers).ok_or_else(|| wrong("the Host header is missing or malformed"))?;
        match &self.wef.tickets {
            None => Ok(format!("https://{host}")),
            Some(tickets) if tickets.are_taken_at(host) => Ok(format!("http://{host}")),
            Some(_) => Err(wrong(
                "the host asks at a name that none of wef.kerberos.services has; add it there, or set wef.notify_to",
            )),
        }
    }

    /// Where this host is with a subscription. A channel can move from one part of what rules want to another, whose bookmark
    /// knows nothing of it: a part without any, of a host that has one for another, may hold channels that it was sending.
    async fn place(&self, bookmarks: &dyn Bookmarks, subscription: &Subscription) -> Place {
        let place = bookmarks.find(&self.owner(&subscription.id)).await;
        let parts = self.wef.parts();
        if place != Place::Never || !parts.contains(&subscription.id) {
            return place;
        }
        for part in parts.iter().filter(|part| **part != subscription.id) {
            if bookmarks.find(&self.owner(part)).await != Place::Never {
                return Place::Lost;
            }
        }
        Place::Never
    }

    /// Takes events. Their bookmark is kept behind them, and then the host is told.
    async fn deliver(&mut self, message: Message, intake: &mut Intake<'_>) -> Result<Reading, Failure> {
        let Message { header, events, own, .. } = message;
        let known = self.known(&header, intake.head())?;
        let owner = self.owner(&known.id);
        metrics::WEF_FORWARDER_EVENTS.add(&[&self.wef.listener], own);
        // Looked at before anything of it is kept: what another gateway writes meanwhile is not replaced.
        let (before, seen) = self.wef.memory.bookmarks().await?.look(&owner).await;
        let (text, missing) = self.missing(&known, before, events, intake).await?;
        let then = Delivered {
            wef: Arc::clone(&self.wef),
            who: self.who(),
            address: self.client.address,
            subscription: known.name,
            missing,
            bookmark: header.bookmark.map(|bookmark| (owner, bookmark, seen)),
        };
        if text.is_empty() {
            then.keep(0).await?;
            return Ok(Reading::Answer(self.acknowledgement()));
        }
        let then: Then = Box::new(move |receipt| then.keep(receipt.received).boxed());
        let stream = Arc::clone(&intake.destination().stream);
        let (syntax, damaged, then) = (Syntax::Enveloped, Vec::new(), Some(then));
        let content = Content { stream, syntax, body: text, damaged, known: None, then };
        Ok(Reading::Events(content))
    }

    /// How many events the host lost before these, and their text.
    async fn missing(
        &self,
        known: &Known,
        before: Place,
        events: Gathered,
        intake: &mut Intake<'_>,
    ) -> Result<(Bytes, u64), Failure> {
        if known.whole.is_empty() || events.events.is_empty() {
            return Ok((events.text.into(), 0));
        }
        let before = match before {
            Place::At(bookmark, _) => Some(bookmark),
            Place::Never | Place::Lost => None,
        };
        let whole = known.whole.clone();
        let count = move |_: &mut _| {
            let each = events.events.iter().map(|span| &events.text[span.clone()]);
            let missing = gaps::missing(&whole, before.as_deref(), each);
            (events.text.into(), missing)
        };
        intake.work(count).await.map_err(|ended| Failure::new(Reason::INTERNAL, ended.to_string()))
    }

    /// The subscription that a message is about: its header says so, and the path that it came by.
    fn known(&self, header: &Header, head: &Head<'_>) -> Result<Known, Failure> {
        let of_path = head.segments().get(2).map(|segment| (*segment).to_owned());
        let ids = [header.identifier.clone(), of_path].into_iter().flatten();
        let found = ids.into_iter().find_map(|id| self.wef.subscription(&id, &self.client, &self.machine));
        let unknown = "this subscription is not known here; the host gets those that are with its next enumeration";
        found.ok_or_else(|| Failure::new(Reason::DESTINATION, unknown))
    }

    /// An answer, under the seal of the host where it has one.
    fn sealed(&self, answer: Response<Body>) -> Response<Body> {
        match &self.visit {
            Some(visit) => visit.sealed(answer),
            None => answer,
        }
    }

    fn acknowledgement(&self) -> Response<Body> {
        if !self.wants_answer {
            return answer::nothing(StatusCode::OK);
        }
        answer::ack(&self.message_id, self.charset)
    }
}

impl Ask for Exchange {
    /// As `auth` says, for Windows by a certificate; or by a ticket.
    fn admit<'a>(&'a mut self, head: &'a Head<'_>) -> BoxFuture<'a, Result<Admitted, Failure>> {
        if let Some(visit) = &mut self.visit {
            let (client, relays) = (&mut self.client, &self.wef.relays);
            return Box::pin(visit.admit(head).map_ok(move |mut admitted| {
                relays::bind(relays, &mut admitted.client);
                client.clone_from(&admitted.client);
                admitted
            }));
        }
        let mut admitted = head.gate.admit(head.peer, head.headers());
        if let Ok(admitted) = &mut admitted {
            relays::bind(&self.wef.relays, &mut admitted.client);
            self.client = admitted.client.clone();
        }
        ready(admitted.map_err(Failure::from)).boxed()
    }

    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async {
            Ok(match self.message(intake).await? {
                Reading::Answer(answer) => Reading::Answer(self.sealed(answer)),
                events @ Reading::Events(_) => events,
            })
        })
    }

    fn taken(&self, _: &Receipt) -> Response<Body> {
        self.sealed(self.acknowledgement())
    }

    fn refused(&self, failure: &Failure) -> Response<Body> {
        if !self.client.name.is_empty() {
            self.note(Heard::Refused { reason: &failure.message });
        }
        let mut response = answer::refusal(status(failure.reason), &failure.message);
        if let Some(after) = failure.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        match &self.visit {
            Some(visit) => visit.refused(failure, response),
            None => response,
        }
    }
}

/// What is done when events are durable.
struct Delivered {
    wef: Arc<Wef>,
    who: Who,
    address: Option<IpAddr>,
    subscription: String,
    missing: u64,
    bookmark: Option<(Owner, String, Seen)>,
}

impl Delivered {
    async fn keep(self, events: u64) -> Result<(), Failure> {
        let Self { wef, who, address, subscription, missing, bookmark } = self;
        let has_bookmark = bookmark.is_some();
        if let Some((owner, bookmark, seen)) = bookmark {
            wef.memory.bookmarks().await?.keep(owner, bookmark, seen).await?;
        }
        metrics::WEF_LOST_BY_HOSTS.add(&[&wef.listener], missing);
        let heard = Heard::Delivered { subscription: &subscription, events, missing, bookmark: has_bookmark };
        wef.memory.hosts.note(&who, address, heard);
        Ok(())
    }
}

impl From<NotKept> for Failure {
    fn from(not_kept: NotKept) -> Self {
        Self::new(Reason::BOOKMARKS_FAILED, not_kept.to_string())
    }
}

/// The name and port that a host asked at.
fn named_host(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let sound = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
    sound.then_some(host)
}
