//! What can be asked of a running gateway: reload, drain, and what to do with dead letters.

use std::sync::Arc;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::build::Parts;
use super::rules;
use crate::admin::{Control, ControlError, Page, Selection};
use crate::config::rule_files::Texts;
use crate::config::{self, Config};
use crate::event::Format;
use crate::event::stored::{self, Routing, StoredRoute, StoredUpload};
use crate::ingest::ledger::{Note, Tally};
use crate::metrics;
use crate::spool::Entry;
use crate::spool::dead_letter::{self, Filter, Letter, Source};

/// Hands the controls to the admin plane.
pub(super) struct Controls(pub(super) Arc<Parts>);

impl Control for Controls {
    fn reload(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            let changed = reload(&self.0).await.map_err(|error| ControlError::Refused(format!("{error:#}")))?;
            Ok(json!({ "reloaded": true, "note": changed }))
        })
    }

    fn drain(&self) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async {
            self.0.readiness.set("draining", true);
            self.0.ingest.stop();
            self.0.tunnels.drain();
            let pending: u64 = self.0.outputs.forwarders().iter().map(|forwarder| forwarder.pending()).sum();
            Ok(json!({ "draining": true, "pending": pending }))
        })
    }

    fn refused_hosts(&self) -> Value {
        json!({ "refused": self.0.tunnels.refused() })
    }

    fn dead_letters(&self, page: Page) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async move {
            let letters = off_the_runtime(&self.0, move |parts| letters(parts, &page)).await?;
            Ok(json!({ "dead_letters": letters.iter().map(shown).collect::<Vec<_>>() }))
        })
    }

    fn replay(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async move {
            let all = selection.all;
            let mut chosen = off_the_runtime(&self.0, move |parts| chosen(parts, &selection)).await?;
            if all {
                // What could not be understood has no output to be sent to; only who names it is told.
                chosen.retain(|letter| matches!(letter.source, Source::Output { .. }));
            }
            let mut replayed = Vec::new();
            let mut result = Ok(());
            for letter in chosen {
                result = replay(&self.0, &letter).await;
                if result.is_err() {
                    break;
                }
                replayed.push(letter.id);
            }
            // All at once: removing writes whole files anew. What went before an error must go too, or it goes twice.
            let count = replayed.len();
            let removed = off_the_runtime(&self.0, move |parts| parts.dead_letters().remove(&replayed).map_err(failed));
            removed.await?;
            result?;
            Ok(json!({ "replayed": count }))
        })
    }

    fn purge(&self, selection: Selection) -> BoxFuture<'_, Result<Value, ControlError>> {
        Box::pin(async move {
            let purge = move |parts: &Parts| {
                let ids: Vec<u64> = chosen(parts, &selection)?.iter().map(|letter| letter.id).collect();
                parts.dead_letters().remove(&ids).map_err(failed)
            };
            let purged = off_the_runtime(&self.0, purge).await?;
            Ok(json!({ "purged": purged }))
        })
    }
}

fn failed(error: impl std::fmt::Display) -> ControlError {
    ControlError::Failed(error.to_string())
}

/// Dead letters are read from and written to the disk.
async fn off_the_runtime<T: Send + 'static>(
    parts: &Arc<Parts>,
    work: impl FnOnce(&Parts) -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    let parts = Arc::clone(parts);
    tokio::task::spawn_blocking(move || work(&parts)).await.map_err(failed)?
}

fn letters(parts: &Parts, page: &Page) -> Result<Vec<Letter>, ControlError> {
    let filter = Filter { source: page.source.clone(), ..Filter::default() };
    let page = dead_letter::Page { after: page.after.unwrap_or(0), limit: page.limit };
    parts.dead_letters().list(&filter, page).map_err(failed)
}

fn chosen(parts: &Parts, selection: &Selection) -> Result<Vec<Letter>, ControlError> {
    let mut chosen = Vec::new();
    if selection.all {
        let mut page = Page { source: selection.source.clone(), ..Page::default() };
        loop {
            let more = letters(parts, &page)?;
            let Some(last) = more.last() else { return Ok(chosen) };
            page.after = Some(last.id);
            chosen.extend(more);
        }
    }
    for id in &selection.ids {
        let letter = parts.dead_letters().get(*id).map_err(failed)?;
        chosen.push(letter.ok_or_else(|| ControlError::Refused(format!("there is no dead letter {id}")))?);
    }
    Ok(chosen)
}

/// A dead letter as the admin plane shows it: the event as text where it is text.
pub fn shown(letter: &Letter) -> Value {
    let mut value = serde_json::to_value(letter).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        match std::str::from_utf8(&letter.raw) {
            Ok(text) => map.insert("raw".to_owned(), Value::from(text)),
            Err(_) => map.insert("raw_base64".to_owned(), Value::from(STANDARD.encode(&letter.raw))),
        };
    }
    value
}

/// Sends a dead letter again: past dedup, which remembers it, and to the one output that refused it. Its event is durable
/// in the spool when this returns; only then may the letter go.
async fn replay(parts: &Parts, letter: &Letter) -> Result<(), ControlError> {
    let Source::Output { name } = &letter.source else {
        let why = "it could not be understood when it came; purge it, and upload it again corrected";
        return Err(ControlError::Refused(format!("dead letter {} cannot be sent: {why}", letter.id)));
    };
    if !parts.outputs.forwarders().iter().any(|forwarder| forwarder.name() == name) {
        let why = format!("its output {name:?} is not configured; nobody would send it");
        return Err(ControlError::Refused(format!("dead letter {} cannot be sent: {why}", letter.id)));
    }
    let format = if letter.format == Format::Xml as u8 { Format::Xml } else { Format::Json };
    let route = StoredRoute { output: name, stream: Some(&letter.stream) };
    let payload = stored::encode(&StoredUpload {
        stream: &letter.stream,
        input: "replay",
        client: None,
        first_seen_ms: letter.first_seen_ms,
        tries: 0,
        routing: Routing { sets: &[vec![route]], of_events: &[1] },
        events: &[(format, &letter.raw)],
    });
    let note = Note::of("replay", Tally { received: 1, spooled: 1, ..Tally::default() }).encode();
    let entry = Entry { items: 1, note, index: Vec::new(), payload };
    parts.spool.append(parts.spool.pack(entry)).await.map_err(failed)?;
    Ok(())
}

/// Reads the configuration again and applies it, or refuses it whole. A task of its own: whoever asked may hang up, and half
/// of a configuration must not stay in force.
pub(super) async fn reload(parts: &Arc<Parts>) -> anyhow::Result<String> {
    let parts = Arc::clone(parts);
    tokio::spawn(async move { apply_alone(&parts).await }).await.context("the reload ended")?
}

async fn apply_alone(parts: &Parts) -> anyhow::Result<String> {
    let _alone = parts.reloading.lock().await;
    let result = apply(parts).await;
    let label = if result.is_ok() { "applied" } else { "refused" };
    metrics::CONFIG_RELOADS.add(&[label], 1);
    match &result {
        Ok(note) => tracing::info!(note, "configuration reloaded"),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "configuration refused; the old one stays in force")
        }
    }
    result
}

async fn apply(parts: &Parts) -> anyhow::Result<String> {
    let path = parts.config_path.clone().context("the gateway runs without a configuration file")?;
    let current = parts.config();
    // Until the new configuration is in force, no change of rules may be judged by the old one.
    let _unchanged = parts.rule_store.hold().await;
    let kept = parts.rule_store.snapshot();
    let load = move || -> anyhow::Result<_> {
        let wanted = config::load(&path)?;
        let texts = Texts::of(&wanted);
        let rules = rules::build(&wanted, &texts, &kept)?;
        Ok((wanted, texts, rules))
    };
    let (wanted, texts, rules) =
        tokio::task::spawn_blocking(load).await.context("reading the configuration ended")??;
    for output in &wanted.outputs {
        crate::outputs::build(&output.output, parts.state.path())?;
    }
    let listeners = parts.uploads.prepare(&wanted.listeners)?;
    let tunnels = parts.tunnels.prepare(&wanted.tunnel, &parts.own_addresses(&listeners))?;
    // Outputs come before the rules that name them, and go after the last upload that was judged by rules that named them:
    // an event is never spooled for an output that has no position in the log.
    parts.outputs.apply(&wanted.outputs).await?;
    rules::unused(parts.rules.swap(Arc::new(rules))).await;
    parts.outputs.end_others(&wanted.outputs).await;
    // Before the uploads: from their first moment on no tunnel leads to new addresses of ours.
    parts.tunnels.apply(tunnels);
    parts.uploads.apply(listeners).await;
    let waits = waits_for_restart(&current, &wanted);
    parts.set_config(wanted);
    parts.rule_texts.store(Arc::new(texts));
    Ok(if waits.is_empty() {
        "everything is in force".to_owned()
    } else {
        format!("in force, except what waits for a restart: {}", waits.join(", "))
    })
}

/// The sections that are read only at the start and differ.
fn waits_for_restart(current: &Config, wanted: &Config) -> Vec<&'static str> {
    let differs = [
        ("state_dir", current.state_dir != wanted.state_dir),
        ("telemetry", current.telemetry != wanted.telemetry),
        ("admin", current.admin != wanted.admin),
        ("ingest", current.ingest != wanted.ingest),
        ("dedup", current.dedup != wanted.dedup),
        ("spool", current.spool != wanted.spool),
        ("dead_letters", current.dead_letters != wanted.dead_letters),
        ("listeners.limits, as far as they limit connections", limits_differ(current, wanted)),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn limits_differ(current: &Config, wanted: &Config) -> bool {
    let stays = |listener: &crate::inputs::Config| {
        current.listeners.iter().find(|other| other.name == listener.name && other.listen == listener.listen)
    };
    wanted.listeners.iter().any(|listener| stays(listener).is_some_and(|other| other.limits != listener.limits))
}
