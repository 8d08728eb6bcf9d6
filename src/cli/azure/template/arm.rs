//! The plan as an ARM template: what the Bicep file says, in JSON.

use serde_json::{Value, json};

use super::super::ROLE;
use super::az;
use super::output::{Piece, pieces};
use super::plan::{Plan, Stream};
use super::rule::{Hole, filled, properties};

const RULE: &str = "[resourceId('Microsoft.Insights/dataCollectionRules', parameters('name'))]";
const RULE_REFERENCE: &str =
    "reference(resourceId('Microsoft.Insights/dataCollectionRules', parameters('name')), '2023-03-11')";
const RULE_VERSION: &str = "2023-03-11";

/// The template.
pub(super) fn text(plan: &Plan) -> String {
    let mut template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "metadata": { "deploy": az::deployment(plan, "gatepost.json"), "outputs": az::printed(plan) },
        "parameters": parameters(plan),
        "resources": resources(plan),
        "outputs": outputs(plan),
    });
    if plan.workspace_is_elsewhere() {
        template["metadata"]["columns"] = az::table_commands(plan).lines().collect();
    }
    let mut text = serde_json::to_string_pretty(&template).expect("a value of texts is written");
    text.push('\n');
    text
}

fn parameters(plan: &Plan) -> Value {
    let location = plan.location.as_deref().unwrap_or("[resourceGroup().location]");
    let mut workspace = json!({ "type": "string", "metadata": { "description": "The resource id of the workspace." } });
    if let Some(named) = &plan.workspace {
        let by_name = || format!("[resourceId('Microsoft.OperationalInsights/workspaces', '{}')]", named.name);
        workspace["defaultValue"] = named.id.clone().unwrap_or_else(by_name).into();
    }
    let described = |value: &str, description: &str| json!({ "type": "string", "defaultValue": value, "metadata": { "description": description } });
    json!({
        "name": described(&plan.name, "The name of the data collection rule."),
        "location": described(location, "The region; it must be the workspace's."),
        "workspaceResourceId": workspace,
        "principalId": described(
            plan.principal.as_deref().unwrap_or_default(),
            "The object id of who uploads: a service principal or a managed identity. Empty: no role is assigned.",
        ),
    })
}

fn resources(plan: &Plan) -> Value {
    let mut resources = Vec::new();
    let mut before_rule = Vec::new();
    if plan.endpoint {
        before_rule.push(endpoint_id(plan));
        resources.push(json!({
            "type": "Microsoft.Insights/dataCollectionEndpoints",
            "apiVersion": RULE_VERSION,
            "name": plan.name,
            "location": "[parameters('location')]",
            "properties": { "networkAcls": { "publicNetworkAccess": "Enabled" } },
        }));
    }
    for stream in plan.streams.iter().filter(|stream| !plan.workspace_is_elsewhere() && !stream.extras().is_empty()) {
        let table = stream.table.name();
        before_rule.push(format!(
            "[resourceId('Microsoft.OperationalInsights/workspaces/tables', \
             last(split(parameters('workspaceResourceId'), '/')), '{table}')]"
        ));
        resources.push(json!({
            "type": "Microsoft.OperationalInsights/workspaces/tables",
            "apiVersion": "2022-10-01",
            "name": format!("[concat(last(split(parameters('workspaceResourceId'), '/')), '/{table}')]"),
            "properties": table_properties(stream),
        }));
    }
    let fill = |hole: Hole| match hole {
        Hole::Workspace => "[parameters('workspaceResourceId')]".to_owned(),
        Hole::Endpoint => endpoint_id(plan),
    };
    resources.push(json!({
        "type": "Microsoft.Insights/dataCollectionRules",
        "apiVersion": RULE_VERSION,
        "name": "[parameters('name')]",
        "location": "[parameters('location')]",
        "kind": "Direct",
        "dependsOn": before_rule,
        "properties": filled(properties(plan), &fill),
    }));
    resources.push(json!({
        "condition": "[not(empty(parameters('principalId')))]",
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "name": format!(
            "[guid(resourceId('Microsoft.Insights/dataCollectionRules', parameters('name')), parameters('principalId'), '{ROLE}')]"
        ),
        "scope": RULE,
        "dependsOn": [RULE],
        "properties": {
            "roleDefinitionId": format!("[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{ROLE}')]"),
            "principalId": "[parameters('principalId')]",
            "principalType": "ServicePrincipal",
        },
    }));
    resources.into()
}

/// The schema that adds a stream's extra columns to its table.
pub(super) fn table_properties(stream: &Stream) -> Value {
    let columns = stream.extras().into_iter().map(|(name, kind)| json!({ "name": name, "type": az::table_type(kind) }));
    json!({ "schema": { "name": stream.table.name(), "columns": columns.collect::<Vec<_>>() } })
}

fn endpoint_id(plan: &Plan) -> String {
    format!("[resourceId('Microsoft.Insights/dataCollectionEndpoints', '{}')]", plan.name)
}

fn outputs(plan: &Plan) -> Value {
    let dcr = format!("{RULE_REFERENCE}.immutableId");
    let url = if plan.endpoint {
        let endpoint = endpoint_id(plan);
        format!("reference({}, '{RULE_VERSION}').logsIngestion.endpoint", endpoint.trim_matches(['[', ']']))
    } else {
        format!("{RULE_REFERENCE}.endpoints.logsIngestion")
    };
    let parts: Vec<String> = pieces(plan)
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Piece::Dcr => dcr.clone(),
            Piece::Url => url.clone(),
        })
        .collect();
    json!({
        "dcr": { "type": "string", "value": format!("[{dcr}]") },
        "url": { "type": "string", "value": format!("[{url}]") },
        "gatepost": { "type": "string", "value": format!("[concat({})]", parts.join(", ")) },
    })
}
