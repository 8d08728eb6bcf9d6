use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inputs::http::body::Memory;
use crate::turns::Who;

/// 2026-01-02T03:04:05Z.
const ARRIVAL: Timestamp = Timestamp::from_ticks(1_767_323_045 * 10_000_000);
const ARRIVED: &str = "2026-01-02T03:04:05.0000000Z";

fn rows_of(body: &str, change: impl FnOnce(&mut How<'_>)) -> Result<Rows, RewriteError> {
    let columns = Columns::default();
    let mut how = How { columns: Some(&columns), time_field: None, resource_id: None, arrival: ARRIVAL };
    change(&mut how);
    rewrite(body.as_bytes(), &how, 1 << 20, &mut Memory::new(4 << 20).share(&Who::default()))
}

fn rows(body: &str, change: impl FnOnce(&mut How<'_>)) -> Value {
    let rows = rows_of(body, change).unwrap_or_else(|error| panic!("{body}: {error}"));
    serde_json::from_slice(&rows.text).expect("JSON")
}

#[test]
fn the_documented_sample_becomes_the_documented_columns() {
    let body = r#"[{  "StringValue": "MyString1",
        "NumberValue": 42,
        "BooleanValue": true,
        "DateValue": "2019-09-12T20:00:00.625Z",
        "GUIDValue": "9909ED01-A74C-4874-8ABF-D2678E3AE23D"
    },
    {   "StringValue": "MyString2", "NumberValue": 43, "BooleanValue": false, "Nothing": null }]"#;
    let want = json!([
        {
            "StringValue_s": "MyString1",
            "NumberValue_d": 42,
            "BooleanValue_b": true,
            "DateValue_t": "2019-09-12T20:00:00.625Z",
            "GUIDValue_g": "9909ED01-A74C-4874-8ABF-D2678E3AE23D",
            "TimeGenerated": ARRIVED,
        },
        { "StringValue_s": "MyString2", "NumberValue_d": 43, "BooleanValue_b": false, "TimeGenerated": ARRIVED },
    ]);
    assert_eq!(rows(body, |_| ()), want);
}

#[test]
fn one_object_is_one_record_and_an_empty_array_none() {
    assert_eq!(rows("\u{feff} {\"a\":1} ", |_| ()), json!([{ "a_d": 1, "TimeGenerated": ARRIVED }]));
    assert_eq!(rows("[{}]", |_| ()), json!([{ "TimeGenerated": ARRIVED }]));
    assert_eq!(rows("[]", |_| ()), json!([]));
    assert_eq!(rows("[{\"a\":1},5,\"x\"]", |_| ()), json!([{ "a_d": 1, "TimeGenerated": ARRIVED }, 5, "x"]));
}

#[test]
fn a_records_time_counts_from_two_days_back_to_one_day_ahead_and_else_its_arrival() {
    for (time, want) in [
        ("\"2026-01-01T00:00:00Z\"", "2026-01-01T00:00:00.0000000Z"),
        ("\"2026-01-03T03:04:05Z\"", "2026-01-03T03:04:05.0000000Z"),
        ("\"2026-01-03T03:04:06Z\"", ARRIVED),
        ("\"2025-12-31T03:04:05Z\"", "2025-12-31T03:04:05.0000000Z"),
        ("\"2025-12-31T03:04:04Z\"", ARRIVED),
        ("\"yesterday\"", ARRIVED),
        ("null", ARRIVED),
    ] {
        let rows = rows(&format!("{{\"when\":{time},\"a\":1}}"), |how| how.time_field = Some("when"));
        assert_eq!(rows[0]["TimeGenerated"], want, "{time}");
    }
    let meant = rows("{\"TimeGenerated\":\"2026-01-02T00:00:00Z\"}", |how| how.time_field = Some("TimeGenerated"));
    assert_eq!(meant, json!([{ "TimeGenerated": "2026-01-02T00:00:00.0000000Z" }]));
}

#[test]
fn records_are_timed_when_each_of_them_tells_its_own_time() {
    for (body, field, timed) in [
        ("[{\"@timestamp\":1799000000.123456},{\"@timestamp\":\"2026-01-02T00:00:00.000Z\"}]", None, true),
        ("[{\"@timestamp\":1799000000.123456},{\"a\":1}]", None, false),
        ("[{\"@timestamp\":0.5}]", None, false),
        ("[{\"at\":\"2019-01-02T00:00:00Z\"}]", Some("at"), true),
        ("[{\"at\":\"2019-01-02T00:00:00Z\"}]", None, false),
        ("[{\"@timestamp\":1799000000.123456}]", Some("at"), false),
    ] {
        let rows = rows_of(body, |how| how.time_field = field).expect("it is well formed");
        assert_eq!(rows.timed, timed, "{body}");
    }
}

#[test]
fn the_resource_stands_in_every_row_and_no_record_can_name_another() {
    let id = "/subscriptions/s/resourceGroups/\"g\"";
    let rows = rows("[{\"_ResourceId\":\"/other\"}]", |how| how.resource_id = Some(id));
    assert_eq!(rows, json!([{ "_ResourceId_s": "/other", "TimeGenerated": ARRIVED, "_ResourceId": id }]));
}

#[test]
fn without_suffixes_records_stay_as_they_are_and_get_only_what_they_lack() {
    let as_it_is = |how: &mut How<'_>| how.columns = None;
    let event = r#"[{"TimeGenerated":"2025-01-01T00:00:00Z","EventID":4624,"EventData":{"a":null},"x":null}]"#;
    assert_eq!(rows(event, as_it_is), serde_json::from_str::<Value>(event).expect("JSON"));
    assert_eq!(rows("[{\"a\":1}]", as_it_is), json!([{ "a": 1, "TimeGenerated": ARRIVED }]));
}

#[test]
fn reserved_names_are_refused_with_their_record() {
    for name in RESERVED {
        let refused = rows_of(&format!("[{{\"a\":1}},{{\"{name}\":1}}]"), |_| ());
        assert_eq!(refused, Err(RewriteError::Reserved { record: 2, name }));
    }
}

#[test]
fn what_is_no_json_is_refused_whole() {
    for body in ["", "x", "5", "null", "\"a\"", "[", "[{}", "[{}]x", "{}{}", "[{\"a\":}]", "[{\"a\":1}{}]", "[1,]"] {
        let refused = rows_of(body, |_| ());
        assert!(matches!(refused, Err(RewriteError::Malformed(_))), "{body}: {refused:?}");
    }
    let how = How { columns: None, time_field: None, resource_id: None, arrival: ARRIVAL };
    let refused = rewrite(b"[{\"a\":\"\xff\"}]", &how, 1 << 20, &mut Memory::new(1 << 20).share(&Who::default()));
    assert!(matches!(refused, Err(RewriteError::Malformed(_))), "{refused:?}");
}

#[test]
fn rows_are_bounded_in_number_bytes_and_memory() {
    let many = format!("[{}1]", "1,".repeat(MAX_EVENTS));
    assert_eq!(rows_of(&many, |_| ()), Err(RewriteError::TooMany));
    let columns = Columns::default();
    let how = How { columns: Some(&columns), time_field: None, resource_id: None, arrival: ARRIVAL };
    let body = format!("[{}{{}}]", "{},".repeat(20_000));
    let refused = rewrite(body.as_bytes(), &how, 100_000, &mut Memory::new(1 << 30).share(&Who::default()));
    assert_eq!(refused, Err(RewriteError::NoRoom(NoRoom::TooLarge { limit: 100_000 })));
    let memory = Memory::new(1 << 20);
    let mut other = memory.share(&Who::default());
    other.grow_to(890 << 10).expect("there is room");
    assert_eq!(
        rewrite(body.as_bytes(), &how, 1 << 30, &mut memory.share(&Who::default())),
        Err(RewriteError::NoRoom(NoRoom::NoMemory))
    );
    drop(other);
    let never = rewrite(body.as_bytes(), &how, 1 << 30, &mut memory.share(&Who::default()));
    assert!(matches!(never, Err(RewriteError::NoRoom(NoRoom::TooLarge { .. }))), "{never:?}");
}

#[test]
fn hostile_nesting_costs_no_stack_and_becomes_text() {
    let deep = format!("[{{\"a\":{}{}}}]", "[".repeat(100_000), "]".repeat(100_000));
    let rows = rows(&deep, |_| ());
    assert_eq!(rows[0]["a_s"].as_str().map(str::len), Some(200_000));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("2026-01-02T03:04:05Z")),
        Just(json!("8145d82213a744ad859c36f31a84f6dd")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn every_record_becomes_one_row_whatever_it_holds(
        body in prop::collection::vec(value(), 0..5),
        columns in prop::collection::vec("[ab]_?[sdbtg]?", 0..4),
        suffixes: bool,
    ) {
        let columns = Columns::new(&columns);
        let how = How { columns: suffixes.then_some(&columns), time_field: Some("a"), resource_id: None, arrival: ARRIVAL };
        let text = Value::from(body.clone()).to_string();
        let rows = rewrite(text.as_bytes(), &how, 1 << 20, &mut Memory::new(4 << 20).share(&Who::default()));
        let rows = rows.expect("none has a name that is reserved");
        let rows: Vec<Value> = serde_json::from_slice(&rows.text).expect("JSON");
        prop_assert_eq!(rows.len(), body.len());
        for (row, record) in rows.iter().zip(&body) {
            if record.is_object() { prop_assert!(row["TimeGenerated"].is_string()) } else { prop_assert_eq!(row, record) }
        }
    }

    /// Whatever stands between members, and in whichever of them something is to be done, a row is the record with its suffixes.
    #[test]
    fn a_row_is_the_record_with_the_suffix_of_each_type(
        records in prop::collection::vec(prop::collection::vec(("[a-zA-Z]{1,8}|@x|ö", flat()), 0..8), 1..4),
        spaces in prop::collection::vec("[ \n\t]{0,2}", 1..9),
    ) {
        let mut spaces = spaces.iter().cycle();
        let (mut body, mut want) = (String::new(), Vec::new());
        for record in &records {
            let (mut text, mut row) = (String::new(), serde_json::Map::new());
            for (name, value) in record.iter().filter(|(name, _)| !RESERVED.contains(&&**name)) {
                let mut space = || spaces.next().map_or("", |space| space);
                let comma = if text.is_empty() { "" } else { "," };
                let quoted = Value::from(name.as_str());
                text += &format!("{comma}{}{quoted}{}:{}{value}{}", space(), space(), space(), space());
                let column = name.replace(['@', 'ö'], "_");
                match value {
                    Value::Null => continue,
                    Value::Bool(_) => row.insert(format!("{column}_b"), value.clone()),
                    Value::Number(_) => row.insert(format!("{column}_d"), value.clone()),
                    Value::String(_) if column == "Computer" => row.insert(column, value.clone()),
                    Value::String(text) if text.ends_with(":05Z") => row.insert(format!("{column}_t"), value.clone()),
                    Value::String(text) if text.len() == 32 => {
                        row.insert(format!("{column}_g"), "8145d822-13a7-44ad-859c-36f31a84f6dd".into())
                    }
                    Value::String(_) => row.insert(format!("{column}_s"), value.clone()),
                    nested => row.insert(format!("{column}_s"), nested.to_string().into()),
                };
            }
            row.insert(TIME_GENERATED.to_owned(), ARRIVED.into());
            body += &format!("{}{{{text}}}", if body.is_empty() { "[" } else { "," });
            want.push(Value::from(row));
        }
        prop_assert_eq!(rows(&format!("{body}]"), |_| ()), Value::from(want));
    }
}

fn flat() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\é\n]{0,12}".prop_map(Value::from),
        Just(json!("2026-01-02T03:04:05Z")),
        Just(json!("8145d82213a744ad859c36f31a84f6dd")),
        Just(json!({ "a": [1, "b"] })),
    ]
}
