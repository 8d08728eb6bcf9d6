//! `--json` has one shape: whatever the command, every line is an object, with the keys that docs/commands.md promises.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use gatepost::lab::collector::{Collector, Memory};
use serde_json::{Map, Value};

use crate::support::{Site, workspace};
use crate::tools::{of_checkout, run};

type Object = Map<String, Value>;

/// What docs/commands.md promises: the keys of each command.
fn promised() -> BTreeMap<String, Vec<String>> {
    let page = std::fs::read_to_string(of_checkout("docs/commands.md")).expect("the page is there");
    let (_, table) = page.split_once("| command | lines | keys |").expect("the table");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut promised = BTreeMap::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        let keys = quoted(cells[cells.len() - 2]);
        promised.extend(quoted(cells[1]).into_iter().map(|command| (command, keys.clone())));
    }
    promised
}

/// Every command that does something, by its words.
fn commands(of: &clap::Command, path: &str, into: &mut BTreeSet<String>) {
    for sub in of.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name()).trim_start().to_owned();
        commands(sub, &path, into);
        if sub.get_subcommands().next().is_none() || !sub.is_subcommand_required_set() {
            into.insert(path);
        }
    }
}

/// The lines of a text, each of which has to be an object.
fn objects(command: &str, text: &[u8]) -> Vec<Object> {
    let text = std::str::from_utf8(text).expect("text");
    let object = |line: &str| match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        other => panic!("{command}: {other:?} is no object: {line}"),
    };
    text.lines().map(object).collect()
}

fn is_failure(object: &Object) -> bool {
    object.get("ok") == Some(&Value::Bool(false))
}

/// Runs a command of an operator, and looks at what it prints.
struct Desk<'s> {
    site: &'s Site,
    promised: BTreeMap<String, Vec<String>>,
    seen: BTreeSet<String>,
}

impl Desk<'_> {
    /// `command` as the page has it, with these arguments more. It must answer; what it cannot do here is a failure, which is checked
    /// by `fails`.
    fn answers(&mut self, command: &str, args: &[&str]) -> Vec<Object> {
        let objects = self.runs(command, args, b"");
        objects.iter().for_each(|object| self.has_its_keys(command, object));
        objects
    }

    fn has_its_keys(&self, command: &str, object: &Object) {
        assert!(!is_failure(object), "{command}: {object:?}");
        let keys = self.promised.get(command).unwrap_or_else(|| panic!("docs/commands.md has no {command}"));
        let lacks: Vec<&String> = keys.iter().filter(|key| !object.contains_key(*key)).collect();
        assert!(lacks.is_empty(), "{command}: there is no {lacks:?} in {object:?}");
    }

    /// One line: an answer, or a failure.
    fn says(&mut self, command: &str, args: &[&str]) {
        let objects = self.runs(command, args, b"");
        assert_eq!(objects.len(), 1, "{command}: {objects:?}");
        if !is_failure(&objects[0]) {
            self.has_its_keys(command, &objects[0]);
        }
    }

    /// The same for one that has an answer for sure.
    fn tells(&mut self, command: &str, args: &[&str]) -> Vec<Object> {
        let objects = self.answers(command, args);
        assert!(!objects.is_empty(), "{command} says nothing");
        objects
    }

    /// It fails, and says so in one line.
    fn fails(&mut self, command: &str, args: &[&str]) {
        let objects = self.runs(command, args, b"");
        let is_told = |told: &Object| is_failure(told) && (told.contains_key("error") || told.contains_key("problems"));
        assert!(objects.len() == 1 && is_told(&objects[0]), "{command}: {objects:?}");
    }

    fn runs(&mut self, command: &str, args: &[&str], input: &[u8]) -> Vec<Object> {
        let words = command.split(' ');
        self.seen.insert(words.clone().filter(|word| !word.starts_with("--")).collect::<Vec<_>>().join(" "));
        let output = run(self.command().args(words).args(args).arg("--json"), input);
        objects(command, &output.stdout)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.current_dir(&self.site.dir).env("GATEPOST_CONFIG", self.site.config_path());
        command
    }
}

const LOGON: &str = r#"{"Computer":"WEB01","Channel":"Security","EventID":4624,"EventRecordID":101,"TimeCreated":"2026-11-20T06:00:00Z"}"#;
const XML: &str = "<Event xmlns=\"http://schemas.microsoft.com/win/2004/08/events/event\"><System><EventID>4624</EventID></System></Event>";
const OMS: &str = "Get-OMSGatewayConfig\nName  : ListenPort\nValue : 8888\n";
const REST: &str = "[[tunnel.allow]]\nname = \"arc\"\nhosts = [\"gate.invalid\"]\n\
                    [[filter.rules]]\nname = \"all\"\nqueries = [\"Security!*\"]\noutputs = [\"soc\"]\n";

fn wef(dir: &Path) -> String {
    let ca = dir.join("authority/ca.pem");
    format!(
        "[[listeners]]\nname = \"wef\"\nlisten = \"127.0.0.1:5986\"\ntls.client_ca = \"{}\"\nwef.enabled = true\n\
         [[outputs]]\nkind = \"file\"\nname = \"file\"\n[[filter.rules]]\nname = \"all\"\nqueries = [\"Security!*\"]\noutputs = [\"file\"]\n",
        ca.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_json_every_line_of_every_command_is_an_object_with_the_promised_keys() {
    let collector = Collector::start(Memory::Identities).await.unwrap();
    let site = Site::new(&workspace("soc", &[&collector]), REST);
    for (file, text) in [
        ("events.ndjson", LOGON),
        ("event.xml", XML),
        ("oms.txt", OMS),
        ("key.txt", "a2V5"),
        ("wrong.toml", "listeners = 7\n"),
        ("wrong.json", "{"),
        ("wef.toml", &wef(&site.dir)),
    ] {
        std::fs::write(site.dir.join(file), text).expect("a file");
    }
    let mut desk = Desk { site: &site, promised: promised(), seen: BTreeSet::new() };
    offline(&mut desk);
    let _running = site.start().await;
    let client = site.client();
    for body in [format!("[{LOGON},17]"), "[18]".to_owned()] {
        site.upload(&client, body).await.expect("an answer");
    }
    site.until_drained().await;
    tokio::task::block_in_place(|| beside_a_gateway(&mut desk));

    let mut all = BTreeSet::new();
    commands(&gatepost::cli::command(), "", &mut all);
    let missed: Vec<&String> = all.iter().filter(|command| !desk.seen.contains(*command)).collect();
    assert!(missed.is_empty(), "not tried: {missed:?}");
    let unknown: Vec<&String> = all.iter().filter(|command| !desk.promised.contains_key(*command)).collect();
    assert!(unknown.is_empty(), "docs/commands.md has no {unknown:?}");
}

/// What needs no gateway.
fn offline(desk: &mut Desk<'_>) {
    desk.tells("check", &[]);
    desk.tells("check --print", &[]);
    desk.fails("check", &["--config", "wrong.toml"]);
    desk.fails("run", &["--config", "wrong.toml"]);
    // What they answer where something is replicated is in `replication::reached`.
    desk.fails("spool init", &[]);
    desk.fails("spool check", &[]);
    desk.fails("top", &[]);
    desk.fails("status", &[]);
    desk.tells("hosts", &[]);
    desk.tells("hosts explain", &["gate.invalid"]);
    desk.tells("hosts explain", &["other.invalid"]);
    desk.tells("xpath", &["*", "events.ndjson"]);
    desk.tells("xpath", &["*", "event.xml"]);
    desk.tells("xpath --count", &["*", "events.ndjson"]);
    desk.tells("xpath --explain", &["*"]);
    desk.tells("columns", &["events.ndjson"]);
    desk.tells("columns --schema", &[]);
    desk.tells("rules list", &[]);
    desk.tells("rules show", &["all"]);
    desk.answers("rules check", &[]);
    desk.tells("rules check", &["wrong.json"]);
    desk.tells("rules test", &["events.ndjson"]);
    desk.tells("rules test --each", &["events.ndjson"]);
    let config = desk.site.config_path().display().to_string();
    desk.tells("rules diff", &[&config, &config, "events.ndjson"]);
    desk.fails("rules delete", &["nobody"]);
    desk.tells("azure template", &[]);
    desk.tells("ca init", &["authority"]);
    desk.tells("ca show", &["authority/ca.pem"]);
    desk.tells("ca trust", &["authority/ca.pem"]);
    desk.tells("doctor", &["--timeout", "1 s"]);
    desk.tells("wef subscriptions", &["pc1", "--config", "wef.toml"]);
    desk.tells("wef explain", &["pc1", "--config", "wef.toml"]);
    desk.tells("wef policy", &["--config", "wef.toml"]);
    desk.tells("import-oms", &["oms.txt"]);
    desk.tells("token", &[]);
    assert!(desk.runs("token --hash", &[], b"a token\n")[0].contains_key("sha256"));
    assert!(desk.runs("password", &[], b"secret\n")[0].contains_key("password_hash"));
    for document in ["config", "example", "metrics"] {
        desk.tells(&format!("reference {document}"), &[]);
    }
    desk.tells("completions", &["bash"]);
    desk.tells("demo", &["--seconds", "2", "--hosts", "4", "--events", "200"]);
    desk.tells("simulate wef", &["--gateway", "https://127.0.0.1:1", "--dir", "hosts"]);
    let agents = ["--gateway", "https://127.0.0.1:1", "--workspace", "00000000-0000-0000-0000-000000000001"];
    desk.fails("simulate agents", &[&agents[..], &["--key-file", "absent.txt"]].concat());
    introduces_itself(desk);
}

/// It runs until somebody stops it.
fn introduces_itself(desk: &mut Desk<'_>) {
    let mut command = desk.command();
    command.args(["simulate", "workspace", "--listen", "127.0.0.1:0", "--dir", "azure", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary is there");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it ran");
    let told = objects("simulate workspace", line.as_bytes());
    assert!(desk.promised["simulate workspace"].iter().all(|key| told[0].contains_key(key)), "{told:?}");
    desk.seen.insert("simulate workspace".to_owned());
}

/// What asks one, or looks at its state.
fn beside_a_gateway(desk: &mut Desk<'_>) {
    desk.tells("check --ready", &[]);
    desk.tells("status", &[]);
    desk.tells("hosts seen", &[]);
    desk.answers("hosts silent", &[]);
    desk.answers("hosts observed", &[]);
    let url = desk.site.url("");
    desk.tells("send", &["--to", &url, "--ca", "state/tls/cert.pem", "events.ndjson"]);
    desk.tells("audit", &[]);
    desk.tells("spool list", &[]);
    desk.answers("spool inspect", &[]);
    let letters = desk.tells("dead-letter list", &[]);
    let id = letters[0]["id"].to_string();
    desk.tells("dead-letter show", &[&id]);
    desk.tells("dead-letter export", &[]);
    desk.tells("dead-letter replay", &["--all"]);
    desk.tells("dead-letter purge", &["--all"]);
    desk.tells("azure check", &[]);
    desk.tells("clock show", &[]);
    desk.tells("clock accept", &[]);
    // Nobody here forwards, and no agent may register.
    desk.says("wef hosts", &[]);
    desk.says("agents list", &[]);
    desk.says("agents expire", &["--unseen", "90 d"]);
    for command in ["agents revoke", "agents restore"] {
        desk.says(command, &["00000000-0000-0000-0000-000000000001"]);
    }
}
