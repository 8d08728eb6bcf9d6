//! The status page: what the gateway does right now, as JSON, and a small page for a browser that shows it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use http::header;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::hosts::{Filter, PAGE_MAX};
use crate::telemetry::lines;

/// Where the status comes from.
pub trait StatusSource: Send + Sync + 'static {
    /// The status now, without secrets. Must not block.
    fn status(&self) -> Value;
    /// What flowed during the last minute and hour.
    fn history(&self) -> Value;
    /// What flowed during the last second.
    fn point(&self) -> Value;
    /// Who sends events: the silent first, then the busiest.
    fn hosts(&self, filter: &Filter) -> Value;
    /// At most so many of the hosts that forward events, those with this text in a name or their address, and whose certificates
    /// were not taken.
    fn forwarding_hosts(&self, search: Option<&str>, most: usize) -> Value;
}

const PAGE: &str = include_str!("status.html");

/// The page loads nothing from elsewhere and can be framed by nobody.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

pub(super) fn routes(source: Arc<dyn StatusSource>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/status", get(status))
        .route("/hosts", get(hosts))
        .route("/wef/hosts", get(forwarding_hosts))
        .route("/history", get(history))
        .route("/log", get(log))
        .with_state(source)
}

async fn page() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))
}

async fn hosts(State(source): State<Arc<dyn StatusSource>>, Query(filter): Query<Filter>) -> Json<Value> {
    Json(source.hosts(&filter))
}

/// Which of the hosts that forward, and how many.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Forwarding {
    search: Option<String>,
    limit: Option<usize>,
}

async fn forwarding_hosts(State(source): State<Arc<dyn StatusSource>>, Query(asked): Query<Forwarding>) -> Json<Value> {
    let most = asked.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    Json(source.forwarding_hosts(asked.search.as_deref(), most))
}

async fn history(State(source): State<Arc<dyn StatusSource>>) -> Json<Value> {
    Json(source.history())
}

async fn log() -> Json<Value> {
    Json(json!({ "lines": lines::after(0) }))
}

async fn status(State(source): State<Arc<dyn StatusSource>>) -> Json<Value> {
    Json(source.status())
}
