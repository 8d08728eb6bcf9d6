//! A fake Azure with one app and one rule, and the texts of a gateway's configuration for it.

use std::collections::HashSet;
use std::time::Duration;

use gatepost::lab::azure::{App, FakeAzure, Plan, Rule};
use gatepost::lab::events::{Host, Identity, Shape, SimulatedEvent};
use gatepost::net::upload_client::{Answer, Client};
use serde_json::Value;

use crate::support::{Running, Site};

pub(crate) const TENANT: &str = "11111111-2222-4333-a444-555555555555";
pub(crate) const APP: &str = "aaaaaaaa-bbbb-4ccc-addd-eeeeeeeeeeee";
pub(crate) const SECRET: &str = "q~secret.of-the-app";
pub(crate) const RULE: &str = "dcr-00000000000000000000000000000000";
pub(crate) const STREAM: &str = "Custom-SecurityEvent";
pub(crate) const MONITOR: &str = "https://monitor.azure.com";

/// A fake Azure with so many endpoints, an app with a secret, and a rule that this app may send to.
pub(crate) async fn azure(endpoints: usize) -> FakeAzure {
    let azure = FakeAzure::start(Plan::endpoints(endpoints)).await.unwrap();
    azure.directory().register(App::new(TENANT, APP).with_secret(SECRET));
    azure.workspace().add_rule(Rule::new(RULE).with_open_stream(STREAM).with_sender(APP));
    azure
}

/// A client that trusts the fake.
pub(crate) fn client(azure: &FakeAzure) -> Client {
    Client::new(Some(azure.ca_pem().as_bytes())).unwrap()
}

/// Asks Entra for a token with this form.
pub(crate) async fn ask(azure: &FakeAzure, tenant: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let url = format!("{}/{tenant}/oauth2/v2.0/token", azure.entra_door().url());
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = client(azure).post(&url, &headers, body.into(), Duration::from_secs(10)).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// The address of a stream at an endpoint.
pub(crate) fn stream_url(azure: &FakeAzure, endpoint: usize, rule: &str, stream: &str) -> String {
    let base = azure.endpoints()[endpoint].url();
    format!("{base}/dataCollectionRules/{rule}/streams/{stream}?api-version=2023-01-01")
}

/// Sends a body to the rule's stream with a good token.
pub(crate) async fn send(azure: &FakeAzure, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
    let bearer = format!("Bearer {}", azure.directory().token(APP, MONITOR, 60).unwrap());
    let mut all = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
    all.extend(headers);
    let url = stream_url(azure, 0, RULE, STREAM);
    client(azure).post(&url, &all, body.into(), Duration::from_secs(30)).await.unwrap()
}

/// The code of an error of the ingestion API.
pub(crate) fn code(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["error"]["code"].as_str().unwrap_or_default().to_owned()
}

/// A gateway in front of the fake, and an agent that uploads to it.
pub(crate) struct Scene {
    pub(crate) azure: FakeAzure,
    pub(crate) site: Site,
    pub(crate) running: Running,
    client: Client,
    host: Host,
    /// Acknowledged, so to be delivered.
    owed: HashSet<Identity>,
    _dir: tempfile::TempDir,
}

impl Scene {
    /// Starts a gateway whose output has this `identity`, the value of an inline table.
    pub(crate) async fn new(azure: FakeAzure, identity: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("azure-ca.pem"), azure.ca_pem()).unwrap();
        let output = output(&azure, &dir.path().join("azure-ca.pem").display().to_string(), identity);
        let site = Site::at(dir.path(), &output, "");
        let running = site.start().await;
        let client = site.client();
        let host = Host::new("TOKENS.plant.example", 11);
        Self { azure, site, running, client, host, owed: HashSet::new(), _dir: dir }
    }

    /// Uploads so many new events, which must be acknowledged.
    pub(crate) async fn upload(&mut self, count: usize) {
        let events: Vec<SimulatedEvent> = self.host.by_ref().take(count).collect();
        let rows: Vec<Vec<u8>> = events.iter().map(|event| event.render(Shape::Row)).collect();
        let body = [b"[".as_slice(), &rows.join(&b','), b"]"].concat();
        let answer = self.site.upload(&self.client, body).await.unwrap();
        assert_eq!(answer.status, 204, "{}\n{}", String::from_utf8_lossy(&answer.body), self.site.log());
        self.owed.extend(events.iter().map(SimulatedEvent::identity));
    }

    /// How many events were acknowledged.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    /// What is stored: row by row, its identity.
    pub(crate) fn stored(&self) -> Vec<Identity> {
        let rows = self.azure.workspace().rows(RULE, STREAM);
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        rows.iter()
            .map(|row| {
                let id = text(&row.value, "EventRecordId").parse().unwrap();
                Identity::new(&text(&row.value, "Computer"), &text(&row.value, "Channel"), id)
            })
            .collect()
    }

    /// Waits until nothing is pending, stops the gateway, and closes the account: everything is there, once.
    pub(crate) async fn ends_well(self) {
        self.site.until_drained().await;
        let stored = self.stored();
        let different: HashSet<Identity> = stored.iter().cloned().collect();
        let lost = self.owed.difference(&different).count();
        assert_eq!(lost, 0, "of {} events are lost: {}", self.owed.len(), self.site.log());
        assert_eq!(stored.len(), different.len(), "stored more than once");
        assert_eq!(different.len(), self.owed.len(), "stored without having been acknowledged");
        assert!(self.running.stop().success());
        self.site.assert_audit_balances();
        let log = self.site.log();
        assert!(!log.contains(SECRET), "the secret is in the log");
        assert!(!log.contains("eyJ"), "a token is in the log");
    }
}

/// The output's table.
fn output(azure: &FakeAzure, ca_file: &str, identity: &str) -> String {
    let endpoints: Vec<String> = azure
        .endpoints()
        .iter()
        .enumerate()
        .map(|(at, door)| format!("{{ name = \"c{at}\", url = \"{}\" }}", door.url()))
        .collect();
    format!(
        r#"[[outputs]]
kind = "workspace"
name = "azure"
dcr = "{RULE}"
stream = "{STREAM}"
timeout = "5 s"
ca_file = "{ca_file}"
endpoints = [{}]
identity = {identity}
max_batch_events = 50
forward = {{ linger = "20 ms" }}
balancer = {{ retry_base = "20 ms", retry_cap = "500 ms", ejection_base = "200 ms", ejection_cap = "1 s", probe_interval = "200 ms" }}
"#,
        endpoints.join(", ")
    )
}

/// The identity of the app with this secret.
pub(crate) fn secret(azure: &FakeAzure, secret: &str) -> String {
    format!(
        "{{ kind = \"client_secret\", tenant = \"{TENANT}\", client_id = \"{APP}\", client_secret = \"{secret}\", authority = \"{}\" }}",
        azure.entra_door().url()
    )
}
