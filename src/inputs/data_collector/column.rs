//! Which column of its custom table a property belongs to, as the service of the Data Collector API decided it.
//!
//! A value's type is told by a suffix of the column: `_s`, `_d`, `_b`, `_t`, `_g`. Where columns of the table are known, a value that
//! can be converted to one goes there; any other gets the column of its own type.
//!
//! Documented by Microsoft: the suffixes, the conversion, GUIDs without dashes, nulls that are left out. Only reported by users:
//! that `Computer` keeps its name, that nested values become text, and that other characters in names become `_`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::event::from_json::walk::Plain;
use crate::event::{MAX_RECORD_BYTES, Timestamp, near};
use crate::inputs::members::{Seen, text};

/// Most characters of a column's name.
pub(super) const COLUMN_MAX: usize = 45;
/// The column that custom tables have without a suffix.
const COMPUTER: &str = "Computer";

/// What a property may be in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Under the property's own name, as it is.
    Plain,
    Number,
    Boolean,
    Time,
    Guid,
    Text,
}

/// In the order in which a conversion is tried: text takes everything.
const KINDS: [Kind; 6] = [Kind::Plain, Kind::Number, Kind::Boolean, Kind::Time, Kind::Guid, Kind::Text];

impl Kind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Number => "_d",
            Self::Boolean => "_b",
            Self::Time => "_t",
            Self::Guid => "_g",
            Self::Text => "_s",
        }
    }
}

/// The columns of a table, as far as they are known: for each property, what it may be.
#[derive(Debug, Default)]
pub struct Columns(HashMap<String, Vec<Kind>>);

/// A value of a record in JSON.
#[derive(Debug)]
enum Value<'a> {
    Flag,
    Number,
    Text(Cow<'a, str>),
    /// An object, an array, or a string that cannot be read.
    Other,
}

/// Where a property stands in its row: the column's name in two parts, and what is written there.
#[derive(Debug)]
pub(super) struct Placed<'k, 'v> {
    pub(super) name: Cow<'k, str>,
    pub(super) suffix: &'static str,
    pub(super) written: Written<'v>,
}

/// A value as it is written into a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// JSON.
    Json(&'a str),
    /// A text that is still to be quoted.
    Text(Cow<'a, str>),
}

impl Columns {
    /// Of these names.
    pub fn new(names: &[String]) -> Self {
        let mut known: HashMap<String, Vec<Kind>> = HashMap::new();
        for name in names {
            let typed = KINDS[1..].iter().find_map(|kind| Some((name.strip_suffix(kind.suffix())?, *kind)));
            let (property, kind) = typed.filter(|(property, _)| !property.is_empty()).unwrap_or((name, Kind::Plain));
            known.entry(property.to_owned()).or_default().push(kind);
        }
        Self(known)
    }

    /// The column of a property and what stands there; `None` for null. `value` is its JSON.
    #[cfg(test)]
    fn place<'k, 'v>(&self, property: &'k str, value: &'v str) -> Option<Placed<'k, 'v>> {
        self.place_read(property, value, &Value::of(value))
    }

    /// The same, of a member that was passed over.
    pub(super) fn place_seen<'k, 'v>(&self, property: &'k str, seen: &Seen<'v>) -> Option<Placed<'k, 'v>> {
        let value = seen.value();
        let read = seen.plain_text().map_or_else(|| Value::of(value), |text| Value::Text(Cow::Borrowed(text)));
        self.place_read(property, value, &read)
    }

    /// The suffix of a member whose name holds nothing but the [letters](near::word) of columns, and that stands in its row as it is
    /// written; `None` where more has to be looked at.
    #[inline(always)]
    pub(super) fn plain_suffix(&self, text: &[u8], plain: &Plain) -> Option<[u8; 2]> {
        if !self.0.is_empty() {
            return None;
        }
        let value = &text[plain.value_at..plain.end];
        match value[0] {
            b't' | b'f' => Some(*b"_b"),
            b'-' | b'0'..=b'9' => Some(*b"_d"),
            // It has the length of a GUID or may be a time; `Computer` has no suffix.
            _ if !plain.is_plain_text && !is_told_by_an_escape(value) => None,
            _ if matches!(value.len(), GUID_IN_QUOTES | BARE_GUID_IN_QUOTES) => None,
            _ if value.get(11) == Some(&b'T') => None,
            _ if text[plain.at + 1..plain.name_end - 1] == *COMPUTER.as_bytes() => None,
            _ => Some(*b"_s"),
        }
    }

    fn place_read<'k, 'v>(&self, property: &'k str, value: &'v str, read: &Value<'v>) -> Option<Placed<'k, 'v>> {
        if value == "null" {
            return None;
        }
        let (name, natural) = (in_column_letters(property), read.kind());
        let known = if self.0.is_empty() { None } else { self.0.get(&*name) };
        let known = known.map(Vec::as_slice).unwrap_or_default();
        if known.is_empty() {
            let is_computer = name == COMPUTER && matches!(read, Value::Text(_));
            let (kind, written) = if is_computer {
                (Kind::Plain, Written::Json(value))
            } else {
                (natural, read.as_it_is(natural, value))
            };
            return Some(Placed { name, suffix: kind.suffix(), written });
        }
        let fits = |kind: &Kind| read.written(*kind, value).map(|written| (*kind, written));
        let chosen = if known.contains(&natural) {
            fits(&natural)
        } else {
            KINDS.iter().filter(|kind| known.contains(kind)).find_map(fits)
        };
        let (kind, written) = chosen.or_else(|| fits(&natural))?;
        Some(Placed { name, suffix: kind.suffix(), written })
    }
}

impl<'a> Value<'a> {
    fn of(value: &'a str) -> Self {
        match value.as_bytes().first() {
            Some(b't' | b'f') => Self::Flag,
            Some(b'-' | b'0'..=b'9') => Self::Number,
            Some(b'"') => text(value).map_or(Self::Other, Self::Text),
            _ => Self::Other,
        }
    }

    /// What it is by itself.
    fn kind(&self) -> Kind {
        match self {
            Self::Flag => Kind::Boolean,
            Self::Number => Kind::Number,
            Self::Text(text) if is_guid(text) => Kind::Guid,
            Self::Text(text) if iso_8601(text).is_some() => Kind::Time,
            Self::Text(_) | Self::Other => Kind::Text,
        }
    }

    /// How it is written in the column of the kind that it is by itself.
    fn as_it_is(&self, natural: Kind, json: &'a str) -> Written<'a> {
        match (natural, self) {
            // Without escapes, and with its dashes.
            (Kind::Guid, Self::Text(Cow::Borrowed(text))) if text.len() == GUID => Written::Json(json),
            (Kind::Guid, _) | (Kind::Text, Self::Other) => self.written(natural, json).unwrap_or(Written::Json(json)),
            _ => Written::Json(json),
        }
    }

    /// How it is written in a column of this kind; `None` when it cannot be converted.
    fn written(&self, kind: Kind, json: &'a str) -> Option<Written<'a>> {
        let as_it_is = Written::Json(json);
        match (kind, self) {
            (Kind::Plain, _) | (Kind::Number, Self::Number) | (Kind::Boolean, Self::Flag) => Some(as_it_is),
            (Kind::Text, Self::Text(_)) => Some(as_it_is),
            // What cannot be read is left for ingest to say so.
            (Kind::Text, Self::Flag | Self::Number | Self::Other) if !can_be_read(json) => Some(as_it_is),
            (Kind::Text, Self::Flag | Self::Number | Self::Other) => Some(Written::Text(json.into())),
            (Kind::Number, Self::Text(text)) => number_in(json, text).map(Written::Json),
            (Kind::Boolean, Self::Text(text)) => flag(text).map(Written::Json),
            (Kind::Guid, Self::Text(text)) => guid(text).map(Written::Text),
            (Kind::Time, Self::Text(text)) if iso_8601(text).is_some() => Some(as_it_is),
            (Kind::Time, Self::Text(text)) => Timestamp::parse(text).map(|time| Written::Text(time.to_string().into())),
            _ => None,
        }
    }
}

/// Whether something that is to become a text is a value in JSON, and no string that has none.
fn can_be_read(json: &str) -> bool {
    // What is larger than a record is not looked at.
    json.len() <= MAX_RECORD_BYTES && !json.starts_with('"') && serde_json::from_str::<&RawValue>(json).is_ok()
}

/// A time as the service took it: `YYYY-MM-DDThh:mm:ss`, with a fraction and a zone or without.
pub(super) fn iso_8601(text: &str) -> Option<Timestamp> {
    let is_shaped = text.as_bytes().get(10) == Some(&b'T') && text.as_bytes()[0].is_ascii_digit();
    is_shaped.then(|| Timestamp::parse(text)).flatten()
}

/// How long a GUID with its dashes is, and where they stand.
const GUID: usize = 36;
const GUID_IN_QUOTES: usize = GUID + 2;
const BARE_GUID_IN_QUOTES: usize = 32 + 2;
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// Whether the first escape of a string is that of a backslash or a quote, as paths have it: no GUID and no time holds one, whatever
/// else the string means.
fn is_told_by_an_escape(string: &[u8]) -> bool {
    let at = memchr::memchr(b'\\', string).filter(|_| string.starts_with(b"\""));
    at.and_then(|at| string.get(at + 1)).is_some_and(|escaped| matches!(escaped, b'\\' | b'"'))
}

/// Whether a text is a GUID, with its dashes or without them.
fn is_guid(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.len() {
        32 => bytes.iter().all(u8::is_ascii_hexdigit),
        GUID => bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if DASHES.contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() }),
        _ => false,
    }
}

/// A GUID with its dashes, if a text is one.
fn guid(text: &str) -> Option<Cow<'static, str>> {
    let digits: String = if is_guid(text) { text.chars().filter(|c| *c != '-').collect() } else { return None };
    Some([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-").into())
}

/// The number, as JSON writes it, that a string holds. Digits that are written with escapes stay a text.
fn number_in<'a>(string: &'a str, text: &str) -> Option<&'a str> {
    let number = text.trim_ascii();
    let begins = number.bytes().next().is_some_and(|byte| byte == b'-' || byte.is_ascii_digit());
    if !begins || serde_json::from_str::<f64>(number).is_err() {
        return None;
    }
    string.find(number).and_then(|at| string.get(at..at + number.len()))
}

fn flag(text: &str) -> Option<&'static str> {
    ["true", "false"].into_iter().find(|word| text.trim_ascii().eq_ignore_ascii_case(word))
}

/// A property's name as far as a column may have it.
fn in_column_letters(property: &str) -> Cow<'_, str> {
    if near::word(property.as_bytes()) == property.len() {
        return Cow::Borrowed(property);
    }
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    property.chars().map(|c| if is_letter(c) { c } else { '_' }).collect::<String>().into()
}

/// Whether a text can be the name of a column.
pub(super) fn is_column(name: &str) -> bool {
    (1..=COLUMN_MAX).contains(&name.len()) && near::word(name.as_bytes()) == name.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inputs::members::Members;

    fn placed(columns: &[&str], property: &str, value: &str) -> Option<String> {
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let Placed { name, suffix, written } = Columns::new(&columns).place(property, value)?;
        let value = match written {
            Written::Json(json) => json.to_owned(),
            Written::Text(text) => serde_json::Value::from(text).to_string(),
        };
        Some(format!("{name}{suffix}={value}"))
    }

    #[test]
    fn a_value_gets_the_column_of_its_type() {
        for (value, want) in [
            (r#""MyString1""#, Some(r#"p_s="MyString1""#)),
            ("42", Some("p_d=42")),
            ("-1.50e3", Some("p_d=-1.50e3")),
            ("true", Some("p_b=true")),
            ("null", None),
            (r#""2019-09-12T20:00:00.625Z""#, Some(r#"p_t="2019-09-12T20:00:00.625Z""#)),
            (r#""2019-09-12T20:00:00""#, Some(r#"p_t="2019-09-12T20:00:00""#)),
            (r#""2019-09-12 20:00:00""#, Some(r#"p_s="2019-09-12 20:00:00""#)),
            (r#""2019-99-12T20:00:00Z""#, Some(r#"p_s="2019-99-12T20:00:00Z""#)),
            (r#""9909ED01-A74C-4874-8ABF-D2678E3AE23D""#, Some(r#"p_g="9909ED01-A74C-4874-8ABF-D2678E3AE23D""#)),
            (r#""8145d82213a744ad859c36f31a84f6dd""#, Some(r#"p_g="8145d822-13a7-44ad-859c-36f31a84f6dd""#)),
            (r#""8145d82213a744ad859c36f31a84f6dg""#, Some(r#"p_s="8145d82213a744ad859c36f31a84f6dg""#)),
            (r#"{"a": ["b"]}"#, Some(r#"p_s="{\"a\": [\"b\"]}""#)),
            (r#""\ud800""#, Some(r#"p_s="\ud800""#)),
            (r#""caf\u00e9""#, Some(r#"p_s="caf\u00e9""#)),
        ] {
            assert_eq!(placed(&[], "p", value).as_deref(), want, "{value}");
        }
    }

    #[test]
    fn a_value_that_can_be_converted_goes_to_the_column_that_is_there() {
        for (columns, value, want) in [
            (&["p_d"][..], r#""42""#, r#"p_d=42"#),
            (&["p_d"], r#""forty-two""#, r#"p_s="forty-two""#),
            (&["p_b"], r#""True""#, "p_b=true"),
            (&["p_b"], "17", "p_d=17"),
            (&["p_s"], "17", r#"p_s="17""#),
            (&["p_s"], "false", r#"p_s="false""#),
            (&["p_s"], r#""8145d82213a744ad859c36f31a84f6dd""#, r#"p_s="8145d82213a744ad859c36f31a84f6dd""#),
            (&["p_s", "p_d"], "17", "p_d=17"),
            (&["p_t"], r#""\/Date(1714979289123)\/""#, r#"p_t="2024-05-06T07:08:09.1230000Z""#),
            (&["p"], r#"{"a":1}"#, r#"p={"a":1}"#),
        ] {
            assert_eq!(placed(columns, "p", value).as_deref(), Some(want), "{columns:?} {value}");
        }
    }

    #[test]
    fn names_get_only_letters_that_columns_may_have_and_computer_keeps_its_own() {
        assert_eq!(placed(&[], "@timestamp", "1.5").as_deref(), Some("_timestamp_d=1.5"));
        assert_eq!(placed(&[], "Größe in %", "1").as_deref(), Some("Gr__e_in___d=1"));
        assert_eq!(placed(&[], "level_s", r#""x""#).as_deref(), Some(r#"level_s_s="x""#));
        assert_eq!(placed(&[], "Computer", r#""web01""#).as_deref(), Some(r#"Computer="web01""#));
        assert_eq!(placed(&[], "Computer", "1").as_deref(), Some("Computer_d=1"));
        assert_eq!(placed(&["Computer_s"], "Computer", r#""web01""#).as_deref(), Some(r#"Computer_s="web01""#));
    }

    /// As it was when each text was taken apart for it.
    fn guid_of_digits(text: &str) -> Option<String> {
        let dashed = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let is_guid =
            (dashed || text.len() == 32) && digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_guid.then(|| [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
    }

    fn member(object: &str) -> Seen<'_> {
        let mut members = Members::of(object);
        members.enter(b'{').expect("an object");
        members.seen_with(true, near::word).expect("it is well formed").expect("a member")
    }

    proptest! {
        #[test]
        fn guids_are_those_that_they_were(text in "[0-9a-fA-F]{8}-?[0-9a-f]{4}-?[0-9a-fg]{4}-?[0-9a-f]{4}-?[0-9a-f-]{12}|.{32}|.{36}") {
            prop_assert_eq!(guid(&text).map(Cow::into_owned), guid_of_digits(&text));
        }

        #[test]
        fn what_stands_as_it_is_written_is_placed_there(
            name in "Computer|[a-zA-Z_]{1,12}|\\PC{0,6}",
            text in "\\PC{0,40}|[C:\\\\\"\n0-9a]{0,8}|2026-01-02T03:04:05Z[\\\\\"\n ]{0,2}|[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|20[0-9]{2}-0[1-9]-[0-3][0-9]T1[0-9]:00:00Z",
            number: i32,
            kind in 0..5,
        ) {
            let value = match kind {
                0 => serde_json::Value::from(number),
                1 => serde_json::Value::from(number > 0),
                2 => serde_json::Value::Null,
                _ => serde_json::Value::from(text),
            };
            let object = serde_json::json!({ name.as_str(): value }).to_string();
            let (columns, seen) = (Columns::default(), member(&object));
            let placed = columns.place(&name, seen.value());
            let plain = seen.as_plain();
            if let Some(suffix) = plain.and_then(|plain| columns.plain_suffix(object.as_bytes(), &plain)) {
                let Some(Placed { name: column, suffix: wanted, written }) = placed else { panic!("it is placed") };
                prop_assert_eq!((&*column, wanted.as_bytes()), (&*name, &suffix[..]));
                prop_assert_eq!(written, Written::Json(seen.value()));
            } else if let Some(seen) = columns.place_seen(&name, &seen) {
                let wanted = placed.expect("it is placed");
                prop_assert_eq!((seen.name, seen.suffix, seen.written), (wanted.name, wanted.suffix, wanted.written));
            }
        }
    }
}
