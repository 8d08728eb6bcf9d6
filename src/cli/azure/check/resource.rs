//! What Azure Resource Manager tells, as far as the identity may ask: the rule, its roles, the table.

use http::Uri;
use serde_json::Value;

use super::super::{ROLE, ROLE_NAME};
use super::token::Held;
use super::{Findings, Rule, rule};
use crate::net::http_client::{ANSWER_BYTES_MAX, Answer};
use crate::outputs::identity::Token;
use crate::outputs::workspace;
use crate::outputs::workspace::reach::{Reach, said};

const RULE_VERSION: &str = "2023-03-11";
const ROLES_VERSION: &str = "2022-04-01";
const TABLES_VERSION: &str = "2022-10-01";

/// What came instead of a resource.
enum Missing {
    /// It is not there.
    NotFound,
    /// It could not be seen: why.
    Unseen(String),
}

/// Compares the rule with what the output sends, then looks at who may upload and at the table.
pub(super) async fn check(
    output: &workspace::Config,
    reach: &Reach,
    wanted: &Rule<'_>,
    held: &Held,
    findings: &mut Findings,
) {
    let token = match reach.management.token().await {
        Ok(Some(token)) => token,
        Ok(None) => {
            let advice = "the configured identity gives no token for Azure Resource Manager";
            return findings.unknown("rule", "cannot be asked for", advice);
        }
        Err(error) => {
            let advice = error.advice.unwrap_or_else(|| "check the way to Entra ID".to_owned());
            return findings.unknown("rule", format!("cannot be asked for: {}", error.detail), advice);
        }
    };
    let azure = Azure { reach, management: wanted.management, token };
    let found = match azure.get(&format!("{}?api-version={RULE_VERSION}", wanted.id)).await {
        Ok(found) => found,
        Err(Missing::NotFound) => {
            let advice = "check --rule; a rule that the identity may not see is not found either";
            return findings.problem("rule", "there is no such rule", advice);
        }
        Err(Missing::Unseen(why)) => {
            return findings.unknown("rule", why, "give the identity the role Reader on the rule, for this check");
        }
    };
    let destination = rule::compare(output, wanted.columns, &found, findings);
    azure.role(&wanted.id, held, findings).await;
    match destination {
        Some(workspace) => azure.table(output, &workspace, findings).await,
        None => findings.unknown("table", "was not looked at", "the rule names no workspace for it"),
    }
}

struct Azure<'a> {
    reach: &'a Reach,
    management: &'a str,
    token: Token,
}

impl Azure<'_> {
    async fn role(&self, rule: &str, held: &Held, findings: &mut Findings) {
        let Some(object) =
            held.object_id.as_deref().filter(|id| id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()))
        else {
            return findings.unknown(
                "role",
                "the token does not tell whose it is",
                "an answer of 204 above says that the role is there",
            );
        };
        let path = format!(
            "{rule}/providers/Microsoft.Authorization/roleAssignments?api-version={ROLES_VERSION}&$filter=assignedTo('{object}')"
        );
        match self.get(&path).await {
            Ok(found) => {
                let assigned = found["value"].as_array().is_some_and(|items| items.iter().any(is_publisher));
                if assigned {
                    findings.ok("role", format!("{ROLE_NAME} is assigned"));
                } else {
                    findings.problem(
                        "role",
                        format!("{object} has no role {ROLE_NAME} on the rule"),
                        "assign it: `gatepost azure template --format az` prints the command",
                    );
                }
            }
            Err(missing) => {
                findings.unknown("role", missing.text(), "an answer of 204 above says that the role is there")
            }
        }
    }

    async fn table(&self, output: &workspace::Config, workspace: &str, findings: &mut Findings) {
        let table = output.table.unwrap_or_default();
        match self.get(&format!("{workspace}/tables/{table}?api-version={TABLES_VERSION}")).await {
            Ok(found) => rule::compare_table(output, table.name(), &found, findings),
            Err(Missing::NotFound) => findings.problem(
                "table",
                format!("the workspace has no table {table}"),
                "SecurityEvent is there once Microsoft Sentinel is on, with the solution Windows Security Events",
            ),
            Err(Missing::Unseen(why)) => findings.unknown(
                "table",
                why,
                "give the identity the role Log Analytics Reader on the workspace, for this check",
            ),
        }
    }

    async fn get(&self, path: &str) -> Result<Value, Missing> {
        let url: Uri = format!("{}{path}", self.management)
            .parse()
            .map_err(|_| Missing::Unseen("Azure named a resource whose id is no part of a URL".to_owned()))?;
        match self.reach.get(&url, Some(&self.token)).await {
            Ok(Answer { status: 200, body, .. }) => serde_json::from_slice(&body).map_err(|error| {
                let cut = if body.len() >= ANSWER_BYTES_MAX { " (it is longer than what is read)" } else { "" };
                Missing::Unseen(format!("the answer is no JSON{cut}: {error}"))
            }),
            Ok(Answer { status: 404, .. }) => Err(Missing::NotFound),
            Ok(answer) => Err(Missing::Unseen(said(&answer))),
            Err(error) => Err(Missing::Unseen(error.to_string())),
        }
    }
}

impl Missing {
    fn text(self) -> String {
        match self {
            Self::NotFound => "is not found".to_owned(),
            Self::Unseen(why) => why,
        }
    }
}

fn is_publisher(assignment: &Value) -> bool {
    let role = assignment["properties"]["roleDefinitionId"].as_str().unwrap_or_default();
    role.to_ascii_lowercase().ends_with(ROLE)
}
