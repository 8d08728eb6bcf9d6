//! What is to be made in Azure, checked against Azure's rules for names before anybody deploys it.

use anyhow::{bail, ensure};

use crate::event::columns::{Column, ColumnType, Table};
use crate::outputs::identity::{Cloud, Identity};
use crate::outputs::workspace;

/// Columns that Azure fills or keeps for itself; a declaration with one of them is refused.
const RESERVED: [&str; 7] = ["_ResourceId", "id", "_SubscriptionId", "TenantId", "Type", "UniqueId", "Title"];
/// Most columns of a table.
const COLUMNS_MAX: usize = 500;
/// Most characters of a column's name.
const COLUMN_NAME_MAX: usize = 45;
/// What names of columns must end with that are added to one of Microsoft's tables.
const CUSTOM_SUFFIX: &str = "_CF";

/// What flags and configuration ask for, unchecked.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) location: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) resource_group: Option<String>,
    pub(super) principal: Option<String>,
    pub(super) cloud: Cloud,
    pub(super) endpoint: bool,
    pub(super) identity: Identity,
    pub(super) streams: Vec<Stream>,
}

/// What is to be made.
#[derive(Debug)]
pub(super) struct Plan {
    /// The rule's name.
    pub(super) name: String,
    pub(super) location: Option<String>,
    pub(super) workspace: Option<Workspace>,
    /// The rule's resource group, if it is known.
    pub(super) resource_group: Option<String>,
    /// The object id of who gets the role.
    pub(super) principal: Option<String>,
    pub(super) cloud: Cloud,
    /// Whether a data collection endpoint is made.
    pub(super) endpoint: bool,
    pub(super) identity: Identity,
    pub(super) streams: Vec<Stream>,
}

/// A workspace, as far as it was named.
#[derive(Debug)]
pub(super) struct Workspace {
    /// Its whole resource id, if that was given.
    pub(super) id: Option<String>,
    pub(super) resource_group: Option<String>,
    pub(super) name: String,
}

/// What goes to one table.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) table: Table,
    /// As the rule declares it and Gatepost uploads to it.
    pub(super) name: String,
    /// The table's own columns.
    pub(super) columns: Vec<Column>,
    pub(super) original_time: String,
    pub(super) event_key: String,
    pub(super) client: String,
}

impl Stream {
    /// What an output's configuration says of the table, or the defaults.
    pub(super) fn new(table: Table, output: Option<&workspace::Config>, columns: &[Column]) -> anyhow::Result<Self> {
        let named = output.map(|output| output.stream.as_str()).filter(|stream| stream.starts_with("Custom-"));
        let defaults = workspace::Config::default();
        let output = output.unwrap_or(&defaults);
        let event_key = if output.event_key_column.is_empty() { "EventKey_CF" } else { &output.event_key_column };
        let stream = Self {
            table,
            name: named.map_or_else(|| format!("Custom-{}", table.name()), str::to_owned),
            columns: columns.iter().filter(|column| !is_reserved(column.name)).copied().collect(),
            original_time: output.original_time_column.clone(),
            event_key: event_key.to_owned(),
            client: output.client_column.clone(),
        };
        stream.check()?;
        Ok(stream)
    }

    /// The stream of the table.
    pub(super) fn output_stream(&self) -> String {
        format!("Microsoft-{}", self.table.name())
    }

    /// The columns that are added to the table.
    pub(super) fn extras(&self) -> Vec<(&str, ColumnType)> {
        let extras = [
            (self.original_time.as_str(), ColumnType::Datetime),
            (self.event_key.as_str(), ColumnType::String),
            (self.client.as_str(), ColumnType::String),
        ];
        extras.into_iter().filter(|(name, _)| !name.is_empty()).collect()
    }

    /// Every column of the declaration.
    pub(super) fn declared(&self) -> Vec<(&str, ColumnType)> {
        self.columns.iter().map(|column| (column.name, column.kind)).chain(self.extras()).collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        let declared = self.declared();
        ensure!(
            declared.len() <= COLUMNS_MAX,
            "{} columns for {} are more than the {COLUMNS_MAX} that a table takes",
            declared.len(),
            self.name
        );
        for (at, (name, _)) in declared.iter().enumerate() {
            ensure!(
                is_column(name),
                "{name:?} is no name of a column: a letter, then at most 44 letters, digits and '_'"
            );
            ensure!(
                !declared[..at].iter().any(|(other, _)| other == name),
                "{}: the column {name} stands there twice",
                self.name
            );
        }
        for (name, _) in self.extras() {
            ensure!(
                name.ends_with(CUSTOM_SUFFIX),
                "the column {name} is added to a table of Microsoft's: its name must end with {CUSTOM_SUFFIX}"
            );
        }
        Ok(())
    }
}

impl Plan {
    /// Checks everything that goes into commands and templates.
    pub(super) fn new(wanted: Wanted) -> anyhow::Result<Self> {
        let Wanted { name, location, workspace, resource_group, principal, cloud, endpoint, identity, streams } =
            wanted;
        check_name("--name", &name, 64, "-_.")?;
        if let Some(location) = &location {
            check_name("--location", location, 64, "")?;
        }
        let workspace = workspace.as_deref().map(Workspace::read).transpose()?;
        let of_workspace = || workspace.as_ref().and_then(|workspace| workspace.resource_group.clone());
        let resource_group = resource_group.or_else(of_workspace);
        if let Some(group) = &resource_group {
            check_name("--resource-group", group, 90, "-_.()")?;
        }
        if let Some(principal) = &principal {
            ensure!(
                is_guid(principal),
                "--principal-id: {principal:?} is no object id, such as 11111111-2222-3333-4444-555555555555"
            );
        }
        let mut names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("the stream {} is for two tables; give each output a stream of its own", twice[0]);
        }
        Ok(Self { name, location, workspace, resource_group, principal, cloud, endpoint, identity, streams })
    }

    /// Whether the workspace is known to be in another resource group than the rule: a template then cannot add columns.
    pub(super) fn workspace_is_elsewhere(&self) -> bool {
        let of_workspace = self.workspace.as_ref().and_then(|workspace| workspace.resource_group.as_deref());
        match (of_workspace, &self.resource_group) {
            (Some(theirs), Some(ours)) => !theirs.eq_ignore_ascii_case(ours),
            _ => false,
        }
    }
}

impl Workspace {
    fn read(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.trim_start_matches('/').split('/').collect();
        let (id, resource_group, name) = match *parts {
            [name] => (None, None, name),
            [subscriptions, subscription, groups, group, providers, provider, workspaces, name]
                if subscriptions.eq_ignore_ascii_case("subscriptions")
                    && is_guid(subscription)
                    && groups.eq_ignore_ascii_case("resourceGroups")
                    && providers.eq_ignore_ascii_case("providers")
                    && provider.eq_ignore_ascii_case("Microsoft.OperationalInsights")
                    && workspaces.eq_ignore_ascii_case("workspaces") =>
            {
                check_name("--workspace: the resource group", group, 90, "-_.()")?;
                (Some(format!("/{}", parts.join("/"))), Some(group.to_owned()), name)
            }
            _ => bail!(
                "--workspace: {text:?} is neither a name nor a resource id \
                 (/subscriptions/…/resourceGroups/…/providers/Microsoft.OperationalInsights/workspaces/…)"
            ),
        };
        check_name("--workspace", name, 63, "-")?;
        Ok(Self { id, resource_group, name: name.to_owned() })
    }
}

fn is_reserved(name: &str) -> bool {
    name.starts_with('_') || RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name))
}

fn is_column(name: &str) -> bool {
    name.len() <= COLUMN_NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_guid(text: &str) -> bool {
    // Of this length only the form with dashes and without braces is.
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// Names go into scripts: nothing that a shell or a template could take for its own.
fn check_name(what: &str, name: &str, longest: usize, also: &str) -> anyhow::Result<()> {
    let fits = (1..=longest).contains(&name.len())
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    ensure!(fits, "{what}: {name:?} must be 1 to {longest} letters, digits and of {also:?}, and not begin with '-'");
    Ok(())
}
