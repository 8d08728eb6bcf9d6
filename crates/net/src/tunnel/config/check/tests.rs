//! Each problem, with its key and the remedy.

use super::*;

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";

fn problems(text: &str) -> Vec<String> {
    let config: Config = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    config.problems().into_iter().map(|(key, message)| format!("{key} {message}")).collect()
}

const SOUND: &str = r#"
    via = "relay"
    [[listeners]]
    listen = "0.0.0.0:8080"
    plain_http = true
    [[listeners]]
    name = "tls"
    listen = "0.0.0.0:8081"
    groups = ["certified"]
    tls = { certificate = "cert.pem", key = "key.pem", client_ca = "ca.pem" }
    [[allow]]
    name = "ama"
    rule_set = "ama"
    cloud = "us-gov"
    regions = ["usgovvirginia"]
    [[allow]]
    name = "arc"
    rule_set = "arc"
    plain_http = true
    via = "direct"
    [[allow]]
    name = "own"
    hosts = ["host.example.com", "*.example.org:8443", "192.0.2.7"]
    ports = [443, 8443]
    addresses = ["10.0.0.0/8"]
    client_subjects = ["agent"]
    refuse_hidden_subjects = true
    [[groups]]
    name = "plant"
    networks = ["10.1.0.0/16"]
    allow = ["ama", "arc"]
    [[groups]]
    name = "people"
    users = ["alice"]
    [[groups]]
    name = "certified"
    certificates = ["*"]
    [[users]]
    name = "alice"
    password_hash = "HASH"
    [[upstream_proxies]]
    name = "relay"
    ca_file = "ca.pem"
    proxies = [{ url = "http://a.example.com:3128", user = "u", password = "p" }, { url = "https://b.example.com" }]
"#;

#[test]
fn a_sound_configuration_has_no_problems_and_reads_back() {
    let text = SOUND.replace("HASH", HASH);
    assert_eq!(problems(&text), [""; 0]);
    assert_eq!(problems(""), [""; 0]);
    assert_eq!(problems("[[listeners]]"), [""; 0]);
    let config: Config = toml::from_str(&text).expect("a configuration");
    // Secrets are written as ***, which is no hash, but reads.
    let written = toml::to_string(&config).expect("it can be written");
    let again: Config = toml::from_str(&written).expect("it can be read");
    assert_eq!((again.listeners, again.allow, again.groups), (config.listeners, config.allow, config.groups));
}

#[test]
fn each_problem_names_its_key_and_what_would_be_right() {
    for (text, key, right) in [
        ("[[listeners]]\nname = \"a b\"", "listeners[0].name", "letters"),
        ("[[listeners]]\n[[listeners]]", "listeners[1].name", "listeners[0]"),
        ("[[listeners]]\nlisten = \"0.0.0.0:8080\"", "listeners[0].listen", "[[tunnel.groups]]"),
        ("[[listeners]]\ngroups = [\"x\"]", "listeners[0].groups[0]", "there is none"),
        ("[[listeners]]\ntls = { mode = \"off\", client_ca = \"x\" }", "listeners[0].tls.client_ca", "needs TLS"),
        ("[[listeners]]\ntls = { key = \"x\" }", "listeners[0].tls.key", "needs tls.certificate beside it"),
        ("[[listeners]]\ntls = { client_certificates = \"required\" }", "listeners[0].tls.client_ca", "missing"),
        ("[[listeners]]\nplain_http = true", "listeners[0].plain_http", "tunnel.allow"),
        ("[[allow]]\nname = \"x\"", "allow[0]", "rule_set"),
        ("[[allow]]\nhosts = [\"a.test\"]", "allow[0].name", "letters"),
        ("[[allow]]\nname = \"x\"\nhosts = [\"https://a.test/\"]", "allow[0].hosts[0]", "\"a.test\""),
        ("[[allow]]\nname = \"x\"\nhosts = [\"a.test\", \"*.com\"]", "allow[0].hosts[1]", "two labels"),
        ("[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\nports = [443, 0]", "allow[0].ports[1]", "65535"),
        ("[[allow]]\nname = \"x\"\nrule_set = \"ama\"\nports = [443]", "allow[0].ports", "hosts"),
        (
            "[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\naddresses = [\"0.0.0.0/0\"]",
            "allow[0].addresses[0]",
            "networks",
        ),
        ("[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\naddresses = [\"::/0\"]", "allow[0].addresses[0]", "networks"),
        ("[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\nvia = \"Direct\"", "allow[0].via", "\"direct\""),
        ("[[allow]]\nname = \"x\"\nrule_set = \"ama\"\nplain_http = true", "allow[0].plain_http", "hosts"),
        ("[[allow]]\nname = \"x\"\nrule_set = \"ama\"\nworkspaces = [\"w\"]", "allow[0].workspaces[0]", "portal"),
        ("[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\nregions = [\"r\"]", "allow[0].regions", "rule_set"),
        (
            "[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\nclient_subjects = [\"\"]",
            "allow[0].client_subjects[0]",
            "CN=",
        ),
        (
            "[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\nrefuse_hidden_subjects = true",
            "allow[0].refuse",
            "client_subjects",
        ),
        (
            "[[allow]]\nname = \"x\"\nhosts = [\"a.test\"]\nrequire_tls = false\nclient_subjects = [\"a\"]",
            "allow[0].require_tls",
            "remove one",
        ),
        ("[[groups]]\nname = \"g\"", "groups[0]", "networks"),
        (
            "[[groups]]\nname = \"g\"\nnetworks = [\"10.0.0.0/8\"]\nallow = [\"x\"]",
            "groups[0].allow[0]",
            "names no rule",
        ),
        ("[[groups]]\nname = \"g\"\nusers = [\"x\"]", "groups[0].users[0]", "names no user"),
        ("[[listeners]]\n[[groups]]\nname = \"g\"\ncertificates = [\"*\"]", "groups[0].certificates", "tls.client_ca"),
        ("[[groups]]\nname = \"g\"\ncertificates = [\"\"]", "groups[0].certificates[0]", "common name"),
        ("[[users]]\nname = \"a:b\"\npassword_hash = \"HASH\"", "users[0].name", "HTTP Basic"),
        ("[[users]]\nname = \"a\"\npassword_hash = \"hunter2\"", "users[0].password_hash", "gatepost password"),
        (
            "[[upstream_proxies]]\nname = \"direct\"\nproxies = [{ url = \"http://a:1\" }]",
            "upstream_proxies[0].name",
            "direct",
        ),
        ("[[upstream_proxies]]\nname = \"p\"\nproxies = []", "upstream_proxies[0].proxies", "at least one"),
        (
            "[[upstream_proxies]]\nname = \"p\"\nproxies = [{ url = \"a:3128\" }]",
            "upstream_proxies[0].proxies[0].url",
            "http://",
        ),
        ("via = \"relay\"", "via", "direct"),
        ("dns.servers = [\"10.0.0.53:0\"]", "dns.servers[0]", "53"),
        ("limits.max_tunnels = 0", "limits.max_tunnels", "1 or more"),
        ("limits.bandwidth = \"0 B\"", "limits.bandwidth", "no limit"),
    ] {
        let found = problems(&text.replace("HASH", HASH));
        assert!(found.len() == 1 && found[0].starts_with(key) && found[0].contains(right), "{text}: {found:?}");
    }
}

#[test]
fn a_group_that_no_listener_can_serve_is_a_problem() {
    let users = format!("[[users]]\nname = \"a\"\npassword_hash = \"{HASH}\"\n");
    let off =
        problems(&format!("{users}[[listeners]]\nauthentication = \"off\"\n[[groups]]\nname = \"g\"\nusers = [\"a\"]"));
    assert!(off.len() == 1 && off[0].starts_with("groups[0].users are asked by no"), "{off:?}");
    let nowhere = problems(
        "[[listeners]]\ngroups = [\"a\"]\n[[groups]]\nname = \"a\"\nnetworks = [\"10.0.0.0/8\"]\n\
         [[groups]]\nname = \"b\"\nnetworks = [\"10.0.0.0/8\"]",
    );
    assert!(nowhere.len() == 1 && nowhere[0].starts_with("groups[1] is let in by no listener"), "{nowhere:?}");
}

#[test]
fn bad_urls_of_proxies_are_told_without_their_password() {
    for url in [
        "",
        "proxy",
        "ftp://a.test",
        "http://",
        "http://u:canary@a.test:1",
        "http://a.test/x",
        "http://a.test:0",
        "http://a.test:",
        "http://a.test:65536",
        "http://a.test?x",
        "socks5://a.test:1080",
    ] {
        let message = proxy_url_problem(url).unwrap_or_else(|| panic!("{url} has a problem"));
        assert!(!message.contains("canary"), "{message}");
    }
    for url in ["http://a.test:3128", "https://a.test", "http://[2001:db8::1]:3128/", "http://10.0.0.1:1"] {
        assert_eq!(proxy_url_problem(url), None, "{url}");
    }
}
