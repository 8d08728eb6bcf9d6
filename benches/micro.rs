//! The steps of the main path, one by one: `cargo bench --bench micro`.
//!
//! Each works on an upload of 500 realistic Security events; the item count makes divan print events per second.

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use gatepost::dedup::memory::MemoryStore;
use gatepost::dedup::store::Store as _;
use gatepost::event::columns::{self, Extras, Made, Source, Table};
use gatepost::event::document::Document;
use gatepost::event::stored::{self, Routing, StoredUpload};
use gatepost::event::{Client, Event, EventKey, Format, KeyMaker, Syntax, Timestamp, decode, from_json, from_xml, key};
use gatepost::filter::xpath::{Program, View, xpath};
use gatepost::filter::{EventSet, Rules};
use gatepost::lab::events::{Host, Shape};
use gatepost::outputs::output::{OutgoingEvent, Output, Row};
use gatepost::outputs::{self, workspace};
use gatepost::spool::{Entry, Spool};
use libdeflater::{CompressionLvl, Compressor, Decompressor};

#[path = "micro/counting.rs"]
mod counting;

const EVENTS: usize = 500;

fn main() {
    divan::main();
}

fn events(shape: Shape) -> Vec<Vec<u8>> {
    let mut host = Host::new("SRV-0001.plant.example", 1);
    (0..EVENTS).map(|_| host.next_event().render(shape)).collect()
}

fn array(shape: Shape) -> Vec<u8> {
    [b"[".as_slice(), &events(shape).join(&b','), b"]"].concat()
}

#[divan::bench]
fn inflate_gzip(bencher: Bencher<'_, '_>) {
    let plain = array(Shape::Row);
    let mut gzip = vec![0; plain.len()];
    let size = Compressor::new(CompressionLvl::default()).gzip_compress(&plain, &mut gzip).expect("it shrinks");
    let mut out = vec![0; plain.len()];
    let mut inflate = Decompressor::new();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(plain.len()))
        .bench_local(|| inflate.gzip_decompress(&gzip[..size], &mut out).expect("it was made above"));
}

#[divan::bench(args = [Shape::Row, Shape::EvtxJson])]
fn decode_json_array(bencher: Bencher<'_, '_>, shape: Shape) {
    let body = array(shape);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(body.len()))
        .bench_local(|| decode(Syntax::JsonArray, black_box(&body)).expect("it is sound").events.len());
}

#[divan::bench]
fn decode_xml_lines(bencher: Bencher<'_, '_>) {
    let body = events(Shape::Xml).join(&b'\n');
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(body.len()))
        .bench_local(|| decode(Syntax::Lines, black_box(&body)).expect("it is sound").events.len());
}

#[divan::bench]
fn scan_xml(bencher: Bencher<'_, '_>) {
    let events = events(Shape::Xml);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| events.iter().map(|xml| from_xml::scan(black_box(xml)).expect("it is sound").1).sum::<usize>());
}

#[divan::bench]
fn scan_json(bencher: Bencher<'_, '_>) {
    let events: Vec<String> =
        events(Shape::Row).into_iter().map(|row| String::from_utf8(row).expect("it is text")).collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        events.iter().map(|row| from_json::scan(black_box(row), 0).expect("it is sound").end).sum::<usize>()
    });
}

/// Makes a row.
type MakeRow = fn(Option<Table>, Source<'_>, &Extras, &RangeInclusive<Timestamp>) -> Result<Made, String>;

/// Makes rows of all events, with all extras.
fn rows(bencher: Bencher<'_, '_>, written: (Shape, Format), table: Table) {
    rows_by(columns::row, bencher, written, table);
}

fn rows_by(make: MakeRow, bencher: Bencher<'_, '_>, (shape, format): (Shape, Format), table: Table) {
    let events: Vec<Bytes> = events(shape).into_iter().map(Bytes::from).collect();
    let extras = Extras {
        original_time: "EventTime_CF".to_owned(),
        event_key: "EventKey_CF".to_owned(),
        client: "Client_CF".to_owned(),
    };
    let none_kept = Timestamp::from_ticks(i64::MAX)..=Timestamp::from_ticks(i64::MAX);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let row = |raw: &Bytes| {
            let source = Source { format, raw: black_box(raw), client: Some("host") };
            make(Some(table), source, &extras, &none_kept).expect("it is sound").bytes.len()
        };
        events.iter().map(row).sum::<usize>()
    });
}

#[divan::bench(args = Table::ALL)]
fn columns_xml(bencher: Bencher<'_, '_>, table: Table) {
    rows(bencher, (Shape::Xml, Format::Xml), table);
}

/// The same by way of the tree, as events go that are not plain.
#[divan::bench(args = Table::ALL)]
fn columns_xml_by_tree(bencher: Bencher<'_, '_>, table: Table) {
    rows_by(columns::row_by_tree, bencher, (Shape::Xml, Format::Xml), table);
}

/// Nested JSON, of which no table's row consists.
#[divan::bench(args = Table::ALL)]
fn columns_nested_json(bencher: Bencher<'_, '_>, table: Table) {
    rows(bencher, (Shape::EvtxJson, Format::Json), table);
}

/// The rows are of `SecurityEvent` already, so that this table's go out as they came.
#[divan::bench(args = Table::ALL)]
fn columns_json(bencher: Bencher<'_, '_>, table: Table) {
    rows(bencher, (Shape::Row, Format::Json), table);
}

#[divan::bench]
fn decide_common(bencher: Bencher<'_, '_>) {
    let body = array(Shape::Row);
    let decoded = decode(Syntax::JsonArray, &body).expect("it is sound");
    let rules = Rules::of_event_set(EventSet::Common);
    let client = Client::default();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut session = rules.session(&client, "", Timestamp::from_ticks(0));
        decoded.events.iter().for_each(|event| _ = black_box(session.decide(event)));
    });
}

/// Reads the trees of all events, as far as `read` does.
fn read_documents(bencher: Bencher<'_, '_>, shape: Shape, read: impl Fn(&mut Document, &Event<'_>)) {
    let body = events(shape).join(&b'\n');
    let decoded = decode(Syntax::Lines, &body).expect("it is sound");
    let mut document = Document::default();
    bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(body.len())).bench_local(|| {
        for event in &decoded.events {
            document.clear();
            read(&mut document, event);
            black_box(&document);
        }
    });
}

#[divan::bench]
fn document_system(bencher: Bencher<'_, '_>) {
    read_documents(bencher, Shape::Xml, Document::read_system);
}

#[divan::bench(args = [Shape::Xml, Shape::Row])]
fn document_whole(bencher: Bencher<'_, '_>, shape: Shape) {
    read_documents(bencher, shape, Document::read_all);
}

/// One query that needs no tree, one that needs `System` and one that needs the event data. Each names ids that many events
/// have, or the cheap part would decide alone.
#[divan::bench(args = [
    "*[System[(EventID=4624 or EventID=4688 or EventID=4672) and Level=0]]",
    "*[System[band(Keywords,9007199254740992)]]",
    "*[EventData[Data[@Name='LogonType']='3']]",
])]
fn xpath_program(bencher: Bencher<'_, '_>, query: &str) {
    let body = events(Shape::Xml).join(&b'\n');
    let decoded = decode(Syntax::Lines, &body).expect("it is sound");
    let program = Program::compile(&xpath(query).expect("it is sound"));
    let mut document = Document::default();
    let now = Timestamp::from_ticks(0);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let taken = |event| program.matches(&mut View::new(event, now, &mut document));
        decoded.events.iter().map(taken).filter(|taken| *taken).count()
    });
}

#[divan::bench]
fn make_keys(bencher: Bencher<'_, '_>) {
    let body = array(Shape::Row);
    let decoded = decode(Syntax::JsonArray, &body).expect("it is sound");
    let maker = KeyMaker::new(&[7; 32]);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let mut keys = maker.for_scope("group:plant", "Custom-SecurityEvent");
        decoded.events.iter().for_each(|event| _ = black_box(keys.key(event)))
    });
}

fn run_of_keys(upload: u64) -> Vec<EventKey> {
    let first = upload * EVENTS as u64;
    (first..first + EVENTS as u64)
        .map(|record_id| EventKey::Record {
            stream: 7,
            record_id,
            second: 1_700_000_000 + (record_id / 50) as i64,
            event_id: Some(4_624 + (record_id * 7 % 12) as u16),
        })
        .collect()
}

#[divan::bench]
fn encode_keys(bencher: Bencher<'_, '_>) {
    let keys = run_of_keys(1);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| key::encode_keys(black_box(&keys)));
}

#[divan::bench]
fn claim_and_confirm(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = MemoryStore::new(&gatepost::dedup::Config::default());
    let mut upload = 0;
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| {
            upload += 1;
            run_of_keys(upload)
        })
        .bench_local_values(|keys| runtime.block_on(store.claim(&keys)).expect("memory is there").confirm(0..0));
}

fn payload() -> Vec<u8> {
    let events = events(Shape::Row);
    let events: Vec<_> = events.iter().map(|raw| (gatepost::event::Format::Json, raw.as_slice())).collect();
    stored::encode(&StoredUpload {
        stream: "Custom-SecurityEvent",
        input: "agents",
        client: None,
        first_seen_ms: 0,
        tries: 0,
        routing: Routing::default(),
        events: &events,
    })
}

#[divan::bench]
fn pack_record(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().expect("a directory");
    let fs = Arc::new(gatepost::fs::RealFs);
    let (spool, _) = Spool::open(&gatepost::spool::Config::default(), dir.path(), fs).expect("a spool");
    let payload = payload();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(payload.len()))
        .with_inputs(|| Entry { items: EVENTS as u32, note: Vec::new(), index: Vec::new(), payload: payload.clone() })
        .bench_local_values(|entry| spool.pack(entry));
    spool.close();
}

#[divan::bench]
fn unpack_stored(bencher: Bencher<'_, '_>) {
    let payload = Bytes::from(payload());
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| stored::decode(payload.clone()).expect("it was made above").events.len());
}

fn workspace() -> Arc<dyn Output> {
    let endpoint =
        outputs::config::Endpoint { url: "http://127.0.0.1:9".to_owned(), ..outputs::config::Endpoint::default() };
    let config = workspace::Config {
        name: "workspace".to_owned(),
        dcr: format!("dcr-{}", "0".repeat(32)),
        stream: "Custom-SecurityEvent".to_owned(),
        endpoints: vec![endpoint],
        ..workspace::Config::default()
    };
    outputs::build(&outputs::Config::Workspace(Box::new(config)), &outputs::Shared::new(std::path::Path::new(".")))
        .expect("it is sound")
}

#[divan::bench]
fn encode_batch(bencher: Bencher<'_, '_>) {
    let output = workspace();
    let rows: Vec<Row> = events(Shape::Row)
        .into_iter()
        .map(|raw| OutgoingEvent {
            format: gatepost::event::Format::Json,
            stream: "s".into(),
            client: None,
            raw: raw.into(),
        })
        .map(|event| output.row(&event).expect("it is a row"))
        .collect();
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(rows.iter().map(|row| row.bytes.len()).sum::<usize>()))
        .bench_local(|| output.body(black_box(&rows)).bytes.len());
}
