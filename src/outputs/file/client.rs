//! The file output as the forwarder sees it: one endpoint, one batch at a time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Config;
use super::writer::{WriteError, Writer};
use crate::outputs::body::{Compression, Shape, compressed};
use crate::outputs::form::Form;
use crate::outputs::output::{
    BatchLimits, Body, EndpointSpec, Outcome, OutgoingEvent, Output, Request, RetryReason, Row,
};
use crate::outputs::row::json_row;

/// Files of NDJSON in a directory.
pub struct File {
    endpoints: [EndpointSpec; 1],
    limits: BatchLimits,
    timeout: Duration,
    // The lock is taken before a blocking thread is, so that a slow disk holds one thread and not one a retry.
    writer: Arc<Mutex<Writer>>,
}

impl File {
    /// Builds it from a configuration without problems. Touches no file: the directory is opened with the first batch,
    /// so that after a reload the new output can wait until the old one lets go of it.
    pub(in crate::outputs) fn new(config: &Config, state_dir: &Path) -> Self {
        let writer = Writer::new(config.directory(state_dir), config.rotate_at.as_u64(), config.keep_files);
        Self::with_writer(config, writer)
    }

    pub(super) fn with_writer(config: &Config, writer: Writer) -> Self {
        let endpoint = EndpointSpec {
            name: "directory".to_owned(),
            weight: 1.0,
            address: String::new(),
            priority: 0,
            events_per_second: None,
            max_in_flight: 1,
        };
        Self {
            endpoints: [endpoint],
            limits: Shape::Ndjson.limits(config.max_batch.as_usize(), config.max_batch_events),
            timeout: config.timeout.get(),
            writer: Arc::new(Mutex::new(writer)),
        }
    }

    /// Runs `work` on the writer, off the runtime. `None` when it takes too long; it then goes on in the background.
    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Writer) -> T + Send + 'static) -> Option<T> {
        let run = async {
            let mut writer = Arc::clone(&self.writer).lock_owned().await;
            tokio::task::spawn_blocking(move || work(&mut writer)).await
        };
        // A panic in there is our own bug; the next try opens the directory anew.
        timeout(self.timeout, run).await.ok().and_then(Result::ok)
    }
}

impl Output for File {
    fn kind(&self) -> &'static str {
        "file"
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
        compressed(Shape::Ndjson, Compression::None, 0, rows)
    }

    fn form(&self) -> Option<Form> {
        Some(Form::as_uploaded(Shape::Ndjson, Compression::None, 0))
    }

    fn send<'a>(&'a self, _: usize, request: &'a Request) -> BoxFuture<'a, Outcome> {
        let (id, body) = (request.batch_id.clone(), request.body.clone());
        async move {
            match self.with(move |writer| writer.write(&id, &body)).await {
                Some(Ok(())) => Outcome::Accepted,
                Some(Err(error)) => failed(&error),
                None => Outcome::Ambiguous { detail: format!("the disk took longer than {:?}", self.timeout) },
            }
        }
        .boxed()
    }

    /// The writer knows its last batch, and is given one at a time.
    fn recognises_batches(&self) -> bool {
        true
    }

    fn probe<'a>(&'a self, _: usize) -> BoxFuture<'a, Result<(), String>> {
        async move {
            match self.with(Writer::open).await {
                Some(result) => result.map_err(|error| error.to_string()),
                None => Err(format!("the disk took longer than {:?}", self.timeout)),
            }
        }
        .boxed()
    }
}

fn failed(error: &WriteError) -> Outcome {
    let detail = error.to_string();
    Outcome::Retry { after: None, reason: RetryReason::Failed, may_be_taken: true, detail }
}
