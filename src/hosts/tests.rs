//! Senders come, go silent, and are forgotten.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::*;
use crate::clock::{BootId, Reading, Source};
use crate::event::{Fields, Timestamp};
use crate::values::Span;

const MIN: u64 = 60;
const HOUR: u64 = 60 * MIN;

/// A machine whose clocks stand still until they are moved. It booted in 1970 and has been running for long.
struct Still(AtomicI64);

impl Source for Still {
    fn read(&self) -> Reading {
        let ns = self.0.load(Ordering::SeqCst);
        Reading { wall_ns: ns, boot_ns: ns }
    }
    fn boot_id(&self) -> Option<BootId> {
        None
    }
}

struct World {
    time: Arc<Still>,
    hosts: Hosts,
}

impl World {
    fn new(config: Config) -> Self {
        let time = Arc::new(Still(AtomicI64::new(1_700_000_000_000_000_000)));
        Self { hosts: Hosts::new(config, Clock::unkept(time.clone())), time }
    }

    fn pass(&self, seconds: u64) {
        let ns = i64::try_from(seconds).expect("a short time") * 1_000_000_000;
        self.time.0.fetch_add(ns, Ordering::SeqCst);
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_ticks(self.time.0.load(Ordering::SeqCst) / 100)
    }

    /// An upload with an event of each of these computers.
    fn sends(&self, client: &str, computers: &[&str]) {
        self.sends_ids(client, computers, 0..1);
    }

    fn sends_ids(&self, client: &str, computers: &[&str], ids: std::ops::Range<u64>) {
        let mut seen = self.hosts.sightings();
        for computer in computers {
            for id in ids.clone() {
                let computer = Some((*computer).into());
                let (channel, record_id, time) = (Some("Security".into()), Some(id), Some(self.now()));
                seen.see(&Fields { computer, channel, record_id, time, ..Fields::default() });
            }
        }
        self.hosts.note(&sender(client), seen, 0);
    }

    fn names(&self, filter: &Filter) -> Vec<String> {
        let name = |host: Host| host.computer.map_or(format!("({})", host.client), |name| name.to_string());
        self.hosts.list(filter).into_iter().map(name).collect()
    }

    fn silent(&self) -> Vec<String> {
        self.names(&Filter { silent: true, ..Filter::default() })
    }
}

fn sender(client: &str) -> Sender {
    let agent = Some("agent/1.2".into());
    Sender { input: "agents".into(), client: client.into(), address: "192.0.2.7".parse().ok(), agent }
}

fn group(name: &str, computers: &str, minutes: u64) -> Group {
    let silent_after = Span::secs(minutes * MIN);
    Group { name: name.to_owned(), computers: vec![computers.to_owned()], silent_after, complete: false }
}

#[test]
fn a_computer_that_should_have_sent_is_silent_by_its_group_and_comes_first() {
    let world = World::new(Config { groups: vec![group("dc", "dc*", 15)], ..Config::default() });
    world.sends("plant", &["dc1", "web01"]);
    world.sends("plant", &["busy"]);
    world.pass(10 * MIN);
    (0..100).for_each(|_| world.sends("plant", &["BUSY"]));
    assert_eq!(world.silent(), [""; 0]);
    world.pass(6 * MIN);
    assert_eq!(world.silent(), ["dc1"]);
    assert_eq!(world.names(&Filter::default()), ["dc1", "busy", "web01"]);
    world.pass(24 * HOUR);
    assert_eq!(world.silent(), ["dc1", "web01", "busy"], "the longest first");
    let counts = world.hosts.counts();
    assert_eq!((counts.known["dc"], counts.known["other"], counts.silent["dc"], counts.silent["other"]), (1, 2, 1, 2));
    world.sends("plant", &["DC1.corp.example"]);
    assert_eq!(world.silent(), ["dc1", "web01", "busy"], "that is another one");
    world.sends("plant", &["DC1"]);
    assert_eq!(world.silent(), ["web01", "busy"]);
    world.pass(31 * 24 * HOUR);
    world.hosts.tidy();
    assert_eq!(world.names(&Filter::default()), [""; 0], "nobody expects them any more");
    assert_eq!(world.hosts.counts().forgotten, 0, "for want of room nobody went");
}

#[test]
fn what_is_shown_is_who_how_much_how_late_and_from_where() {
    let world = World::new(Config::default());
    let event_time = world.now();
    world.pass(30);
    let mut seen = world.hosts.sightings();
    let named = Fields { computer: Some("WEB01".into()), time: Some(event_time), ..Fields::default() };
    (0..600).for_each(|_| seen.see(&named));
    seen.see(&Fields::default());
    world.hosts.note(&sender("plant"), seen, 2);
    world.hosts.refuse(&sender("plant"));
    let hosts = world.hosts.list(&Filter::default());
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    let (web, client) = (&hosts[0], &hosts[1]);
    assert_eq!((web.computer.as_deref(), web.events, web.lag_seconds), (Some("WEB01"), 600, Some(30.0)));
    assert_eq!((web.events_per_second, web.agent.as_deref(), web.missing_records), (2.0, Some("agent/1.2"), None));
    assert_eq!((client.computer.as_deref(), client.events, client.set_aside, client.refused_uploads), (None, 1, 2, 1));
    assert_eq!(world.hosts.counts().refused, 1);
    world.pass(2 * HOUR);
    assert!(world.hosts.list(&Filter::default())[0].events_per_second < 0.01);
    assert_eq!(world.hosts.counts().refused, 0);
    for (text, found) in [("web", 1), ("PLANT", 2), ("192.0.2", 2), ("Agent/1", 2), ("nobody", 0)] {
        let filter = Filter { search: Some(text.to_owned()), ..Filter::default() };
        assert_eq!(world.names(&filter).len(), found, "{text}");
    }
    assert_eq!(world.names(&Filter { limit: Some(1), ..Filter::default() }).len(), 1);
}

#[test]
fn the_table_has_a_bound_and_who_fills_it_pushes_out_his_own() {
    let world = World::new(Config { max: 1_000, ..Config::default() });
    world.sends("small", &["web01", "web02"]);
    for n in 0..30 {
        world.pass(1);
        let names: Vec<String> = (0..200).map(|m| format!("fake-{n}-{m}")).collect();
        world.sends("greedy", &names.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let names = world.names(&Filter::default());
    assert!((990..=1_000).contains(&names.len()), "{}", names.len());
    assert_eq!(world.hosts.counts().forgotten, 6_002 - names.len() as u64);
    assert!(names.iter().any(|name| name == "web01") && names.iter().any(|name| name == "fake-29-199"));
    assert!(!names.iter().any(|name| name == "fake-0-0"), "the least recent went");

    let world = World::new(Config { max: 100, ..Config::default() });
    for n in 0..500 {
        world.pass(1);
        world.sends(&format!("client-{n}"), &[&format!("host-{n}")]);
    }
    let names = world.names(&Filter::default());
    assert!(names.len() == 100 && names.contains(&"host-400".to_owned()), "where nobody has much the oldest goes");
}

#[test]
fn a_restart_knows_who_was_there_and_waits_for_them_again() {
    let world = World::new(Config { groups: vec![group("dc", "dc*", 15)], ..Config::default() });
    world.sends("plant", &["dc1"]);
    world.hosts.refuse(&sender("lost"));
    let kept = world.hosts.encode().expect("something changed");
    assert!(world.hosts.encode().is_none(), "nothing changed since");
    world.hosts.not_kept();
    assert!(world.hosts.encode().is_some());

    world.pass(2 * HOUR);
    let again = Hosts::new(
        Config { groups: vec![group("dc", "dc*", 15)], ..Config::default() },
        Clock::unkept(world.time.clone()),
    );
    again.restore(&kept).expect("what was encoded");
    let world = World { hosts: again, ..world };
    assert_eq!(world.names(&Filter::default()).len(), 2);
    assert_eq!(world.silent(), [""; 0], "it could not be heard of while the gateway was away");
    world.pass(16 * MIN);
    assert_eq!(world.silent(), ["dc1"]);
    assert!(world.hosts.restore(b"{\"forgotten\":1}").is_err());
}

#[test]
fn another_configuration_judges_who_is_known_already() {
    let world = World::new(Config::default());
    world.sends("plant", &["dc1", "dc2"]);
    world.pass(HOUR);
    assert_eq!(world.silent(), [""; 0]);
    world.hosts.configure(&Config { groups: vec![group("dc", "dc*", 15)], ..Config::default() });
    assert_eq!(world.silent().len(), 2);
    world.hosts.configure(&Config { max: 1, ..Config::default() });
    assert_eq!(world.names(&Filter::default()).len(), 1);
}

#[test]
fn uploads_are_noted_while_somebody_looks_at_all_hosts() {
    let world = World::new(Config::default());
    world.sends("plant", &["dc1"]);
    let before = world.hosts.view(|view, seen| {
        assert!(world.hosts.0.state.try_lock().is_some(), "an upload would wait");
        world.sends("plant", &["dc1", "dc2"]);
        view.list(seen.rows.iter().map(|row| &**row), &Filter::default())
    });
    assert_eq!((before.len(), before[0].events), (1, 1), "it is what was there when the look began");
    assert_eq!(world.names(&Filter::default()).len(), 2);
}

#[test]
fn a_table_that_is_made_much_smaller_takes_from_all_who_have_much_alike() {
    let world = World::new(Config::default());
    let send = |client: &str, hosts: usize| {
        let names: Vec<String> = (0..hosts).map(|n| format!("{client}-{n}")).collect();
        names.chunks(100).for_each(|names| world.sends(client, &names.iter().map(String::as_str).collect::<Vec<_>>()));
    };
    [("large", 600), ("middle", 590), ("small", 100)].into_iter().for_each(|(client, hosts)| send(client, hosts));
    let left = |max: usize| -> Vec<usize> {
        world.hosts.configure(&Config { max, ..Config::default() });
        let hosts = world.hosts.list(&Filter::default());
        let of = |name: &str| hosts.iter().filter(|host| &*host.client == name).count();
        ["large", "middle", "small"].map(of).to_vec()
    };
    assert_eq!(left(1_290), [600, 590, 100]);
    assert_eq!(left(700), [300, 300, 100]);
    assert_eq!(left(120), [40, 40, 40]);
    assert_eq!(left(2).iter().sum::<usize>(), 2);
}

#[test]
fn record_ids_that_never_come_are_counted_where_all_are_sent() {
    let complete = Group { complete: true, ..group("dc", "dc*", 15) };
    let world = World::new(Config { groups: vec![complete], ..Config::default() });
    world.sends_ids("plant", &["dc1", "web01"], 1..100);
    world.sends_ids("plant", &["dc1", "web01"], 150..5_000);
    let missing: Vec<_> = world.hosts.list(&Filter::default()).iter().map(|host| host.missing_records).collect();
    assert!(missing.contains(&Some(50)) && missing.contains(&None), "{missing:?}");
}

#[test]
fn the_defaults_wait_a_day() {
    let config = Config::default();
    assert_eq!((config.max, config.silent_after.get()), (10_000, Duration::from_secs(24 * HOUR)));
}
