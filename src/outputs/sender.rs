//! Posts requests to the endpoints of an output, and learns which of them cannot decompress.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};

use super::body::Compression;
use super::outcome::{self, Words};
use super::output::{Outcome, Request, RetryReason};
use crate::net::http_client::{Answer, HttpClient, SendError};

/// Longest wait for a connection; the whole request's timeout ends it earlier.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// What we call ourselves.
pub(super) const USER_AGENT_VALUE: HeaderValue =
    HeaderValue::from_static(concat!("gatepost/", env!("CARGO_PKG_VERSION")));

/// The one who posts.
pub(super) struct Sender {
    client: HttpClient,
    targets: Vec<Target>,
    compression: Compression,
    timeout: Duration,
    words: Words,
}

struct Target {
    url: Uri,
    /// It once refused a compressed body and took the plain one: compressed ones are not tried again.
    plain_only: AtomicBool,
}

impl Sender {
    /// `urls` in the order of the endpoints; `compression` is what the requests come in.
    pub(super) fn new(
        client: HttpClient,
        urls: Vec<Uri>,
        compression: Compression,
        timeout: Duration,
        words: Words,
    ) -> Self {
        let targets = urls.into_iter().map(|url| Target { url, plain_only: AtomicBool::new(false) }).collect();
        Self { client, targets, compression, timeout, words }
    }

    /// The client, for probes.
    pub(super) fn client(&self) -> &HttpClient {
        &self.client
    }

    /// The URL of an endpoint.
    pub(super) fn url(&self, endpoint: usize) -> &Uri {
        &self.targets[endpoint].url
    }

    /// Posts a request with `headers`; `Content-Encoding` is added here. A plain body is tried once when the endpoint
    /// does not take the compressed one, so this takes twice the timeout at most.
    pub(super) async fn send(&self, endpoint: usize, headers: HeaderMap, request: &Request) -> Outcome {
        let target = &self.targets[endpoint];
        if self.compression != Compression::None && !target.plain_only.load(Ordering::Relaxed) {
            let answer = self.post(target, headers.clone(), self.compression, request.body.clone()).await;
            if !outcome::dislikes_compression(&answer) {
                return outcome::of(answer, self.words);
            }
        }
        let plain = match self.plain(request).await {
            Ok(plain) => plain,
            Err(detail) => {
                return Outcome::Retry { after: None, reason: RetryReason::Failed, may_be_taken: false, detail };
            }
        };
        let outcome = outcome::of(self.post(target, headers, Compression::None, plain).await, self.words);
        if outcome == Outcome::Accepted {
            target.plain_only.store(true, Ordering::Relaxed);
        }
        outcome
    }

    async fn post(
        &self,
        target: &Target,
        mut headers: HeaderMap,
        compression: Compression,
        body: Bytes,
    ) -> Result<Answer, SendError> {
        if let Some(encoding) = compression.content_encoding() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        self.client.post(&target.url, headers, body, self.timeout).await
    }

    async fn plain(&self, request: &Request) -> Result<Bytes, String> {
        let (compression, body, plain_bytes) = (self.compression, request.body.clone(), request.plain_bytes);
        tokio::task::spawn_blocking(move || compression.expand(&body, plain_bytes))
            .await
            .map_err(|error| format!("cannot decompress our own request: {error}"))
    }
}

/// `Ok` for an answer that means success, else what came instead.
pub(super) fn well(result: Result<Answer, SendError>, words: Words) -> Result<(), String> {
    match result {
        Ok(answer) if words.is_success(answer.status) => Ok(()),
        Ok(answer) => Err(outcome::detail(&answer, 400)),
        Err(error) => Err(error.to_string()),
    }
}
