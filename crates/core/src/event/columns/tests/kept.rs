//! Nothing of an event is lost on its way into a row, and nobody speaks for the gateway.

use super::*;

/// What a row of `WindowsEvent` tells in `EventData`, and the text of the other tables.
fn told(raw: &str) -> (Value, [String; 2]) {
    let dynamic = row_of(Table::WindowsEvent, raw)["EventData"].clone();
    let text = |table| row_of(table, raw)["EventData"].as_str().unwrap_or_default().to_owned();
    (dynamic, [text(Table::SecurityEvent), text(Table::Event)])
}

#[test]
fn what_an_agent_tells_beside_the_event_is_data() {
    let raw = r#"{"winlog":{"computer_name":"a","event_id":1,"channel":"System","provider_name":"p","record_id":5,"event_data":{"x":1,"big":12345678901234567890123},"user":{"name":"bob"}},
        "event":{"code":"1","action":"logon"},"message":"hello <b>","tags":["t"],"custom":{"a":1.50},"host":{"name":"h"},"empty":{},"none":null}"#;
    let (dynamic, texts) = told(raw);
    assert_eq!(
        dynamic,
        json!({ "x": "1", "big": "12345678901234567890123", "winlog.user": { "name": "bob" }, "event.action": "logon",
            "message": "hello <b>", "tags": ["t"], "custom": { "a": 1.5 }, "host": { "name": "h" } })
    );
    let want = "<EventData><Data Name=\"x\">1</Data><Data Name=\"big\">12345678901234567890123</Data>\
        <Data Name=\"winlog.user\">{&quot;name&quot;:&quot;bob&quot;}</Data><Data Name=\"event.action\">logon</Data><Data Name=\"message\">hello &lt;b&gt;</Data>\
        <Data Name=\"tags\">[&quot;t&quot;]</Data><Data Name=\"custom\">{&quot;a&quot;:1.50}</Data><Data Name=\"host\">{&quot;name&quot;:&quot;h&quot;}</Data></EventData>";
    assert_eq!(texts, [want, want]);
    let row = made(Table::WindowsEvent, Format::Json, raw).expect("a row");
    assert!(row.windows(16).any(|bytes| bytes == br#""custom":{"a":1.5"#.split_at(16).0), "digits stay");
}

#[test]
fn flat_records_keep_lists_objects_and_columns_of_their_own() {
    let base = r#""Id":1,"MachineName":"a","LogName":"System","ProviderName":"p""#;
    let raw = format!(
        "{{{base},\"Properties\":[{{\"Value\":\"v1\"}}],\"Message\":\"m\",\"Custom_CF\":1.50,\"_resourceId\":\"/x\",\n\"List_CF\":[1,\n2]}}"
    );
    for table in Table::ALL {
        let row = row_of(table, &raw);
        assert_eq!(
            (&row["Custom_CF"], &row["_resourceId"], &row["List_CF"]),
            (&json!(1.5), &json!("/x"), &json!([1, 2]))
        );
    }
    let (dynamic, texts) = told(&raw);
    assert_eq!(dynamic, json!({ "Message": "m", "Properties": [{ "Value": "v1" }] }));
    let want = r#"<EventData><Data Name="Message">m</Data><Data Name="Properties">[{&quot;Value&quot;:&quot;v1&quot;}]</Data></EventData>"#;
    assert_eq!(texts, [want, want]);
    // Without a table as well.
    let raw =
        Bytes::from(format!("{{{base},\"EventData\":\"<Data Name='x'>1</Data>\",\"y\":2,\"Custom_CF\":\"keep\"}}"));
    let source = Source { format: Format::Json, raw: &raw, client: None };
    let row = row(None, source, &Extras::default(), &KEPT).expect("a row").bytes;
    let row: Value = serde_json::from_slice(&row).expect("JSON");
    assert_eq!((&row["EventData"], &row["Custom_CF"]), (&json!({ "x": "1", "y": "2" }), &json!("keep")));
}

#[test]
fn a_field_with_two_values_keeps_both() {
    let raw = r#"{"Event":{"System":{"Computer":"a","EventID":1,"Channel":"System","Provider":{"Name":"p","Guid":"{1}"},"Foo":"f"},"EventData":{"x":"1"},"Extra":"e"},
        "Computer":"b","@timestamp":"2024-05-06T07:08:09Z","TimeCreated":"2024-05-06T07:08:08Z","outer":"o"}"#;
    let want = json!({ "x": "1", "Event.System.Foo": "f", "Event.Extra": "e", "Computer": "b", "@timestamp": "2024-05-06T07:08:09Z", "outer": "o" });
    assert_eq!(told(raw).0, want);
    let raw = r#"{"System":"<Event><System><EventID>1</EventID><Channel>System</Channel><Computer>a</Computer></System><EventData><Data Name='x'>1</Data></EventData></Event>","outer":"o"}"#;
    assert_eq!(told(raw).0, json!({ "x": "1", "outer": "o" }));
}

#[test]
fn data_that_the_tree_cannot_tell_stays_as_it_is() {
    let base = r#""EventID":1,"Computer":"c","Channel":"x","ProviderName":"P","Level":300"#;
    for value in [
        r#"{"a":{"@k":"lost","t":"1"}}"#,
        r#"{"@k":["lost"]}"#,
        r#"{"attributes":"lost"}"#,
        r#"[{"Name":"n","Value":"v","Type":"lost"}]"#,
        r#"[{"Name":{"x":"lost"},"Value":"v"}]"#,
        r#"{"a":{"b":{"list":[{"@k":"lost"}]}}}"#,
        r#""<Event><System><Task>lost</Task></System><EventData/></Event>""#,
        r#""<EventData/></x><Data>lost</Data>""#,
        r#"1e400"#,
        r#"{"a":"b"},"RawXml":"<lost/>""#,
    ] {
        let raw = format!("{{{base},\"EventData\":{value}}}");
        for table in Table::ALL {
            let row = made(table, Format::Json, &raw).expect("a row");
            let row = String::from_utf8(row.to_vec()).expect("UTF-8");
            assert!(row.contains("lost") || row.contains("1e400"), "{value} became {row}");
            assert!(row.contains("300"), "{row}");
        }
    }
    let raw = format!("{{{base},\"a\":{{\"b\":1e400}},\"c\":1e400}}");
    assert_eq!(told(&raw).0, json!({ "Level": "300", "a": "{\"b\":1e400}", "c": "1e400" }));
}

#[test]
fn xml_that_names_nothing_goes_as_text() {
    let system =
        "<System><Provider Name='p'/><EventID>1</EventID><Channel>Security</Channel><Computer>dc</Computer></System>";
    for xml in
        [format!("<Event><EventData/>{system}</Event>"), "<Event><a>b</a></Event>".to_owned(), "<Event/>".to_owned()]
    {
        assert_eq!(row_of(Table::WindowsEvent, &xml), json!({ "RawEventData": xml }));
        for table in [Table::SecurityEvent, Table::Event] {
            assert_eq!(row_of(table, &xml)["EventData"], xml);
        }
    }
    // A second one is nowhere else.
    let xml = format!("<Event>{system}<EventData/><System><Task>7</Task></System></Event>");
    assert_eq!(row_of(Table::WindowsEvent, &xml)["RawEventData"], xml);
    let xml = "<Event><System><EventID>1</EventID><Level>300</Level><TimeCreated SystemTime='yesterday'/><Foo>bar</Foo><Computer>c</Computer></System></Event>";
    assert_eq!(told(xml).0, json!({ "Level": "300", "TimeCreated": "yesterday", "Foo": "bar" }));
}

const EXTRAS: [&str; 3] = ["TimeCreated_CF", "EventKey_CF", "UploadedBy_CF"];

fn extended(raw: &str, client: Option<&str>, kept: &RangeInclusive<Timestamp>) -> Value {
    let [original_time, event_key, uploader] = EXTRAS.map(str::to_owned);
    let extras = Extras { original_time, event_key, client: uploader };
    let raw = Bytes::copy_from_slice(raw.as_bytes());
    let row = row(Some(Table::WindowsEvent), Source { format: Format::Json, raw: &raw, client }, &extras, kept)
        .expect("a row")
        .bytes;
    assert!(!row.contains(&b'\n'));
    serde_json::from_slice(&row).expect("JSON")
}

#[test]
fn nobody_speaks_for_the_gateway() {
    let forged = r#""UploadedBy_CF":"forged","uploadedby_cf":"forged","Uploaded\u0042y_CF":"forged","EventKey_CF":"forged","EVENTKEY_CF":["forged"],"TimeCreated_CF":"2020-01-01T00:00:00Z""#;
    let time = r#""TimeGenerated":"2024-05-06T07:08:09Z""#;
    let none = kept_from(Timestamp::from_ticks(i64::MAX));
    for shape in [
        format!("{{{forged},\n{time},\"a\":1.50}}"),
        format!("{{{time},\"EventID\":1,\"Computer\":\"c\",\"Channel\":\"x\",{forged}}}"),
        format!("{{{time},\"Id\":1,\"Computer\":\"c\",\"LogName\":\"x\",{forged}}}"),
    ] {
        let row = extended(&shape, Some("plant"), &none);
        assert_eq!((&row["UploadedBy_CF"], row["EventKey_CF"].as_str().map(str::len)), (&json!("plant"), Some(32)));
        assert_eq!(row["TimeCreated_CF"], "2024-05-06T07:08:09.0000000Z", "ours wins when there is one");
        let columns =
            row.as_object().expect("an object").iter().filter(|(name, _)| name.to_ascii_lowercase().ends_with("_cf"));
        assert_eq!(columns.count(), 3, "{row}");
        // An earlier gateway may have known what this one does not.
        let row = extended(&shape, None, &KEPT);
        assert_eq!((&row["UploadedBy_CF"], &row["TimeCreated_CF"]), (&json!("forged"), &json!("2020-01-01T00:00:00Z")));
        assert_eq!(row["EventKey_CF"].as_str().map(str::len), Some(32));
    }
}
