//! The kinds of events that a simulated host writes, with their fields.
//!
//! Names, order and habits of the fields follow Microsoft's documentation of each event. Values are invented.

use std::borrow::Cow;

use fastrand::Rng;

use super::events::Datum;

/// One kind of event: the constant part of its `System`, and a maker of its fields.
pub(super) struct Template {
    pub(super) id: u32,
    pub(super) version: u8,
    pub(super) level: u8,
    pub(super) task: u16,
    pub(super) opcode: u8,
    pub(super) keywords: u64,
    pub(super) channel: &'static str,
    pub(super) provider: &'static Provider,
    /// What SecurityEvent calls `Activity`.
    pub(super) activity: &'static str,
    /// The element inside `UserData` and its namespace, for the few that have no `EventData`.
    pub(super) user_data: Option<(&'static str, &'static str)>,
    pub(super) data: fn(&mut Rng, &str) -> Vec<Datum>,
    weight: u32,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.channel, self.id)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        (self.channel, self.id) == (other.channel, other.id)
    }
}

/// Who writes an event.
pub(super) struct Provider {
    pub(super) name: &'static str,
    pub(super) guid: &'static str,
}

static AUDITING: Provider =
    Provider { name: "Microsoft-Windows-Security-Auditing", guid: "54849625-5478-4994-a5ba-3e3b0328c30d" };
static EVENTLOG: Provider =
    Provider { name: "Microsoft-Windows-Eventlog", guid: "fc65ddd8-d6ef-4962-83d5-6e5cfe9ce148" };
static SERVICES: Provider = Provider { name: "Service Control Manager", guid: "555908d1-a6d7-4695-8e1e-26931d2012f4" };

const SUCCESS: u64 = 0x8020_0000_0000_0000;
const FAILURE: u64 = 0x8010_0000_0000_0000;

const fn audit(
    weight: u32,
    (id, version): (u32, u8),
    task: u16,
    keywords: u64,
    activity: &'static str,
    data: fn(&mut Rng, &str) -> Vec<Datum>,
) -> Template {
    Template {
        id,
        version,
        level: 0,
        task,
        opcode: 0,
        keywords,
        channel: "Security",
        provider: &AUDITING,
        activity,
        user_data: None,
        data,
        weight,
    }
}

/// Weights as a member server with object and filtering-platform auditing writes them; they add up to 1000.
static SECURITY: [Template; 11] = [
    audit(230, (5156, 1), 12810, SUCCESS, "The Windows Filtering Platform has permitted a connection.", connection),
    audit(170, (4634, 0), 12545, SUCCESS, "An account was logged off.", logoff),
    audit(150, (4663, 1), 12800, SUCCESS, "An attempt was made to access an object.", object_access),
    audit(130, (4624, 2), 12544, SUCCESS, "An account was successfully logged on.", logon),
    audit(110, (4688, 2), 13312, SUCCESS, "A new process has been created.", process_creation),
    audit(90, (4672, 0), 12548, SUCCESS, "Special privileges assigned to new logon.", privileges),
    audit(49, (4768, 0), 14339, SUCCESS, "A Kerberos authentication ticket (TGT) was requested.", ticket),
    audit(40, (4625, 0), 12544, FAILURE, "An account failed to log on.", failed_logon),
    audit(20, (4697, 0), 12289, SUCCESS, "A service was installed in the system.", service_install),
    audit(10, (4720, 0), 13824, SUCCESS, "A user account was created.", account_created),
    Template {
        id: 1102,
        version: 0,
        level: 4,
        task: 104,
        opcode: 0,
        keywords: 0x4020_0000_0000_0000,
        channel: "Security",
        provider: &EVENTLOG,
        activity: "The audit log was cleared.",
        user_data: Some(("LogFileCleared", "http://manifests.microsoft.com/win/2004/08/windows/eventlog")),
        data: log_cleared,
        weight: 1,
    },
];

static SYSTEM: [Template; 1] = [Template {
    id: 7036,
    version: 0,
    level: 4,
    task: 0,
    opcode: 0,
    keywords: 0x8080_0000_0000_0000,
    channel: "System",
    provider: &SERVICES,
    activity: "",
    user_data: None,
    data: service_state,
    weight: 1000,
}];

/// A kind of event by weight, from the System channel or from Security.
pub(super) fn pick(rng: &mut Rng, system: bool) -> &'static Template {
    let templates: &'static [Template] = if system { &SYSTEM } else { &SECURITY };
    let mut left = rng.u32(0..1000);
    for template in templates {
        if left < template.weight {
            return template;
        }
        left -= template.weight;
    }
    &templates[0]
}

const USERS: [&str; 8] = ["a.okafor", "b.lindqvist", "svc-backup", "c.moreau", "d.tanaka", "svc-sql", "e.novak", "Zoë"];
const DOMAIN: &str = "PLANT";
const SYSTEM_SID: &str = "S-1-5-18";
const PROCESSES: [&str; 6] = [
    r"C:\Windows\System32\svchost.exe",
    r"C:\Windows\System32\cmd.exe",
    r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
    r"C:\Program Files\Historian\collector.exe",
    r"C:\Windows\System32\lsass.exe",
    r"C:\Program Files (x86)\Backup & Restore\agent.exe",
];
const COMMANDS: [&str; 5] = [
    r"C:\Windows\System32\svchost.exe -k netsvcs -p -s Schedule",
    r#"cmd.exe /c "dir D:\export > C:\Temp\list.txt 2>&1""#,
    r#"powershell.exe -NoProfile -Command "Get-Service | Where-Object { $_.Status -ne 'Running' }""#,
    r#""C:\Program Files\Historian\collector.exe" --site 4 --interval 30"#,
    r"wmic process list brief",
];

fn fixed(text: &'static str) -> Cow<'static, str> {
    Cow::Borrowed(text)
}

fn one_of(rng: &mut Rng, choices: &[&'static str]) -> Cow<'static, str> {
    Cow::Borrowed(choices[rng.usize(..choices.len())])
}

fn hex(n: u64) -> Cow<'static, str> {
    Cow::Owned(format!("{n:#x}"))
}

fn user_sid(rng: &mut Rng) -> Cow<'static, str> {
    Cow::Owned(format!("S-1-5-21-3457937927-2839227994-823803824-{}", rng.u32(1_100..1_900)))
}

fn address(rng: &mut Rng) -> Cow<'static, str> {
    Cow::Owned(format!("10.20.{}.{}", rng.u8(0..8), rng.u8(1..255)))
}

fn port(rng: &mut Rng) -> Cow<'static, str> {
    Cow::Owned(rng.u16(49_152..).to_string())
}

fn logon_id(rng: &mut Rng) -> Cow<'static, str> {
    hex(rng.u64(0x10_000..0xfff_ffff))
}

fn machine_account(computer: &str) -> Cow<'static, str> {
    let short = computer.split('.').next().unwrap_or(computer);
    Cow::Owned(format!("{}$", short.to_uppercase()))
}

fn short_name(computer: &str) -> Cow<'static, str> {
    Cow::Owned(computer.split('.').next().unwrap_or(computer).to_uppercase())
}

fn braced_guid(n: u128) -> Cow<'static, str> {
    Cow::Owned(super::render::guid(n))
}

fn subject(rng: &mut Rng) -> [Datum; 4] {
    [
        ("SubjectUserSid", user_sid(rng)),
        ("SubjectUserName", one_of(rng, &USERS)),
        ("SubjectDomainName", fixed(DOMAIN)),
        ("SubjectLogonId", logon_id(rng)),
    ]
}

fn machine_subject(computer: &str) -> [Datum; 4] {
    [
        ("SubjectUserSid", fixed(SYSTEM_SID)),
        ("SubjectUserName", machine_account(computer)),
        ("SubjectDomainName", fixed(DOMAIN)),
        ("SubjectLogonId", fixed("0x3e7")),
    ]
}

fn logon(rng: &mut Rng, computer: &str) -> Vec<Datum> {
    let mut data = Vec::from(machine_subject(computer));
    data.extend([
        ("TargetUserSid", user_sid(rng)),
        ("TargetUserName", one_of(rng, &USERS)),
        ("TargetDomainName", fixed(DOMAIN)),
        ("TargetLogonId", logon_id(rng)),
        ("LogonType", one_of(rng, &["2", "3", "3", "3", "5", "7", "10"])),
        ("LogonProcessName", fixed("Kerberos")),
        ("AuthenticationPackageName", fixed("Kerberos")),
        ("WorkstationName", fixed("-")),
        ("LogonGuid", braced_guid(rng.u128(..))),
        ("TransmittedServices", fixed("-")),
        ("LmPackageName", fixed("-")),
        ("KeyLength", fixed("0")),
        ("ProcessId", fixed("0x2c8")),
        ("ProcessName", fixed(PROCESSES[4])),
        ("IpAddress", address(rng)),
        ("IpPort", port(rng)),
        ("ImpersonationLevel", fixed("%%1833")),
        ("RestrictedAdminMode", fixed("-")),
        ("TargetOutboundUserName", fixed("-")),
        ("TargetOutboundDomainName", fixed("-")),
        ("VirtualAccount", fixed("%%1843")),
        ("TargetLinkedLogonId", fixed("0x0")),
        ("ElevatedToken", one_of(rng, &["%%1842", "%%1843"])),
    ]);
    data
}

fn failed_logon(rng: &mut Rng, computer: &str) -> Vec<Datum> {
    let mut data = Vec::from(machine_subject(computer));
    data.extend([
        ("TargetUserSid", fixed("S-1-0-0")),
        ("TargetUserName", one_of(rng, &["administrator", "admin", "root", "operator", "Zoë"])),
        ("TargetDomainName", short_name(computer)),
        ("Status", fixed("0xc000006d")),
        ("FailureReason", one_of(rng, &["%%2313", "%%2304"])),
        ("SubStatus", one_of(rng, &["0xc000006a", "0xc0000064"])),
        ("LogonType", one_of(rng, &["3", "10"])),
        ("LogonProcessName", fixed("NtLmSsp ")),
        ("AuthenticationPackageName", fixed("NTLM")),
        ("WorkstationName", short_name(computer)),
        ("TransmittedServices", fixed("-")),
        ("LmPackageName", fixed("-")),
        ("KeyLength", fixed("0")),
        ("ProcessId", fixed("0x0")),
        ("ProcessName", fixed("-")),
        ("IpAddress", address(rng)),
        ("IpPort", port(rng)),
    ]);
    data
}

fn logoff(rng: &mut Rng, _: &str) -> Vec<Datum> {
    vec![
        ("TargetUserSid", user_sid(rng)),
        ("TargetUserName", one_of(rng, &USERS)),
        ("TargetDomainName", fixed(DOMAIN)),
        ("TargetLogonId", logon_id(rng)),
        ("LogonType", one_of(rng, &["2", "3", "5", "10"])),
    ]
}

fn process_creation(rng: &mut Rng, computer: &str) -> Vec<Datum> {
    let mut data = Vec::from(machine_subject(computer));
    data.extend([
        ("NewProcessId", hex(u64::from(rng.u16(64..)) * 4)),
        ("NewProcessName", one_of(rng, &PROCESSES)),
        ("TokenElevationType", one_of(rng, &["%%1936", "%%1937", "%%1938"])),
        ("ProcessId", hex(u64::from(rng.u16(64..)) * 4)),
        ("CommandLine", one_of(rng, &COMMANDS)),
        ("TargetUserSid", fixed("S-1-0-0")),
        ("TargetUserName", fixed("-")),
        ("TargetDomainName", fixed("-")),
        ("TargetLogonId", fixed("0x0")),
        ("ParentProcessName", one_of(rng, &PROCESSES)),
        ("MandatoryLabel", fixed("S-1-16-16384")),
    ]);
    data
}

fn privileges(rng: &mut Rng, _: &str) -> Vec<Datum> {
    let mut data = Vec::from(subject(rng));
    data.push((
        "PrivilegeList",
        fixed("SeSecurityPrivilege SeBackupPrivilege SeRestorePrivilege SeTakeOwnershipPrivilege SeDebugPrivilege"),
    ));
    data
}

fn connection(rng: &mut Rng, _: &str) -> Vec<Datum> {
    vec![
        ("ProcessID", Cow::Owned((rng.u32(100..4_000) * 4).to_string())),
        ("Application", fixed(r"\device\harddiskvolume2\program files\historian\collector.exe")),
        ("Direction", one_of(rng, &["%%14592", "%%14593"])),
        ("SourceAddress", address(rng)),
        ("SourcePort", port(rng)),
        ("DestAddress", address(rng)),
        ("DestPort", one_of(rng, &["443", "445", "135", "4840", "502"])),
        ("Protocol", fixed("6")),
        ("FilterRTID", Cow::Owned(rng.u32(60_000..90_000).to_string())),
        ("LayerName", one_of(rng, &["%%14610", "%%14611"])),
        ("LayerRTID", fixed("48")),
        ("RemoteUserID", fixed("S-1-0-0")),
        ("RemoteMachineID", fixed("S-1-0-0")),
    ]
}

fn object_access(rng: &mut Rng, _: &str) -> Vec<Datum> {
    let mut data = Vec::from(subject(rng));
    data.extend([
        ("ObjectServer", fixed("Security")),
        ("ObjectType", fixed("File")),
        ("ObjectName", Cow::Owned(format!(r"D:\Recipes\line {}\batch-{:05}.xml", rng.u8(1..9), rng.u32(..99_999)))),
        ("HandleId", hex(rng.u64(0x100..0xffff))),
        ("AccessList", one_of(rng, &["%%4416", "%%4417", "%%1537"])),
        ("AccessMask", one_of(rng, &["0x1", "0x2", "0x10000"])),
        ("ProcessId", hex(u64::from(rng.u16(64..)) * 4)),
        ("ProcessName", one_of(rng, &PROCESSES)),
        ("ResourceAttributes", fixed("S:AI")),
    ]);
    data
}

fn ticket(rng: &mut Rng, _: &str) -> Vec<Datum> {
    vec![
        ("TargetUserName", one_of(rng, &USERS)),
        ("TargetDomainName", fixed("plant.example")),
        ("TargetSid", user_sid(rng)),
        ("ServiceName", fixed("krbtgt")),
        ("ServiceSid", fixed("S-1-5-21-3457937927-2839227994-823803824-502")),
        ("TicketOptions", fixed("0x40810010")),
        ("Status", one_of(rng, &["0x0", "0x0", "0x0", "0x18"])),
        ("TicketEncryptionType", one_of(rng, &["0x12", "0x12", "0x17"])),
        ("PreAuthType", fixed("15")),
        ("IpAddress", Cow::Owned(format!("::ffff:{}", address(rng)))),
        ("IpPort", port(rng)),
        ("CertIssuerName", fixed("")),
        ("CertSerialNumber", fixed("")),
        ("CertThumbprint", fixed("")),
    ]
}

fn service_install(rng: &mut Rng, computer: &str) -> Vec<Datum> {
    let mut data = Vec::from(machine_subject(computer));
    data.extend([
        ("ServiceName", Cow::Owned(format!("HistorianLink{}", rng.u8(1..40)))),
        ("ServiceFileName", fixed(r#""C:\Program Files\Historian\collector.exe" --service"#)),
        ("ServiceType", fixed("0x10")),
        ("ServiceStartType", one_of(rng, &["2", "3"])),
        ("ServiceAccount", fixed("LocalSystem")),
    ]);
    data
}

fn account_created(rng: &mut Rng, computer: &str) -> Vec<Datum> {
    let name: Cow<'static, str> = Cow::Owned(format!("temp{:04}", rng.u16(..9_999)));
    let mut data = vec![
        ("TargetUserName", name.clone()),
        ("TargetDomainName", short_name(computer)),
        ("TargetSid", user_sid(rng)),
    ];
    data.extend(subject(rng));
    data.extend([
        ("PrivilegeList", fixed("-")),
        ("SamAccountName", name),
        ("DisplayName", fixed("%%1793")),
        ("UserPrincipalName", fixed("-")),
        ("OldUacValue", fixed("0x0")),
        ("NewUacValue", fixed("0x15")),
        ("UserAccountControl", fixed("%%2080 %%2082 %%2084")),
    ]);
    data
}

fn log_cleared(rng: &mut Rng, _: &str) -> Vec<Datum> {
    Vec::from(subject(rng))
}

fn service_state(rng: &mut Rng, _: &str) -> Vec<Datum> {
    vec![
        (
            "param1",
            one_of(rng, &["Windows Update", "Print Spooler", "Windows Modules Installer", "Software Protection"]),
        ),
        ("param2", one_of(rng, &["running", "stopped"])),
    ]
}
