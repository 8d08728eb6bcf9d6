//! The Logs Ingestion API in front of a workspace: what it takes, what it refuses and in which words, as observed.
//!
//! Several endpoints share one [`Workspace`]. Requests are judged in the order of the service: size, token, rule, role,
//! stream, quota, and only then the body.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode, header};
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::door::{Answer, Behind, Call, json};
use super::entra::Directory;
use super::row::{self, Row};
use super::rules::{Rule, Type, random_guid};

/// The largest request, on the wire.
const WIRE_LIMIT: u64 = 1_048_576;

/// A request that inflates to more is accepted, and its rows are dropped later.
const PLAIN_LIMIT: u64 = 50 << 20;

/// More is not even inflated.
const INFLATE_LIMIT: u64 = 1 << 30;

/// A request that was answered, be it by a fault. Those whose connection was reset before are not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Which endpoint took it, from 0.
    pub endpoint: usize,
    /// The rule that it named.
    pub rule: String,
    /// The stream that it named.
    pub stream: String,
    /// Its `x-ms-client-request-id`.
    pub client_request_id: Option<String>,
    /// The client id of its token, when that was good.
    pub client_id: Option<String>,
    /// Bytes of its body as sent.
    pub wire_bytes: u64,
    /// Bytes of its body inflated; 0 when nobody looked.
    pub plain_bytes: u64,
    /// Rows in it; 0 when nobody looked.
    pub rows: usize,
    /// What was answered. A reply may be lost after that.
    pub status: u16,
}

/// Is told of each upload with the rows that were stored of it.
pub type Watcher = Box<dyn Fn(&Upload, &[Row]) + Send + Sync>;

#[derive(Default)]
struct State {
    rules: BTreeMap<String, Rule>,
    /// Whether rules and streams that nobody registered are taken, from anybody with a good token.
    open: bool,
    poison: Option<String>,
    pascal_case: bool,
    tables: BTreeMap<(String, String), Vec<Row>>,
    dropped_later: u64,
    uploads: Vec<Upload>,
}

/// Rules, and what was stored through them.
#[derive(Default)]
pub struct Workspace {
    state: Mutex<State>,
    watcher: Option<Watcher>,
}

impl Workspace {
    /// A workspace that keeps nothing and tells a watcher instead: what lasts for days must not fill the memory.
    pub(super) fn watched(watcher: Option<Watcher>) -> Self {
        Self { state: Mutex::default(), watcher }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Adds a rule, in the place of one with its id.
    pub fn add_rule(&self, rule: Rule) {
        self.state().rules.insert(rule.id.clone(), rule);
    }

    /// Changes a rule; nothing without that rule.
    pub fn change_rule(&self, id: &str, change: impl FnOnce(&mut Rule)) {
        if let Some(rule) = self.state().rules.get_mut(id) {
            change(rule);
        }
    }

    /// Takes every rule and stream, from everybody with a good token.
    pub fn take_any_rule(&self) {
        self.state().open = true;
    }

    /// Answers 400 to requests with a row that contains this text; to none any more with `None`.
    pub fn set_poison(&self, text: Option<&str>) {
        self.state().poison = text.map(str::to_owned);
    }

    /// Writes the keys of errors in PascalCase, as some of the service does.
    pub fn set_pascal_case_errors(&self, pascal_case: bool) {
        self.state().pascal_case = pascal_case;
    }

    /// What is stored for a stream of a rule.
    pub fn rows(&self, rule: &str, stream: &str) -> Vec<Row> {
        self.state().tables.get(&(rule.to_owned(), stream.to_owned())).cloned().unwrap_or_default()
    }

    /// How much is stored for a stream of a rule.
    pub fn row_count(&self, rule: &str, stream: &str) -> usize {
        self.state().tables.get(&(rule.to_owned(), stream.to_owned())).map_or(0, Vec::len)
    }

    /// Rows that were answered with 204 and then dropped, because their request was too large inflated.
    pub fn dropped_later(&self) -> u64 {
        self.state().dropped_later
    }

    /// Stores rows and remembers their request, or tells the watcher of both.
    fn log(&self, mut state: MutexGuard<'_, State>, upload: Upload, rows: Vec<Row>) {
        if let Some(watcher) = &self.watcher {
            drop(state);
            watcher(&upload, &rows);
            return;
        }
        if !rows.is_empty() {
            state.tables.entry((upload.rule.clone(), upload.stream.clone())).or_default().extend(rows);
        }
        state.uploads.push(upload);
    }

    /// Every request that was answered, in order.
    pub fn uploads(&self) -> Vec<Upload> {
        self.state().uploads.clone()
    }

    /// Requests by what was answered.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        let mut statuses = BTreeMap::new();
        for upload in &self.state().uploads {
            *statuses.entry(upload.status).or_default() += 1;
        }
        statuses
    }
}

/// Why a request is refused.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    fn payload(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidPayload", message)
    }
}

/// One data collection endpoint.
pub(super) struct Ingestion {
    pub(super) number: usize,
    pub(super) directory: Arc<Directory>,
    pub(super) workspace: Arc<Workspace>,
}

impl Behind for Ingestion {
    fn answer(&self, call: &Call) -> Answer {
        let mut upload = self.upload(call);
        let mut state = self.workspace.state();
        let (answer, rows) = match self.judge(call, &mut upload, &mut state) {
            Ok(rows) => {
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                (answer, rows)
            }
            Err(refusal) => (describe(&refusal, state.pascal_case), Vec::new()),
        };
        upload.status = answer.status().as_u16();
        self.workspace.log(state, upload, rows);
        answer
    }

    fn refuse(&self, call: &Call, status: StatusCode) -> Answer {
        let refusal = Refusal::new(status, "OnPurpose", "The simulated endpoint fails on request.");
        let state = self.workspace.state();
        let answer = describe(&refusal, state.pascal_case);
        self.workspace.log(state, Upload { status: status.as_u16(), ..self.upload(call) }, Vec::new());
        answer
    }
}

impl Ingestion {
    /// What is known of a request before it is judged.
    fn upload(&self, call: &Call) -> Upload {
        Upload {
            endpoint: self.number,
            rule: call.path.get(1).cloned().unwrap_or_default(),
            stream: call.path.get(3).cloned().unwrap_or_default(),
            client_request_id: call.header("x-ms-client-request-id").map(str::to_owned),
            client_id: None,
            wire_bytes: call.body.len() as u64,
            plain_bytes: 0,
            rows: 0,
            status: 0,
        }
    }

    /// The rows that a request stores, or why it is refused.
    fn judge(&self, call: &Call, upload: &mut Upload, state: &mut State) -> Result<Vec<Row>, Refusal> {
        let named = |at: usize, name: &str| call.path.get(at).is_some_and(|segment| segment.eq_ignore_ascii_case(name));
        if call.path.len() != 4 || !named(0, "dataCollectionRules") || !named(2, "streams") {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "NotFound", "There is nothing at this address."));
        }
        if call.method != Method::POST {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "Rows are sent with POST."));
        }
        if call.query("api-version").is_none() {
            let message = "The query parameter 'api-version' is missing.";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "MissingApiVersionParameter", message));
        }
        if upload.wire_bytes > WIRE_LIMIT {
            let message = format!(
                "Maximum allowed content length: {WIRE_LIMIT} bytes (1 MB). Provided content length: {} bytes.",
                upload.wire_bytes
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "ContentLengthLimitExceeded", message));
        }
        let client_id = self.client_id(call)?;
        upload.client_id = Some(client_id.clone());
        let columns = columns(state, upload, &client_id)?;
        let plain = plain(call)?;
        upload.plain_bytes = plain.bytes;
        if let Some(rows) = plain.dropped_rows {
            upload.rows = rows;
            state.dropped_later += rows as u64;
            return Ok(Vec::new());
        }
        let rows: Vec<Map<String, Value>> = serde_json::from_slice(&plain.content)
            .map_err(|error| Refusal::payload(format!("The request body is not a JSON array of objects: {error}")))?;
        upload.rows = rows.len();
        if let Some(poison) = &state.poison
            && memchr::memmem::find(&plain.content, poison.as_bytes()).is_some()
        {
            return Err(Refusal::payload("A record cannot be processed."));
        }
        let (now, id) = (OffsetDateTime::now_utc(), upload.client_request_id.as_deref());
        Ok(rows.into_iter().map(|sent| row::stored(sent, columns.as_deref(), now, id)).collect())
    }

    fn client_id(&self, call: &Call) -> Result<String, Refusal> {
        let refuse = |message| Refusal::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message);
        let value = call.header("authorization").ok_or_else(|| refuse("The request has no token."))?;
        let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| refuse("The request has no bearer token."))?;
        self.directory.holder(token.trim()).map_err(refuse)
    }
}

/// The columns of the stream, once rule, role, stream and quota allow the request.
fn columns(state: &mut State, upload: &Upload, client_id: &str) -> Result<Option<Vec<(String, Type)>>, Refusal> {
    let Some(rule) = state.rules.get_mut(&upload.rule) else {
        if state.open {
            return Ok(None);
        }
        let message = format!("Data collection rule with immutable Id '{}' not found.", upload.rule);
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NotFound", message));
    };
    if !rule.admits(client_id) {
        let message = format!(
            "The authentication token provided does not have access to ingest data for the data collection rule with \
             immutable Id '{}' PipelineAccessResult: AccessGranted: False, IsRbacPresent: False, \
             IsDcrDceBindingValid: , Message: Required authorization action was not found for objectId {client_id}",
            upload.rule
        );
        return Err(Refusal::new(StatusCode::FORBIDDEN, "OperationFailed", message));
    }
    let Some(columns) = rule.columns(&upload.stream) else {
        let message = format!("Stream '{}' was not found in the data collection rule.", upload.stream);
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NotFound", message));
    };
    let columns = columns.map(<[_]>::to_vec);
    rule.charge(upload.wire_bytes).map_err(|wait| Refusal {
        // Rounded up: who comes back in time is let in.
        retry_after: Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(60)),
        ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "The rule's ingestion limit is reached.")
    })?;
    Ok(columns)
}

/// A body without compression.
struct Plain {
    content: Vec<u8>,
    bytes: u64,
    /// How many rows there are, when it is too large to be stored; `content` is empty then.
    dropped_rows: Option<usize>,
}

fn plain(call: &Call) -> Result<Plain, Refusal> {
    let gzip = match call.header("content-encoding") {
        None => false,
        Some("gzip") => true,
        Some(other) => {
            let message = format!("The content encoding '{other}' is not supported.");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
        }
    };
    if !gzip {
        return Ok(Plain { content: call.body.to_vec(), bytes: call.body.len() as u64, dropped_rows: None });
    }
    let mut content = Vec::new();
    let inflated = MultiGzDecoder::new(&*call.body).take(PLAIN_LIMIT + 1).read_to_end(&mut content);
    inflated.map_err(|error| Refusal::payload(format!("The request body is not valid gzip: {error}")))?;
    let bytes = content.len() as u64;
    if bytes <= PLAIN_LIMIT {
        return Ok(Plain { content, bytes, dropped_rows: None });
    }
    drop(content);
    let whole = std::io::BufReader::new(MultiGzDecoder::new(&*call.body).take(INFLATE_LIMIT));
    let rows: Vec<IgnoredAny> = serde_json::from_reader(whole).map_err(|error| Refusal::payload(error.to_string()))?;
    Ok(Plain { content: Vec::new(), bytes, dropped_rows: Some(rows.len()) })
}

fn describe(refusal: &Refusal, pascal_case: bool) -> Answer {
    let Refusal { status, code, message, retry_after } = refusal;
    let body = if pascal_case {
        json!({ "Error": { "Code": code, "Message": message } })
    } else {
        json!({ "error": { "code": code, "message": message } })
    };
    let mut answer = json(*status, &body);
    let headers = answer.headers_mut();
    headers.insert("x-ms-error-code", header::HeaderValue::from_static(code));
    if let Ok(id) = header::HeaderValue::try_from(random_guid()) {
        headers.insert("x-ms-request-id", id);
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, (*seconds).into());
    }
    if *status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    answer
}
