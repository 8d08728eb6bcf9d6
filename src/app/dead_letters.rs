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
use crate::spool::dead_letter::{Chosen, Filter, Letter, Listing, Page, Source};

/// Letters that are read, sent again and removed together: removing writes whole files anew.
const PAGE: usize = 500;
/// Events that wait for the spool at a time.
const AT_A_TIME: usize = 64;

/// Some letters, oldest first.
pub(super) async fn list(parts: &Arc<Parts>, page: admin::Page) -> Result<Value, ControlError> {
    let admin::Page { source, reason, since_ms, before_ms, after, limit } = page;
    let filter = Filter { source, reason, since_ms, before_ms, until: None };
    let page = Page { after: after.unwrap_or(0), limit };
    let letters = parts.dead_letters().read(Chosen::Matching(filter), move |listing| listing.read(page));
    Ok(json!({ "dead_letters": letters.await.map_err(failed)?.iter().map(shown).collect::<Vec<_>>() }))
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
        let filter = filter_of(&parts, selection).await?;
        replay_all(&parts, filter).await
    };
    tokio::spawn(work).await.map_err(failed)?
}

/// Deletes letters for good, in a task of its own.
pub(super) async fn purge(parts: &Arc<Parts>, selection: Selection) -> Result<Value, ControlError> {
    let parts = Arc::clone(parts);
    let work = async move {
        let chosen = if selection.all {
            Chosen::Matching(filter_of(&parts, selection).await?)
        } else {
            these(&parts, &selection.ids).await?;
            Chosen::Ids(selection.ids.into_iter().collect())
        };
        let purged = parts.dead_letters().remove(chosen).await.map_err(failed)?;
        Ok(json!({ "purged": purged }))
    };
    tokio::spawn(work).await.map_err(failed)?
}

/// Only what is there now: a letter that is refused again comes back with a higher number, and must not be met again.
async fn filter_of(parts: &Parts, selection: Selection) -> Result<Filter, ControlError> {
    let Selection { source, reason, since_ms, before_ms, .. } = selection;
    let last = parts.dead_letters().work(|letters| letters.last_id()).await.map_err(failed)?;
    Ok(Filter { source, reason, since_ms, before_ms, until: Some(last) })
}

async fn replay_these(parts: &Arc<Parts>, ids: Vec<u64>) -> Result<Value, ControlError> {
    let letters = these(parts, &ids).await?;
    for letter in &letters {
        if let Some(why) = unsendable(parts, letter) {
            return Err(ControlError::Refused(format!("dead letter {} cannot be sent: {why}", letter.id)));
        }
    }
    Ok(json!({ "replayed": replay_page(parts, letters).await? }))
}

async fn replay_all(parts: &Arc<Parts>, filter: Filter) -> Result<Value, ControlError> {
    let (mut replayed, mut after) = (0, 0);
    let chosen = Chosen::Matching(filter);
    // What inputs have can never be sent: it is counted, and not read.
    let left = parts.dead_letters().read(chosen.clone(), |listing| listing.of_inputs().count());
    let mut left = left.await.map_err(failed)?;
    loop {
        let page = Page { after, limit: PAGE };
        let read = move |listing: Listing| listing.without_inputs().read(page);
        let letters = parts.dead_letters().read(chosen.clone(), read).await.map_err(failed)?;
        let Some(last) = letters.last() else { return Ok(json!({ "replayed": replayed, "left": left })) };
        after = last.id;
        let (sendable, others): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| unsendable(parts, letter).is_none());
        left += others.len() as u64;
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
    if let Some(replicating) = &parts.replicating {
        replicating.replicated().check().map_err(failed)?;
    }
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
    parts.dead_letters().remove(Chosen::Ids(durable.into_iter().collect())).await.map_err(failed)?;
    failure.map(|()| count)
}

/// A letter that is named twice is sent once.
async fn these(parts: &Parts, ids: &[u64]) -> Result<Vec<Letter>, ControlError> {
    let ids: BTreeSet<u64> = ids.iter().copied().collect();
    let all = Page { after: 0, limit: usize::MAX };
    let letters = parts.dead_letters().read(Chosen::Ids(ids.clone()), move |listing| listing.read(all));
    let letters = letters.await.map_err(failed)?;
    let missing = ids.iter().find(|id| letters.binary_search_by_key(*id, |letter| letter.id).is_err());
    match missing {
        Some(id) => Err(ControlError::Refused(format!("there is no dead letter {id}"))),
        None => Ok(letters),
    }
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
