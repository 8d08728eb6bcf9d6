//! The settings of the dead letters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Room;
use super::shares::CLIENT_MIN;
use crate::values::ByteSize;

/// Events that no endpoint will take and records that cannot be understood, kept for a person. They have shares, so that
/// nobody fills what others need: the inputs have theirs, and within it each client has its own; what they leave is divided
/// equally between the outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Bytes of disk they may take. An output whose share is full gives nothing up: it waits until its letters are
    /// replayed or purged, and says so; the other outputs go on.
    pub max_size: ByteSize,
    /// How much of `max_size` the records that inputs could not understand may take. A quarter when it is not set. When it
    /// is full, the oldest records of the client that has the most are given up for new ones, and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs_max_size: Option<ByteSize>,
    /// How much of that one client of one input may take. A sixteenth when it is not set, but at least `64 KiB`. Beyond it
    /// the client's own oldest records are given up for its new ones, and counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_max_size: Option<ByteSize>,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_size: ByteSize::gib(1), inputs_max_size: None, client_max_size: None }
    }
}

impl Config {
    /// How the bytes are shared out.
    pub fn room(&self) -> Room {
        let max = self.max_size.as_u64();
        let inputs = self.inputs_max_size.map_or(max / 4, ByteSize::as_u64);
        let client = self.client_max_size.map_or(Room::client_of(inputs), ByteSize::as_u64).min(inputs);
        Room { inputs, client, outputs: max.saturating_sub(inputs) }
    }

    /// What is wrong with the sizes: keys and messages.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let Room { inputs, client, outputs } = self.room();
        if self.max_size.as_u64() < 4 * CLIENT_MIN {
            problems.push(("max_size", format!("is {}; write at least 256 KiB", self.max_size)));
        } else if outputs == 0 {
            let message = "leaves nothing to the outputs; write less than `max_size`, such as a quarter of it";
            problems.push(("inputs_max_size", message.to_owned()));
        } else if inputs < CLIENT_MIN {
            problems.push((
                "inputs_max_size",
                "is too small for the records of one client; write at least 64 KiB".to_owned(),
            ));
        }
        match self.client_max_size {
            Some(wanted) if wanted.as_u64() < CLIENT_MIN => {
                problems.push(("client_max_size", format!("is {wanted}; write at least 64 KiB")));
            }
            Some(wanted) if wanted.as_u64() > client => {
                problems.push((
                    "client_max_size",
                    format!("is {wanted}, more than all inputs together may take; write less"),
                ));
            }
            _ => {}
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<&'static str> {
        let config: Config = toml::from_str(text).unwrap();
        config.problems().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn shares_that_leave_somebody_nothing_are_told() {
        assert_eq!(keys(""), [""; 0]);
        assert_eq!(keys("max_size = '256 KiB'"), [""; 0]);
        assert_eq!(keys("max_size = '100 KiB'"), ["max_size"]);
        assert_eq!(keys("inputs_max_size = '1 GiB'"), ["inputs_max_size"]);
        assert_eq!(keys("inputs_max_size = '1 KiB'"), ["inputs_max_size"]);
        assert_eq!(keys("client_max_size = '1 KiB'"), ["client_max_size"]);
        assert_eq!(keys("inputs_max_size = '1 MiB'\nclient_max_size = '2 MiB'"), ["client_max_size"]);
    }

    #[test]
    fn what_is_not_set_is_a_share_of_the_whole() {
        let room = Config::default().room();
        assert_eq!(room, Room { inputs: 256 << 20, client: 16 << 20, outputs: 768 << 20 });
        let config: Config = toml::from_str("max_size = '10 MiB'\ninputs_max_size = '4 MiB'").unwrap();
        assert_eq!(config.room(), Room { inputs: 4 << 20, client: 256 << 10, outputs: 6 << 20 });
    }
}
