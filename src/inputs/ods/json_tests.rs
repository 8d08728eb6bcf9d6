use super::*;
use crate::inputs::http::body::Memory;
use crate::turns::Who;

const PLAIN: How<'static> = How { columns: &[], computer: Some("web01.plant.example"), resource_id: None };

fn rewritten(body: &str, how: How<'_>) -> Result<(String, Vec<String>), JsonFault> {
    let mut share = Memory::new(4 << 20).share(&Who::default());
    let rows = Envelope::read(body.as_bytes())?.rewrite(how, 1 << 20, body.len() as u64, &mut share)?;
    let end = rows.damaged.first().map_or(rows.text.len(), |first| first.span.start);
    let text = String::from_utf8(rows.text[..end].to_vec()).expect("it is text");
    Ok((text, rows.damaged.into_iter().map(|damaged| damaged.reason).collect()))
}

fn upload(items: &str) -> String {
    format!("{{\"DataItems\":{items},\"DataType\":\"LINUX_SYSLOGS_BLOB\",\"IPName\":\"logmanagement\"}}")
}

#[test]
fn syslog_has_the_names_of_its_table_its_time_and_its_computer() {
    let item = r#"{"ident":"sshd","Timestamp":"2026-01-02T03:04:05.678Z","EventTime":"2026-01-02T03:04:05Z","Host":"web02","HostIP":"10.0.0.2","Message":"a \"b\"","ProcessId":"7","Facility":"auth","Severity":"info"}"#;
    let columns = &[("ident", "ProcessName"), ("Host", "HostName"), ("Message", "SyslogMessage")];
    let how = How { columns, resource_id: Some("/subscriptions/s"), ..PLAIN };
    let (text, aside) = rewritten(&upload(&format!("[{item}]")), how).expect("it is taken");
    let want = r#"{"ProcessName":"sshd","Timestamp":"2026-01-02T03:04:05.678Z","EventTime":"2026-01-02T03:04:05Z","HostName":"web02","HostIP":"10.0.0.2","SyslogMessage":"a \"b\"","ProcessId":"7","Facility":"auth","Severity":"info","TimeGenerated":"2026-01-02T03:04:05.6780000Z","Computer":"web02","_ResourceId":"/subscriptions/s"}"#;
    assert_eq!((text, aside), (format!("{want}\n"), Vec::<String>::new()));
}

#[test]
fn what_an_item_tells_itself_stays_as_it_is() {
    let item = r#"{"TimeGenerated":"2026-01-02T03:04:05Z","Computer":"db01","_ResourceId":"/x","n":1.50}"#;
    let how = How { resource_id: Some("/subscriptions/s"), ..PLAIN };
    assert_eq!(rewritten(&upload(&format!("[{item}]")), how).expect("it is taken").0, format!("{item}\n"));
    let (text, _) = rewritten(&upload("[{\"a\":{\n\"b\":1}},{}]"), PLAIN).expect("it is taken");
    let computer = "\"Computer\":\"web01.plant.example\"";
    assert_eq!(text, format!("{{\"a\":{{\"b\":1}},{computer}}}\n{{{computer}}}\n"));
}

#[test]
fn what_is_no_object_is_set_aside_and_the_others_go_on() {
    let (text, aside) = rewritten(&upload("[5,{\"a\":1},\"x\",{\"\\ud800\":1}]"), PLAIN).expect("it is taken");
    assert_eq!((text.lines().count(), aside.len()), (1, 3));
    let large = format!("[{{\"a\":\"{}\"}}]", "x".repeat(MAX_RECORD_BYTES));
    let body = upload(&large);
    let mut share = Memory::new(16 << 20).share(&Who::default());
    let rows = Envelope::read(body.as_bytes()).and_then(|read| read.rewrite(PLAIN, 8 << 20, 0, &mut share));
    assert_eq!(rows.expect("it is taken").damaged[0].reason, "the record is larger than 1 MiB");
}

#[test]
fn bodies_that_are_no_upload_are_refused_and_rows_never_grow_beyond_their_limit() {
    for body in
        ["", "[]", "{}", "{\"DataItems\":{}}", "{\"DataItems\":[{}]", "{\"DataItems\":[],\"DataItems\":[]}", "<a/>"]
    {
        let refused = Envelope::read(body.as_bytes())
            .and_then(|envelope| envelope.rewrite(PLAIN, 1 << 20, 0, &mut Memory::new(4 << 20).share(&Who::default())));
        assert!(matches!(refused, Err(JsonFault::Malformed(_))), "{body}: {refused:?}");
    }
    assert!(Envelope::read(b"{\"DataItems\":[\"\xff\"]}").is_err());
    let deep = upload(&format!("[{}{}]", "{\"a\":".repeat(100_000), "1".to_owned() + &"}".repeat(100_000)));
    assert!(rewritten(&deep, PLAIN).is_ok_and(|(text, _)| text.len() < deep.len() + 100), "nobody runs out of stack");
    let body = upload(&format!("[{}{{}}]", "{\"a\":\"0123456789\"},".repeat(60_000)));
    assert_eq!(rewritten(&body, PLAIN), Err(JsonFault::NoRoom(NoRoom::TooLarge { limit: 1 << 20 })));
}
