//! The data types that agents send, and what is known of each: its stream, and which of its properties are columns under another
//! name.

use std::sync::Arc;

use super::config::Config;

/// The longest name of a data type.
const NAME_MAX: usize = 128;
/// What uploads of the agents' own diagnostics stand for, which name no data type.
pub const DIAGNOSTICS: &str = "DIAGNOSTICS";

/// Properties of an item, and the columns that they are in the type's table.
pub(super) type Columns = &'static [(&'static str, &'static str)];

/// One data type that is known.
struct Known {
    name: &'static str,
    stream: &'static str,
    columns: Columns,
}

/// As the syslog filter of the agent for Linux writes them.
const SYSLOG: Columns = &[
    ("ident", "ProcessName"),
    ("Host", "HostName"),
    ("Message", "SyslogMessage"),
    ("ProcessId", "ProcessID"),
    ("Severity", "SeverityLevel"),
];

const fn known(name: &'static str, stream: &'static str) -> Known {
    Known { name, stream, columns: &[] }
}

const ALL: &[Known] = &[
    Known { name: "LINUX_SYSLOGS_BLOB", stream: "Microsoft-Syslog", columns: SYSLOG },
    known("SECURITY_CEF_BLOB", "Microsoft-CommonSecurityLog"),
    known("SECURITY_CISCO_ASA_BLOB", "Microsoft-CommonSecurityLog"),
    known("LINUX_PERF_BLOB", "Microsoft-Perf"),
    known("HEALTH_ASSESSMENT_BLOB", "Microsoft-Heartbeat"),
    known("OPERATION_BLOB", "Microsoft-Operation"),
    known("LINUX_AUDITD_BLOB", "Microsoft-LinuxAuditLog"),
    known("CONFIG_CHANGE_BLOB", "Microsoft-ConfigurationChange"),
    known("LINUX_UPDATES_SNAPSHOT_BLOB", "Microsoft-Update"),
    known("PROTECTION_STATUS_BLOB", "Microsoft-ProtectionStatus"),
    known("SECURITY_BASELINE_BLOB", "Microsoft-SecurityBaseline"),
    known("INSIGHTS_METRICS_BLOB", "Microsoft-InsightsMetrics"),
    known("SECURITY_EVENT_BLOB", "Microsoft-SecurityEvent"),
    known("SECURITY_WEF_EVENT_BLOB", "Microsoft-WindowsEvent"),
    known("GENERIC_EVENT_BLOB", "Microsoft-Event"),
];

/// The data types of one listener.
#[derive(Debug)]
pub(super) struct Catalogue {
    listed: Vec<(String, Arc<str>)>,
    unknown: Option<Arc<str>>,
}

/// Where a data type goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) stream: Arc<str>,
    pub(super) columns: Columns,
}

/// Whether a text can be the name of a data type.
pub(super) fn is_data_type(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Catalogue {
    pub(super) fn new(config: &Config) -> Self {
        let listed = config.data_types.iter().map(|listed| (listed.name.clone(), listed.stream.as_str().into()));
        Self { listed: listed.collect(), unknown: config.unknown_stream.as_deref().map(Arc::from) }
    }

    /// Where a data type goes; `None` when nobody said so.
    pub(super) fn way(&self, name: &str) -> Option<Way> {
        let known = ALL.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        let columns = known.map_or(&[][..], |known| known.columns);
        let listed = self.listed.iter().find(|(listed, _)| listed.eq_ignore_ascii_case(name));
        let listed = listed.map(|(_, stream)| Arc::clone(stream));
        let stream = listed.or_else(|| known.map(|known| known.stream.into())).or_else(|| self.unknown.clone())?;
        Some(Way { stream, columns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::ods::config::DataType;

    #[test]
    fn each_data_type_has_its_stream_and_what_is_not_known_goes_where_the_configuration_says_or_nowhere() {
        let of = |config: &Config, name: &str| Catalogue::new(config).way(name).map(|way| way.stream.to_string());
        let plain = Config::default();
        assert_eq!(of(&plain, "linux_syslogs_BLOB").as_deref(), Some("Microsoft-Syslog"));
        assert_eq!(of(&plain, "GENERIC_EVENT_BLOB").as_deref(), Some("Microsoft-Event"));
        assert_eq!(of(&plain, "SOME_BLOB"), None);
        let data_types = vec![DataType { name: "linux_perf_blob".to_owned(), stream: "Custom-Perf".to_owned() }];
        let told = Config { data_types, unknown_stream: Some("Custom-Rest_CL".to_owned()), ..Config::default() };
        assert_eq!(of(&told, "LINUX_PERF_BLOB").as_deref(), Some("Custom-Perf"));
        assert_eq!(of(&told, "SOME_BLOB").as_deref(), Some("Custom-Rest_CL"));
        assert_eq!(of(&told, DIAGNOSTICS).as_deref(), Some("Custom-Rest_CL"));
    }

    #[test]
    fn names_are_letters_digits_and_underscores() {
        assert!(ALL.iter().all(|known| is_data_type(known.name)));
        for name in ["", "a-b", "a b", "Ä", &"x".repeat(NAME_MAX + 1)] {
            assert!(!is_data_type(name), "{name}");
        }
    }
}
