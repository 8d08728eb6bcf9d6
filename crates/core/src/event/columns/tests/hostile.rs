//! Events that nobody's Windows wrote.

use super::*;

/// Makes every row of it; returns that of `WindowsEvent`.
fn every_row(raw: &str) -> Value {
    let rows: Vec<Value> = Table::ALL.into_iter().map(|table| row_of(table, raw)).collect();
    for (table, row) in Table::ALL.into_iter().zip(&rows) {
        super::corpus::check_schema(table, row);
    }
    rows[0].clone()
}

#[test]
fn damaged_data_goes_as_text() {
    let deep = format!("<a>{}{}</a>", "<b>".repeat(70), "</b>".repeat(70));
    let many = format!("<EventData>{}</EventData>", "<Data>1</Data>".repeat(10_000));
    for body in
        ["<EventData><Data>x</EventData>", "</EventData>", "<EventData><Data Name='x'>1</Data>", "text", &deep, &many]
    {
        let xml = security(4624, body);
        let row = every_row(&xml);
        assert_eq!(
            row,
            json!({ "Provider": "P", "Channel": "Security", "Computer": "c", "EventID": 4624, "RawEventData": xml }),
            "{body:.40}"
        );
        let security = row_of(Table::SecurityEvent, &xml);
        assert_eq!((&security["EventData"], security.get("TargetUserName")), (&json!(xml), None));
        assert_eq!(row_of(Table::Event, &xml)["EventData"], xml);
    }
}

#[test]
fn as_much_as_fits_is_read_as_data() {
    let deep = format!("<EventData>{}x{}</EventData>", "<b>".repeat(60), "</b>".repeat(60));
    assert_eq!(every_row(&security(1, &deep))["EventData"], json!({ "b": "x" }));
    let many = format!("<EventData>{}</EventData>", "<Data Name='n'>1</Data>".repeat(3_000));
    assert_eq!(every_row(&security(1, &many))["EventData"]["n"].as_array().map(Vec::len), Some(3_000));
    let long = "y".repeat(900_000);
    assert_eq!(every_row(&security(1, &data(&[("CommandLine", &long)])))["EventData"]["CommandLine"], long);
}

#[test]
fn characters_that_xml_forbids_survive() {
    let xml = security(4661, &data(&[("ObjectName", "a\u{1}\u{2}\u{1f}&#x3;\u{7f}\u{2028}")]));
    let row = every_row(&xml);
    assert_eq!(row["EventData"]["ObjectName"], "a\u{1}\u{2}\u{1f}\u{3}\u{7f}\u{2028}");
    assert_eq!(row_of(Table::SecurityEvent, &xml)["ObjectName"], "a\u{1}\u{2}\u{1f}\u{3}\u{7f}\u{2028}");
}

#[test]
fn data_cannot_take_the_place_of_what_the_gateway_says() {
    let taken = [
        "Computer",
        "EventID",
        "TimeGenerated",
        "Account",
        "Activity",
        "SourceSystem",
        "EventData",
        "_ResourceId",
        "TenantId",
    ];
    let values: Vec<(&str, &str)> = taken.iter().map(|name| (*name, "forged")).collect();
    let row = security_row(4624, &values);
    for name in taken.iter().filter(|name| **name != "EventData") {
        assert_ne!(row.get(name), Some(&json!("forged")), "{name}");
    }
    assert_eq!(row["EventData"], data(&values));
}

#[test]
fn numbers_beyond_their_type_are_no_columns_but_data() {
    let xml = "<Event><System><EventID>4294967295</EventID><Task>4294967296</Task><Version>x</Version><Execution ProcessID='-5' ThreadID='0x10'/>\
        <Channel/><Computer>c</Computer></System></Event>";
    let data = json!({ "EventID": "4294967295", "Task": "4294967296", "Version": "x" });
    assert_eq!(
        every_row(xml),
        json!({ "Computer": "c", "SystemProcessId": -5, "SystemThreadId": 16, "EventData": data })
    );
    let data = "<EventData><Data Name=\"EventID\">4294967295</Data><Data Name=\"Task\">4294967296</Data><Data Name=\"Version\">x</Data></EventData>";
    assert_eq!(row_of(Table::Event, xml)["EventData"], data);
    assert_eq!(row_of(Table::SecurityEvent, &xml.replace("</System>", "</System><EventData/>"))["EventData"], data);
}

#[test]
fn hostile_json_becomes_valid_rows() {
    let base = r#""EventID":4624,"Computer":"c","Channel":"Security","ProviderName":"P""#;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(62), "}".repeat(62));
    let many: Vec<String> = (0..12_000).map(|n| format!("\"k{n}\":{n}")).collect();
    let many = format!("{{{}}}", many.join(","));
    for value in [
        deep.as_str(),
        &many,
        "[[[1]]]",
        r#""<Data>""#,
        r#""<EventData><x""#,
        "null",
        "0",
        r#"{"<a b>":{"@x y":"1","":"z"}}"#,
        r#"{"a":"\u0001\u2028"}"#,
    ] {
        every_row(&format!("{{{base},\"EventData\":{value}}}"));
    }
    let raw = format!("{{{base},\"EventData\":{many}}}");
    assert_eq!(row_of(Table::WindowsEvent, &raw)["RawEventData"], raw);
    // The last of equal keys counts, as for the fields.
    let twice = every_row(
        r#"{"EventID":1,"EventID":2,"Computer":"c","Channel":"x","ProviderName":"P","EventData":{"a":"1","a":"2"}}"#,
    );
    assert_eq!(
        twice,
        json!({ "Provider": "P", "Channel": "x", "Computer": "c", "EventID": 2, "EventData": { "a": "2" } })
    );
}

#[test]
fn what_cannot_be_read_says_why() {
    let json = |raw: &str| made(Table::Event, Format::Json, raw).expect_err(raw);
    assert_eq!(json("[1]"), "the record is JSON, but no object");
    assert_eq!(json("{} {}"), "something follows the JSON value");
    assert!(json("{").contains("expected"), "{}", json("{"));
    assert!(json(r#"{"a":"\ud800"}"#).contains("surrogate"));
    assert!(made(Table::Event, Format::Xml, "{}").expect_err("JSON").contains("no <Event> element"));
    assert!(made(Table::Event, Format::Xml, "<Event><System>").is_err());
    let raw = Bytes::from_static(b"<Event><a>\xff</a></Event>");
    let source = Source { format: Format::Xml, raw: &raw, client: None };
    assert!(row(Some(Table::Event), source, &Extras::default(), &KEPT).expect_err("no text").contains("UTF-8"));
}
