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
use crate::event::lookup::Lookup;

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
    static PLACES: LazyLock<Lookup> = LazyLock::new(|| Lookup::new(data_columns().iter().map(|column| column.name)));
    PLACES.find(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_column_has_a_name_that_json_would_escape() {
        for column in [&WINDOWS_EVENT[..], &SECURITY_EVENT, &EVENT].concat() {
            assert!(column.name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", column.name);
        }
    }

    #[test]
    fn each_column_of_data_is_found_by_its_name_and_nothing_by_another() {
        assert!(data_columns().is_sorted_by_key(|column| column.name));
        for (place, column) in data_columns().iter().enumerate() {
            assert_eq!(data_column(column.name), Some(place), "{}", column.name);
            for other in [format!("{}x", column.name), column.name[1..].to_owned(), column.name.to_lowercase()] {
                assert_eq!(data_column(&other), data_columns().iter().position(|known| known.name == other), "{other}");
            }
        }
        assert_eq!(data_column(""), None);
    }
}
