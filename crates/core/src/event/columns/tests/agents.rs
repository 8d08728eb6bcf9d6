//! Events as agents write them, each beside the XML that it means.

use std::path::Path;

use super::*;
use crate::event::document::Document;
use crate::event::{KeyMaker, Syntax, decode};

/// Hands out each record with the event that it means.
fn each_pair(mut take: impl FnMut(&str, &str, &str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/agents");
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    assert!(paths.len() >= 10);
    for path in paths {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
        take(name, read(&path).trim_end(), read(&path.with_extension("xml")).trim_end());
    }
}

#[test]
fn an_agents_record_is_the_event_that_windows_rendered() {
    each_pair(|name, record, xml| {
        let both = format!("{record}\n{xml}\n");
        let decoded = decode(Syntax::Lines, both.as_bytes()).expect("lines");
        let [of_agent, of_windows] = &decoded.events[..] else { panic!("{name}: {:?}", decoded.unreadable) };
        let fields = |event: &Event<'_>| {
            let fields = event.fields.clone();
            let time = fields.time.map(Timestamp::unix_seconds);
            let fields = fields.into_owned();
            (fields.computer, fields.channel, fields.provider, fields.event_id, fields.record_id, time, fields.level)
        };
        assert_eq!(fields(of_agent), fields(of_windows), "{name}");
        let maker = KeyMaker::new(&[7; 32]);
        let mut keys = maker.for_scope("scope", "stream");
        assert_eq!(keys.key(of_agent), keys.key(of_windows), "{name}");
        let system = |event: &Event<'_>| {
            let (mut document, mut without_id) = (Document::default(), event.clone());
            without_id.fields.system_end = None;
            document.read_all(&without_id);
            let system = system::System::of(&document, system::event_node(&document));
            format!("{system:?}")
        };
        assert_eq!(system(of_agent), system(of_windows), "{name}");
    });
}

#[test]
fn an_agents_record_has_the_columns_of_the_event_that_windows_rendered() {
    each_pair(|name, record, xml| {
        for table in Table::ALL {
            let (mut made, mut want) = (row_of(table, record), row_of(table, xml));
            corpus::check_schema(table, &made);
            let (data, wanted) = (made["EventData"].take(), want["EventData"].take());
            let columns = |row: &Value| {
                // The values alone, without names: what stands beside the event is among them.
                let columns = row.as_object().expect("an object").iter();
                let columns = columns.filter(|(name, _)| !matches!(name.as_str(), "EventData" | "ParameterXml"));
                columns.map(|(name, value)| (name.clone(), value.clone())).collect::<Vec<_>>()
            };
            assert_eq!(columns(&made), columns(&want), "{name} {table:?}");
            if let (Some(data), Some(wanted)) = (data.as_object(), wanted.as_object()) {
                assert!(wanted.iter().all(|(name, value)| data.get(name) == Some(value)), "{name}: {data:?}");
            } else if let (true, Some(data), Some(wanted)) =
                (name.starts_with("quoted"), data.as_str(), wanted.as_str())
            {
                assert!(data.starts_with(wanted.trim_end_matches("</EventData>")), "{name}: {data}");
            }
        }
    });
}

#[test]
fn what_stands_beside_a_quoted_event_is_kept() {
    let record = r#"{"Message":"said","host":{"name":"wec1"},"Own_CF":1,"log":"<Event><System><Provider Name='P'/><EventID>1</EventID><Channel>c</Channel></System><EventData><Data Name='a'>b</Data></EventData></Event>"}"#;
    let row = row_of(Table::WindowsEvent, record);
    assert_eq!(row["EventData"], json!({ "a": "b", "Message": "said", "host": { "name": "wec1" } }));
    assert_eq!((&row["Own_CF"], &row["EventID"]), (&json!(1), &json!(1)));
    // What is damaged goes as it came, with what stands beside it.
    let damaged = record.replace("</Data>", "");
    assert_eq!(row_of(Table::WindowsEvent, &damaged)["RawEventData"], damaged);
}

#[test]
fn an_id_that_is_none_is_no_row_as_it_came() {
    for id in ["1073748860", "-1073734788", "7036.0"] {
        let raw =
            format!(r#"{{"EventID":{id},"Computer":"c","Channel":"System","Provider":"p","EventData":{{"a":"b"}}}}"#);
        let want = json!({ "EventID": 7036, "Computer": "c", "Channel": "System", "Provider": "p", "EventData": { "a": "b" } });
        assert_eq!(row_of(Table::WindowsEvent, &raw), want);
    }
}
