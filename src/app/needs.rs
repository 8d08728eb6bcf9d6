//! What needs a person: the first thing to read on the status page, in `gatepost top` and in `gatepost status`.
//!
//! It is worked out here, once, so that all of them say the same. Each line says what is the matter and, where it is known, what to
//! do about it.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::build::Parts;
use super::left_behind::Why;
use crate::admin::{Standing, texts};
use crate::clock::wall_s;
use crate::event::Timestamp;
use crate::forward::Forwarder;
use crate::ingest::Lasting;

/// An output that settles nothing for so long is told; before, it may be a pause of its endpoint.
const STALLED_SECONDS: f64 = 10.0;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Weight {
    /// Something does not work.
    Bad,
    /// Something goes on that should be looked at.
    Warn,
}

/// One thing that needs a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Need {
    weight: Weight,
    text: String,
}

fn bad(text: String) -> Need {
    Need { weight: Weight::Bad, text }
}

fn warn(text: String) -> Need {
    Need { weight: Weight::Warn, text }
}

/// A time as people read it.
fn shown(at_ms: u64) -> String {
    Timestamp::of(UNIX_EPOCH + Duration::from_millis(at_ms)).to_string()
}

/// All of them, what does not work first. `warnings` are those of `/status`.
pub(super) fn of(parts: &Parts, standing: &Standing, warnings: &[String]) -> Vec<Need> {
    let mut needs: Vec<Need> =
        standing.objections.iter().map(|reason| bad(format!("Not ready: {}", reason.text))).collect();
    needs.extend(parts.ingest.troubles().iter().map(refused));
    needs.extend(parts.outputs.left_behind().iter().map(cannot_start));
    for forwarder in parts.outputs.forwarders() {
        of_output(&forwarder, &mut needs);
    }
    // What of the parts goes on is told with its output, or with what it refuses.
    let told = texts(&standing.warnings);
    needs.extend(warnings.iter().filter(|warning| !told.contains(&warning.as_str())).cloned().map(warn));
    let waits = parts.waits_for_restart();
    if !waits.is_empty() {
        needs.push(warn(format!("Changed, and in force only after a restart: {}", waits.join(", "))));
    }
    needs.extend(parts.ingest.timeless().iter().map(|it| {
        warn(format!(
            "Input {}, client {}, {} times, last at {}: {}",
            it.input,
            it.client,
            it.events,
            shown(it.last_at_ms),
            it.advice
        ))
    }));
    needs.extend(of_hosts(parts));
    needs.extend(of_forwarding_hosts(parts));
    needs.extend(turned_away(parts));
    if let Some(agents) = parts.uploads.agents().agents(0).filter(|agents| agents.silent > 0) {
        let (silent, known) = (agents.silent, agents.known);
        needs.push(warn(format!("{silent} of {known} registered agents are silent: gatepost agents list --silent")));
    }
    let letters = parts.dead_letters().look().totals().count;
    if letters > 0 {
        needs.push(warn(format!("{letters} dead letters wait for somebody to replay or purge them")));
    }
    let clock = parts.clock.standing();
    if clock.held {
        let seconds = clock.difference_seconds.round();
        needs.push(warn(format!("The wall clock jumped by {seconds} s: set it, or run gatepost clock accept")));
    }
    if let Some(seconds) = parts.history.seconds_to_full().filter(|seconds| *seconds < SOON_FULL) {
        needs.push(warn(format!(
            "The disk of the state, or the spool, is full in {:.0} min if this goes on",
            seconds / 60.0
        )));
    }
    needs.sort_by_key(|need| need.weight == Weight::Warn);
    needs
}

/// From so many seconds before it is full on.
const SOON_FULL: f64 = 4.0 * 3600.0;

fn refused(trouble: &Lasting) -> Need {
    let Lasting { text, detail, remedy, since_ms, refused, .. } = trouble;
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    bad(format!("Uploads are refused: {text}{detail}, since {}, {refused} so far. To do: {remedy}", shown(*since_ms)))
}

fn cannot_start((name, why): &(String, Why)) -> Need {
    bad(format!("Output {name}: cannot start: {}. Its events are kept, and it is tried again by itself", why.reason()))
}

fn of_output(forwarder: &Forwarder, needs: &mut Vec<Need>) {
    let (name, pending, error) = (forwarder.name(), forwarder.pending(), forwarder.last_error());
    if let Some(unburied) = forwarder.unburied() {
        needs.push(bad(format!("Output {name}: events cannot be kept as dead letters: {}", unburied.why)));
    }
    let stalled = forwarder.stalled_for().as_secs_f64();
    if stalled >= STALLED_SECONDS {
        let said = error.as_ref().map(|error| format!(" {}: {}", error.endpoint, error.detail)).unwrap_or_default();
        needs.push(bad(format!("Output {name}: nothing was taken for {stalled:.0} s, {pending} events wait.{said}")));
    }
    if let Some(advice) = error.and_then(|error| error.advice).filter(|_| pending > 0) {
        needs.push(warn(format!("Output {name}: {advice}")));
    }
    if let Some(loss) = forwarder.position_lost() {
        let cause = loss.cause.as_str();
        needs.push(warn(format!(
            "Output {name}: its read position was lost ({cause}); what it may have sent goes again"
        )));
    }
    if let Some((stream, advice)) = forwarder.shapeless().and_then(|it| Some((it.stream, it.advice?))) {
        needs.push(warn(format!("Output {name}, stream {stream}: {advice}")));
    }
}

/// Those of whom somebody said what is expected; others are shown, and need nobody.
fn of_hosts(parts: &Parts) -> Vec<Need> {
    let silent = parts.hosts.counts().silent;
    let expected = silent.iter().filter(|(group, count)| **count > 0 && group.as_str() != "other");
    expected
        .map(|(group, count)| warn(format!("{count} computers of group {group} are silent: gatepost hosts silent")))
        .collect()
}

/// Hosts of some that are named; the command lists the others.
const NAMED: usize = 3;

/// Their logs are the only buffer there is, and they do not tell when it was too small.
fn of_forwarding_hosts(parts: &Parts) -> Option<Need> {
    let hosts = parts.uploads.forwarding_hosts()?.hosts;
    let lost: Vec<&str> = hosts
        .iter()
        .filter(|host| host.subscriptions.iter().any(|subscribed| subscribed.lost_by_host > 0))
        .map(|host| host.machine.as_str())
        .collect();
    let more = if lost.len() > NAMED { ", …" } else { "" };
    let named = lost[..lost.len().min(NAMED)].join(", ");
    (!lost.is_empty()).then(|| {
        let count = lost.len();
        warn(format!(
            "Logs of {count} forwarding hosts wrapped before they could send: {named}{more}. Make those logs larger"
        ))
    })
}

/// Clients whose certificates were not taken within the last hour.
fn turned_away(parts: &Parts) -> Option<Need> {
    let since = wall_s().saturating_sub(3600);
    let clients = parts.uploads.turned_away()?.clients;
    let late: Vec<_> = clients.iter().filter(|client| client.last_s >= since).collect();
    let last = late.iter().max_by_key(|client| client.last_s)?;
    let who = last.certificate.clone().unwrap_or_else(|| last.address.to_string());
    Some(warn(format!(
        "{} clients were turned away within the last hour because of their certificates, the last: {who} at listener {}, {}. \
         gatepost wef hosts lists them",
        late.len(),
        last.listener,
        last.reason
    )))
}
