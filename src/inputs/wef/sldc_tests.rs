use proptest::prelude::*;

use super::*;
use crate::lab::wef::sldc::compressed;
use crate::lab::wef::soap::wide;

/// Bits as text, for symbols that are written by hand.
fn packed(symbols: &[&str]) -> Vec<u8> {
    let mut bits: String = symbols.concat();
    bits.retain(|bit| bit != ' ');
    while !bits.len().is_multiple_of(32) {
        bits.push('0');
    }
    let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
    bits.as_bytes().chunks(8).map(byte).collect()
}

const RESET_1: &str = "111111111 0101";
const RESET_2: &str = "111111111 0110";
const SCHEME_2: &str = "111111111 0010";
const END: &str = "111111111 0100";

fn literal(byte: u8) -> String {
    format!("0{byte:08b}")
}

fn decoded(symbols: &[&str]) -> Result<Vec<u8>, SldcError> {
    decode(&packed(symbols), 1 << 20, |_| true)
}

#[test]
fn literals_copies_and_plain_bytes_are_decoded() {
    let (a, b) = (literal(b'a'), literal(b'b'));
    // A copy of two bytes from place 0, and one of five that overlaps itself from place 1.
    let text = decoded(&[RESET_1, &a, &b, "1 00 0000000000", "1 1001 0000000011", END]);
    assert_eq!(text.as_deref(), Ok(&b"ababbbbbb"[..]));
    let plain = decoded(&[RESET_2, "01100001", "11111111 0", SCHEME_2, "01100010", END]);
    assert_eq!(plain.as_deref(), Ok(&b"a\xFFb"[..]));
    let never_written = decoded(&[RESET_1, &a, "1 01 0000000101", END]);
    assert_eq!(never_written.as_deref(), Ok(&b"a\0\0\0"[..]));
}

#[test]
fn every_length_of_a_copy_is_read() {
    let count = |code: &str, expected: usize| {
        let copy = format!("1 {code} 0000000000");
        assert_eq!(decoded(&[RESET_1, &literal(b'x'), &copy, END]).map(|out| out.len()), Ok(expected + 1), "{code}");
    };
    count("00", 2);
    count("01", 3);
    count("1000", 4);
    count("1011", 7);
    count("110111", 15);
    count("11101111", 31);
    count("111100000000", 32);
    count("111111101111", 271);
}

#[test]
fn the_ring_turns_and_a_reset_begins_it_anew() {
    let mut symbols = vec![RESET_1.to_owned()];
    symbols.extend((0..1500_u32).map(|n| literal((n % 251) as u8)));
    symbols.push("1 00 0000000000".to_owned());
    symbols.push(RESET_1.to_owned());
    symbols.push(literal(7));
    symbols.push("1 00 0000000000".to_owned());
    symbols.push(END.to_owned());
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let out = decoded(&symbols).expect("it is sound");
    assert_eq!(out[1500..1502], [(1024 % 251) as u8, (1025 % 251) as u8], "place 0 is the byte 1024");
    assert_eq!(out[1502..], [7, 7, 7]);
}

#[test]
fn a_copy_comes_out_whole_from_every_place_and_in_every_length() {
    let text: Vec<u8> = (0..40).collect();
    for behind in 1..=40_usize {
        for (code, count) in [("00", 2_usize), ("1011", 7), ("110111", 15), ("11100000", 16), ("11100001", 17)] {
            let place = 40 - behind;
            let mut symbols = vec![RESET_1.to_owned()];
            symbols.extend(text.iter().map(|byte| literal(*byte)));
            symbols.push(format!("1 {code} {place:010b}"));
            symbols.push(END.to_owned());
            let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
            let expected: Vec<u8> = text.iter().copied().chain((0..count).map(|n| text[place + n % behind])).collect();
            assert_eq!(decoded(&symbols), Ok(expected), "{count} from {behind} behind");
        }
    }
}

#[test]
fn what_is_no_sldc_is_told_so() {
    assert!(matches!(decode(b"\xFF\xFE<\0s\0", 1 << 20, |_| true), Err(SldcError::Damaged(_))), "plain UTF-16");
    assert!(matches!(decode(b"<s:Envelope", 1 << 20, |_| true), Err(SldcError::Damaged(_))), "plain UTF-8");
    assert!(matches!(decode(b"", 1 << 20, |_| true), Err(SldcError::Damaged(_))));
    assert!(matches!(decoded(&[RESET_1, &literal(b'a')]), Err(SldcError::Damaged(_))), "it has no end");
    assert!(matches!(decoded(&[RESET_1, "111111111 1000"]), Err(SldcError::Damaged(_))), "a reserved symbol");
}

#[test]
fn a_bomb_hits_the_limit_and_room_is_asked_for_first() {
    let mut symbols = vec![RESET_1.to_owned(), literal(b'x')];
    symbols.extend((0..10_000).map(|_| "1 111111101111 0000000000".to_owned()));
    let symbols: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let bomb = packed(&symbols);
    let mut most = 0;
    let result = decode(&bomb, 1 << 20, |asked| {
        most = asked;
        true
    });
    assert_eq!(result, Err(SldcError::TooLarge { limit: 1 << 20 }));
    assert!(most <= 1 << 20, "{most}");
    assert_eq!(decode(&bomb, 1 << 30, |asked| asked < 100_000), Err(SldcError::NoRoom));
}

proptest! {
    #[test]
    fn whatever_comes_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let seeded = [packed(&[RESET_1]), bytes.clone()].concat();
        for bytes in [bytes, seeded] {
            if let Ok(out) = decode(&bytes, 1 << 16, |_| true) {
                prop_assert!(out.len() <= bytes.len() * 95 + 64);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_input_decodes_what_hosts_compress(bytes in proptest::collection::vec(0u8..6, 0..3000)) {
        prop_assert_eq!(decode(&compressed(&bytes), 1 << 20, |_| true), Ok(bytes));
    }
}

#[test]
fn every_byte_survives_compression_and_texts_shrink() {
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert_eq!(decode(&compressed(&bytes), 1 << 20, |_| true).as_deref(), Ok(&bytes[..]));
    let text = wide(&"<Event><System><EventID>4624</EventID></System></Event>".repeat(40));
    assert!(compressed(&text).len() * 4 < text.len());
}
