//! Checked configuration values: a size, a span of time, a ratio, a network, a secret.
//!
//! A value that exists is valid: the only way in is a constructor that can fail with a message an operator can act
//! on. Nothing here knows what the values are used for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod per_minute;
mod span;

pub use per_minute::PerMinute;
pub use span::{Span, SpanOrZero};

/// Why a text is not the value it should be: what was found and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// A number of bytes, written as `"64 MiB"`, `"10 GiB"`, `"1000000"` or `"1 MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

const BYTE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl ByteSize {
    /// A size of so many bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// A size of so many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// A size of so many gibibytes.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes, capped at what memory can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || {
            ValueError(format!(
                "{text:?} is not a size; write a whole number and a unit, such as \"64 MiB\" or \"1 MB\""
            ))
        };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let factor =
            if unit.is_empty() { 1 } else { BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1 };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = ["TiB", "GiB", "MiB", "KiB"]
            .into_iter()
            .zip([1u64 << 40, 1 << 30, 1 << 20, 1 << 10])
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{} {name}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = text[..digits].parse().ok()?;
    Some((number, text[digits..].trim_start_matches(' ')))
}

/// A share between 0 and 1, both included.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// A share; refuses what is not between 0 and 1.
    pub fn new(share: f64) -> Result<Self, ValueError> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(ValueError(format!("{share} is not a share; write a number between 0 and 1, such as 0.8")))
        }
    }

    /// A share in whole percent, for defaults.
    pub const fn percent(n: u8) -> Self {
        Self(n as f64 / 100.0)
    }

    /// The share as a number.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// This share of a whole.
    pub fn of(self, whole: u64) -> u64 {
        (whole as f64 * self.0) as u64
    }
}

/// A network, written as `"10.1.0.0/16"`, or a single address. Its addresses are compared in their canonical form: an IPv4
/// address mapped into IPv6 counts as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is in this network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Network {
    /// Whether it is a single address.
    pub fn is_single(&self) -> bool {
        self.0.prefix_len() == self.0.max_prefix_len()
    }
}

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse().ok().or_else(single).map(Self).ok_or_else(|| {
            ValueError(format!("{text:?} is not a network; write an address and a prefix, such as \"10.1.0.0/16\""))
        })
    }
}

impl TryFrom<String> for Network {
    type Error = ValueError;

    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// A text that must never be shown: it prints as `***`, in logs, status and configuration dumps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; call it only where the secret is used.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

macro_rules! text_value {
    ($type:ty, $name:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $name, "examples": [$example] })
            }
        }
    };
}

text_value!(ByteSize, "size", "64 MiB");
text_value!(Span, "span", "30 s");
text_value!(SpanOrZero, "span or zero", "10 s");

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ratio".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "format": "ratio", "minimum": 0, "maximum": 1, "examples": [0.8] })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "secret", "examples": ["${env:NAME} or ${file:/path}"] })
    }
}

/// In the schema of a configuration: the path of a file, or of a folder with files, that is read when the configuration comes
/// into force. Write it as `#[schemars(with = "Option<FileToRead>")]` at the field. Relative ones start at the folder of the
/// configuration, and another content asks for a reload.
#[derive(Debug)]
pub struct FileToRead;

/// In the schema of a configuration: the path of what Gatepost keeps itself, or reads again and again as it runs. Relative ones
/// start at the folder of the configuration.
#[derive(Debug)]
pub struct PlaceToKeep;

macro_rules! path_schema {
    ($type:ty, $name:literal) => {
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $name })
            }
        }
    };
}

path_schema!(FileToRead, "file-to-read");
path_schema!(PlaceToKeep, "place-to-keep");

#[cfg(test)]
mod tests;
