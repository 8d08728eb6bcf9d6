//! What the keys of each shape mean, and which counts more than which.
//!
//! The nested `System` ranks highest: it is Windows' own. Then come names that only one agent uses for nothing else, and
//! last the general ones, such as `@timestamp`, which agents also use for the time of reading.

use std::sync::LazyLock;

use crate::event::lookup::Lookup;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::event) enum Field {
    Computer,
    Channel,
    Provider,
    EventId,
    RecordId,
    Time,
    Level,
}

use Field::{Channel, Computer, EventId, Level, Provider, RecordId, Time};

/// What the keys of an object mean.
#[derive(Debug, Clone, Copy)]
pub(in crate::event) enum Place {
    /// Nothing to us.
    Elsewhere,
    /// The record itself, or the `body` that OpenTelemetry wraps it in.
    Root,
    /// `Event` of the nested shape.
    Event,
    /// `System` of the nested shape.
    System,
    /// Winlogbeat's `winlog`.
    Winlog,
    /// Elastic's `event`.
    EcsEvent,
    /// Elastic's `log`.
    EcsLog,
    /// A value that is an object because it has attributes: `{"#text": 4624}`, `{"Name": ..}`, `{"#attributes": ..}`.
    Inside(Field, u8),
}

/// What a key in a place leads to.
#[derive(Debug, Clone, Copy)]
pub(in crate::event) enum Target {
    Value(Field, u8),
    Object(Place),
    /// An object of the nested shape.
    System,
    /// An OpenTelemetry body.
    Body,
    /// Ticks of Windows' clock.
    RawTime(u8),
    Nothing,
}

pub(in crate::event) fn target(place: Place, key: &str) -> Target {
    let (field, rank) = match place {
        Place::Elsewhere => return Target::Nothing,
        Place::Root => return root_target(key),
        Place::Event => return if key == "System" { Target::System } else { Target::Nothing },
        Place::System => match key {
            "Computer" => (Computer, 9),
            "Channel" => (Channel, 9),
            "EventID" => (EventId, 9),
            "EventRecordID" => (RecordId, 9),
            "Level" => (Level, 9),
            "Provider" => (Provider, 9),
            "TimeCreated" => (Time, 9),
            "Provider_attributes" => return Target::Object(Place::Inside(Provider, 9)),
            "TimeCreated_attributes" => return Target::Object(Place::Inside(Time, 9)),
            _ => return Target::Nothing,
        },
        Place::Winlog => match key {
            "computer_name" => (Computer, 8),
            "channel" => (Channel, 8),
            "event_id" => (EventId, 8),
            "record_id" => (RecordId, 8),
            "provider_name" => (Provider, 8),
            "time_created" => (Time, 8),
            _ => return Target::Nothing,
        },
        Place::EcsEvent => match key {
            "code" => (EventId, 2),
            _ => return Target::Nothing,
        },
        Place::EcsLog => match key {
            "level" => (Level, 2),
            _ => return Target::Nothing,
        },
        Place::Inside(field, rank) => match (key, field) {
            ("#attributes" | "_attributes" | "@attributes" | "attributes" | "$", _) => {
                return Target::Object(Place::Inside(field, rank));
            }
            ("Name" | "@Name" | "_Name" | "name", Provider) => (field, rank),
            ("SystemTime" | "@SystemTime" | "_SystemTime", Time) => (field, rank),
            // PowerShell's own objects around a .NET time.
            ("value", Time) => (field, rank),
            ("RawTime" | "@RawTime" | "_RawTime", Time) => return Target::RawTime(rank.saturating_sub(1)),
            ("id", EventId) => (field, rank),
            ("#text" | "_text" | "text" | "_" | "$t", Computer | Channel | EventId | RecordId | Level) => (field, rank),
            _ => return Target::Nothing,
        },
    };
    Target::Value(field, rank)
}

const fn value(field: Field, rank: u8) -> Target {
    Target::Value(field, rank)
}

/// The flat shapes: table rows, winevtlog, Vector, OpenTelemetry, Winlogbeat with dotted keys, PowerShell, NXLog.
static ROOT: [(&str, Target); 50] = [
    ("Event", Target::Object(Place::Event)),
    ("System", Target::System),
    ("body", Target::Body),
    ("winlog", Target::Object(Place::Winlog)),
    ("event", Target::Object(Place::EcsEvent)),
    ("log", Target::Object(Place::EcsLog)),
    ("winlog.computer_name", value(Computer, 8)),
    ("Computer", value(Computer, 6)),
    ("computer", value(Computer, 5)),
    ("ComputerName", value(Computer, 4)),
    ("MachineName", value(Computer, 3)),
    ("Hostname", value(Computer, 2)),
    ("winlog.channel", value(Channel, 8)),
    ("Channel", value(Channel, 6)),
    ("channel", value(Channel, 5)),
    ("LogName", value(Channel, 4)),
    ("EventLog", value(Channel, 3)),
    ("winlog.provider_name", value(Provider, 8)),
    ("ProviderName", value(Provider, 7)),
    ("Provider", value(Provider, 6)),
    ("provider", value(Provider, 5)),
    ("provider_name", value(Provider, 4)),
    ("EventSourceName", value(Provider, 3)),
    ("SourceName", value(Provider, 2)),
    ("winlog.event_id", value(EventId, 8)),
    ("EventID", value(EventId, 7)),
    ("EventId", value(EventId, 6)),
    ("event_id", value(EventId, 5)),
    ("event.code", value(EventId, 3)),
    ("Id", value(EventId, 1)),
    ("winlog.record_id", value(RecordId, 8)),
    ("EventRecordID", value(RecordId, 7)),
    ("EventRecordId", value(RecordId, 6)),
    ("RecordID", value(RecordId, 5)),
    ("RecordId", value(RecordId, 4)),
    ("record_id", value(RecordId, 3)),
    ("RecordNumber", value(RecordId, 2)),
    ("winlog.time_created", value(Time, 8)),
    ("TimeCreated", value(Time, 7)),
    ("TimeGenerated", value(Time, 6)),
    ("system_time", value(Time, 5)),
    ("EventTime", value(Time, 4)),
    ("timestamp", value(Time, 3)),
    ("@timestamp", value(Time, 2)),
    ("EventLevel", value(Level, 7)),
    ("Level", value(Level, 6)),
    ("level_value", value(Level, 5)),
    ("LevelValue", value(Level, 4)),
    ("level", value(Level, 3)),
    ("log.level", value(Level, 2)),
];

/// Every member of every record is looked up.
fn root_target(key: &str) -> Target {
    static PLACES: LazyLock<Lookup> = LazyLock::new(|| Lookup::new(ROOT.iter().map(|(key, _)| *key)));
    PLACES.find(key).map_or(Target::Nothing, |place| ROOT[place].1)
}

/// The level that Windows shows as this word.
pub(in crate::event) fn level_of_word(word: &str) -> Option<u8> {
    const WORDS: [(&str, u8); 7] = [
        ("LogAlways", 0),
        ("Critical", 1),
        ("Error", 2),
        ("Warning", 3),
        ("Information", 4),
        ("Informational", 4),
        ("Verbose", 5),
    ];
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}
