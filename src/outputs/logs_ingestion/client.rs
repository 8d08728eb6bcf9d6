//! Sends batches to data collection endpoints.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::Config;
use crate::net::http_client::HttpClient;
use crate::net::tls_client::TrustError;
use crate::outputs::body::{Compression, Shape};
use crate::outputs::config::{specs, trust, urls};
use crate::outputs::output::{BatchLimits, EndpointSpec, Outcome, OutgoingEvent, Output, Request, Row};
use crate::outputs::row::json_row;
use crate::outputs::sender::{CONNECT_TIMEOUT, Sender, USER_AGENT_VALUE, well};

const API_VERSION: &str = "2023-01-01";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// A workspace behind its data collection endpoints.
pub struct LogsIngestion {
    sender: Sender,
    endpoints: Vec<EndpointSpec>,
    limits: BatchLimits,
    compression: Compression,
    level: u8,
    headers: HeaderMap,
    timeout: Duration,
}

impl LogsIngestion {
    /// Builds it from a configuration without problems. Reads certificate files.
    pub(in crate::outputs) fn new(config: &Config) -> Result<Self, TrustError> {
        let client = HttpClient::new(&trust(&config.endpoints, config.ca_file.as_ref()), CONNECT_TIMEOUT)?;
        let path = format!("/dataCollectionRules/{}/streams/{}?api-version={API_VERSION}", config.dcr, config.stream);
        let timeout = config.timeout.get();
        Ok(Self {
            sender: Sender::new(client, urls(&config.endpoints, &path), config.compression, timeout),
            endpoints: specs(&config.endpoints),
            limits: Shape::JsonArray.limits(config.max_batch.as_usize(), config.max_batch_events),
            compression: config.compression,
            level: config.compression_level,
            headers: headers(config),
            timeout,
        })
    }
}

fn headers(config: &Config) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, USER_AGENT_VALUE);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(Shape::JsonArray.content_type()));
    if let Some(token) = &config.token {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.reveal())).expect("problems() checked it");
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

impl Output for LogsIngestion {
    fn kind(&self) -> &'static str {
        "logs_ingestion"
    }

    fn endpoints(&self) -> &[EndpointSpec] {
        &self.endpoints
    }

    fn limits(&self) -> BatchLimits {
        self.limits
    }

    fn row(&self, event: &OutgoingEvent) -> Result<Row, String> {
        json_row(event)
    }

    fn encode(&self, batch_id: String, rows: &[Row]) -> Request {
        let plain = Shape::JsonArray.join(rows);
        let plain_bytes = plain.len();
        Request { batch_id, body: self.compression.compress(self.level, plain), events: rows.len(), plain_bytes }
    }

    fn send<'a>(&'a self, endpoint: usize, request: &'a Request) -> BoxFuture<'a, Outcome> {
        let mut headers = self.headers.clone();
        if let Ok(id) = HeaderValue::try_from(&request.batch_id) {
            headers.insert(REQUEST_ID, id);
        }
        self.sender.send(endpoint, headers, request).boxed()
    }

    fn probe<'a>(&'a self, endpoint: usize) -> BoxFuture<'a, Result<(), String>> {
        // An empty array is a legal upload of nothing; it checks the token, the rule and the stream as well.
        let (url, headers) = (self.sender.url(endpoint), self.headers.clone());
        async move { well(self.sender.client().post(url, headers, Bytes::from_static(b"[]"), self.timeout).await) }
            .boxed()
    }
}
