//! Spans of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{ValueError, split_number};

/// A span of time, written as `"500 ms"`, `"30 s"`, `"5 min"`, `"24 h"` or `"30 d"`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

const SPAN_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Span {
    /// A span of so many milliseconds; for defaults, so the caller sees to it that `n` is not zero.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// A span of so many seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// The span as a standard duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || {
            ValueError(format!(
                "{text:?} is not a span of time; write a whole number above 0 and a unit, such as \"30 s\", \"5 min\" or \"24 h\""
            ))
        };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let factor = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        match number.checked_mul(factor) {
            None | Some(0) => Err(wrong()),
            Some(millis) => Ok(Self(Duration::from_millis(millis))),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let (name, factor) = SPAN_UNITS
            .iter()
            .rev()
            .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
            .unwrap_or(&SPAN_UNITS[0]);
        write!(f, "{} {name}", millis / factor)
    }
}

/// A [`Span`], or `"0 s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanOrZero(Duration);

impl SpanOrZero {
    /// A span of so many seconds, or none.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// The span as a standard duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for SpanOrZero {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_zero =
            split_number(text).is_some_and(|(n, unit)| n == 0 && SPAN_UNITS.iter().any(|(name, _)| *name == unit));
        let wrong = |_| {
            ValueError(format!(
                "{text:?} is not a span of time; write a whole number and a unit, such as \"10 s\", or \"0 s\" for none"
            ))
        };
        if is_zero {
            Ok(Self(Duration::ZERO))
        } else {
            text.parse::<Span>().map(|span| Self(span.get())).map_err(wrong)
        }
    }
}

impl fmt::Display for SpanOrZero {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() { f.write_str("0 s") } else { Span(self.0).fmt(f) }
    }
}
