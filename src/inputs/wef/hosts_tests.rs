//! What is remembered of hosts has a bound, and what a person should look at comes first.

use super::*;

fn who(machine: usize) -> Who {
    Who { client: "c".to_owned(), machine: format!("m{machine}") }
}

fn delivered(missing: u64) -> Heard<'static> {
    Heard::Delivered { subscription: "s", events: 3, missing, bookmark: true }
}

fn page(hosts: &Hosts) -> Shown {
    hosts.shown(None, SHOWN_MAX, Vec::new())
}

#[test]
fn what_is_remembered_and_shown_has_a_bound_and_trouble_comes_first() {
    let hosts = Hosts::default();
    hosts.note(&who(0), None, Heard::Refused { reason: "no" });
    for n in 1..2000 {
        hosts.note(&who(n), None, Heard::Heartbeat { subscription: "s" });
    }
    let shown = page(&hosts);
    assert_eq!((shown.seen, shown.left_out, shown.hosts.len()), (2000, 1500, SHOWN_MAX));
    assert_eq!(shown.hosts[0].machine, "m0");
    for n in 2000..HOSTS_MAX + 10 {
        hosts.note(&who(n), None, Heard::Enumerated);
    }
    assert!(page(&hosts).seen <= HOSTS_MAX);
    for n in 0..100 {
        hosts.note(&who(HOSTS_MAX), None, Heard::Heartbeat { subscription: &format!("s{n}") });
    }
    assert!(page(&hosts).hosts.iter().all(|host| host.subscriptions.len() <= SUBSCRIPTIONS_MAX));
}

#[test]
fn whoever_calls_itself_by_many_names_pushes_nobody_else_out() {
    let hosts = Hosts::default();
    let honest = Who { client: "honest".to_owned(), machine: "pc1".to_owned() };
    hosts.note(&honest, None, Heard::Heartbeat { subscription: "s" });
    for n in 0..HOSTS_MAX + 10 {
        hosts.note(&who(n), None, Heard::Refused { reason: "no" });
    }
    assert_eq!(hosts.shown(Some("honest"), 1, Vec::new()).hosts.len(), 1);
    let long = Who { client: "honest".to_owned(), machine: "x".repeat(4096) };
    hosts.note(&long, None, Heard::Enumerated);
    assert!(hosts.seen().keys().all(|who| who.machine.len() <= TEXT_MAX), "nor do they take more memory than is shown");
}

#[test]
fn a_host_is_found_by_its_names_and_its_address_among_all_that_are_remembered() {
    let hosts = Hosts::default();
    let address: IpAddr = [10, 0, 0, 77].into();
    hosts.note(&who(1234), Some(address), Heard::Heartbeat { subscription: "s" });
    for n in 2000..4000 {
        hosts.note(&who(n), None, Heard::Refused { reason: "no" });
    }
    for search in ["M1234", "10.0.0.77"] {
        let shown = hosts.shown(Some(search), 10, Vec::new());
        assert_eq!((shown.hosts.len(), shown.left_out), (1, 0), "{search}");
        assert_eq!(shown.hosts[0].machine, "m1234");
    }
    assert_eq!(hosts.shown(Some("nowhere"), 10, Vec::new()).hosts, []);
    assert_eq!(hosts.shown(Some("m2"), 10, Vec::new()).left_out, 990);
}

#[test]
fn a_host_that_gave_up_is_in_trouble_until_it_delivers_again() {
    let hosts = Hosts::default();
    hosts.note(&who(1), None, Heard::Ended { subscription: "s", reason: "15001" });
    assert!(page(&hosts).hosts[0].is_in_trouble());
    hosts.note(&who(1), None, delivered(0));
    assert!(!page(&hosts).hosts[0].is_in_trouble());
    hosts.note(&who(1), None, delivered(4));
    hosts.note(&who(1), None, delivered(2));
    let subscribed = &page(&hosts).hosts[0].subscriptions[0];
    assert_eq!((subscribed.gaps, subscribed.lost_by_host, subscribed.events), (2, 6, 9));
}

#[test]
fn a_bookmark_has_an_age_from_the_first_enumeration_on() {
    let hosts = Hosts::default();
    hosts.note(&who(1), None, Heard::Told { subscription: "s", bookmark_s: Some(7) });
    hosts.note(&who(1), None, Heard::Told { subscription: "new", bookmark_s: None });
    let shown = page(&hosts);
    let bookmarks: Vec<Option<u64>> = shown.hosts[0].subscriptions.iter().map(|of| of.bookmark_s).collect();
    assert_eq!(bookmarks, [Some(7), None]);
    hosts.note(&who(1), None, delivered(0));
    assert!(page(&hosts).hosts[0].subscriptions[0].bookmark_s.is_some_and(|at| at > 7));
}

#[test]
fn a_rate_is_that_of_the_last_minutes() {
    let mut of = Subscribed::default();
    for second in 1_000..4_000 {
        of.delivered(10, 0, true, second);
    }
    assert!((of.events_per_second - 10.0).abs() < 0.1, "{}", of.events_per_second);
    of.reckon(4_000 + 3_600, 0);
    assert!(of.events_per_second < 0.001, "{}", of.events_per_second);
}
