//! An example of a protocol, for tests only: `POST /lines` with one event a line, the name of the computer and a text.
//!
//! It shows what adding one takes: this folder, and its line in `registry.rs`.

pub(super) mod specimen;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::http::body::{NoMemory, Share};
use super::http::reply;
use super::intake::Intake;
use super::protocol::{Ask, Content, Head, OpenError, Place, Protocol, Reading, Settings};
use super::reason::Failure;
use crate::event::Syntax;
use crate::ingest::accept::Receipt;

/// The example on a listener.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether this listener takes `POST /lines`.
    pub enabled: bool,
}

impl Settings for Config {
    fn is_enabled(&self) -> bool {
        self.enabled
    }

    fn open(&self, _: &Place<'_>) -> Result<Arc<dyn Protocol>, OpenError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Protocol for Config {
    fn ask(&self, head: &Head<'_>) -> Option<Box<dyn Ask>> {
        (head.segments() == ["lines"]).then(|| Box::new(Lines) as Box<dyn Ask>)
    }
}

struct Lines;

impl Ask for Lines {
    fn read<'a>(&'a mut self, intake: &'a mut Intake<'_>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let lines = intake.decompressed().await?;
            let body = intake.work(move |share| events(&lines, share)).await??;
            let (stream, syntax) = ("".into(), Syntax::Lines);
            Ok(Reading::Events(Content { stream, syntax, body, damaged: Vec::new(), known: None, then: None }))
        })
    }

    fn taken(&self, receipt: &Receipt) -> Response<Body> {
        Response::new(Body::from(format!("OK {}\n", receipt.received)))
    }

    fn refused(&self, failure: &Failure) -> Response<Body> {
        let mut response = Response::new(Body::from(format!("NO {}\n", failure.message)));
        *response.status_mut() = failure.status();
        reply::put_on(failure, &mut response);
        response
    }
}

/// Each line as an event; what is none is left for ingest to set aside.
fn events(lines: &[u8], share: &mut Share) -> Result<Bytes, NoMemory> {
    share.grow_to(lines.len() as u64 * 4)?;
    let event = |line: &str| match line.split_once(' ') {
        Some((computer, text)) => json!({ "Computer": computer, "Message": text }).to_string(),
        None => line.to_owned(),
    };
    let events: Vec<String> = String::from_utf8_lossy(lines).lines().map(event).collect();
    Ok(events.join("\n").into())
}
