//! Uploads batches and does what a good agent does: keeps its copy until it is acknowledged, tries again after
//! trouble that passes, splits what is too large, and stops at what will never be taken.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::net::upload_client::{Answer, Client, SendError};
use crate::net::url::askable;
use crate::values::Secret;

/// Most of a server's message that is shown.
const MESSAGE_LIMIT: usize = 500;

/// Where uploads go, and how bodies are written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    rows: bool,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no target; write a URL such as https://127.0.0.1:8443")]
pub struct TargetError(String);

impl Target {
    /// Reads a URL. Without a path it means the plain door, `/v1/events`. A path below `/dataCollectionRules/` is a
    /// Logs Ingestion API, which takes JSON only; its `api-version` is added when missing.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError(text.to_owned());
        let uri = askable(text).ok_or_else(wrong)?;
        let rows = uri.path().to_ascii_lowercase().contains("/datacollectionrules/");
        let url = match uri.path() {
            "/" => format!("{}/v1/events", text.trim_end_matches('/')),
            _ if rows && uri.query().is_none() => format!("{text}?api-version=2023-01-01"),
            _ => text.to_owned(),
        };
        Ok(Self { url, rows })
    }

    /// The URL that is posted to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether only JSON can go there.
    pub fn takes_only_json(&self) -> bool {
        self.rows
    }

    fn body(&self, records: &[Bytes]) -> Vec<u8> {
        let (open, separator, close): (&[u8], u8, &[u8]) =
            if self.rows { (b"[", b',', b"]") } else { (b"", b'\n', b"\n") };
        let mut body = Vec::with_capacity(records.iter().map(|r| r.len() + 1).sum::<usize>() + 2);
        body.extend_from_slice(open);
        for (i, record) in records.iter().enumerate() {
            if i > 0 {
                body.push(separator);
            }
            body.extend_from_slice(record);
        }
        body.extend_from_slice(close);
        body
    }
}

/// How patient an uploader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Upper bound of the first wait; it doubles with every try. The wait is a random part of the bound.
    pub first_wait: Duration,
    /// Upper bound of any wait that the server did not ask for.
    pub longest_wait: Duration,
    /// A request is given up when it found no taker for so long.
    pub give_up_after: Duration,
    /// How long one try may take.
    pub timeout: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            give_up_after: Duration::from_secs(120),
            timeout: Duration::from_secs(60),
        }
    }
}

/// What a gateway did with events, as its receipts say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipts {
    /// Records in acknowledged uploads.
    pub received: u64,
    /// Dropped by a rule.
    pub filtered: u64,
    /// Dropped because they were seen before.
    pub duplicate: u64,
    /// Kept apart because they could not be understood.
    pub set_aside: u64,
    /// Taken in.
    pub spooled: u64,
}

/// What became of uploads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// Requests sent, repeats included.
    pub requests: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Answers by status, and the two ways to get none: `no connection`, `no answer`.
    pub answers: BTreeMap<String, u64>,
    /// What the receipts add up to; `None` when the door gives none.
    pub receipts: Option<Receipts>,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.requests += other.requests;
        self.retries += other.retries;
        for (answer, times) in &other.answers {
            *self.answers.entry(answer.clone()).or_default() += times;
        }
        if let Some(receipts) = &other.receipts {
            self.add_receipt(receipts);
        }
    }

    /// Records that the gateway took and did not understand.
    pub fn set_aside(&self) -> u64 {
        self.receipts.map_or(0, |receipts| receipts.set_aside)
    }

    fn add_receipt(&mut self, more: &Receipts) {
        let sum = self.receipts.get_or_insert_default();
        sum.received += more.received;
        sum.filtered += more.filtered;
        sum.duplicate += more.duplicate;
        sum.set_aside += more.set_aside;
        sum.spooled += more.spooled;
    }

    fn count(&mut self, answer: &Result<Answer, SendError>) {
        let name = match answer {
            Ok(answer) => answer.status.to_string(),
            Err(SendError::Connect(_)) => "no connection".to_owned(),
            Err(SendError::NoAnswer(_)) => "no answer".to_owned(),
            Err(SendError::Lasting(_)) => "no connection".to_owned(),
        };
        self.requests += 1;
        *self.answers.entry(name).or_default() += 1;
    }
}

/// Why an upload was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// The server will never take it.
    #[error("the server refused it with {status}: {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// One event alone is too large for the server.
    #[error("an event of {bytes} bytes is too large for the server")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The server cannot be talked to, and will not be at another try.
    #[error("{0}")]
    Lasting(String),
    /// Patience came to its end.
    #[error("given up after {} tries within {} s; the last: {last}", tries, waited.as_secs())]
    OutOfPatience {
        /// How often it was tried.
        tries: u32,
        /// For how long.
        waited: Duration,
        /// What went wrong at the last try.
        last: String,
    },
}

/// Called before each wait, with what went wrong.
pub type OnTrouble = Arc<dyn Fn(&str) + Send + Sync>;

/// Uploads batches to one target.
pub struct Uploader {
    client: Client,
    target: Target,
    authorization: Option<Secret>,
    patience: Patience,
    rng: Mutex<fastrand::Rng>,
    on_trouble: OnTrouble,
}

enum Step {
    Done(Option<Receipts>),
    Split,
    Wait(Option<Duration>, String),
    Stop(UploadError),
}

impl Uploader {
    /// An uploader. `rng` decides the random part of waits and the ids of requests.
    pub fn new(
        client: Client,
        target: Target,
        token: Option<&Secret>,
        patience: Patience,
        rng: fastrand::Rng,
        on_trouble: OnTrouble,
    ) -> Self {
        let authorization = token.map(|token| Secret::new(format!("Bearer {}", token.reveal())));
        Self { client, target, authorization, patience, rng: Mutex::new(rng), on_trouble }
    }

    /// Uploads records, each one JSON object or one `<Event>` element, in as many requests as it takes. What was
    /// acknowledged before an error stays in the tally.
    pub async fn upload(&self, records: &[Bytes], tally: &mut Tally) -> Result<(), UploadError> {
        let mut parts = vec![records];
        while let Some(part) = parts.pop() {
            if part.is_empty() || self.post(part, tally).await? {
                continue;
            }
            match part {
                [only] => return Err(UploadError::TooLarge { bytes: only.len() }),
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    /// Posts one request until it is acknowledged; `false` when it is too large.
    async fn post(&self, records: &[Bytes], tally: &mut Tally) -> Result<bool, UploadError> {
        let body = gzip(&self.target.body(records));
        let id = self.request_id();
        let content_type = if self.target.rows { "application/json" } else { "application/x-ndjson" };
        let mut headers =
            vec![("content-type", content_type), ("content-encoding", "gzip"), ("x-ms-client-request-id", &id)];
        headers.extend(self.authorization.as_ref().map(|token| ("authorization", token.reveal())));
        let begin = Instant::now();
        for tries in 1.. {
            let answer = self.client.post(&self.target.url, &headers, body.clone(), self.patience.timeout).await;
            tally.count(&answer);
            tally.retries += u64::from(tries > 1);
            match judge(answer) {
                Step::Done(receipt) => {
                    tally.acknowledged += records.len() as u64;
                    if let Some(receipt) = receipt {
                        tally.add_receipt(&receipt);
                    }
                    return Ok(true);
                }
                Step::Split => return Ok(false),
                Step::Stop(error) => return Err(error),
                Step::Wait(asked, last) => {
                    let wait = self.wait(tries, asked);
                    let waited = begin.elapsed();
                    if waited + wait > self.patience.give_up_after {
                        return Err(UploadError::OutOfPatience { tries, waited, last });
                    }
                    (self.on_trouble)(&last);
                    tokio::time::sleep(wait).await;
                }
            }
        }
        Ok(false)
    }

    /// Full jitter: a random part of a bound that doubles; after what the server asked for, if it did.
    fn wait(&self, tries: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.patience.first_wait.saturating_mul(1 << (tries - 1).min(20));
        let bound = match asked {
            Some(_) => self.patience.first_wait,
            None => doubled.min(self.patience.longest_wait),
        };
        let mut rng = self.rng.lock();
        asked.unwrap_or_default() + bound.mul_f64(rng.f64())
    }

    /// A random UUID, the same for every try of one body, so that a server can tell repeats.
    fn request_id(&self) -> String {
        let n = self.rng.lock().u128(..);
        let hex = format!("{n:032x}");
        format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }
}

fn judge(answer: Result<Answer, SendError>) -> Step {
    let answer = match answer {
        Ok(answer) => answer,
        Err(SendError::Lasting(why)) => return Step::Stop(UploadError::Lasting(why)),
        Err(error) => return Step::Wait(None, error.to_string()),
    };
    match answer.status {
        200..=299 => Step::Done(serde_json::from_slice(&answer.body).ok()),
        413 => Step::Split,
        408 | 429 | 500..=599 => {
            Step::Wait(answer.retry_after, format!("the server answered {}: {}", answer.status, message(&answer.body)))
        }
        status => Step::Stop(UploadError::Refused { status, message: message(&answer.body) }),
    }
}

/// The message of an error in Azure's shape, else the text as it is.
fn message(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = match value["error"]["message"].as_str() {
        Some(text) => text.to_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    };
    match text.char_indices().nth(MESSAGE_LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn gzip(plain: &[u8]) -> Bytes {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut packed = vec![0; compressor.gzip_compress_bound(plain.len())];
    let written = compressor.gzip_compress(plain, &mut packed).expect("the bound is large enough for any input");
    packed.truncate(written);
    packed.into()
}
