//! Servers as sites run them: over TLS with certificates on both sides and a user with few rights; and what `gatepost spool` says of them.

use serde_json::Value;

use super::servers::{Server, Servers};
use super::shared_state::{addresses, ask};
use crate::authority::Authority;
use crate::cluster::scene::{Gateway, SECRET, collector, events, until};
use crate::support::{Site, free_port, workspace};
use crate::tools::both;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_reached_over_tls_with_certificates_and_a_user_of_few_rights() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authority = Authority::in_folder(folder.path());
    authority.issue("localhost");
    authority.issue("gateway");
    std::fs::write(path("password"), "a-long-password\n").unwrap();
    let (port, monitor) = (free_port(), free_port());
    // The rights as docs/replication.md has them.
    let config = format!(
        "server_name: n0\nlisten: 127.0.0.1:{port}\nhttp: 127.0.0.1:{monitor}\n\
         jetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n\
         authorization {{ users: [ {{ user: gatepost, password: a-long-password, permissions: {{\n\
           publish: [\"gatepost.>\", \"$JS.API.>\"], subscribe: [\"_INBOX.>\", \"gatepost.gateways\"]\n\
         }} }} ] }}\n",
        path("store"),
        path("localhost.pem"),
        path("localhost.key"),
        path("ca.pem"),
    );
    let _server = Server::start(folder.path(), &config);
    let collector = collector().await;
    let site = |name: &str, host: &str| {
        let rest = format!(
            "[dedup]\nkind = \"jetstream\"\nsecret = \"{SECRET}\"\n[replication]\nkind = \"jetstream\"\nname = \"{name}\"\n\
             servers = [\"{host}:{port}\"]\nreplicas = 1\nshare_state = true\ntls = true\nca_file = \"{}\"\n\
             client_certificate_file = \"{}\"\nclient_key_file = \"{}\"\nuser = \"gatepost\"\npassword = \"${{file:{}}}\"\n",
            path("ca.pem"),
            path("gateway.pem"),
            path("gateway.key"),
            path("password")
        );
        Site::new(&workspace("workspace", &[&collector]), &rest)
    };
    // An operator makes the streams, and asks whether all is well.
    let one = site("one", "localhost");
    let until_it_listens = async || one.gatepost(&["spool", "init"]).status.success();
    until(&one, "the streams are made", until_it_listens).await;
    let url = format!("http://127.0.0.1:{monitor}");
    let checked = one.gatepost(&["spool", "check", "--json", "--monitor", &url]);
    assert!(checked.status.success(), "{}", both(&checked));
    let told: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let streams: Vec<&str> =
        told["streams"].as_array().unwrap().iter().map(|one| one["stream"].as_str().unwrap()).collect();
    assert_eq!(streams, ["gatepost_logs", "gatepost_states", "gatepost_documents", "gatepost_values", "gatepost_seen"]);
    assert_eq!(told["servers"][0]["syncs"], true);

    let mut gateways = Vec::new();
    for site in [one, site("two", "localhost")] {
        let mut gateway = Gateway { site, running: None };
        gateway.start().await;
        gateway.until_connected().await;
        gateways.push(gateway);
    }
    for gateway in &gateways {
        let client = gateway.site.client();
        until(&gateway.site, "it is taken", async || gateway.upload(&client, &events(1, 40)).await).await;
        gateway.until_settled().await;
    }
    assert_eq!((collector.held().records(), collector.held().copies()), (40, 0));
    let sees = async || gateways[0].site.status().await["sharing"]["gateways"][0]["name"] == "two";
    until(&gateways[0].site, "they hear each other", sees).await;
    assert_eq!(gateways[0].site.status().await["state_sharing"]["state"], "there");
    // The certificate of the server does not say this name.
    let refused = site("other", "127.0.0.1").gatepost(&["spool", "check"]);
    assert!(!refused.status.success(), "{}", both(&refused));
    assert!(both(&refused).contains("no server of NATS can be reached"), "{}", both(&refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_streams_is_told_with_what_to_do() {
    let mut servers = Servers::start().await;
    let rest =
        format!("[replication]\nkind = \"jetstream\"\nservers = {:?}\nmax_size = \"64 MiB\"\n", addresses(&servers));
    let site = Site::new("", &rest);
    let until_asked = async || both(&site.gatepost(&["spool", "check"])).contains("`gatepost spool init`");
    until(&site, "they are missing", until_asked).await;
    until(&site, "they are made", async || site.gatepost(&["spool", "init"]).status.success()).await;
    ask(&servers, "STREAM.DELETE.gatepost_logs").await;
    let missing = site.gatepost(&["spool", "check"]);
    assert_eq!(missing.status.code(), Some(1), "{}", both(&missing));
    until(&site, "it is made", async || site.gatepost(&["spool", "init"]).status.success()).await;
    servers.kill(2);
    let told = async || both(&site.gatepost(&["spool", "check"])).contains("2 of 3 servers have all of it");
    until(&site, "one is behind", told).await;
    servers.begin(2);
    until(&site, "it has caught up", async || site.gatepost(&["spool", "check"]).status.success()).await;
    let none = Site::new("", "").gatepost(&["spool", "check"]);
    assert!(both(&none).contains("nothing is replicated"), "{}", both(&none));
}
