//! The way of one request, from its target to its answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use super::access_log::{Record, Requests};
use super::entra::{self, Issuer};
use super::forms::Forms;
use super::http::auth::{Admitted, Denied, Gate, Peer};
use super::http::body::{Memory, Share};
use super::http::reply::{self, Ids};
use super::intake::{self, Intake, Room, content_length};
use super::protocol::{Ask, Content, Head, OpenError, Place, Protocol, Reading, Shared, Then};
use super::reason::{Failure, Reason};
use super::{Config, traced};
use crate::event::{Client, Presence, Upload};
use crate::ingest::accept::{Accept, Receipt};
use crate::ingest::{Panicked, to_its_end};
use crate::metrics::{self, Counter, Histogram};
use crate::net::target;
use crate::turns::Who;

/// How long the rest of a refused body is read and thrown away before the answer, over HTTP/2.
const DISCARD_TIME: Duration = Duration::from_secs(2);

struct Door {
    config: Config,
    name: Arc<str>,
    gate: Gate,
    issuer: Option<Arc<Issuer>>,
    protocols: Vec<Arc<dyn Protocol>>,
    room: Room,
    counters: Counters,
    /// For the forms of requests for tokens: whoever may send those, uploads lose nothing by it.
    forms: Forms,
    accept: Arc<dyn Accept>,
}

/// The series of a listener that each request counts in.
struct Counters {
    ok: Counter,
    no_content: Counter,
    seconds: Histogram,
}

impl Counters {
    fn of(listener: &str) -> Self {
        let status = |status: StatusCode| metrics::INPUT_REQUESTS.counter(&[listener, status.as_str()]);
        let seconds = metrics::INPUT_REQUEST_SECONDS.histogram(&[listener]);
        Self { ok: status(StatusCode::OK), no_content: status(StatusCode::NO_CONTENT), seconds }
    }

    fn answered(&self, listener: &str, status: StatusCode, took: Duration) {
        match status {
            StatusCode::OK => self.ok.increment(1),
            StatusCode::NO_CONTENT => self.no_content.increment(1),
            other => metrics::INPUT_REQUESTS.add(&[listener, other.as_str()], 1),
        }
        self.seconds.record(took.as_secs_f64());
    }
}

/// What a listener speaks, opened and ready.
#[derive(Clone, Default)]
pub struct Opened {
    /// Its local Entra, where that is enabled.
    pub issuer: Option<Arc<Issuer>>,
    /// Its protocols, in the order in which requests are offered to them.
    pub protocols: Vec<Arc<dyn Protocol>>,
}

impl Opened {
    /// What the configuration of a listener says, with its local Entra. `running` is what a listener of that name speaks until
    /// now.
    ///
    /// # Errors
    ///
    /// When a file that a protocol needs cannot be used.
    pub fn new(
        config: &Config,
        issuer: Option<Arc<Issuer>>,
        shared: &Shared,
        running: &Self,
    ) -> Result<Self, OpenError> {
        let place =
            Place { listener: &config.name, state_dir: &shared.state_dir, config, shared, running: &running.protocols };
        let protocols = config.protocols.open(&place)?;
        Ok(Self { issuer, protocols })
    }
}

/// A request that failed, in the words of the protocol whose it is.
struct Refused {
    failure: Failure,
    code: &'static str,
    response: Response<Body>,
}

impl Refused {
    fn by(ask: &dyn Ask, failure: Failure) -> Self {
        Self { code: ask.code(&failure), response: ask.refused(&failure), failure }
    }
}

/// Of a request that is no protocol's.
impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self { code: reply::code(&failure), response: reply::failure(&failure), failure }
    }
}

/// The service of one listener, over what it has opened; `bodies` is what it shares with others for bodies, where it has no
/// memory of its own.
pub fn router(config: &Config, accept: Arc<dyn Accept>, opened: Opened, bodies: &Memory) -> Router {
    let Opened { issuer, protocols } = opened;
    let memory = config.limits.memory_max.map_or_else(|| bodies.clone(), |own| Memory::new(own.as_u64()));
    let door = Door {
        name: config.name.as_str().into(),
        gate: Gate::new(&config.auth, config.is_for_this_host(), config.asks_client_certificates(), issuer.clone()),
        issuer,
        protocols,
        room: Room::new(&config.name, config.limits.clone(), memory).with_keys(accept.keys()),
        counters: Counters::of(&config.name),
        forms: Forms::new(&config.limits),
        accept,
        config: config.clone(),
    };
    Router::new().fallback(handle).with_state(Arc::new(door))
}

async fn handle(State(door): State<Arc<Door>>, request: Request) -> Response<Body> {
    let started = Instant::now();
    let ids = Ids::of(request.headers());
    let http1 = request.version() < Version::HTTP_2;
    let (parts, mut body) = request.into_parts();
    let mut whole = body.is_end_stream();
    let peer = parts.extensions.get::<Peer>();
    let client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    let mut record = Record::of_request(&door.name, client, parts.uri.path(), &parts.headers, &ids);
    let (mut response, failure) = match door.answer(&parts, &mut body, &mut whole, &mut record).await {
        Ok(response) => (response, None),
        Err(Refused { failure, code, response }) => (response, Some((code, failure))),
    };
    if http1 && !whole {
        // The rest of the body would have to be read before the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    door.counters.answered(&door.name, response.status(), started.elapsed());
    if let Some((_, failure)) = &failure {
        metrics::INPUT_REFUSED.add(&[&door.name, failure.reason.code], 1);
    }
    let ended = (response.status(), failure.as_ref().map(|(_, failure)| failure));
    traced::note((&*door.name, client), (&parts, &ids), &record, ended, started.elapsed());
    ids.put_on(&mut response);
    if let Some(requests) = parts.extensions.get::<Requests>() {
        let failure = failure.as_ref().map(|(code, failure)| (*code, failure));
        record.end(response.status(), failure, started.elapsed());
        requests.tell(record);
    }
    if !http1 && !whole {
        discard(body).await;
    }
    response
}

/// A stream that is answered before its body is read is reset, and many clients (curl among them) then report a broken
/// stream instead of the answer. Costs no memory; over HTTP/1 the connection lingers instead.
async fn discard(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // A client that does not come to an end gets its answer all the same.
    timeout(DISCARD_TIME, rest).await.ok();
}

impl Door {
    /// Finds out whose a request is, and has it answered in the words of that protocol. `whole` becomes true once the body was
    /// read to its end; `record` learns what is known of the request.
    async fn answer(
        &self,
        parts: &Parts,
        body: &mut Body,
        whole: &mut bool,
        record: &mut Record,
    ) -> Result<Response<Body>, Refused> {
        let peer = parts.extensions.get::<Peer>().ok_or(Failure::from(Denied::Network))?;
        if let Some(issuer) = &self.issuer
            && let Some(asked) = entra::asked(&target::segments(parts.uri.path()))
        {
            return Ok(self.ask(issuer, asked, peer, parts, body, whole).await?);
        }
        let head = Head { listener: &self.name, parts, peer, gate: &self.gate };
        let Some(mut ask) = self.protocols.iter().find_map(|protocol| protocol.ask(&head)) else {
            return Err(Failure::new(Reason::NOT_FOUND, "there is nothing at this path, and nothing was kept").into());
        };
        let served = self.serve(&mut *ask, &head, body, whole, record).await;
        served.map_err(|failure| Refused::by(&*ask, failure))
    }

    /// Admit, look at method and destination, read, keep, answer.
    async fn serve(
        &self,
        ask: &mut dyn Ask,
        head: &Head<'_>,
        body: &mut Body,
        whole: &mut bool,
        record: &mut Record,
    ) -> Result<Response<Body>, Failure> {
        let Admitted { client, grant } = ask.admit(head).await?;
        let address = client.address.or(Some(head.peer.address.to_canonical()));
        let client = Client { address, ..client };
        record.identity = Some(Arc::clone(&client.name));
        let (method, methods) = (head.parts.method.as_str(), ask.methods());
        if !methods.split(", ").any(|allowed| allowed == method) {
            return Err(Failure::method(methods));
        }
        let destination = ask.destination(head)?;
        if let Some(grant) = &grant {
            grant.allows(&destination.rule, &destination.stream)?;
            grant.take_request()?;
        }
        // Dropped with this future, when the client goes.
        let waiting = Arc::new(());
        let presence = Presence::of(&waiting);
        let mut intake = Intake::new(intake::Parts {
            head,
            room: &self.room,
            who: Who::new(&client.name, client.address),
            destination: &destination,
            grant: grant.as_ref(),
            body,
            whole,
            record,
            presence: presence.clone(),
        });
        let content = match ask.read(&mut intake).await? {
            Reading::Answer(answer) => return Ok(answer),
            Reading::Events(content) => content,
        };
        let share = intake.into_share();
        let client = Client { upload_mark: ask.mark(), ..client };
        let receipt = self.keep(client, content, presence, share).await?;
        record.receipt = Some(receipt);
        Ok(ask.taken(&receipt))
    }

    /// Hands an upload on. Its share of the memory is given back when that is over, also when the client hangs up before:
    /// the work goes on, and the body stays in memory.
    async fn keep(
        &self,
        client: Client,
        content: Content,
        presence: Presence,
        share: Share,
    ) -> Result<Receipt, Failure> {
        let client = Client { policy: self.config.identity.policy, ..client };
        let Content { stream, syntax, body, damaged, known, then } = content;
        let input = Arc::clone(&self.name);
        let upload = Upload { input, client, stream, syntax, body, damaged, known, presence };
        let accepting = self.accept.accept(upload);
        let kept = to_its_end(async move {
            let kept = match accepting.await {
                Ok(receipt) => finish(receipt, then).await,
                Err(refusal) => Err(refusal.into()),
            };
            drop(share);
            kept
        });
        kept.await.unwrap_or_else(|Panicked(_)| Err(Failure::new(Reason::INTERNAL, Reason::INTERNAL.text)))
    }

    /// The way to a token: nothing has to be shown for it beside what the form holds, but the address must be right.
    async fn ask(
        &self,
        issuer: &Arc<Issuer>,
        asked: entra::Asked,
        peer: &Peer,
        parts: &Parts,
        body: &mut Body,
        whole: &mut bool,
    ) -> Result<Response<Body>, Failure> {
        self.gate.admit_address(peer)?;
        if parts.method != asked.method() {
            return Err(Failure::method(if asked.method() == Method::POST { "POST" } else { "GET" }));
        }
        let declared = if *whole { Some(0) } else { content_length(&parts.headers) };
        let form = self.forms.read(body, declared, &Who::at(peer.address)).await?;
        *whole = true;
        Ok(issuer.answer(asked, parts, form, peer.address.to_canonical()).await)
    }
}

/// What is to be made durable after the events and before the answer.
async fn finish(receipt: Receipt, then: Option<Then>) -> Result<Receipt, Failure> {
    if let Some(then) = then {
        then(receipt).await?;
    }
    Ok(receipt)
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
