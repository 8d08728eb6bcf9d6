//! Promise 8: a new configuration is swapped in without dropping a connection; a bad one is refused whole.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::events::{Host, Shape};
use gatepost::net::upload_client::Client;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::load::lines;
use crate::support::{PATIENCE, Running, Site, workspace};

/// One connection to the upload plane that is never opened again.
struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    async fn open(site: &Site) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", site.uploads)).await.expect("the listener is there");
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Posts so many events to the plain door; the status and the receipt.
    async fn post(&mut self, host: &mut Host, count: usize, token: Option<&str>) -> (u16, Value) {
        let body = lines(&host.take(count).collect::<Vec<_>>(), Shape::Row);
        let mut request = Request::post("/v1/events").header("host", "gatepost");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.0.ready().await.expect("the connection was dropped");
        let answer = self.0.send_request(request.body(Full::from(body)).unwrap()).await.expect("the connection lives");
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }
}

/// Segments that come and go within a test.
const SPOOL: &str = "[spool]\nsegment_size = \"1 MiB\"\nmax_size = \"64 MiB\"\ncompression_level = 0\n";

/// Plain HTTP on loopback, so that a test can hold a connection itself.
const PLAIN: &str = "tls = { mode = \"off\" }\n";

struct Scene {
    site: Site,
    running: Running,
    collector: Collector,
    connection: Connection,
    host: Host,
}

impl Scene {
    async fn new() -> Self {
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
        let site = Site::new(&(PLAIN.to_owned() + &workspace("workspace", &[&collector])), SPOOL);
        let running = site.start().await;
        let mut host = Host::new("RELOAD.plant.example", 80).with_system_share(0.5);
        let mut connection = Connection::open(&site).await;
        assert_eq!(connection.post(&mut host, 10, None).await.0, 200);
        Self { site, running, collector, connection, host }
    }

    /// Writes a configuration and waits until it was applied, or refused.
    async fn change(&self, config: &str, result: &str, by_signal: bool) {
        let series = format!("gatepost_config_reloads_total{{result=\"{result}\"}}");
        let before = self.site.metric(&series).await;
        self.site.configure(config);
        if by_signal {
            self.running.signal("HUP");
        }
        self.site.until("the reload is counted", async || self.site.metric(&series).await > before).await;
    }

    /// The first configuration with another text in place of one of its own.
    fn config_with(&self, old: &str, new: &str) -> String {
        assert!(self.site.config().contains(old));
        self.site.config().replacen(old, new, 1)
    }

    async fn post(&mut self, count: usize, token: Option<&str>) -> (u16, Value) {
        self.connection.post(&mut self.host, count, token).await
    }

    async fn end(self) {
        self.site.until_drained().await;
        assert!(self.running.stop().success());
        self.site.assert_audit_balances();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_filter_is_in_force_on_an_open_connection_after_sighup() {
    let mut scene = Scene::new().await;
    let config = scene.config_with("[spool]", "[filter]\nevent_set = \"None\"\n[spool]");
    scene.change(&config, "applied", true).await;
    let (status, receipt) = scene.post(40, None).await;
    assert_eq!((status, &receipt["filtered"]), (200, &40.into()), "{receipt}");
    let first = scene.site.config().to_owned();
    scene.change(&first, "applied", true).await;
    let (_, receipt) = scene.post(40, None).await;
    assert_eq!(receipt["spooled"], 40, "{receipt}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_is_in_force_on_an_open_connection_when_the_file_changes() {
    let mut scene = Scene::new().await;
    let hash: String = hex::encode(digest(&SHA256, b"s3cret"));
    let auth = format!("{PLAIN}auth = {{ tokens = [{{ name = \"plant\", sha256 = \"{hash}\" }}] }}\n");
    let config = scene.config_with(PLAIN, &auth);
    scene.change(&config, "applied", false).await;
    assert_eq!(scene.post(5, Some("s3cret")).await.0, 200);
    // A refused upload is not read to its end, so it costs its connection.
    for wrong in [None, Some("wrong")] {
        assert_eq!(Connection::open(&scene.site).await.post(&mut scene.host, 5, wrong).await.0, 401);
    }
    assert_eq!(scene.post(5, Some("s3cret")).await.0, 200);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_endpoint_takes_over_without_a_connection_dropped_or_an_event_lost_or_repeated() {
    let mut scene = Scene::new().await;
    let second = scene.collector.start_beside().await.unwrap();
    second.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let config = scene.config_with(&scene.collector.url(), &second.url());
    scene.change(&config, "applied", false).await;
    let before = scene.collector.tally().events;
    assert_eq!(scene.post(100, None).await.0, 200);
    scene.site.until_drained().await;
    assert_eq!((scene.collector.tally().events, second.tally().events), (before, 100));
    assert_eq!(before, 10);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_is_refused_whole_and_reported_whole_and_the_old_one_keeps_running() {
    let mut scene = Scene::new().await;
    // Two mistakes beside a change that would be good.
    let bad = scene
        .config_with("[spool]", "[filter]\nevent_set = \"None\"\n[ingest]\nin_flight_mx = \"1 KiB\"\n[spool]")
        .replacen("timeout = \"3 s\"", "timeout = \"three seconds\"", 1);
    for by_signal in [true, false] {
        let bad = format!("{bad}# {by_signal}\n");
        scene.change(&bad, "refused", by_signal).await;
        let log = scene.site.log();
        assert!(log.contains("in_flight_mx") && log.contains("three seconds"), "the report is not whole: {log}");
        let (status, receipt) = scene.post(20, None).await;
        assert_eq!((status, &receipt["spooled"]), (200, &20.into()), "the good part was applied: {receipt}");
    }
    // An address that is taken is found before anything is changed.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("[[listeners]]\nname = \"second\"\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    let bad = scene.config_with("[spool]", "[filter]\nevent_set = \"None\"\n[spool]") + &listener;
    scene.change(&bad, "refused", true).await;
    assert_eq!(scene.post(20, None).await.1["spooled"], 20);
    assert_eq!(scene.site.admin_get("/readyz").await.status, 200);
    let first = scene.site.config().to_owned();
    scene.change(&first, "applied", true).await;
    assert_eq!(scene.post(20, None).await.0, 200);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_can_be_added_and_removed_while_events_flow() {
    let mut scene = Scene::new().await;
    scene.site.until_drained().await;
    let added = Collector::start(Memory::Identities).await.unwrap();
    added.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
    let config = scene.site.config().to_owned() + &workspace("added", &[&added]);
    scene.change(&config, "applied", false).await;
    assert_eq!(scene.post(100, None).await.0, 200);
    scene.site.until_drained().await;
    assert_eq!(added.tally().events, 100, "it begins with what comes from now on");

    // Without it the spool goes on: what it has not seen is nobody's any more.
    let first = scene.site.config().to_owned();
    scene.change(&first, "applied", false).await;
    for _ in 0..30 {
        assert_eq!(scene.post(500, None).await.0, 200);
    }
    scene.site.until_drained().await;
    assert_eq!((added.tally().events, scene.collector.tally().events), (100, 15_110));
    scene.site.until("segments are given back", async || scene.site.status().await["spool"]["first"] != 0).await;
    assert_eq!(scene.site.status().await["outputs"].as_array().unwrap().len(), 1);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_is_used_from_the_next_connection_on() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let _running = site.start().await;
    let mut host = Host::new("CERT.plant.example", 81);
    let mut body = || lines(&host.by_ref().take(5).collect::<Vec<_>>(), Shape::Row);
    let old = site.client();
    let url = site.url("/v1/events");
    assert_eq!(old.post(&url, &[], body().into(), PATIENCE).await.unwrap().status, 200);

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (site.dir.join("other.pem"), site.dir.join("other.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}\n[[outputs]]");
    site.configure(&site.config().replacen("[[outputs]]", &tls, 1));

    let new = Client::new(Some(made.cert.pem().as_bytes())).unwrap();
    site.until("the new certificate is used", async || {
        new.post(&url, &[], body().into(), PATIENCE).await.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(old.post(&url, &[], body().into(), PATIENCE).await.unwrap().status, 200, "an open connection lives on");
    assert_eq!(site.metric("gatepost_config_reloads_total{result=\"applied\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_authority_of_an_output_is_believed_without_a_restart_and_a_bad_one_is_not_taken() {
    let next = Site::new("", SPOOL);
    let next_running = next.start().await;
    let output = format!(
        "[[outputs]]\nkind = \"http\"\nname = \"next\"\nca_file = \"ca.pem\"\nformat = \"ndjson\"\nendpoints = [{{ url = \"{}\" }}]\n\
         forward = {{ linger = \"5 ms\" }}\n",
        next.url("/v1/events")
    );
    let site = Site::new(&output, SPOOL);
    let authority = site.dir.join("ca.pem");
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    std::fs::write(&authority, &other).unwrap();
    let running = site.start().await;
    let mut host = Host::new("TRUST.plant.example", 83);
    let body = lines(&host.by_ref().take(5).collect::<Vec<_>>(), Shape::Row);
    assert_eq!(site.client().post(&site.url("/v1/events"), &[], body.into(), PATIENCE).await.unwrap().status, 200);
    let last_error = async || site.status().await["outputs"][0]["last_error"].to_string();
    site.until("the next gateway is not believed", async || last_error().await.contains("certificate")).await;

    std::fs::write(&authority, "no certificate").unwrap();
    site.until("the bad file is refused", async || {
        site.metric("gatepost_config_reloads_total{result=\"refused\"}").await >= 1.0
    })
    .await;
    assert!(site.log().contains("outputs[0].ca_file"), "{}", site.log());
    assert_eq!(site.status().await["outputs"][0]["pending"], 5, "the old file is in force");

    std::fs::copy(next.state().join("tls/cert.pem"), &authority).unwrap();
    site.until_drained().await;
    next.until("all of them have come", async || next.status().await["account"]["total"]["received"] == 5).await;
    assert!(running.stop().success() && next_running.stop().success());
    site.assert_audit_balances();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_of_a_listener_is_used_without_a_word_of_the_configuration_changed() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("workspace", &[&collector]), SPOOL);
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(site.dir.join("own.key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(site.dir.join("own.pem"), made.cert.pem()).unwrap();
        Client::new(Some(made.cert.pem().as_bytes())).unwrap()
    };
    let old = renew();
    let tls = "tls = { certificate = \"own.pem\", key = \"own.key\" }\n[[outputs]]";
    site.configure(&site.config().replacen("[[outputs]]", tls, 1));
    let running = site.start().await;
    let mut host = Host::new("RENEWED.plant.example", 82);
    let mut post = async |client: &Client| {
        let body = lines(&host.by_ref().take(5).collect::<Vec<_>>(), Shape::Row);
        client.post(&site.url("/v1/events"), &[], body.into(), PATIENCE).await.is_ok_and(|answer| answer.status == 200)
    };
    assert!(post(&old).await);
    let new = renew();
    site.until("the renewed certificate is believed", async || post(&new).await).await;
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_restart_is_told_by_each_reload_until_the_restart() {
    let scene = Scene::new().await;
    scene.site.configure(&scene.config_with("[spool]\n", "[spool]\nhigh_watermark = 0.5\n"));
    let reload = async || {
        let url = format!("http://127.0.0.1:{}/reload", scene.site.admin);
        let answer = Client::new(None).unwrap().post(&url, &[], Bytes::new(), PATIENCE).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        answer["note"].as_str().unwrap_or_default().to_owned()
    };
    for _ in 0..3 {
        let note = reload().await;
        assert!(note.contains("waits for a restart: spool"), "{note}");
    }
    assert_eq!(scene.site.status().await["waits_for_restart"], serde_json::json!(["spool"]));
    scene.site.configure(scene.site.config());
    assert_eq!(reload().await, "everything is in force");
    scene.end().await;
}
