use super::*;

fn names(hosts: &[&str]) -> Association {
    Association { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), ..Association::default() }
}

fn applying(hosts: &Hosts, client: &Client, computer: &str) -> Vec<usize> {
    let mut sender = hosts.of_sender(client);
    let mask = sender.rules_for(hosts, computer);
    (0..hosts.rules).filter(|rule| mask.has(*rule)).collect()
}

#[test]
fn a_star_stands_for_any_part_and_letter_case_does_not_matter() {
    for (pattern, text) in [
        ("*", ""),
        ("*", "web01.dmz.example.com"),
        ("web*.dmz.example.com", "WEB01.dmz.example.com"),
        ("web*.dmz.example.com", "web.dmz.example.com"),
        ("*01*", "srv-01-a"),
        ("a*b*c", "aXbYbZc"),
        ("a*b*c", "abcbc"),
        ("a**c", "abc"),
    ] {
        assert!(fits(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in
        [("", "a"), ("a", ""), ("web*", "srv-web"), ("a*b*c", "aXbYb"), ("*.example.com", "example.com")]
    {
        assert!(!fits(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn many_stars_cost_little() {
    let pattern = "*a".repeat(100);
    let text = "a".repeat(99) + &"b".repeat(10_000);
    assert!(!fits(&pattern, &text));
}

#[test]
fn a_name_without_a_dot_stands_for_full_names_that_begin_with_it() {
    let hosts = Hosts::new(2, vec![(0, names(&["WEB01"])), (1, names(&["db*"]))], []);
    let client = Client::default();
    assert_eq!(applying(&hosts, &client, "web01"), [0]);
    assert_eq!(applying(&hosts, &client, "web01.dmz.example.com"), [0]);
    assert_eq!(applying(&hosts, &client, "web011.dmz.example.com"), Vec::<usize>::new());
    assert_eq!(applying(&hosts, &client, "DB7.dmz.example.com"), [1]);
}

#[test]
fn a_full_name_stands_for_nothing_else() {
    let hosts = Hosts::new(1, vec![(0, names(&["web01.dmz.example.com"]))], []);
    assert_eq!(applying(&hosts, &Client::default(), "WEB01.dmz.example.com"), [0]);
    assert_eq!(applying(&hosts, &Client::default(), "web01"), Vec::<usize>::new());
    assert_eq!(applying(&hosts, &Client::default(), "web01.plant.example.com"), Vec::<usize>::new());
}

#[test]
fn what_is_asked_of_the_sender_must_all_fit() {
    let association = Association {
        hosts: vec!["web*".to_owned()],
        networks: vec!["10.1.0.0/16".parse().expect("a network")],
        identities: vec!["*.dmz.example.com".to_owned()],
        groups: vec!["dmz".to_owned()],
    };
    let hosts = Hosts::new(1, vec![(0, association)], []);
    let good = Client {
        address: Some([10, 1, 2, 3].into()),
        identities: ["other".to_owned(), "relay.DMZ.example.com".to_owned()].into(),
        group: Some("dmz".into()),
        ..Client::default()
    };
    assert_eq!(applying(&hosts, &good, "web01"), [0]);
    for other in [
        Client { address: Some([10, 2, 2, 3].into()), ..good.clone() },
        Client { address: None, ..good.clone() },
        Client { identities: ["relay.plant.example.com".to_owned()].into(), ..good.clone() },
        Client { identities: [].into(), ..good.clone() },
        Client { group: Some("DMZ".into()), ..good.clone() },
        Client { group: None, ..good.clone() },
    ] {
        assert_eq!(applying(&hosts, &other, "web01"), Vec::<usize>::new(), "{other:?}");
    }
    assert_eq!(applying(&hosts, &good, "srv01"), Vec::<usize>::new());
}

#[test]
fn the_rest_gets_the_default_rules_and_nobody_else_does() {
    let associations =
        vec![(0, names(&["web01"])), (1, Association { groups: vec!["dmz".to_owned()], ..Association::default() })];
    let hosts = Hosts::new(70, associations, [2, 69]);
    let (stranger, member) = (Client::default(), Client { group: Some("dmz".into()), ..Client::default() });
    assert_eq!(applying(&hosts, &stranger, "web01"), [0]);
    assert_eq!(applying(&hosts, &stranger, "web02"), [2, 69]);
    assert_eq!(applying(&hosts, &stranger, ""), [2, 69]);
    assert_eq!(applying(&hosts, &member, "web01"), [0, 1]);
    assert_eq!(applying(&hosts, &member, "web02"), [1]);
}

#[test]
fn a_sender_of_many_computers_is_asked_for_each() {
    let hosts = Hosts::new(2, vec![(0, names(&["a"])), (1, names(&["b*"]))], []);
    let mut sender = hosts.of_sender(&Client::default());
    for (computer, rules) in [("a", [true, false]), ("b1", [false, true]), ("c", [false, false]), ("a", [true, false])]
    {
        let mask = sender.rules_for(&hosts, computer);
        assert_eq!([mask.has(0), mask.has(1)], rules, "{computer}");
    }
}

#[test]
fn an_event_without_a_computer_is_judged_alike_wherever_it_stands() {
    let hosts = Hosts::new(2, vec![(0, names(&["*"])), (1, names(&["web*"]))], []);
    let mut sender = hosts.of_sender(&Client::default());
    let mut has = |computer: &str| {
        let mask = sender.rules_for(&hosts, computer);
        [mask.has(0), mask.has(1)]
    };
    assert_eq!([has(""), has("web01"), has("")], [[true, false], [true, true], [true, false]]);
}

#[test]
fn without_rules_no_rule_applies() {
    let hosts = Hosts::new(0, Vec::new(), []);
    assert!(hosts.of_sender(&Client::default()).rules_for(&hosts, "web01").is_empty());
}
