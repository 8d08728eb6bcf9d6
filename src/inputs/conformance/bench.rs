//! One listener that speaks one protocol, over a real ingest whose disk fails on command.

use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::access_log::Requests;
use super::super::protocol::Shared;
use super::super::{Config, Uploads};
use super::client::{Answer, Sent, Specimen};
use crate::access_log::{self, AccessLog};
use crate::dedup::memory::MemoryStore;
use crate::event::{KeyMaker, Upload};
use crate::filter::{EventSet, Rules};
use crate::fs::RealFs;
use crate::fs::faulty::{Faults, FaultyFs};
use crate::hosts::Hosts;
use crate::ingest::ledger::Waiting;
use crate::ingest::{self, Accept, Ingest, Receipt, Refusal};
use crate::lab::events::Host;
use crate::net::tls_server::Mode;
use crate::spool::dead_letter::DeadLetters;
use crate::spool::{self, Spool};
use crate::values::ByteSize;

const PATIENCE: Duration = Duration::from_secs(30);

/// An ingest that shows its receipts.
struct Noted {
    ingest: Ingest,
    receipts: Arc<Mutex<Vec<Receipt>>>,
}

impl Accept for Noted {
    fn accept(&self, upload: Upload) -> BoxFuture<'static, Result<Receipt, Refusal>> {
        let (accepting, receipts) = (self.ingest.accept(upload), Arc::clone(&self.receipts));
        Box::pin(async move {
            let receipt = accepting.await?;
            receipts.lock().push(receipt);
            Ok(receipt)
        })
    }
}

/// One listener that speaks one protocol.
pub(super) struct Bench<'s> {
    specimen: &'s dyn Specimen,
    pub(super) address: SocketAddr,
    pub(super) ingest: Ingest,
    spool: Spool,
    pub(super) disk: Arc<Faults>,
    pub(super) rules: Arc<ArcSwap<Rules>>,
    receipts: Arc<Mutex<Vec<Receipt>>>,
    hosts: Mutex<Host>,
    _plane: Uploads,
    _dir: tempfile::TempDir,
}

/// A listener's configuration with this protocol and no other.
pub(super) fn config_of(specimen: &dyn Specimen) -> Config {
    let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
    config.tls.mode = Mode::Off;
    // All but these are off unless they are asked for.
    config.protocols.logs_ingestion.enabled = false;
    config.protocols.events.enabled = false;
    specimen.enable(&mut config.protocols);
    config
}

impl<'s> Bench<'s> {
    /// With the protocol alone, and what is changed about its listener.
    pub(super) async fn new(specimen: &'s dyn Specimen, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let small =
            spool::Config { segment_size: ByteSize::mib(1), max_size: ByteSize::mib(16), ..spool::Config::default() };
        let (fs, disk) = FaultyFs::new(Arc::new(RealFs));
        let (spool, _) = Spool::open(&small, &dir.path().join("spool"), fs).expect("a spool");
        let letters = DeadLetters::open(Arc::new(RealFs), &dir.path().join("dead-letters"), 1 << 20);
        let rules = Arc::new(ArcSwap::from_pointee(Rules::of_event_set(EventSet::Everything)));
        let parts = ingest::Parts {
            rules: Arc::clone(&rules),
            keys: Arc::new(KeyMaker::new(&[7; 32])),
            dedup: Arc::new(MemoryStore::new(&crate::dedup::Config::default())),
            spool: spool.clone(),
            replicated: None,
            dead_letters: letters.expect("dead letters").into(),
            waiting: Arc::new(Waiting::default()),
            hosts: Hosts::new(crate::hosts::Config::default(), spool.clock().clone()),
        };
        let (ingest, receipts) = (Ingest::new(ingest::Config::default(), parts), Arc::default());
        let accept = Noted { ingest: ingest.clone(), receipts: Arc::clone(&receipts) };
        let mut config = config_of(specimen);
        change(&mut config);
        let log = access_log::Config { file: Some(dir.path().join("access.log")), ..access_log::Config::default() };
        let log = AccessLog::open(&log).expect("an access log");
        let plane = Uploads::new(Shared::over(&dir.path().join("state")), Arc::new(accept), Requests::new(log));
        let prepared = plane.prepare(&[config]).unwrap_or_else(|error| panic!("{error}"));
        plane.apply(prepared, Duration::ZERO);
        let address = plane.addresses()[0].1;
        let hosts = Mutex::new(Host::new("CONFORM.plant.example", 3));
        Self { specimen, address, ingest, spool, disk, rules, receipts, hosts, _plane: plane, _dir: dir }
    }

    /// An upload of so many events that nobody has sent before.
    pub(super) fn fresh(&self, events: usize) -> Sent {
        self.fresh_with(events, 0)
    }

    pub(super) fn fresh_with(&self, events: usize, unreadable: usize) -> Sent {
        let mut hosts = self.hosts.lock();
        self.specimen.upload(&hosts.by_ref().take(events).collect::<Vec<_>>(), unreadable)
    }

    /// Everything that is answered to these bytes, until the connection closes or our half is closed and all is said.
    pub(super) async fn raw(&self, bytes: &[u8]) -> Vec<Answer> {
        let mut stream = TcpStream::connect(self.address).await.expect("the listener takes connections");
        stream.write_all(bytes).await.ok();
        stream.shutdown().await.ok();
        Self::rest(stream).await
    }

    pub(super) async fn rest(mut stream: TcpStream) -> Vec<Answer> {
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").ok();
        Answer::all(&answer)
    }

    pub(super) async fn send(&self, request: &Sent) -> Answer {
        let mut answers = self.raw(&request.bytes()).await;
        assert_eq!(answers.len(), 1, "one request has one answer");
        answers.remove(0)
    }

    /// Those of the uploads so far, without where in the spool they are.
    pub(super) fn receipts(&self) -> Vec<Receipt> {
        let receipts = std::mem::take(&mut *self.receipts.lock());
        receipts.into_iter().map(|receipt| Receipt { first: 0, end: 0, ..receipt }).collect()
    }

    fn kept(&self) -> u64 {
        self.spool.status().end
    }

    pub(super) fn assert_nothing_kept(&self, answer: &Answer) {
        assert!(!self.specimen.is_success(answer), "{answer:?}");
        assert_eq!((self.kept(), self.receipts()), (0, Vec::new()));
    }
}
