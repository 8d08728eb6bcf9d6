//! The whole numbers of an event as agents write them.
//!
//! Windows has whole numbers only. On the way through tools that know but floats an id becomes `99015.0`, and old interfaces
//! give an event's id together with its qualifiers as one number of 32 bits, of which some make a signed one. All of them
//! mean the number that Windows wrote.

use std::str::FromStr;

/// Up to here a float is exactly the whole number that it looks like.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The id of an event, apart from what old interfaces put before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventId {
    /// `EventID`.
    pub(super) id: u16,
    /// `EventID/@Qualifiers`: severity and facility.
    pub(super) qualifiers: u16,
}

impl EventId {
    /// Reads 16 or 32 bits, with or without a sign.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Ok(id) = text.parse() {
            return Some(Self { id, qualifiers: 0 });
        }
        let number: i64 = whole(text)?;
        let bits = u32::try_from(number).or_else(|_| i32::try_from(number).map(i32::cast_unsigned)).ok()?;
        let half = |bits: u32| u16::try_from(bits & 0xFFFF).ok();
        Some(Self { id: half(bits)?, qualifiers: half(bits >> 16)? })
    }
}

/// A whole number, also where it is written as a float.
pub(super) fn whole<T: FromStr + TryFrom<i128>>(text: &str) -> Option<T> {
    text.parse().ok().or_else(|| T::try_from(of_float(text)?).ok())
}

fn of_float(text: &str) -> Option<i128> {
    if let Some((number, zeros)) = text.split_once('.')
        && !zeros.is_empty()
        && zeros.bytes().all(|digit| digit == b'0')
    {
        return number.parse().ok();
    }
    let number: f64 = text.parse().ok().filter(|_| text.contains(['e', 'E']))?;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_that_is_whole_is_the_number() {
        for (text, number) in [
            ("99015", Some(99_015)),
            ("99015.0", Some(99_015)),
            ("99015.000", Some(99_015)),
            ("9.9015e4", Some(99_015)),
            ("9.9015E+04", Some(99_015)),
            ("-0.0", Some(0)),
            ("18446744073709551615.0", Some(u64::MAX)),
            ("99015.5", None),
            ("99015.", None),
            (".0", None),
            ("1e400", None),
            ("1e17", None),
            ("-1", None),
            ("nan", None),
            ("infinite", None),
            ("0x10", None),
            ("", None),
        ] {
            assert_eq!(whole::<u64>(text), number, "{text}");
        }
    }

    #[test]
    fn an_id_of_32_bits_is_its_low_half_and_the_rest_are_qualifiers() {
        for (text, id, qualifiers) in [
            ("4624", 4624, 0),
            ("4624.0", 4624, 0),
            ("65535", 65_535, 0),
            ("1073748860", 7036, 0x4000),
            ("3221232472", 7000, 0xC000),
            ("-1073734824", 7000, 0xC000),
            ("-2147483640", 8, 0x8000),
            ("4294967295", 65_535, 0xFFFF),
            ("1.07374886e9", 7036, 0x4000),
        ] {
            assert_eq!(EventId::read(text), Some(EventId { id, qualifiers }), "{text}");
        }
        for text in ["4294967296", "-2147483649", "4624.5", "x", ""] {
            assert_eq!(EventId::read(text), None, "{text}");
        }
    }
}
