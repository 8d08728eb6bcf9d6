//! Groups × addresses × credentials × certificates: who gets in, as whom, and to which rules.

use super::passwords::tests::cheap_hash;
use super::*;
use crate::values::Secret;

const RULES: usize = 4;

fn group(name: &str, networks: &[&str], users: &[&str], certificates: &[&str], allow: &[&str]) -> config::Group {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    config::Group {
        name: name.to_owned(),
        networks: networks.iter().map(|text| text.parse().expect("a network")).collect(),
        users: owned(users),
        certificates: owned(certificates),
        allow: owned(allow),
    }
}

fn tunnel(groups: Vec<config::Group>) -> Config {
    let rule = |at: usize| config::Rule { name: format!("r{at}"), ..config::Rule::default() };
    let user = |name: &str, password: &str| config::User {
        name: name.to_owned(),
        password_hash: Secret::new(cheap_hash(password)),
    };
    Config {
        groups,
        allow: (0..RULES).map(rule).collect(),
        users: vec![user("ali", "sesame"), user("bob", "tahini")],
        ..Config::default()
    }
}

fn listener(tls: bool) -> Listener {
    let mut listener = Listener { listen: "10.0.0.1:8080".parse().expect("an address"), ..Listener::default() };
    if tls {
        listener.tls.mode = Mode::On;
        listener.tls.client_ca = Some("ca.pem".into());
    }
    listener
}

fn clients(config: &Config, listener: &Listener) -> Clients {
    Clients::new(config, listener, &Passwords::new().expect("random"))
}

/// The mixture that the table below is about.
fn mixture() -> Config {
    tunnel(vec![
        group("plant", &["10.1.0.0/16"], &[], &[], &["r0"]),
        group("arc", &["10.1.2.0/24"], &[], &[], &["r1"]),
        group("people", &["10.0.0.0/8"], &["ali", "nobody"], &[], &["r2"]),
        group("machines", &["10.9.0.0/16"], &[], &["host-a.plant"], &["r3"]),
        group("both", &["10.8.0.0/16"], &["bob"], &["*"], &[]),
        group("mistake", &[], &[], &[], &[]),
    ])
}

const NOTHING: Presented<'_> = Presented::None;
const ALI: Presented<'_> = Presented::Basic { user: "ali", password: "sesame" };
const BOB: Presented<'_> = Presented::Basic { user: "bob", password: "tahini" };
const WRONG: Presented<'_> = Presented::Basic { user: "ali", password: "tahini" };
const STRANGER: Presented<'_> = Presented::Basic { user: "nobody", password: "sesame" };

/// `user@group+group: rules | rules it might use`, or the code of the refusal.
async fn outcome(clients: &Clients, address: &str, certificate: &[&str], presented: Presented<'_>) -> String {
    let names: Vec<String> = certificate.iter().map(|name| (*name).to_owned()).collect();
    let identity = match clients.identify(address.parse().expect("an address"), &names, presented).await {
        Ok(identity) => identity,
        Err(reason) => return reason.code.to_owned(),
    };
    let list = |wanted: &dyn Fn(usize) -> bool| {
        (0..RULES + 70).filter(|rule| wanted(*rule)).map(|rule| rule.to_string()).collect::<String>()
    };
    format!(
        "{}@{}: {} | {}",
        identity.name().map_or("-", |name| &**name),
        identity.groups().join("+"),
        list(&|rule| identity.may_use(rule)),
        list(&|rule| identity.might_use(rule)),
    )
}

#[tokio::test(start_paused = true)]
async fn groups_addresses_credentials_certificates() {
    let clients = clients(&mixture(), &listener(true));
    let table: &[(&str, &[&str], Presented<'_>, &str)] = &[
        // By address alone; credentials that are wrong, strange or superfluous do no harm.
        ("10.1.0.1", &[], NOTHING, "-@plant: 0 | 2"),
        ("::ffff:10.1.0.1", &[], NOTHING, "-@plant: 0 | 2"),
        ("10.1.2.3", &[], NOTHING, "-@plant+arc: 01 | 2"),
        ("10.1.2.3", &[], WRONG, "-@plant+arc: 01 | 2"),
        ("10.1.2.3", &[], STRANGER, "-@plant+arc: 01 | 2"),
        ("10.1.2.3", &[], Presented::Unusable, "-@plant+arc: 01 | 2"),
        ("10.1.2.3", &["host-z"], NOTHING, "host-z@plant+arc: 01 | 2"),
        // A user is in the union.
        ("10.1.2.3", &[], ALI, "ali@plant+arc+people: 012 | "),
        ("10.1.2.3", &["host-z"], ALI, "ali@plant+arc+people: 012 | "),
        // A good user who is in none of the groups that ask.
        ("10.1.2.3", &[], BOB, "bob@plant+arc: 01 | "),
        // Only a user gets in.
        ("10.2.0.1", &[], NOTHING, "authentication_required"),
        ("10.2.0.1", &[], Presented::Unusable, "credentials_wrong"),
        ("10.2.0.1", &[], WRONG, "credentials_wrong"),
        ("10.2.0.1", &[], STRANGER, "credentials_wrong"),
        ("10.2.0.1", &[], BOB, "credentials_wrong"),
        ("10.2.0.1", &[], ALI, "ali@people: 2 | "),
        // A certificate, or a user.
        ("10.9.0.1", &["x", "HOST-A.plant"], NOTHING, "x@machines: 3 | 2"),
        ("10.9.0.1", &["host-b"], NOTHING, "authentication_required"),
        ("10.9.0.1", &["host-a.plant"], ALI, "ali@people+machines: 23 | "),
        // A certificate and a user.
        ("10.8.0.1", &["host-b"], BOB, "bob@both: 0123 | "),
        ("10.8.0.1", &[], BOB, "credentials_wrong"),
        ("10.8.0.1", &["host-b"], ALI, "ali@people: 2 | "),
        // Nobody.
        ("192.0.2.1", &["host-a.plant"], ALI, "client_not_allowed"),
        ("::1", &[], ALI, "client_not_allowed"),
    ];
    for (address, certificate, presented, expected) in table {
        // So that a bucket of wrong passwords never fills up.
        tokio::time::advance(std::time::Duration::from_secs(61)).await;
        let found = outcome(&clients, address, certificate, *presented).await;
        assert_eq!(found, *expected, "{address} {certificate:?}");
        assert_eq!(clients.admits(address.parse().expect("an address")), found != "client_not_allowed");
    }
}

#[tokio::test(start_paused = true)]
async fn only_certificates() {
    let config = tunnel(vec![group("machines", &[], &[], &["host-a"], &[]), group("any", &[], &[], &["*"], &["r1"])]);
    let with_tls = clients(&config, &listener(true));
    assert_eq!(outcome(&with_tls, "192.0.2.1", &[], ALI).await, "certificate_not_allowed");
    assert_eq!(outcome(&with_tls, "192.0.2.1", &["host-b"], NOTHING).await, "host-b@any: 1 | ");
    assert_eq!(outcome(&with_tls, "192.0.2.1", &["host-a"], NOTHING).await, "host-a@machines+any: 0123 | ");
    let without = clients(&config, &listener(false));
    assert_eq!(outcome(&without, "192.0.2.1", &["host-a"], NOTHING).await, "client_not_allowed");
}

#[tokio::test(start_paused = true)]
async fn a_listener_chooses_groups_and_may_ask_for_no_password() {
    let config = mixture();
    let only_arc = clients(&config, &Listener { groups: vec!["arc".to_owned()], ..listener(true) });
    assert_eq!(outcome(&only_arc, "10.1.2.3", &[], ALI).await, "-@arc: 1 | ");
    assert_eq!(outcome(&only_arc, "10.1.3.3", &[], ALI).await, "client_not_allowed");
    let off = clients(&config, &Listener { authentication: Authentication::Off, ..listener(true) });
    assert_eq!(outcome(&off, "10.1.2.3", &[], ALI).await, "-@plant+arc: 01 | ");
    assert_eq!(outcome(&off, "10.2.0.1", &[], ALI).await, "client_not_allowed");
    assert_eq!(off.passwords.computed(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_groups_only_a_loopback_listener_is_open() {
    let config = tunnel(Vec::new());
    let open = clients(&config, &Listener::default());
    assert_eq!(outcome(&open, "127.0.0.1", &[], WRONG).await, "-@: 0123 | ");
    assert_eq!(open.passwords.computed(), 0);
    let closed = clients(&config, &listener(false));
    assert!(!closed.admits("127.0.0.1".parse().expect("an address")));
    assert_eq!(outcome(&closed, "127.0.0.1", &[], ALI).await, "client_not_allowed");
}

#[tokio::test(start_paused = true)]
async fn unknown_users_cost_as_much_and_a_broken_hash_lets_nobody_in() {
    let mut config = mixture();
    config.users[0].password_hash = Secret::new("$argon2id$broken");
    let broken = clients(&config, &listener(true));
    assert_eq!(outcome(&broken, "10.2.0.1", &[], ALI).await, "credentials_wrong");
    assert_eq!(outcome(&broken, "10.2.0.1", &[], STRANGER).await, "credentials_wrong");
    assert_eq!(broken.passwords.computed(), 2);
    config.users.clear();
    let none = clients(&config, &listener(true));
    assert_eq!(outcome(&none, "10.2.0.1", &[], ALI).await, "credentials_wrong");
}

#[tokio::test(start_paused = true)]
async fn an_identity_of_one_group_is_shared_and_not_made() {
    let clients = clients(&mixture(), &listener(true));
    let address = "10.1.0.1".parse().expect("an address");
    let one = clients.identify(address, &[], NOTHING).await.expect("let in");
    let other = clients.identify(address, &[], NOTHING).await.expect("let in");
    assert!(std::ptr::eq(one.groups(), other.groups()));
    assert_eq!(one.not_authenticated(), Some(Reason::AUTHENTICATION));
}
