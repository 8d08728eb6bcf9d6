//! Sends batches to data collection endpoints.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::json;

use super::advice::Advisor;
use super::shorten::shorten;
use super::wire::Wire;
use super::{Config, Quota, Target};
use crate::event::Timestamp;
use crate::event::columns::{self, Extras, Made, Source, Table};
use crate::net::http_client::HttpClient;
use crate::net::tls_client::Trust;
use crate::outputs::body::{Compression, Shape, compressed};
use crate::outputs::config::{specs, trust, urls};
use crate::outputs::form::Form;
use crate::outputs::identity::{Token, TokenError, TokenStatus, Tokens};
use crate::outputs::outcome::Words;
use crate::outputs::output::{
    BatchLimits, Body, EndpointSpec, Outcome, OutgoingEvent, Output, Request, RetryReason, Row,
};
use crate::outputs::sender::{CONNECT_TIMEOUT, Sender, USER_AGENT_VALUE, well};
use crate::outputs::shared::TokenHolder;
use crate::outputs::{BuildError, Shared};

const API_VERSION: &str = "2023-01-01";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// Azure keeps a `TimeGenerated` that is at most so many seconds old, or in the future, at arrival.
const KEPT_BEFORE: i64 = 2 * 24 * 3600;
const KEPT_AFTER: i64 = 24 * 3600;
/// How much earlier than that an event's time is written into a column of its own as well: a batch may have to wait, and by
/// then an old event is older; Azure's clock may be behind ours.
const SPARE_BEFORE: i64 = 24 * 3600;
const SPARE_AFTER: i64 = 3600;

/// How long a rule is left alone that answers 429 without saying for how long.
const THROTTLED_PAUSE: Duration = Duration::from_secs(5);

/// A workspace behind its data collection endpoints.
pub struct Workspace {
    sender: Sender,
    endpoints: Vec<EndpointSpec>,
    limits: BatchLimits,
    /// With `target = "compressed"`: what fits.
    wire: Option<Wire>,
    compression: Compression,
    level: u8,
    table: Option<Table>,
    extras: Extras,
    tokens: Arc<Tokens>,
    /// None where the endpoints are not Azure's: another gateway has limits of its own, and tells them for itself.
    quota: Option<Arc<Quota>>,
    advisor: Advisor,
    timeout: Duration,
}

impl Workspace {
    /// Builds it from a configuration without problems. Reads certificate files.
    pub(in crate::outputs) fn new(config: &Config, shared: &Shared) -> Result<Self, BuildError> {
        let client = http_client(config)?;
        let timeout = config.timeout.get();
        let scope = format!("{}/.default", config.cloud.monitor());
        let holder = TokenHolder {
            identity: config.identity.clone(),
            scope: scope.clone(),
            proxy: config.proxy.clone(),
            authorities: config.ca_file.as_ref().and_then(|path| std::fs::read(path).ok()),
        };
        let tokens = shared
            .tokens(holder, || Tokens::new(&config.identity, config.cloud, &scope, client.clone()))
            .map_err(|source| BuildError::Identity { output: config.name.clone(), source })?;
        Ok(Self {
            sender: Sender::new(client, upload_urls(config), config.compression, timeout, words(config)),
            endpoints: specs(&config.endpoints),
            wire: (config.target == Target::Compressed).then(Wire::new),
            limits: Shape::JsonArray.limits(config.max_batch().as_usize(), config.max_batch_events),
            compression: config.compression,
            level: config.compression_level,
            table: config.table,
            extras: Extras {
                original_time: config.original_time_column.clone(),
                event_key: config.event_key_column.clone(),
                client: config.client_column.clone(),
            },
            tokens,
            quota: config.is_azure().then(|| shared.quota(&config.dcr)),
            advisor: Advisor::new(config),
            timeout,
        })
    }
}

/// What keeps a workspace from being built: of its trusted authorities, and of its identity.
pub(in crate::outputs) fn faults(config: &Config) -> Vec<BuildError> {
    let identity = || {
        let nobody = HttpClient::new(&Trust::Nobody, CONNECT_TIMEOUT).ok()?;
        let source = Tokens::new(&config.identity, config.cloud, config.cloud.monitor(), nobody).err()?;
        Some(BuildError::Identity { output: config.name.clone(), source })
    };
    http_client(config).err().into_iter().chain(identity()).collect()
}

fn words(config: &Config) -> Words {
    if config.is_only_azure() { Words::Azure } else { Words::Ingestion }
}

/// The client for endpoints and Entra ID. Reads certificate files.
pub(super) fn http_client(config: &Config) -> Result<HttpClient, BuildError> {
    let trust = match &config.ca_file {
        // Entra is asked over HTTPS whatever the endpoints speak.
        None if config.identity.asks_entra() => Trust::System,
        file => trust(&config.endpoints, file.as_ref()),
    };
    HttpClient::through(config.proxy.as_ref(), &trust, CONNECT_TIMEOUT)
        .map_err(|source| BuildError::Trust { output: config.name.clone(), source })
}

/// Where each endpoint takes events.
pub(super) fn upload_urls(config: &Config) -> Vec<Uri> {
    let path = format!("/dataCollectionRules/{}/streams/{}?api-version={API_VERSION}", config.dcr, config.stream);
    urls(&config.endpoints, &path)
}

impl Workspace {
    /// Sends with the token at hand. When that is not taken, once more with a fresh one: it may have been revoked.
    async fn send_with_token(&self, endpoint: usize, request: &Request) -> Outcome {
        let token = match self.tokens.token().await {
            Ok(token) => token,
            Err(error) => return no_token(&error),
        };
        let outcome = self.sender.send(endpoint, batch_headers(token.as_ref(), request), request).await;
        let (Some(stale), Outcome::Retry { reason: RetryReason::Unauthorized, .. }) = (token, &outcome) else {
            return outcome;
        };
        match self.tokens.instead_of(&stale).await {
            Ok(Some(fresh)) => self.sender.send(endpoint, batch_headers(Some(&fresh), request), request).await,
            // The endpoint is left alone for a while; why there is no other token is in the token's status.
            Ok(None) | Err(_) => outcome,
        }
    }
}

fn no_token(error: &TokenError) -> Outcome {
    let detail = error.to_string();
    Outcome::Retry { after: None, reason: RetryReason::Token, may_be_taken: false, detail }
}

fn batch_headers(token: Option<&Token>, request: &Request) -> HeaderMap {
    let mut headers = headers(token);
    if let Ok(id) = HeaderValue::try_from(&request.batch_id) {
        headers.insert(REQUEST_ID, id);
    }
    headers
}

fn now() -> Timestamp {
    Timestamp::of(SystemTime::now())
}

/// The times that Azure keeps `now`, without those that are near its limits.
fn kept(now: Timestamp, spare_before: i64, spare_after: i64) -> RangeInclusive<Timestamp> {
    now.plus_seconds(spare_before - KEPT_BEFORE)..=now.plus_seconds(KEPT_AFTER - spare_after)
}

pub(super) fn headers(token: Option<&Token>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, USER_AGENT_VALUE);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Shape::JsonArray.content_type()));
    if let Some(token) = token
        && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.reveal()))
    {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

impl Output for Workspace {
    fn kind(&self) -> &'static str {
        "workspace"
    }

    fn endpoints(&self) -> &[EndpointSpec] {
        &self.endpoints
    }

    fn limits(&self) -> BatchLimits {
        let most = self.limits.max_bytes;
        BatchLimits { max_bytes: self.wire.as_ref().map_or(most, |wire| wire.plain_max(most)), ..self.limits }
    }

    fn row(&self, event: &OutgoingEvent) -> Result<Row, String> {
        let source = Source { format: event.format, raw: &event.raw, client: event.client.as_deref() };
        let kept = kept(now(), SPARE_BEFORE, SPARE_AFTER);
        let Made { bytes, time, is_shapeless } = columns::row(self.table, source, &self.extras, &kept)?;
        Ok(Row { bytes, time, is_shortened: false, is_shapeless })
    }

    fn body(&self, rows: &[Row]) -> Body {
        compressed(Shape::JsonArray, self.compression, self.level, rows)
    }

    fn form(&self) -> Option<Form> {
        Some(Form::of_table(self.table, self.extras.clone(), self.compression, self.level))
    }

    fn learn(&self, body: &Body) {
        if let Some(wire) = &self.wire {
            wire.learn(body.plain_bytes, body.bytes.len());
        }
    }

    fn shorten(&self, row: &Row) -> Option<Row> {
        shorten(&row.bytes).map(|bytes| Row { bytes, is_shortened: true, ..*row })
    }

    fn keeps_time(&self, time: Timestamp, now: Timestamp) -> bool {
        kept(now, 0, 0).contains(&time)
    }

    fn admit<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, ()> {
        async move {
            // Fetched here, where a stop need not wait for it. A failure is told by the send.
            drop(self.tokens.token().await);
            if let Some(quota) = &self.quota {
                quota.admit(request.body.len()).await;
            }
        }
        .boxed()
    }

    fn send<'a>(&'a self, endpoint: usize, request: &'a Request) -> BoxFuture<'a, Outcome> {
        async move {
            if self.wire.is_some() && Wire::is_too_large(request.body.len()) {
                return Outcome::Split { status: None, detail: format!("{} bytes compressed", request.body.len()) };
            }
            let outcome = self.send_with_token(endpoint, request).await;
            if let (Outcome::Retry { after, reason: RetryReason::Throttled, .. }, Some(quota)) = (&outcome, &self.quota)
            {
                quota.throttled(after.unwrap_or(THROTTLED_PAUSE));
            }
            outcome
        }
        .boxed()
    }

    fn probe<'a>(&'a self, endpoint: usize) -> BoxFuture<'a, Result<(), String>> {
        // An empty array is a legal upload of nothing; it checks the token, the rule and the stream as well.
        let url = self.sender.url(endpoint);
        async move {
            // That there is no token says nothing about the endpoint, which is there as long as it answers anything.
            let Ok(token) = self.tokens.token().await else {
                let refusal = self.sender.client().post(url, headers(None), Bytes::from_static(b"[]"), self.timeout);
                return refusal.await.map(drop).map_err(|error| error.to_string());
            };
            let headers = headers(token.as_ref());
            well(
                self.sender.client().post(url, headers, Bytes::from_static(b"[]"), self.timeout).await,
                Words::Ingestion,
            )
        }
        .boxed()
    }

    fn advise(&self, outcome: &Outcome) -> Option<String> {
        self.advisor.advise(outcome, &self.tokens.status())
    }

    fn advise_shapeless(&self) -> Option<String> {
        self.table.map(|table| self.advisor.advise_shapeless(table))
    }

    fn token(&self) -> Option<TokenStatus> {
        Some(self.tokens.status())
    }

    fn status(&self) -> Option<serde_json::Value> {
        Some(json!({ "token": self.tokens.status(), "quota": self.quota.as_ref().map(|quota| quota.status()) }))
    }
}
