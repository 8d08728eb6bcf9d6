//! The plan as a shell script of `az` commands: everything from the identity to the configuration of Gatepost.

use std::fmt::Write as _;

use serde_json::json;

use super::super::ROLE_NAME;
use super::arm::table_properties;
use super::output::{Piece, pieces};
use super::plan::Plan;
use super::rule::{Hole, filled, properties};
use crate::event::columns::ColumnType;
use crate::outputs::identity::{Cloud, Identity};

/// Names as `az` calls the clouds.
fn cloud_name(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::Public => "AzureCloud",
        Cloud::UsGov => "AzureUSGovernment",
        Cloud::China => "AzureChinaCloud",
    }
}

/// The type of a column in a table's schema, which spells one otherwise than rules do.
pub(super) fn table_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::String => "string",
        ColumnType::Int => "int",
        ColumnType::Long => "long",
        ColumnType::Real => "real",
        ColumnType::Boolean => "boolean",
        ColumnType::Datetime => "dateTime",
        ColumnType::Dynamic => "dynamic",
    }
}

/// The command that deploys a template.
pub(super) fn deployment(plan: &Plan, file: &str) -> String {
    let parameters = match (&plan.workspace, &plan.principal) {
        (Some(_), Some(_)) => "",
        (None, Some(_)) => " --parameters workspaceResourceId=WORKSPACE-ID",
        (Some(_), None) => " --parameters principalId=OBJECT-ID",
        (None, None) => " --parameters workspaceResourceId=WORKSPACE-ID principalId=OBJECT-ID",
    };
    format!(
        "az deployment group create --resource-group {} --name gatepost --template-file {file}{parameters}",
        group(plan)
    )
}

/// The command that prints the outputs of a deployment.
pub(super) fn printed(plan: &Plan) -> String {
    let group = group(plan);
    format!(
        "az deployment group show --resource-group {group} --name gatepost --query properties.outputs.gatepost.value --output tsv"
    )
}

fn group(plan: &Plan) -> String {
    plan.resource_group.as_deref().map_or("RESOURCE-GROUP".to_owned(), |group| format!("'{group}'"))
}

/// The commands that add the extra columns to the tables; the workspace's resource id stands in `$workspace`.
pub(super) fn table_commands(plan: &Plan) -> String {
    let mut out = String::new();
    for stream in plan.streams.iter().filter(|stream| !stream.extras().is_empty()) {
        let body = json!({ "properties": table_properties(stream) });
        let table = stream.table.name();
        out += &format!(
            "az rest --method put --url \"$workspace/tables/{table}?api-version=2022-10-01\" --output none \\\n  --body '{body}'\n"
        );
    }
    out
}

/// What goes before and after [`table_commands`] in the script: nobody's column may go, and the rule comes after the columns.
fn guarded_table_commands(plan: &Plan) -> String {
    let (mut before, mut after) = (String::new(), String::new());
    for stream in plan.streams.iter().filter(|stream| !stream.extras().is_empty()) {
        let table = stream.table.name();
        let ours: Vec<&str> = stream.extras().into_iter().map(|(name, _)| name).collect();
        let url = format!("$workspace/tables/{table}?api-version=2022-10-01");
        before += &format!(
            "for column in $(az rest --url \"{url}\" --query 'properties.schema.columns[].name' --output tsv); do\n  \
             case \" {} \" in\n  *\" $column \"*) ;;\n  *) echo \"{table} also has $column: name it in this list and in the call below\" >&2; exit 1 ;;\n  \
             esac\ndone\n",
            ours.join(" ")
        );
        after += &format!(
            "until [ \"$(az rest --url \"{url}\" --query properties.provisioningState --output tsv)\" = Succeeded ]; do sleep 5; done\n"
        );
    }
    before + &table_commands(plan) + &after
}

/// The script.
pub(super) fn text(plan: &Plan) -> String {
    let mut out = "#!/bin/sh\n# What Gatepost needs in Azure, and at the end the outputs for its configuration. Read it before you run it.\n\
                   set -eu\n\n"
        .to_owned();
    out += &format!(
        "az cloud set --name {}\naz account show --output table >&2 # az login, if this fails\n\n",
        cloud_name(plan.cloud)
    );
    names(plan, &mut out);
    who(plan, &mut out);
    out.push_str(
        "\n# The columns that Gatepost adds to the tables. Custom columns that a table has and that the call does not name may go.\n",
    );
    out += &guarded_table_commands(plan);
    rule(plan, &mut out);
    toml(plan, &mut out);
    out
}

fn names(plan: &Plan, out: &mut String) {
    let known = |value: Option<&str>, variable: &str| {
        value.map_or_else(|| format!("\"${{{variable}:?set it}}\""), |value| format!("'{value}'"))
    };
    *out += &format!("name='{}'\ngroup={}\n", plan.name, known(plan.resource_group.as_deref(), "RESOURCE_GROUP"));
    match &plan.workspace {
        Some(workspace) => match &workspace.id {
            Some(id) => *out += &format!("workspace='{id}'\n"),
            None => {
                let name = &workspace.name;
                *out += &format!(
                    "workspace=$(az monitor log-analytics workspace show --resource-group \"$group\" --workspace-name '{name}' --query id --output tsv)\n"
                );
            }
        },
        None => *out += &format!("workspace={}\n", known(None, "WORKSPACE_ID")),
    }
    match &plan.location {
        Some(location) => *out += &format!("location='{location}'\n"),
        None => out.push_str("location=$(az resource show --ids \"$workspace\" --query location --output tsv)\n"),
    }
    out.push_str(
        "subscription=$(az account show --query id --output tsv)\n\
         rule=\"/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.Insights/dataCollectionRules/$name\"\n\n",
    );
}

/// Who uploads: made here when it is an app registration, else found.
fn who(plan: &Plan, out: &mut String) {
    out.push_str("# Who uploads.\n");
    if let Some(principal) = &plan.principal {
        writeln!(out, "principal='{principal}'").expect("a String takes all");
        return;
    }
    let register = "app=$(az ad app create --display-name \"$name\" --query appId --output tsv)\n\
                    principal=$(az ad sp create --id \"$app\" --query id --output tsv)\n";
    match &plan.identity {
        Identity::ManagedIdentity { client_id: Some(client_id), .. } => {
            let client = serde_json::Value::from(client_id.as_str());
            *out += &format!("client={client}\nprincipal=$(az ad sp show --id \"$client\" --query id --output tsv)\n");
        }
        Identity::ManagedIdentity { .. } => out.push_str(
            "principal=$(az vm identity assign --resource-group \"$group\" --name \"${VM:?set it to the name of the virtual machine}\" \
             --query systemAssignedIdentity --output tsv)\n",
        ),
        Identity::Arc { .. } => out.push_str(
            "principal=$(az connectedmachine show --resource-group \"$group\" --name \"${MACHINE:?set it to the name of the Arc-enabled server}\" \
             --query identity.principalId --output tsv)\n",
        ),
        Identity::ClientCertificate { .. } => {
            *out += register;
            out.push_str("# The certificate, without its key.\naz ad app credential reset --id \"$app\" --append --cert @gatepost.crt --output none\n");
        }
        Identity::WorkloadIdentity { .. } => {
            *out += register;
            out.push_str(
                "az ad app federated-credential create --id \"$app\" --parameters \"{\\\"name\\\": \\\"$name\\\", \\\"issuer\\\": \\\"${ISSUER:?set it}\\\", \
                 \\\"subject\\\": \\\"${SUBJECT:?set it}\\\", \\\"audiences\\\": [\\\"api://AzureADTokenExchange\\\"]}\" --output none\n",
            );
        }
        Identity::None | Identity::Token { .. } | Identity::ClientSecret { .. } => {
            *out += register;
            out.push_str(
                "# The secret goes into a file that only you read; it is not shown.\n(umask 077 && az ad app credential reset --id \"$app\" --append \
                 --years 1 --query password --output tsv >client-secret)\n",
            );
        }
    }
}

fn rule(plan: &Plan, out: &mut String) {
    if plan.endpoint {
        out.push_str(
            "\n# The data collection endpoint.\n\
             dce=\"/subscriptions/$subscription/resourceGroups/$group/providers/Microsoft.Insights/dataCollectionEndpoints/$name\"\n\
             az rest --method put --url \"$dce?api-version=2023-03-11\" --output none \\\n  \
             --body \"{\\\"location\\\": \\\"$location\\\", \\\"properties\\\": {\\\"networkAcls\\\": {\\\"publicNetworkAccess\\\": \\\"Enabled\\\"}}}\"\n",
        );
    }
    let fill = |hole: Hole| match hole {
        Hole::Workspace => "$workspace".to_owned(),
        Hole::Endpoint => "$dce".to_owned(),
    };
    let body = json!({ "location": "$location", "kind": "Direct", "properties": filled(properties(plan), &fill) });
    let body = serde_json::to_string_pretty(&body).expect("a value of texts is written");
    *out += &format!(
        "\n# The data collection rule.\ncat >gatepost-rule.json <<EOF\n{body}\nEOF\n\
         az rest --method put --url \"$rule?api-version=2023-03-11\" --body @gatepost-rule.json --output none\n\n\
         # The role, on the rule alone. It may take half an hour to act.\n\
         az role assignment create --assignee-object-id \"$principal\" --assignee-principal-type ServicePrincipal \\\n  \
         --role '{ROLE_NAME}' --scope \"$rule\" --output none\n"
    );
}

fn toml(plan: &Plan, out: &mut String) {
    let (of, query) = if plan.endpoint {
        ("$dce", "properties.logsIngestion.endpoint")
    } else {
        ("$rule", "properties.endpoints.logsIngestion")
    };
    *out += &format!(
        "\n# The outputs for the configuration of Gatepost.\n\
         dcr=$(az rest --url \"$rule?api-version=2023-03-11\" --query properties.immutableId --output tsv)\n\
         url=$(az rest --url \"{of}?api-version=2023-03-11\" --query {query} --output tsv)\n\
         tenant=$(az account show --query tenantId --output tsv)\ncat <<EOF\n"
    );
    for piece in pieces(plan) {
        match piece {
            // In a document of the shell only these mean something.
            Piece::Text(text) => *out += &text.replace('\\', "\\\\").replace('$', "\\$").replace('`', "\\`"),
            Piece::Dcr => out.push_str("$dcr"),
            Piece::Url => out.push_str("$url"),
        }
    }
    out.push_str("EOF\n");
    let made_here = out.contains("\napp=");
    *out = out.replace("\"TENANT-ID\"", "\"$tenant\"");
    if made_here {
        *out = out.replace("\"APPLICATION-ID\"", "\"$app\"");
    }
}
