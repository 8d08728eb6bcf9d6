//! Each verdict, against a server on loopback that answers as Azure would.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::event::columns::ColumnType;
use crate::outputs::identity::Identity;
use crate::values::Secret;

const DCR: &str = "dcr-00000000000000000000000000000001";
const OBJECT: &str = "11111111-2222-3333-4444-555555555555";
const RULE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/dataCollectionRules/gatepost";
const WORKSPACE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/soc";
const ROLES: &str = "/providers/Microsoft.Authorization/roleAssignments";

const COLUMNS: &[Column] =
    &[Column { name: "TimeGenerated", kind: ColumnType::Datetime }, Column { name: "EventID", kind: ColumnType::Int }];

/// Azure: by path, what is answered. Everything else is not found.
#[derive(Clone)]
struct Azure(HashMap<String, (u16, String)>);

impl Azure {
    /// As it should be.
    fn well() -> Self {
        let columns = json!([
            { "name": "TimeGenerated", "type": "datetime" }, { "name": "EventID", "type": "int" },
            { "name": "TimeCreated_CF", "type": "datetime" }, { "name": "UploadedBy_CF", "type": "string" },
        ]);
        let rule = json!({ "properties": {
            "immutableId": DCR,
            "streamDeclarations": { "Custom-SecurityEvent": { "columns": columns } },
            "destinations": { "logAnalytics": [{ "name": "ws", "workspaceResourceId": WORKSPACE }] },
            "dataFlows": [{
                "streams": ["Custom-SecurityEvent"], "destinations": ["ws"], "transformKql": "source",
                "outputStream": "Microsoft-SecurityEvent",
            }],
        } });
        let role = format!("/subscriptions/s/providers/Microsoft.Authorization/roleDefinitions/{}", super::super::ROLE);
        let roles = json!({ "value": [{ "properties": { "roleDefinitionId": role } }] });
        let table = json!({ "properties": { "schema": { "columns": columns, "standardColumns": [] } } });
        let mut azure = Self(HashMap::new());
        azure.answer(&upload(), 204, "");
        azure.answer(RULE, 200, &rule.to_string());
        azure.answer(&format!("{RULE}{ROLES}"), 200, &roles.to_string());
        azure.answer(&format!("{WORKSPACE}/tables/SecurityEvent"), 200, &table.to_string());
        azure
    }

    fn answer(&mut self, path: &str, status: u16, body: &str) {
        self.0.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// The rule, changed at a place.
    fn with_rule(place: &str, value: Value) -> Self {
        Self::well().changed(RULE, place, value)
    }

    fn changed(mut self, path: &str, place: &str, value: Value) -> Self {
        let mut resource: Value = serde_json::from_str(&self.0[path].1).unwrap();
        *resource.pointer_mut(place).unwrap() = value;
        self.answer(path, 200, &resource.to_string());
        self
    }

    async fn start(self, date: Option<&'static str>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(self.0);
        let app = Router::new().fallback(move |request: Request| {
            let found = answers.get(request.uri().path()).cloned().unwrap_or((404, String::new()));
            let signed = request
                .headers()
                .get("authorization")
                .is_some_and(|value| value.to_str().unwrap().starts_with("Bearer "));
            async move {
                let status = StatusCode::from_u16(if signed { found.0 } else { 401 }).unwrap();
                let mut response = (status, found.1).into_response();
                if let Some(date) = date {
                    response.headers_mut().insert("date", date.parse().unwrap());
                }
                response
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}")
    }
}

fn upload() -> String {
    format!("/dataCollectionRules/{DCR}/streams/Custom-SecurityEvent")
}

fn token(claims: &Value) -> String {
    format!("{}.{}.x", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn good_claims() -> Value {
    json!({
        "aud": "https://monitor.azure.com", "tid": "the-tenant", "appid": "the-app", "oid": OBJECT, "exp": 4_000_000_000_u64,
    })
}

fn output(url: &str, token: &str) -> workspace::Config {
    workspace::Config {
        name: "sentinel".to_owned(),
        endpoints: vec![outputs::config::Endpoint {
            url: url.to_owned(),
            name: "dce".to_owned(),
            ..Default::default()
        }],
        dcr: DCR.to_owned(),
        stream: "Custom-SecurityEvent".to_owned(),
        table: Some(crate::event::columns::Table::SecurityEvent),
        identity: Identity::Token { token: Secret::new(token) },
        ..Default::default()
    }
}

async fn found(azure: Azure, claims: &Value) -> Vec<Finding> {
    let url = azure.start(None).await;
    let rule = Rule { management: &url, id: RULE.to_owned(), columns: COLUMNS };
    examine(&output(&url, &token(claims)), Some(&rule)).await.unwrap()
}

/// The verdict of a check, with what was said.
fn verdict(findings: &[Finding], check: &str) -> (Verdict, String) {
    let finding = findings.iter().find(|finding| finding.check == check && finding.verdict != Verdict::Ok);
    let finding = finding.or_else(|| findings.iter().find(|finding| finding.check == check));
    let finding = finding.unwrap_or_else(|| panic!("no {check}: {findings:#?}"));
    (finding.verdict, format!("{}; {}", finding.detail, finding.advice.as_deref().unwrap_or_default()))
}

fn assert_only(findings: &[Finding], expected: &[(&str, Verdict, &str)]) {
    for (check, wanted, says) in expected {
        let (is, text) = verdict(findings, check);
        assert_eq!(is, *wanted, "{check}: {text}");
        assert!(text.contains(says), "{check}: {text}");
    }
    let bad = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).count();
    assert_eq!(bad, expected.iter().filter(|(_, wanted, _)| *wanted != Verdict::Ok).count(), "{findings:#?}");
}

#[tokio::test]
async fn a_rule_as_it_should_be_is_well() {
    let findings = found(Azure::well(), &good_claims()).await;
    assert_only(
        &findings,
        &[
            ("name of dce", Verdict::Ok, "127.0.0.1"),
            ("token", Verdict::Ok, "tenant the-tenant, application the-app, object 11111111"),
            ("token audience", Verdict::Ok, "monitor.azure.com"),
            ("clock against dce", Verdict::Ok, "0 s apart"),
            ("upload to dce", Verdict::Ok, "204"),
            ("columns", Verdict::Ok, "all 4"),
            ("role", Verdict::Ok, "assigned"),
            ("workspace", Verdict::Ok, "workspaces/soc"),
            ("table", Verdict::Ok, "SecurityEvent is there"),
        ],
    );
    let text = lines(&findings);
    assert!(text.ends_with("checks, 0 problems, 0 unknown\n") && text.is_ascii(), "{text}");
}

#[tokio::test]
async fn each_status_of_an_upload_is_explained() {
    for (status, wanted, says) in [
        (200, Verdict::Unknown, "Azure answers 204"),
        (302, Verdict::Problem, "no data collection endpoint"),
        (400, Verdict::Problem, "`stream` is declared"),
        (401, Verdict::Problem, "not taken"),
        (403, Verdict::Problem, "Monitoring Metrics Publisher"),
        (404, Verdict::Problem, "immutable id"),
        (407, Verdict::Problem, "proxy.username"),
        (429, Verdict::Unknown, "later"),
        (503, Verdict::Unknown, "later"),
    ] {
        let mut azure = Azure::well();
        azure.answer(&upload(), status, "why\r\nnot");
        let findings = found(azure, &good_claims()).await;
        assert_only(&findings, &[("upload to dce", wanted, says)]);
    }
}

#[tokio::test]
async fn tokens_are_looked_into_and_never_shown() {
    let other = json!({ "aud": "https://management.azure.com/", "exp": 1_000, "roles": ["a", "b\u{7}"] });
    let findings = found(Azure::well(), &other).await;
    assert_only(
        &findings,
        &[
            ("token", Verdict::Ok, "roles a, b "),
            ("token audience", Verdict::Problem, "but uploads need https://monitor.azure.com"),
            ("token expiry", Verdict::Problem, "1970-01-01T00:16:40Z"),
            ("role", Verdict::Unknown, "does not tell whose"),
        ],
    );
    assert!(!json_lines(&findings).unwrap().contains(&token(&other)));

    let url = Azure::well().start(None).await;
    let findings = examine(&output(&url, "opaque"), None).await.unwrap();
    assert_only(&findings, &[("token", Verdict::Unknown, "no JWT"), ("rule", Verdict::Unknown, "--rule")]);
    let nobody = workspace::Config { identity: Identity::None, ..output(&url, "x") };
    let findings = examine(&nobody, None).await.unwrap();
    assert_eq!(verdict(&findings, "token").0, Verdict::Unknown);
    assert_eq!(verdict(&findings, "upload to dce").0, Verdict::Problem);
}

#[tokio::test]
async fn a_wrong_clock_and_a_dead_endpoint_are_problems() {
    let url = Azure::well().start(Some("Sun, 06 Nov 1994 08:49:37 GMT")).await;
    let findings = examine(&output(&url, &token(&good_claims())), None).await.unwrap();
    let (is, text) = verdict(&findings, "clock against dce");
    assert!(is == Verdict::Problem && text.contains("ahead"), "{text}");

    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let findings = examine(&output(&url, &token(&good_claims())), None).await.unwrap();
    let (is, text) = verdict(&findings, "connection to dce");
    assert!(is == Verdict::Problem && text.contains("public-egress.conf"), "{text}");
    let findings = examine(&output("http://no-such-host.invalid", &token(&good_claims())), None).await.unwrap();
    assert_eq!(verdict(&findings, "name of dce").0, Verdict::Problem);
}

#[tokio::test]
async fn a_rule_that_differs_is_told_in_full() {
    let declared = "/properties/streamDeclarations/Custom-SecurityEvent/columns";
    for (place, value, expected) in [
        ("/properties/immutableId", json!("dcr-2"), vec![("rule", Verdict::Problem, "set `dcr`")]),
        (
            declared,
            json!([{ "name": "TimeGenerated", "type": "string" }, { "name": "EventID", "type": "int" }]),
            vec![
                ("columns", Verdict::Problem, "2 not declared: TimeCreated_CF, UploadedBy_CF"),
                ("columns ", Verdict::Problem, ""),
            ],
        ),
        (
            "/properties/streamDeclarations",
            json!({ "Custom-Other": {} }),
            vec![("stream", Verdict::Problem, "it declares Custom-Other")],
        ),
        (
            "/properties/dataFlows/0/outputStream",
            json!("Microsoft-Event"),
            vec![("flow", Verdict::Problem, "rows are made for Microsoft-SecurityEvent")],
        ),
        (
            "/properties/dataFlows/0/transformKql",
            json!("source | take 1"),
            vec![("transform", Verdict::Unknown, "keeps what you need")],
        ),
        (
            "/properties/dataFlows",
            json!([]),
            vec![("flow", Verdict::Problem, "no data flow"), ("table", Verdict::Unknown, "not looked at")],
        ),
        (
            "/properties/destinations",
            json!({}),
            vec![("workspace", Verdict::Problem, "no workspace"), ("table", Verdict::Unknown, "")],
        ),
    ] {
        let mut findings = found(Azure::with_rule(place, value), &good_claims()).await;
        // Two findings of one check: the second gets a name of its own here.
        if let Some(second) = findings.iter_mut().filter(|finding| finding.check == "columns").nth(1) {
            assert!(second.detail.contains("TimeGenerated (string, not datetime)"), "{second:?}");
            second.check.push(' ');
        }
        assert_only(&findings, &expected);
    }
}

#[tokio::test]
async fn what_cannot_be_seen_is_unknown_and_what_is_missing_a_problem() {
    let (roles, table) = (format!("{RULE}{ROLES}"), format!("{WORKSPACE}/tables/SecurityEvent"));
    for (path, status, body, expected) in [
        (RULE, 403, "", vec![("rule", Verdict::Unknown, "Reader on the rule")]),
        (RULE, 404, "", vec![("rule", Verdict::Problem, "no such rule")]),
        (RULE, 200, "no JSON", vec![("rule", Verdict::Unknown, "no JSON")]),
        (&roles, 403, "", vec![("role", Verdict::Unknown, "204 above")]),
        (&roles, 200, r#"{"value":[]}"#, vec![("role", Verdict::Problem, "has no role")]),
        (&table, 403, "", vec![("table", Verdict::Unknown, "Log Analytics Reader")]),
        (&table, 404, "", vec![("table", Verdict::Problem, "no table SecurityEvent")]),
        (&table, 200, "{}", vec![("table", Verdict::Problem, "lacks TimeCreated_CF, UploadedBy_CF")]),
    ] {
        let mut azure = Azure::well();
        azure.answer(path, status, body);
        assert_only(&found(azure, &good_claims()).await, &expected);
    }
}

#[test]
fn outputs_and_rules_are_named_without_guessing() {
    let config: Config = toml::from_str(
        "[[outputs]]\nkind = 'workspace'\nname = 'a'\ndcr = 'dcr-1'\n[[outputs]]\nkind = 'workspace'\nname = 'b'\ndcr = 'dcr-2'\n",
    )
    .unwrap();
    let chosen = |output: Option<&str>, rule: Option<&str>| {
        let args = Args { output: output.map(str::to_owned), rule: rule.map(str::to_owned) };
        chosen(&config, &args).map(|outputs| outputs.len()).map_err(|error| error.to_string())
    };
    assert_eq!((chosen(None, None), chosen(Some("a"), Some(RULE))), (Ok(2), Ok(1)));
    assert!(chosen(None, Some(RULE)).unwrap_err().contains("--output"));
    assert!(chosen(Some("c"), None).unwrap_err().contains("no workspace output"));
    assert_eq!(rule_id(&RULE[1..]).unwrap(), RULE);
    for wrong in
        ["gatepost", "/subscriptions/s?x=/providers/Microsoft.Insights/dataCollectionRules/y", "https://portal/#"]
    {
        assert!(rule_id(wrong).is_err(), "{wrong}");
    }
}
