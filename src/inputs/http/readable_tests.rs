use super::*;
use crate::event::{Client, Upload};
use crate::inputs::http::body::Memory;
use crate::lab::events::{Host, Shape};
use crate::lab::evtx;

const LIMIT: u64 = 4 << 20;

fn readable(body: Vec<u8>, limit: u64) -> Result<Readable, ReadError> {
    let mut share = Memory::new(128 << 20).share(&Who::default());
    read(body.into(), Syntax::Sniff, limit, &mut share, &Turn::alone(), &Presence::default())
}

fn upload(Readable { body, damaged }: Readable) -> Upload {
    let syntax = Syntax::Sniff;
    Upload {
        input: "in".into(),
        client: Client::default(),
        stream: "".into(),
        syntax,
        body,
        damaged,
        known: None,
        presence: Presence::default(),
    }
}

fn log(count: usize) -> Vec<u8> {
    evtx::log(&Host::new("log.example", 3).take(count).collect::<Vec<_>>())
}

#[test]
fn a_fault_of_ours_is_never_told_as_one_of_the_upload() {
    use crate::inputs::reason::Failure;
    for ended in [Ended::Panicked, Ended::Crowded] {
        let failure = Failure::from(ReadError::from(ended));
        assert!(failure.reason.status >= 500, "the client keeps its copy: {failure:?}");
    }
}

#[test]
fn utf_16_becomes_the_text_that_it_is() {
    let event = Host::new("wide.example", 3).next_event().render(Shape::Xml);
    let text = String::from_utf8(event).expect("text");
    for mark in ["", "\u{feff}"] {
        let wide: Vec<u8> = format!("{mark}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(is_packed(&wide));
        let read = readable(wide, LIMIT).expect("it is text");
        assert_eq!(read.body, format!("{mark}{text}"));
    }
    let large: Vec<u8> = "<Event/>".repeat(100).encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(readable(large, 799), Err(ReadError::TooLarge { limit: 799 }));
}

#[test]
fn a_log_becomes_its_events_and_what_is_damaged_is_kept_behind_them() {
    let whole = upload(readable(log(100), LIMIT).expect("a log"));
    let decoded = whole.decode(|| Ok::<(), crate::event::DecodeError>(())).expect("events");
    assert_eq!((decoded.events.len(), decoded.unreadable.len()), (100, 0));

    let cut = log(100);
    let there = cut.len() - evtx::CHUNK + 9_000;
    let upload_of_it = upload(readable(cut[..there].to_vec(), LIMIT).expect("a log"));
    let decoded = upload_of_it.decode(|| Ok::<(), crate::event::DecodeError>(())).expect("events");
    assert!(decoded.events.len() > 50 && decoded.events.len() < 100, "{}", decoded.events.len());
    let aside: Vec<_> = decoded.unreadable.iter().map(|record| record.raw).collect();
    assert_eq!(aside, [&cut[there - 9_000..there]], "the bytes of the damaged chunk");

    let nothing = upload(readable([&log(10)[..4096], &[b'x'; 65536]].concat(), LIMIT).expect("a log"));
    assert!(
        nothing.decode(|| Ok::<(), crate::event::DecodeError>(())).is_err(),
        "damage alone is nothing that was understood"
    );
}

#[test]
fn what_the_reading_took_beside_the_text_is_given_back() {
    let wide: Vec<u8> = "<Event/>".repeat(1 << 18).encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (body, all, free) in [(log(100), 64 << 20, 40 << 20), (wide, 12 << 20, 6 << 20)] {
        let memory = Memory::new(all);
        let mut share = memory.share(&Who::default());
        let read = read(body.into(), Syntax::Sniff, 32 << 20, &mut share, &Turn::alone(), &Presence::default());
        assert!(read.is_ok());
        let held = memory.held();
        assert!((1..=all - free).contains(&held), "{held}: the text has its share and no more");
    }
}

#[tokio::test]
async fn what_needs_much_room_waits_for_others_to_be_over() {
    let memory = Memory::new(64 << 20);
    let [mut others, mut share] = ["others", "own"].map(|name| memory.share(&Who::new(&name.into(), None)));
    others.grow_to(40 << 20).expect("there is room");
    let body = Bytes::from(log(100));
    share.grow_to(body.len() as u64).expect("it is little");
    let (turns, who) = (Turns::new(1, 1, Duration::ZERO), Who::default());
    let reading = in_turn(&turns, &who, body, Syntax::Sniff, LIMIT, share, Presence::default());
    let others_end = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(others);
    };
    assert!(tokio::join!(reading, others_end).0.is_ok());
}

#[test]
fn a_log_has_limits() {
    assert_eq!(readable(log(100), 50_000), Err(ReadError::TooLarge { limit: 50_000 }));
    assert!(matches!(readable(b"ElfFile\0".to_vec(), LIMIT), Err(ReadError::Damaged(_))));
    let memory = Memory::new(64 << 20);
    let read_with =
        |share: &mut Share| read(log(100).into(), Syntax::Sniff, LIMIT, share, &Turn::alone(), &Presence::default());
    let [mut others, mut share] = [(); 2].map(|()| memory.share(&Who::default()));
    others.grow_to(56 << 20).expect("there is room");
    assert!(matches!(read_with(&mut share), Err(ReadError::NoMemory(_))), "it passes");
    let never = read_with(&mut Memory::new(1 << 20).share(&Who::default()));
    assert_eq!(never.map(|_| ()), Err(ReadError::TooLarge { limit: 7 << 17 }), "it does not pass");
    let mut share = Memory::new(128 << 20).share(&Who::default());
    let here = read(log(1).into(), Syntax::JsonArray, LIMIT, &mut share, &Turn::alone(), &Presence::default());
    assert_eq!(here, Err(ReadError::NotHere));
}
