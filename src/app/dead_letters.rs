//! What is done with dead letters while the gateway runs: listed, sent again, purged.
//!
//! A replay goes page by page: the events of a page are appended to the spool, which is one group commit or a few, and when
//! they are durable their letters go. A crash in between leaves letters whose events are in the spool already: they are sent
//! twice at worst, and never lost. Whoever asked may hang up; a replay is brought to its end all the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::build::Parts;
use crate::admin::{self, ControlError, Selection};
use crate::ingest;
use crate::spool::dead_letter::{Filter, Letter, Page, Source};

/// Letters that are read, sent again and removed together: removing writes whole files anew.
const PAGE: usize = 500;
/// Events that wait for the spool at a time.
const AT_A_TIME: usize = 64;

/// Some letters, oldest first.
pub(super) async fn list(parts: &Arc<Parts>, page: admin::Page) -> Result<Value, ControlError> {
    let letters = off_the_runtime(parts, move |parts| {
        let filter = Filter {
            source: page.source,
            reason: page.reason,
            since_ms: page.since_ms,
            before_ms: page.before_ms,
            until: None,
        };
        let page = Page { after: page.after.unwrap_or(0), limit: page.limit };
        parts.dead_letters().list(&filter, page).map_err(failed)
    });
    Ok(json!({ "dead_letters": letters.await?.iter().map(shown).collect::<Vec<_>>() }))
}

/// Sends letters again, in a task of its own.
pub(super) async fn replay(parts: &Arc<Parts>, selection: Selection) -> Result<Value, ControlError> {
    let parts = Arc::clone(parts);
    let work = async move {
        // Two at a time would send the same letters.
        let _alone = parts.replaying.lock().await;
        if !selection.all {
            return replay_these(&parts, selection.ids).await;
        }
        let filter = off_the_runtime(&parts, move |parts| Ok(filter_of(parts, selection))).await?;
        replay_all(&parts, filter).await
    };
    tokio::spawn(work).await.map_err(failed)?
}

/// Deletes letters for good.
pub(super) async fn purge(parts: &Arc<Parts>, selection: Selection) -> Result<Value, ControlError> {
    let purge = move |parts: &Parts| {
        if !selection.all {
            these(parts, &selection.ids)?;
            return parts.dead_letters().remove(&selection.ids).map_err(failed);
        }
        let filter = filter_of(parts, selection);
        parts.dead_letters().purge(&filter).map_err(failed)
    };
    Ok(json!({ "purged": off_the_runtime(parts, purge).await? }))
}

/// Only what is there now: a letter that is refused again comes back with a higher number, and must not be met again.
fn filter_of(parts: &Parts, selection: Selection) -> Filter {
    let Selection { source, reason, since_ms, before_ms, .. } = selection;
    Filter { source, reason, since_ms, before_ms, until: Some(parts.dead_letters().last_id()) }
}

async fn replay_these(parts: &Arc<Parts>, ids: Vec<u64>) -> Result<Value, ControlError> {
    let letters = off_the_runtime(parts, move |parts| these(parts, &ids)).await?;
    for letter in &letters {
        if let Some(why) = unsendable(parts, letter) {
            return Err(ControlError::Refused(format!("dead letter {} cannot be sent: {why}", letter.id)));
        }
    }
    Ok(json!({ "replayed": replay_page(parts, letters).await? }))
}

async fn replay_all(parts: &Arc<Parts>, filter: Filter) -> Result<Value, ControlError> {
    let (mut replayed, mut left, mut after) = (0, 0, 0);
    loop {
        let filter = filter.clone();
        let page = Page { after, limit: PAGE };
        let read = move |parts: &Parts| parts.dead_letters().list(&filter, page).map_err(failed);
        let letters = off_the_runtime(parts, read).await?;
        let Some(last) = letters.last() else { return Ok(json!({ "replayed": replayed, "left": left })) };
        after = last.id;
        let (sendable, others): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| unsendable(parts, letter).is_none());
        left += others.len();
        replayed += replay_page(parts, sendable).await?;
    }
}

/// Why a letter cannot be sent again.
fn unsendable(parts: &Parts, letter: &Letter) -> Option<String> {
    match &letter.source {
        Source::Input { .. } => {
            Some("it could not be understood when it came; purge it, and upload it again corrected".to_owned())
        }
        Source::Output { name } => {
            let configured = parts.outputs.forwarders().iter().any(|forwarder| forwarder.name() == name);
            (!configured).then(|| format!("its output {name:?} is not configured; nobody would send it"))
        }
    }
}

/// Appends the events of these letters, then removes the letters of those that are durable. How many went.
async fn replay_page(parts: &Arc<Parts>, letters: Vec<Letter>) -> Result<usize, ControlError> {
    let appends = letters
        .into_iter()
        .map(|letter| async move { ingest::replay(&parts.spool, &letter).await.map(|()| letter.id) });
    let results: Vec<_> = futures_util::stream::iter(appends).buffered(AT_A_TIME).collect().await;
    let mut durable = Vec::new();
    let mut failure = Ok(());
    for result in results {
        match result {
            Ok(id) => durable.push(id),
            Err(error) => failure = Err(failed(error)),
        }
    }
    // Also after a failure: what went must not go twice.
    let count = durable.len();
    off_the_runtime(parts, move |parts| parts.dead_letters().remove(&durable).map_err(failed)).await?;
    failure.map(|()| count)
}

fn these(parts: &Parts, ids: &[u64]) -> Result<Vec<Letter>, ControlError> {
    let get = |id: &u64| {
        let letter = parts.dead_letters().get(*id).map_err(failed)?;
        letter.ok_or_else(|| ControlError::Refused(format!("there is no dead letter {id}")))
    };
    // A letter that is named twice is sent once.
    let ids: BTreeSet<u64> = ids.iter().copied().collect();
    ids.iter().map(get).collect()
}

/// Dead letters are read from and written to the disk.
async fn off_the_runtime<T: Send + 'static>(
    parts: &Arc<Parts>,
    work: impl FnOnce(&Parts) -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    let parts = Arc::clone(parts);
    tokio::task::spawn_blocking(move || work(&parts)).await.map_err(failed)?
}

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError::Failed(error.to_string())
}

/// A dead letter as the admin plane shows it: the event as text where it is text.
pub fn shown(letter: &Letter) -> Value {
    let mut value = serde_json::to_value(letter).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("tries".to_owned(), Value::from(letter.tries));
        match std::str::from_utf8(&letter.raw) {
            Ok(text) => map.insert("raw".to_owned(), Value::from(text)),
            Err(_) => map.insert("raw_base64".to_owned(), Value::from(STANDARD.encode(&letter.raw))),
        };
    }
    value
}
