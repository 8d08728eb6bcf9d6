//! Every kind of mistake, with the exact line an operator reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::blame::judge;
use super::check::{check, nearest};
use super::document::Document;
use super::expand::Sources;
use super::schema::Schema;
use super::{Config, example, parse, reference};
use crate::values::{ByteSize, Ratio, Secret, Span};

/// One of everything a component may have.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Sample {
    /// Text.
    name: String,
    flag: bool,
    port: u16,
    size: Option<ByteSize>,
    span: Option<Span>,
    ratio: Option<Ratio>,
    secret: Option<Secret>,
    headers: BTreeMap<String, Secret>,
    mode: Mode,
    listen: Option<SocketAddr>,
    networks: Vec<Network>,
    outputs: Vec<Kind>,
}

#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Mode {
    /// Strict.
    #[default]
    Strict,
    /// Lenient.
    Lenient,
}

#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Kind {
    Http { url: String, weight: Option<f64> },
    File { dir: String },
}

/// A value that only its type can judge.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
struct Network(String);

impl TryFrom<String> for Network {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let network: Result<ipnet::IpNet, _> = text.parse();
        network.map(|_| Self(text)).map_err(|_| "is not a network; write one such as 10.0.0.0/8")
    }
}

fn env(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "canary-from-the-env".to_owned())
}

/// What the schema walk alone says about a text.
fn walk(text: &str) -> Vec<String> {
    let sources = Sources { env: &env, folder: Path::new(".") };
    let mut document = match Document::parse(text, &sources) {
        Ok(document) => document,
        Err(problems) => return problems.iter().map(ToString::to_string).collect(),
    };
    let found = check(&Schema::of::<Sample>(), &document.value);
    document.secret.extend(found.secret);
    document.hidden.extend(found.hidden);
    let all = std::mem::take(&mut document.findings).into_iter().chain(found.findings);
    all.map(|finding| document.problem(finding).to_string()).collect()
}

/// What the whole load says about a text.
fn report(text: &str) -> Vec<String> {
    match parse("gatepost.toml", text, Path::new("."), &env) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn every_kind_of_mistake_has_its_line() {
    let span = "must be a span of time; write a whole number above 0 and a unit in quotes, such as \"500 ms\", \"30 s\" or \"24 h\"";
    let size = "must be a size; write a whole number and a unit in quotes, such as \"64 MiB\"";
    for (text, expected) in [
        ("nam = 'x'", "1:1: nam: is not known here; did you mean \"name\"?".to_owned()),
        ("\n  Flag = true", "2:3: Flag: is not known here; did you mean \"flag\"?".to_owned()),
        ("name = 5", "1:8: name = 5: must be text in quotes".to_owned()),
        ("flag = 'yes'", "1:8: flag = 'yes': must be true or false, without quotes".to_owned()),
        ("port = 70000", "1:8: port = 70000: must be a whole number from 0 to 65535".to_owned()),
        ("port = 1.5", "1:8: port = 1.5: must be a whole number from 0 to 65535".to_owned()),
        ("size = '10 parsecs'", format!("1:8: size = '10 parsecs': {size}")),
        ("size = 10", format!("1:8: size = 10: {size}")),
        ("span = '0 s'", format!("1:8: span = '0 s': {span}")),
        ("ratio = 80", "1:9: ratio = 80: must be a number from 0 to 1, such as 0.8".to_owned()),
        (
            "mode = 'lenent'",
            "1:8: mode = 'lenent': must be one of \"strict\", \"lenient\"; did you mean \"lenient\"?".to_owned(),
        ),
        (
            "networks = '10.0.0.0/8'",
            "1:12: networks = '10.0.0.0/8': must be a list; write it in [ ], or as [[…]] for tables".to_owned(),
        ),
        ("headers = 5", "1:11: headers = 5: must be a table".to_owned()),
        (
            "outputs = [{ url = 'x' }]",
            "1:12: outputs[0].kind: is missing; it must be one of \"http\", \"file\"".to_owned(),
        ),
        (
            "outputs = [{ kind = 'htp' }]",
            "1:21: outputs[0].kind = 'htp': must be one of \"http\", \"file\"; did you mean \"http\"?".to_owned(),
        ),
        ("[[outputs]]\nkind = 'file'", "1:1: outputs[0].dir: is missing; it must be text in quotes".to_owned()),
        (
            "[[outputs]]\nkind = 'file'\ndir = 'x'\nurl = 'x'",
            "4:1: outputs[0].url: is not known here; known are kind, dir".to_owned(),
        ),
        (
            "name = '${env:NONE}'",
            "1:1: name: needs the environment variable NONE, which is not set (or is not UTF-8)".to_owned(),
        ),
        (
            "port = 99999999999999999999",
            "1:8: port = 99999999999999999999: is too large; write a whole number below 9223372036854775808".to_owned(),
        ),
        ("ratio = nan", "1:9: ratio = nan: is not a number that can be used; write one such as 0.8".to_owned()),
        ("name = 2026-01-01", "1:8: name = 2026-01-01: is a date, which no key takes; write text in quotes".to_owned()),
    ] {
        assert_eq!(walk(text), [expected], "{text}");
    }
    let syntax = walk("name = 'x'\nflag = = true");
    assert!(syntax[0].starts_with("2:8: is not TOML: "), "{syntax:?}");
}

#[test]
fn all_mistakes_of_one_table_are_found_at_once() {
    let text = "name = 1\nflag = 2\nsizes = '1 MB'\n[[outputs]]\nkind = 'http'\nurl = 'x'\nweight = 'heavy'\n[headers]\na = 1\n";
    let lines: Vec<String> =
        walk(text).iter().map(|line| line.split(' ').nth(1).unwrap_or_default().to_owned()).collect();
    for key in ["name", "flag", "sizes:", "outputs[0].weight", "headers.a"] {
        assert!(lines.iter().any(|line| line == key), "{key} in {lines:?}");
    }
    assert_eq!(lines.len(), 5);
}

#[test]
fn what_only_the_type_can_judge_is_found_and_located() {
    let value = serde_json::json!({ "name": "x", "listen": "here", "networks": ["10.0.0.0/8", "everywhere"] });
    let blamed = judge::<Sample>(&value).blamed;
    let paths: Vec<&str> = blamed.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["listen", "networks[1]"]);
    assert_eq!(blamed[1].1, "is not a network; write one such as 10.0.0.0/8");
}

#[test]
fn mistakes_in_different_sections_are_reported_together_in_the_order_of_the_file() {
    let text = "[admin]\nlisten = 'nowhere'\ntokn = 'canary-in-file'\n\n[telemetry]\nlevel = 'gatepost=loud'\nformat = 'jsn'\n";
    assert_eq!(
        report(text),
        [
            "gatepost.toml:2:10: admin.listen = 'nowhere': is no address with a port; write one such as \"127.0.0.1:8443\", \"0.0.0.0:8443\" or \"[::]:8443\"",
            "gatepost.toml:3:1: admin.tokn: is not known here; did you mean \"token\"?",
            "gatepost.toml:6:9: telemetry.level = 'gatepost=loud': holds \"gatepost=loud\", which is no level; write one of \"off\", \"error\", \"warn\", \"info\", \"debug\" and \"trace\", and parts with levels of their own behind it: \"info,gatepost::forward=debug\"",
            "gatepost.toml:7:10: telemetry.format = 'jsn': must be one of \"auto\", \"human\", \"json\"; did you mean \"json\"?",
        ]
    );
    assert_eq!(
        report("[admin]\nlisten = 'nowhere'\n[telemetry]\nlevel = 'gatepost=loud'\n"),
        [
            "gatepost.toml:2:10: admin.listen = 'nowhere': is no address with a port; write one such as \"127.0.0.1:8443\", \"0.0.0.0:8443\" or \"[::]:8443\"",
            "gatepost.toml:4:9: telemetry.level = 'gatepost=loud': holds \"gatepost=loud\", which is no level; write one of \"off\", \"error\", \"warn\", \"info\", \"debug\" and \"trace\", and parts with levels of their own behind it: \"info,gatepost::forward=debug\"",
        ]
    );
}

#[test]
fn a_spool_that_could_not_be_opened_is_found_by_the_check() {
    assert_eq!(
        report("[spool]\nmax_size = '1 MiB'\n"),
        ["gatepost.toml:2:12: spool.max_size = '1 MiB': is 1 MiB; it must hold at least two segments of 64 MiB"]
    );
}

#[test]
fn sections_that_do_not_fit_each_other_are_reported() {
    assert_eq!(
        report("[[listeners]]\nname = 'a'\nlisten = '127.0.0.1:8449'\n"),
        [
            "gatepost.toml:3:10: listeners[0].listen = '127.0.0.1:8449': is the address of the admin plane too; choose another port"
        ]
    );
    assert_eq!(
        report("[[outputs]]\nkind = 'file'\nname = 'x'\n[[outputs]]\nkind = 'file'\nname = 'x'\n"),
        ["gatepost.toml:6:8: outputs[1].name = 'x': is taken by outputs[0]; choose another"]
    );
    assert_eq!(
        report("outputs = []\n"),
        ["gatepost.toml:1:1: outputs: must hold at least one table; leave the key out for files in the state folder"]
    );
}

#[test]
fn tunnels_listen_where_nothing_else_does() {
    let text = "[tunnel]\nvia = \"relay\"\n[[tunnel.listeners]]\nname = \"a\"\nlisten = \"127.0.0.1:8443\"\n\
                [[tunnel.allow]]\nname = \"x\"\nhosts = [\"a.test\", \"*.com\"]\n";
    let found = report(text).join("\n");
    assert!(found.contains("tunnel.via") && found.contains("tunnel.allow[0].hosts[1]"), "{found}");
    assert!(found.contains("gatepost.toml:2:") && found.contains("gatepost.toml:8:"), "{found}");

    let listener =
        |name: &str, listen: &str| format!("[[tunnel.listeners]]\nname = \"{name}\"\nlisten = \"{listen}\"\n");
    let text = format!(
        "[[listeners]]\n{}{}{}{}",
        listener("a", "127.0.0.1:8443"),
        listener("b", "127.0.0.1:8449"),
        listener("c", "127.0.0.1:8080"),
        listener("d", "127.0.0.1:8080"),
    );
    let found = report(&text);
    for (n, by) in [(0, "listeners[0]"), (1, "the admin plane"), (3, "tunnel.listeners[2]")] {
        let expected = format!("tunnel.listeners[{n}].listen");
        assert!(found.iter().any(|line| line.contains(&expected) && line.contains(by)), "{expected}: {found:?}");
    }
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn an_output_takes_its_balancer_and_forward_tables_and_no_unknown_one() {
    let good = "[[outputs]]\nkind = 'file'\nname = 'x'\n[outputs.balancer]\n[outputs.forward]\n";
    let config = parse("f", good, Path::new("."), &env).expect("a good file");
    assert_eq!(config.outputs[0].output.name(), "x");
    assert_eq!(
        report(&good.replace("balancer", "balanser")),
        ["gatepost.toml:4:10: outputs[0].balanser: is not known here; did you mean \"balancer\"?"]
    );
}

#[test]
fn secrets_are_never_shown() {
    for text in [
        "secret = 5555555\nname = 1",
        "secret = { canary = 1 }",
        "size = '${env:TOKEN}'",
        "mode = 'x${env:TOKEN}'",
        "headers = { a = ['canary-in-file'] }",
        "secrt = 'canary-in-file'",
        "secret = 'canary-in-file ${env:NONE}'",
        "secret = 'x${canary}'",
    ] {
        let lines = walk(text).join("\n");
        assert!(!lines.is_empty() && !lines.contains("canary") && !lines.contains("5555"), "{lines}");
    }
    let text = "[admin]\nlisten = '${env:TOKEN}'\ntoken = 'short-canary'\n";
    let lines = report(text).join("\n");
    assert!(!lines.is_empty() && !lines.contains("canary"), "{lines}");

    let text = "[admin]\ntoken = '${env:TOKEN}'\n";
    let config = parse("f", text, Path::new("."), &env).expect("a good file");
    assert_eq!(config.admin.token.as_ref().map(Secret::reveal), Some("canary-from-the-env"));
    let printed = reference::effective(&config);
    assert!(printed.contains("token = \"***\"") && !printed.contains("canary"), "{printed}");
}

#[test]
fn an_empty_file_is_the_defaults_and_what_is_printed_can_be_loaded() {
    let parsed = |text: &str| parse("f", text, Path::new("."), &env);
    let state_dir = std::path::absolute("gatepost-state").expect("a path");
    let defaults = Config { state_dir, ..Config::default() };
    for text in ["", "\u{feff}# from Windows\r\n", &reference::effective(&Config::default())] {
        assert_eq!(parsed(text).as_ref(), Ok(&defaults));
    }
}

#[test]
fn the_example_can_be_loaded_and_uncommented() {
    let example = example::text();
    let config = parse("example", &example, Path::new("."), &env).expect("the example is right");
    assert_eq!(config, Config { state_dir: "/var/lib/gatepost".into(), ..Config::default() });

    let uncommented =
        example.lines().map(|line| line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line));
    let text: Vec<&str> = uncommented.collect();
    // Keys without a default hold samples, which their own checks may refuse; but every key is known and well placed.
    for line in parse("example", &text.join("\n"), Path::new("."), &env).err().iter().flat_map(|p| &p.problems) {
        let message = &line.message;
        assert!(!message.contains("not known") && !message.contains("TOML") && !message.contains("missing"), "{line}");
    }
}

#[test]
fn near_names_are_suggested_and_far_ones_are_not() {
    assert_eq!(nearest("max-size", &["max_size", "window"]), Some("max_size"));
    assert_eq!(nearest("widnow", &["max_size", "window"]), Some("window"));
    assert_eq!(nearest("colour", &["max_size", "window"]), None);
}

#[test]
fn a_key_that_nobody_knows_hides_no_other_mistake() {
    let text = "[tunnel]\n[[tunnel.listeners]]\nplain_htp = true\nlisten = \"0.0.0.0:8080\"\n[[tunnel.allow]]\nname = \"a\"\nhosts = [\"*.com\"]\n";
    let found = super::load::parse("test", text, std::path::Path::new("."), &|_| None).expect_err("it is wrong");
    let keys: Vec<&str> = found.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["tunnel.listeners[0].plain_htp", "tunnel.listeners[0].listen", "tunnel.allow[0].hosts[0]"]);
    let text = text.replace("hosts", "[[tunnel.groups]]\nname = \"g\"\nnetworks = [\"10.0.0.0/33\"]\n#");
    let found = super::load::parse("test", &text, std::path::Path::new("."), &|_| None).expect_err("it is wrong");
    assert!(found.problems.iter().any(|problem| problem.key == "tunnel.groups[0].networks[0]"), "{found}");
}

#[test]
fn one_mistake_hides_no_other_of_its_section() {
    let text = "[telemetry]\nlevel = 'inof'\nformat = 5\n[tunnel]\nvia = 'relay'\n\
                [[tunnel.listeners]]\nlisten = ':8080'\n[[tunnel.listeners]]\nname = 'b'\nlisten = 'gate:8081'\n\
                [[tunnel.allow]]\nname = 'a'\nhosts = ['*.com', 'x y']\n[[tunnel.allow]]\nname = 'b'\nhosts = ['*.net']\nplain_http = 'yes'\n\
                [[tunnel.groups]]\nname = 'g'\nnetworks = ['10.0.0.0/33', '10.0.0.0/8', 'everywhere']\n\
                [[outputs]]\nkind = 'http'\nname = 'two words'\ntimeout = '3'\nendpoints = [{ url = 'ftp://a', weight = 0 }, { url = 'https://b', max_in_flight = 'x' }]\n\
                [[outputs]]\nname = 'files'\n[[outputs]]\nkind = 'file'\nname = 'x'\n[[outputs]]\nkind = 'file'\nname = 'x'\n\
                [[listeners]]\nlisten = '0.0.0.0:8443'\nlimits = { max_connections = 0, wire_max = 5 }\n";
    let found = parse("test", text, Path::new("."), &env).expect_err("it is wrong");
    let mut keys: Vec<&str> = found.problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    let expected = [
        "listeners[0].auth",
        "listeners[0].limits.max_connections",
        "listeners[0].limits.wire_max",
        "outputs[0].endpoints[0].url",
        "outputs[0].endpoints[0].weight",
        "outputs[0].endpoints[1].max_in_flight",
        "outputs[0].name",
        "outputs[0].timeout",
        "outputs[1].kind",
        "outputs[3].name",
        "telemetry.format",
        "telemetry.level",
        "tunnel.allow[0].hosts[0]",
        "tunnel.allow[0].hosts[1]",
        "tunnel.allow[1].hosts[0]",
        "tunnel.allow[1].plain_http",
        "tunnel.groups[0].networks[0]",
        "tunnel.groups[0].networks[2]",
        "tunnel.listeners[0].listen",
        "tunnel.listeners[1].listen",
        "tunnel.via",
    ];
    assert_eq!(keys, expected, "{found}");
}

#[test]
fn a_word_of_a_message_that_is_a_secret_elsewhere_stays() {
    let text = "[admin]\ntoken = 'short'\nallowed_hosts = ['a/b']\n";
    let found = report(text).join("\n");
    assert!(found.contains("token = ***: is too short") && found.contains("is not a host name"), "{found}");
}

#[test]
fn every_path_starts_at_the_folder_of_the_configuration() {
    let text = "access_log = { file = 'a.log' }\n[[listeners]]\ntls = { certificate = 'c.pem', key = '/abs/k.pem' }\n\
                [[outputs]]\nkind = 'file'\nname = 'x'\ndirectory = 'out'\n[[outputs]]\nkind = 'http'\nname = 'h'\nca_file = 'ca.pem'\n\
                endpoints = [{ url = 'https://a' }]\n";
    let config = parse("test", text, Path::new("/etc/gatepost"), &env).expect("a good file");
    let printed = reference::effective(&config);
    for path in ["gatepost-state", "a.log", "c.pem", "out", "ca.pem"] {
        let whole = Path::new("/etc/gatepost").join(path);
        let found = printed.lines().any(|line| line.contains("/etc/gatepost") && line.contains(path));
        assert!(found, "{} in {printed}", whole.display());
    }
    assert!(printed.contains("\"/abs/k.pem\""), "{printed}");
}
