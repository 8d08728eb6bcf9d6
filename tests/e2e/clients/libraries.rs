//! The libraries that real applications use: they get tokens here, upload, and send again what they believe lost. Every
//! event arrives once.

use std::process::Command;

use super::front::{Fate, Front};
use super::world::{CLIENT, RULE, SECRET, STREAM, TENANT, World, library};
use crate::tools::{both, of_checkout, run};

/// What a bad day does to uploads, in turn.
const BAD_DAY: [Fate; 9] = [
    Fate::Throttle,
    Fate::LostReply,
    Fate::Unavailable,
    Fate::Pass,
    Fate::LostReply,
    Fate::Reset,
    Fate::Throttle,
    Fate::LostReply,
    Fate::Pass,
];

/// Enough events that a library cuts them into several requests.
const EVENTS: usize = 4000;

fn environment<'c>(command: &'c mut Command, world: &World, port: u16) -> &'c mut Command {
    command
        .env("GATE", format!("https://localhost:{port}"))
        .env("CA", world.ca())
        .env("REQUESTS_CA_BUNDLE", world.ca())
        .env("NODE_EXTRA_CA_CERTS", world.ca())
        .env("CERTIFICATE", world.path("client-and-key.pem"))
        .env("TENANT", TENANT)
        .env("CLIENT", CLIENT)
        .env("SECRET", SECRET)
        .env("RULE", RULE)
        .env("STREAM", STREAM)
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .env("NO_PROXY", "localhost")
}

/// Uploads with this command through a front that has a bad day.
async fn upload_on_a_bad_day(command: Command, proof: &'static str, tokens: &[Fate], seed: u64) {
    let world = World::new("").await;
    let front = Front::start(&world, tokens, &BAD_DAY).await;
    let (file, owed) = world.events(EVENTS, seed);
    let mut command = command;
    environment(&mut command, &world, front.port).env("PROOF", proof).env("EVENTS", file);
    let output = tokio::task::spawn_blocking(move || run(&mut command, b"")).await.expect("it does not panic");
    assert!(output.status.success(), "{}\n{}", both(&output), world.site.log());
    assert!(front.lost() >= 2, "only {} answers were lost:\n{}", front.lost(), both(&output));
    assert!(front.met() >= BAD_DAY.len() - 2, "only {} faults were met:\n{}", front.met(), both(&output));
    world.assert_each_once(&owed).await;
}

fn python(script: &str) -> Command {
    let mut command = library("python/bin/python", "python/bin/python");
    command.arg(of_checkout(script));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn python_uploads_each_event_once_with_a_secret() {
    let command = python("tests/e2e/clients/upload.py");
    upload_on_a_bad_day(command, "secret", &[Fate::Unavailable, Fate::LostReply], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_uploads_each_event_once_with_a_certificate() {
    let command = python("tests/e2e/clients/upload.py");
    upload_on_a_bad_day(command, "certificate", &[Fate::LostReply], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_uploads_each_event_once() {
    let mut command = library("node", "js/node_modules/@azure/monitor-ingestion");
    command.arg(of_checkout("tests/e2e/clients/upload.js"));
    upload_on_a_bad_day(command, "secret", &[Fate::Unavailable], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn msal_alone_gets_a_token_that_uploads() {
    let world = World::new("").await;
    let mut command = python("tests/e2e/clients/msal_token.py");
    environment(&mut command, &world, world.site.uploads);
    let output = tokio::task::spawn_blocking(move || run(&mut command, b"")).await.expect("it does not panic");
    assert!(output.status.success(), "{}\n{}", both(&output), world.site.log());
    let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let url = world.url(crate::support::PATH);
    let bearer = format!("authorization: Bearer {token}");
    let reply = world.curl(&["-H", &bearer, "-H", "content-type: application/json", "-d", "[]", &url], b"");
    assert_eq!(reply.status, 204, "{reply:?}");
}
