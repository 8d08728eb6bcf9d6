//! Azure Monitor's REST interface for data collection rules and their associations.
//!
//! Scripts, `az rest` and tools in Terraform's style work with only the host changed: Azure's paths, versions, status
//! codes and errors. A success means what it means everywhere here: the change is durable, and in force.
//!
//! The paths begin with any resource id, so no router could name them: whatever no other route takes comes here, and what
//! is not Azure's goes on to be not found.

mod association;
mod error;
mod list;
mod query;
mod resource;
mod rule;
mod rules;
mod target;

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

pub use error::Refusal;
pub use rules::{Answer, Edit, Entry, Meaning, Plan, RuleBook, Shelf, Write, key};

use super::guard::{self, Guard};
use crate::event::Timestamp;
use crate::limits::AZURE_BODY_MAX_BYTES;
use query::Query;
use resource::Presumed;
use target::{Target, Thing};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-ms-correlation-request-id");
const CLIENT_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

type Shared = (Arc<dyn RuleBook>, Guard);

/// The routes: everything that no other route takes.
pub fn routes(book: Arc<dyn RuleBook>, guard: Guard) -> Router {
    Router::new().fallback(serve).with_state((book, guard))
}

async fn serve(State((book, guard)): State<Shared>, request: Request) -> Response {
    let Some(target) = Target::of_path(request.uri().path()) else { return StatusCode::NOT_FOUND.into_response() };
    let ids = Ids::of(request.headers());
    let answer = match guard.admit(&request) {
        Ok(()) => Box::pin(answer(book.as_ref(), target, request)).await,
        Err((status, message)) => {
            let code = if status == StatusCode::UNAUTHORIZED { "AuthenticationFailed" } else { "AuthorizationFailed" };
            Err(Refusal::new(status, code, message))
        }
    };
    let mut response = answer.map_or_else(IntoResponse::into_response, shown);
    ids.put(response.headers_mut());
    response
}

fn shown(answer: Answer) -> Response {
    let Some(body) = answer.body else { return answer.status.into_response() };
    let etag = body["etag"].as_str().and_then(|etag| HeaderValue::from_str(etag).ok());
    let mut response = (answer.status, Json(body)).into_response();
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

async fn answer(book: &dyn RuleBook, target: Result<Target, Refusal>, request: Request) -> Result<Answer, Refusal> {
    let target = target?;
    let address = address(&request);
    let (head, body) = request.into_parts();
    let query = Query::parse(head.uri.query().unwrap_or_default())?;
    let presumed = Presumed::of(&head.headers);
    let now = now();
    let id = target.id();
    let edit = match (&target.thing, &head.method) {
        (Thing::Endpoints, _) => {
            let message = "data collection endpoints are not implemented: hosts reach Gatepost itself";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message));
        }
        (Thing::Rules | Thing::RuleAssociations(_) | Thing::Associations, &Method::GET) => {
            return list::list(&book.shelf(), &target, &query, &address);
        }
        (Thing::Rule(_), &Method::GET) => return rule::get(&book.shelf(), &id),
        (Thing::Association(_), &Method::GET) => return association::get(&book.shelf(), &id),
        (Thing::Rule(_), &Method::PUT) => rule::put(id, &collect(&head.headers, body).await?, presumed, now)?,
        (Thing::Rule(_), &Method::PATCH) => rule::patch(id, &collect(&head.headers, body).await?, presumed, now)?,
        (Thing::Rule(_), &Method::DELETE) => rule::delete(id, query.delete_associations, presumed),
        (Thing::Association(_), &Method::PUT) => {
            association::put(id, &collect(&head.headers, body).await?, presumed, now)?
        }
        (Thing::Association(_), &Method::DELETE) => association::delete(id, presumed),
        (Thing::Rules | Thing::RuleAssociations(_) | Thing::Associations, _) => return Err(Refusal::method("GET")),
        (Thing::Rule(_), _) => return Err(Refusal::method("GET, PUT, PATCH, DELETE")),
        (Thing::Association(_), _) => return Err(Refusal::method("GET, PUT, DELETE")),
    };
    book.change(edit).await
}

async fn collect(headers: &HeaderMap, body: axum::body::Body) -> Result<bytes::Bytes, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
    let essence = kind.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if let Some(essence) = essence.filter(|essence| essence != "application/json" && essence != "text/json") {
        let message = format!("the content media type {essence:?} is not supported; send application/json");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
    }
    let too_large = || {
        let message = format!("the request content is longer than {AZURE_BODY_MAX_BYTES} bytes, or broke off");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestContentTooLarge", message)
    };
    axum::body::to_bytes(body, AZURE_BODY_MAX_BYTES).await.map_err(|_| too_large())
}

/// What the client asked for, without its query. The guard knows its Host.
fn address(request: &Request) -> String {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("{}://{host}{}", guard::scheme(request), request.uri().path())
}

fn now() -> Timestamp {
    Timestamp::of(SystemTime::now())
}

/// By what a request and its answer are told in two logs.
struct Ids {
    request: HeaderValue,
    correlation: HeaderValue,
    client: Option<HeaderValue>,
}

impl Ids {
    fn of(headers: &HeaderMap) -> Self {
        let n = fastrand::u128(..);
        let hex = format!("{n:032x}");
        let guid = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let request = HeaderValue::from_str(&guid).expect("hexadecimal digits and dashes are fine in a header");
        let correlation = headers.get(CORRELATION_ID).cloned().unwrap_or_else(|| request.clone());
        Self { request, correlation, client: headers.get(CLIENT_ID).cloned() }
    }

    fn put(self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.request);
        headers.insert(CORRELATION_ID, self.correlation);
        if let Some(client) = self.client {
            headers.insert(CLIENT_ID, client);
        }
    }
}

#[cfg(test)]
mod tests;
