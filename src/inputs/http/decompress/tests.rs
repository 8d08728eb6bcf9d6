use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;

use super::*;
use crate::inputs::http::body::Memory;

const LIMIT: u64 = 1 << 20;

pub(crate) fn gzip_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn raw_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd_of(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 3).expect("memory")
}

fn events() -> Vec<u8> {
    (0..2000).map(|id| format!("{{\"EventID\":4624,\"EventRecordID\":{id}}}\n")).collect::<String>().into_bytes()
}

fn open_within(encoding: Encoding, body: Vec<u8>, memory: &Memory) -> Result<Bytes, DecompressError> {
    let mut share = memory.share(&Who::default());
    decompress(encoding, body.into(), LIMIT, &mut share, &Turn::alone(), &Presence::default())
}

fn open(encoding: Encoding, body: Vec<u8>) -> Result<Bytes, DecompressError> {
    open_within(encoding, body, &Memory::new(64 << 20))
}

type Compress = fn(&[u8]) -> Vec<u8>;
const ROADS: [(Encoding, Compress); 4] =
    [(Encoding::Gzip, gzip_of), (Encoding::Deflate, zlib_of), (Encoding::Deflate, raw_of), (Encoding::Zstd, zstd_of)];

#[test]
fn what_was_compressed_comes_out_again() {
    for (encoding, compress) in ROADS {
        for data in [events(), b"[]".to_vec(), vec![b'x'; LIMIT as usize]] {
            assert_eq!(open(encoding, compress(&data)).as_deref(), Ok(&data[..]), "{encoding:?}");
        }
    }
}

#[test]
fn one_byte_over_the_limit_is_too_large_and_a_bomb_takes_no_more_memory_than_the_limit() {
    for (encoding, compress) in ROADS {
        let over = compress(&vec![b'x'; LIMIT as usize + 1]);
        assert_eq!(open(encoding, over), Err(DecompressError::TooLarge { limit: LIMIT }), "{encoding:?}");
        let bomb = compress(&vec![0; 64 << 20]);
        let memory = Memory::new(2 * LIMIT + bomb.len() as u64);
        let result = open_within(encoding, bomb, &memory);
        assert_eq!(result, Err(DecompressError::TooLarge { limit: LIMIT }), "{encoding:?}");
    }
}

#[test]
fn cut_off_or_damaged_bodies_are_errors_wherever_the_cut_is() {
    for (encoding, compress) in ROADS {
        let sound = compress(&events());
        for end in [0, 1, 5, 17, sound.len() / 2, sound.len() - 1] {
            let result = open(encoding, sound[..end].to_vec());
            let nothing = encoding == Encoding::Zstd && end == 0;
            assert!(nothing || matches!(result, Err(DecompressError::Damaged(_))), "{encoding:?} {end} {result:?}");
        }
        let trailing = [&sound[..], b"garbage after the end"].concat();
        assert!(matches!(open(encoding, trailing), Err(DecompressError::Damaged(_))), "{encoding:?}");
    }
    let mut wrong_sum = gzip_of(&events());
    let at = wrong_sum.len() - 8;
    wrong_sum[at] ^= 1;
    assert!(matches!(open(Encoding::Gzip, wrong_sum), Err(DecompressError::Damaged(_))));
}

/// What streaming makes of a body in zlib.
fn streamed(body: &[u8], limit: u64) -> Result<Bytes, DecompressError> {
    let (turn, presence, memory) = (Turn::alone(), Presence::default(), Memory::new(64 << 20));
    let mut decoder = ZlibDecoder::new(Wire::new(body, &turn, &presence));
    let wire = Wire::new(body, &turn, &presence);
    let out = stream(&mut decoder, wire, None, limit, &mut memory.share(&Who::default()))?;
    if decoder.total_in() == body.len() as u64 { Ok(out) } else { Err(damaged("bytes after the end")) }
}

fn at_once(body: &[u8], limit: u64, memory: &Memory) -> Option<Bytes> {
    let (turn, presence) = (Turn::alone(), Presence::default());
    let mut share = memory.share(&Who::default());
    share.grow_to(body.len() as u64).expect("there is room for it");
    let out = zlib_at_once(Wire::new(body, &turn, &presence), limit, &mut share);
    assert!(out.is_some() || share.bytes() == body.len() as u64, "nothing is held of what was tried");
    out
}

#[test]
fn what_comes_out_of_zlib_at_once_is_what_streaming_finds_and_all_else_is_left_to_it() {
    let memory = Memory::new(64 << 20);
    let random: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(10_000).collect();
    for data in [events(), Vec::new(), b"[]".to_vec(), vec![b'x'; 100_000], random] {
        let sound = zlib_of(&data);
        let fits = data.len() as u64 <= sound.len() as u64 * ZLIB_TIMES;
        assert_eq!(at_once(&sound, LIMIT, &memory).is_some(), fits);
        let cut = |by: usize| sound[..sound.len() - by].to_vec();
        let mut wrong = sound.clone();
        *wrong.last_mut().expect("a checksum") ^= 1;
        let sum = sound.last_chunk::<4>().expect("a checksum");
        let bodies =
            [sound.clone(), cut(1), cut(4), cut(5), wrong, [&sound[..], b"x"].concat(), [&sound[..], sum].concat()];
        for body in bodies {
            for limit in [LIMIT, data.len() as u64, (data.len() as u64).saturating_sub(1)] {
                if let Some(out) = at_once(&body, limit, &memory) {
                    assert_eq!(streamed(&body, limit), Ok(out));
                }
            }
        }
    }
    assert_eq!(at_once(&zlib_of(&events()), LIMIT, &Memory::new(8 << 10)), None, "memory is asked for first");
    let waiting = std::sync::Arc::new(());
    let (turn, presence) = (Turn::alone(), Presence::of(&waiting));
    drop(waiting);
    let body = zlib_of(&events());
    let gone = zlib_at_once(Wire::new(&body, &turn, &presence), LIMIT, &mut memory.share(&Who::default()));
    assert_eq!(gone, None, "nobody waits for it");
}

#[test]
fn several_gzip_members_are_one_body_even_when_they_are_equal() {
    let (one, two) = (gzip_of(b"same\n"), gzip_of(&events()));
    assert_eq!(open(Encoding::Gzip, [&one[..], &one].concat()).as_deref(), Ok(&b"same\nsame\n"[..]));
    let expected = [&b"same\n"[..], &events()].concat();
    assert_eq!(open(Encoding::Gzip, [one, two].concat()).as_deref(), Ok(&expected[..]));
}

#[test]
fn a_lying_length_does_not_matter() {
    for lie in [0u32, 1, 1 << 30, u32::MAX] {
        let mut body = gzip_of(&events());
        let at = body.len() - 4;
        body[at..].copy_from_slice(&lie.to_le_bytes());
        assert!(matches!(open(Encoding::Gzip, body), Err(DecompressError::Damaged(_))), "{lie}");
    }
}

#[test]
fn a_window_above_eight_mebibytes_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.window_log(27).expect("a valid window");
    encoder.include_contentsize(false).expect("a valid setting");
    encoder.write_all(&vec![b'x'; 1 << 20]).expect("memory");
    let body = encoder.finish().expect("memory");
    assert!(matches!(open(Encoding::Zstd, body), Err(DecompressError::Damaged(_))));
}

#[test]
fn nothing_is_decompressed_twice_and_memory_is_asked_for_first() {
    let twice = gzip_of(&gzip_of(b"[]"));
    assert_eq!(open(Encoding::Gzip, twice).as_deref(), Ok(&gzip_of(b"[]")[..]));
    let tight = Memory::new(8 << 10);
    for (encoding, compress) in ROADS {
        let body = compress(&vec![b'x'; 512 << 10]);
        let result = open_within(encoding, body, &tight);
        assert_eq!(result, Err(DecompressError::NoMemory(NoMemory)), "{encoding:?}");
    }
}

#[test]
fn one_known_encoding_or_the_first_bytes_decide() {
    let of = |values: &[&'static str], body: &[u8]| {
        let named = |value: &&'static str| (header::CONTENT_ENCODING, HeaderValue::from_static(value));
        Encoding::of(&HeaderMap::from_iter(values.iter().map(named)), body)
    };
    assert_eq!(of(&[], b"[]"), Ok(Encoding::Identity));
    assert_eq!(of(&[], &gzip_of(b"[]")), Ok(Encoding::Gzip));
    assert_eq!(of(&["GZIP"], b""), Ok(Encoding::Gzip));
    assert_eq!(of(&["identity"], &gzip_of(b"[]")), Ok(Encoding::Identity));
    assert_eq!(of(&["deflate"], b""), Ok(Encoding::Deflate));
    assert_eq!(of(&["zstd"], b""), Ok(Encoding::Zstd));
    for wrong in [&["br"][..], &["gzip, gzip"], &["gzip,deflate"], &["gzip", "gzip"], &[""], &["compress"]] {
        let mut headers = HeaderMap::new();
        for value in wrong {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        assert!(matches!(Encoding::of(&headers, b""), Err(DecompressError::Unsupported(_))), "{wrong:?}");
    }
}

/// Other clients' small uploads, one after the other, until they are told to stop.
fn others_wait(turns: &Turns) -> [tokio::task::JoinHandle<()>; 4] {
    ["a", "b", "c", "d"].map(|name| {
        let turns = turns.clone();
        tokio::spawn(async move {
            loop {
                turns.run(&Who::new(&name.into(), None), 1, |_| ()).await.expect("it is done");
            }
        })
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_gives_way_piece_by_piece_and_ends_when_its_sender_has_gone() {
    let turns = Turns::new(1, 2, std::time::Duration::ZERO);
    let others = others_wait(&turns);
    for (encoding, compress) in ROADS {
        let bomb = Bytes::from(compress(&vec![0; 32 << 20]));
        let waiting = std::sync::Arc::new(());
        let presence = Presence::of(&waiting);
        let unpack = {
            let (bomb, presence) = (bomb.clone(), presence.clone());
            let mut share = Memory::new(256 << 20).share(&Who::default());
            move |turn: &Turn| {
                let result = decompress(encoding, bomb, 64 << 20, &mut share, turn, &presence);
                (result.map(|out| out.len()), turn.slices())
            }
        };
        let (result, slices) = turns.run(&Who::default(), 64 << 20, unpack).await.expect("it is done");
        assert_eq!(result, Ok(32 << 20), "{encoding:?}");
        assert!(slices > 8, "{encoding:?}: {slices} slices");
        drop(waiting);
        let share = Memory::new(256 << 20).share(&Who::default());
        let gone = in_turn(&turns, &Who::default(), (encoding, bomb), 64 << 20, share, &presence).await;
        assert_eq!(gone.map(|_| ()), Err(DecompressError::Gone), "{encoding:?}");
    }
    others.iter().for_each(|other| other.abort());
}

#[tokio::test]
async fn a_large_body_passes_beside_a_small_one_that_never_ends_and_after_large_ones_that_do() {
    let turns = Turns::new(1, 1, std::time::Duration::ZERO);
    const LARGE: usize = 15 << 20;
    for (encoding, compress) in ROADS {
        let body = Bytes::from(compress(&vec![b'x'; LARGE]));
        let memory = Memory::new(Memory::least_for((16 << 20) + body.len() as u64 + 1));
        let mut others = [("slow", 8), ("busy", 9 << 20)].map(|(name, bytes)| {
            let mut share = memory.share(&Who::new(&name.into(), None));
            share.grow_to(bytes).expect("there is room");
            share
        });
        let mut share = memory.share(&Who::new(&"large".into(), None));
        share.grow_to(body.len() as u64).expect("it is little");
        let [_slow, busy] = &mut others;
        let busy_ends = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            busy.shrink_to(0);
        };
        let (who, presence) = (Who::default(), Presence::default());
        let read = in_turn(&turns, &who, (encoding, body), 16 << 20, share, &presence);
        let (read, ()) = tokio::join!(read, busy_ends);
        assert_eq!(read.map(|(out, _share)| out.len()), Ok(LARGE), "{encoding:?}");
    }
}

#[tokio::test]
async fn what_is_more_than_it_looked_like_is_read_as_what_it_is() {
    let turns = Turns::new(1, 1, std::time::Duration::ZERO);
    for (encoding, compress) in ROADS {
        for (size, limit) in [(10, LIMIT), (4 << 20, 8 << 20), (4 << 20, LIMIT)] {
            let body = Bytes::from(compress(&vec![b'x'; size]));
            let memory = Memory::new(64 << 20);
            let share = memory.share(&Who::default());
            let read = in_turn(&turns, &Who::default(), (encoding, body), limit, share, &Presence::default()).await;
            if size as u64 <= limit {
                let (out, _share) = read.expect("it fits");
                assert_eq!((out.len(), memory.held()), (size, size as u64), "{encoding:?}");
            } else {
                assert_eq!(read.map(|_| ()), Err(DecompressError::TooLarge { limit }), "{encoding:?}");
            }
        }
    }
}
