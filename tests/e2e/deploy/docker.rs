//! The Dockerfile, as far as it can be judged without an engine: two stages, nothing but the binary, a numeric user that
//! is not root, a health check that the binary understands.

use std::process::Command;

use serde_json::Value;

use crate::tools::{both, of_checkout};

/// Instructions with their arguments, in order; continued lines joined, comments gone.
fn instructions() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(of_checkout("Dockerfile")).expect("it is there");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let parts = joined.lines().filter_map(|line| line.trim().split_once(' '));
    parts.map(|(name, arguments)| (name.to_uppercase(), arguments.trim().to_owned())).collect()
}

fn last_stage() -> Vec<(String, String)> {
    let all = instructions();
    let begin = all.iter().rposition(|(name, _)| name == "FROM").expect("it has a stage");
    all[begin..].to_vec()
}

fn arguments<'a>(stage: &'a [(String, String)], wanted: &str) -> Vec<&'a str> {
    stage.iter().filter(|(name, _)| name == wanted).map(|(_, arguments)| arguments.as_str()).collect()
}

#[test]
fn it_builds_in_one_stage_and_runs_from_another_that_has_no_shell() {
    let all = instructions();
    let from = arguments(&all, "FROM");
    assert_eq!(from.len(), 2, "{from:?}");
    assert!(from[0].starts_with("docker.io/library/rust:") && from[0].ends_with(" AS build"), "{from:?}");
    assert!(from[1].contains("distroless") && from[1].contains(":nonroot"), "{from:?}");
    assert!(from.iter().all(|image| !image.contains(":latest")), "{from:?}");
    let stage = last_stage();
    assert!(arguments(&stage, "RUN").is_empty(), "there is no shell");
    assert!(arguments(&stage, "COPY").iter().all(|copy| copy.contains("--from=build")), "only what was built");
    let built = arguments(&all, "RUN").concat();
    assert!(built.contains("cargo build --release --locked"), "{built}");
    let manifest = std::fs::read_to_string(of_checkout("Cargo.toml")).expect("it is there");
    let wanted = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).expect("it says one");
    let wanted = wanted.trim_end_matches('"');
    assert!(
        from[0].starts_with(&format!("docker.io/library/rust:{wanted}")),
        "{from:?} is not the rust-version of Cargo.toml, {wanted}"
    );
}

#[test]
fn what_it_copies_is_there_and_enough_for_cargo() {
    for copy in arguments(&instructions(), "COPY").iter().filter(|copy| !copy.contains("--from")) {
        let mut paths: Vec<&str> = copy.split(' ').collect();
        paths.pop();
        for path in paths {
            assert!(of_checkout(path).exists(), "{path} is not there");
        }
    }
}

#[test]
fn nothing_is_sent_to_the_engine_but_what_is_copied() {
    let ignore = std::fs::read_to_string(of_checkout(".dockerignore")).expect("it is there");
    let mut kept: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|line| line == "*"), "everything else stays here, secrets and target above all");
    let all = instructions();
    let copies = arguments(&all, "COPY").into_iter().filter(|copy| !copy.contains("--from"));
    let mut copied: Vec<&str> = copies.flat_map(|copy| copy.split(' ').rev().skip(1)).collect();
    kept.sort_unstable();
    copied.sort_unstable();
    assert_eq!(kept, copied);
}

#[test]
fn its_user_is_numeric_and_not_root_and_owns_the_state() {
    let stage = last_stage();
    let user = arguments(&stage, "USER");
    let [user] = user[..] else { panic!("one USER, not {user:?}") };
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().expect("numeric, for runAsNonRoot")).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| *id > 0), "{user}");
    let owner = format!("--chown={user} /out/state /var/lib/gatepost");
    assert!(arguments(&stage, "COPY").iter().any(|copy| copy.contains(&owner)), "{stage:?}");
    assert_eq!(arguments(&stage, "VOLUME"), ["/var/lib/gatepost"]);
}

#[test]
fn what_it_runs_is_what_the_binary_takes() {
    let stage = last_stage();
    let list = |text: &str| -> Vec<String> { serde_json::from_str(text).expect("the exec form") };
    assert_eq!(list(arguments(&stage, "ENTRYPOINT")[0]), ["/usr/local/bin/gatepost"]);
    assert_eq!(list(arguments(&stage, "CMD")[0])[0], "run");
    let [health] = arguments(&stage, "HEALTHCHECK")[..] else { panic!("one HEALTHCHECK") };
    let (_, command) = health.split_once("CMD ").expect("a command");
    let command = list(command);
    assert_eq!(command[0], "/usr/local/bin/gatepost", "there is no shell, and no curl");
    // Nobody listens on this port, so the answer must be: not ready, in so many words.
    let port = crate::support::free_port().to_string();
    let args = command[1..].iter().map(|arg| arg.replace("8449", &port));
    let checked = Command::new(env!("CARGO_BIN_EXE_gatepost")).args(args).arg("--json").output().expect("it is there");
    assert_eq!(checked.status.code(), Some(1), "{}", both(&checked));
    let said: Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert_eq!(said["ready"], false);
    let exposed = arguments(&stage, "EXPOSE")[0];
    assert!(exposed.contains("8449"), "the port that it asks");
    let tunnels = gatepost::tunnel::config::Listener::default().listen.port().to_string();
    assert!(exposed.contains(&tunnels), "{exposed}: not the port of tunnels, {tunnels}");
}
