//! Whose tickets are taken, and what becomes of those that are not.

use gatepost::lab::wef::Faults;
use gatepost::lab::wef::kerberos::{self as lab, Scheme, Ticket, Wire};

use super::super::scene::{events, identities, until};
use super::kdc::SERVICES;
use super::{Domain, PATH, answer_of, heartbeat, name, post, schemes};

async fn shown(domain: &Domain, scheme: Scheme, token: &[u8]) -> lab::Reply {
    let mut wire = Wire::open(&domain.address()).await.unwrap();
    lab::greet(&mut wire, PATH, scheme, token).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_is_not_good_is_refused_with_the_reason_and_harms_nobody_else() {
    let domain = Domain::new(2, "").await;
    let running = domain.site().start().await;
    let (wire, mut ticket) = domain.greeted(1).await;
    let (_, other) = domain.kdc.token_for("PC0$", "HTTP/other.example.test", Scheme::Kerberos).await;
    let (_, user) = domain.kdc.token("someone", Scheme::Kerberos).await;
    let (_, good) = domain.kdc.token("PC0$", Scheme::Negotiate).await;
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    assert_eq!(shown(&domain, Scheme::Negotiate, &good).await.status, 200);
    for (what, scheme, token, status, told) in [
        ("another service", Scheme::Kerberos, &other[..], 401, "add HTTP/NAME and HOST/NAME"),
        ("a user", Scheme::Kerberos, &user, 403, "someone@EXAMPLE.TEST"),
        ("shown before", Scheme::Negotiate, &good, 401, "was shown a second time"),
        ("changed", Scheme::Negotiate, &changed, 401, ""),
        ("cut", Scheme::Negotiate, &good[..good.len() / 2], 401, ""),
        ("NTLM", Scheme::Negotiate, b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2", 401, "got no ticket"),
        ("nothing", Scheme::Negotiate, b"", 401, ""),
        ("noise", Scheme::Kerberos, b"hello", 401, ""),
    ] {
        let reply = shown(&domain, scheme, token).await;
        assert_eq!(reply.status, status, "{what}: {}", String::from_utf8_lossy(&reply.body));
        assert_eq!(
            reply.header("connection"),
            if what == "nothing" { reply.header("connection") } else { Some("close") },
            "{what}"
        );
        if status == 401 {
            assert_eq!(schemes(&reply), ["Kerberos", "Negotiate"], "{what}");
        }
        let status = domain.scene.shown().await["tickets_refused"].to_string();
        assert!(status.contains(told), "{what}: {status}");
    }
    let mut wire = wire;
    let message = heartbeat(1);
    let sealed = ticket.seal(&message).await.unwrap();
    let reply = post(&mut wire, &lab::framed(Scheme::Kerberos, message.len(), &sealed)).await.unwrap();
    assert_eq!(reply.status, 204, "who was there before goes on");
    assert!(domain.site().metric("gatepost_wef_tickets_total{input=\"uploads\",result=\"refused\"}").await >= 6.0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_was_made_too_long_ago_is_refused_for_the_clock() {
    let domain = Domain::new(1, "").await;
    let strict = domain.kdc.path("strict.conf");
    let running = domain.site().launch_with("KRB5_CONFIG", strict.as_os_str());
    domain.site().until_ready().await;
    let (_, token) = domain.kdc.token("PC0$", Scheme::Kerberos).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(shown(&domain, Scheme::Kerberos, &token).await.status, 401);
    let told = domain.scene.shown().await["tickets_refused"].to_string();
    assert!(told.contains("Clock skew too great") && told.contains("the clocks of the host and the gateway"), "{told}");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_speaks_for_another_is_refused_and_a_named_one_may() {
    let relays = "wef.kerberos.principals = [{ name = \"PC1$@*\", hosts = [\"*.example.test\"] }, { name = \"*$@EXAMPLE.TEST\" }]";
    let listener = format!("identity.policy = \"enforce\"\nwef.read_existing_events = true\n{relays}");
    let domain = Domain::new(2, &listener).await;
    let running = domain.site().start().await;
    let one =
        |account: &str, own: &str| domain.impostor(account, own, SERVICES[0], Scheme::Kerberos, Faults::default());
    let refused = one("PC0$", &name(7)).enumerate().await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
    let mut forger = one("PC0$", &name(0));
    events(&name(7), 7, 5, 0.0).iter().for_each(|event| forger.log(event));
    forger.enumerate().await.unwrap();
    assert!(forger.deliver(10).await.unwrap_err().to_string().contains("403"));
    let mut relay = one("PC1$", &name(1));
    let others = events(&name(7), 7, 5, 0.0);
    others.iter().for_each(|event| relay.log(event));
    relay.enumerate().await.unwrap();
    assert_eq!(relay.deliver(10).await.unwrap(), 5);
    domain.scene.assert_arrived_once(&identities(&others)).await;
    let told = domain.scene.shown().await.to_string();
    assert!(told.contains("may not speak"), "{told}");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tag_events_of_others_are_kept_and_counted() {
    let domain = Domain::new(1, "identity.policy = \"tag\"\nwef.read_existing_events = true").await;
    let running = domain.site().start().await;
    let mut host = domain.impostor("PC0$", &name(7), SERVICES[0], Scheme::Kerberos, Faults::default());
    let others = events(&name(7), 7, 5, 0.0);
    others.iter().for_each(|event| host.log(event));
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(10).await.unwrap(), 5);
    domain.scene.assert_arrived_once(&identities(&others)).await;
    let tagged = "gatepost_wef_foreign_machines_total{input=\"uploads\",action=\"tagged\"}";
    assert!(domain.site().metric(tagged).await >= 2.0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_keytab_at_the_same_place_is_taken_and_connections_go_on() {
    let domain = Domain::new(2, "").await;
    let running = domain.site().start().await;
    let (mut wire, mut old) = domain.greeted(0).await;
    // The account gets a new password: tickets from now on are under the new key, and the old keytab does not open them.
    domain.kdc.admin(&[format!("cpw -randkey {}", SERVICES[0])]).unwrap();
    let (_, token) = domain.kdc.token("PC1$", Scheme::Kerberos).await;
    assert_eq!(shown(&domain, Scheme::Kerberos, &token).await.status, 401);
    let told = domain.scene.shown().await["tickets_refused"].to_string();
    assert!(told.contains("export it again"), "{told}");
    let fresh = domain.kdc.path("fresh.keytab");
    std::fs::copy(domain.kdc.keytab(), &fresh).unwrap();
    domain.kdc.admin(&[format!("ktadd -norandkey -k {} {}", fresh.display(), SERVICES[0])]).unwrap();
    std::fs::rename(&fresh, domain.kdc.keytab()).unwrap();
    let (mut ticket, token) = domain.kdc.token("PC1$", Scheme::Kerberos).await;
    let reply = shown(&domain, Scheme::Kerberos, &token).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    ticket.go_on(&answer_of(&reply)).await.unwrap();
    running.signal("HUP");
    for _ in 0..3 {
        let message = heartbeat(0);
        let sealed = old.seal(&message).await.unwrap();
        let reply = post(&mut wire, &lab::framed(Scheme::Kerberos, message.len(), &sealed)).await.unwrap();
        assert_eq!(reply.status, 204, "who was there before goes on");
    }
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_hosts_than_there_are_contexts_are_told_to_come_back() {
    let domain = Domain::new(3, "wef.kerberos.max_contexts = 2").await;
    let running = domain.site().start().await;
    let (first, _one) = domain.greeted(0).await;
    let _second = domain.greeted(1).await;
    let (_, token) = domain.kdc.token("PC2$", Scheme::Kerberos).await;
    let reply = shown(&domain, Scheme::Kerberos, &token).await;
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    drop(first);
    let account = domain.kdc.account("PC2$", SERVICES[0], Scheme::Kerberos);
    let mut ticket = Ticket::start(&account).unwrap();
    until(async || {
        let token = ticket.begin(&account).await.unwrap();
        shown(&domain, Scheme::Kerberos, &token).await.status == 200
    })
    .await;
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_whose_tickets_end_soon_connect_anew_and_lose_nothing() {
    let domain = Domain::new(1, "wef.read_existing_events = true").await;
    let running = domain.site().start().await;
    let mut account = domain.kdc.account("PC0$", SERVICES[0], Scheme::Kerberos);
    account.variables[0].1 = domain.kdc.path("short.conf").display().to_string();
    let own = events(&name(0), 0, 40, 0.0);
    let mut host = domain.host(0, SERVICES[0], Scheme::Kerberos, Faults::default()).on(lab::Line::new(account));
    own.iter().for_each(|event| host.log(event));
    host.enumerate().await.unwrap();
    assert_eq!(host.deliver(10).await.unwrap(), 40);
    domain.scene.assert_arrived_once(&identities(&own)).await;
    let accepted = "gatepost_wef_tickets_total{input=\"uploads\",result=\"accepted\"}";
    assert!(domain.site().metric(accepted).await >= 6.0, "each answer ended its connection");
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keytab_without_a_service_is_told_with_its_line_and_what_is_in_it() {
    let domain = Domain::new(0, "wef.notify_to = \"http://gate.example.test:5985\"").await;
    assert!(domain.site().gatepost(&["check"]).status.success());
    let printed = domain.site().gatepost(&["wef", "policy", "--refresh", "30"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let value = format!("Server=http://gate.example.test:5985{PATH},Refresh=30");
    assert!(printed.contains(&value) && !printed.contains("IssuerCA"), "{value} is not in {printed}");
    let wrong = domain.site().config().replace(SERVICES[1], "HOST/gateway.example.test");
    domain.site().configure(&wrong);
    let checked = domain.site().gatepost(&["check"]);
    assert!(!checked.status.success());
    let told = [checked.stdout, checked.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    let line = wrong.lines().position(|line| line.starts_with("wef.kerberos.services")).unwrap() + 1;
    assert!(told.contains(&format!("gatepost.toml:{line}:")), "{told}");
    assert!(told.contains("HOST/gateway.example.test") && told.contains(SERVICES[0]), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_looks_for_the_names_that_hosts_ask_for_and_where_they_deliver() {
    let domain = Domain::new(0, "").await;
    let doctor = |gateway: &str| {
        let done = domain.site().gatepost(&["doctor", "--gateway", gateway, "--json"]);
        let told = String::from_utf8_lossy(&done.stdout).into_owned();
        let lines = told.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let of = |check: &str| lines.clone().filter(|line| line["check"] == check).collect::<Vec<_>>();
        (of("keytab"), of("service"), of("delivery"), of("certificate"))
    };
    let (keytab, services, delivery, certificates) = doctor("gate.example.test");
    assert_eq!(keytab[0]["result"], "ok", "{keytab:?}");
    assert!(services.len() == 2 && services.iter().all(|line| line["result"] == "ok"), "{services:?}");
    assert_eq!(delivery[0]["result"], "failed", "nobody listens: {delivery:?}");
    assert!(certificates.is_empty(), "such a listener has none: {certificates:?}");
    let running = domain.site().start().await;
    let (_, services, delivery, _) = doctor("gateway.example.test");
    assert_eq!(delivery[0]["result"], "ok", "{delivery:?}");
    let told = services.iter().map(ToString::to_string).collect::<String>();
    for kind in ["HTTP", "HOST"] {
        assert!(told.contains(&format!("setspn -S {kind}/gateway.example.test ACCOUNT")), "{told}");
    }
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_fleet_shows_tickets_from_the_command_line() {
    let domain = Domain::new(3, "wef.read_existing_events = true").await;
    let running = domain.site().start().await;
    let gateway = format!("http://{}", domain.address());
    let simulate = |rest: &[&str]| {
        let args = ["simulate", "wef", "--gateway", &gateway, "--kerberos", SERVICES[0]];
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args([&args[..], rest].concat())
            .env("KRB5_CONFIG", domain.kdc.path("krb5.conf"))
            .output()
            .unwrap();
        assert!(done.status.success(), "{rest:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let fleet = domain.kdc.path("fleet.keytab").display().to_string();
    let told = simulate(&["--keytab", &fleet, "--hosts", "3", "--events", "40", "--lost-answers", "0.2"]);
    assert!(told.contains("pc2.example.test") && told.contains("events of 3 hosts were acknowledged"), "{told}");
    let told =
        simulate(&["--keytab", &fleet, "--principal", "PC1$@EXAMPLE.TEST", "--negotiate", "--domain", "plant.test"]);
    assert!(told.contains("pc1.plant.test") && told.contains("events of 1 hosts were acknowledged"), "{told}");
    domain.scene.site.until_drained().await;
    assert_eq!(domain.scene.collector.held().copies(), 0);
    assert!(running.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_gets_is_explained_for_its_ticket() {
    let listener = "identity.policy = \"enforce\"\nwef.subscriptions = [{ name = \"dns\", query_list = \"dns.xml\", \
                    hosts = [\"DNS1$@*\"] }]\nwef.kerberos.principals = [{ name = \"*$@EXAMPLE.TEST\", group = \"plant\" }]";
    let domain = Domain::new(0, listener).await;
    let list = "<QueryList><Query><Select Path='DNS Server'>*</Select></Query></QueryList>";
    std::fs::write(domain.site().dir.join("dns.xml"), list).unwrap();
    let explained = |args: &[&str]| {
        let output = domain.site().gatepost(&[&["wef", "explain"], args].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = explained(&["dns1.example.test"]);
    assert!(code == Some(0) && told.contains("gets \"dns\": \"DNS1$@*\"") && told.contains("of group plant"), "{told}");
    let (code, told) = explained(&["pc1.example.test", "--certificate", "someone@EXAMPLE.TEST"]);
    assert!(code == Some(1) && told.contains("REFUSED") && told.contains("wef.kerberos.principals"), "{told}");
    let (code, told) = explained(&["pc1.example.test", "--certificate", "PC2$@EXAMPLE.TEST"]);
    assert!(code == Some(1) && told.contains("ticket of \"PC2$@EXAMPLE.TEST\" may not speak for it"), "{told}");
}
