//! What is taken over of the logs of gateways that are gone: each record becomes one of this gateway's, for the outputs that still
//! need it.
//!
//! What an output of the former owner had sent and not told yet is sent again, so all of it counts as ambiguous. Where gateways
//! share a memory of events, its keys are confirmed in the name of the former owner: what another gateway has won of it is
//! dropped, as he would have dropped it. Its record here then has no keys, since they are not this gateway's to win.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use super::ledger::{Note, Tally};
use crate::dedup::several::{Gateway, SharedStore};
use crate::event::key;
use crate::event::stored::{self, MAX_SETS, Routing, StoredError, StoredRoute, StoredUpload, StoredUploadOwned};
use crate::metrics;
use crate::replication::Replicated;
use crate::replication::takeover::{Heir, Origin};
use crate::spool::{Entry, Ordinal, Record, Spool};

/// The name that events which were taken over have in the account, as an input's.
const TAKEOVER: &str = "takeover";

/// Takes the records of gateways that are gone.
pub struct Inheritance {
    /// Where they are kept.
    pub spool: Spool,
    /// How far that is replicated.
    pub replicated: Replicated,
    /// Where gateways share what they have seen.
    pub shared: Option<SharedStore>,
    /// The outputs that are configured.
    pub outputs: Arc<ArcSwap<Vec<String>>>,
}

impl Heir for Inheritance {
    fn objection(&self, outputs: &BTreeMap<String, Ordinal>) -> Option<String> {
        // What is for an output that nobody has here would leave the spool unsent.
        let configured = self.outputs.load();
        let unknown = outputs.keys().find(|name| !configured.contains(name))?;
        Some(format!("its output {unknown:?} is not configured here"))
    }

    fn take<'a>(&'a self, record: &'a Record, origin: &'a Origin) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let end = self.keep(record, origin).await?;
            // It is kept: whoever gave up here would keep it once more with the next try.
            self.replicated.reached(end).await;
            Ok(())
        })
    }
}

impl Inheritance {
    /// Keeps what some output still needs of a record; the ordinal behind it.
    async fn keep(&self, record: &Record, origin: &Origin) -> Result<Ordinal, String> {
        let upload = match stored::decode(record.payload.clone()) {
            Ok(upload) => upload,
            Err(error @ StoredError::Version(_)) => return Err(error.to_string()),
            Err(error) => {
                tracing::error!(gateway = origin.gateway, first = record.first, %error, "a record of another gateway is damaged and lost");
                metrics::STATE_DAMAGED.add(&["replica"], 1);
                return Ok(0);
            }
        };
        let outputs = self.outputs.load_full();
        let mut owed = Owed::of(&upload, record.first, origin, &outputs);
        owed.drop_lost(&self.lost(record, origin).await?);
        if owed.events.is_empty() {
            return Ok(0);
        }
        let events = owed.events.len() as u64;
        let note = Note::of(TAKEOVER, Tally { received: events, spooled: events, ..Tally::default() });
        let entry = Entry {
            items: u32::try_from(events).map_err(|_| "a record has too many events".to_owned())?,
            note: note.encode(),
            index: Vec::new(),
            payload: owed.encode(&upload),
        };
        let spool = self.spool.clone();
        let packed = tokio::task::spawn_blocking(move || spool.pack(entry)).await.map_err(|ended| ended.to_string())?;
        let appended = self.spool.append(packed).await.map_err(|error| error.to_string())?;
        owed.count();
        Ok(appended.first + Ordinal::from(appended.items))
    }

    /// The places of the events that another gateway has won.
    async fn lost(&self, record: &Record, origin: &Origin) -> Result<Vec<usize>, String> {
        let gateway = origin.confirms_as.as_deref().and_then(Gateway::named);
        let (Some(shared), Some(gateway)) = (&self.shared, gateway) else { return Ok(Vec::new()) };
        // Behind the keys of its events a record has those of what was set aside of the upload.
        let mut keys = key::decode_keys(&record.index).unwrap_or_default();
        keys.truncate(record.items as usize);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        shared.contest_as(gateway, &keys).await.map_err(|unavailable| unavailable.to_string())
    }
}

/// The events of a record that some output still needs, each with its set of routes.
struct Owed<'a> {
    /// The place of each in the record, and the number of its set.
    events: Vec<(usize, u16)>,
    sets: Vec<Vec<StoredRoute<'a>>>,
}

impl<'a> Owed<'a> {
    fn of(upload: &'a StoredUploadOwned, first: Ordinal, origin: &Origin, outputs: &'a [String]) -> Self {
        let everywhere: Vec<StoredRoute<'a>> =
            outputs.iter().map(|output| StoredRoute { output, stream: None }).collect();
        let former: Vec<Vec<StoredRoute<'a>>> = std::iter::once(everywhere).chain(upload.sets()).collect();
        // What is owed changes only where an output stood.
        let stood = |ordinal: Ordinal| origin.lows.values().filter(|low| **low <= ordinal).count();
        let mut numbers: HashMap<(usize, usize), Option<u16>> = HashMap::new();
        let mut owed = Self { events: Vec::new(), sets: Vec::new() };
        for (place, ordinal) in (0..upload.events.len()).zip(first..) {
            let set = upload.set_of(place);
            let number = *numbers.entry((set, stood(ordinal))).or_insert_with(|| {
                let needs = |route: &StoredRoute<'_>| origin.lows.get(route.output).is_none_or(|low| *low <= ordinal);
                let all = former.get(set).cloned().unwrap_or_default();
                // Of so many sets each keeps its routes: what is sent twice by it is counted.
                let left = if owed.sets.len() < MAX_SETS / 2 { all.into_iter().filter(needs).collect() } else { all };
                owed.number(left)
            });
            owed.events.extend(number.map(|number| (place, number)));
        }
        owed
    }

    /// The number of a set; none for an empty one.
    fn number(&mut self, set: Vec<StoredRoute<'a>>) -> Option<u16> {
        if set.is_empty() {
            return None;
        }
        let at = self.sets.iter().position(|known| *known == set).unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        u16::try_from(at + 1).ok()
    }

    fn drop_lost(&mut self, lost: &[usize]) {
        self.events.retain(|(place, _)| !lost.contains(place));
    }

    fn encode(&self, upload: &StoredUploadOwned) -> Vec<u8> {
        let event = |(place, _): &(usize, u16)| {
            let (format, raw) = &upload.events[*place];
            (*format, &**raw)
        };
        let events: Vec<_> = self.events.iter().map(event).collect();
        let of_events: Vec<u16> = self.events.iter().map(|(_, number)| *number).collect();
        stored::encode(&StoredUpload {
            stream: &upload.stream,
            input: &upload.input,
            client: upload.client.as_deref(),
            first_seen_ms: upload.first_seen_ms,
            tries: upload.tries,
            routing: Routing { sets: &self.sets, of_events: &of_events },
            events: &events,
        })
    }

    /// Each may have been sent by the former owner.
    fn count(&self) {
        let mut by_output: HashMap<&str, u64> = HashMap::new();
        for (_, number) in &self.events {
            for route in &self.sets[usize::from(*number) - 1] {
                *by_output.entry(route.output).or_default() += 1;
            }
        }
        for (output, events) in by_output {
            metrics::EVENTS_AMBIGUOUS.add(&[output], events);
            metrics::EVENTS_AMBIGUOUS_BY_REASON.add(&[output, "takeover"], events);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::event::Format;
    use crate::fs::RealFs;
    use crate::replication::in_memory::InMemory;
    use crate::replication::{Identity, Replication};

    fn origin(lows: &[(&str, Ordinal)]) -> Origin {
        let lows: BTreeMap<String, Ordinal> = lows.iter().map(|(name, low)| ((*name).to_owned(), *low)).collect();
        Origin { gateway: "gone".to_owned(), confirms_as: None, lows }
    }

    #[test]
    fn each_output_gets_what_it_still_needs_and_nothing_that_it_has() {
        let raws = [b"{}".as_slice(); 6];
        let events: Vec<(Format, &[u8])> = raws.iter().map(|raw| (Format::Json, *raw)).collect();
        let one = |output, stream| vec![StoredRoute { output, stream }];
        let sets = [one("a", Some("x")), one("gone", None)];
        // Two go everywhere, two to a, two to an output that this gateway does not have.
        let routing = Routing { sets: &sets, of_events: &[0, 0, 1, 1, 2, 2] };
        let upload = StoredUpload {
            stream: "s",
            input: "i",
            client: Some("c"),
            first_seen_ms: 0,
            tries: 0,
            routing,
            events: &events,
        };
        let upload = stored::decode(stored::encode(&upload).into()).unwrap();
        let outputs = ["a".to_owned(), "b".to_owned()];
        let owed = Owed::of(&upload, 100, &origin(&[("a", 103), ("b", 101), ("gone", 105)]), &outputs);
        let kept = stored::decode(owed.encode(&upload).into()).unwrap();
        let to = |output: &str| -> Vec<Option<String>> {
            let streams = kept.streams_to(output);
            (0..kept.events.len()).map(|at| streams[kept.set_of(at)].as_deref().map(str::to_owned)).collect()
        };
        // Left are the second (for b), the fourth (for a), and the sixth.
        assert_eq!(to("b"), [Some("s".to_owned()), None, None]);
        assert_eq!(to("a"), [None, Some("x".to_owned()), None]);
        assert_eq!(to("gone"), [None, None, Some("s".to_owned())]);
        assert_eq!((&*kept.stream, kept.client.as_deref()), ("s", Some("c")));
    }

    fn heir(dir: &std::path::Path, wait_max: Duration) -> Inheritance {
        let (spool, _) = Spool::open(&crate::spool::Config::default(), dir, Arc::new(RealFs)).unwrap();
        let (servers, me) = (Arc::new(InMemory::new(64 << 10)), Identity::new("heir".to_owned(), None));
        let replicated = Replication::new(servers, me, wait_max, wait_max).replicated().clone();
        let outputs = Arc::new(ArcSwap::from_pointee(vec!["a".to_owned()]));
        Inheritance { spool, replicated, shared: None, outputs }
    }

    #[tokio::test]
    async fn what_is_taken_over_is_kept_once_however_long_the_servers_take() {
        let dir = tempfile::tempdir().unwrap();
        let heir = heir(dir.path(), Duration::from_millis(20));
        let events: &[(Format, &[u8])] = &[(Format::Json, b"{}")];
        let upload = StoredUpload {
            stream: "s",
            input: "i",
            client: None,
            first_seen_ms: 0,
            tries: 0,
            routing: Routing::default(),
            events,
        };
        let payload = stored::encode(&upload).into();
        let record = Record { first: 0, items: 1, appended_at_ms: 0, note: Bytes::new(), index: Bytes::new(), payload };
        let origin = origin(&[]);
        // Nothing is replicated here, ever.
        let taken = tokio::time::timeout(Duration::from_millis(300), heir.take(&record, &origin)).await;
        assert!(taken.is_err(), "it is neither replicated nor to be tried again: {taken:?}");
        assert_eq!(heir.spool.status().end, 1);
    }

    #[test]
    fn what_is_for_an_output_that_is_not_configured_here_is_left_to_another_gateway() {
        let dir = tempfile::tempdir().unwrap();
        let heir = heir(dir.path(), Duration::from_secs(1));
        assert_eq!(heir.objection(&origin(&[("a", 3)]).lows), None);
        assert!(heir.objection(&origin(&[("a", 3), ("b", 3)]).lows).unwrap().contains("\"b\""));
    }

    #[test]
    fn of_what_every_output_has_nothing_is_left_and_of_an_output_nobody_heard_of_everything_is() {
        let upload = StoredUpload {
            stream: "s",
            input: "i",
            client: None,
            first_seen_ms: 0,
            tries: 0,
            routing: Routing::default(),
            events: &[(Format::Json, b"{}"), (Format::Json, b"{}")],
        };
        let upload = stored::decode(stored::encode(&upload).into()).unwrap();
        let outputs = ["a".to_owned()];
        assert!(Owed::of(&upload, 10, &origin(&[("a", 12)]), &outputs).events.is_empty());
        assert_eq!(Owed::of(&upload, 10, &origin(&[]), &outputs).events.len(), 2);
        let mut owed = Owed::of(&upload, 10, &origin(&[("a", 10)]), &outputs);
        owed.drop_lost(&[0]);
        assert_eq!(owed.events, [(1, 1)]);
    }
}
