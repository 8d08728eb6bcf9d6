//! The columns of the tables, with their types.
//!
//! Only columns that an event can fill stand here. What Azure or its agents make themselves (`TenantId`, `EventOriginId`,
//! `ManagementGroupName` and the like) is never in a row. Columns that rows of Microsoft's agents have but that are not
//! documented (`AccessList`, `ImpersonationLevel`) are left out too: a data collection rule that names a column which its
//! table may not have is refused. Their data stands in `EventData`.
//!
//! Source: Microsoft's table references of `WindowsEvent`, `SecurityEvent` and `Event`.

use std::sync::LazyLock;

use super::ColumnType::{Datetime, Dynamic, Int, String};
use super::{Column, ColumnType};

const fn column(name: &'static str, kind: ColumnType) -> Column {
    Column { name, kind }
}

pub(super) static WINDOWS_EVENT: [Column; 18] = [
    column("TimeGenerated", Datetime),
    column("Provider", String),
    column("Channel", String),
    column("Computer", String),
    column("EventID", Int),
    column("EventLevel", Int),
    column("EventLevelName", String),
    column("Task", Int),
    column("Opcode", String),
    column("Keywords", String),
    column("Version", Int),
    column("EventRecordId", String),
    column("SystemProcessId", Int),
    column("SystemThreadId", Int),
    column("SystemUserId", String),
    column("Correlation", String),
    column("EventData", Dynamic),
    column("RawEventData", String),
];

pub(super) static EVENT: [Column; 14] = [
    column("TimeGenerated", Datetime),
    column("Source", String),
    column("EventLog", String),
    column("EventID", Int),
    column("EventLevel", Int),
    column("EventLevelName", String),
    column("EventCategory", Int),
    column("Computer", String),
    column("UserName", String),
    column("RenderedDescription", String),
    column("Message", String),
    column("ParameterXml", String),
    column("EventData", String),
    column("SourceSystem", String),
];

/// Where the columns begin that are named like the data of events. They are sorted.
const FIRST_DATUM: usize = 25;

/// How many of them there are; `EventData` follows.
pub(super) const DATA: usize = 193;

pub(super) static SECURITY_EVENT: [Column; FIRST_DATUM + DATA + 1] = [
    column("TimeGenerated", Datetime),
    column("Computer", String),
    column("Channel", String),
    column("EventSourceName", String),
    column("EventID", Int),
    column("Activity", String),
    column("Level", String),
    column("EventLevelName", String),
    column("Task", Int),
    column("Opcode", String),
    column("Keywords", String),
    column("Version", Int),
    column("EventRecordId", String),
    column("SystemProcessId", Int),
    column("SystemThreadId", Int),
    column("SystemUserId", String),
    column("Correlation", String),
    column("SourceComputerId", String),
    column("SourceSystem", String),
    column("Account", String),
    column("AccountType", String),
    column("SubjectAccount", String),
    column("TargetAccount", String),
    column("LogonTypeName", String),
    column("Process", String),
    column("AccessMask", String),
    column("AccountDomain", String),
    column("AccountExpires", String),
    column("AccountName", String),
    column("AccountSessionIdentifier", String),
    column("AdditionalInfo", String),
    column("AdditionalInfo2", String),
    column("AllowedToDelegateTo", String),
    column("Attributes", String),
    column("AuditPolicyChanges", String),
    column("AuditsDiscarded", Int),
    column("AuthenticationLevel", Int),
    column("AuthenticationPackageName", String),
    column("AuthenticationProvider", String),
    column("AuthenticationServer", String),
    column("AuthenticationService", Int),
    column("AuthenticationType", String),
    column("CACertificateHash", String),
    column("CAPublicKeyHash", String),
    column("CalledStationID", String),
    column("CallerProcessId", String),
    column("CallerProcessName", String),
    column("CallingStationID", String),
    column("CategoryId", String),
    column("CertificateDatabaseHash", String),
    column("ClassId", String),
    column("ClassName", String),
    column("ClientAddress", String),
    column("ClientIPAddress", String),
    column("ClientName", String),
    column("CommandLine", String),
    column("CompatibleIds", String),
    column("DCDNSName", String),
    column("DeviceDescription", String),
    column("DeviceId", String),
    column("DisplayName", String),
    column("Disposition", String),
    column("DomainBehaviorVersion", String),
    column("DomainName", String),
    column("DomainPolicyChanged", String),
    column("DomainSid", String),
    column("EAPType", String),
    column("ElevatedToken", String),
    column("ErrorCode", Int),
    column("ExtendedQuarantineState", String),
    column("FailureReason", String),
    column("FileHash", String),
    column("FilePath", String),
    column("FilePathNoUser", String),
    column("Filter", String),
    column("ForceLogoff", String),
    column("Fqbn", String),
    column("FullyQualifiedSubjectMachineName", String),
    column("FullyQualifiedSubjectUserName", String),
    column("GroupMembership", String),
    column("HandleId", String),
    column("HardwareIds", String),
    column("HomeDirectory", String),
    column("HomePath", String),
    column("InterfaceUuid", String),
    column("IpAddress", String),
    column("IpPort", String),
    column("KeyLength", Int),
    column("LmPackageName", String),
    column("LocationInformation", String),
    column("LockoutDuration", String),
    column("LockoutObservationWindow", String),
    column("LockoutThreshold", String),
    column("LoggingResult", String),
    column("LogonGuid", String),
    column("LogonHours", String),
    column("LogonID", String),
    column("LogonProcessName", String),
    column("LogonType", Int),
    column("MachineAccountQuota", String),
    column("MachineInventory", String),
    column("MachineLogon", String),
    column("MandatoryLabel", String),
    column("MaxPasswordAge", String),
    column("MemberName", String),
    column("MemberSid", String),
    column("MinPasswordAge", String),
    column("MinPasswordLength", String),
    column("MixedDomainMode", String),
    column("NASIPv4Address", String),
    column("NASIPv6Address", String),
    column("NASIdentifier", String),
    column("NASPort", String),
    column("NASPortType", String),
    column("NetworkPolicyName", String),
    column("NewDate", String),
    column("NewMaxUsers", String),
    column("NewProcessId", String),
    column("NewProcessName", String),
    column("NewRemark", String),
    column("NewShareFlags", String),
    column("NewTime", String),
    column("NewUacValue", String),
    column("NewValue", String),
    column("NewValueType", String),
    column("ObjectName", String),
    column("ObjectServer", String),
    column("ObjectType", String),
    column("ObjectValueName", String),
    column("OemInformation", String),
    column("OldMaxUsers", String),
    column("OldRemark", String),
    column("OldShareFlags", String),
    column("OldUacValue", String),
    column("OldValue", String),
    column("OldValueType", String),
    column("OperationType", String),
    column("PackageName", String),
    column("ParentProcessName", String),
    column("PasswordHistoryLength", String),
    column("PasswordLastSet", String),
    column("PasswordProperties", String),
    column("PreviousDate", String),
    column("PreviousTime", String),
    column("PrimaryGroupId", String),
    column("PrivateKeyUsageCount", String),
    column("PrivilegeList", String),
    column("ProcessId", String),
    column("ProcessName", String),
    column("ProfilePath", String),
    column("Properties", String),
    column("ProtocolSequence", String),
    column("ProxyPolicyName", String),
    column("QuarantineHelpURL", String),
    column("QuarantineSessionID", String),
    column("QuarantineSessionIdentifier", String),
    column("QuarantineState", String),
    column("QuarantineSystemHealthResult", String),
    column("RelativeTargetName", String),
    column("RemoteIpAddress", String),
    column("RemotePort", String),
    column("RequestId", String),
    column("Requester", String),
    column("RestrictedAdminMode", String),
    column("RowsDeleted", String),
    column("SamAccountName", String),
    column("ScriptPath", String),
    column("SecurityDescriptor", String),
    column("ServiceAccount", String),
    column("ServiceFileName", String),
    column("ServiceName", String),
    column("ServiceStartType", Int),
    column("ServiceType", String),
    column("SessionName", String),
    column("ShareLocalPath", String),
    column("ShareName", String),
    column("SidHistory", String),
    column("Status", String),
    column("SubStatus", String),
    column("SubcategoryGuid", String),
    column("SubcategoryId", String),
    column("Subject", String),
    column("SubjectDomainName", String),
    column("SubjectKeyIdentifier", String),
    column("SubjectLogonId", String),
    column("SubjectMachineName", String),
    column("SubjectMachineSID", String),
    column("SubjectUserName", String),
    column("SubjectUserSid", String),
    column("TableId", String),
    column("TargetDomainName", String),
    column("TargetInfo", String),
    column("TargetLinkedLogonId", String),
    column("TargetLogonGuid", String),
    column("TargetLogonId", String),
    column("TargetOutboundDomainName", String),
    column("TargetOutboundUserName", String),
    column("TargetServerName", String),
    column("TargetSid", String),
    column("TargetUser", String),
    column("TargetUserName", String),
    column("TargetUserSid", String),
    column("TemplateContent", String),
    column("TemplateDSObjectFQDN", String),
    column("TemplateInternalName", String),
    column("TemplateOID", String),
    column("TemplateSchemaVersion", String),
    column("TemplateVersion", String),
    column("TokenElevationType", String),
    column("TransmittedServices", String),
    column("UserAccountControl", String),
    column("UserParameters", String),
    column("UserPrincipalName", String),
    column("UserWorkstations", String),
    column("VendorIds", String),
    column("VirtualAccount", String),
    column("Workstation", String),
    column("WorkstationName", String),
    column("EventData", String),
];

/// The columns of `SecurityEvent` that are named like the data of events.
pub(super) fn data_columns() -> &'static [Column] {
    &SECURITY_EVENT[FIRST_DATUM..FIRST_DATUM + DATA]
}

/// Which of [`data_columns`] has this name.
pub(super) fn data_column(name: &str) -> Option<usize> {
    let places = &*PLACES;
    let place = usize::from(places.columns[slot(name.as_bytes(), places.seed)]);
    data_columns().get(place).filter(|column| column.name == name).map(|_| place)
}

/// Slots for the names, in which no two meet.
struct Places {
    seed: u64,
    /// The place of the column whose name may be at this slot; [`NOBODY`] where there is none.
    columns: Box<[u8; SLOTS]>,
}

const SLOTS: usize = 1 << 13;
const NOBODY: u8 = u8::MAX;

/// Found by trying: one seed in ten lets every name have a slot of its own.
static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let found = (1..).find_map(|n: u64| Places::with(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    found.expect("one of so many seeds does")
});

impl Places {
    fn with(seed: u64) -> Option<Self> {
        let mut columns = Box::new([NOBODY; SLOTS]);
        for (place, column) in (0..NOBODY).zip(data_columns()) {
            let slot = &mut columns[slot(column.name.as_bytes(), seed)];
            if std::mem::replace(slot, place) != NOBODY {
                return None;
            }
        }
        Some(Self { seed, columns })
    }
}

/// The slot of a name. Its length, its beginning and its end tell the names of the table apart.
fn slot(name: &[u8], seed: u64) -> usize {
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word: u64, byte| word << 8 | u64::from(*byte));
    let ends = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => word(name),
    };
    let middle = name.get(name.len() / 2).map_or(0, |byte| u64::from(*byte));
    let mixed = (ends ^ middle.rotate_left(50) ^ name.len() as u64).wrapping_add(seed).wrapping_mul(seed | 1);
    ((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> (64 - SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_of_data_is_found_by_its_name_and_nothing_by_another() {
        assert!(DATA < usize::from(NOBODY) && data_columns().is_sorted_by_key(|column| column.name));
        for (place, column) in data_columns().iter().enumerate() {
            assert_eq!(data_column(column.name), Some(place), "{}", column.name);
            for other in [format!("{}x", column.name), column.name[1..].to_owned(), column.name.to_lowercase()] {
                assert_eq!(data_column(&other), data_columns().iter().position(|known| known.name == other), "{other}");
            }
        }
        assert_eq!(data_column(""), None);
    }
}
