use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::timeout;

use super::super::batch::{Earlier, Identity};
use super::super::{Config, Parts};
use super::*;
use crate::balancer::{self, Backoff, Balancer, EndpointStatus, RetryBudget, SharedRate, Spec};
use crate::event::Format;
use crate::fs::RealFs;
use crate::outputs::output::{BatchLimits, Body, EndpointSpec, OutgoingEvent, Output, Row};
use crate::spool::cursor::{Boot, Cursor, Surroundings};
use crate::spool::dead_letter::DeadLetters;
use crate::spool::{LogId, Spool};

const MINUTE: Duration = Duration::from_secs(60);

/// What an endpoint does with a request.
#[derive(Clone, Copy)]
enum Does {
    Accept,
    /// Takes nothing that holds the word.
    Reject(&'static str),
    /// Finds more than so many events too large.
    Split(usize),
    /// Cannot be reached.
    Connect,
    /// Fails, with the batch in its hands.
    Fail,
    Hang,
}

/// Endpoints that do as they are told: first what stands in their script, then always the same.
struct Stub {
    specs: Vec<EndpointSpec>,
    always: parking_lot::Mutex<Vec<Does>>,
    script: parking_lot::Mutex<VecDeque<Does>>,
    asked: parking_lot::Mutex<Vec<usize>>,
}

impl Stub {
    fn new(always: &[Does]) -> Self {
        let spec = |at: usize| EndpointSpec {
            name: format!("e{at}"),
            weight: 1.0,
            address: String::new(),
            priority: 0,
            events_per_second: None,
            max_in_flight: 4,
        };
        Self {
            specs: (0..always.len()).map(spec).collect(),
            always: always.to_vec().into(),
            script: parking_lot::Mutex::default(),
            asked: vec![0; always.len()].into(),
        }
    }
}

impl Output for Stub {
    fn kind(&self) -> &'static str {
        "stub"
    }

    fn endpoints(&self) -> &[EndpointSpec] {
        &self.specs
    }

    fn limits(&self) -> BatchLimits {
        BatchLimits { max_bytes: 1 << 20, max_events: 100, frame_bytes: 0, separator_bytes: 0 }
    }

    fn row(&self, event: &OutgoingEvent) -> Result<Row, String> {
        Ok(Row::timeless(event.raw.clone()))
    }

    fn body(&self, rows: &[Row]) -> Body {
        let body: Vec<u8> = rows.iter().flat_map(|row| row.bytes.to_vec()).collect();
        Body { plain_bytes: body.len(), bytes: body.into(), events: rows.len() }
    }

    fn send<'a>(&'a self, endpoint: usize, request: &'a Request) -> BoxFuture<'a, Outcome> {
        self.asked.lock()[endpoint] += 1;
        let does = self.script.lock().pop_front().unwrap_or(self.always.lock()[endpoint]);
        let retry = |reason, may_be_taken| Outcome::Retry { after: None, reason, may_be_taken, detail: "no".into() };
        let holds = |word: &str| memchr::memmem::find(&request.body, word.as_bytes()).is_some();
        let outcome = match does {
            Does::Reject(word) if holds(word) => Outcome::Rejected { status: Some(400), detail: "400: no".into() },
            Does::Split(most) if request.events > most => Outcome::Split { status: Some(413), detail: "413".into() },
            Does::Accept | Does::Reject(_) | Does::Split(_) => Outcome::Accepted,
            Does::Connect => retry(RetryReason::Connect, false),
            Does::Fail => retry(RetryReason::Failed, true),
            Does::Hang => return std::future::pending().boxed(),
        };
        async { outcome }.boxed()
    }

    fn probe<'a>(&'a self, _: usize) -> BoxFuture<'a, Result<(), String>> {
        async { Ok(()) }.boxed()
    }
}

/// An output, with the metrics of this test alone.
struct Scene {
    stub: Arc<Stub>,
    forwarder: Arc<Forwarder>,
    next: u64,
    metrics: PrometheusHandle,
    _recorder: ::metrics::LocalRecorderGuard<'static>,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn new(always: &[Does]) -> Self {
        let recorder = Box::leak(Box::new(PrometheusBuilder::new().build_recorder()));
        let metrics = recorder.handle();
        // Before the forwarder, which finds its series once.
        let _recorder = ::metrics::set_default_local_recorder(recorder);
        let dir = tempfile::tempdir().unwrap();
        let stub = Arc::new(Stub::new(always));
        let spec = |spec: &EndpointSpec| Spec {
            name: spec.name.clone(),
            weight: 1.0,
            priority: 0,
            events_per_second: None,
            rate: SharedRate::default(),
            max_in_flight: 4,
        };
        let (spool, _) = Spool::open(&Default::default(), &dir.path().join("spool"), Arc::new(RealFs)).unwrap();
        let config = balancer::Config::default();
        let at_the_start = Surroundings { log: LogId::UNKNOWN, kept: 0..0, boot: Boot::of(1), life: None };
        let dead_letters = DeadLetters::open(Arc::new(RealFs), &dir.path().join("dead"), u64::MAX).unwrap();
        let forwarder = Arc::new(Forwarder::new(Parts {
            name: "out".into(),
            config: Config::default(),
            output: Arc::clone(&stub) as Arc<dyn Output>,
            balancer: Balancer::new(stub.specs.iter().map(spec).collect(), &config, fastrand::Rng::with_seed(7)),
            spool,
            decided: None,
            permit: None,
            alike: None,
            cursor: Cursor::open(Arc::new(RealFs), &dir.path().join("out.cursor"), &at_the_start).unwrap(),
            dead_letters: dead_letters.into(),
            backoff: Backoff::between_retries(&config),
            budget: RetryBudget::new(&config),
            identity: Identity::new(b"here", LogId::UNKNOWN, "out"),
            rng: fastrand::Rng::with_seed(7),
            room: u64::MAX,
        }));
        Self { stub, forwarder, next: 0, metrics, _recorder, _dir: dir }
    }

    /// The next so many events, of which one is bad if that is wanted.
    fn batch(&mut self, events: u64, bad: Option<u64>) -> Batch {
        let event = |at: u64| {
            let raw = Bytes::from_static(if bad == Some(at) { b"bad;" } else { b"fine;" });
            let event = OutgoingEvent { format: Format::Json, stream: "s".into(), client: None, raw: raw.clone() };
            Positioned { ordinal: self.next + at, event, row: Row::timeless(raw), earlier: Earlier::default() }
        };
        let events: Vec<_> = (0..events).map(event).collect();
        self.next += events.len() as u64;
        Batch { events, spooled_at_ms: 1, for_several: false, resent: false }
    }

    async fn deliver(&self, batch: Batch) {
        let batch = self.forwarder.take(batch);
        Arc::clone(&self.forwarder).deliver(batch, CancellationToken::new()).await;
    }

    /// The same, and dies then.
    async fn deliver_for(&self, span: Duration, batch: Batch) {
        assert!(timeout(span, self.deliver(batch)).await.is_err(), "it was delivered");
    }

    fn always(&self, endpoint: usize, does: Does) {
        self.stub.always.lock()[endpoint] = does;
    }

    fn script(&self, script: impl IntoIterator<Item = Does>) {
        self.stub.script.lock().extend(script);
    }

    fn counted(&self, series: &str) -> u64 {
        let page = self.metrics.render();
        let line = page.lines().find(|line| line.starts_with(series));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    }

    fn ambiguous(&self) -> u64 {
        self.counted("gatepost_events_ambiguous_total")
    }

    fn in_doubt(&self) -> Vec<std::ops::Range<u64>> {
        self.forwarder.cursor().open_batches()
    }

    /// Forwarded and buried.
    fn settled(&self) -> (u64, u64) {
        let totals = self.forwarder.totals();
        (totals.forwarded, totals.dead_lettered)
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_be_there_is_counted_when_it_is_sent_again_and_not_more() {
    let mut scene = Scene::new(&[Does::Accept]);
    // It may be there after the first, the third and the fourth: two copies. The second reached nobody.
    scene.script([Does::Fail, Does::Connect, Does::Fail, Does::Accept]);
    let batch = scene.batch(10, None);
    scene.deliver(batch).await;
    assert_eq!((scene.ambiguous(), scene.settled()), (20, (10, 0)));
    assert_eq!(scene.counted("gatepost_events_ambiguous_by_reason_total{output=\"out\",reason=\"failed\"}"), 20);
    scene.script([Does::Connect, Does::Reject(""), Does::Accept]);
    let batch = scene.batch(10, None);
    scene.deliver(batch).await;
    assert_eq!(scene.ambiguous(), 20, "a certain no leaves nothing to count");
}

#[tokio::test(start_paused = true)]
async fn what_may_be_there_is_counted_once_when_it_goes_on_in_halves() {
    let mut scene = Scene::new(&[Does::Split(5)]);
    scene.script([Does::Fail]);
    let batch = scene.batch(10, None);
    scene.deliver(batch).await;
    assert_eq!((scene.ambiguous(), scene.settled()), (10, (10, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_kill_finds_in_doubt_what_was_at_an_endpoint_and_not_what_waited() {
    let mut scene = Scene::new(&[Does::Connect]);
    let batch = scene.batch(10, None);
    scene.deliver_for(MINUTE, batch).await;
    assert_eq!(scene.in_doubt(), [], "nobody has it");
    scene.script([Does::Fail]);
    let batch = scene.batch(10, None);
    scene.deliver_for(MINUTE, batch).await;
    assert_eq!(scene.in_doubt(), std::slice::from_ref(&(10..20)), "one may have it, whatever came after");
    scene.always(0, Does::Hang);
    let batch = scene.batch(10, None);
    scene.deliver_for(MINUTE, batch).await;
    assert_eq!(scene.in_doubt(), [10..20, 20..30]);
}

#[tokio::test(start_paused = true)]
async fn a_half_that_was_not_sent_is_not_in_doubt() {
    let mut scene = Scene::new(&[Does::Hang]);
    scene.script([Does::Split(5)]);
    let batch = scene.batch(10, None);
    scene.deliver_for(MINUTE, batch).await;
    assert_eq!(scene.in_doubt(), std::slice::from_ref(&(0..5)));
}

#[tokio::test(start_paused = true)]
async fn one_of_three_that_refuses_everything_buries_nothing_and_is_left_out() {
    for refuse in [Does::Reject(""), Does::Split(0)] {
        let mut scene = Scene::new(&[Does::Accept, refuse, Does::Accept]);
        for _ in 0..60 {
            let batch = scene.batch(10, None);
            scene.deliver(batch).await;
        }
        assert_eq!(scene.settled(), (600, 0));
        let state = &scene.forwarder.balancer().snapshot()[1];
        assert_eq!((state.state, state.ejected_for), (EndpointStatus::Open, Some(balancer::Ejection::Contradicted)));
        assert_eq!(scene.stub.asked.lock()[1], 5, "five are enough to see it");
        assert_eq!(scene.counted("gatepost_forward_contradicted_total{output=\"out\"}"), 5);
        let error = scene.forwarder.last_error().expect("it is told");
        assert!(error.endpoint == "e1" && error.advice.is_some(), "{error:?}");
        assert_eq!(scene.ambiguous(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_dead_when_all_say_so_and_each_is_asked_once() {
    let mut scene = Scene::new(&[Does::Reject("bad"); 3]);
    let batch = scene.batch(64, Some(41));
    scene.deliver(batch).await;
    assert_eq!(scene.settled(), (63, 1));
    // Two are asked at each of six halvings, three about the event, and one about each half that is fine.
    let asked: usize = scene.stub.asked.lock().iter().sum();
    assert_eq!(asked, 6 * 2 + 3 + 6);
    assert_eq!(scene.counted("gatepost_forward_contradicted_total"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_one_refuses_and_another_takes_is_no_dead_letter() {
    let mut scene = Scene::new(&[Does::Reject("bad"), Does::Reject("bad"), Does::Accept]);
    for _ in 0..10 {
        let batch = scene.batch(16, Some(3));
        scene.deliver(batch).await;
    }
    assert_eq!(scene.settled(), (160, 0));
}

#[tokio::test(start_paused = true)]
async fn one_is_taken_at_its_word_when_the_others_cannot_be_had_for_a_minute() {
    let mut scene = Scene::new(&[Does::Reject("bad"), Does::Connect]);
    let began = Instant::now();
    let batch = scene.batch(16, Some(3));
    scene.deliver(batch).await;
    assert_eq!(scene.settled(), (15, 1));
    // Once for all halves, and a pause between two tries more at the most.
    assert!((MINUTE..3 * MINUTE).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_others_that_are_only_busy_also_when_its_batch_has_waited() {
    let scene = Scene::new(&[Does::Accept, Does::Accept]);
    let (mut patience, mut refusals) = (Patience::default(), Refusals::default());
    let refused = Refused::rejected(Some(400), "400: no".into());
    refusals.add(Said { endpoint: 0, outcome: "rejected", refused });
    assert!(!scene.forwarder.are_enough(&mut refusals, 2, &mut patience) && !refusals.are_final());
    tokio::time::advance(MINUTE).await;
    assert!(!scene.forwarder.are_enough(&mut refusals, 2, &mut patience) && refusals.are_final(), "it is halved");
    assert!(!scene.forwarder.are_enough(&mut refusals, 1, &mut patience) && !refusals.are_final(), "it waits");
    tokio::time::advance(MINUTE).await;
    assert!(refusals.are_final(), "but not for long");
}

#[tokio::test(start_paused = true)]
async fn one_that_others_contradicted_is_not_believed_as_soon_as_they_are_away() {
    let mut scene = Scene::new(&[Does::Reject(""), Does::Accept]);
    while !scene.forwarder.balancer().is_contradicted(0) {
        let batch = scene.batch(10, None);
        scene.deliver(batch).await;
    }
    scene.always(1, Does::Connect);
    let batch = scene.batch(10, None);
    let delivery = tokio::spawn(Arc::clone(&scene.forwarder).deliver(batch, CancellationToken::new()));
    tokio::time::sleep(10 * MINUTE).await;
    assert!(scene.stub.asked.lock()[0] > 5, "it was asked again");
    assert_eq!(scene.settled().1, 0);
    scene.always(1, Does::Accept);
    delivery.await.unwrap();
    assert_eq!(scene.settled(), (scene.next, 0));
}

#[tokio::test(start_paused = true)]
async fn what_all_reject_is_held_before_it_fills_the_dead_letters() {
    let mut scene = Scene::new(&[Does::Reject(""), Does::Reject("")]);
    let batch = scene.batch(100, None);
    scene.deliver_for(10 * MINUTE, batch).await;
    assert_eq!(scene.settled(), (0, 10));
    scene.always(1, Does::Accept);
    let batch = scene.batch(10, None);
    scene.deliver(batch).await;
    assert_eq!(scene.settled(), (10, 10));
}
