//! An event as a row of `SecurityEvent`.
//!
//! - What an event's data names goes into the column of the same name, untouched: `%%1842` stays a number of a message, `0xc80`
//!   stays hexadecimal, trailing blanks stay. Only columns of numbers hold numbers, and [`BARE_GUIDS`] lose their braces.
//! - Columns that agents compute (`Account`, `Activity`, `Process` and others) are computed as rows of Microsoft's agents show it.
//! - `EventData` is always there, so that nothing is lost and queries for data without a column find it.

use std::cell::RefCell;

use super::ColumnType;
use super::activities::{activity, first_sentence};
use super::convert::{Reading, Told, Tree};
use super::data_xml;
use super::event_key::computer_id;
use super::line::Line;
use super::system::{int, level_name, time_generated};
use super::tables::{DATA, data_column, data_columns};
use crate::event::document::Node;

/// Tells rows of this gateway from those of agents.
pub(super) const SOURCE_SYSTEM: &str = "Gatepost";

/// Data whose name differs from its column's.
///
/// - `FilePathBuffer`: AppLocker on Windows 11 names its buffers so; `FilePath` is the same thing on older systems.
const OTHER_NAMES: [(&str, &str); 1] = [("FilePathBuffer", "FilePath")];

/// Columns of GUIDs that rows of Microsoft's agents have without braces.
const BARE_GUIDS: [&str; 2] = ["LogonGuid", "TargetLogonGuid"];

/// Events in which the account that acts is the target: somebody logs on or off, or asks for a ticket. The subject, if there
/// is one, is the service that let them in.
const ACTING_TARGETS: [u32; 23] = [
    4624, 4625, 4626, 4627, 4634, 4647, 4648, 4649, 4675, 4768, 4769, 4770, 4771, 4772, 4773, 4774, 4775, 4776, 4777,
    4800, 4801, 4802, 4803,
];

/// The names of logon types. Source: Microsoft's documentation of event 4624.
const LOGON_TYPES: [(i32, &str); 12] = [
    (0, "System"),
    (2, "Interactive"),
    (3, "Network"),
    (4, "Batch"),
    (5, "Service"),
    (7, "Unlock"),
    (8, "NetworkCleartext"),
    (9, "NewCredentials"),
    (10, "RemoteInteractive"),
    (11, "CachedInteractive"),
    (12, "CachedRemoteInteractive"),
    (13, "CachedUnlock"),
];

/// Accounts that are the machine itself. They are called so in rows of Microsoft's agents, on systems in English.
const MACHINE_SIDS: [(&str, &str); 3] = [
    ("S-1-5-18", r"NT AUTHORITY\SYSTEM"),
    ("S-1-5-19", r"NT AUTHORITY\LOCAL SERVICE"),
    ("S-1-5-20", r"NT AUTHORITY\NETWORK SERVICE"),
];

/// Writes the columns of the table.
pub(super) fn write(reading: &Reading<'_>, line: &mut Line<'_>) {
    let data = Data::of(reading);
    system_columns(reading, line);
    computed_columns(reading, &data, line);
    for (column, value) in data_columns().iter().zip(data.0) {
        match (column.kind, value) {
            (_, None) => {}
            (ColumnType::Int, Some(value)) => line.int(column.name, int(value)),
            (_, Some(value)) if BARE_GUIDS.contains(&column.name) => line.text(column.name, without_braces(value)),
            (_, Some(value)) => line.text(column.name, value),
        }
    }
    data_xml::write(reading, line);
}

fn system_columns(reading: &Reading<'_>, line: &mut Line<'_>) {
    let (fields, system) = (&reading.event.fields, &reading.system);
    let (computer, channel) =
        (fields.computer.as_deref().unwrap_or_default(), fields.channel.as_deref().unwrap_or_default());
    line.text("TimeGenerated", &time_generated(fields));
    line.text("Computer", computer);
    line.text("Channel", channel);
    line.text("EventSourceName", fields.provider.as_deref().unwrap_or_default());
    line.int("EventID", fields.event_id);
    if let Some(id) = fields.event_id {
        let title = activity(channel, id).unwrap_or_else(|| first_sentence(reading.message()));
        if !title.is_empty() {
            line.text("Activity", &format!("{id} - {title}"));
        }
    }
    line.text("Level", &fields.level.map(|level| level.to_string()).unwrap_or_default());
    line.text("EventLevelName", level_name(fields.level));
    line.int("Task", int(system.task));
    line.text("Opcode", system.opcode);
    line.text("Keywords", &system.keywords);
    line.int("Version", int(system.version));
    line.text("EventRecordId", &fields.record_id.map(|id| id.to_string()).unwrap_or_default());
    line.int("SystemProcessId", int(system.process_id));
    line.int("SystemThreadId", int(system.thread_id));
    line.text("SystemUserId", system.user_id);
    line.text("Correlation", system.activity_id);
    if !computer.is_empty() {
        with_computer_id(computer, |id| line.text("SourceComputerId", id));
    }
    line.text("SourceSystem", SOURCE_SYSTEM);
}

/// Hands out the identifier of a computer, which is made once for as long as events of the same one follow.
fn with_computer_id(computer: &str, take: impl FnOnce(&str)) {
    thread_local! {
        static LAST: RefCell<(String, String)> = RefCell::default();
    }
    LAST.with_borrow_mut(|(last, id)| {
        if last != computer {
            // In this order: whatever fails, no name gets the identifier of another.
            last.clear();
            *id = computer_id(computer);
            computer.clone_into(last);
        }
        take(id);
    });
}

fn computed_columns(reading: &Reading<'_>, data: &Data<'_>, line: &mut Line<'_>) {
    let subject = Account::of(data, "SubjectUserName", "SubjectDomainName", &["SubjectUserSid"]);
    let target = Account::of(data, "TargetUserName", "TargetDomainName", &["TargetUserSid", "TargetSid"]);
    let named = Account::of(data, "AccountName", "AccountDomain", &[]);
    let acts = reading.event.fields.event_id.is_some_and(|id| ACTING_TARGETS.contains(&id));
    let [first, second] = if acts { [&target, &subject] } else { [&subject, &target] };
    let real = |account: &&Option<Account<'_>>| account.as_ref().is_some_and(|account| account.name != "-");
    match [first, second, &named].into_iter().find(real) {
        Some(Some(account)) => {
            line.text("Account", &account.to_string());
            line.text("AccountType", account.kind());
        }
        _ => {
            let sid = reading.system.user_id;
            let machine = MACHINE_SIDS.iter().find(|(known, _)| *known == sid);
            line.text("Account", machine.map_or(sid, |(_, name)| name));
            line.text("AccountType", kind_of_sid(sid));
        }
    }
    line.text("SubjectAccount", &subject.map(|account| account.to_string()).unwrap_or_default());
    line.text("TargetAccount", &target.map(|account| account.to_string()).unwrap_or_default());
    let logon_type = data.get("LogonType").and_then(int);
    if let Some((number, name)) = LOGON_TYPES.iter().find(|(number, _)| Some(*number) == logon_type) {
        line.text("LogonTypeName", &format!("{number} - {name}"));
    }
    // A new process is what its event is about; AppLocker tells of files that were to be processes.
    let path = ["NewProcessName", "ProcessName", "FilePath"].iter().find_map(|name| data.get(name)).unwrap_or_default();
    line.text("Process", path.rsplit(['\\', '/']).next().unwrap_or_default());
}

/// An account that an event names.
struct Account<'d> {
    name: &'d str,
    domain: Option<&'d str>,
    sid: &'d str,
}

impl<'d> Account<'d> {
    fn of(data: &Data<'d>, name: &str, domain: &str, sids: &[&str]) -> Option<Self> {
        let name = data.get(name).filter(|name| !name.is_empty())?;
        let sid = sids.iter().find_map(|sid| data.get(sid)).unwrap_or_default();
        Some(Self { name, domain: data.get(domain), sid })
    }

    /// Whether a machine or a person; empty when the event does not tell.
    fn kind(&self) -> &'static str {
        // Kerberos names accounts with their realm.
        let name = self.name.split_once('@').map_or(self.name, |(name, _)| name);
        if name.ends_with('$') { "Machine" } else { kind_of_sid(self.sid) }
    }
}

impl std::fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.domain {
            Some(domain) => write!(f, "{domain}\\{}", self.name),
            None => f.write_str(self.name),
        }
    }
}

fn kind_of_sid(sid: &str) -> &'static str {
    match sid {
        "" => "",
        _ if MACHINE_SIDS.iter().any(|(machine, _)| *machine == sid) => "Machine",
        _ => "User",
    }
}

fn without_braces(guid: &str) -> &str {
    guid.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(guid)
}

/// The values for the columns that are named like data; of data with one name the first.
struct Data<'d>([Option<&'d str>; DATA]);

impl<'d> Data<'d> {
    fn of(reading: &Reading<'d>) -> Self {
        let mut data = Self([None; DATA]);
        match reading.told {
            Told::Tree(tree) => tree.sections().for_each(|section| data.read(tree, section)),
            Told::Plain(all) => all.iter().for_each(|datum| data.take(datum.name, &datum.value)),
        }
        data
    }

    fn take(&mut self, name: &str, value: &'d str) {
        let name = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, column)| column);
        if let Some(column) = data_column(name) {
            self.0[column].get_or_insert(value);
        }
    }

    /// Named `Data`, and elements of data without such. Not deeper than a document is.
    fn read(&mut self, tree: Tree<'d>, section: Node) {
        let document = tree.document;
        for element in document.children(section).filter(|child| !document.is_text(*child)) {
            let name = document.name(element).unwrap_or_default();
            let name = if name == "Data" { tree.attribute(element, "Name").unwrap_or_default() } else { name };
            if document.children(element).any(|child| !document.is_text(child)) {
                self.read(tree, element);
            } else {
                self.take(name, document.value(element));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&'d str> {
        self.0[data_column(name)?]
    }
}
