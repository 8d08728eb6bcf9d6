//! Whose a replicated log is, and how far its outputs have come: the last message of its state chain, as JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::spool::Ordinal;

/// The version that is written, and the latest that is read.
const VERSION: u32 = 1;

/// The state of a replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(super) version: u32,
    /// The process that owns it: a random name, new with each start.
    pub owner: String,
    /// The name of the gateway, for people.
    pub gateway: String,
    /// By what name the owner's confirmations stand in a shared memory of events, where it has one.
    pub confirms_as: Option<String>,
    /// When this was written, by the owner's clock, in milliseconds since 1970: for people.
    pub at_ms: u64,
    /// By output, the item below which it needs nothing any more.
    pub lows: BTreeMap<String, Ordinal>,
    /// Who has taken it over.
    pub taken_over: Option<TakenOver>,
}

/// Who has taken a log over, and how far that has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// The process that does.
    pub by: String,
    /// The name of its gateway.
    pub gateway: String,
    /// The ordinal behind the last item that is in the closed replica; none while it is not closed.
    pub until: Option<Ordinal>,
    /// Whether all of it is the new owner's.
    pub is_done: bool,
    /// Rises with every sign of life of who takes it over.
    pub steps: u64,
}

impl State {
    /// Of a log that this process owns.
    pub fn of(owner: &str, gateway: &str) -> Self {
        Self {
            version: VERSION,
            owner: owner.to_owned(),
            gateway: gateway.to_owned(),
            confirms_as: None,
            at_ms: 0,
            lows: BTreeMap::new(),
            taken_over: None,
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// From bytes. The error says what is wrong.
    ///
    /// # Errors
    ///
    /// When they are not the state of a log, or one of a later version.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let state: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("the state of a log cannot be read: {error}"))?;
        if state.version > VERSION {
            return Err(format!(
                "the state of a log has version {}; this gateway reads version {VERSION}",
                state.version
            ));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_is_written_and_a_later_one_is_refused() {
        let mut state = State::of("a7", "gateway-1");
        state.lows.insert("sentinel".to_owned(), 17);
        state.taken_over = Some(TakenOver {
            by: "b8".to_owned(),
            gateway: "gateway-2".to_owned(),
            until: Some(40),
            is_done: false,
            steps: 2,
        });
        assert_eq!(State::decode(&state.encode()), Ok(state.clone()));
        state.version = 2;
        assert!(State::decode(&state.encode()).is_err());
        assert!(State::decode(b"{}").is_err());
    }
}
