use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::event::Format;
use crate::event::stored::{Routing, StoredRoute, StoredUpload};
use crate::fs::RealFs;
use crate::outputs::output::{Body, EndpointSpec, Outcome, Request};
use crate::spool::cursor::{Boot, Cursor, Settlement, Surroundings};
use crate::spool::decided::Decision;
use crate::spool::{Config, Entry, LogId, Spool};
use crate::values::ByteSize;

/// An output that takes `max_events` a request and has no form for an event that says `unsendable`.
struct Stub {
    max_events: usize,
    /// How many rows it made.
    made: Arc<AtomicUsize>,
}

impl Stub {
    fn of(max_events: usize) -> Arc<Self> {
        Arc::new(Self { max_events, made: Arc::default() })
    }
}

impl Output for Stub {
    fn kind(&self) -> &'static str {
        "stub"
    }

    fn endpoints(&self) -> &[EndpointSpec] {
        &[]
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { max_bytes: 1 << 20, max_events: self.max_events, frame_bytes: 2, separator_bytes: 1 }
    }

    fn row(&self, event: &OutgoingEvent) -> Result<Row, String> {
        self.made.fetch_add(1, Ordering::Relaxed);
        if &event.raw[..] == b"unsendable" {
            return Err("it says so".to_owned());
        }
        assert!(&event.raw[..] != b"poison", "a fault of this output");
        Ok(Row::timeless(Bytes::copy_from_slice(&event.raw)))
    }

    fn body(&self, rows: &[Row]) -> Body {
        Body { bytes: Bytes::new(), events: rows.len(), plain_bytes: 0 }
    }

    fn send<'a>(&'a self, _: usize, _: &'a Request) -> BoxFuture<'a, Outcome> {
        async { Outcome::Accepted }.boxed()
    }

    fn probe<'a>(&'a self, _: usize) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
}

const A: StoredRoute<'static> = StoredRoute { output: "a", stream: None };
const B: StoredRoute<'static> = StoredRoute { output: "b", stream: Some("Custom-B") };

/// A log for the outputs a, b and c.
struct Log {
    dir: tempfile::TempDir,
    spool: Spool,
}

impl Log {
    fn new() -> Self {
        Self::with(Config { max_size: ByteSize::mib(256), ..Config::default() })
    }

    fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(&config, &dir.path().join("spool"), Arc::new(RealFs)).unwrap();
        Self { dir, spool }
    }

    /// Appends a record; set 1 goes to a, set 2 to b, set 3 to both, set 0 to every output.
    async fn append(&self, of_events: &[u16], raw: impl Fn(usize) -> Vec<u8>) {
        self.append_with(of_events, Vec::new(), raw).await;
    }

    async fn append_with(&self, of_events: &[u16], index: Vec<u8>, raw: impl Fn(usize) -> Vec<u8>) {
        let raws: Vec<_> = (0..of_events.len()).map(raw).collect();
        let events: Vec<_> = raws.iter().map(|raw| (Format::Json, &raw[..])).collect();
        let sets = [vec![A], vec![B], vec![A, B]];
        let routing = Routing { sets: &sets, of_events };
        let payload = stored::encode(&StoredUpload {
            stream: "Custom-Upload",
            input: "in",
            client: None,
            first_seen_ms: 0,
            tries: 0,
            routing,
            events: &events,
        });
        let items = u32::try_from(events.len()).unwrap();
        let entry = Entry { items, note: Vec::new(), index, payload };
        self.spool.append(self.spool.pack(entry)).await.unwrap();
    }

    fn end(&self) -> Ordinal {
        *self.spool.durable_end().borrow()
    }

    fn builder(&self, output: &str, max_events: usize) -> Builder {
        let reader = self.spool.reader(0).unwrap();
        Builder::new(output.into(), Stub::of(max_events), reader, Vec::new(), Vec::new())
    }

    /// An output as its forwarder begins it.
    fn output(&self, name: &str, max_events: usize) -> Simulated {
        let cursor = Cursor::open(Arc::new(RealFs), &self.dir.path().join(name), &at_the_start()).unwrap();
        let settled = super::super::settled_below(self.end(), cursor.unsettled(cursor.low(), self.end()));
        let (reader, again) = (self.spool.reader(cursor.low()).unwrap(), cursor.open_batches());
        let builder = Builder::new(name.into(), Stub::of(max_events), reader, settled, again);
        Simulated { builder, cursor, on_the_way: Vec::new(), end: self.end() }
    }
}

/// What a new output of an empty log knows.
fn at_the_start() -> Surroundings {
    Surroundings { log: LogId::UNKNOWN, kept: 0..0, boot: Boot::of(1), life: None }
}

/// What a forwarder does, step by step, without its tasks.
struct Simulated {
    builder: Builder,
    cursor: Cursor,
    on_the_way: Vec<Batch>,
    end: Ordinal,
}

impl Simulated {
    /// Builds once; false at the end of the log.
    fn build(&mut self) -> bool {
        let built = self.builder.build(true, 0).unwrap();
        for aside in built.aside {
            match aside {
                Aside::Skipped(range) => self.settle(range, Settlement::Skipped),
                Aside::Damaged(range, _) => self.settle(range, Settlement::Damaged),
                Aside::DeadLetter { event, .. } => {
                    self.settle(event.ordinal..event.ordinal + 1, Settlement::DeadLettered);
                }
            }
        }
        let more = built.batch.is_some() || !built.unfilled;
        if let Some(batch) = built.batch {
            self.cursor.begin(batch.range()).unwrap();
            self.on_the_way.push(batch);
        }
        more
    }

    fn deliver(&mut self, at: usize) {
        self.cursor.settle_batch(&self.on_the_way.swap_remove(at).runs(), Settlement::Forwarded).unwrap();
        self.check_account();
    }

    fn settle(&mut self, range: Range<Ordinal>, settlement: Settlement) {
        self.cursor.settle(range, settlement).unwrap();
        self.check_account();
    }

    fn check_account(&self) {
        assert_eq!(self.cursor.totals().sum() + self.cursor.pending(self.end), self.end, "the account holds");
    }

    fn ranges(&self) -> BTreeSet<(Ordinal, Ordinal)> {
        self.on_the_way.iter().map(|batch| (batch.range().start, batch.range().end)).collect()
    }
}

fn numbered(at: usize) -> Vec<u8> {
    format!("event {at}").into_bytes()
}

/// Position and stream of each event.
fn shape(batch: &Batch) -> Vec<(Ordinal, &str)> {
    batch.events.iter().map(|event| (event.ordinal, &*event.event.stream)).collect()
}

#[tokio::test]
async fn what_a_later_gatepost_wrote_waits_for_it_and_is_not_taken_for_damage() {
    let log = Log::new();
    let mut payload = stored::encode(&StoredUpload {
        stream: "S",
        input: "in",
        client: None,
        first_seen_ms: 0,
        tries: 0,
        routing: Routing::default(),
        events: &[(Format::Json, b"{}")],
    });
    payload[0] = 99;
    let entry = Entry { items: 1, note: Vec::new(), index: Vec::new(), payload };
    log.spool.append(log.spool.pack(entry)).await.unwrap();
    let error = log.builder("a", 10).build(true, 0).unwrap_err();
    assert!(matches!(error, Stuck::Newer(_)) && error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn a_record_whose_first_events_were_sent_is_not_sent_from_its_beginning_after_a_restart() {
    let log = Log::new();
    log.append(&[0; 5], |n| format!("{{\"n\":{n}}}").into_bytes()).await;
    let mut before = log.output("a", 3);
    assert!(before.build());
    let sent = before.on_the_way.pop().unwrap().range();
    assert_eq!(sent, 0..3, "the batch ends inside of the record");
    before.settle(sent, Settlement::Forwarded);
    drop(before);

    let mut after = log.output("a", 3);
    assert!(after.build());
    assert_eq!(after.on_the_way[0].range(), 3..5);
}

#[tokio::test]
async fn outputs_that_read_one_log_each_get_their_own_events_in_the_streams_of_their_routes() {
    let log = Log::new();
    log.append(&[0, 1, 2, 3, 2, 1], numbered).await;
    let upload = |ordinal| (ordinal, "Custom-Upload");
    for (output, expected, skipped) in [
        ("a", vec![upload(0), upload(1), upload(3), upload(5)], &[2..3, 4..5][..]),
        ("b", vec![upload(0), (2, "Custom-B"), (3, "Custom-B"), (4, "Custom-B")], &[1..2, 5..6]),
        ("c", vec![upload(0)], std::slice::from_ref(&(1..6))),
    ] {
        let built = log.builder(output, 100).build(true, 0).unwrap();
        assert_eq!(built.batch.as_ref().map(shape), Some(expected), "{output}");
        assert_eq!(skipped_ranges(&built), skipped, "{output}");
    }
}

fn skipped_ranges(built: &Built) -> Vec<Range<Ordinal>> {
    let range = |aside: &Aside| match aside {
        Aside::Skipped(range) => range.clone(),
        other => panic!("not skipped: {other:?}"),
    };
    built.aside.iter().map(range).collect()
}

#[tokio::test]
async fn records_for_other_outputs_are_one_range_together() {
    let log = Log::new();
    for _ in 0..3 {
        log.append(&[2; 5_000], numbered).await;
    }
    let mut builder = log.builder("a", 100);
    let built = builder.build(true, 0).unwrap();
    assert_eq!(skipped_ranges(&built), std::slice::from_ref(&(0..15_000)));
    assert!(built.batch.is_none() && built.unfilled);
    log.append(&[2, 1, 2, 2], numbered).await;
    let built = builder.build(true, 0).unwrap();
    assert_eq!(skipped_ranges(&built), [15_000..15_001, 15_002..15_004], "what was handed out does not grow");
}

#[tokio::test]
async fn a_record_of_skipped_events_waits_in_the_queue_as_one() {
    let log = Log::new();
    log.append(&[2; 5_000], numbered).await;
    let mut builder = log.builder("a", 100);
    let Some(Item::Record(record)) = log.spool.reader(0).unwrap().next().unwrap() else { panic!("a record") };
    builder.unpack(record, &[]).unwrap();
    assert_eq!(builder.queue.len(), 1);
}

#[tokio::test]
async fn a_long_log_for_other_outputs_is_passed_in_several_calls() {
    let log = Log::new();
    for _ in 0..10 {
        log.append(&[2], |_| vec![b' '; 4 << 20]).await;
    }
    let mut builder = log.builder("a", 100);
    let first = builder.build(true, 0).unwrap();
    assert!(first.batch.is_none() && !first.unfilled, "to be called again at once");
    assert_eq!(skipped_ranges(&first), std::slice::from_ref(&(0..4)));
    let more: Vec<_> =
        (0..3).map(|_| builder.build(true, 0).unwrap()).take_while(|built| !built.aside.is_empty()).collect();
    assert_eq!(more.iter().flat_map(skipped_ranges).collect::<Vec<_>>(), [4..8, 8..10]);
    assert!(more.last().is_some_and(|built| built.unfilled));
}

#[tokio::test]
async fn what_was_skipped_before_a_read_error_is_not_forgotten() {
    let small = ByteSize::bytes(64 << 10);
    let log = Log::with(Config { segment_size: small, compression_level: 0, ..Config::default() });
    for _ in 0..3 {
        log.append(&[2], |_| vec![b' '; 40_000]).await;
    }
    let mut builder = log.builder("a", 100);
    let files = std::fs::read_dir(log.dir.path().join("spool")).unwrap().map(|entry| entry.unwrap().path());
    let segments: BTreeSet<_> = files.filter(|path| path.extension().is_some_and(|it| it == "seg")).collect();
    let second = segments.iter().nth(1).unwrap();
    // A file that is gone is damage; one that cannot be read may be readable again.
    std::fs::rename(second, second.with_extension("away")).unwrap();
    std::fs::create_dir(second).unwrap();
    let built = builder.build(true, 0).unwrap();
    assert_eq!((skipped_ranges(&built), built.unfilled), (vec![Range { start: 0, end: 1 }], false));
    assert!(matches!(builder.build(true, 0), Err(Stuck::Log(ReadError::Io(_)))), "met again");
}

#[tokio::test]
async fn a_few_events_of_a_record_do_not_keep_all_of_it_in_memory() {
    let log = Log::new();
    log.append(&[2, 1, 2, 2, 2], |_| vec![b' '; 1_000]).await;
    for (output, alone) in [("a", true), ("b", false)] {
        let batch = log.builder(output, 100).build(true, 0).unwrap().batch.unwrap();
        assert!(batch.events.iter().all(|event| event.event.raw.is_unique() == alone), "{output}");
    }
}

#[tokio::test]
async fn only_an_outputs_own_events_expire_or_prove_unsendable() {
    let log = Log::new();
    log.append(&[2, 1, 1, 2], |at| if at == 1 { b"unsendable".to_vec() } else { numbered(at) }).await;
    for (oldest_ms, expected) in [(0, vec![(1, UNSENDABLE)]), (u64::MAX, vec![(1, EXPIRED), (2, EXPIRED)])] {
        let built = log.builder("a", 100).build(true, oldest_ms).unwrap();
        let dead = built.aside.iter().filter_map(|aside| match aside {
            Aside::DeadLetter { event, reason, .. } => Some((event.ordinal, *reason)),
            _ => None,
        });
        assert_eq!(dead.collect::<Vec<_>>(), expected);
        assert_eq!(built.aside.iter().map(Aside::skipped).sum::<u64>(), 2);
        assert_eq!(built.batch.is_some(), oldest_ms == 0);
    }
}

#[tokio::test]
async fn alternating_events_settled_in_any_order_keep_the_account_at_every_step() {
    let log = Log::new();
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..8 {
        log.append(&[1, 2].repeat(20), |at| if at == 7 { b"unsendable".to_vec() } else { numbered(at) }).await;
    }
    for name in ["a", "b"] {
        let mut output = log.output(name, 7);
        while output.build() {
            if output.on_the_way.len() > 4 {
                output.deliver(rng.usize(..output.on_the_way.len()));
            }
        }
        while !output.on_the_way.is_empty() {
            output.deliver(rng.usize(..output.on_the_way.len()));
        }
        let totals = output.cursor.totals();
        let dead = if name == "b" { 8 } else { 0 };
        assert_eq!((totals.forwarded, totals.skipped, totals.dead_lettered), (160 - dead, 160, dead), "{name}");
        assert_eq!((output.cursor.low(), output.cursor.pending(log.end())), (320, 0), "{name}");
        assert_eq!(output.cursor.open_batches(), [], "{name}: nothing stays begun");
    }
}

#[tokio::test]
async fn batches_between_skipped_events_are_sent_again_in_their_old_bounds_after_a_crash() {
    let log = Log::new();
    for _ in 0..8 {
        log.append(&[1, 2, 2, 1, 2], numbered).await;
    }
    let mut before = log.output("a", 3);
    for _ in 0..4 {
        assert!(before.build());
    }
    before.deliver(1);
    before.deliver(0);
    let (open, low) = (before.ranges(), before.cursor.low());
    assert_eq!(open, before.cursor.open_batches().iter().map(|range| (range.start, range.end)).collect());
    assert_eq!(open.len(), 2);
    drop(before);

    // Another limit, so that bounds that are not kept would differ.
    let mut after = log.output("a", 2);
    while after.build() {}
    let resent: Vec<&Batch> = after.on_the_way.iter().filter(|batch| batch.resent).collect();
    let bounds: BTreeSet<_> = resent.iter().map(|batch| (batch.range().start, batch.range().end)).collect();
    assert_eq!(bounds, open, "they were on their way when the low mark was {low}");
    assert!(after.on_the_way.iter().filter(|batch| !batch.resent).all(|batch| batch.events.len() == 2));
    while !after.on_the_way.is_empty() {
        after.deliver(0);
    }
    assert_eq!((after.cursor.low(), after.cursor.totals().forwarded), (40, 16));
}

#[tokio::test]
async fn events_keep_their_order_when_their_rows_are_made_ahead() {
    let log = Log::new();
    for record in 0..5 {
        log.append(&[0; 200], |at| format!("{}", record * 200 + at).into_bytes()).await;
    }
    let mut builder = log.builder("a", 77);
    let mut found = Vec::new();
    while let Some(batch) = builder.build(true, 0).unwrap().batch {
        assert!(batch.events.len() == 77 || batch.range().end == 1000, "{:?}", batch.range());
        found.extend(batch.events.into_iter().map(|event| (event.ordinal, event.row.bytes)));
    }
    let expected: Vec<_> = (0..1000).map(|at| (at, Bytes::from(at.to_string()))).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_event_whose_row_fails_by_a_fault_of_ours_is_set_aside_and_its_neighbours_go_out() {
    let log = Log::new();
    log.append(&[0; 100], |at| if at == 60 { b"poison".to_vec() } else { b"sound".to_vec() }).await;
    let mut builder = log.builder("a", 1000);
    let built = builder.build(true, 0).unwrap();
    let batch = built.batch.unwrap();
    assert_eq!(batch.runs(), [0..60, 61..100]);
    let [Aside::DeadLetter { event, reason, .. }] = &built.aside[..] else { panic!("{:?}", built.aside) };
    assert_eq!((event.ordinal, *reason, &event.event.raw[..]), (60, UNSENDABLE, &b"poison"[..]));
}

#[tokio::test]
async fn nothing_undecided_is_forwarded_and_what_another_gateway_won_is_passed_over() {
    let log = Log::new();
    let path = log.dir.path().join("decided");
    let decided = Arc::new(Decided::open(Arc::new(RealFs), &path, log.spool.log(), 0..0).unwrap().0);
    log.append(&[0], |_| b"a replayed letter has no keys".to_vec()).await;
    log.append_with(&[0, 0, 0], vec![1], |at| vec![b'0' + at as u8]).await;
    let mut builder = log.builder("a", 10).heeding(Some(Arc::clone(&decided)));
    let batch = builder.build(true, 0).unwrap().batch.unwrap();
    assert_eq!(batch.range(), 0..1);
    let built = builder.build(true, 0).unwrap();
    assert!(built.batch.is_none() && built.aside.is_empty() && built.unfilled);
    decided.decide(Decision::Dropped, 2..3);
    assert!(builder.build(true, 0).unwrap().batch.is_none(), "the rest is still undecided");
    decided.decide(Decision::Won, 1..4);
    let built = builder.build(true, 0).unwrap();
    let ordinals: Vec<Ordinal> = built.batch.unwrap().events.iter().map(|event| event.ordinal).collect();
    assert_eq!(ordinals, [1, 3]);
    assert!(matches!(&built.aside[..], [Aside::Skipped(range)] if *range == (2..3)), "{:?}", built.aside);
}

#[path = "builder_tests/sharing.rs"]
mod sharing;
