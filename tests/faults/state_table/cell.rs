//! One cell of the table: a gateway with a past, a damage, and what its next start comes to.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gatepost::lab::agents::{Kind, OwnCertificate, uploads};
use gatepost::lab::collector::{Behaviour, Collector, Fault, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::damage;
use super::engine::Engine;
use super::table::{Damage, Lost, Outcome, Start};
use crate::support::{PATIENCE, Running, Site, free_port, workspace};

/// Counters that tell of damage.
const SIGNALS: [&str; 5] = [
    "gatepost_state_damaged_total",
    "gatepost_output_positions_lost_total",
    "gatepost_spool_damaged_events_total",
    "gatepost_dead_letters_lost_total",
    "gatepost_state_removed",
];

/// The counter that bounds what may go twice. Counts also what an ordinary restart leaves in doubt.
const AMBIGUOUS: &str = "gatepost_events_ambiguous_total";

const RULE: &str = "/subscriptions/s/resourceGroups/plant/providers/Microsoft.Insights/dataCollectionRules/security";
const ASSOCIATION: &str = "/subscriptions/s/resourceGroups/plant/providers/Microsoft.HybridCompute/machines/%2A/providers/Microsoft.Insights/dataCollectionRuleAssociations/security";

const WORKSPACE: &str = "01234567-89ab-cdef-0123-456789abcdef";
const AGENT: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
const KEY: &[u8] = &[7; 64];

const WORKSPACES: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces";

/// Files that there are where several gateways share an engine.
const OF_SHARED: [&str; 2] = ["decided", "rules-revision"];

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) start: Result<Start, String>,
    pub(crate) lost: Lost,
    pub(crate) twice: bool,
    pub(crate) told: BTreeSet<String>,
    pub(crate) may_go_twice: u64,
    pub(crate) audit: bool,
    pub(crate) log: String,
}

impl Seen {
    /// What differs from what the table says.
    pub(crate) fn differs_from(&self, wanted: &Outcome) -> Vec<String> {
        let mut differs = Vec::new();
        let mut compare = |what: &str, seen: String, wanted: String| {
            if seen != wanted {
                differs.push(format!("{what}: {seen}, and the table says {wanted}"));
            }
        };
        compare("start", format!("{:?}", self.start), format!("{:?}", Ok::<_, String>(wanted.start)));
        compare("lost", format!("{:?}", self.lost), format!("{:?}", wanted.lost));
        if !wanted.by_chance {
            compare("twice", self.twice.to_string(), wanted.twice.to_string());
        }
        let told: BTreeSet<String> = wanted.told.iter().map(|told| (*told).to_owned()).collect();
        compare("told", format!("{:?}", self.told), format!("{told:?}"));
        compare("audit", self.audit.to_string(), wanted.audit.to_string());
        differs
    }

    /// What must hold whatever was damaged: it starts or says why, and what is lost is counted.
    pub(crate) fn unclean(&self, damage: Damage) -> Vec<String> {
        let mut unclean = Vec::new();
        if let Err(why) = &self.start {
            unclean.push(format!("the gateway is not up: {why}"));
        }
        let is_counted = !self.told.is_empty() || self.may_go_twice > 0;
        if self.lost != Lost::Nothing && damage != Damage::Alone && !is_counted {
            unclean.push("acknowledged events are lost, and nothing tells".to_owned());
        }
        unclean
    }
}

/// A gateway with everything that keeps state.
struct World {
    _engine: Option<Engine>,
    site: Site,
    collector: Collector,
    tunnels: u16,
    agents: u16,
    host: Host,
}

/// Makes the past, does the damage, starts again, and lets agents repeat what they sent.
pub(crate) async fn run(file: &str, damage: Damage, seed: Option<u64>) -> Seen {
    let mut world = World::new(OF_SHARED.contains(&file)).await;
    let running = world.site.start().await;
    world.make_rules().await;
    world.register_agent().await;
    let forwarded = world.upload().await;
    world.set_aside().await;
    world.site.until_drained().await;
    world.collector.set(Behaviour { fault: Some(Fault::Down), ..sound() });
    let pending = world.upload().await;
    world.until_tried().await;
    assert!(running.stop().success(), "{}", world.site.log());
    world.site.assert_audit_balances();

    let mut rng = seed.map(fastrand::Rng::with_seed);
    damage::inflict(&world.site.state(), &world.site.dir.join("aside"), file, damage, &mut rng);
    world.collector.set(sound());
    let past = [forwarded, pending].concat();
    // A person who begins with nothing but this file makes the rules anew.
    let makes_rules = damage == Damage::Alone && !file.starts_with("rules");
    world.again(&past, makes_rules).await
}

/// A gateway that was stopped while its collector was down, which it is no more.
async fn stopped_with_events_to_send() -> (World, Vec<SimulatedEvent>) {
    let mut world = World::new(false).await;
    let running = world.site.start().await;
    world.make_rules().await;
    world.collector.set(Behaviour { fault: Some(Fault::Down), ..sound() });
    let pending = world.upload().await;
    assert!(running.stop().success(), "{}", world.site.log());
    world.collector.set(sound());
    (world, pending)
}

/// What cannot be opened at all: the state of another version. Nothing is lost by it, and it takes no tunnel down.
pub(crate) async fn run_with_another_version() {
    let (world, pending) = stopped_with_events_to_send().await;
    let segments = damage::files(&world.site.state(), "spool/*.seg");
    segments.iter().for_each(|segment| damage::of_version(segment, 77));
    let mut running = world.site.launch();
    let start = world.state_of(&mut running).await;
    assert_eq!(start, Ok(Start::Held("the state cannot be read")), "{}", world.site.log());
    assert!(world.site.log().contains("has format 77"), "{}", world.site.log());
    assert_eq!(refused_tunnel(world.tunnels).await, 403);
    world.assert_refused(&pending).await;
    assert!(running.stop().success(), "{}", world.site.log());
    segments.iter().for_each(|segment| damage::of_version(segment, 1));
    let running = world.site.start().await;
    world.site.until_drained().await;
    assert_eq!(world.missing(&pending.iter().map(SimulatedEvent::identity).collect()), 0);
    assert!(running.stop().success());
    world.site.assert_audit_balances();
}

/// A position that the file system does not give stops its output alone.
pub(crate) async fn run_without_a_position() {
    let (mut world, pending) = stopped_with_events_to_send().await;
    let position = world.site.state().join("outputs/soc.cursor");
    let aside = position.with_extension("aside");
    std::fs::rename(&position, &aside).unwrap();
    std::fs::create_dir(&position).unwrap();
    let running = world.site.start().await;
    assert_eq!(refused_tunnel(world.tunnels).await, 403);
    let later = world.upload().await;
    world.site.until_drained().await;
    let outputs = world.site.status().await["outputs"].clone();
    assert_eq!(outputs[1]["state"], "cannot start", "{outputs:#}");
    assert!(outputs[1]["because"]["reason"].as_str().is_some_and(|why| why.contains("soc.cursor")), "{outputs:#}");
    assert_eq!(outputs[0]["forwarded"], 400, "the other one goes on: {outputs:#}");
    let (told, _) = world.signals(true).await;
    assert!(told.contains("gatepost_state_damaged_total{part=position}"), "{told:?}\n{}", world.site.log());
    assert!(running.stop().success(), "{}", world.site.log());
    std::fs::remove_dir(&position).unwrap();
    std::fs::rename(&aside, &position).unwrap();
    let running = world.site.start().await;
    world.site.until_drained().await;
    let owed = pending.iter().chain(&later).map(SimulatedEvent::identity).collect();
    assert_eq!(world.missing(&owed), 0, "what it had not sent was not kept");
    assert!(running.stop().success());
    world.site.assert_audit_balances();
}

/// An output whose position cannot be made at its first start: what is acknowledged meanwhile is its own all the same.
pub(crate) async fn run_with_an_output_that_cannot_start() {
    let mut world = World::new(false).await;
    let position = world.site.state().join("outputs/soc.cursor");
    damage::private(&position);
    let running = world.site.start().await;
    world.make_rules().await;
    let owed = world.upload().await;
    let outputs = world.site.status().await["outputs"].clone();
    let states = [0, 1].map(|at| outputs[at]["state"].as_str());
    assert_eq!(states, [Some("running"), Some("cannot start")], "{outputs:#}\n{}", world.site.log());
    let runs = async || world.site.metric("gatepost_output_running{output=\"soc\"}").await == 1.0;
    assert!(!runs().await);
    // Nobody restarts or reloads it: it is tried again by itself.
    std::fs::remove_dir(&position).unwrap();
    world.site.until("the output runs", async || runs().await).await;
    world.site.until_drained().await;
    assert_eq!(world.missing(&owed.iter().map(SimulatedEvent::identity).collect()), 0, "{}", world.site.log());
    assert!(running.stop().success());
}

impl World {
    async fn new(is_shared: bool) -> Self {
        let engine = is_shared.then(Engine::start);
        let collector = Collector::start(Memory::Identities).await.unwrap();
        collector.set(sound());
        let tunnels = free_port();
        let rest = format!(
            "[spool]\nsegment_size = \"64 KiB\"\nmax_size = \"8 MiB\"\nrecycle = 2\n\
             [tunnel]\n[[tunnel.listeners]]\nlisten = \"127.0.0.1:{tunnels}\"\n[[tunnel.allow]]\nname = \"a\"\nhosts = [\"a.test\"]\n\
             [filter]\nevent_set = \"None\"\n{}",
            engine.as_ref().map(Engine::config).unwrap_or_default()
        );
        let (tokens, none) = (free_port(), "0".repeat(64));
        let entra = format!(
            "[[listeners]]\nname = \"tokens\"\nlisten = \"127.0.0.1:{tokens}\"\n[listeners.entra]\nenabled = true\n[[listeners.entra.clients]]\nid = \"agent\"\nsecrets = [{{ sha256 = \"{none}\" }}]\n"
        );
        let agents = free_port();
        let entra = format!(
            "{entra}[[listeners]]\nname = \"old-agents\"\nlisten = \"127.0.0.1:{agents}\"\nods = {{ enabled = true, workspaces = [{{ id = \"{WORKSPACE}\", keys = [\"{}\"] }}] }}\n",
            BASE64_STANDARD.encode(KEY)
        );
        let files = "[[outputs]]\nkind = \"file\"\nname = \"files\"\n";
        let outputs = format!("{entra}{}{files}", workspace("soc", &[&collector]));
        let site = Site::new(&outputs, &rest);
        Self {
            _engine: engine,
            site,
            collector,
            tunnels,
            agents,
            host: Host::new("STATE.plant.example", 1).with_system_share(0.0),
        }
    }

    /// Registers an agent of the kind that Microsoft no longer supports.
    async fn register_agent(&self) {
        let own = OwnCertificate::new(Kind::Linux, WORKSPACE, AGENT).unwrap();
        let body = uploads::topology(Kind::Linux, "old.plant.example", AGENT, own.der());
        let signed = uploads::signed(WORKSPACE, KEY, &body);
        let headers: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, &**value)).collect();
        let url = format!("https://127.0.0.1:{}/AgentService.svc/LinuxAgentTopologyRequest", self.agents);
        let sent = self.site.client().post(&url, &headers, body.into(), Duration::from_secs(30)).await;
        assert_eq!(sent.expect("the gateway answers").status, 200, "{}", self.site.log());
    }

    /// Everything of every host goes to both outputs.
    async fn make_rules(&self) {
        call(&self.site, "PUT", RULE, &rule()).await;
        call(&self.site, "PUT", ASSOCIATION, &json!({ "properties": { "dataCollectionRuleId": RULE } })).await;
    }

    /// Uploads new events, which are acknowledged.
    async fn upload(&mut self) -> Vec<SimulatedEvent> {
        let events: Vec<SimulatedEvent> = self.host.by_ref().take(200).collect();
        self.repeat(&events).await;
        events
    }

    /// Until the output has tried to send what the collector does not take: its position knows of it then.
    async fn until_tried(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let outputs = self.site.status().await["outputs"].clone();
            let soc = outputs.as_array().into_iter().flatten().find(|output| output["name"] == "soc");
            if soc.is_some_and(|soc| !soc["last_error"].is_null()) {
                return;
            }
            assert!(Instant::now() < until, "{outputs:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn repeat(&self, events: &[SimulatedEvent]) {
        let client = self.site.client();
        for events in events.chunks(50) {
            let answer = self.site.upload(&client, array(events)).await.expect("the gateway answers");
            assert_eq!(answer.status, 204, "{}\n{}", String::from_utf8_lossy(&answer.body), self.site.log());
        }
    }

    /// Uploads records that become dead letters, beside an event that does not.
    async fn set_aside(&mut self) {
        let client = self.site.client();
        let event = self.host.next_event();
        let mut body = event.render(Shape::Xml);
        for n in 0..3 {
            body.extend_from_slice(format!("\n<Event><System><EventID>{n}</EventID>\nno event\n").as_bytes());
        }
        let sent = client.post(&self.site.url("/v1/events"), &[], body.into(), Duration::from_secs(30)).await;
        let answer = sent.expect("the gateway answers");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// The next start.
    async fn again(&mut self, past: &[SimulatedEvent], makes_rules: bool) -> Seen {
        let mut running = self.site.launch();
        let start = self.state_of(&mut running).await;
        if makes_rules {
            self.make_rules().await;
        }
        if start.is_ok() {
            assert_eq!(refused_tunnel(self.tunnels).await, 403, "the tunnel plane is not up:\n{}", self.site.log());
            self.site.until_drained().await;
        }
        let owed: HashSet<Identity> = past.iter().map(SimulatedEvent::identity).collect();
        let mut lost = if self.missing(&owed) == 0 { Lost::Nothing } else { Lost::UntilRepeated };
        match start {
            Ok(Start::Ready) => {
                self.repeat(past).await;
                let fresh = self.upload().await;
                self.site.until_drained().await;
                let all = owed.into_iter().chain(fresh.iter().map(SimulatedEvent::identity)).collect();
                if self.missing(&all) > 0 {
                    lost = Lost::ForGood;
                }
            }
            Ok(Start::Held(_)) => self.assert_refused(past).await,
            Err(_) => {}
        }
        let (told, may_go_twice) = self.signals(start.is_ok()).await;
        if start.is_ok() {
            assert!(running.stop().success(), "{}", self.site.log());
        }
        let audit = self.site.gatepost(&["audit"]).status.success();
        let twice = self.collector.held().repeated() > 0;
        Seen { start, lost, twice, told, may_go_twice, audit, log: self.site.log() }
    }

    fn missing(&self, owed: &HashSet<Identity>) -> usize {
        let held = self.collector.held();
        owed.iter().filter(|identity| !held.events.contains_key(*identity)).count()
    }

    /// Ready, or up and refusing uploads for a reason; else the last thing that it said.
    async fn state_of(&self, running: &mut Running) -> Result<Start, String> {
        let client = Client::new(None).unwrap();
        let url = format!("http://127.0.0.1:{}/readyz", self.site.admin);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if running.has_ended() {
                return Err(self.site.log().lines().last().unwrap_or_default().to_owned());
            }
            if let Ok(answer) = client.get(&url, Duration::from_secs(2)).await {
                let said: Value = serde_json::from_slice(&answer.body).unwrap();
                let reasons = said["reasons"].to_string();
                match ["a rule cannot be read", "the state cannot be read"]
                    .into_iter()
                    .find(|why| reasons.contains(why))
                {
                    Some(why) if !reasons.contains("starting") => return Ok(Start::Held(why)),
                    None if said["ready"] == true => return Ok(Start::Ready),
                    _ => {}
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("it neither gets ready nor ends:\n{}", self.site.log()))
    }

    async fn assert_refused(&self, past: &[SimulatedEvent]) {
        let answer = self.site.upload(&self.site.client(), array(&past[..1])).await.expect("the gateway answers");
        assert_eq!(answer.status, 503);
        assert!(answer.retry_after.is_some(), "agents must be told to come back");
    }

    /// The series that tell of damage, and how many events may go twice.
    async fn signals(&self, is_up: bool) -> (BTreeSet<String>, u64) {
        if !is_up {
            return (BTreeSet::new(), 0);
        }
        // The books and what they find are shown once a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let page = self.site.admin_get("/metrics").await.body;
        let page = String::from_utf8_lossy(&page).into_owned();
        let counted = page.lines().filter_map(|line| line.rsplit_once(' ')).filter_map(|(series, value)| {
            let value: f64 = value.parse().ok()?;
            (value > 0.0).then(|| (series.to_owned(), value))
        });
        let counted: Vec<(String, f64)> = counted.collect();
        let of = |name: &'static str| counted.iter().filter(move |(series, _)| series.starts_with(name));
        let told = SIGNALS.iter().flat_map(|name| of(name)).map(|(series, _)| series.replace('"', "")).collect();
        (told, of(AMBIGUOUS).map(|(_, value)| *value as u64).sum())
    }
}

fn sound() -> Behaviour {
    Behaviour { recognise_repeats: true, ..Behaviour::default() }
}

fn array(events: &[SimulatedEvent]) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    [b"[".as_slice(), &rows.join(&b','), b"]"].concat()
}

fn rule() -> Value {
    let destination = |name| json!({ "name": name, "workspaceResourceId": format!("{WORKSPACES}/{name}") });
    let destinations = ["soc", "files"].map(destination);
    json!({
        "location": "eastus",
        "properties": {
            "dataSources": { "windowsEventLogs": [
                { "name": "logs", "streams": ["Microsoft-SecurityEvent"], "xPathQueries": ["Security!*"] } ] },
            "destinations": { "logAnalytics": destinations },
            "dataFlows": [{ "streams": ["Microsoft-SecurityEvent"], "destinations": ["soc", "files"] }]
        }
    })
}

async fn call(site: &Site, method: &str, path: &str, body: &Value) {
    let body = body.to_string();
    let request = format!(
        "{method} {path}?api-version=2022-06-01 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = said(site.admin, &request).await;
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// The status of the answer to somebody who asks for a tunnel to where none leads.
async fn refused_tunnel(port: u16) -> u16 {
    let answer = said(port, "CONNECT elsewhere.test:443 HTTP/1.1\r\nHost: elsewhere.test:443\r\n\r\n").await;
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

async fn said(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it listens");
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an answer in time").ok();
    String::from_utf8_lossy(&answer).into_owned()
}
