//! Sends batches to collectors.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::{Config, Probe};
use crate::net::http_client::HttpClient;
use crate::net::tls_client::TrustError;
use crate::outputs::body::{Compression, Shape, compressed};
use crate::outputs::config::{origin_urls, specs, trust, urls};
use crate::outputs::form::Form;
use crate::outputs::outcome::Words;
use crate::outputs::output::{BatchLimits, Body, EndpointSpec, Outcome, OutgoingEvent, Output, Request, Row};
use crate::outputs::row::json_row;
use crate::outputs::sender::{CONNECT_TIMEOUT, Sender, USER_AGENT_VALUE, well};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const EVENTS: HeaderName = HeaderName::from_static("x-gatepost-events");

/// Any collector that takes events by POST.
pub struct Http {
    sender: Sender,
    endpoints: Vec<EndpointSpec>,
    limits: BatchLimits,
    shape: Shape,
    compression: Compression,
    level: u8,
    headers: HeaderMap,
    /// What a probe asks of each endpoint, for the probe that asks.
    probe_urls: Option<Vec<Uri>>,
    timeout: Duration,
}

impl Http {
    /// Builds it from a configuration without problems. Reads certificate files.
    pub(in crate::outputs) fn new(config: &Config) -> Result<Self, TrustError> {
        let trust = trust(&config.endpoints, config.ca_file.as_ref());
        let client = HttpClient::through(config.proxy.as_ref(), &trust, CONNECT_TIMEOUT)?;
        let timeout = config.timeout.get();
        Ok(Self {
            sender: Sender::new(client, urls(&config.endpoints, ""), config.compression, timeout, Words::Any),
            endpoints: specs(&config.endpoints),
            limits: config.format.limits(config.max_batch.as_usize(), config.max_batch_events),
            shape: config.format,
            compression: config.compression,
            level: config.compression_level,
            headers: headers(config),
            probe_urls: (config.probe == Probe::Get).then(|| origin_urls(&config.endpoints, &config.probe_path)),
            timeout,
        })
    }
}

fn headers(config: &Config) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, USER_AGENT_VALUE);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(config.format.content_type()));
    for (name, value) in &config.headers {
        let name: HeaderName = name.parse().expect("problems() checked the name");
        let mut value = HeaderValue::from_str(value.reveal()).expect("problems() checked the value");
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    headers
}

impl Output for Http {
    fn kind(&self) -> &'static str {
        "http"
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

    fn body(&self, rows: &[Row]) -> Body {
        compressed(self.shape, self.compression, self.level, rows)
    }

    fn form(&self) -> Option<Form> {
        Some(Form::as_uploaded(self.shape, self.compression, self.level))
    }

    fn send<'a>(&'a self, endpoint: usize, request: &'a Request) -> BoxFuture<'a, Outcome> {
        let mut headers = self.headers.clone();
        headers.insert(EVENTS, HeaderValue::from(request.events));
        if let Ok(id) = HeaderValue::try_from(&request.batch_id) {
            headers.insert(IDEMPOTENCY_KEY, id);
        }
        self.sender.send(endpoint, headers, request).boxed()
    }

    fn probe<'a>(&'a self, endpoint: usize) -> BoxFuture<'a, Result<(), String>> {
        async move {
            match &self.probe_urls {
                Some(urls) => {
                    let mut headers = self.headers.clone();
                    headers.remove(CONTENT_TYPE);
                    well(self.sender.client().get(&urls[endpoint], headers, self.timeout).await, Words::Any)
                }
                None => {
                    let reached = self.sender.client().reach(self.sender.url(endpoint), CONNECT_TIMEOUT).await;
                    reached.map_err(|error| error.to_string())
                }
            }
        }
        .boxed()
    }
}
