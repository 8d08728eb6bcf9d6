mod conversation;
mod durable;
mod requests;

use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::admin;
use crate::filter::dcr::{Finding, Severity};
use crate::fs::RealFs;

const GROUP: &str = "/subscriptions/703362b3-f278-4e4b-9179-c76eaf41ffc2/resourceGroups/myResourceGroup";
const VERSION: &str = "api-version=2024-03-11";

/// What is in force, as it was swapped in; refuses what the test wants refused.
#[derive(Default)]
struct InForce {
    snapshots: Arc<Mutex<Vec<Snapshot>>>,
    refuses: Mutex<Option<&'static str>>,
}

impl InForce {
    fn last(&self) -> Snapshot {
        self.snapshots.lock().last().cloned().unwrap_or_default()
    }

    fn changes(&self) -> usize {
        self.snapshots.lock().len()
    }
}

impl Activate for InForce {
    fn prepare(&self, snapshot: &Snapshot) -> Result<Commit, Vec<Finding>> {
        if let Some(why) = *self.refuses.lock() {
            let (target, message) = ("properties.destinations".to_owned(), why.to_owned());
            return Err(vec![Finding { severity: Severity::Error, code: "InvalidDestination", target, message }]);
        }
        let (snapshots, snapshot) = (Arc::clone(&self.snapshots), snapshot.clone());
        Ok(Box::new(move || snapshots.lock().push(snapshot)))
    }
}

/// A folder for rules within another: beside it stand their copies.
struct Place(tempfile::TempDir, PathBuf);

impl Place {
    fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        let path = own.path().join("rules");
        std::fs::create_dir(&path).unwrap();
        Self(own, path)
    }

    fn path(&self) -> &Path {
        &self.1
    }

    fn copies(&self) -> PathBuf {
        self.0.path().join("rules-copy")
    }
}

struct Plane {
    router: Router,
    in_force: Arc<InForce>,
    store: Arc<RuleStore>,
}

/// An answer: its status, its headers, its body as JSON.
struct Answered {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
}

impl Plane {
    fn new(fs: Arc<dyn Fs>, dir: &Path, config: &admin::Config) -> Self {
        let store = Arc::new(RuleStore::open(fs, dir.to_owned()));
        let in_force = Arc::new(InForce::default());
        let live = LiveRules::new(Arc::clone(&store), Arc::clone(&in_force) as Arc<dyn Activate>, None);
        let guard = admin::Guard::new(config, "127.0.0.1:9090".parse().unwrap());
        let router = admin::azure::routes(Arc::new(live), guard);
        Self { router, in_force, store }
    }

    fn open(dir: &Path) -> Self {
        Self::new(Arc::new(RealFs), dir, &admin::Config::default())
    }

    /// `line` is method and path, `headers` are lines.
    async fn ask(&self, line: &str, headers: &str, body: impl Into<Body>) -> Answered {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:9090");
        for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answered { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn put_rule(&self, name: &str) -> Answered {
        self.ask(&format!("PUT {}?{VERSION}", rule(name)), "", body(&["Security!*"]).to_string()).await
    }

    async fn associate(&self, host: &str, name: &str) -> Answered {
        let body = json!({ "properties": { "dataCollectionRuleId": rule(name) } });
        self.ask(&format!("PUT {}?{VERSION}", association(host, name)), "", body.to_string()).await
    }
}

fn rule(name: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Insights/dataCollectionRules/{name}")
}

fn association(host: &str, name: &str) -> String {
    let machine = format!("{GROUP}/providers/Microsoft.HybridCompute/machines/{host}");
    format!("{machine}/providers/Microsoft.Insights/dataCollectionRuleAssociations/{name}")
}

/// The request of Microsoft's page about Sentinel, with these queries.
fn body(queries: &[&str]) -> Value {
    let workspace = format!("{GROUP}/providers/Microsoft.OperationalInsights/workspaces/centralTeamWorkspace");
    json!({
        "location": "eastus",
        "properties": {
            "streamDeclarations": {},
            "dataSources": { "windowsEventLogs": [
                { "streams": ["Microsoft-SecurityEvent"], "xPathQueries": queries, "name": "eventLogsDataSource" },
            ] },
            "destinations": { "logAnalytics": [{ "workspaceResourceId": workspace, "name": "DataCollectionEvent" }] },
            "dataFlows": [{ "streams": ["Microsoft-SecurityEvent"], "destinations": ["DataCollectionEvent"] }],
        },
    })
}
