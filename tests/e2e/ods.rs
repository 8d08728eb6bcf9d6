//! OMS and Microsoft Monitoring agents from outside: the conversation of an agent with curl and openssl over restarts and kills,
//! and what is taken once however often it comes. What hostile uploads are answered stands in `ods_hostile.rs`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gatepost::lab::agents::{Agent, Kind, OwnCertificate, Setting};
use gatepost::lab::collector::{Behaviour, Collector, Memory};
use gatepost::lab::events::{Host, Shape, SimulatedEvent};
use gatepost::net::upload_client::{Answer, Client};
use time::OffsetDateTime;

use crate::support::{PATIENCE, Running, Site, workspace};
use crate::tools::{both, of_checkout, run, tool};

pub(crate) const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";
pub(crate) const AGENT: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
pub(crate) const COMPUTER: &str = "web01.plant.example";
pub(crate) const JSON: &str = "/OperationalData.svc/PostJsonDataItems?api-version=2016-04-01";
pub(crate) const XML: &str = "/EventDataService.svc/PostDataItems?api-version=2016-04-01";

pub(crate) fn key() -> String {
    BASE64_STANDARD.encode((0..64).collect::<Vec<u8>>())
}

/// A gateway that knows a workspace, in front of a collector.
pub(crate) struct Scene {
    pub(crate) site: Site,
    collector: Collector,
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) async fn new(more: &str) -> Self {
        Self::with(more, "").await
    }

    /// The same, with more in the listener, such as its `auth`.
    pub(crate) async fn with(more: &str, listener: &str) -> Self {
        let collector = Collector::start(Memory::Identities).await.expect("it starts");
        collector.set(Behaviour { recognise_repeats: true, ..Behaviour::default() });
        let dir = tempfile::tempdir().expect("a folder");
        let listener = format!(
            "ods = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"], group = \"plant\" }}]{more} }}\nauth.group = \"plant\"\n{listener}",
            key()
        );
        let site = Site::at(dir.path(), &(listener + &workspace("soc", &[&collector])), "");
        Self { site, collector, dir }
    }

    /// A step of the agent's conversation; the status.
    fn step(&self, certificate: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(tool("sh", "dash"));
        command
            .arg(of_checkout("tests/data/clients/oms-agent.sh"))
            .args(arguments)
            .env("DIR", self.dir.path())
            .env("WORKSPACE_ID", WORKSPACE)
            .env("SHARED_KEY", key())
            .env("AGENT_ID", AGENT)
            .env("COMPUTER", COMPUTER)
            .env("CERTIFICATE", certificate)
            .env("ADDRESS", self.site.url(""))
            .env("CA", self.site.state().join("tls/cert.pem"));
        let output = run(&mut command, b"");
        both(&output).trim().to_owned()
    }

    fn answer(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("answer")).expect("curl wrote it")
    }

    fn file(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path
    }

    /// How many records were spooled since the start of the process.
    pub(crate) async fn spooled(&self) -> u64 {
        self.site.metric("gatepost_events_spooled_total{input=\"uploads\"}").await as u64
    }

    /// Waits until the account has so many of all times.
    pub(crate) async fn until_accounted(&self, spooled: u64) {
        self.site
            .until("the account has as many", async || {
                self.site.status().await["account"]["total"]["spooled"] == spooled
            })
            .await;
    }

    fn agent(&self, kind: Kind, computer: &str, id: u8, lost_answers: f64) -> Agent {
        Agent::new(self.setting(kind, computer, id), lost_answers, u64::from(id)).expect("it is made")
    }

    pub(crate) fn setting(&self, kind: Kind, computer: &str, id: u8) -> Setting {
        Setting {
            kind,
            gateway: self.site.url(""),
            ca: Some(
                std::fs::read(self.site.state().join("tls/cert.pem")).expect("the certificate of the first start"),
            ),
            workspace: WORKSPACE.to_owned(),
            key: key(),
            computer: computer.to_owned(),
            agent: format!("00000000-0000-4000-a000-0000000000{id:02x}"),
            with_record_ids: true,
            renews_soon: false,
        }
    }

    /// A client that shows the certificate of a registered agent.
    pub(crate) async fn registered(&self) -> Client {
        let pem = std::fs::read(self.site.state().join("tls/cert.pem")).expect("the certificate of the first start");
        let own = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).expect("it is made");
        let client = Client::showing(Some(&pem), own.shown()).expect("a client");
        let body = registration(own.der());
        let answer =
            post(&client, &self.site.url("/AgentService.svc/AgentTopologyRequest"), &signed(&body, 0), body).await;
        assert_eq!(answer.status, 200, "{}", self.site.log());
        client
    }

    pub(crate) async fn ends_well(self, running: Running) {
        self.site.until_drained().await;
        assert!(running.stop().success(), "{}", self.site.log());
        self.site.assert_audit_balances();
        assert!(!self.site.log().contains(&key()[..20]), "the key is in the log");
    }
}

pub(crate) fn registration(certificate: &[u8]) -> String {
    format!(
        "<AgentTopologyRequest xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\"><FullyQualfiedDomainName>{COMPUTER}</FullyQualfiedDomainName>\
         <EntityTypeId>{{{AGENT}}}</EntityTypeId><AuthenticationCertificate>{}</AuthenticationCertificate></AgentTopologyRequest>",
        BASE64_STANDARD.encode(certificate)
    )
}

/// What signs a registration so many seconds from now.
pub(crate) fn signed(body: &str, seconds: i64) -> Vec<(&'static str, String)> {
    let now = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    let date = format!("{}T{:02}:{:02}:{:02}.1234567+00:00", now.date(), now.hour(), now.minute(), now.second());
    let hash = BASE64_STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes()));
    let text = format!("{date}\n{hash}\n");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &(0..64).collect::<Vec<u8>>()), text.as_bytes());
    let authorization = format!("{WORKSPACE}; {}", BASE64_STANDARD.encode(signature));
    vec![("x-ms-Date", date), ("x-ms-SHA256_Content", hash), ("Authorization", authorization)]
}

pub(crate) async fn post(client: &Client, url: &str, headers: &[(&str, String)], body: impl Into<Vec<u8>>) -> Answer {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
    client.post(url, &headers, body.into().into(), Duration::from_secs(60)).await.expect("an answer")
}

pub(crate) fn reason(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let told = text.split_once("<Reason>").and_then(|(_, rest)| rest.split_once("</Reason>"));
    let (reason, _) = told.unwrap_or_else(|| panic!("no reason: {text}"));
    assert!(!reason.is_empty() && !reason.contains('\n'), "{text}");
    reason.to_owned()
}

pub(crate) fn json(data_type: &str, items: &str) -> String {
    format!("{{\"DataType\":\"{data_type}\",\"IPName\":\"LogManagement\",\"DataItems\":{items}}}")
}

pub(crate) fn xml(items: &str) -> String {
    format!(
        "<DataItems IPName=\"Security\" ManagementGroupId=\"x\" DataType=\"SECURITY_EVENT_BLOB\">{items}</DataItems>"
    )
}

/// An item as the agent for Windows writes it, with these data.
pub(crate) fn item(id: u32, data: &str) -> String {
    format!(
        "<DataItem type=\"System.Event.LinkedData\" time=\"2026-01-02T03:04:05.{id:06}Z\" sourceHealthServiceId=\"x\"><PublisherName>Microsoft-Windows-Security-Auditing</PublisherName>\
         <Channel>Security</Channel><LoggingComputer>{COMPUTER}</LoggingComputer><EventNumber>4624</EventNumber><EventLevel>0</EventLevel>\
         <EventData><DataItem type=\"System.XmlData\">{data}</DataItem></EventData><EventDisplayNumber>4624</EventDisplayNumber></DataItem>"
    )
}

const SYSLOG: &str = r#"[{"ident":"sshd","Timestamp":"2026-01-02T03:04:05Z","Host":"web01","Message":"one","Facility":"auth","Severity":"info"},{"ident":"sshd","Timestamp":"2026-01-02T03:04:05Z","Host":"web01","Message":"one","Facility":"auth","Severity":"info"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_conversation_of_the_agent_for_linux_survives_a_restart_and_a_kill_at_each_step() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    assert_eq!(scene.step("agent", &["certificate"]), "");
    assert_eq!(scene.step("agent", &["refresh"]), "403", "nobody knows it yet");
    assert!(scene.answer().contains("<Reason>"), "{}", scene.answer());
    assert_eq!(scene.step("agent", &["register"]), "200", "{}\n{}", scene.answer(), scene.site.log());
    let told = scene.answer();
    let line =
        |word: &str| told.lines().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{told}")).to_owned();
    assert!(line("queryInterval=\"PT20M\"").contains("telemetryReportInterval=\"PT10M\""));
    assert!(
        line("<CertificateUpdateEndpoint updateCertificate=\"false\">https")
            .ends_with("RenewCertificate</CertificateUpdateEndpoint>")
    );
    running.kill();
    let running = scene.site.start().await;
    assert_eq!(scene.step("agent", &["refresh"]), "200", "{}\n{}", scene.answer(), scene.site.log());
    assert!(running.stop().success());
    let running = scene.site.start().await;
    assert_eq!(scene.step("agent", &["renew"]), "200", "{}\n{}", scene.answer(), scene.site.log());
    running.kill();
    let running = scene.site.start().await;
    assert_eq!(scene.step("agent", &["refresh"]), "200", "the old one is good until the new one is seen");
    assert_eq!(scene.step("renewed", &["refresh"]), "200", "{}", scene.answer());
    assert!(scene.answer().contains("updateCertificate=\"false\""), "{}", scene.answer());
    scene.site.until("the old certificate is forgotten", async || scene.step("agent", &["refresh"]) == "403").await;
    running.kill();
    let running = scene.site.start().await;
    let lines = scene.file("lines.json", json("LINUX_SYSLOGS_BLOB", SYSLOG).as_bytes());
    let lines = lines.to_str().expect("a path");
    assert_eq!(scene.step("renewed", &["json", lines]), "200", "{}\n{}", scene.answer(), scene.site.log());
    assert_eq!(scene.spooled().await, 2, "two equal lines are two");
    running.kill();
    let running = scene.site.start().await;
    assert_eq!(scene.step("renewed", &["json", lines]), "200", "{}", scene.answer());
    let events = scene.file("events.xml", xml(&(item(1, "") + &item(2, ""))).as_bytes());
    let events = events.to_str().expect("a path");
    assert_eq!(scene.step("renewed", &["xml", events]), "200", "{}\n{}", scene.answer(), scene.site.log());
    assert!(running.stop().success());
    let running = scene.site.start().await;
    assert_eq!(scene.step("renewed", &["xml", events]), "200", "{}", scene.answer());
    assert_eq!(scene.spooled().await, 0, "what came again added nothing");
    scene.until_accounted(4).await;
    assert_eq!(scene.step("agent", &["json", lines]), "403", "{}", scene.answer());
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_both_kinds_lose_nothing_and_bring_nothing_twice_when_answers_are_lost() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let (mut owed, mut lines) = (std::collections::HashSet::new(), 0);
    for (at, kind) in [(1, Kind::Linux), (2, Kind::Windows)] {
        let computer = format!("host{at}.plant.example");
        let mut agent = scene.agent(kind, &computer, at, 0.2);
        let told = agent.register().await.expect("it is taken");
        assert!(!told.renew && told.refresh_every == "PT20M");
        agent.refresh().await.expect("it is known");
        agent.telemetry().await.expect("it is taken");
        let mut host = Host::new(computer.as_str(), u64::from(at));
        for _ in 0..5 {
            let events: Vec<SimulatedEvent> = host.by_ref().take(50).collect();
            agent.collect(&events);
            while agent.waiting() > 0 {
                agent.flush().await.ok();
            }
            if kind == Kind::Windows {
                owed.extend(events.iter().map(SimulatedEvent::identity));
            }
        }
        assert_eq!(agent.lost().given_up, 0);
        lines += 5 * if kind == Kind::Linux { 51 } else { 1 };
        agent.renew(&told.renewal_address).await.expect("it is taken");
        agent.telemetry().await.expect("the new certificate is known");
    }
    scene.site.until_drained().await;
    assert_eq!(scene.spooled().await, owed.len() as u64 + lines, "{}", scene.site.log());
    let held = scene.collector.held();
    assert!(owed.iter().all(|identity| held.events.get(identity) == Some(&1)), "{}", scene.site.log());
    let agents = scene.site.status().await["agents"].clone();
    assert_eq!((agents["known"].as_u64(), agents["silent"].as_u64()), (Some(2), Some(0)), "{agents:#}");
    let first = &agents["first"][0];
    assert!(first["version"] == "1.14.0" && first["events"].as_u64() > Some(200), "{agents:#}");
    // Shown once a second.
    scene.site.until("the metric shows both", async || scene.site.metric("gatepost_agents_known").await == 2.0).await;
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_whose_second_data_type_is_refused_arrives_once_when_it_is_retried_whole() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let client = scene.registered().await;
    let send = async |body: &str| post(&client, &scene.site.url(JSON), &[], body).await;
    let (first, second) = (json("LINUX_SYSLOGS_BLOB", SYSLOG), json("SOME_BLOB", "[{\"a\":1}]"));
    assert_eq!(send(&first).await.status, 200);
    let refused = send(&second).await;
    assert_eq!(refused.status, 404);
    assert!(reason(&refused).contains("ods.unknown_stream"), "{}", reason(&refused));
    let known = scene
        .site
        .config()
        .replace("ods = { enabled = true,", "ods = { enabled = true, unknown_stream = \"Custom-Rest_CL\",");
    scene.site.configure(&known);
    assert!(scene.site.gatepost(&["check"]).status.success(), "{}", both(&scene.site.gatepost(&["check"])));
    running.signal("HUP");
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        assert_eq!(send(&first).await.status, 200, "the whole chunk again");
        if send(&second).await.status == 200 {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "{}", scene.site.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.spooled().await, 3);
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_came_by_the_agent_and_by_logs_ingestion_arrives_once_if_it_tells_its_record_id_and_is_counted_if_not()
 {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let client = scene.registered().await;
    let events: Vec<SimulatedEvent> = Host::new(COMPUTER, 7).take(20).collect();
    let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    let answer = scene.site.upload(&scene.site.client(), [b"[".as_slice(), &rows.join(&b','), b"]"].concat()).await;
    assert_eq!(answer.expect("an answer").status, 204);
    assert_eq!(scene.spooled().await, 20);
    let told = |event: &SimulatedEvent| {
        let xml = String::from_utf8(event.render(Shape::Xml)).expect("text");
        let time = xml.split_once("SystemTime='").and_then(|(_, rest)| rest.split_once('\'')).expect("a time").0;
        let data = format!(
            "<EventData><Data Name=\"EventRecordId\">{}</Data><Data Name=\"TimeCreated\">{time}</Data></EventData>",
            event.record_id()
        );
        item(1, &data)
            .replace("4624", &event.event_id().to_string())
            .replace(">Security<", &format!(">{}<", event.channel()))
    };
    let upload = xml(&events.iter().map(told).collect::<String>());
    assert_eq!(post(&client, &scene.site.url(XML), &[], upload).await.status, 200);
    assert_eq!(scene.spooled().await, 20, "they are the same");
    let unnumbered = async || scene.site.metric("gatepost_events_without_record_id_total{input=\"uploads\"}").await;
    assert_eq!(unnumbered().await, 0.0);
    assert_eq!(post(&client, &scene.site.url(XML), &[], xml(&item(5, ""))).await.status, 200);
    assert_eq!((scene.spooled().await, unnumbered().await), (21, 1.0));
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_wrongly_or_is_not_registered_is_told_why_and_leaves_nothing() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let pem = std::fs::read(scene.site.state().join("tls/cert.pem")).expect("the certificate of the first start");
    let own = OwnCertificate::new(Kind::Windows, WORKSPACE, AGENT).expect("it is made");
    let client = Client::showing(Some(&pem), own.shown()).expect("a client");
    let url = scene.site.url("/AgentService.svc/AgentTopologyRequest");
    let body = registration(own.der());
    let other = registration(OwnCertificate::new(Kind::Windows, WORKSPACE, AGENT).expect("it is made").der());
    let mut elsewhere = signed(&body, 0);
    elsewhere[2].1 = elsewhere[2].1.replace("0123", "3210");
    for (headers, body) in [
        (signed(&body, -16 * 60), &body),
        (signed(&body, 16 * 60), &body),
        (signed(&other, 0), &body),
        (signed(&other, 0), &other),
        (elsewhere, &body),
        (Vec::new(), &body),
    ] {
        let answer = post(&client, &url, &headers, body.as_str()).await;
        assert_eq!(answer.status, 403, "{headers:?}");
        reason(&answer);
    }
    let stranger = scene.site.client();
    for path in [JSON, XML, "/AgentService.svc/AgentTelemetry", "/ConfigurationService.Svc/RenewCertificate"] {
        for client in [&client, &stranger] {
            let answer = post(client, &scene.site.url(path), &[], json("LINUX_SYSLOGS_BLOB", "[{}]")).await;
            assert_eq!(answer.status, 403, "{path}");
            reason(&answer);
        }
    }
    assert_eq!((scene.spooled().await, scene.site.status().await["agents"]["known"].as_u64()), (0, Some(0)));
    let registered = scene.registered().await;
    let blob = post(&registered, &scene.site.url("/ContainerService.svc/GetBlobUploadUri"), &[], "{}").await;
    assert_eq!(blob.status, 404);
    assert!(reason(&blob).contains("storage accounts"));
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_revoked_is_let_in_no_more_until_it_is_restored_and_registers_again() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let client = scene.registered().await;
    let listed = both(&scene.site.gatepost(&["agents", "list"]));
    assert!(listed.contains(COMPUTER) && listed.contains(AGENT), "{listed}");
    let revoked = scene.site.gatepost(&["agents", "revoke", AGENT]);
    assert!(revoked.status.success(), "{}", both(&revoked));
    let answer = post(&client, &scene.site.url(JSON), &[], json("LINUX_SYSLOGS_BLOB", SYSLOG)).await;
    assert_eq!(answer.status, 403);
    let register = async || {
        let own = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).expect("it is made");
        let body = registration(own.der());
        let stranger = scene.site.client();
        post(&stranger, &scene.site.url("/AgentService.svc/AgentTopologyRequest"), &signed(&body, 0), body).await
    };
    let answer = register().await;
    assert_eq!((answer.status, reason(&answer).contains("revoked")), (403, true));
    running.kill();
    let running = scene.site.start().await;
    assert_eq!(register().await.status, 403, "a kill forgets nothing");
    assert!(both(&scene.site.gatepost(&["agents", "list"])).contains(&format!("revoked: {AGENT}")));
    let unknown = scene.site.gatepost(&["agents", "revoke", WORKSPACE]);
    assert!(!unknown.status.success() && both(&unknown).contains("no such agent"), "{}", both(&unknown));
    assert!(scene.site.gatepost(&["agents", "restore", AGENT]).status.success());
    assert_eq!(register().await.status, 200);
    scene.ends_well(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_damaged_registry_makes_agents_register_again_and_stops_nothing_else() {
    let scene = Scene::new("").await;
    let running = scene.site.start().await;
    let client = scene.registered().await;
    let upload = async || post(&client, &scene.site.url(JSON), &[], json("LINUX_SYSLOGS_BLOB", SYSLOG)).await.status;
    assert_eq!(upload().await, 200);
    running.kill();
    let folder = scene.site.state().join("ods");
    std::fs::write(folder.join("agents.json"), b"{").expect("it can be written");
    let running = scene.site.start().await;
    assert_eq!(upload().await, 200, "the copy stands in");
    assert_eq!(scene.site.metric("gatepost_state_damaged_total{part=\"agents\"}").await, 1.0);
    running.kill();
    for name in ["agents.json", "agents.copy"] {
        std::fs::write(folder.join(name), b"{").expect("it can be written");
    }
    let running = scene.site.start().await;
    assert_eq!(upload().await, 403);
    let row = Host::new(COMPUTER, 7).next_event().render(Shape::Row);
    let other = scene.site.upload(&scene.site.client(), [b"[".as_slice(), &row, b"]"].concat()).await;
    assert_eq!(other.expect("an answer").status, 204, "other protocols go on");
    scene.registered().await;
    scene.ends_well(running).await;
}
