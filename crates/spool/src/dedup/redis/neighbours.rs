//! The other gateways of the installation: each says once a second that it lives.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::connect::Trouble;
use super::engine::Shared;
use super::session::Session;

/// Who has not been seen for so long is no gateway of this installation any more.
const GONE_S: u64 = 24 * 3600;

/// A process that was seen within so long lives.
const FRESH_S: u64 = 5;
/// How often in a row another process must be found under our number: the first one found may be our predecessor.
const STRANGE_MAX: u32 = 2;

/// What a gateway says of itself.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Said {
    name: String,
    version: String,
    /// By the engine's clock, in seconds since 1970.
    at: u64,
    pending: u64,
    /// Which process, and since when in milliseconds: of two the older one goes on.
    run: String,
    since: u64,
    /// The hash of the parts of its configuration in which all gateways must agree.
    agreed: String,
}

/// Another gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    /// Its number, in hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How long ago it was seen.
    pub seen_seconds_ago: u64,
    /// Events that it had still to send.
    pub pending: u64,
    /// Whether its configuration agrees with ours where it must.
    pub agrees: bool,
}

/// This process among the gateways.
///
/// Its number stands in the state directory. Where two processes use copies of one, both would take the other's events for their
/// own; so each looks whether somebody else speaks under its number, and the younger one stops.
#[derive(Debug)]
pub(super) struct Presence {
    run: String,
    since: Option<u64>,
    strange: u32,
}

impl Default for Presence {
    fn default() -> Self {
        Self { run: format!("{:016x}", fastrand::u64(..)), since: None, strange: 0 }
    }
}

impl Presence {
    /// Says that this gateway lives, and reads what the others said.
    pub(super) async fn meet(&mut self, shared: &Shared, session: &Session) -> Result<Vec<Neighbour>, Trouble> {
        let mut connection = session.connection.clone();
        let (now, key, me) = (session.now_s(), shared.names.gateways(), shared.gateway.name());
        let all: Vec<(String, String)> = redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await?;
        let all = all.into_iter().map(|(id, text)| (id, serde_json::from_str::<Said>(&text).unwrap_or_default()));
        let (mine, others): (Vec<_>, Vec<_>) = all.partition(|(id, _)| *id == me);
        self.look_for_a_twin(mine.first().map(|(_, said)| said), now)?;
        let text = serde_json::to_string(&self.said(shared, session)).unwrap_or_default();
        let () = redis::cmd("HSET").arg(&key).arg(&me).arg(text).query_async(&mut connection).await?;
        let (agreed, mut neighbours) = (shared.agreed(), Vec::new());
        for (id, said) in others {
            let seen_seconds_ago = now.saturating_sub(said.at);
            if seen_seconds_ago >= GONE_S {
                let () = redis::cmd("HDEL").arg(&key).arg(&id).query_async(&mut connection).await?;
                continue;
            }
            let agrees = [&said.agreed, &agreed].iter().any(|hash| hash.is_empty()) || said.agreed == agreed;
            let Said { name, version, pending, .. } = said;
            neighbours.push(Neighbour { id, name, version, seen_seconds_ago, pending, agrees });
        }
        neighbours.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        Ok(neighbours)
    }

    fn said(&mut self, shared: &Shared, session: &Session) -> Said {
        Said {
            name: shared.config.shown_name(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at: session.now_s(),
            pending: shared.pending.load(Ordering::Relaxed),
            run: self.run.clone(),
            since: *self.since.get_or_insert(session.now_ms()),
            agreed: shared.agreed(),
        }
    }

    /// `said` stands under our number.
    fn look_for_a_twin(&mut self, said: Option<&Said>, now: u64) -> Result<(), Trouble> {
        let is_strange = |said: &&Said| said.run != self.run && now.saturating_sub(said.at) <= FRESH_S;
        let Some(said) = said.filter(is_strange) else {
            self.strange = 0;
            return Ok(());
        };
        self.strange = self.strange.saturating_add(1);
        let is_elder = self.since.is_some_and(|since| (since, &self.run) < (said.since, &said.run));
        if is_elder && self.strange == 1 {
            tracing::error!(
                other = said.name,
                "another gateway was started with a copy of this state directory: it takes no uploads while this one runs"
            );
        }
        if is_elder || self.strange < STRANGE_MAX {
            return Ok(());
        }
        Err(Trouble::Refused(format!(
            "another gateway, {:?}, runs with a copy of this state directory: stop one of them, and delete `decided` in the copy \
             before it starts again",
            said.name
        )))
    }
}
