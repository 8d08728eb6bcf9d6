//! `gatepost azure template`: the Azure side of workspace outputs, as Bicep, as an ARM template, or as commands.
//!
//! One [`plan::Plan`] is made of the flags and the configuration, and checked; each format is a view of it. The same plan
//! gives the same text.

use std::process::ExitCode;

use super::super::{Global, print, text_or_json};
use crate::config::Config;
use crate::event::columns::{Table, columns};
use crate::outputs::{self, workspace};

mod arm;
mod az;
mod bicep;
mod output;
mod plan;
mod rule;
#[cfg(test)]
mod tests;

use plan::{Plan, Stream, Wanted};

/// Print what a workspace output needs in Azure.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A table to write to; once for each [default: those of the configuration's workspace outputs, or WindowsEvent]
    #[arg(long)]
    table: Vec<Table>,
    /// The name of the data collection rule, and what the others are called after
    #[arg(long, default_value = "gatepost")]
    name: String,
    /// The region, which must be the workspace's, such as westeurope [default: the resource group's]
    #[arg(long)]
    location: Option<String>,
    /// The workspace: its resource id, or its name when it is in the rule's resource group [default: a parameter]
    #[arg(long, value_name = "NAME-OR-ID")]
    workspace: Option<String>,
    /// The resource group of the rule [default: the workspace's]
    #[arg(long, value_name = "NAME")]
    resource_group: Option<String>,
    /// The object id of the service principal or managed identity that gets the role [default: a parameter]
    #[arg(long, value_name = "OBJECT-ID")]
    principal_id: Option<String>,
    /// Which Azure [default: that of the configuration's workspace outputs, or public]
    #[arg(long, value_enum)]
    cloud: Option<CloudName>,
    /// Make a data collection endpoint too: needed for private link only
    #[arg(long)]
    endpoint: bool,
    /// In which form
    #[arg(long, value_enum, default_value_t = Form::Bicep)]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// A Bicep file
    Bicep,
    /// An ARM template
    Arm,
    /// A shell script of az commands
    Az,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum CloudName {
    Public,
    UsGov,
    China,
}

/// Runs the command.
pub(super) fn run(args: &Args, global: &Global) -> anyhow::Result<ExitCode> {
    let config = global.load()?;
    let plan = plan(args, &config, &columns)?;
    print(&text_or_json(text(&plan, args.format), global))?;
    Ok(ExitCode::SUCCESS)
}

fn text(plan: &Plan, form: Form) -> String {
    match form {
        Form::Bicep => bicep::text(plan),
        Form::Arm => arm::text(plan),
        Form::Az => az::text(plan),
    }
}

type Columns<'a> = &'a dyn Fn(Table) -> &'static [crate::event::columns::Column];

/// The plan that the flags ask for; what they leave open is as the configuration has it.
fn plan(args: &Args, config: &Config, columns: Columns<'_>) -> anyhow::Result<Plan> {
    let outputs: Vec<&workspace::Config> =
        config.outputs.iter().filter_map(|output| workspace_of(&output.output)).collect();
    let tables = tables(args, &outputs);
    let streams = tables.iter().map(|table| {
        let output = outputs.iter().find(|output| output.table.unwrap_or_default() == *table).copied();
        Stream::new(*table, output, columns(*table))
    });
    let like = outputs.iter().find(|output| tables.contains(&output.table.unwrap_or_default())).or(outputs.first());
    Plan::new(Wanted {
        name: args.name.clone(),
        location: args.location.clone(),
        workspace: args.workspace.clone(),
        resource_group: args.resource_group.clone(),
        principal: args.principal_id.clone(),
        cloud: args.cloud.map_or_else(|| like.map(|output| output.cloud).unwrap_or_default(), cloud),
        endpoint: args.endpoint,
        identity: like.map(|output| output.identity.clone()).unwrap_or_default(),
        streams: streams.collect::<Result<_, _>>()?,
    })
}

fn workspace_of(output: &outputs::Config) -> Option<&workspace::Config> {
    if let outputs::Config::Workspace(config) = output { Some(config) } else { None }
}

/// Each table once, in the order in which it was named.
fn tables(args: &Args, outputs: &[&workspace::Config]) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let named = args.table.iter().copied();
    let configured = outputs.iter().map(|output| output.table.unwrap_or_default()).filter(|_| args.table.is_empty());
    for table in named.chain(configured) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    if tables.is_empty() {
        tables.push(Table::default());
    }
    tables
}

fn cloud(name: CloudName) -> outputs::identity::Cloud {
    match name {
        CloudName::Public => outputs::identity::Cloud::Public,
        CloudName::UsGov => outputs::identity::Cloud::UsGov,
        CloudName::China => outputs::identity::Cloud::China,
    }
}
