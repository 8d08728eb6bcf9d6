//! Servers that know their users by keys: those of an operator and accounts, and those with nothing but the key.

use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::servers::Server;
use crate::cluster::scene::{Gateway, collector, events, until};
use crate::support::{Site, free_port, workspace};
use crate::tools::both;

fn server(dir: &Path, port: u16, users: &str) -> Server {
    let store = dir.join("store").display().to_string();
    Server::start(dir, &format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{store}\" }}\n{users}\n"))
}

/// A token of NATS: what `issuer` says of `subject`.
fn token(issuer: &KeyPair, subject: &KeyPair, until: Option<u64>, nats: Value) -> String {
    let now = now_s();
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let mut said = json!({
        "jti": format!("{now}"), "iat": now, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test", "nats": nats,
    });
    if let Some(until) = until {
        said["exp"] = until.into();
    }
    let signed = [head, said].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// An operator with an account for the server and one for gateways.
struct Operator {
    key: KeyPair,
    system: KeyPair,
    account: KeyPair,
}

impl Operator {
    fn new() -> Self {
        Self { key: KeyPair::new_operator(), system: KeyPair::new_account(), account: KeyPair::new_account() }
    }

    fn config(&self) -> String {
        let Self { key, system, account } = self;
        let of_key = token(key, key, None, json!({ "type": "operator", "version": 2 }));
        let of_account = |account: &KeyPair, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
                "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
            });
            token(key, account, None, json!({ "type": "account", "version": 2, "limits": limits }))
        };
        format!(
            "operator: \"{of_key}\"\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{ {system}: \"{}\", {account}: \"{}\" }}\n",
            of_account(system, 0),
            of_account(account, -1),
            system = system.public_key(),
            account = account.public_key(),
        )
    }

    /// The credentials of a gateway with the rights that docs/replication.md has, as `nsc` writes them.
    fn credentials(&self, until: Option<u64>) -> String {
        let user = KeyPair::new_user();
        let rights = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            "pub": { "allow": ["gatepost.>", "$JS.API.>"] }, "sub": { "allow": ["_INBOX.>", "gatepost.gateways"] },
        });
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&self.account, &user, until, rights),
            user.seed().unwrap()
        )
    }
}

fn replicated(port: u16) -> String {
    format!(
        "[replication]\nkind = \"jetstream\"\nservers = [\"127.0.0.1:{port}\"]\nreplicas = 1\nwait_max = \"1 s\"\ntimeout = \"1 s\"\n\
         credentials_file = \"gatepost.creds\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_an_operator_are_reached_with_credentials_from_a_file_that_may_change_while_it_runs() {
    let (folder, port, operator, collector) =
        (tempfile::tempdir().unwrap(), free_port(), Operator::new(), collector().await);
    let _server = server(folder.path(), port, &operator.config());
    let site = Site::new(&workspace("workspace", &[&collector]), &replicated(port));
    let credentials = site.dir.join("gatepost.creds");

    let missing = site.gatepost(&["check"]);
    assert!(!missing.status.success(), "{}", both(&missing));
    assert!(
        both(&missing).contains("replication.credentials_file")
            && both(&missing).contains("gatepost.creds: No such file")
    );
    std::fs::write(&credentials, Operator::new().credentials(None)).unwrap();
    let of_another = async || both(&site.gatepost(&["spool", "check"])).contains("authorization violation");
    until(&site, "the server refuses the user of another operator", of_another).await;

    // On a busy machine the first token may end before the first upload.
    let mut end = now_s() + 12;
    std::fs::write(&credentials, operator.credentials(Some(end))).unwrap();
    let mut gateway = Gateway { site, running: None };
    gateway.start().await;
    let client = gateway.site.client();
    let is_taken = async || {
        if now_s() >= end {
            end = now_s() + 12;
            std::fs::write(&credentials, operator.credentials(Some(end))).unwrap();
        }
        gateway.upload(&client, &events(1, 40)).await
    };
    until(&gateway.site, "it is taken", is_taken).await;

    let is_past = async || now_s() > end && !gateway.upload(&client, &events(2, 40)).await;
    until(&gateway.site, "the server ends the connection of a token that is past its time", is_past).await;
    std::fs::write(&credentials, operator.credentials(None)).unwrap();
    until(&gateway.site, "the next token is used", async || gateway.upload(&client, &events(2, 40)).await).await;
    gateway.site.until_drained().await;
    assert_eq!((collector.held().records(), collector.held().copies()), (80, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_know_users_by_their_key_alone_are_reached_with_its_seed() {
    let (folder, port, user) = (tempfile::tempdir().unwrap(), free_port(), KeyPair::new_user());
    let known = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", user.public_key());
    let _server = server(folder.path(), port, &known);
    let site = Site::new("", &replicated(port));
    std::fs::write(site.dir.join("gatepost.creds"), user.seed().unwrap()).unwrap();
    until(&site, "the streams are made", async || site.gatepost(&["spool", "init"]).status.success()).await;
    std::fs::write(site.dir.join("gatepost.creds"), KeyPair::new_user().seed().unwrap()).unwrap();
    let other = site.gatepost(&["spool", "check"]);
    assert!(both(&other).contains("authorization violation"), "{}", both(&other));
}
