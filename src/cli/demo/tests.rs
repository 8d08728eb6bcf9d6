//! The demo against pretended gateways: an honest one passes, and each kind of cheat is found out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use super::account::{Account, Books};
use super::hosts::Written;
use super::{Args, Plan, Spool, UnderTest, perform};
use crate::cli::send::uploader::Tally;
use crate::lab::events::Identity;
use crate::lab::held::Held;
use crate::net::upload_client::Client;

#[derive(Clone, Copy, PartialEq)]
enum Gateway {
    Honest,
    ForgetsWhatItSaw,
}

struct Pretence {
    kind: Gateway,
    collectors: Vec<String>,
    client: Client,
    seen: HashSet<Identity>,
    books: Books,
    batches: usize,
}

impl Pretence {
    async fn take(&mut self, body: &Bytes) {
        let size = u32::from_le_bytes(*body.last_chunk().expect("a gzip member")) as usize;
        let mut plain = vec![0; size];
        libdeflater::Decompressor::new().gzip_decompress(body, &mut plain).expect("gzip");
        let mut upload = Held::default();
        self.books.received += upload.take(&plain).expect("records");
        let mut rows = Vec::new();
        for event in upload.events.into_keys() {
            if event.channel != "security" {
                self.books.filtered += 1;
            } else if !self.seen.insert(event.clone()) && self.kind != Gateway::ForgetsWhatItSaw {
                self.books.duplicate += 1;
            } else {
                self.books.spooled += 1;
                let Identity { computer, channel, record_id } = event;
                rows.push(serde_json::json!({"Computer": computer, "Channel": channel, "EventRecordId": record_id}));
            }
        }
        self.books.forwarded += rows.len() as u64;
        self.forward(serde_json::to_vec(&rows).expect("JSON").into()).await;
    }

    async fn forward(&mut self, body: Bytes) {
        self.batches += 1;
        let id = self.batches.to_string();
        let mut turn = self.batches;
        loop {
            let collector = &self.collectors[turn % self.collectors.len()];
            let url = format!("{collector}/dataCollectionRules/dcr-1/streams/Custom-X?api-version=2023-01-01");
            let headers = [("x-ms-client-request-id", id.as_str())];
            match self.client.post(&url, &headers, body.clone(), Duration::from_secs(5)).await {
                Ok(answer) if answer.status == 204 => return,
                Ok(_) | Err(_) => turn += 1,
            }
        }
    }

    fn page(&self) -> String {
        let b = &self.books;
        format!(
            "# HELP gatepost_events_received_total x\ngatepost_events_received_total{{input=\"a\"}} {}\n\
             gatepost_events_filtered_total{{input=\"a\",reason=\"b\"}} {}\n\
             gatepost_events_duplicate_total{{input=\"a\"}} {}\ngatepost_events_spooled_total {}\n\
             gatepost_events_forwarded_total{{output=\"o\"}} {}\ngatepost_events_pending{{output=\"o\"}} 0\n",
            b.received, b.filtered, b.duplicate, b.spooled, b.forwarded
        )
    }
}

struct Running(String);

impl UnderTest for Running {
    fn upload_url(&self) -> String {
        self.0.clone()
    }

    fn admin_url(&self) -> String {
        self.0.clone()
    }

    fn ca_pem(&self) -> Option<Vec<u8>> {
        None
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

type Shared = State<Arc<Mutex<Pretence>>>;

async fn start(kind: Gateway, plan: Plan) -> anyhow::Result<Box<dyn UnderTest>> {
    assert!(plan.state_dir.is_dir());
    let pretence = Pretence {
        kind,
        collectors: plan.collectors.into_iter().map(|(_, url)| url).collect(),
        client: Client::new(None)?,
        seen: HashSet::new(),
        books: Books::default(),
        batches: 0,
    };
    // What is begun is finished, even if the host hangs up: as the real gateway promises.
    let upload = async |State(state): Shared, body: Bytes| {
        tokio::spawn(async move { state.lock().await.take(&body).await }).await.expect("taken");
    };
    let router = Router::new()
        .route("/v1/events", post(upload))
        .route("/dataCollectionRules/{rule}/streams/{stream}", post(upload))
        .route("/metrics", get(async |State(state): Shared| state.lock().await.page()))
        .with_state(Arc::new(Mutex::new(pretence)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(Box::new(Running(url)))
}

async fn account_of(kind: Gateway) -> Account {
    let args = Args { seconds: 3, hosts: 5, events: 1_500, keep: false, cluster: false, spool: Spool::Segments };
    let account = perform(&args, |plan| start(kind, plan)).await.expect("a performance");
    println!("{}", account.describe());
    account
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_gateway_passes() {
    let account = account_of(Gateway::Honest).await;
    assert_eq!(account.problems, Vec::<String>::new());
    assert_eq!((account.written, account.agents.acknowledged), (1_500, 2_100));
    assert!(account.gateway.duplicate >= 500, "{:?}", account.gateway);
    assert!(account.gateway.filtered > 0 && account.lost_replies > 0 && account.agents.retries > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_forgets_is_found_out() {
    let account = account_of(Gateway::ForgetsWhatItSaw).await;
    assert!(account.repeated > 0 && !account.balances(), "{:?}", account.problems);
}

#[test]
fn every_disagreement_is_named() {
    let event = |n| Identity::new("a", "Security", n);
    let written: Written = [(event(1), true), (event(2), true), (event(3), false)].into();
    let books = Books { received: 4, filtered: 1, duplicate: 1, spooled: 2, forwarded: 2, ..Books::default() };
    let agents = Tally { acknowledged: 4, ..Tally::default() };
    let held =
        |events: &[(u64, u32)]| Held { events: events.iter().map(|(n, t)| (event(*n), *t)).collect(), strangers: 0 };
    let problems = |held: &Held, books| Account::new(&written, held, agents.clone(), books).problems;

    assert!(problems(&held(&[(1, 1), (2, 1)]), books).is_empty());
    assert_eq!(problems(&held(&[(1, 1)]), books), ["1 events of the set never arrived"]);
    assert_eq!(problems(&held(&[(1, 2), (2, 1)]), books), ["1 events arrived more than once"]);
    assert_eq!(problems(&held(&[(1, 1), (2, 1), (3, 1)]), books).len(), 1);
    assert_eq!(problems(&held(&[(1, 1), (2, 1)]), Books { filtered: 0, ..books }).len(), 1);
    assert_eq!(problems(&held(&[(1, 1), (2, 1)]), Books { pending: 1, ..books }).len(), 1);
    assert_eq!(problems(&held(&[(1, 1), (2, 1)]), Books { received: 3, duplicate: 0, ..books }).len(), 1);
    assert_eq!(problems(&held(&[(1, 1), (2, 1)]), Books { forwarded: 1, pending: 1, ..books }).len(), 1);
}

#[test]
fn books_are_read_from_the_metrics_page() {
    let page = "# TYPE gatepost_events_received_total counter\n\
                gatepost_events_received_total{input=\"a b\"} 3\ngatepost_events_received_total{input=\"b\"} 4\n\
                gatepost_events_received_total_other 9\ngatepost_events_pending{output=\"o\"} 2.0\n";
    assert_eq!(Books::read(page), Books { received: 7, pending: 2, ..Books::default() });
}

#[test]
fn what_the_collectors_recognised_is_told_and_that_azure_would_not_have() {
    let mut account = Account::new(&Written::new(), &Held::default(), Tally::default(), Books::default());
    assert!(!account.describe().contains("Azure"), "nothing was sent twice");
    for (repeats, told) in [(1, "Once a batch was sent twice"), (12, "12 times a batch was sent twice")] {
        let (requests, refused, holds) = (20, 0, 0);
        account.collectors =
            vec![super::account::CollectorPart { name: "a", behaviour: "", requests, refused, repeats, holds }];
        let text = account.describe();
        assert!(text.contains(told) && text.contains("Azure would not have"), "{text}");
    }
}
