use super::*;
use serde_json::{Value, json};

#[path = "tests/agents.rs"]
mod agents;
#[path = "tests/both_ways.rs"]
pub(super) mod both_ways;
#[path = "tests/corpus.rs"]
mod corpus;
#[path = "tests/expected.rs"]
mod expected;
#[path = "tests/hostile.rs"]
mod hostile;
#[path = "tests/kept.rs"]
mod kept;
#[path = "tests/shapes.rs"]
mod shapes;

/// All times are kept.
const KEPT: RangeInclusive<Timestamp> = Timestamp::from_ticks(i64::MIN)..=Timestamp::from_ticks(i64::MAX);

/// Times are kept from this one on.
fn kept_from(time: Timestamp) -> RangeInclusive<Timestamp> {
    time..=Timestamp::from_ticks(i64::MAX)
}

fn made(table: Table, format: Format, raw: &str) -> Result<Bytes, String> {
    let raw = Bytes::copy_from_slice(raw.as_bytes());
    let source = Source { format, raw: &raw, client: None };
    let made = row(Some(table), source, &Extras::default(), &KEPT);
    assert_eq!(made, row_by_tree(Some(table), source, &Extras::default(), &KEPT), "by the short way and by the tree");
    made.map(|made| made.bytes)
}

/// The row of an event in XML, or, when it begins with `{`, in JSON.
fn row_of(table: Table, raw: &str) -> Value {
    let format = if raw.starts_with('{') { Format::Json } else { Format::Xml };
    let bytes = made(table, format, raw).expect(raw);
    assert!(!bytes.contains(&b'\n'), "a row is one line");
    serde_json::from_slice(&bytes).expect("a row is JSON")
}

/// An event of the channel Security with this inside.
fn security(id: u32, body: &str) -> String {
    format!(
        "<Event xmlns='n'><System><Provider Name='P'/><EventID>{id}</EventID><Channel>Security</Channel><Computer>c</Computer></System>{body}</Event>"
    )
}

fn data(data: &[(&str, &str)]) -> String {
    let data: String = data.iter().map(|(name, value)| format!("<Data Name='{name}'>{value}</Data>")).collect();
    format!("<EventData>{data}</EventData>")
}

fn security_row(id: u32, values: &[(&str, &str)]) -> Value {
    row_of(Table::SecurityEvent, &security(id, &data(values)))
}

#[test]
fn the_tables_name_each_column_once_and_data_can_be_searched() {
    for table in Table::ALL {
        let mut names: Vec<&str> = columns(table).iter().map(|column| column.name).collect();
        assert!(names.iter().all(|name| name.len() <= 45 && name.starts_with(|c: char| c.is_ascii_alphabetic())));
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{table:?}");
    }
    assert!(tables::data_columns().windows(2).all(|pair| pair[0].name < pair[1].name));
    assert_eq!(tables::data_columns().last().map(|column| column.name), Some("WorkstationName"));
    assert_eq!(columns(Table::SecurityEvent).last().map(|column| column.name), Some("EventData"));
}

#[test]
fn who_acts_is_the_account() {
    let subject = [("SubjectUserSid", "S-1-5-18"), ("SubjectUserName", "DC$"), ("SubjectDomainName", "CORP")];
    let target = [("TargetUserSid", "S-1-5-21-1"), ("TargetUserName", "anna"), ("TargetDomainName", "corp")];
    let both = [subject, target].concat();
    let row = security_row(4624, &both);
    assert_eq!((&row["Account"], &row["AccountType"]), (&json!("corp\\anna"), &json!("User")));
    assert_eq!((&row["SubjectAccount"], &row["TargetAccount"]), (&json!("CORP\\DC$"), &json!("corp\\anna")));
    let row = security_row(4720, &both);
    assert_eq!((&row["Account"], &row["AccountType"]), (&json!("CORP\\DC$"), &json!("Machine")));
    // Nobody is no account.
    let nobody = [("TargetUserName", "-"), ("TargetDomainName", "-")];
    let row = security_row(4624, &[subject.as_slice(), &nobody].concat());
    assert_eq!((&row["Account"], &row["TargetAccount"]), (&json!("CORP\\DC$"), &json!("-\\-")));
    let row = security_row(4625, &nobody);
    assert_eq!((row.get("Account"), row.get("AccountType")), (None, None));
    // An empty domain is a domain; no domain is none.
    assert_eq!(security_row(4625, &[("TargetUserName", "x"), ("TargetDomainName", "")])["Account"], "\\x");
    let row = security_row(4776, &[("TargetUserName", "x")]);
    assert_eq!((&row["Account"], row.get("AccountType")), (&json!("x"), None), "no SID, no type");
    let row = security_row(4778, &[("AccountName", "x"), ("AccountDomain", "d")]);
    assert_eq!(row["Account"], "d\\x");
}

#[test]
fn numbers_stand_in_columns_of_numbers_only_if_they_are_numbers() {
    for (text, want) in
        [("3", json!(3)), ("0x10", json!(16)), (" 10 ", json!(10)), ("-1", json!(-1)), ("0X7fffffff", json!(i32::MAX))]
    {
        assert_eq!(security_row(4624, &[("LogonType", text)])["LogonType"], want, "{text}");
    }
    for text in ["", "%%1833", "0x", "0xg", "0x-1", "0x80000000", "2147483648", "3.0", "-"] {
        let row = security_row(4624, &[("LogonType", text)]);
        assert_eq!(row.get("LogonType"), None, "{text}");
        assert_eq!(row["EventData"], data(&[("LogonType", text)]));
    }
    assert_eq!(security_row(4624, &[("LogonType", "10")])["LogonTypeName"], "10 - RemoteInteractive");
    assert_eq!(security_row(4624, &[("LogonType", "99")]).get("LogonTypeName"), None);
}

#[test]
fn values_stay_as_they_are_but_for_the_braces_of_two_guids() {
    let row = security_row(
        4624,
        &[
            ("LogonGuid", "{00000000-0000-0000-0000-000000000000}"),
            ("SubcategoryGuid", "{0}"),
            ("LogonProcessName", "User32 "),
            ("ElevatedToken", "%%1842"),
            ("SubjectLogonId", "0x3e7"),
            ("WorkstationName", "a&amp;b"),
            ("ProcessName", r"C:\Windows\System32\svchost.exe"),
            ("ImpersonationLevel", "%%1833"),
        ],
    );
    let want = json!({
        "Computer": "c", "Channel": "Security", "EventSourceName": "P", "EventID": 4624,
        "Activity": "4624 - An account was successfully logged on.", "SourceSystem": "Gatepost",
        "SourceComputerId": row["SourceComputerId"], "Process": "svchost.exe", "ElevatedToken": "%%1842",
        "LogonGuid": "00000000-0000-0000-0000-000000000000", "LogonProcessName": "User32 ",
        "ProcessName": r"C:\Windows\System32\svchost.exe", "SubcategoryGuid": "{0}", "SubjectLogonId": "0x3e7",
        "WorkstationName": "a&b", "EventData": row["EventData"],
    });
    assert_eq!(row, want);
    assert!(row["EventData"].as_str().expect("text").contains("<Data Name='WorkstationName'>a&amp;b</Data>"));
}

#[test]
fn the_computer_has_an_identifier_of_its_own() {
    let id = |computer: &str| event_key::computer_id(computer);
    assert_eq!(id("WEB01.corp.example"), id("web01.CORP.example"));
    assert_ne!(id("web01"), id("web02"));
    // `printf web01 | sha256sum`, with version 8 and the variant of RFC 9562 in their places.
    assert_eq!(id("WEB01"), WEB01_ID);
}

/// Made with other tools than the product.
const WEB01_ID: &str = "1f94fe44-5ba9-8e78-9acb-7ea6f44b8fcb";

#[test]
fn applocker_has_its_columns() {
    let xml = "<Event><System><Provider Name='Microsoft-Windows-AppLocker'/><EventID>8002</EventID><Channel>Microsoft-Windows-AppLocker/EXE and DLL</Channel>\
        <Computer>c</Computer><Security UserID='S-1-5-18'/></System><UserData><RuleAndFileData xmlns='n'><PolicyName>EXE</PolicyName><TargetUser>S-1-5-21-7</TargetUser>\
        <FilePath>%SYSTEM32%\\CSCRIPT.EXE</FilePath><FileHash>B335</FileHash><Fqbn>O=M</Fqbn><TargetLogonId>0x3e7</TargetLogonId></RuleAndFileData></UserData></Event>";
    let row = row_of(Table::SecurityEvent, xml);
    let want = json!({
        "Computer": "c", "Channel": "Microsoft-Windows-AppLocker/EXE and DLL", "EventSourceName": "Microsoft-Windows-AppLocker", "EventID": 8002,
        "Activity": "8002 - A process was allowed to run.", "SystemUserId": "S-1-5-18", "SourceSystem": "Gatepost", "SourceComputerId": row["SourceComputerId"],
        "Account": "NT AUTHORITY\\SYSTEM", "AccountType": "Machine", "Process": "CSCRIPT.EXE", "FileHash": "B335", "FilePath": "%SYSTEM32%\\CSCRIPT.EXE",
        "Fqbn": "O=M", "TargetLogonId": "0x3e7", "TargetUser": "S-1-5-21-7",
        "EventData": "<UserData><RuleAndFileData xmlns='n'><PolicyName>EXE</PolicyName><TargetUser>S-1-5-21-7</TargetUser>\
        <FilePath>%SYSTEM32%\\CSCRIPT.EXE</FilePath><FileHash>B335</FileHash><Fqbn>O=M</Fqbn><TargetLogonId>0x3e7</TargetLogonId></RuleAndFileData></UserData>",
    });
    assert_eq!(row, want);
    assert_eq!(row_of(Table::SecurityEvent, &xml.replace("FilePath>", "FilePathBuffer>"))["FilePath"], row["FilePath"]);
}

#[test]
fn what_windows_rendered_is_in_the_row() {
    let rendering = "<RenderingInfo Culture='en-US'><Message>It stopped. Really.\r\nMore</Message><Level>Error</Level></RenderingInfo>";
    let xml = security(7036, &format!("{}{rendering}", data(&[("a", "&lt;1&gt;"), ("b", "")])));
    let row = row_of(Table::Event, &xml);
    let want = json!({
        "Source": "P", "EventLog": "Security", "EventID": 7036, "Computer": "c", "SourceSystem": "Gatepost",
        "RenderedDescription": "It stopped. Really.\r\nMore", "Message": "It stopped. Really.\r\nMore",
        "ParameterXml": "<Param>&lt;1&gt;</Param><Param></Param>", "EventData": data(&[("a", "&lt;1&gt;"), ("b", "")]),
    });
    assert_eq!(row, want);
    assert_eq!(row_of(Table::SecurityEvent, &xml)["Activity"], "7036 - It stopped.");
    let want = json!({ "a": "<1>", "b": "", "RenderingInfo/Message": "It stopped. Really.\r\nMore", "RenderingInfo/Level": "Error", "RenderingInfo/RenderingInfo@Culture": "en-US" });
    assert_eq!(row_of(Table::WindowsEvent, &xml)["EventData"], want);
}

#[test]
fn times_beyond_the_type_are_left_out() {
    let timed =
        |time: &str| security(1, "").replace("<Channel>", &format!("<TimeCreated SystemTime='{time}'/><Channel>"));
    assert_eq!(
        row_of(Table::Event, &timed("2024-05-06T07:08:09.12Z"))["TimeGenerated"],
        "2024-05-06T07:08:09.1200000Z"
    );
    assert_eq!(row_of(Table::Event, &timed("9999-12-31T23:59:59-23:59")).get("TimeGenerated"), None);
    assert_eq!(row_of(Table::Event, &timed("yesterday")).get("TimeGenerated"), None);
}
