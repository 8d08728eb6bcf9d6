//! The transcripts of the documents work as printed.
//!
//! Between `<!-- run -->` and `<!-- end -->` each line `$ COMMAND` of a ```` ```console ```` block is run, in order, in
//! one folder, and must print what stands below it (`…` matches anything, across lines too). A command goes on in the
//! next line after a `\`. The block after `<!-- file NAME -->` is a file of that folder. A gateway runs in the background from
//! `$ gatepost run …` on, until the next one; where no command starts one, one without a configuration file runs beside it all.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tokio::time::Instant;

use crate::support::PATIENCE;
use crate::tools::{both, curl, of_checkout, run};

/// The ports of uploads and the admin plane where a configuration names none.
const PORTS: [u16; 2] = [8443, 8449];

/// What starts a gateway; that of a transcript that does not start one itself.
const RUN: &str = "gatepost run";

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    expected: String,
}

/// The commands between the marks.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut marked, mut console, mut continued) = (false, false, false);
    for line in text.lines() {
        match line.trim() {
            "<!-- run -->" => marked = true,
            "<!-- end -->" => marked = false,
            "```console" => console = true,
            "```" => console = false,
            _ if !(marked && console) => {}
            _ => {
                let begins = line.strip_prefix("$ ");
                if let Some(command) = begins {
                    steps.push(Step { command: command.to_owned(), expected: String::new() });
                } else if let Some(step) = steps.last_mut() {
                    let part = if continued { &mut step.command } else { &mut step.expected };
                    part.push_str(if continued { "\n" } else { "" });
                    part.push_str(line);
                    part.push_str(if continued { "" } else { "\n" });
                }
                continued = (begins.is_some() || continued) && line.ends_with('\\');
            }
        }
    }
    steps
}

/// The files that the text shows: each with its name.
fn files(text: &str) -> Vec<(&str, &str)> {
    let shown = text.split("<!-- file ").skip(1).map(|rest| {
        let (name, rest) = rest.split_once(" -->\n```").expect("a block follows");
        let (_, content) = rest.split_once('\n').expect("the block begins");
        (name, content.split_once("```").expect("the block ends").0)
    });
    shown.collect()
}

/// Whether the output is what was expected, where `…` matches anything.
fn matches(expected: &str, output: &str) -> bool {
    let clean = |text: &str| text.replace('\r', "").lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let (expected, output) = (clean(expected.trim()), clean(output.trim()));
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = output.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        last = Some(part);
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    match last {
        None => rest.is_empty(),
        // The last part must end the output, not only occur in it.
        Some(part) => output.ends_with(part),
    }
}

/// The gateway of a newcomer: default ports, state in the folder.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Gateway {
    async fn start(folder: &Path, command: &str) -> Self {
        for port in PORTS {
            let free = TcpListener::bind(("127.0.0.1", port));
            assert!(free.is_ok(), "port {port} is taken; this test needs the default ports, as a newcomer does");
        }
        let log = folder.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
            .args(command.split(' ').skip(1))
            .env_remove("GATEPOST_CONFIG")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a temporary folder"))
            .spawn()
            .expect("the binary is there");
        let gateway = Self(child);
        let until = Instant::now() + PATIENCE;
        while !curl(&["http://127.0.0.1:8449/readyz"], b"").is_ok_and(|answer| answer.status == 200) {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < until, "the gateway does not get ready: {}", log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        gateway
    }
}

/// Runs every step of a text and says what each printed otherwise than expected.
async fn play(text: &str) -> usize {
    let lock = std::fs::File::create(std::env::temp_dir().join("gatepost-default-ports.lock")).expect("a lock file");
    lock.lock().expect("the lock is free some time");
    let folder = tempfile::tempdir().expect("a temporary directory");
    for (name, content) in files(text) {
        std::fs::write(folder.path().join(name), content).expect("a temporary folder");
    }
    let steps = steps(text);
    let mut gateway = None;
    if !steps.iter().any(|step| step.command.starts_with(RUN)) {
        gateway = Some(Gateway::start(folder.path(), RUN).await);
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_gatepost")).parent().expect("it is in a folder").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(binary).chain(std::env::split_paths(&path))).expect("plain paths");
    let mut problems = Vec::new();
    for Step { command, expected } in &steps {
        if command.starts_with(RUN) {
            // The one before must be gone first: both want the same ports.
            drop(gateway.take());
            gateway = Some(Gateway::start(folder.path(), command).await);
            continue;
        }
        let mut shell = Command::new("bash");
        shell.args(["-c", command]).current_dir(folder.path()).env("PATH", &path).env_remove("GATEPOST_CONFIG");
        let printed = both(&run(&mut shell, b""));
        if !matches(expected, &printed) {
            problems.push(format!("$ {command}\n--- expected\n{expected}--- printed\n{printed}\n"));
        }
    }
    drop(gateway);
    assert!(
        problems.is_empty(),
        "{} of {} do not work as printed:\n{}",
        problems.len(),
        steps.len(),
        problems.join("\n")
    );
    steps.len()
}

#[tokio::test]
async fn the_transcripts_of_the_readme_work_as_printed() {
    let readme = std::fs::read_to_string(of_checkout("README.md")).expect("it is there");
    assert!(play(&readme).await > 2, "the README marks something to run, and there are commands in it");
}

#[tokio::test]
async fn the_transcripts_of_the_quick_start_work_as_printed() {
    let page = std::fs::read_to_string(of_checkout("docs/quick-start.md")).expect("it is there");
    assert!(play(&page).await > 10, "the page goes from an upload to the audit, and to the hosts of a configuration");
}

#[tokio::test]
async fn the_transcript_of_the_page_on_tunnels_works_as_printed() {
    let page = std::fs::read_to_string(of_checkout("docs/protocols/connect-proxy.md")).expect("it is there");
    assert!(play(&page).await > 3, "the page shows tunnels that are refused, and how to find out why");
}

#[tokio::test]
async fn the_transcript_of_the_page_on_rules_works_as_printed() {
    let page = std::fs::read_to_string(of_checkout("docs/rules.md")).expect("it is there");
    assert!(play(&page).await > 15, "the page shows rules that are checked, tried, in force and changed");
}

#[tokio::test]
async fn the_transcript_of_the_page_on_azure_works_as_printed() {
    let page = std::fs::read_to_string(of_checkout("docs/azure.md")).expect("it is there");
    assert!(play(&page).await > 12, "the page shows templates that our own reader takes, and rows without Azure");
}

#[tokio::test]
async fn the_transcript_of_the_page_on_the_local_entra_works_as_printed() {
    let page = std::fs::read_to_string(of_checkout("docs/protocols/local-entra.md")).expect("it is there");
    assert!(play(&page).await > 5, "the page shows a token, an upload and who is refused");
}

#[tokio::test]
async fn a_transcript_in_their_form_works_as_printed() {
    let sample = std::fs::read_to_string(of_checkout("tests/e2e/data/transcript.md")).expect("it is there");
    assert_eq!(play(&sample).await, 5);
}

#[test]
fn transcripts_are_read_and_compared_as_people_do() {
    let text =
        "$ no\n<!-- run -->\n$ no\n```console\n$ a \\\n  b\nout\n\n$ c\n```\n<!-- end -->\n```console\n$ no\n```\n";
    let step = |command: &str, expected: &str| Step { command: command.to_owned(), expected: expected.to_owned() };
    assert_eq!(steps(text), [step("a \\\n  b", "out\n\n"), step("c", "")]);
    assert_eq!(files("x\n<!-- file a.toml -->\n```toml\na = 1\n```\ny\n"), [("a.toml", "a = 1\n")]);
    for (expected, output) in [("a", "a\r\n"), ("a…c", "abc"), ("…", ""), ("a\n…\nd", "a\nb\nc\nd\n"), ("…c", "abc")]
    {
        assert!(matches(expected, output), "{expected:?} {output:?}");
    }
    for (expected, output) in [("a", "ab"), ("a", ""), ("a…c", "abcd"), ("…b", "abc"), ("a…b…c", "acb"), ("", "x")]
    {
        assert!(!matches(expected, output), "{expected:?} {output:?}");
    }
}
