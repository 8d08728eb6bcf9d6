use super::*;
use crate::values::Network;

fn sha256_hex(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

fn peer(address: &str, certificate: &[&str]) -> Peer {
    Peer {
        leaf: None,
        address: address.parse().expect("an address"),
        certificate: certificate.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"))])
}

fn config(tokens: &[(&str, &str)], networks: &[&str], require: &[Kind]) -> Config {
    let token = |(name, token): &(&str, &str)| Token {
        name: (*name).to_owned(),
        sha256: sha256_hex(token),
        group: None,
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    };
    Config {
        tokens: tokens.iter().map(token).collect(),
        networks: networks.iter().map(|text| Network::try_from((*text).to_owned()).expect("a network")).collect(),
        require: require.to_vec(),
        ..Config::default()
    }
}

fn scope(gate: &Gate, peer: &Peer, headers: &HeaderMap) -> Result<String, Denied> {
    gate.admit(peer, headers).map(|admitted| admitted.client.scope.to_string())
}

#[test]
fn nothing_configured_lets_in_only_on_loopback() {
    let nothing = Config::default();
    let here = peer("127.0.0.1", &[]);
    let open = Gate::new(&nothing, true, false, None);
    assert_eq!(scope(&open, &here, &HeaderMap::new()), Ok("address:127.0.0.1".to_owned()));
    let closed = Gate::new(&nothing, false, false, None);
    assert_eq!(scope(&closed, &here, &HeaderMap::new()), Err(Denied::Network));
    assert_eq!(nothing.problems(false, false, false).len(), 1);
    assert!(nothing.problems(true, false, false).is_empty());
}

#[test]
fn what_is_open_to_this_host_is_closed_to_who_comes_by_a_tunnel() {
    let open = Gate::new(&Config::default(), true, false, None);
    for (address, is_in) in [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.2", true), ("10.1.2.3", false)] {
        assert_eq!(scope(&open, &peer(address, &[]), &HeaderMap::new()).is_ok(), is_in, "{address}");
    }
}

#[test]
fn a_token_or_a_certificate_is_enough_but_the_network_must_match() {
    let gate = Gate::new(&config(&[("plant", "sesame")], &["10.0.0.0/8"], &[]), false, true, None);
    let inside = peer("::ffff:10.1.2.3", &[]);
    assert_eq!(scope(&gate, &inside, &bearer("sesame")), Ok("token:plant".to_owned()));
    assert_eq!(scope(&gate, &inside, &bearer("Sesame")), Err(Denied::Token));
    assert_eq!(scope(&gate, &inside, &HeaderMap::new()), Err(Denied::Token));
    let with_certificate = peer("10.1.2.3", &["host-a"]);
    assert_eq!(scope(&gate, &with_certificate, &HeaderMap::new()), Ok("certificate:host-a".to_owned()));
    assert_eq!(scope(&gate, &peer("192.0.2.1", &["host-a"]), &bearer("sesame")), Err(Denied::Network));
}

#[test]
fn require_asks_for_each_kind() {
    let both = [Kind::Token, Kind::Certificate];
    let gate = Gate::new(&config(&[("plant", "sesame")], &[], &both), false, true, None);
    assert_eq!(scope(&gate, &peer("10.0.0.1", &[]), &bearer("sesame")), Err(Denied::Certificate));
    assert_eq!(scope(&gate, &peer("10.0.0.1", &["a"]), &HeaderMap::new()), Err(Denied::Token));
    assert!(scope(&gate, &peer("10.0.0.1", &["a"]), &bearer("sesame")).is_ok());
}

#[test]
fn only_listed_certificates_pass_and_a_group_is_the_scope() {
    let listed = Certificate {
        name: "host-a.plant".to_owned(),
        group: Some("plant".to_owned()),
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    };
    let config = Config { client_certificates: vec![listed], ..Config::default() };
    let gate = Gate::new(&config, false, true, None);
    let none = HeaderMap::new();
    assert_eq!(scope(&gate, &peer("10.0.0.1", &["x", "HOST-A.plant"]), &none), Ok("group:plant".to_owned()));
    assert_eq!(scope(&gate, &peer("10.0.0.1", &["host-b"]), &none), Err(Denied::Certificate));
    assert_eq!(config.problems(false, false, false).len(), 2);
}

#[test]
fn certificates_are_listed_by_patterns_and_each_is_known_by_its_own_name() {
    let listed =
        |name: &str| Certificate { name: name.to_owned(), group: None, hosts: Vec::new(), resource_ids: Vec::new() };
    let config = Config { client_certificates: vec![listed("*.plant.example")], ..Config::default() };
    let gate = Gate::new(&config, false, true, None);
    let none = HeaderMap::new();
    for name in ["pc1.plant.example", "PC2.plant.example"] {
        assert_eq!(scope(&gate, &peer("10.0.0.1", &[name]), &none), Ok(format!("certificate:{name}")));
    }
    assert_eq!(scope(&gate, &peer("10.0.0.1", &["pc1.office.example"]), &none), Err(Denied::Certificate));
}

#[test]
fn a_client_tells_all_that_rules_may_ask_for() {
    let listed = Certificate {
        name: "host-a.plant".to_owned(),
        group: Some("plant".to_owned()),
        hosts: Vec::new(),
        resource_ids: Vec::new(),
    };
    let gate = Gate::new(&Config { client_certificates: vec![listed], ..Config::default() }, false, true, None);
    let named = peer("::ffff:10.1.2.3", &["cn", "host-a.plant"]);
    let client = gate.admit(&named, &HeaderMap::new()).expect("it is listed").client;
    assert_eq!(client.address, Some("10.1.2.3".parse().expect("an address")), "mapped addresses are unmapped");
    assert_eq!(*client.identities, ["cn".to_owned(), "host-a.plant".to_owned()]);
    assert_eq!(client.group.as_deref(), Some("plant"));

    let open = Gate::new(&Config { group: Some("lab".to_owned()), ..Config::default() }, true, false, None);
    let client = open.admit(&peer("::1", &[]), &HeaderMap::new()).expect("nothing is configured").client;
    assert_eq!((client.address, client.group.as_deref()), (Some("::1".parse().expect("an address")), Some("lab")));
    assert!(client.identities.is_empty());

    let gate = Gate::new(&config(&[("plant", "sesame")], &[], &[]), false, false, None);
    let client = gate.admit(&peer("10.0.0.1", &[]), &bearer("sesame")).expect("the token is right").client;
    assert_eq!((&*client.name, client.group), ("plant", None));
}

#[test]
fn hashes_must_be_hashes_and_repeated_headers_are_no_token() {
    assert!(parse_hex(&sha256_hex("sesame")).is_some());
    assert!(parse_hex("+1".repeat(32).as_str()).is_none());
    let gate = Gate::new(&config(&[("plant", "sesame")], &[], &[]), false, false, None);
    let mut twice = bearer("sesame");
    twice.append(header::AUTHORIZATION, "Bearer other".parse().expect("a header"));
    assert_eq!(scope(&gate, &peer("10.0.0.1", &[]), &twice), Err(Denied::Token));
}

#[test]
fn the_names_in_a_certificate_bind_to_the_letter_and_hosts_of_its_entry_are_patterns() {
    let names = ["*", "*.plant.example"];
    let any = Gate::new(&Config::default(), false, true, None);
    let entry = |hosts: &[&str]| Certificate {
        name: "*".to_owned(),
        group: None,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        resource_ids: Vec::new(),
    };
    let listed = |hosts| Config { client_certificates: vec![entry(hosts)], ..Config::default() };
    let unbound = Gate::new(&listed(&[]), false, true, None);
    let binding = |gate: &Gate| {
        let admitted = gate.admit(&peer("10.0.0.1", &names), &HeaderMap::new()).expect("it is let in");
        admitted.client.binding
    };
    for gate in [any, unbound] {
        let binding = binding(&gate);
        assert_eq!((binding.hosts.len(), &*binding.names), (0, &names.map(str::to_owned)[..]));
    }
    let bound = binding(&Gate::new(&listed(&["web*"]), false, true, None));
    assert_eq!((&*bound.hosts, bound.names.len()), (&["web*".to_owned()][..], 0));
}

#[test]
fn who_must_show_both_speaks_only_for_what_both_allow() {
    let listed = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
    let admitted = |require: &[Kind], token: &[&str], certificate: &[&str]| {
        let mut config = config(&[("plant", "sesame")], &[], require);
        config.tokens[0].hosts = listed(token);
        config.client_certificates = vec![Certificate {
            name: "host-a".to_owned(),
            group: None,
            hosts: listed(certificate),
            resource_ids: Vec::new(),
        }];
        let gate = Gate::new(&config, false, true, None);
        gate.admit(&peer("10.0.0.1", &["host-a"]), &bearer("sesame")).expect("both are shown").client.binding
    };
    let both = [Kind::Token, Kind::Certificate];
    let binding = admitted(&both, &["web-*"], &["web-1", "db-1"]);
    assert!(binding.speaks_for("web-1") && !binding.speaks_for("db-1") && !binding.speaks_for("web-2"));
    assert!(admitted(&both, &[], &["db-1"]).speaks_for("db-1"), "a token that is bound to nothing takes nothing away");
    assert!(admitted(&[], &["web-*"], &["db-1"]).speaks_for("db-1"), "one is enough there");
}
