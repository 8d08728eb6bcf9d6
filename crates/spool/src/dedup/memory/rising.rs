//! Numbers that rise, in about two bits each and those that all of them need below.
//!
//! The way of Elias and Fano: the lower bits of each number stand elsewhere, as they are. The upper bits are a row of ones and
//! zeros: a one for each number, and before it a zero for each step that the upper bits went up. So the place of a number's
//! one tells its upper bits, and the zeros tell which numbers have given ones. Both are found by counting ones in words, which for
//! a few hundred numbers is as quick as any index.

const WORD: usize = u64::BITS as usize;

/// How many lower bits stand elsewhere, for so many numbers up to `highest`: with so many the whole is smallest.
pub(super) fn lower_width(highest: u64, count: usize) -> u8 {
    highest.checked_div(count as u64).and_then(u64::checked_ilog2).unwrap_or(0) as u8
}

/// Bits of the row.
pub(super) fn row_len(highest: u64, count: usize, lower: u8) -> usize {
    count + (highest >> lower) as usize
}

/// Writes the row of these numbers, without their lower bits, into bytes that are zero.
pub(super) fn write(row: &mut [u8], numbers: impl Iterator<Item = u64>, lower: u8) {
    for (rank, number) in numbers.enumerate() {
        let place = rank + (number >> lower) as usize;
        row[place / 8] |= 1 << (place % 8);
    }
}

/// The upper bits of the number with this rank.
pub(super) fn upper(row: &[u8], rank: usize) -> u64 {
    (select(words(row), rank) - rank) as u64
}

/// The upper bits of every number.
pub(super) fn uppers(row: &[u8], count: usize) -> impl Iterator<Item = u64> {
    words(row)
        .enumerate()
        .flat_map(|(at, word)| places(word).map(move |place| at * WORD + place))
        .zip(0..count)
        .map(|(place, rank)| (place - rank) as u64)
}

/// The ranks of the numbers with these upper bits. Where there are none, the rank that one would have.
pub(super) fn ranks(row: &[u8], upper: u64, count: usize) -> std::ops::Range<usize> {
    // Behind the row stand as many zeros as anybody looks for.
    let zeros = || words(row).map(|word| !word).chain(std::iter::repeat(u64::MAX));
    let Ok(upper) = usize::try_from(upper) else { return count..count };
    if upper > row.len() * 8 {
        return count..count;
    }
    let end = select(zeros(), upper);
    let start = upper.checked_sub(1).map_or(0, |below| select(zeros(), below) + 1);
    (start - upper).min(count)..(end - upper).min(count)
}

fn words(row: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = row.as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    whole.iter().copied().chain((!rest.is_empty()).then_some(last)).map(u64::from_le_bytes)
}

/// The place of the one with this rank; there must be so many.
fn select(words: impl Iterator<Item = u64>, mut rank: usize) -> usize {
    let mut passed = 0;
    for word in words {
        let ones = word.count_ones() as usize;
        if rank < ones {
            return passed + select_in(word, rank);
        }
        rank -= ones;
        passed += WORD;
    }
    passed
}

fn select_in(mut word: u64, mut rank: usize) -> usize {
    let mut passed = 0;
    loop {
        let ones = (word & 0xFF).count_ones() as usize;
        if rank < ones || passed == WORD - 8 {
            break;
        }
        rank -= ones;
        word >>= 8;
        passed += 8;
    }
    for _ in 0..rank {
        word &= word.wrapping_sub(1);
    }
    passed + word.trailing_zeros() as usize
}

/// The places of the ones.
fn places(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        place
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_found_by_rank_and_by_their_upper_bits(
            mut numbers in prop::collection::vec(prop_oneof![0u64..300, 0u64..100_000, any::<u64>()], 1..300),
        ) {
            numbers.sort_unstable();
            let highest = numbers[numbers.len() - 1];
            let lower = lower_width(highest, numbers.len());
            let len = row_len(highest, numbers.len(), lower);
            prop_assert!(len <= numbers.len() * 3, "{len} bits for {} numbers", numbers.len());
            let mut row = vec![0; len.div_ceil(8)];
            write(&mut row, numbers.iter().copied(), lower);
            let expected: Vec<u64> = numbers.iter().map(|number| number >> lower).collect();
            prop_assert_eq!(uppers(&row, numbers.len()).collect::<Vec<_>>(), expected.clone());
            for (rank, expected) in expected.iter().enumerate() {
                prop_assert_eq!(upper(&row, rank), *expected);
            }
            for wanted in (0..(highest >> lower).min(2_000) + 3).chain([u64::MAX]) {
                let start = expected.partition_point(|upper| *upper < wanted);
                let end = expected.partition_point(|upper| *upper <= wanted);
                prop_assert_eq!(ranks(&row, wanted, numbers.len()), start..end);
            }
        }
    }
}
