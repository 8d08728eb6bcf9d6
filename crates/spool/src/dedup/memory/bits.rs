//! Numbers of a few bits each, packed without gaps. Places and widths are in bits.

/// Bytes that are looked at together.
const WINDOW: usize = 16;
/// Most bits that are read or written at once: with up to seven before them they fit a window.
const WIDTH_MAX: usize = 120;
/// How much is moved at once.
const STEP: usize = 64;

/// The number of this width at this place.
pub(super) fn read(bytes: &[u8], at: usize, width: usize) -> u128 {
    let (window, shift) = window(bytes, at, width);
    window >> shift & mask(width)
}

/// Puts a number of this width at this place.
pub(super) fn write(bytes: &mut [u8], at: usize, width: usize, number: u128) {
    let (window, shift) = window(bytes, at, width);
    let window = (window & !(mask(width) << shift) | (number & mask(width)) << shift).to_le_bytes();
    if let Some(place) = whole_window(bytes.len(), at) {
        bytes[place..place + WINDOW].copy_from_slice(&window);
    } else {
        let covered = covered(at, width);
        let count = covered.len();
        bytes[covered].copy_from_slice(&window[..count]);
    }
}

/// Moves what stands in `from..to` up by `by`.
pub(super) fn move_up(bytes: &mut [u8], from: usize, to: usize, by: usize) {
    let mut end = to;
    while end > from {
        let width = (end - from).min(STEP);
        end -= width;
        let moved = read(bytes, end, width);
        write(bytes, end + by, width, moved);
    }
}

/// Moves what stands in `from..to` down by `by`.
pub(super) fn move_down(bytes: &mut [u8], from: usize, to: usize, by: usize) {
    let mut at = from;
    while at < to {
        let width = (to - at).min(STEP);
        let moved = read(bytes, at, width);
        write(bytes, at - by, width, moved);
        at += width;
    }
}

/// How many bits hold every number up to this one.
pub(super) fn width_of(highest: u64) -> u8 {
    (u64::BITS - highest.leading_zeros()) as u8
}

/// The highest number of this width.
pub(super) fn highest(width: u8) -> u64 {
    u64::MAX.checked_shr(u64::BITS - u32::from(width)).unwrap_or(0)
}

/// Bytes that hold what stands there, and how many bits of them are below it.
fn window(bytes: &[u8], at: usize, width: usize) -> (u128, usize) {
    if let Some(place) = whole_window(bytes.len(), at)
        && let Some(window) = bytes[place..].first_chunk()
    {
        return (u128::from_le_bytes(*window), at - place * 8);
    }
    let mut window = [0u8; WINDOW];
    let covered = covered(at, width);
    window[..covered.len()].copy_from_slice(&bytes[covered]);
    (u128::from_le_bytes(window), at % 8)
}

/// Where a whole window around this place begins, if there are so many bytes: at the end it reaches back.
fn whole_window(len: usize, at: usize) -> Option<usize> {
    len.checked_sub(WINDOW).map(|last| last.min(at / 8))
}

/// The bytes that hold a piece of these bits.
fn covered(at: usize, width: usize) -> std::ops::Range<usize> {
    debug_assert!(width <= WIDTH_MAX);
    at / 8..(at + width).div_ceil(8)
}

fn mask(width: usize) -> u128 {
    (1 << width) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits_of(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).collect()
    }

    proptest! {
        #[test]
        fn a_number_reads_back_and_touches_nothing_beside_it(
            mut bytes in prop::collection::vec(any::<u8>(), 0..40),
            at in 0usize..200, width in 0usize..=WIDTH_MAX, number in any::<u128>(),
        ) {
            bytes.resize(bytes.len().max((at + width).div_ceil(8)), 0xA5);
            let before = bits_of(&bytes);
            write(&mut bytes, at, width, number);
            prop_assert_eq!(read(&bytes, at, width), number & mask(width));
            let after = bits_of(&bytes);
            prop_assert_eq!((&after[..at], &after[at + width..]), (&before[..at], &before[at + width..]));
        }

        #[test]
        fn moving_is_copying(
            bytes in prop::collection::vec(any::<u8>(), 64..80), from in 100usize..150, len in 0usize..250, by in 0usize..90,
        ) {
            let (before, mut up, mut down) = (bits_of(&bytes), bytes.clone(), bytes);
            move_up(&mut up, from, from + len, by);
            move_down(&mut down, from, from + len, by);
            prop_assert_eq!(&bits_of(&up)[from + by..from + by + len], &before[from..from + len]);
            prop_assert_eq!(&bits_of(&down)[from - by..from - by + len], &before[from..from + len]);
        }
    }

    #[test]
    fn a_width_is_as_narrow_as_can_be() {
        assert_eq!([0, 1, 2, 255, 256, u64::MAX].map(width_of), [0, 1, 2, 8, 9, 64]);
        assert_eq!([0, 1, 8, 64].map(highest), [0, 1, 255, u64::MAX]);
    }
}
