//! What can be asked of a running gateway: reload, drain, to accept the clock, and what to do with dead letters.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::guard::{self, Guard};
use crate::limits::{ADMIN_BODY_MAX_BYTES, DEAD_LETTER_PAGE_MAX};

/// Which dead letters to list: those after `after` (an id), oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Page {
    /// Only those with a greater id.
    pub after: Option<u64>,
    /// Only those of the output or input of this name.
    pub source: Option<String>,
    /// Only those for this reason; `not_understood` for those of inputs.
    pub reason: Option<String>,
    /// Only those that were first set aside at this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only those that were first set aside before this time.
    pub before_ms: Option<u64>,
    /// Most of them in one answer; capped at [`DEAD_LETTER_PAGE_MAX`].
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, source: None, reason: None, since_ms: None, before_ms: None, limit: 100 }
    }
}

/// Which dead letters to replay or purge. Exactly one of `ids` and `all` must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// These.
    pub ids: Vec<u64>,
    /// Every one that the filters below let through.
    pub all: bool,
    /// With `all`: only those of the output or input of this name.
    pub source: Option<String>,
    /// With `all`: only those for this reason; `not_understood` for those of inputs.
    pub reason: Option<String>,
    /// With `all`: only those that were first set aside at this time or later, in milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// With `all`: only those that were first set aside before this time.
    pub before_ms: Option<u64>,
}

/// What is to become of registered agents. Exactly one of these must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentOrder {
    /// The agent of this GUID is let in no more, and may not register.
    pub revoke: Option<String>,
    /// The agent of this GUID may register again.
    pub restore: Option<String>,
    /// Agents that were not seen for so many seconds, while the gateway ran, are forgotten.
    pub expire_after_s: Option<u64>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// It cannot be done as asked (409): a configuration that is wrong, a name that nobody has.
    #[error("{0}")]
    Refused(String),
    /// It was tried and failed (500).
    #[error("{0}")]
    Failed(String),
}

/// What `app` does for the admin plane. Answers are JSON objects for the caller to read.
pub trait Control: Send + Sync + 'static {
    /// Loads the configuration again and swaps it in, or refuses it whole.
    fn reload(&self) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// Turns readiness off; uploads and new tunnels are taken for a while, then no more; outputs go on. Answers at once.
    fn drain(&self) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// The way back from a drain: listeners are open, and readiness is what it would be. Refused when it does not drain, or stops.
    fn undrain(&self) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// Takes what the wall clock shows for right: a jump that is held is over. Nothing is forgotten or expires by it.
    fn accept_clock(&self) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// The configuration in force without its secrets, and what became of the last reload.
    fn configuration(&self) -> Value;
    /// Hosts that tunnels were asked for and that the allow-list refused.
    fn refused_hosts(&self) -> Value;
    /// The agents that are registered.
    fn agents(&self) -> Value;
    /// Revokes, restores or forgets agents.
    fn order_agents(&self, order: AgentOrder) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// Lists dead letters.
    fn dead_letters(&self, page: Page) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// Sends dead letters again.
    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>>;
    /// Deletes dead letters for good.
    fn purge(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>>;
}

type Controls = State<Arc<dyn Control>>;

pub(super) fn routes(control: Arc<dyn Control>, guard: Guard) -> Router {
    Router::new()
        .route("/reload", post(reload))
        .route("/drain", post(drain))
        .route("/undrain", post(undrain))
        .route("/clock/accept", post(accept_clock))
        .route("/configuration", get(configuration))
        .route("/tunnel/refused", get(refused_hosts))
        .route("/agents", get(agents).post(order_agents))
        .route("/dead-letters", get(list))
        .route("/dead-letters/replay", post(replay))
        .route("/dead-letters/purge", post(purge))
        .route_layer(middleware::from_fn_with_state(guard, guard::check))
        .layer(DefaultBodyLimit::max(ADMIN_BODY_MAX_BYTES))
        .with_state(control)
}

async fn reload(State(control): Controls) -> Response {
    answer(control.reload().await)
}

async fn drain(State(control): Controls) -> Response {
    answer(control.drain().await)
}

async fn undrain(State(control): Controls) -> Response {
    answer(control.undrain().await)
}

async fn accept_clock(State(control): Controls) -> Response {
    answer(control.accept_clock().await)
}

async fn configuration(State(control): Controls) -> Response {
    Json(control.configuration()).into_response()
}

async fn refused_hosts(State(control): Controls) -> Response {
    Json(control.refused_hosts()).into_response()
}

async fn agents(State(control): Controls) -> Response {
    Json(control.agents()).into_response()
}

async fn order_agents(State(control): Controls, Json(order): Json<AgentOrder>) -> Response {
    let AgentOrder { revoke, restore, expire_after_s } = &order;
    if [revoke.is_some(), restore.is_some(), expire_after_s.is_some()].into_iter().filter(|given| *given).count() != 1 {
        let error = "write one of {\"revoke\": GUID}, {\"restore\": GUID} and {\"expire_after_s\": SECONDS}";
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    }
    answer(control.order_agents(order).await)
}

async fn list(State(control): Controls, Query(mut page): Query<Page>) -> Response {
    page.limit = page.limit.clamp(1, DEAD_LETTER_PAGE_MAX);
    answer(control.dead_letters(page).await)
}

async fn replay(State(control): Controls, Json(selection): Json<Selection>) -> Response {
    match ambiguous(&selection) {
        Some(refusal) => refusal,
        None => answer(control.replay(selection).await),
    }
}

async fn purge(State(control): Controls, Json(selection): Json<Selection>) -> Response {
    match ambiguous(&selection) {
        Some(refusal) => refusal,
        None => answer(control.purge(selection).await),
    }
}

/// An empty selection must not mean everything, nor may a typing slip.
fn ambiguous(selection: &Selection) -> Option<Response> {
    let one = selection.all == selection.ids.is_empty();
    let Selection { source, reason, since_ms, before_ms, .. } = selection;
    let filtered = source.is_some() || reason.is_some() || since_ms.is_some() || before_ms.is_some();
    let error = "write either {\"ids\": [1, 2]} or {\"all\": true}, the latter also with \"source\", \"reason\", \
                 \"since_ms\" and \"before_ms\"";
    (!one || (filtered && !selection.all))
        .then(|| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response())
}

fn answer(result: Result<Value, ControlError>) -> Response {
    let (status, error) = match result {
        Ok(value) => return Json(value).into_response(),
        Err(ControlError::Refused(error)) => (StatusCode::CONFLICT, error),
        Err(ControlError::Failed(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error),
    };
    (status, Json(json!({ "error": error }))).into_response()
}
