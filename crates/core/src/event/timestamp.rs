//! Points in time as Windows counts them.
//!
//! Agents write the time of one event with 0 to 9 digits after the second, with `T` or a space, with `Z` or a numeric
//! offset, or as a number since 1970 or 1601. All of them mean the same point here. The parser is written by hand because
//! every event passes it; property tests check it against the `time` crate.

use std::fmt;
use std::time::SystemTime;

/// Ticks of 100 ns in a second.
const TICKS: i64 = 10_000_000;

/// Epoch numbers from here on are milliseconds: as seconds they would be the year 5138.
const MILLIS_FROM: f64 = 1e11;

/// What whole numbers count, by their size: the first that a number is below. Today's time is near the middle of each.
const UNITS: [(i64, Unit); 4] = [
    (100_000_000_000, Unit::Ticks(TICKS)),
    (100_000_000_000_000, Unit::Ticks(TICKS / 1_000)),
    (100_000_000_000_000_000, Unit::Ticks(TICKS / 1_000_000)),
    (1_000_000_000_000_000_000, Unit::FileTime),
];

/// The tick of 1970-01-01 on Windows' own clock, which begins in 1601.
const WINDOWS_1970: i64 = 116_444_736_000_000_000;

/// The first tick of the year 1602: whatever is earlier is Windows' way to say "no time".
const FIRST: i64 = -116_129_376_000_000_000;

/// What a unit of a number is.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// So many ticks, from 1970 on.
    Ticks(i64),
    /// A tick, from 1601 on.
    FileTime,
}

/// A point in time in 100 ns ticks since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point this many 100 ns ticks after 1970-01-01 UTC.
    pub const fn from_ticks(ticks: i64) -> Self {
        Self(ticks)
    }

    /// A point in time of the system's clock.
    pub fn of(time: SystemTime) -> Self {
        let ticks = |span: std::time::Duration| i64::try_from(span.as_nanos() / 100).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self(ticks(since)),
            Err(before) => Self(-ticks(before.duration())),
        }
    }

    /// This many seconds later; earlier when negative.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(TICKS)))
    }

    /// Seconds from an earlier time to this one; negative when that one is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / TICKS as f64
    }

    /// 100 ns ticks since 1970-01-01 UTC.
    pub const fn ticks(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC, cut downwards.
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(TICKS)
    }

    /// Whether it has no fraction of a second: two things of that time may still be apart.
    pub const fn is_whole_second(self) -> bool {
        self.0 % TICKS == 0
    }

    /// Reads `2024-05-06T07:08:09.1234567Z` and its relatives: a space for the `T`, no fraction or up to 9 digits (cut to 7),
    /// `Z`, `UTC`, `+hh:mm`, `+hhmm` or nothing (UTC) for the zone; and .NET's `/Date(1714979289123)/`. `None` for anything
    /// else and for the year 1601 and before, which is Windows' way to say "no time".
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_ascii().as_bytes();
        if let Some(number) = dotnet_millis(text) {
            return number.checked_mul(TICKS / 1_000).filter(|ticks| *ticks >= FIRST).map(Self);
        }
        let (date, rest) = text.split_first_chunk::<19>()?;
        let well_formed = date[4] == b'-'
            && date[7] == b'-'
            && matches!(date[10], b'T' | b't' | b' ')
            && date[13] == b':'
            && date[16] == b':';
        let year = i64::from(digits(&date[..4])?);
        let (month, day) = (digits(&date[5..7])?, digits(&date[8..10])?);
        let (hour, minute, second) = (digits(&date[11..13])?, digits(&date[14..16])?, digits(&date[17..])?);
        if !well_formed || year <= 1601 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_since_1970(year, month, day)?;
        let (fraction, zone) = fraction(rest)?;
        let seconds = days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Some(Self((seconds - offset(zone)?) * TICKS + fraction))
    }

    /// Reads a number since 1970-01-01 UTC: seconds, or milliseconds when it would else be beyond the year 5138.
    /// `None` when it is not finite or out of range.
    pub fn from_epoch(number: f64) -> Option<Self> {
        let seconds = if number.abs() >= MILLIS_FROM { number / 1000.0 } else { number };
        // Beyond this, ticks would not fit. A float has no more than microseconds to give at today's dates.
        (seconds.abs() < 2.5e11).then(|| Self((seconds * 1e6).round() as i64 * 10))
    }

    /// Reads a number as it is written: whole seconds, milliseconds, microseconds or nanoseconds since 1970-01-01 UTC, or
    /// Windows' ticks since 1601, told apart by how large it is; or a float of seconds or milliseconds.
    pub fn from_number(text: &str) -> Option<Self> {
        let Ok(number) = text.parse::<i64>() else { return text.parse().ok().and_then(Self::from_epoch) };
        match UNITS.iter().find(|(end, _)| number.unsigned_abs() < end.unsigned_abs()) {
            Some((_, Unit::Ticks(ticks))) => number.checked_mul(*ticks).map(Self),
            Some((_, Unit::FileTime)) => Self::from_file_time(number),
            None => Some(Self(number / 100)),
        }
    }

    /// Reads `RawTime`, which stands where a provider gave no time in words: Windows' ticks since 1601, or those of a counter
    /// of the processor, which tell no time. Those are smaller for years after a start.
    pub fn from_raw(text: &str) -> Option<Self> {
        const YEAR_1990: i64 = 122_756_256_000_000_000;
        text.trim_ascii().parse().ok().filter(|ticks| *ticks >= YEAR_1990).and_then(Self::from_file_time)
    }

    fn from_file_time(ticks: i64) -> Option<Self> {
        ticks.checked_sub(WINDOWS_1970).filter(|ticks| *ticks >= FIRST).map(Self)
    }
}

/// RFC 3339 in UTC with 7 digits after the second.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.unix_seconds();
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let of_day = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let fraction = self.0.rem_euclid(TICKS);
        if (0..10_000).contains(&year) {
            let mut text = *b"0000-00-00T00:00:00.0000000Z";
            let ends = [(4, year), (7, month), (10, day), (13, hour), (16, minute), (19, second), (27, fraction)];
            ends.into_iter().for_each(|(end, number)| put_digits(&mut text[..end], number));
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:07}Z")
    }
}

/// Writes a number so that it ends there; zeros stand before it already.
fn put_digits(text: &mut [u8], mut number: i64) {
    for digit in text.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// What .NET writes, and so PowerShell's `ConvertTo-Json`: `/Date(1700000000000)/`, or with the offset of the writer,
/// `/Date(1700000000000+0100)/`, which does not change the time.
fn dotnet_millis(text: &[u8]) -> Option<i64> {
    let inner = text.strip_prefix(b"/Date(")?.strip_suffix(b")/")?;
    // A sign that comes first is the number's own.
    let sign = inner.iter().skip(1).position(|byte| matches!(byte, b'+' | b'-')).map(|at| at + 1);
    let (number, zone) = inner.split_at(sign.unwrap_or(inner.len()));
    offset(zone)?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0u32, |n, byte| byte.is_ascii_digit().then(|| n * 10 + u32::from(byte - b'0')))
}

/// The ticks of `.1234567`, and what follows.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (number, zone) = text.split_at(length);
    let cut = &number[..length.min(7)];
    let scale = 10i64.pow(7 - u32::try_from(cut.len()).ok()?);
    Some((i64::from(digits(cut)?) * scale, zone))
}

/// Seconds that local time is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let zone = zone.strip_prefix(b" ").unwrap_or(zone);
    let (sign, hours, minutes) = match zone {
        b"" | b"Z" | b"z" | b"UTC" => return Some(0),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = i64::from(hours * 3600 + minutes * 60);
    match sign {
        b'+' => Some(ahead),
        b'-' => Some(-ahead),
        _ => None,
    }
}

fn days_since_1970(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return None,
    };
    if day == 0 || day > longest {
        return None;
    }
    // Years that begin in March put the leap day last; 719,468 days lie between 0000-03-01 and 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((i64::from(month) + 9) % 12) + 2) / 5 + i64::from(day) - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468)
}

/// Year, month and day of a day since 1970-01-01: the inverse of [`days_since_1970`], also before the year 0.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    fn ticks(text: &str) -> Option<i64> {
        Timestamp::parse(text).map(Timestamp::ticks)
    }

    #[test]
    fn every_spelling_of_one_second_is_one_time() {
        let seconds = Some(1_714_979_289);
        for text in [
            "2024-05-06T07:08:09Z",
            "2024-05-06T07:08:09.1Z",
            "2024-05-06T07:08:09.123Z",
            "2024-05-06T07:08:09.1234567Z",
            "2024-05-06T07:08:09.123456700Z",
            "2024-05-06 07:08:09 +0000",
            "2024-05-06 09:08:09 +0200",
            "2024-05-06T02:38:09-04:30",
            "2024-05-06 07:08:09.123456 UTC",
            "/Date(1714979289123)/",
            "/Date(1714979289123+0200)/",
            "/Date(1714979289123-0430)/",
        ] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::unix_seconds), seconds, "{text}");
        }
        assert_eq!(Timestamp::from_epoch(1_714_979_289.5).map(Timestamp::unix_seconds), seconds);
        assert_eq!(Timestamp::from_epoch(1_714_979_289_123.0).map(Timestamp::unix_seconds), seconds);
        for number in [
            "1714979289",
            "1714979289.5",
            "1.714979289e9",
            "1714979289123",
            "1714979289123456",
            "1714979289123456789",
            "133594528899999999",
        ] {
            assert_eq!(Timestamp::from_number(number).map(Timestamp::unix_seconds), seconds, "{number}");
        }
        assert_eq!(Timestamp::from_raw(" 133594528891234567 "), Timestamp::parse("2024-05-06T07:08:09.1234567Z"));
    }

    #[test]
    fn dates_of_dotnet_are_milliseconds_whatever_their_size() {
        assert_eq!(ticks("/Date(0)/"), Some(0));
        assert_eq!(ticks("/Date(1000)/"), Some(TICKS));
        assert_eq!(ticks("/Date(-1000)/"), Some(-TICKS));
        for text in [
            "/Date(-11644473600000)/",
            "/Date(-62135596800000)/",
            "/Date()/",
            "/Date(1+9)/",
            "/Date(9223372036854775807)/",
        ] {
            assert_eq!(ticks(text), None, "{text}");
        }
    }

    #[test]
    fn the_counter_of_a_processor_is_no_time() {
        for text in ["0", "84600000000", "95000000000000000", "-1", "x", "99999999999999999999"] {
            assert_eq!(Timestamp::from_raw(text), None, "{text}");
        }
    }

    #[test]
    fn the_year_1601_is_no_time() {
        assert_eq!(ticks("1601-01-01T00:00:00Z"), None);
        assert_eq!(ticks("1601-01-01T00:00:00.0000000Z"), None);
        assert_eq!(Timestamp::from_epoch(f64::NAN), None);
        assert_eq!(Timestamp::from_epoch(1e300), None);
    }

    #[test]
    fn seconds_are_cut_downwards_before_1970_too() {
        assert_eq!(Timestamp::from_ticks(-1).unix_seconds(), -1);
        assert_eq!(Timestamp::from_ticks(-1).to_string(), "1969-12-31T23:59:59.9999999Z");
    }

    proptest! {
        #[test]
        fn agrees_with_the_time_crate(seconds in -11_000_000_000i64..253_402_300_799, hundreds in 0i64..TICKS, zone in -86_340i32..86_340) {
            let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(hundreds) * 100;
            let offset = time::UtcOffset::from_whole_seconds(zone / 60 * 60).expect("in range");
            let utc = OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("in range");
            let Some(local) = utc.checked_to_offset(offset).filter(|t| (1602..=9999).contains(&t.year())) else { return Ok(()) };
            let want = Some(seconds * TICKS + hundreds);
            prop_assert_eq!(ticks(&local.format(&Rfc3339).expect("formats")), want);
            let shown = Timestamp::from_ticks(seconds * TICKS + hundreds).to_string();
            prop_assert_eq!(OffsetDateTime::parse(&shown, &Rfc3339).ok(), Some(utc));
        }

        #[test]
        fn near_misses_are_judged_as_the_time_crate_does(text in "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-5][0-9](\\.[0-9]{0,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])") {
            if let Ok(theirs) = OffsetDateTime::parse(&text, &Rfc3339) {
                let digits = text.split('.').nth(1).map_or(0, |f| f.bytes().take_while(u8::is_ascii_digit).count());
                let want = (theirs.unix_timestamp_nanos().div_euclid(100)) as i64;
                prop_assert_eq!(ticks(&text), (digits <= 9).then_some(want));
            } else {
                prop_assert_eq!(ticks(&text), None);
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            Timestamp::parse(&text);
        }
    }
}
