//! The names that Windows' event schema knows, by the place where they stand.
//!
//! Only what the schema fixes is here: below `EventData` and `UserData`, providers write what they like.

use super::super::ast::Axis;
use super::super::parse::shortened;

/// Where in an event a path has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the event.
    Log,
    /// At the event.
    Event,
    /// At `System`.
    System,
    /// At an element of `System`: an index into [`FIELDS`].
    Field(usize),
    /// At `EventData`.
    EventData,
    /// At a `Data`.
    Data,
    /// At `UserData`.
    UserData,
    /// At an attribute or a text.
    Text,
    /// Somewhere that no schema describes.
    Open,
}

const EVENT: [&str; 7] =
    ["System", "EventData", "UserData", "RenderingInfo", "DebugData", "ProcessingErrorData", "BinaryEventData"];

/// The elements of `System` with their attributes.
const FIELDS: [(&str, &[&str]); 14] = [
    ("Provider", &["Name", "Guid", "EventSourceName"]),
    ("EventID", &["Qualifiers"]),
    ("Version", &[]),
    ("Level", &[]),
    ("Task", &[]),
    ("Opcode", &[]),
    ("Keywords", &[]),
    ("TimeCreated", &["SystemTime", "RawTime"]),
    ("EventRecordID", &[]),
    ("Correlation", &["ActivityID", "RelatedActivityID"]),
    ("Execution", &["ProcessID", "ThreadID", "ProcessorID", "SessionID", "KernelTime", "UserTime", "ProcessorTime"]),
    ("Channel", &[]),
    ("Computer", &[]),
    ("Security", &["UserID"]),
];

impl Place {
    /// Whether there are elements inside for certain, so that it is no leaf.
    pub(super) fn holds_elements(self) -> bool {
        matches!(self, Self::Event | Self::System | Self::EventData | Self::UserData)
    }

    /// Where `*` leads to.
    pub(super) fn any_child(self) -> Self {
        match self {
            Self::Log => Self::Event,
            _ => Self::Open,
        }
    }

    /// Where a name leads to, and why nothing is there.
    pub(super) fn enter(self, axis: Axis, name: &str) -> (Self, Option<String>) {
        match (self, axis) {
            (Self::Log, _) => (Self::Event, None),
            (Self::Open, _) => (Self::Open, None),
            (Self::Text, _) => (Self::Open, Some(never(axis, name, "nothing is inside an attribute or a text"))),
            (Self::Event, Axis::Child) => event_part(name),
            (Self::System, Axis::Child) => field(name),
            (Self::Event | Self::System, Axis::Attribute) => {
                (Self::Text, Some(never(axis, name, "the event and its System have no attributes")))
            }
            (Self::Field(n), Axis::Attribute) => {
                let (element, known) = FIELDS[n];
                let problem = (!known.contains(&name)).then(|| match spelled(known, name) {
                    Some(right) => misspelled(axis, name, right),
                    None if known.is_empty() => never(axis, name, &format!("`{element}` has no attributes")),
                    None => never(axis, name, &format!("`{element}` has only @{}", known.join(", @"))),
                });
                (Self::Text, problem)
            }
            (Self::Field(n), Axis::Child) => {
                (Self::Open, Some(never(axis, name, &format!("`{}` holds no elements", FIELDS[n].0))))
            }
            (Self::EventData, Axis::Child) => event_data(name),
            (Self::EventData | Self::Data, Axis::Attribute) => {
                let problem =
                    (name != "Name" && name.eq_ignore_ascii_case("Name")).then(|| misspelled(axis, name, "Name"));
                (Self::Text, problem)
            }
            (Self::UserData | Self::Data, Axis::Child) | (Self::UserData, Axis::Attribute) => (Self::Open, None),
        }
    }
}

fn event_part(name: &str) -> (Place, Option<String>) {
    let known = spelled(&EVENT, name);
    let place = match known {
        Some("System") => Place::System,
        Some("EventData") => Place::EventData,
        Some("UserData") => Place::UserData,
        _ => Place::Open,
    };
    let problem = match known {
        Some(right) if right == name => None,
        Some(right) => Some(misspelled(Axis::Child, name, right)),
        None => Some(match (field_named(name), name) {
            (Some(n), _) => never(Axis::Child, name, &format!("write `System/{}`", FIELDS[n].0)),
            (None, "Data") => never(Axis::Child, name, "write `EventData/Data`"),
            _ => never(Axis::Child, name, &format!("an event holds only {}", EVENT.join(", "))),
        }),
    };
    (place, problem)
}

fn field(name: &str) -> (Place, Option<String>) {
    match field_named(name) {
        Some(n) if FIELDS[n].0 == name => (Place::Field(n), None),
        Some(n) => (Place::Field(n), Some(misspelled(Axis::Child, name, FIELDS[n].0))),
        None if name == "Data" => {
            (Place::Open, Some(never(Axis::Child, name, "`System` holds none; write it below `EventData`")))
        }
        None => {
            let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            (Place::Open, Some(never(Axis::Child, name, &format!("`System` holds only {}", known.join(", ")))))
        }
    }
}

fn event_data(name: &str) -> (Place, Option<String>) {
    match spelled(&["Data", "Binary", "ComplexData"], name) {
        Some(right) => {
            let place = if right == "Data" { Place::Data } else { Place::Open };
            (place, (right != name).then(|| misspelled(Axis::Child, name, right)))
        }
        None => (Place::Open, None),
    }
}

fn field_named(name: &str) -> Option<usize> {
    FIELDS.iter().position(|(known, _)| known.eq_ignore_ascii_case(name))
}

fn spelled<'k>(known: &[&'k str], name: &str) -> Option<&'k str> {
    known.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
}

fn misspelled(axis: Axis, name: &str, right: &str) -> String {
    let sign = sign(axis);
    format!("`{sign}{name}` never matches, as names are case-sensitive; write `{sign}{right}`")
}

fn never(axis: Axis, name: &str, why: &str) -> String {
    format!("`{}{}` never matches here: {why}", sign(axis), shortened(name))
}

fn sign(axis: Axis) -> &'static str {
    if axis == Axis::Attribute { "@" } else { "" }
}
