use super::*;
use crate::lab::events::{Host, Shape};
use crate::lab::evtx;

fn read(source: Source, form: Form) -> (Vec<Bytes>, Vec<String>) {
    let (sender, mut pieces) = mpsc::channel(100_000);
    super::read(&[source], form, 7, &sender);
    drop(sender);
    let (mut records, mut damage) = (Vec::new(), Vec::new());
    while let Ok(piece) = pieces.try_recv() {
        match piece {
            Piece::Records { records: some, .. } => {
                assert!(some.len() <= 7);
                records.extend(some);
            }
            Piece::Damaged { error, .. } => damage.push(error),
            Piece::End { source } => assert_eq!(source, 0),
        }
    }
    (records, damage)
}

fn read_text(text: &[u8]) -> (Vec<Bytes>, Vec<String>) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    read(Source::File(file.path().to_owned()), Form::Xml)
}

#[test]
fn texts_are_read_and_damage_is_stepped_over() {
    let (records, damage) = read_text(b"\xEF\xBB\xBF\n{\"a\":1}\r\n\n{oops\n {\"b\":2}");
    assert_eq!(records, ["{\"a\":1}", "{\"b\":2}"]);
    assert_eq!(damage.len(), 1);

    let events: Vec<_> = Host::new("a", 1).take(20).map(|e| Bytes::from(e.render(Shape::Xml))).collect();
    let back_to_back = events.concat();
    assert_eq!(read_text(&back_to_back), (events.clone(), vec![]));
    let wrapped = [b"<?xml version='1.0'?>\n<Events>\n".to_vec(), events.join(&b"\n\n"[..]), b"</Events>".to_vec()];
    assert_eq!(read_text(&wrapped.concat()), (events.clone(), vec![]));
    let (records, damage) = read_text(&back_to_back[..back_to_back.len() - 3]);
    assert_eq!((records.len(), damage.len()), (19, 1));

    assert_eq!(read_text(b""), (vec![], vec![]));
}

#[test]
fn a_file_that_is_no_log_is_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.EVTX");
    std::fs::write(&path, "not an event log").expect("written");
    assert_eq!(sources(&[folder.path().to_owned()]).expect("sources"), [Source::File(path.clone())]);
    let (records, damage) = read(Source::File(path), Form::Xml);
    assert_eq!((records.len(), damage.len()), (0, 1));
    assert!(sources(&[PathBuf::from("/no/such/place")]).is_err());
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_file_is_read_as_the_gateway_reads_a_body() {
    let event = "<Event><System><EventID>1</EventID></System></Event>";
    let pretty = "{\n  \"EventID\": 1,\n  \"EventData\": {\n    \"a\": \"b\"\n  }\n}";
    for (text, records, damaged) in [
        (b"[{\"a\":1},\n 7, {\"b\":2}]\n".to_vec(), vec!["{\"a\":1}", "{\"b\":2}"], 1),
        (pretty.as_bytes().to_vec(), vec![pretty], 0),
        (format!("\u{feff}{pretty}\n{pretty}").into_bytes(), vec![pretty, pretty], 0),
        (utf16(&format!("\u{feff}{event}\r\n{event}")), vec![event, event], 0),
        (utf16(pretty), vec![pretty], 0),
        (format!("evtxexport 20240204\n\n{event}\n{event}").into_bytes(), vec![event, event], 1),
        (format!("2026 Nov 29 08:00:00 (srv) any->WinEvtLog {event}\n").into_bytes(), vec![event], 0),
    ] {
        let (found, damage) = read_text(&text);
        assert_eq!((found, damage.len()), (records.into_iter().map(Bytes::from).collect(), damaged), "{damage:?}");
    }
}

#[test]
fn what_nobody_understands_is_damage_and_no_silence() {
    for (text, part) in [
        (&b"no event\n"[..], "no <Event>"),
        (b"[1", "cut off"),
        (b"PK\x03\x04", "ZIP"),
        (b"{\"index\":{}}\n{\"EventID\":1}\n", "Elasticsearch"),
    ] {
        let (records, damage) = read_text(text);
        assert!(records.is_empty() && damage.len() == 1 && damage[0].contains(part), "{damage:?}");
    }
}

#[test]
fn a_text_that_is_larger_than_what_is_read_at_once_yields_each_record_once() {
    let filling = "x".repeat(1000);
    let object = |n: usize| format!("{{\n \"n\": {n},\n \"text\": \"{filling}\"\n}}");
    let element = |n: usize| format!("<Event>\n<EventData>{n} {filling}</EventData>\n</Event>");
    let objects: Vec<String> = (0..20_000).map(object).collect();
    let elements: Vec<String> = (0..20_000).map(element).collect();
    let texts = [objects.join("\n"), objects.concat(), format!("[{}]\n", objects.join(",\n")), elements.concat()];
    for (text, expected) in texts.iter().zip([&objects, &objects, &objects, &elements]) {
        let (records, damage) = read_text(text.as_bytes());
        assert_eq!(damage, Vec::<String>::new());
        assert!(records.iter().eq(expected.iter().map(String::as_bytes)), "{} records", records.len());
    }
    let wide = utf16(&texts[0]);
    assert_eq!(read_text(&wide).0.len(), objects.len());
    let (records, damage) = read_text(&texts[2].as_bytes()[..texts[2].len() - 3]);
    assert_eq!((records.len(), damage.len()), (objects.len() - 1, 1), "{damage:?}");
}

#[test]
fn a_log_is_known_by_its_content_and_comes_through_a_pipe_too() {
    let events: Vec<_> = Host::new("log.example", 3).take(90).collect();
    let log = evtx::log(&events);
    let (records, damage) = read_text(&log);
    assert_eq!((records.len(), damage.len()), (90, 0), "a file of any name");
    assert!(records.iter().all(|record| record.starts_with(b"<Event") && record.ends_with(b"</Event>")));

    let (sender, mut pieces) = mpsc::channel(1000);
    let mut out = Out { source: 0, batch: 7, pieces: &sender, records: Vec::new(), bytes: 0 };
    let piped = read_piped(Cursor::new(&log[..log.len() - 1000]), Form::Row, &mut out);
    assert!(piped.is_ok_and(|()| out.flush().is_ok()));
    let mut found = (0, 0);
    while let Ok(piece) = pieces.try_recv() {
        match piece {
            Piece::Records { records, .. } => found.0 += records.len(),
            Piece::Damaged { .. } => found.1 += 1,
            Piece::End { .. } => {}
        }
    }
    assert!(found.0 > 0 && found.1 > 0, "a log that is cut, through a pipe: {found:?}");
}
