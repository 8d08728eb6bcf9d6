//! Plain events against the tree: the same row, byte for byte, and no row by the short way that the tree would not give.

use proptest::prelude::*;

use super::*;
use crate::event::columns::tests::both_ways::assert_same_rows;
use crate::event::from_xml;

/// Compares the rows of every table. Tells whether the event was plain.
fn compare(xml: &str) -> bool {
    assert_same_rows(Format::Xml, xml);
    let Ok((fields, end)) = from_xml::scan(xml.as_bytes()) else { return false };
    let event = Event { format: Format::Xml, raw: &xml.as_bytes()[..end], fields };
    Plain::read(&event, &xml[..end]).is_some()
}

const SYSTEM: &str = "<System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{5}'/><EventID>4624</EventID>\
    <Version>2</Version><Level>0</Level><Task>12544</Task><Opcode>0</Opcode><Keywords>0x8020000000000000</Keywords>\
    <TimeCreated SystemTime='2026-01-02T03:04:05.678Z'/><EventRecordID>7</EventRecordID>\
    <Correlation ActivityID='{a}'/><Execution ProcessID='700' ThreadID='5208'/><Channel>Security</Channel>\
    <Computer>DC01.plant.example</Computer><Security UserID='S-1-5-18'/></System>";

fn event(system: &str, body: &str) -> String {
    format!("<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'>{system}{body}</Event>")
}

#[test]
fn what_windows_writes_is_plain_and_its_row_is_that_of_the_tree() {
    for body in [
        "",
        "<EventData/>",
        "<EventData></EventData>",
        "<EventData><Data Name='SubjectUserSid'>S-1-5-18</Data><Data Name='TargetUserName'>O&apos;Neil &amp; &#246;</Data></EventData>",
        "<EventData><Data Name='LogonType'>3</Data><Data Name='LogonType'>5</Data><Data Name='IpPort'/></EventData>",
        "<EventData><Data>one</Data><Data>two \t\"\\\u{2}</Data></EventData>",
        "\r\n  <EventData>\r\n  <Data Name='ProcessName'>C:\\Windows\\a.exe</Data>\r\n  </EventData>\r\n",
        "<!-- told --><EventData><Data Name='FilePathBuffer'>%SYSTEM32%\\A</Data></EventData>",
        "<EventData><Data Name='TargetLogonGuid'>{00000000-0000-0000-0000-000000000000}</Data></EventData>",
    ] {
        assert!(compare(&event(SYSTEM, body)), "{body}");
        assert!(compare(&format!("\u{feff}<?xml version='1.0'?>\n{}", event(SYSTEM, body))), "{body}");
    }
    let spaced = SYSTEM.replace("><", ">\r\n <").replace("4624", " 4624\n");
    assert!(compare(&event(&spaced, "<EventData><Data Name='a'>b</Data></EventData>")));
}

#[test]
fn what_is_anything_else_goes_by_the_tree() {
    let data = "<EventData><Data Name='a'>b</Data></EventData>";
    for body in [
        "<UserData><a xmlns='x'>b</a></UserData>",
        "<EventData Name='x'><Data Name='a'>b</Data></EventData>",
        "<EventData><Data Name='a'><![CDATA[b]]></Data></EventData>",
        "<EventData><Data Name='a'>b<c/></Data></EventData>",
        "<EventData><Data Name='a' Type='t'>b</Data></EventData>",
        "<EventData><Data Name=''>b</Data></EventData>",
        "<EventData><Data Name='a&amp;b'>b</Data></EventData>",
        "<EventData>loose<Data Name='a'>b</Data></EventData>",
        "<EventData><Binary>00</Binary></EventData>",
        "<EventData><Data Name='a'>b<!-- c -->d</Data></EventData>",
        "<EventData><Data Name='a'>b</Dat></EventData>",
        "<EventData><Data Name='a'>b</Data>",
        "<EventData><Data Name='a'>b</Data></EventData><EventData><Data Name='a'>c</Data></EventData>",
        "<EventData><Data Name='a'>b</Data></EventData><RenderingInfo Culture='en'><Message>m</Message></RenderingInfo>",
        "<EventData><Data Name='a'>b</Data></EventData>loose",
    ] {
        assert!(!compare(&event(SYSTEM, body)), "{body}");
    }
    for (known, other) in [
        ("<Task>12544</Task>", "<Task>none</Task>"),
        ("<Task>12544</Task>", "<Task>12544</Task><Task>1</Task>"),
        ("<Version>2</Version>", "<Version>&#50;</Version>"),
        ("<Level>0</Level>", "<Level>Information</Level>"),
        ("4624", "99999999999"),
        ("<EventRecordID>7</EventRecordID>", "<EventRecordID>-1</EventRecordID>"),
        ("2026-01-02T03:04:05.678Z", "yesterday"),
        ("ProcessID='700'", "ProcessID='many'"),
        ("ProcessID='700'", "ProcessID='700' ProcessID='7'"),
        ("ProcessID='700'", "x:ProcessID='700'"),
        ("UserID='S-1-5-18'", "UserID='S&amp;'"),
        ("<Channel>Security</Channel>", "<Channel>Secu<b/>rity</Channel>"),
        ("<Security ", "<Mystery>1</Mystery><Security "),
        ("<System>", "<System a='b'>"),
        ("<System>", "<System>loose"),
        ("<Opcode>", "<e:Opcode>1</e:Opcode><Opcode>"),
    ] {
        let system = SYSTEM.replace(known, other);
        assert_ne!(system, SYSTEM, "{known}");
        assert!(!compare(&event(&system, data)), "{system}");
    }
    assert!(
        !compare(&event("<System/>", data))
            && !compare(&event("<System><Task>1</Task></System>", "").replace("1<", "<"))
    );
    assert!(!compare(&event(SYSTEM, &format!("<EventData>{}</EventData>", "<Data>x</Data>".repeat(DATA_MAX + 1)))));
}

/// Pieces of events, sound and not.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "<Data Name='SubjectUserName'>SYSTEM</Data>",
        "<Data Name=\"ProcessName\">C:\\a\\b.exe</Data>",
        "<Data>x</Data>",
        "<Data/>",
        "<Data Name='LogonType'>3</Data>",
        "<Data Name='FilePathBuffer'/>",
        "<EventData>",
        "</EventData>",
        "<EventData/>",
        "<UserData>",
        "</UserData>",
        "<RenderingInfo>",
        "</RenderingInfo>",
        "<!-- c -->",
        "<![CDATA[x]]>",
        "<Binary>FF</Binary>",
        " ",
        "\r\n",
        "&amp;",
        "text",
        "<a b='c'>",
        "</a>",
        "<Data",
        "<System>",
        "</System>",
        "<Message>m</Message>",
        "<x:Data Name='a'>b</x:Data>",
        "<?pi?>",
    ];
    prop_oneof![
        8 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        1 => ("[A-Za-z]{1,9}", "\\PC{0,12}").prop_map(|(name, value)| format!("<Data Name='{name}'>{value}</Data>")),
        1 => "[\\x00-\\x7f]{0,6}",
    ]
}

/// Parts of a `System`, sound and not.
fn part() -> impl Strategy<Value = String> {
    let known = prop::sample::select(PARTS.map(|part| String::from_utf8_lossy(part).into_owned()).to_vec());
    let value =
        prop::sample::select(vec!["", "5", " 7 ", "0x1f", "x", "&#53;", "4624", "-3", "99999999999", "<b/>", "é"]);
    let attribute = prop::sample::select(vec![
        "",
        " Name='p'",
        " SystemTime='2026-01-02T03:04:05Z'",
        " ProcessID='4' ThreadID='x'",
        " ProcessID=' 4 '",
        " UserID='S-1-5-18'",
        " ActivityID='{1}'",
        " x:UserID='a'",
        " UserID='a' UserID='b'",
        " RawTime='1'",
        " odd",
    ]);
    (known, value, attribute, 0..8_u8).prop_map(|(name, value, attribute, form)| match form {
        0 => format!("<{name}{attribute}/>"),
        1 => format!("<x:{name}{attribute}>{value}</x:{name}>"),
        2 => format!("{value}<{name}>{value}</{name}> "),
        _ => format!("<{name}{attribute}>{value}</{name}>"),
    })
}

proptest! {
    #[test]
    fn any_event_has_the_row_of_the_tree(
        parts in prop::collection::vec(part(), 0..9),
        pieces in prop::collection::vec(piece(), 0..9),
        whole in any::<bool>(),
        wrapped in any::<bool>(),
    ) {
        let system = if whole { SYSTEM.to_owned() } else { format!("<System>{}</System>", parts.concat()) };
        let body = pieces.concat();
        let body = if wrapped { format!("<EventData>{body}</EventData>") } else { body };
        compare(&event(&system, &body));
    }
}
