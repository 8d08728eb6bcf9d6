//! A gateway with an authority of its own, a local Entra with two clients, and a collector behind it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::lab::collector::{Collector, Memory};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};

use crate::support::{Running, Site, workspace};
use crate::tools::{Reply, curl};

pub(crate) const TENANT: &str = "11111111-2222-3333-4444-555555555555";
pub(crate) const CLIENT: &str = "aaaaaaaa-0000-0000-0000-000000000001";
pub(crate) const SECRET: &str = "a-secret~that.only-these_tests+know";
pub(crate) const RULE: &str = "dcr-00000000000000000000000000000000";
pub(crate) const STREAM: &str = "Custom-SecurityEvent";
/// The computer whose events the tests upload.
pub(crate) const COMPUTER: &str = "web01.plant.example";

/// All of it.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) collector: Collector,
    running: Option<Running>,
    folder: tempfile::TempDir,
}

impl World {
    /// `listener` is more TOML for the listener, such as its identity.
    pub(crate) async fn new(listener: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        authority(folder.path());
        let collector = Collector::start(Memory::Identities).await.expect("a collector");
        let at = folder.path().display();
        let hash: String = hex::encode(digest(&SHA256, SECRET.as_bytes()));
        let outputs = format!(
            r#"tls = {{ certificate = "{at}/server.pem", key = "{at}/server.key" }}
{listener}
[listeners.entra]
enabled = true
[[listeners.entra.clients]]
id = "{CLIENT}"
name = "plant"
secrets = [{{ sha256 = "{hash}" }}]
certificates = ["{at}/client.pem"]
hosts = ["{COMPUTER}"]
streams = ["{STREAM}"]
{}"#,
            workspace("main", &[&collector])
        );
        let site = Site::new(&outputs, "");
        let running = Some(site.start().await);
        Self { site, collector, running, folder }
    }

    /// A file beside the certificates.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificate of the authority.
    pub(crate) fn ca(&self) -> String {
        self.path("ca.pem").display().to_string()
    }

    /// So many events of the computer, also as a file that clients upload.
    pub(crate) fn events(&self, count: usize, seed: u64) -> (PathBuf, HashSet<Identity>) {
        let events: Vec<SimulatedEvent> = Host::new(COMPUTER, seed).take(count).collect();
        let path = self.path(&format!("events-{seed}.json"));
        std::fs::write(&path, array(&events)).expect("a temporary file");
        (path, events.iter().map(SimulatedEvent::identity).collect())
    }

    /// A token, as curl gets it.
    pub(crate) fn token(&self) -> String {
        let reply = self.ask(&format!("client_secret={}", SECRET.replace('+', "%2B")));
        assert_eq!(reply.status, 200, "{reply:?}");
        let answer: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// A request for a token with this in its form.
    pub(crate) fn ask(&self, proof: &str) -> Reply {
        let form = format!(
            "grant_type=client_credentials&client_id={CLIENT}&scope=https://monitor.azure.com/.default&{proof}"
        );
        self.curl(&["--data-binary", &form, &self.url(&format!("/{TENANT}/oauth2/v2.0/token"))], b"")
    }

    /// curl that trusts the authority.
    pub(crate) fn curl(&self, args: &[&str], input: &[u8]) -> Reply {
        let ca = self.ca();
        let args: Vec<&str> = ["--cacert", &ca].into_iter().chain(args.iter().copied()).collect();
        curl(&args, input).expect("curl gets an answer")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.site.uploads)
    }

    /// Everything that is owed is at the collector, once, and the account balances.
    pub(crate) async fn assert_each_once(mut self, owed: &HashSet<Identity>) {
        self.site.until_drained().await;
        let held = self.collector.held();
        let lost = owed.iter().filter(|identity| !held.events.contains_key(*identity)).count();
        assert_eq!((lost, held.repeated(), held.strangers), (0, 0, 0), "of {}:\n{}", owed.len(), self.site.log());
        assert_eq!(held.events.len(), owed.len(), "delivered without having been uploaded");
        assert!(self.running.take().expect("it runs").stop().success());
        self.site.assert_audit_balances();
    }
}

/// Events as a JSON array.
pub(crate) fn array(events: &[SimulatedEvent]) -> Vec<u8> {
    let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
    [b"[".as_slice(), &rows.join(&b','), b"]"].concat()
}

/// Writes `ca.pem`, the server's certificate and key for localhost, and a client's with its key also in one file.
fn authority(folder: &std::path::Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a temporary file");
    let ca_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, "The tests");
    write("ca.pem", params.self_signed(&ca_key).expect("it is signed").pem());
    let issuer = Issuer::new(params, ca_key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate().expect("a key");
    let mut server = CertificateParams::new(names).expect("names");
    server.use_authority_key_identifier_extension = true;
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    write("server.pem", server.signed_by(&key, &issuer).expect("it is signed").pem());
    write("server.key", key.serialize_pem());
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
    let client = CertificateParams::new(vec!["client".to_owned()]).expect("a name");
    let pem = client.self_signed(&key).expect("it is signed").pem();
    write("client-and-key.pem", key.serialize_pem() + &pem);
    write("client.pem", pem);
}

/// Where scripts/tools.sh puts the client libraries.
pub(crate) fn libraries() -> PathBuf {
    let own = std::env::var_os("GATEPOST_CLIENTS").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/gatepost/clients");
    own.unwrap_or_else(home)
}

/// A command of the libraries. Fails when they are not installed.
pub(crate) fn library(program: &str, needs: &str) -> Command {
    let home = libraries();
    assert!(home.join(needs).exists(), "{needs} is missing below {}; run scripts/tools.sh clients", home.display());
    let program = if program.contains('/') { home.join(program) } else { crate::tools::tool(program, "nodejs") };
    let mut command = Command::new(program);
    command.env("NODE_PATH", home.join("js/node_modules"));
    command
}
