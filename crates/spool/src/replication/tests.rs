//! Replication against servers in memory: real spools, real takeovers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::in_memory::InMemory;
use super::message::{Content, Message, Unpacker};
use super::servers::{LogName, Servers};
use super::takeover::{Heir, Origin};
use super::{Identity, Replication, Standing};
use crate::fs::RealFs;
use crate::spool::{Config, Entry, Item, Ordinal, Record, Spool};
use crate::values::ByteSize;

const AFTER: Duration = Duration::from_millis(1_200);
const WAIT: Duration = Duration::from_secs(5);
const OUTPUT: &str = "sentinel";

/// A gateway with its spool, whose one output stands where the test says.
struct Gateway {
    dir: tempfile::TempDir,
    spool: Spool,
    replication: Replication,
    heir: Arc<Kept>,
    tasks: Vec<JoinHandle<()>>,
}

/// Keeps what it takes in the spool of its gateway.
struct Kept {
    spool: Spool,
    replication: Replication,
    origins: Mutex<Vec<Origin>>,
}

impl Heir for Kept {
    fn objection(&self, outputs: &BTreeMap<String, Ordinal>) -> Option<String> {
        outputs.keys().find(|name| *name != OUTPUT).cloned()
    }

    fn take<'a>(&'a self, record: &'a Record, origin: &'a Origin) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let low = origin.lows.get(OUTPUT).copied().unwrap_or(0);
            self.origins.lock().push(origin.clone());
            if record.first + Ordinal::from(record.items) <= low {
                return Ok(());
            }
            let entry = Entry { items: record.items, payload: record.payload.to_vec(), ..Entry::default() };
            let appended = self.spool.append(self.spool.pack(entry)).await.map_err(|error| error.to_string())?;
            let end = appended.first + Ordinal::from(appended.items);
            self.replication.replicated().reached(end).await;
            Ok(())
        })
    }
}

fn spool_config() -> Config {
    Config { segment_size: ByteSize::bytes(256 << 10), max_size: ByteSize::mib(8), ..Config::default() }
}

impl Gateway {
    fn begin(servers: &Arc<InMemory>, name: &str) -> Self {
        Self::begin_in(servers, name, tempfile::tempdir().unwrap(), 0)
    }

    /// In a directory, with the output at this item.
    fn begin_in(servers: &Arc<InMemory>, name: &str, dir: tempfile::TempDir, low: Ordinal) -> Self {
        let (spool, _) = Spool::open(&spool_config(), dir.path(), Arc::new(RealFs)).unwrap();
        let servers: Arc<dyn Servers> = servers.clone();
        let replication = Replication::new(servers, Identity::new(name.to_owned(), None), WAIT, AFTER);
        let heir = Arc::new(Kept { spool: spool.clone(), replication: replication.clone(), origins: Mutex::default() });
        let mut gateway = Self { dir, spool, replication, heir, tasks: Vec::new() };
        gateway.forwarded(low);
        let writer = gateway.replication.writer(gateway.spool.clone());
        let takeover = gateway.replication.takeover(gateway.heir.clone());
        gateway.tasks = vec![tokio::spawn(writer.run()), tokio::spawn(takeover.run())];
        gateway
    }

    fn forwarded(&self, low: Ordinal) {
        self.replication.replicated().note(BTreeMap::from([(OUTPUT.to_owned(), low)]));
    }

    /// Appends without waiting for the servers; the ordinal behind it.
    async fn append(&self, text: &str) -> Ordinal {
        self.append_bytes(text.as_bytes().to_vec()).await
    }

    async fn append_bytes(&self, payload: Vec<u8>) -> Ordinal {
        let entry = Entry { items: 1, payload, ..Entry::default() };
        self.spool.append(self.spool.pack(entry)).await.unwrap().first + 1
    }

    async fn acknowledge(&self, text: &str) -> Ordinal {
        let end = self.append(text).await;
        self.replication.replicated().reach(end).await.unwrap();
        end
    }

    fn payloads(&self) -> Vec<String> {
        let mut reader = self.spool.reader(0).unwrap();
        let mut payloads = Vec::new();
        while let Some(item) = reader.next().unwrap() {
            let Item::Record(record) = item else { continue };
            payloads.push(String::from_utf8_lossy(&record.payload).into_owned());
        }
        payloads
    }

    /// As with kill -9: nothing of it does anything more.
    async fn kill(mut self) -> tempfile::TempDir {
        for task in self.tasks.drain(..) {
            task.abort();
            drop(task.await);
        }
        self.spool.close();
        let Self { dir, .. } = self;
        dir
    }

    async fn log(&self) -> LogName {
        until("it writes", || self.replication.replicated().log().is_some()).await;
        self.replication.replicated().log().unwrap()
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn replica(servers: &InMemory, log: &LogName) -> Vec<String> {
    let mut unpacker = Unpacker::default();
    let messages = servers.messages(log);
    let records =
        messages.iter().flat_map(|stored| unpacker.read(Message::decode(&stored.bytes).unwrap().content).unwrap());
    records.map(|record| String::from_utf8_lossy(&record.payload).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_reached_is_in_the_replica_and_leaves_it_when_no_output_needs_it() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let gateway = Gateway::begin(&servers, "one");
    let log = gateway.log().await;
    for n in 0..20 {
        gateway.acknowledge(&format!("event {n}")).await;
    }
    assert_eq!(replica(&servers, &log), gateway.payloads());
    gateway.forwarded(15);
    until("what is forwarded leaves the replica", || replica(&servers, &log).len() <= 6).await;
    let left = replica(&servers, &log);
    assert_eq!(left, gateway.payloads()[20 - left.len()..], "and nothing else");
    assert!(left.len() >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_makes_nothing_lost_and_nothing_twice() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let gateway = Gateway::begin(&servers, "one");
    let log = gateway.log().await;
    for n in 0..12 {
        servers.leave_unanswered(n % 3);
        gateway.acknowledge(&format!("event {n}")).await;
    }
    assert_eq!(replica(&servers, &log), gateway.payloads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_larger_than_a_message_goes_in_pieces() {
    let servers = Arc::new(InMemory::new(4 << 10));
    let gateway = Gateway::begin(&servers, "one");
    let log = gateway.log().await;
    let large: Vec<u8> = (0..50_000).map(|_| fastrand::alphanumeric() as u8).collect();
    servers.leave_unanswered(2);
    let end = gateway.append_bytes(large.clone()).await;
    gateway.replication.replicated().reach(end).await.unwrap();
    gateway.acknowledge("and a small one").await;
    assert_eq!(replica(&servers, &log), [String::from_utf8(large).unwrap(), "and a small one".to_owned()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_servers_are_away_or_full_nothing_is_called_replicated_and_afterwards_all_of_it_is() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let gateway = Gateway::begin(&servers, "one");
    let log = gateway.log().await;
    gateway.acknowledge("before").await;
    for fault in [InMemory::set_away, InMemory::set_full] {
        fault(&servers, true);
        let end = gateway.append("meanwhile").await;
        let replicated = gateway.replication.replicated();
        assert!(tokio::time::timeout(Duration::from_millis(400), replicated.reached(end)).await.is_err());
        fault(&servers, false);
        replicated.reach(end).await.unwrap();
    }
    assert_eq!(replica(&servers, &log), gateway.payloads());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_leave_the_last_room_of_the_servers_to_takeovers() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let one = Gateway::begin(&servers, "one");
    for n in 0..10 {
        one.acknowledge(&format!("event {n}")).await;
    }
    one.kill().await;
    let two = Gateway::begin(&servers, "two");
    two.acknowledge("of its own").await;
    servers.set_scarce(true);
    until("it refuses uploads", || two.replication.replicated().check().is_err()).await;
    until("it takes over all the same", || two.payloads().len() == 11).await;
    servers.set_scarce(false);
    until("it takes uploads again", || two.replication.replicated().check().is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_gateway_that_is_gone_is_taken_over_and_not_sent_by_it_when_it_is_back() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let one = Gateway::begin(&servers, "one");
    let log = one.log().await;
    for n in 0..10 {
        one.acknowledge(&format!("event {n}")).await;
    }
    one.forwarded(4);
    let told = || servers.state(&log).is_some_and(|state| state.lows.get(OUTPUT) == Some(&4));
    until("the servers know what was forwarded", told).await;
    let home = one.kill().await;
    let two = Gateway::begin(&servers, "two");
    until("it is taken over", || two.payloads().len() == 6).await;
    assert_eq!(two.payloads(), (4..10).map(|n| format!("event {n}")).collect::<Vec<_>>());
    let is_closed = || Message::decode(&servers.messages(&log).last().unwrap().bytes).unwrap().content == Content::Seal;
    until("the replica is closed", is_closed).await;

    let one = Gateway::begin_in(&servers, "one", home, 4);
    let handed_over =
        tokio::time::timeout(Duration::from_secs(20), one.replication.replicated().permit().granted()).await;
    assert_eq!(handed_over, Ok(10), "what was taken over is passed over");
    assert_ne!(one.log().await, log);
    one.acknowledge("afterwards").await;
    assert_eq!(replica(&servers, &one.log().await), ["afterwards"]);
    assert_eq!(two.payloads().len(), 6, "taken over once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_cut_off_stops_sending_before_another_can_take_its_log_over() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let gateway = Gateway::begin(&servers, "one");
    let mut permit = gateway.replication.replicated().permit();
    assert_eq!(permit.granted().await, 0);
    let cut_off = tokio::time::Instant::now();
    servers.set_away(true);
    permit.over().await;
    assert!(!permit.holds() && cut_off.elapsed() < AFTER, "{:?}", cut_off.elapsed());
    servers.set_away(false);
    tokio::time::timeout(WAIT, permit.granted()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_with_one_log_the_first_stops() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let one = Gateway::begin(&servers, "one");
    one.acknowledge("event").await;
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(one.dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let two = Gateway::begin_in(&servers, "copy", copy, 0);
    two.acknowledge("of the copy").await;
    let mut standing = one.replication.replicated().standing();
    let lost = standing.wait_for(|standing| matches!(standing, Standing::Lost(_)));
    tokio::time::timeout(WAIT, lost).await.unwrap().unwrap();
    assert!(!one.replication.replicated().permit().holds());
    let end = one.append("nobody's").await;
    assert!(tokio::time::timeout(Duration::from_millis(600), one.replication.replicated().reached(end)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_damaged_spool_has_lost_is_taken_from_its_own_replica() {
    let servers = Arc::new(InMemory::new(64 << 10));
    let one = Gateway::begin(&servers, "one");
    for n in 0..5 {
        one.acknowledge(&format!("event {n}")).await;
    }
    let home = one.kill().await;
    let segment = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|of| of == "seg")).max().unwrap();
    // The last records, as if the disk had never had them.
    let mut bytes = std::fs::read(&segment).unwrap();
    let found: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, word)| word == b"GpRc").map(|(at, _)| at).collect();
    bytes[found[3]..].fill(0);
    std::fs::write(&segment, bytes).unwrap();
    let one = Gateway::begin_in(&servers, "one", home, 0);
    until("they are back", || one.payloads().iter().any(|payload| payload == "event 4")).await;
    let handed_over = one.replication.replicated().permit().granted().await;
    let after: Vec<String> = one.payloads().split_off(3);
    assert_eq!((handed_over, after), (5, (0..5).map(|n| format!("event {n}")).collect::<Vec<_>>()));
}
