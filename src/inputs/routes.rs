//! The way of one request, from its target to its answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout};

use super::access_log::{Record, Requests};
use super::entra::{self, Issuer};
use super::http::auth::{Admitted, Denied, Gate, Peer};
use super::http::body::{Memory, Share, collect};
use super::http::decompress::{self, DecompressError, Encoding};
use super::http::limits;
use super::http::readable::{self, Readable};
use super::http::reply::{self, Failure, Ids};
use super::{Config, events, target};
use crate::event::foreign::{self, Foreign};
use crate::event::{Client, Presence, Syntax, Upload};
use crate::ingest::accept::{Accept, Receipt, Refusal};
use crate::metrics;
use crate::turns::{Turns, Who};
use crate::values::ByteSize;

/// How long the rest of a refused body is read and thrown away before the answer, over HTTP/2.
const DISCARD_TIME: Duration = Duration::from_secs(2);

struct Door {
    config: Config,
    name: Arc<str>,
    gate: Gate,
    issuer: Option<Arc<Issuer>>,
    /// The limits of a request for a token.
    token_limits: limits::Config,
    memory: Memory,
    /// For the forms of requests for tokens: whoever may send those, uploads lose nothing by it.
    forms: Memory,
    turns: Turns,
    accept: Arc<dyn Accept>,
}

/// Where an upload goes and how its answer looks.
enum Route {
    LogsIngestion { rule: String, stream: Result<Arc<str>, Failure> },
    Events,
}

impl Route {
    /// What a body is, if it is known to be something else than this door takes. Arrays at the Logs Ingestion API are rows
    /// of a table that only the sender knows.
    fn foreign(&self, headers: &HeaderMap, body: &[u8]) -> Option<Foreign> {
        match self {
            Self::Events => events::foreign_type(headers).or_else(|| foreign::recognise(body)),
            Self::LogsIngestion { .. } if foreign::is_array(body) => None,
            Self::LogsIngestion { .. } => foreign::recognise(body),
        }
    }
}

/// The service of one listener. `issuer` is its local Entra, where that is enabled; `bodies` what it shares with others for
/// bodies, where it has no memory of its own.
pub fn router(config: &Config, accept: Arc<dyn Accept>, issuer: Option<Arc<Issuer>>, bodies: &Memory) -> Router {
    let loopback = config.listen.ip().to_canonical().is_loopback();
    let door = Door {
        name: config.name.as_str().into(),
        gate: Gate::new(&config.auth, loopback, config.asks_client_certificates(), issuer.clone()),
        issuer,
        token_limits: limits::Config { wire_max: ByteSize::bytes(entra::request::BODY_MAX), ..config.limits.clone() },
        memory: config.limits.memory_max.map_or_else(|| bodies.clone(), |own| Memory::new(own.as_u64())),
        forms: Memory::new(entra::request::FORMS_MAX),
        turns: Turns::here(),
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
    let result = door.answer(&parts, &mut body, &mut whole, &mut record).await;
    let failure = result.as_ref().err().cloned();
    let mut response = result.unwrap_or_else(|failure| reply::failure(&failure));
    if http1 && !whole {
        // The rest of the body would have to be read before the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    ids.put_on(&mut response);
    metrics::INPUT_REQUESTS.add(&[&door.name, response.status().as_str()], 1);
    metrics::INPUT_REQUEST_SECONDS.observe(&[&door.name], started.elapsed().as_secs_f64());
    if let Some(requests) = parts.extensions.get::<Requests>() {
        record.end(response.status(), failure.as_ref(), started.elapsed());
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
    /// Route, admit, collect, decompress, accept. `whole` becomes true once the body was read to its end; `record` learns
    /// what is known of the request.
    async fn answer(
        &self,
        parts: &Parts,
        body: &mut Body,
        whole: &mut bool,
        record: &mut Record,
    ) -> Result<Response<Body>, Failure> {
        let peer = parts.extensions.get::<Peer>().ok_or(Denied::Network)?;
        if let Some(issuer) = &self.issuer
            && let Some(asked) = entra::asked(&target::segments(parts.uri.path()))
        {
            return self.ask(issuer, asked, peer, parts, body, whole).await;
        }
        let route = self.route(parts.uri.path(), parts.uri.query().unwrap_or_default())?;
        let Admitted { client, grant } = self.gate.admit(peer, &parts.headers)?;
        record.identity = Some(Arc::clone(&client.name));
        if parts.method != Method::POST {
            return Err(Failure::method("POST"));
        }
        let (stream, syntax) = match &route {
            Route::LogsIngestion { stream, .. } => (stream.clone()?, Syntax::JsonArray),
            Route::Events => (Arc::from(""), Syntax::Sniff),
        };
        if let Some(grant) = &grant {
            let rule = if let Route::LogsIngestion { rule, .. } = &route { rule } else { "" };
            grant.allows(rule, &stream)?;
            grant.take_request()?;
        }
        Encoding::of(&parts.headers, &[])?;

        let who = Who::new(&client.name, client.address);
        let mut share = self.memory.share(&who);
        let wire = collect(body, content_length(&parts.headers), &self.config.limits, &mut share).await?;
        *whole = true;
        if let Some(grant) = &grant {
            grant.take_bytes(wire.len())?;
        }
        record.bytes = wire.len() as u64;
        metrics::INPUT_BYTES.add(&[&self.name, "wire"], wire.len() as u64);
        let encoding = Encoding::of(&parts.headers, &wire)?;
        // Dropped with this future, when the client goes.
        let waiting = Arc::new(());
        let presence = Presence::of(&waiting);
        let (body, share) = self.decompress(&who, encoding, wire, share, &presence).await?;
        metrics::INPUT_BYTES.add(&[&self.name, "decompressed"], body.len() as u64);
        let limit = self.config.limits.body_max.as_u64();
        let reading = readable::in_turn(&self.turns, &who, body, syntax, limit, share, presence.clone());
        let (readable, share) = reading.await?;
        if let Some(foreign) = route.foreign(&parts.headers, &readable.body) {
            return Err(foreign.into());
        }
        let upload = Upload { presence, ..self.upload(client, stream, syntax, readable) };
        let receipt = self.accepted(upload, share).await?;
        record.receipt = Some(receipt);
        Ok(match route {
            Route::LogsIngestion { .. } => reply::no_content(),
            Route::Events => reply::json(&events::Body::from(receipt)),
        })
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
        self.gate.admit_to_issuer(peer)?;
        if parts.method != asked.method() {
            return Err(Failure::method(if asked.method() == Method::POST { "POST" } else { "GET" }));
        }
        let mut share = self.forms.share(&Who::at(peer.address));
        let form = collect(body, content_length(&parts.headers), &self.token_limits, &mut share).await?;
        *whole = true;
        Ok(issuer.answer(asked, parts, form, peer.address.to_canonical()).await)
    }

    fn route(&self, path: &str, query: &str) -> Result<Route, Failure> {
        let path = target::segments(path);
        if self.config.events.enabled && events::is_ours(&path) {
            return Ok(Route::Events);
        }
        let ours = self.config.logs_ingestion.enabled.then(|| self.config.logs_ingestion.stream(&path, query));
        let nothing =
            || Failure::new(StatusCode::NOT_FOUND, "NotFound", "there is nothing at this path, and nothing was kept");
        let stream = ours.flatten().ok_or_else(nothing)?;
        let rule = path.get(1).and_then(|rule| target::decode(rule)).unwrap_or_default().into_owned();
        Ok(Route::LogsIngestion { rule, stream })
    }

    async fn decompress(
        &self,
        who: &Who,
        encoding: Encoding,
        wire: Bytes,
        mut share: Share,
        presence: &Presence,
    ) -> Result<(Bytes, Share), DecompressError> {
        let body_max = self.config.limits.body_max.as_u64();
        if encoding == Encoding::Identity {
            // It has its memory already, and nothing comes out of it that needs more.
            share.shrink_to(wire.len() as u64);
            let too_large = wire.len() as u64 > body_max;
            return if too_large { Err(DecompressError::TooLarge { limit: body_max }) } else { Ok((wire, share)) };
        }
        let limit = body_max.min(share.most().saturating_sub(wire.len() as u64));
        decompress::in_turn(&self.turns, who, (encoding, wire), limit, share, presence).await
    }

    /// Hands an upload on. Its share of the memory is given back when that is over, also when the client hangs up before:
    /// the work goes on, and the body stays in memory.
    async fn accepted(&self, upload: Upload, share: Share) -> Result<Receipt, Refusal> {
        let accepting = self.accept.accept(upload);
        let held = tokio::spawn(async move {
            let result = accepting.await;
            drop(share);
            result
        });
        held.await.unwrap_or(Err(Refusal::Stopping))
    }

    fn upload(&self, client: Client, stream: Arc<str>, syntax: Syntax, readable: Readable) -> Upload {
        let client = Client { policy: self.config.identity.policy, ..client };
        let Readable { body, damaged } = readable;
        Upload { input: Arc::clone(&self.name), client, stream, syntax, body, damaged, presence: Presence::default() }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
