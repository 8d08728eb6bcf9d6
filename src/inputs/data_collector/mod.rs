//! The HTTP Data Collector API, as agents and scripts speak it that cannot be changed: `POST /api/logs?api-version=2016-04-01`,
//! signed with a key of a workspace, answered with 200 and nothing.
//!
//! - A success means what it never meant in Azure: the records are durable.
//! - Who sends is told by the `Authorization` header, not by the host name: the workspace whose key made the signature.
//! - Records become the rows that the service made of them ([`rewrite`]), so that the table and its queries go on working.
//! - Records have no identity: see [`Repeats`] for when a post is the repetition of another. What is not certainly one is new.
//!
//! Retired in Azure since September 2026. `docs/protocols/data-collector.md` has what was documented and what is done here.

mod answer;
mod column;
pub(in crate::inputs) mod config;
pub mod rewrite;
pub mod signature;
mod source;
#[cfg(test)]
pub(super) mod specimen;
mod workspaces;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::{BoxFuture, ready};
use http::{HeaderMap, Response, header};

use super::grown::memory_of;
use super::http::auth::Admitted;
use super::http::body::Share;
use super::http::readable::Readable;
use super::intake::Intake;
use super::protocol::{Ask, Content, Destination, Head, OpenError, Place, Protocol, Reading, Settings, Then};
use super::reason::{Failure, Reason};
use crate::clock;
use crate::event::{Syntax, Timestamp, UploadMark};
use crate::ingest::accept::Receipt;
use crate::metrics;
use crate::net::target::{decode, parameter};

pub use column::Columns;
pub use config::{Config, LogType, Repeats, Workspace};

use config::is_log_type;
use rewrite::{How, RewriteError, Rows};
use workspaces::{Type, Workspaces};

/// The only version that there ever was.
const API_VERSION: &str = "2016-04-01";
/// The most bytes of a post. Microsoft documents 30 MB.
const BODY_MAX: u64 = 30 << 20;
/// The longest Azure resource id.
const RESOURCE_ID_MAX: usize = 1024;

const LOG_TYPE: &str = "log-type";
const DATE: &str = "x-ms-date";
const TIME_FIELD: &str = "time-generated-field";
const RESOURCE_ID: &str = "x-ms-azureresourceid";

impl Settings for Config {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn brings_credentials(&self) -> bool {
        true
    }

    fn bound_clients(&self) -> Vec<String> {
        let bound = |of: &&Workspace| !(of.hosts.is_empty() && of.resource_ids.is_empty());
        self.workspaces.iter().filter(bound).map(Workspace::client_name).collect()
    }

    fn groups(&self) -> Vec<&str> {
        self.workspaces.iter().filter_map(|workspace| workspace.group.as_deref()).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.find_problems()
    }

    fn open(&self, place: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError> {
        let failures = place.before::<DataCollector>().map(|before| before.0.failures());
        Ok(Arc::new(DataCollector(Arc::new(Workspaces::new(self, failures.unwrap_or_default())))))
    }
}

/// The API on one listener.
struct DataCollector(Arc<Workspaces>);

impl Protocol for DataCollector {
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>> {
        let post = || Post { workspaces: Arc::clone(&self.0), signer: None, mark: None };
        is_ours(&head.segments()).then(|| Box::new(post()) as Box<dyn Ask>)
    }
}

fn is_ours(path: &[&str]) -> bool {
    let is = |segment: &str, name: &str| decode(segment).is_some_and(|segment| segment.eq_ignore_ascii_case(name));
    matches!(path, [api, logs] if is(api, "api") && is(logs, "logs"))
}

/// One post.
struct Post {
    workspaces: Arc<Workspaces>,
    /// Whose key signed it.
    signer: Option<usize>,
    mark: Option<[u8; 32]>,
}

impl Ask for Post {
    fn admit<'a>(&'a mut self, head: &'a Head<'_>) -> BoxFuture<'a, Result<Admitted, Failure>> {
        let admitted = head.gate.admit_address(head.peer).map_err(Failure::from).and_then(|()| {
            let (signer, client) = self.workspaces.signer(head.headers(), head.peer)?;
            self.signer = Some(signer);
            Ok(Admitted { client, grant: None })
        });
        Box::pin(ready(admitted))
    }

    fn destination(&self, head: &Head<'_>) -> Result<Destination, Failure> {
        api_version(head.query())?;
        content_type(head.headers())?;
        let stream = Arc::clone(&self.log_type(head.headers())?.stream);
        Ok(Destination { rule: String::new(), stream })
    }

    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move { self.rows(intake).await.map(Reading::Events) })
    }

    fn mark(&self) -> Option<[u8; 32]> {
        self.mark
    }

    fn taken(&self, _: &Receipt) -> Response<Body> {
        answer::taken()
    }

    fn refused(&self, failure: &Failure) -> Response<Body> {
        answer::refused(failure)
    }

    fn code(&self, failure: &Failure) -> &'static str {
        answer::code(failure)
    }
}

impl Post {
    /// Reads the body, makes rows of it, and finds out what it repeats if it comes again.
    async fn rows(&mut self, intake: &mut Intake<'_>) -> Result<Content, Failure> {
        intake.at_most(BODY_MAX);
        let head = *intake.head();
        let log_type = self.log_type(head.headers())?;
        let told = Told::of(head.headers())?;
        let body = intake.decompressed().await?;
        if body.len() as u64 > BODY_MAX {
            return Err(Failure::new(Reason::BODY_TOO_LARGE, format!("the body is larger than {BODY_MAX} bytes")));
        }
        let Readable { body, .. } = intake.readable(body, Syntax::JsonArray).await?;
        let (limit, columns, repeats) = (intake.body_max(), log_type.columns.clone(), log_type.repeats);
        let Told { time_field, resource_id, date } = told;
        let parts = [Some(&*log_type.name), time_field.as_deref(), resource_id.as_deref()];
        let mark = with_parts(intake.upload_mark(), &parts);
        let work = move |share: &mut Share| {
            let (columns, arrival) = (columns.as_deref(), Timestamp::from_ticks(now_ticks()));
            let (time_field, resource_id) = (time_field.as_deref(), resource_id.as_deref());
            let rows = rewrite::rewrite(&body, &How { columns, time_field, resource_id, arrival }, limit, share)?;
            let mark = mark.and(&body);
            drop(body);
            share.shrink_to(memory_of(&rows.text, rows.known.as_deref()));
            Ok::<_, RewriteError>((rows, mark))
        };
        let (Rows { text, known, timed }, mark) = intake.work(work).await??;
        let is_certain = timed || repeats == Repeats::Body;
        let mark = match repeats {
            Repeats::Never => mark.and(&fastrand::u128(..).to_le_bytes()),
            Repeats::Request if !timed => {
                mark.and(date.as_bytes()).and(head.peer.address.to_canonical().to_string().as_bytes())
            }
            Repeats::Request | Repeats::Body => mark,
        };
        self.mark = Some(mark.finish());
        let (stream, body) = (Arc::clone(&log_type.stream), Bytes::from(text));
        let then = (!is_certain).then(|| counted(head.listener));
        Ok(Content { stream, syntax: Syntax::JsonArray, body, damaged: Vec::new(), known, then })
    }

    /// What is known of the record type that the headers name.
    fn log_type(&self, headers: &HeaderMap) -> Result<Arc<Type>, Failure> {
        let wrong = |code, text: &str| Failure::named(Reason::PARAMETER, code, text);
        let signer = self.signer.ok_or_else(|| Failure::new(Reason::CREDENTIALS, "nobody signed"))?;
        let name = text(headers, LOG_TYPE).ok_or_else(|| wrong("MissingLogType", "the header Log-Type is missing"))?;
        if !is_log_type(name) {
            let text = "Log-Type is not 1 to 100 letters, digits or underscores";
            return Err(wrong("InvalidLogType", text));
        }
        self.workspaces.log_type(signer, name)
    }
}

/// What the headers of a post say of its records.
struct Told {
    time_field: Option<String>,
    resource_id: Option<String>,
    date: String,
}

impl Told {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let own = |name| text(headers, name).map(str::to_owned);
        let resource_id = own(RESOURCE_ID);
        let is_id = |id: &String| id.len() <= RESOURCE_ID_MAX && id.starts_with('/');
        if !resource_id.as_ref().is_none_or(is_id) {
            let text = "x-ms-AzureResourceId is no resource id, such as /subscriptions/…/resourceGroups/…/providers/…";
            return Err(Failure::new(Reason::PARAMETER, text));
        }
        Ok(Self { time_field: own(TIME_FIELD), resource_id, date: own(DATE).unwrap_or_default() })
    }
}

/// Adds parts to what an upload is known by. One that is missing is one, and empty.
fn with_parts(mark: UploadMark, parts: &[Option<&str>]) -> UploadMark {
    parts.iter().fold(mark, |mark, part| mark.and(part.unwrap_or_default().as_bytes()))
}

/// Counts what was kept of an upload whose repetition under another signature could not be told from new records.
fn counted(listener: &Arc<str>) -> Then {
    let listener = Arc::clone(listener);
    Box::new(move |receipt| {
        metrics::EVENTS_UNRECOGNISABLE.add(&[&listener], receipt.spooled);
        Box::pin(ready(Ok(())))
    })
}

/// The value of a header; `None` when it is missing, empty, or no text.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty())
}

fn now_ticks() -> i64 {
    i64::try_from(clock::wall_ms().saturating_mul(10_000)).unwrap_or(i64::MAX)
}

fn api_version(query: &str) -> Result<(), Failure> {
    let wrong = |code, text: &str| Err(Failure::named(Reason::PARAMETER, code, text));
    match parameter(query, "api-version") {
        None => wrong("MissingApiVersion", "the query needs api-version=2016-04-01"),
        Some(version) if version.trim() == API_VERSION => Ok(()),
        Some(_) => wrong("InvalidApiVersion", "the api-version is not 2016-04-01"),
    }
}

/// Parameters behind the type do no harm.
fn content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let wrong = |code, text: &str| Err(Failure::named(Reason::PARAMETER, code, text));
    match text(headers, header::CONTENT_TYPE.as_str()) {
        None => wrong("MissingContentType", "the header Content-Type is missing; send application/json"),
        Some(sent) if sent.split(';').next().is_some_and(|of| of.trim().eq_ignore_ascii_case("application/json")) => {
            Ok(())
        }
        Some(_) => wrong("UnsupportedContentType", "the Content-Type is not application/json"),
    }
}

impl From<RewriteError> for Failure {
    fn from(error: RewriteError) -> Self {
        let reason = match error {
            RewriteError::Malformed(_) | RewriteError::Reserved { .. } => Reason::UNREADABLE,
            RewriteError::TooMany => Reason::BODY_TOO_LARGE,
            RewriteError::NoRoom(no_room) => return no_room.into(),
        };
        Self::new(reason, error.to_string())
    }
}

#[cfg(test)]
mod tests;
